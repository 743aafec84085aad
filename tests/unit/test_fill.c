/* SPDX-License-Identifier: MIT
 *
 * The filling of chunks, as found and as said: damage is told from a chunk that
 * is being written.
 */
#include <string.h>

#include "ma_fill.h"
#include "tap.h"

enum { SIZE = 16384, OFFSET = 48 };

/* A chunk with `used` bytes, the last of which is not zero, and zeros behind. */
static struct ma_filled_chunk chunk_of(unsigned char payload[SIZE], size_t used)
{
    memset(payload, 0, SIZE);
    memset(payload, 0x81, used);
    return (struct ma_filled_chunk){
        .payload = payload,
        .size = SIZE,
        .used = used,
        .offset = OFFSET,
        .sequence = 7,
    };
}

static void say(struct ma_fill *fill, uint64_t sequence, uint64_t bytes)
{
    ma_fill_said(fill, &(struct ma_told){.sequence = sequence, .bytes = bytes});
}

static bool skipped(const struct ma_audit *audit, uint64_t offset, uint64_t bytes)
{
    return audit->n_skipped == 1 && audit->skipped[0].offset == offset &&
           audit->skipped[0].bytes == bytes;
}

static void test_said_and_found(void)
{
    unsigned char payload[SIZE];
    struct ma_filled_chunk chunk = chunk_of(payload, 1000);
    const struct {
        uint64_t sequence, bytes, lost, missing;
        const char *what;
    } cases[] = {
        {7, 1000, 0, 0, "a chunk is filled as far as is said"},
        {7, 900, 0, 0, "a chunk may have got more"},
        {7, 1234, 234, 0, "a chunk that was filled further lacks the rest"},
        {7, UINT64_MAX, SIZE - 1000, 0, "no chunk is filled beyond its end"},
        {6, 1234, 0, 0, "an older chunk is not the one that was found"},
        {9, 55, 0, 2, "chunks that are told of and did not come are missing"},
        {UINT64_MAX, 55, 0, 0, "nonsense is ignored"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int before = 0; before < 2; before++) {
            struct ma_fill fill = {0};
            struct ma_audit audit;
            ma_audit_init(&audit);
            if (before)
                say(&fill, cases[i].sequence, cases[i].bytes);
            ma_fill_found(&fill, &audit, &chunk, false);
            if (!before)
                say(&fill, cases[i].sequence, cases[i].bytes);
            uint64_t missing = ma_fill_finish(&fill, &audit, 8);
            CHECK(missing == cases[i].missing &&
                      (cases[i].lost ? skipped(&audit, OFFSET + 1000, cases[i].lost)
                                     : audit.n_skipped == 0),
                  "%s", cases[i].what);
        }
    }
}

/* Bytes that come between the reading of a chunk and the record that tells of them. */
static void test_a_chunk_that_grows(void)
{
    unsigned char payload[SIZE];
    for (int grows = 0; grows < 2; grows++) {
        struct ma_filled_chunk chunk = chunk_of(payload, 1000);
        struct ma_fill fill = {0};
        struct ma_audit audit;
        ma_audit_init(&audit);
        ma_fill_found(&fill, &audit, &chunk, true);
        memset(payload + 1000, grows ? 0x82 : 0, 9000);
        say(&fill, 7, 10000);
        ma_fill_finish(&fill, &audit, 8);
        if (grows)
            CHECK(audit.n_skipped == 0, "a chunk that is being written is no damage");
        else
            CHECK(skipped(&audit, OFFSET + 1000, 9000), "one whose bytes never come is");
    }
}

static void test_zeros(void)
{
    unsigned char payload[SIZE];
    struct ma_filled_chunk chunk = chunk_of(payload, 1000);
    struct ma_fill fill = {0};
    struct ma_audit audit;
    ma_audit_init(&audit);
    memset(payload + 5096, 0x83, 1); /* behind an item of the most that one may be */
    chunk.used = 1000;
    ma_fill_found(&fill, &audit, &chunk, false);
    CHECK(skipped(&audit, OFFSET + 1000, 4097), "zeros in the middle are damage");

    ma_audit_init(&audit);
    fill = (struct ma_fill){0};
    payload[5096] = 0;
    payload[5095] = 0x83;
    ma_fill_found(&fill, &audit, &chunk, false);
    CHECK(audit.n_skipped == 0, "an item that was never finished is not");

    /* The last item was read into the zeros, even beyond where the chunk ended. */
    ma_audit_init(&audit);
    fill = (struct ma_fill){0};
    chunk = chunk_of(payload, 1000);
    chunk.used = 1018;
    ma_fill_found(&fill, &audit, &chunk, false);
    say(&fill, 7, 1005);
    ma_fill_finish(&fill, &audit, 8);
    CHECK(skipped(&audit, OFFSET + 1000, 5), "zeros within the last item are damage");
}

/* The values of FORMAT.md section 2. */
static void test_checksum_values(void)
{
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7 + 1);
    CHECK(mlf_checksum(bytes, 0) == 0xc0d24ea7602351dcu, "nothing");
    CHECK(mlf_checksum((const unsigned char *)"a", 1) == 0xf0cea553d2c40c57u, "one byte");
    CHECK(mlf_checksum(bytes, 32) == 0xcb58b3d245140f57u, "a block");
    CHECK(mlf_checksum(bytes, sizeof bytes) == 0xebb6a14d2cab74ddu, "blocks and a rest");
    CHECK(mlf_checksum((const unsigned char *)"a\0", 2) !=
              mlf_checksum((const unsigned char *)"a", 1),
          "zeros at the end count");
}

/* A chunk of which a record tells the checksum of so many bytes, changed or not, with as
 * many more behind, in a payload that stays or not. */
static void test_checksum_compared(void)
{
    static unsigned char payload[SIZE];
    const struct {
        size_t told, used;
        bool changed, stays, tells;
        const char *what;
    } cases[] = {
        {1000, 1000, false, true, false, "a chunk is what was written"},
        {1000, 1000, true, true, true, "a changed chunk is told"},
        {1000, 1000, false, false, false, "the same of a payload that is gone"},
        {1000, 1000, true, false, true, "and told of it"},
        {1000, 1026, false, false, false, "a record came behind what was told of"},
        {1000, 1026, true, false, true, "and the change before it is told"},
        {31, 31, true, false, true, "as in a chunk of less than a block"},
        {1000, 1500, true, false, false, "what came long after hides it in a stream"},
        {1000, 1500, true, true, true, "but not in a file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ma_filled_chunk chunk = chunk_of(payload, cases[i].used);
        struct ma_fill fill = {.stream = 3, .kind = MLF_EVENTS};
        struct ma_audit audit;
        struct ma_told told = {7, cases[i].told, mlf_checksum(payload, cases[i].told), true};
        ma_audit_init(&audit);
        if (cases[i].changed)
            payload[20] ^= 4;
        ma_fill_found(&fill, &audit, &chunk, cases[i].stays);
        say(&fill, 7, cases[i].told); /* without one */
        ma_fill_said(&fill, &told);
        ma_fill_finish(&fill, &audit, 8);
        ma_fill_finish(&fill, &audit, 8);
        CHECK(audit.changed_chunks == cases[i].tells && audit.n_skipped == 0, "%s", cases[i].what);
        if (cases[i].tells)
            CHECK(audit.changed[0].offset == OFFSET && audit.changed[0].bytes == cases[i].told &&
                      audit.changed[0].stream == 3,
                  "%s: where it is", cases[i].what);
    }
}

int main(void)
{
    test_checksum_values();
    test_checksum_compared();
    test_said_and_found();
    test_a_chunk_that_grows();
    test_zeros();
    return TAP_DONE();
}
