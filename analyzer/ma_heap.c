/* SPDX-License-Identifier: MIT
 *
 * The table of ma_heap.h. A block's home is the high half of hash × capacity,
 * so capacity need not be a power of two and grows by half. Removal shifts the
 * blocks of a run back over the hole.
 */
#include "ma_heap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

static uint64_t multiplier;

static uint64_t choose_multiplier(void)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = 0x9e3779b97f4a7c15ull;
    return random | 1;
}

static inline size_t home(const struct ma_heap *heap, uint64_t address)
{
    uint64_t hash = address * multiplier;
    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15ull;
    return (size_t)((unsigned __int128)hash * heap->capacity >> 64);
}

/* Address 0 marks an empty place; a trace may still name it. */
static inline uint64_t key_of(uint64_t address)
{
    return address ? address : UINT64_MAX;
}

static inline size_t next(const struct ma_heap *heap, size_t i)
{
    return i + 1 == heap->capacity ? 0 : i + 1;
}

static inline struct ma_block *place(const struct ma_heap *heap, uint64_t key)
{
    size_t i = home(heap, key);
    while (heap->blocks[i].address && heap->blocks[i].address != key)
        i = next(heap, i);
    return &heap->blocks[i];
}

int ma_heap_reserve(struct ma_heap *heap, size_t count)
{
    if (!multiplier)
        multiplier = choose_multiplier();
    size_t capacity = count + count / 2 + 16;
    struct ma_block *blocks = calloc(capacity, sizeof *blocks);
    if (!blocks)
        return -ENOMEM;
    free(heap->blocks);
    *heap = (struct ma_heap){ .blocks = blocks, .capacity = capacity };
    return 0;
}

static int grow(struct ma_heap *heap)
{
    struct ma_heap larger = { 0 };
    if (ma_heap_reserve(&larger, heap->capacity) < 0)
        return -ENOMEM;
    larger.count = heap->count;
    for (size_t i = 0; i < heap->capacity; i++) {
        if (heap->blocks[i].address)
            *place(&larger, heap->blocks[i].address) = heap->blocks[i];
    }
    free(heap->blocks);
    *heap = larger;
    return 0;
}

int ma_heap_put(struct ma_heap *heap, const struct ma_block *block, struct ma_block *former)
{
    if (heap->count >= heap->capacity - heap->capacity / 4 - heap->capacity / 16 && grow(heap) < 0)
        return -ENOMEM;
    uint64_t key = key_of(block->address);
    struct ma_block *to = place(heap, key);
    int taken = to->address != 0;
    if (taken)
        *former = *to;
    else
        heap->count++;
    *to = *block;
    to->address = key;
    return taken;
}

bool ma_heap_take(struct ma_heap *heap, uint64_t address, struct ma_block *block)
{
    if (!heap->count)
        return false;
    struct ma_block *found = place(heap, key_of(address));
    if (!found->address)
        return false;
    *block = *found;
    heap->count--;
    size_t hole = (size_t)(found - heap->blocks);
    for (size_t i = next(heap, hole); heap->blocks[i].address; i = next(heap, i)) {
        size_t at = home(heap, heap->blocks[i].address);
        /* Move it unless its home lies cyclically behind the hole. */
        bool stays = hole < i ? hole < at && at <= i : hole < at || at <= i;
        if (stays)
            continue;
        heap->blocks[hole] = heap->blocks[i];
        hole = i;
    }
    heap->blocks[hole].address = 0;
    return true;
}

const struct ma_block *ma_heap_find(const struct ma_heap *heap, uint64_t address)
{
    if (!heap->count)
        return NULL;
    const struct ma_block *found = place(heap, key_of(address));
    return found->address ? found : NULL;
}

void ma_heap_free(struct ma_heap *heap)
{
    free(heap->blocks);
    *heap = (struct ma_heap){ 0 };
}
