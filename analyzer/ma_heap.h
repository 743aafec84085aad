/* SPDX-License-Identifier: MIT
 *
 * The live set of one process: its blocks by address. Open addressing with
 * linear probing and no tombstones; 32 bytes a block, filled to eleven sixteenths at most.
 * The hash has a multiplier of its own in every run, so a hostile trace cannot
 * aim for collisions.
 */
#ifndef MA_HEAP_H
#define MA_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ma_block {
    uint64_t address; /* 0: an empty place */
    uint64_t size;
    uint64_t time; /* of its allocation, in ticks */
    uint32_t use;  /* index of its stack among the process's uses; MA_NONE: inherited */
    uint32_t thread;
};

struct ma_heap {
    struct ma_block *blocks;
    size_t capacity, count;
};

/* Make an empty heap ready for count blocks. Whoever copies from another heap
 * must: blocks come in the order of their hashes, and would all crowd into the
 * front of a table that grows. Returns 0 or -ENOMEM. */
int ma_heap_reserve(struct ma_heap *heap, size_t count);

/* Put a block. If its address was taken, the former block goes to *former and
 * 1 is returned; else 0, or -ENOMEM. */
int ma_heap_put(struct ma_heap *heap, const struct ma_block *block, struct ma_block *former);

/* Take the block at address out. Returns whether there was one. */
bool ma_heap_take(struct ma_heap *heap, uint64_t address, struct ma_block *block);

/* The block at address, or NULL; valid until the next change. */
const struct ma_block *ma_heap_find(const struct ma_heap *heap, uint64_t address);

void ma_heap_free(struct ma_heap *heap);

#endif
