/* SPDX-License-Identifier: MIT
 *
 * The number codec (mlf_codec.h) against the tables of FORMAT.md section 2,
 * every boundary of its lengths, and every place to cut a number short.
 */
#include "mlf_codec.h"

#include "tap.h"

static void vu_matches_the_table(void)
{
    static const struct {
        uint64_t value;
        unsigned length;
        unsigned char bytes[MLF_VU_MAX];
    } table[] = {
        {0, 1, {0x01}},
        {1, 1, {0x03}},
        {127, 1, {0xff}},
        {128, 2, {0x02, 0x02}},
        {1ull << 56, 9, {0, 0, 0, 0, 0, 0, 0, 0, 1}},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        unsigned char bytes[MLF_VU_MAX + MLF_VU_SLACK];
        size_t length = (size_t)(mlf_put_vu(bytes, table[i].value) - bytes);
        CHECK(length == table[i].length && !memcmp(bytes, table[i].bytes, length), "vu of %llu",
              (unsigned long long)table[i].value);
    }
}

/* Decode what was encoded from a buffer that ends just there, and from every
 * shorter one. */
static bool survives(uint64_t value, unsigned expected_length)
{
    unsigned char bytes[MLF_VU_MAX + MLF_VU_SLACK], exact[MLF_VU_MAX];
    size_t length = (size_t)(mlf_put_vu(bytes, value) - bytes);
    if (length != expected_length || length != mlf_vu_size(value))
        return false;
    for (size_t cut = 0; cut <= length; cut++) {
        memcpy(exact, bytes, cut);
        const unsigned char *p = exact;
        uint64_t decoded = 12345;
        int error = mlf_get_vu(&p, exact + cut, &decoded);
        if (cut < length ? !error || p != exact || decoded != 12345
                         : error || p != exact + length || decoded != value)
            return false;
    }
    const unsigned char *p = bytes; /* with room behind: the other path */
    uint64_t decoded;
    return !mlf_get_vu(&p, bytes + sizeof bytes, &decoded) && decoded == value;
}

static void vu_goes_there_and_back(void)
{
    for (unsigned bits = 1; bits <= 64; bits++) {
        unsigned length = bits > 56 ? 9 : (bits + 6) / 7;
        uint64_t low = 1ull << (bits - 1), high = low | (low - 1);
        CHECK(survives(low, length) && survives(high, length) &&
                  survives(low | (high & 0x5555555555555555), length),
              "vu of %u bits", bits);
    }
}

static void vu_accepts_longer_forms(void)
{
    static const unsigned char long_one[9] = {0, 1};
    const unsigned char *p = long_one;
    uint64_t value = 0;
    CHECK(mlf_get_vu(&p, long_one + 9, &value) == 0 && value == 1 && p == long_one + 9,
          "a 1 in nine bytes");
}

static void zigzag_goes_there_and_back(void)
{
    static const int64_t values[] = {0, -1, 1, -2, 2, INT64_MAX, INT64_MIN};
    static const uint64_t images[] = {0, 1, 2, 3, 4, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        CHECK(mlf_zigzag(values[i]) == images[i] && mlf_unzigzag(images[i]) == values[i],
              "zigzag of %lld", (long long)values[i]);
}

static void default_usable_is_glibcs(void)
{
    static const uint64_t table[][2] = {{0, 24},  {24, 24},       {25, 40},    {40, 40},
                                        {41, 56}, {123 * 8, 984}, {4096, 4104}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        CHECK(mlf_default_usable(table[i][0], 8, 16, 24) == table[i][1], "usable size of %llu",
              (unsigned long long)table[i][0]);
}

static void crc_is_that_of_zlib(void)
{
    static struct mlf_crc_table table;
    mlf_crc_table_fill(&table);
    CHECK(mlf_crc32(&table, 0, "", 0) == 0, "CRC of nothing");
    CHECK(mlf_crc32(&table, 0, "123456789", 9) == 0xcbf43926, "CRC of 123456789");
    unsigned char data[67];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 37);
    uint32_t whole = mlf_crc32(&table, 0, data, sizeof data);
    bool same = true;
    for (size_t cut = 0; cut <= sizeof data; cut++)
        same &= mlf_crc32(&table, mlf_crc32(&table, 0, data, cut), data + cut, sizeof data - cut) ==
                whole;
    CHECK(same, "CRC in two parts, cut anywhere");
}

int main(void)
{
    vu_matches_the_table();
    vu_goes_there_and_back();
    vu_accepts_longer_forms();
    zigzag_goes_there_and_back();
    default_usable_is_glibcs();
    crc_is_that_of_zlib();
    return TAP_DONE();
}
