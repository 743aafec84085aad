/* SPDX-License-Identifier: MIT
 *
 * A bounded cursor over bytes of a trace with a sticky error: parsing reads
 * straight through and checks `failed` once. After a failure every read
 * returns zero and the cursor stays at its end.
 */
#ifndef MA_CURSOR_H
#define MA_CURSOR_H

#include <stdbool.h>

#include "mlf_codec.h"

struct ma_cursor {
    const unsigned char *at, *end;
    bool failed; /* a read went past the end */
};

static inline bool ma_cursor_take(struct ma_cursor *cursor, uint64_t size,
                                  const unsigned char **bytes)
{
    if (size > (uint64_t)(cursor->end - cursor->at)) {
        cursor->failed = true;
        cursor->at = cursor->end;
        *bytes = cursor->end;
        return false;
    }
    *bytes = cursor->at;
    cursor->at += size;
    return true;
}

static inline unsigned ma_cursor_u8(struct ma_cursor *cursor)
{
    const unsigned char *p;
    return ma_cursor_take(cursor, 1, &p) ? *p : 0;
}

static inline uint64_t ma_cursor_u64(struct ma_cursor *cursor)
{
    const unsigned char *p;
    return ma_cursor_take(cursor, 8, &p) ? mlf_get_u64(p) : 0;
}

static inline uint64_t ma_cursor_vu(struct ma_cursor *cursor)
{
    uint64_t value = 0;
    if (__builtin_expect(mlf_get_vu(&cursor->at, cursor->end, &value) < 0, 0)) {
        cursor->failed = true;
        cursor->at = cursor->end;
    }
    return value;
}

static inline int64_t ma_cursor_vz(struct ma_cursor *cursor)
{
    return mlf_unzigzag(ma_cursor_vu(cursor));
}

/* A string: sets *bytes and returns its length. */
static inline size_t ma_cursor_string(struct ma_cursor *cursor, const unsigned char **bytes)
{
    uint64_t size = ma_cursor_vu(cursor);
    return ma_cursor_take(cursor, size, bytes) ? (size_t)size : 0;
}

#endif
