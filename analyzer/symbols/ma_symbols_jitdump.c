/* SPDX-License-Identifier: MIT
 *
 * Functions from the jit-PID.dump files that just-in-time compilers write for perf:
 * a header, then records of code that was loaded or moved, each with its time. The
 * layout is that of the kernel's tools/perf/Documentation/jitdump-specification.txt,
 * in the byte order of the machine. Files are untrusted: what does not hold ends the
 * reading, and what was read before serves. Code that is not where its functions were
 * when an event was recorded cannot be told from that which replaced it, since a trace
 * says where a frame lay and not when: of two functions at a place the later counts.
 */
#include <string.h>

#include "ma_map.h"
#include "ma_symbols_impl.h"

enum {
    CODE_LOAD = 0,
    CODE_MOVE = 1,
    HEADER_LEAST = 40,
    RECORD_LEAST = 16, /* id, size, time */
    LOAD_LEAST = RECORD_LEAST + 40,
    MOVE_LEAST = RECORD_LEAST + 48,
};

#define MAGIC 0x4a695444u /* "JiTD" */

static uint32_t get_u32(const char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static uint64_t get_u64(const char *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

/* One record; false if memory is short. `name_of`: code index to place of the name. */
static bool take_record(const char *text, const char *at, size_t size, struct ma_map *name_of,
                        ma_jitdump_take *take, void *context)
{
    const uint64_t time = get_u64(at + 8);
    switch (get_u32(at)) {
    case CODE_LOAD: {
        const char *name = at + LOAD_LEAST;
        if (size <= LOAD_LEAST || !memchr(name, 0, size - LOAD_LEAST))
            return true;
        const uint64_t index = get_u64(at + 48) ^ ma_map_key;
        return ma_map_set(name_of, index, (uint32_t)(name - text)) == 0 &&
               take(context, get_u64(at + 32), get_u64(at + 40), time, name);
    }
    case CODE_MOVE: {
        if (size < MOVE_LEAST)
            return true;
        const uint32_t name = ma_map_get(name_of, get_u64(at + 56) ^ ma_map_key);
        return name == MA_NONE ||
               take(context, get_u64(at + 40), get_u64(at + 48), time, text + name);
    }
    default: return true;
    }
}

bool ma_jitdump_read(const char *text, size_t size, ma_jitdump_take *take, void *context)
{
    if (size < HEADER_LEAST || get_u32(text) != MAGIC || get_u32(text + 8) < HEADER_LEAST)
        return false;
    struct ma_map name_of = {0};
    size_t at = get_u32(text + 8);
    while (at <= size && size - at >= RECORD_LEAST) {
        const size_t n = get_u32(text + at + 4);
        if (n < RECORD_LEAST || n > size - at ||
            !take_record(text, text + at, n, &name_of, take, context))
            break;
        at += n;
    }
    ma_map_free(&name_of);
    return true;
}
