/* SPDX-License-Identifier: MIT
 *
 * The live set of one process: its blocks by address, in two parts. Most blocks
 * die young, and allocators hand an address that was freed out again at once: so
 * a new block goes into a small direct-mapped cache of whole struct ma_block,
 * the nursery, and leaves it for the table only when another block takes its
 * slot. A slot whose block ended keeps the address, which says that the table
 * does not have it: most allocations and frees touch a single slot.
 *
 * The table: entries of 24 bytes lie without gaps in one array, which grows in
 * place; one that is freed is used again first. A hash table finds them: buckets
 * of one cache line, each with twelve places of a tag (8 bits of the hash) and an
 * entry's number, filled to nine tenths and grown by a third. So a live block
 * costs 30 to 32 bytes whatever the number of blocks, an address that is not live
 * is known from one cache line, and one that is from two. The replay works on
 * struct ma_block; only this module knows the packed form:
 *
 *   address 48, thread 16 | size 32 | site 32 | time 44, slack 20
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
#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct ma_block {
    uint64_t address, size, usable;
    uint64_t time;   /* of its allocation, in ticks */
    uint32_t site;   /* index of its stack among the process's sites */
    uint32_t thread; /* index of the stream that stands for its thread */
};

struct ma_heap_entry {
    uint32_t address_low;
    uint16_t address_high, thread;
    uint32_t size; /* of a free entry: 1 + index of the next free one; 0: none */
    uint32_t site; /* MA_HEAP_FREE: no block */
    uint32_t time_low;
    uint32_t time_high_slack; /* 12 bits, 20 bits */
};
#define MA_HEAP_FREE UINT32_MAX

#define MA_HEAP_PLACES 12

struct ma_heap_bucket {
    uint8_t tags[MA_HEAP_PLACES]; /* the first `used` are */
    uint8_t used, unused;
    uint16_t passed; /* blocks that found no place here and went on; sticks at its most */
    uint32_t entries[MA_HEAP_PLACES];
};

struct ma_heap_wide;

struct ma_heap {
    struct ma_block *nursery; /* site MA_HEAP_FREE: not live, and not in the table either;
                                 NULL before the first block and while the heap rests */
    unsigned nursery_shift;   /* 64 less log2 of its slots */
    uint32_t misses;          /* puts that found another address in their slot */
    size_t count;             /* blocks in all */

    struct ma_heap_bucket *buckets;
    size_t n_buckets, most; /* most: blocks before it grows */
    struct ma_heap_entry *entries;
    size_t n_entries, capacity; /* ever used; allocated */
    uint32_t free;              /* 1 + index of the first free entry; 0: none */
    size_t n_old;               /* blocks in the table */
    uint64_t origin;            /* ticks */
    unsigned time_shift;
    struct ma_heap_wide *wide; /* blocks that do not fit an entry */
    size_t n_wide, wide_capacity;
    uint32_t free_wide;
};

extern uint64_t ma_heap_multiplier; /* odd; 0 until the first heap has a block */

static inline uint64_t ma_heap_hash(uint64_t address)
{
    uint64_t hash = address * ma_heap_multiplier;
    hash ^= hash >> 29; /* one product alone lays out evenly spaced blocks evenly, or in heaps */
    return hash * 0xbf58476d1ce4e5b9u;
}

static inline size_t ma_heap_home(const struct ma_heap *heap, uint64_t hash)
{
    return (size_t)((unsigned __int128)hash * heap->n_buckets >> 64);
}

/* Bit n of the result is set if place n of the bucket is used and its tag that
 * of the hash. */
static inline unsigned ma_heap_match(const struct ma_heap_bucket *bucket, uint64_t hash)
{
    unsigned used = (1u << bucket->used) - 1;
#ifdef __SSE2__
    __m128i tags = _mm_load_si128((const __m128i *)(const void *)bucket);
    __m128i same = _mm_cmpeq_epi8(tags, _mm_set1_epi8((char)(hash >> 32)));
    return (unsigned)_mm_movemask_epi8(same) & used;
#else
    unsigned same = 0;
    for (unsigned i = 0; i < MA_HEAP_PLACES; i++)
        same |= (unsigned)(bucket->tags[i] == (uint8_t)(hash >> 32)) << i;
    return same & used;
#endif
}

static inline struct ma_block *ma_heap_slot(const struct ma_heap *heap, uint64_t address)
{
    return &heap->nursery[address * 0x9e3779b97f4a7c15u >> heap->nursery_shift];
}

/* The slow halves of the functions below. */
int ma_heap_put_slow(struct ma_heap *heap, const struct ma_block *block, struct ma_block *former);
bool ma_heap_take_slow(struct ma_heap *heap, uint64_t address, struct ma_block *block);

/* Put a block. If its address was taken, the former block goes to *former and
 * 1 is returned; else 0, or -ENOMEM, after which the heap may have lost its
 * blocks. block->site is not MA_HEAP_FREE. */
static inline int ma_heap_put(struct ma_heap *heap, const struct ma_block *block,
                              struct ma_block *former)
{
    struct ma_block *slot = heap->nursery ? ma_heap_slot(heap, block->address) : NULL;
    if (__builtin_expect(!slot || slot->address != block->address, 0))
        return ma_heap_put_slow(heap, block, former);
    int live = slot->site != MA_HEAP_FREE;
    if (__builtin_expect(live, 0))
        *former = *slot;
    *slot = *block;
    heap->count += !live;
    return live;
}

/* Take the block at address out. Returns whether there was one. */
static inline bool ma_heap_take(struct ma_heap *heap, uint64_t address, struct ma_block *block)
{
    struct ma_block *slot = heap->nursery ? ma_heap_slot(heap, address) : NULL;
    if (!slot || slot->address != address)
        return ma_heap_take_slow(heap, address, block);
    *block = *slot;
    bool live = slot->site != MA_HEAP_FREE;
    slot->site = MA_HEAP_FREE;
    heap->count -= live;
    return live;
}

/* Look at the block at address. Returns whether there is one. */
bool ma_heap_find(const struct ma_heap *heap, uint64_t address, struct ma_block *block);

/* For walks over the whole live set, in no order: the block in place i, which is
 * less than ma_heap_places. Returns false if there is none. No block may be put
 * in between. */
size_t ma_heap_places(const struct ma_heap *heap);
bool ma_heap_at(const struct ma_heap *heap, size_t i, struct ma_block *block);

/* Nothing more is expected to happen: its blocks are kept in as little memory as
 * can be. Returns 0 or -ENOMEM, as ma_heap_put. */
int ma_heap_rest(struct ma_heap *heap);

void ma_heap_free(struct ma_heap *heap);

static inline void ma_prefetch(const void *memory)
{
    __builtin_prefetch(memory);
    /* GCC 12 takes a function that only prefetches for one without effect and
     * drops its calls. */
    __asm__ volatile("");
}

/* Prefetch the memory that take or put will need : the first some events
 * ahead; the second a few, for a block that is not in the nursery. They change
 * nothing. The heap has a nursery and buckets. */
static inline void ma_heap_prefetch(const struct ma_heap *heap, uint64_t address, bool put)
{
    const struct ma_block *slot = ma_heap_slot(heap, address);
    if (__builtin_expect(slot->address == address, 1))
        return;
    ma_prefetch(&heap->buckets[ma_heap_home(heap, ma_heap_hash(address))]);
    if (put && slot->site != MA_HEAP_FREE) /* will make room */
        ma_prefetch(&heap->buckets[ma_heap_home(heap, ma_heap_hash(slot->address))]);
}

static inline void ma_heap_prefetch_entry(const struct ma_heap *heap, uint64_t address)
{
    uint64_t hash = ma_heap_hash(address);
    const struct ma_heap_bucket *bucket = &heap->buckets[ma_heap_home(heap, hash)];
    unsigned places = ma_heap_match(bucket, hash);
    unsigned at = (unsigned)__builtin_ctz(places | 1u << (MA_HEAP_PLACES - 1));
    ma_prefetch(&heap->entries[bucket->entries[at]]);
}

#endif
