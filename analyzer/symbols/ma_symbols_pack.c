/* SPDX-License-Identifier: MIT
 *
 * Objects and their answers as bytes, for bundles and for the cache: the symbol
 * data of FORMAT.md section 11, compressed with zstd. The bytes may be hostile:
 * sizes are bounded before memory is asked for, counts by the bytes that are
 * left, and strings are used only if they end where they say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "ma_cursor.h"
#include "ma_map.h"
#include "ma_symbols_impl.h"
#include "mlf_format.h"

enum {
    VERSION = 1,
    FLAG_VDSO = 1,
    FLAG_GENERATED = 2,
    FLAG_UNVERIFIED = 4,
    FLAGS_KNOWN = 7,
    LEVEL = 9,
    MAX_UNPACKED = 512 << 20, /* bytes */
    MAX_CALLS = 1024,         /* of one answer */
};

struct bytes {
    unsigned char *at;
    size_t n, room;
};

struct ma_pack {
    struct bytes strings, objects;
    struct ma_map offset_of; /* hash of a string to its number */
    char **known;            /* the strings, by number */
    size_t n_known, known_room;
    uint64_t n_objects;
    bool failed;
};

struct ma_pack *ma_pack_new(void)
{
    return calloc(1, sizeof(struct ma_pack));
}

void ma_pack_free(struct ma_pack *pack)
{
    if (!pack)
        return;
    for (size_t i = 0; i < pack->n_known; i++)
        free(pack->known[i]);
    free(pack->known);
    free(pack->strings.at);
    free(pack->objects.at);
    ma_map_free(&pack->offset_of);
    free(pack);
}

/* Room for n bytes at the end, NULL without memory. */
static unsigned char *reserve(struct ma_pack *pack, struct bytes *bytes, size_t n)
{
    if (bytes->n + n > bytes->room) {
        size_t room = 2 * (bytes->n + n) + 4096;
        unsigned char *at = realloc(bytes->at, room);
        if (!at) {
            pack->failed = true;
            return NULL;
        }
        bytes->at = at;
        bytes->room = room;
    }
    return bytes->at + bytes->n;
}

static void put_bytes(struct ma_pack *pack, struct bytes *bytes, const void *data, size_t n)
{
    unsigned char *to = reserve(pack, bytes, n);
    if (to && n) {
        memcpy(to, data, n);
        bytes->n += n;
    }
}

static void put_vu(struct ma_pack *pack, struct bytes *bytes, uint64_t value)
{
    unsigned char *to = reserve(pack, bytes, 9 + MLF_VU_SLACK);
    if (to)
        bytes->n += (size_t)(mlf_put_vu(to, value) - to);
}

/* The number of a string from 1, 0 for NULL. */
static void put_string(struct ma_pack *pack, const char *string)
{
    if (!string) {
        put_vu(pack, &pack->objects, 0);
        return;
    }
    size_t length = strlen(string);
    uint64_t hash = ma_hash_bytes(0xcbf29ce484222325u, string, length);
    uint32_t number;
    /* Of two strings with one hash the second takes the next key. */
    while ((number = ma_map_get(&pack->offset_of, hash)) != MA_NONE &&
           strcmp(pack->known[number], string))
        hash++;
    if (number == MA_NONE) {
        number = (uint32_t)pack->n_known;
        if (!MA_RESERVE(pack->known, pack->n_known, pack->known_room) ||
            !(pack->known[number] = strdup(string)) ||
            ma_map_set(&pack->offset_of, hash, number) < 0) {
            pack->failed = true;
            return;
        }
        pack->n_known++;
        put_vu(pack, &pack->strings, length);
        put_bytes(pack, &pack->strings, string, length + 1);
    }
    put_vu(pack, &pack->objects, (uint64_t)number + 1);
}

static int by_address(const void *a, const void *b)
{
    const struct ma_answer *x = *(const struct ma_answer *const *)a,
                           *y = *(const struct ma_answer *const *)b;
    return x->address < y->address ? -1 : x->address > y->address;
}

void ma_pack_add(struct ma_pack *pack, const struct ma_packed *object)
{
    const struct ma_object *key = &object->key;
    struct bytes *out = &pack->objects;
    const struct ma_answer **sorted = malloc((object->answers->n + 1) * sizeof(*sorted));
    if (!sorted) {
        pack->failed = true;
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < object->answers->room; i++)
        if (object->answers->at[i].calls)
            sorted[n++] = &object->answers->at[i];
    qsort(sorted, n, sizeof(*sorted), by_address);
    put_string(pack, key->path);
    put_vu(pack, out, key->build_id_size);
    put_bytes(pack, out, key->build_id, key->build_id_size);
    put_vu(pack, out,
           (key->vdso ? FLAG_VDSO : 0) | (key->generated ? FLAG_GENERATED : 0) |
               (object->unverified ? FLAG_UNVERIFIED : 0));
    put_vu(pack, out, key->process);
    put_vu(pack, out, object->state);
    put_string(pack, object->file);
    put_vu(pack, out, n);
    uint64_t last = 0;
    for (size_t i = 0; i < n; i++) {
        put_vu(pack, out, sorted[i]->address - last);
        last = sorted[i]->address;
        put_vu(pack, out, sorted[i]->n);
        for (size_t k = 0; k < sorted[i]->n; k++) {
            put_string(pack, sorted[i]->calls[k].name);
            put_string(pack, sorted[i]->calls[k].file);
            put_vu(pack, out, sorted[i]->calls[k].line);
        }
    }
    pack->n_objects++;
    free(sorted);
}

int ma_pack_finish(struct ma_pack *pack, void **data, size_t *size)
{
    struct bytes plain = {0};
    put_vu(pack, &plain, VERSION);
    put_vu(pack, &plain, pack->n_known);
    put_bytes(pack, &plain, pack->strings.at, pack->strings.n);
    put_vu(pack, &plain, pack->n_objects);
    put_bytes(pack, &plain, pack->objects.at, pack->objects.n);
    int result = pack->failed ? -ENOMEM : plain.n > MAX_UNPACKED ? -EFBIG : 0;
    size_t room = ZSTD_compressBound(plain.n), n = 0;
    void *packed = result ? NULL : malloc(room);
    ZSTD_CCtx *context = result ? NULL : ZSTD_createCCtx();
    if (!result && packed && context) {
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL);
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
        n = ZSTD_compress2(context, packed, room, plain.at, plain.n);
    }
    if (!result && (!packed || !context || ZSTD_isError(n)))
        result = -ENOMEM;
    ZSTD_freeCCtx(context);
    free(plain.at);
    if (result) {
        free(packed);
        return result;
    }
    *data = packed;
    *size = n;
    return 0;
}

struct reader {
    struct ma_cursor cursor;
    const char **strings;
    uint64_t n_strings;
};

static const char *take_string(struct reader *reader)
{
    uint64_t number = ma_cursor_vu(&reader->cursor);
    if (number > reader->n_strings)
        reader->cursor.failed = true;
    return number && number <= reader->n_strings ? reader->strings[number - 1] : NULL;
}

static int read_strings(struct reader *reader)
{
    struct ma_cursor *cursor = &reader->cursor;
    uint64_t n = ma_cursor_vu(cursor);
    if (n > (uint64_t)(cursor->end - cursor->at) / 2)
        return -EBADMSG;
    reader->strings = malloc((n + 1) * sizeof(*reader->strings));
    if (!reader->strings)
        return -ENOMEM;
    for (; reader->n_strings < n; reader->n_strings++) {
        const unsigned char *bytes, *end;
        size_t length = ma_cursor_string(cursor, &bytes);
        if (!ma_cursor_take(cursor, 1, &end) || *end || memchr(bytes, 0, length))
            return -EBADMSG;
        reader->strings[reader->n_strings] = (const char *)bytes;
    }
    return 0;
}

static int read_answers(struct reader *reader, struct ma_answers *answers)
{
    struct ma_cursor *cursor = &reader->cursor;
    struct ma_call calls[MAX_CALLS];
    uint64_t address = 0;
    for (uint64_t n = ma_cursor_vu(cursor); n > 0 && !cursor->failed; n--) {
        address += ma_cursor_vu(cursor);
        uint64_t n_calls = ma_cursor_vu(cursor);
        if (!n_calls || n_calls > MAX_CALLS)
            return -EBADMSG;
        for (uint64_t i = 0; i < n_calls; i++) {
            calls[i].name = take_string(reader);
            calls[i].file = take_string(reader);
            uint64_t line = ma_cursor_vu(cursor);
            calls[i].line = line <= UINT32_MAX ? (unsigned)line : 0;
        }
        if (!cursor->failed && !ma_answers_add(answers, address, calls, (size_t)n_calls))
            return -ENOMEM;
    }
    return cursor->failed ? -EBADMSG : 0;
}

static int read_object(struct reader *reader, ma_unpack_object *take, void *context)
{
    struct ma_cursor *cursor = &reader->cursor;
    struct ma_packed object = {.key.path = take_string(reader)};
    object.key.build_id_size = ma_cursor_string(cursor, &object.key.build_id);
    if (object.key.build_id_size > MLF_BUILD_ID_MAX)
        return -EBADMSG;
    uint64_t flags = ma_cursor_vu(cursor);
    object.key.vdso = flags & FLAG_VDSO;
    object.key.generated = flags & FLAG_GENERATED;
    object.unverified = flags & FLAG_UNVERIFIED;
    object.key.process = ma_cursor_vu(cursor);
    uint64_t state = ma_cursor_vu(cursor);
    object.file = take_string(reader);
    if (cursor->failed || flags & ~(uint64_t)FLAGS_KNOWN || state >= MA_OBJECT_STATES)
        return -EBADMSG;
    object.state = (enum ma_object_state)state;
    struct ma_answers answers = {0};
    object.answers = &answers;
    int result = read_answers(reader, &answers);
    if (!result)
        result = take(context, &object);
    ma_answers_free(&answers);
    return result;
}

int ma_unpack(const void *data, size_t size, ma_unpack_object *take, void *context, void **buffer)
{
    *buffer = NULL;
    unsigned long long plain = ZSTD_getFrameContentSize(data, size);
    if (plain > MAX_UNPACKED || plain / 20000 > size)
        return -EBADMSG;
    unsigned char *bytes = malloc((size_t)plain + 1);
    if (!bytes)
        return -ENOMEM;
    struct reader reader = {0};
    int result = -EBADMSG;
    if (ZSTD_decompress(bytes, (size_t)plain, data, size) != plain)
        goto out;
    reader.cursor = (struct ma_cursor){.at = bytes, .end = bytes + plain};
    if (ma_cursor_vu(&reader.cursor) != VERSION)
        goto out;
    result = read_strings(&reader);
    for (uint64_t n = result ? 0 : ma_cursor_vu(&reader.cursor); n > 0 && !result; n--)
        result = read_object(&reader, take, context);
    if (!result && reader.cursor.failed)
        result = -EBADMSG;
out:
    free(reader.strings);
    *buffer = bytes;
    return result;
}
