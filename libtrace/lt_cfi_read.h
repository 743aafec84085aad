/* SPDX-License-Identifier: MIT
 *
 * The primitive values of unwind information: integers, LEB128, encoded
 * pointers. Owns nothing. Invariant: never reads beyond the end it was given;
 * a reader that once failed yields zeros and stays failed, so that a parser
 * reads straight through and checks once. Included by lt_cfi.c and what it
 * includes.
 */
#ifndef LT_CFI_READ_H
#define LT_CFI_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    LT_PE_OMIT = 0xff,
    LT_PE_PCREL = 0x10,
    LT_PE_DATAREL = 0x30,
    LT_PE_TABLE = 0x3b /* datarel, sdata4: what every linker writes */
};

struct lt_reader {
    const uint8_t *p, *end;
    bool bad;
};

static inline uint64_t lt_take(struct lt_reader *r, unsigned n)
{
    uint64_t v = 0;
    if ((size_t)(r->end - r->p) < n) {
        r->bad = true;
        r->p = r->end;
        return 0;
    }
    memcpy(&v, r->p, n); /* little-endian, as every supported machine */
    r->p += n;
    return v;
}

/* The groups of seven bits of a LEB128 number; *shift gets their width, *last
 * the last byte. */
static inline uint64_t lt_take_groups(struct lt_reader *r, unsigned *shift, uint8_t *last)
{
    uint64_t v = 0;
    *shift = 0;
    do {
        *last = (uint8_t)lt_take(r, 1);
        if (*shift < 64)
            v |= (uint64_t)(*last & 0x7f) << *shift;
        *shift += 7;
    } while (*last & 0x80);
    return v;
}

static inline uint64_t lt_take_uleb(struct lt_reader *r)
{
    unsigned shift;
    uint8_t last;
    return lt_take_groups(r, &shift, &last);
}

static inline int64_t lt_take_sleb(struct lt_reader *r)
{
    unsigned shift;
    uint8_t byte;
    uint64_t v = lt_take_groups(r, &shift, &byte);
    if (shift < 64 && (byte & 0x40))
        v |= ~(uint64_t)0 << shift;
    return (int64_t)v;
}

static inline void lt_skip(struct lt_reader *r, uint64_t n)
{
    if ((uint64_t)(r->end - r->p) < n) {
        r->bad = true;
        r->p = r->end;
    } else {
        r->p += n;
    }
}

/* A pointer in one of the encodings of the LSB; indirection is not followed. */
static inline uint64_t lt_take_encoded(struct lt_reader *r, uint8_t enc, uintptr_t data)
{
    uintptr_t here = (uintptr_t)r->p;
    uint64_t v;
    if (enc == LT_PE_OMIT)
        return 0;
    switch (enc & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c: v = lt_take(r, sizeof(uintptr_t)); break;
    case 0x01: v = lt_take_uleb(r); break;
    case 0x02: v = lt_take(r, 2); break;
    case 0x03: v = lt_take(r, 4); break;
    case 0x09: v = (uint64_t)lt_take_sleb(r); break;
    case 0x0a: v = (uint64_t)(int16_t)lt_take(r, 2); break;
    case 0x0b: v = (uint64_t)(int32_t)lt_take(r, 4); break;
    default: r->bad = true; return 0;
    }
    switch (enc & 0x70) {
    case 0: return v;
    case LT_PE_PCREL: return v + here;
    case LT_PE_DATAREL: return v + data;
    default: r->bad = true; return 0;
    }
}

#endif
