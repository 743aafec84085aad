/* SPDX-License-Identifier: MIT
 *
 * The live set of one process: its blocks by address. Entries of 28 bytes lie
 * without gaps in one array (a freed one is used again first); a hash table of
 * 4-byte heads, one for each one to two entries, begins a chain through them.
 * So a live block costs 30 to 32 bytes whatever the number of blocks, and the
 * array grows in place. The replay works on struct ma_block; only this module
 * knows the packed form:
 *
 *   next 32 | address 48, thread 16 | size 32 | use 32 | time 44, slack 20
 *
 * slack is usable less requested size. time is in units of 2^time_shift ticks
 * since the heap's origin; the shift is 0 until a run has lasted 2^44 ticks (a
 * day at 5 ns), then each doubling of the run costs a bit of all times. A block
 * that does not fit (4 GiB and more, an address with high bits, the 65,536th
 * thread) keeps these fields in a side table.
 *
 * The hash has a multiplier of its own in every run, so a hostile trace cannot
 * aim for collisions.
 */
#ifndef MA_HEAP_H
#define MA_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ma_block {
    uint64_t address, size, usable;
    uint64_t time;   /* of its allocation, in ticks */
    uint32_t use;    /* index of its stack among the process's uses */
    uint32_t thread; /* index of the stream that stands for its thread */
};

struct ma_heap_entry {
    uint32_t next; /* 1 + index of the next in the chain, or of free entries; 0: none */
    uint32_t address_low;
    uint16_t address_high, thread;
    uint32_t size;
    uint32_t use; /* MA_HEAP_FREE: no block */
    uint32_t time_low;
    uint32_t time_high_slack; /* 12 bits, 20 bits */
};
#define MA_HEAP_FREE UINT32_MAX

struct ma_heap_wide;

struct ma_heap {
    uint32_t *heads; /* 1 + index of the first entry of a chain; 0: empty */
    unsigned shift;  /* 64 less log2 of their number */
    struct ma_heap_entry *entries;
    size_t n_entries, capacity; /* ever used; allocated */
    uint32_t free;              /* 1 + index of the first free entry; 0: none */
    size_t count;               /* blocks */
    uint64_t origin;            /* ticks */
    unsigned time_shift;
    struct ma_heap_wide *wide; /* blocks that do not fit an entry */
    size_t n_wide, wide_capacity;
    uint32_t free_wide;
};

extern uint64_t ma_heap_multiplier; /* odd; 0 until the first heap has a block */

static inline size_t ma_heap_home(const struct ma_heap *heap, uint64_t address)
{
    return (size_t)((address ^ address >> 32) * ma_heap_multiplier >> heap->shift);
}

/* Put a block. If its address was taken, the former block goes to *former and
 * 1 is returned; else 0, or -ENOMEM. block->use is not MA_HEAP_FREE. */
int ma_heap_put(struct ma_heap *heap, const struct ma_block *block, struct ma_block *former);

/* Take the block at address out. Returns whether there was one. */
bool ma_heap_take(struct ma_heap *heap, uint64_t address, struct ma_block *block);

/* Look at the block at address. Returns whether there is one. */
bool ma_heap_find(const struct ma_heap *heap, uint64_t address, struct ma_block *block);

/* The block in entries[i], i < n_entries. Returns false if there is none. For
 * walks over the whole live set, in no order; no block may be put in between. */
bool ma_heap_at(const struct ma_heap *heap, size_t i, struct ma_block *block);

void ma_heap_free(struct ma_heap *heap);

/* Have the memory that put, take or find will need brought near: call the first
 * some events ahead, the second a few. Both change nothing. */
static inline void ma_heap_prefetch_head(const struct ma_heap *heap, uint64_t address)
{
    if (heap->heads)
        __builtin_prefetch(&heap->heads[ma_heap_home(heap, address)]);
}

static inline void ma_heap_prefetch_entry(const struct ma_heap *heap, uint64_t address)
{
    if (!heap->heads)
        return;
    uint32_t head = heap->heads[ma_heap_home(heap, address)];
    __builtin_prefetch(&heap->entries[head - !!head]);
}

#endif
