/* SPDX-License-Identifier: MIT
 *
 * The delta state of events and definitions chunks (FORMAT.md sections 6 and
 * 7), writer's side. A state belongs to one context; it begins anew with each
 * chunk. The functions write operands and return the position after them;
 * they store up to 8 bytes beyond, so the caller keeps LT_ITEM_MAX free.
 *
 * The rings are searched by small hash tables of ring positions. An entry is
 * never trusted: the ring must hold the value sought, within the pushes of
 * this chunk, so stale entries cost bytes and not truth, and nothing needs
 * clearing at the start of a chunk.
 */
#ifndef LT_ENCODE_H
#define LT_ENCODE_H

#include <stdint.h>

#include "mlf_codec.h"
#include "mlf_format.h"

#define LT_ADDRESS_TABLE_LOG2 10
#define LT_STACK_TABLE_LOG2 9

struct lt_encoder {
    uint64_t last, next; /* FORMAT.md section 7 */
    uint32_t last_explicit_stack;
    uint32_t address_pushes; /* in this chunk */
    uint32_t stack_pushes;
    uint64_t addresses[MLF_RING];
    uint32_t stacks[MLF_RING];
    uint32_t sizes[MLF_RING]; /* UINT32_MAX: too large to be repeated */
    unsigned char address_at[1 << LT_ADDRESS_TABLE_LOG2];
    unsigned char stack_at[1 << LT_STACK_TABLE_LOG2];
};

#define LT_FRAME_TABLE_LOG2 11
struct lt_node_encoder {
    uint32_t last_id;
    uint32_t frames;      /* listed so far, in all chunks */
    uint32_t chunk_floor; /* ... and before this chunk */
    struct {
        uint64_t key;    /* program counter and module generation */
        uint32_t number; /* value of `frames` when it was listed */
    } frame_at[1 << LT_FRAME_TABLE_LOG2];
};

static inline void lt_encoder_begin(struct lt_encoder *e)
{
    e->last = e->next = 0;
    e->last_explicit_stack = 0;
    e->address_pushes = e->stack_pushes = 0;
}

static inline unsigned lt_address_slot(uint64_t address)
{
    return (unsigned)((address >> 4) * 0x9e3779b97f4a7c15u >> (64 - LT_ADDRESS_TABLE_LOG2));
}

static inline unsigned lt_stack_slot(uint32_t stack)
{
    return stack * 0x9e3779b1u >> (32 - LT_STACK_TABLE_LOG2);
}

static inline void lt_push_address(struct lt_encoder *e, uint64_t address)
{
    unsigned at = e->address_pushes++ % MLF_RING;
    e->addresses[at] = address;
    e->address_at[lt_address_slot(address)] = (unsigned char)at;
    e->last = address;
}

/* Pushes since the address was pushed, 1 to 256; 0 if not in the ring. */
static inline unsigned lt_address_distance(const struct lt_encoder *e, uint64_t address)
{
    unsigned at = e->address_at[lt_address_slot(address)];
    unsigned distance = ((e->address_pushes - 1 - at) % MLF_RING) + 1;
    return distance <= e->address_pushes && e->addresses[at] == address ? distance : 0;
}

/* Address code and operands of FREE, REALLOC, FREE_BY. */
static inline unsigned char *lt_put_address(const struct lt_encoder *e, unsigned char *p,
                                            uint64_t address, unsigned *code)
{
    unsigned distance = lt_address_distance(e, address);
    if (distance) {
        if (distance <= MLF_ADDR_NEAR_MAX + 1) {
            *code = distance - 1;
            return p;
        }
        *code = MLF_ADDR_RING;
        *p = (unsigned char)(distance - MLF_ADDR_RING_FIRST);
        return p + 1;
    }
    int64_t delta = (int64_t)(address - e->last);
    if (delta % MLF_ADDR_GRAIN == 0) {
        *code = MLF_ADDR_DELTA;
        return mlf_put_vu(p, mlf_zigzag(delta / MLF_ADDR_GRAIN));
    }
    *code = MLF_ADDR_ABSOLUTE;
    mlf_put_u64(p, address);
    return p + 8;
}

struct lt_alloc {
    uint64_t address, size, usable;
    uint64_t default_usable;
    uint64_t block_header;
    uint32_t stack;
    unsigned function, align_log2;
    unsigned plain; /* the function that needs no operand: malloc, or realloc in REALLOC */
};

static inline unsigned lt_function_is_aligned(unsigned function)
{
    return function >= MLF_FN_memalign && function <= MLF_FN_aligned_alloc;
}

/* Operands of ALLOC but the time; pushes address and stack. */
static inline __attribute__((always_inline)) unsigned char *
lt_put_alloc(struct lt_encoder *e, unsigned char *p, const struct lt_alloc *a, unsigned *flags_out)
{
    unsigned flags = 0;
    if (__builtin_expect(a->function != a->plain, 0)) {
        flags = MLF_ALLOC_FUNCTION;
        *p++ = (unsigned char)a->function;
        if (lt_function_is_aligned(a->function))
            *p++ = (unsigned char)a->align_log2;
    }
    int64_t delta = (int64_t)(a->address - e->last);
    unsigned distance;
    if (a->address == e->next) {
        flags |= MLF_ALLOC_ADDRESS_NEXT;
    } else if ((distance = lt_address_distance(e, a->address)) != 0) {
        *p++ = (unsigned char)(distance - 1);
    } else if (__builtin_expect(delta % MLF_ADDR_GRAIN == 0, 1)) {
        flags |= MLF_ALLOC_ADDRESS_DELTA;
        p = mlf_put_vu(p, mlf_zigzag(delta / MLF_ADDR_GRAIN));
    } else {
        flags |= MLF_ALLOC_ADDRESS_ABSOLUTE;
        mlf_put_u64(p, a->address);
        p += 8;
    }
    lt_push_address(e, a->address);
    e->next = a->address + a->usable + a->block_header;

    unsigned slot = lt_stack_slot(a->stack), at = e->stack_at[slot];
    uint32_t short_size = a->size < UINT32_MAX ? (uint32_t)a->size : UINT32_MAX;
    distance = ((e->stack_pushes - 1 - at) % MLF_RING) + 1;
    unsigned same_size = 0;
    if (distance <= e->stack_pushes && e->stacks[at] == a->stack) {
        *p++ = (unsigned char)(distance - 1);
        same_size = e->sizes[at] == short_size && short_size != UINT32_MAX;
    } else {
        flags |= MLF_ALLOC_STACK;
        p = mlf_put_vu(p, mlf_zigzag((int64_t)a->stack - (int64_t)e->last_explicit_stack));
        e->last_explicit_stack = a->stack;
    }
    if (!same_size) {
        flags |= MLF_ALLOC_SIZE;
        p = mlf_put_vu(p, a->size);
    }
    at = e->stack_pushes++ % MLF_RING;
    e->stacks[at] = a->stack;
    e->sizes[at] = short_size;
    e->stack_at[slot] = (unsigned char)at;

    if (__builtin_expect(a->usable != a->default_usable, 0)) {
        flags |= MLF_ALLOC_USABLE;
        p = mlf_put_vu(p, a->usable - a->size);
    }
    *flags_out = flags;
    return p;
}

static inline void lt_node_encoder_begin(struct lt_node_encoder *n)
{
    n->last_id = MLF_FIRST_NODE - 1;
    n->chunk_floor = n->frames;
}

#endif
