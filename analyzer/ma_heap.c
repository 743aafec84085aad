/* SPDX-License-Identifier: MIT
 *
 * The table of ma_heap.h. A block whose home is full goes to the next bucket
 * that is not; the buckets it passed count it, so a search ends at the first
 * bucket that was never passed.
 */
#include "ma_heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define ADDRESS_BITS 48
#define TIME_BITS 44
#define SLACK_WIDE 0xfffffu /* the entry's size is 1 + an index of wide ones */
#define HUGE_PAGE ((size_t)2 << 20)

struct ma_heap_wide {
    uint64_t address, size, usable;
    uint32_t thread;
    uint32_t next; /* of free ones */
};

uint64_t ma_heap_multiplier;

static uint64_t choose_multiplier(void)
{
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = 0x9e3779b97f4a7c15ull;
    return random | 1;
}

static inline uint64_t time_of(const struct ma_heap_entry *entry)
{
    return entry->time_low | (uint64_t)(entry->time_high_slack & 0xfff) << 32;
}

static inline uint32_t slack_of(const struct ma_heap_entry *entry)
{
    return entry->time_high_slack >> 12;
}

static inline bool is_at(const struct ma_heap *heap, const struct ma_heap_entry *entry,
                         uint64_t address)
{
    if (entry->address_low != (uint32_t)address ||
        entry->address_high != (uint16_t)(address >> 32))
        return false;
    if (__builtin_expect(slack_of(entry) == SLACK_WIDE, 0))
        return heap->wide[entry->size - 1].address == address;
    return address >> ADDRESS_BITS == 0;
}

static inline void unpack(const struct ma_heap *heap, const struct ma_heap_entry *entry,
                          struct ma_block *block)
{
    block->address = entry->address_low | (uint64_t)entry->address_high << 32;
    block->size = entry->size;
    block->usable = (uint64_t)entry->size + slack_of(entry);
    block->time = heap->origin + (time_of(entry) << heap->time_shift);
    block->use = entry->use;
    block->thread = entry->thread;
    if (__builtin_expect(slack_of(entry) == SLACK_WIDE, 0)) {
        const struct ma_heap_wide *wide = &heap->wide[entry->size - 1];
        block->address = wide->address;
        block->size = wide->size;
        block->usable = wide->usable;
        block->thread = wide->thread;
    }
}

/* The run has outlasted what times can tell: a bit less for all of them. */
static void coarsen(struct ma_heap *heap, uint64_t since)
{
    unsigned by = 0;
    while (since >> heap->time_shift >> by >> TIME_BITS)
        by++;
    heap->time_shift += by;
    for (size_t i = 0; i < heap->n_entries; i++) {
        struct ma_heap_entry *entry = &heap->entries[i];
        uint64_t time = time_of(entry) >> by;
        entry->time_low = (uint32_t)time;
        entry->time_high_slack = (entry->time_high_slack & ~0xfffu) | (uint32_t)(time >> 32);
    }
}

static uint32_t add_wide(struct ma_heap *heap, const struct ma_block *block)
{
    uint32_t index = heap->free_wide;
    if (index) {
        heap->free_wide = heap->wide[index - 1].next;
    } else {
        if (heap->n_wide == heap->wide_capacity) {
            size_t more = heap->wide_capacity + heap->wide_capacity / 2 + 16;
            struct ma_heap_wide *grown = realloc(heap->wide, more * sizeof *grown);
            if (!grown)
                return 0;
            heap->wide = grown;
            heap->wide_capacity = more;
        }
        index = (uint32_t)++heap->n_wide;
    }
    heap->wide[index - 1] = (struct ma_heap_wide){
        .address = block->address, .size = block->size, .usable = block->usable,
        .thread = block->thread,
    };
    return index;
}

static inline void drop_wide(struct ma_heap *heap, const struct ma_heap_entry *entry)
{
    if (__builtin_expect(slack_of(entry) != SLACK_WIDE, 1))
        return;
    heap->wide[entry->size - 1].next = heap->free_wide;
    heap->free_wide = entry->size;
}

/* All of an entry but next. Returns 0 or -ENOMEM with the entry unchanged. */
static inline int pack(struct ma_heap *heap, const struct ma_block *block,
                       struct ma_heap_entry *entry)
{
    uint64_t since = block->time > heap->origin ? block->time - heap->origin : 0;
    if (__builtin_expect(since >> heap->time_shift >> TIME_BITS != 0, 0))
        coarsen(heap, since);
    uint64_t time = since >> heap->time_shift;
    uint64_t slack = block->usable - block->size;
    uint32_t size = (uint32_t)block->size;
    if (__builtin_expect((block->address >> ADDRESS_BITS) | (block->size >> 32) |
                             (block->thread >> 16) | (slack >= SLACK_WIDE), 0)) {
        slack = SLACK_WIDE;
        size = add_wide(heap, block);
        if (!size)
            return -ENOMEM;
    }
    entry->address_low = (uint32_t)block->address;
    entry->address_high = (uint16_t)(block->address >> 32);
    entry->thread = (uint16_t)block->thread;
    entry->size = size;
    entry->use = block->use;
    entry->time_low = (uint32_t)time;
    entry->time_high_slack = (uint32_t)(time >> 32) | (uint32_t)slack << 12;
    return 0;
}

static inline uint64_t address_of(const struct ma_heap *heap, const struct ma_heap_entry *entry)
{
    if (__builtin_expect(slack_of(entry) == SLACK_WIDE, 0))
        return heap->wide[entry->size - 1].address;
    return entry->address_low | (uint64_t)entry->address_high << 32;
}

/* Large tables are walked at random: huge pages spare their translations. */
static void prefer_huge_pages(void *start, size_t size)
{
    uintptr_t from = ((uintptr_t)start + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
    uintptr_t to = ((uintptr_t)start + size) & ~(HUGE_PAGE - 1);
    if (to > from)
        madvise((void *)from, to - from, MADV_HUGEPAGE);
}

static inline struct ma_heap_bucket *next(const struct ma_heap *heap,
                                          struct ma_heap_bucket *bucket)
{
    return ++bucket == heap->buckets + heap->n_buckets ? heap->buckets : bucket;
}

/* Give an entry a place. There is one. */
static inline void place(struct ma_heap *heap, uint64_t hash, uint32_t index)
{
    struct ma_heap_bucket *bucket = &heap->buckets[ma_heap_home(heap, hash)];
    while (bucket->used == MA_HEAP_PLACES) {
        bucket->passed += bucket->passed != UINT16_MAX;
        bucket = next(heap, bucket);
    }
    bucket->tags[bucket->used] = (uint8_t)(hash >> 32);
    bucket->entries[bucket->used++] = index;
}

/* Where a block is: its bucket and place there. */
struct found {
    struct ma_heap_bucket *bucket;
    unsigned place;
};

static inline bool search(const struct ma_heap *heap, uint64_t hash, uint64_t address,
                          struct found *found)
{
    struct ma_heap_bucket *const home = &heap->buckets[ma_heap_home(heap, hash)];
    struct ma_heap_bucket *bucket = home;
    do {
        for (unsigned places = ma_heap_match(bucket, hash); places; places &= places - 1) {
            unsigned at = (unsigned)__builtin_ctz(places);
            if (__builtin_expect(is_at(heap, &heap->entries[bucket->entries[at]], address), 1)) {
                *found = (struct found){ bucket, at };
                return true;
            }
        }
        if (__builtin_expect(!bucket->passed, 1))
            return false;
        bucket = next(heap, bucket);
    } while (bucket != home);
    return false;
}

/* A third more buckets, or the first ones. The old ones go before the new ones
 * come, for all is in the entries; so without memory all is lost. */
static int grow_buckets(struct ma_heap *heap)
{
    size_t n = heap->n_buckets + heap->n_buckets / 3 + 1;
    free(heap->buckets);
    heap->buckets = NULL;
    struct ma_heap_bucket *buckets = aligned_alloc(sizeof *buckets, n * sizeof *buckets);
    if (!buckets) {
        ma_heap_free(heap);
        return -ENOMEM;
    }
    prefer_huge_pages(buckets, n * sizeof *buckets);
    memset(buckets, 0, n * sizeof *buckets);
    heap->buckets = buckets;
    heap->n_buckets = n;
    heap->most = n * MA_HEAP_PLACES - (n * MA_HEAP_PLACES + 9) / 10;
    for (size_t i = 0; i < heap->n_entries; i++) {
        size_t ahead = i + 16 < heap->n_entries ? i + 16 : i;
        ma_heap_prefetch(heap, address_of(heap, &heap->entries[ahead]));
        if (heap->entries[i].use != MA_HEAP_FREE)
            place(heap, ma_heap_hash(address_of(heap, &heap->entries[i])), (uint32_t)i);
    }
    return 0;
}

static int grow_entries(struct ma_heap *heap)
{
    size_t capacity = heap->capacity + heap->capacity / 2 + 16;
    struct ma_heap_entry *entries = realloc(heap->entries, capacity * sizeof *entries);
    if (!entries || heap->n_entries >= UINT32_MAX - 1)
        return -ENOMEM;
    prefer_huge_pages(entries, capacity * sizeof *entries);
    heap->entries = entries;
    heap->capacity = capacity;
    return 0;
}

/* Make room for one more block. */
static int reserve(struct ma_heap *heap, uint64_t time)
{
    if (!ma_heap_multiplier)
        ma_heap_multiplier = choose_multiplier();
    if (!heap->buckets)
        heap->origin = time;
    if (!heap->free && heap->n_entries == heap->capacity && grow_entries(heap) < 0)
        return -ENOMEM;
    return heap->count < heap->most ? 0 : grow_buckets(heap);
}

int ma_heap_put(struct ma_heap *heap, const struct ma_block *block, struct ma_block *former)
{
    if (__builtin_expect(heap->count >= heap->most ||
                             (!heap->free && heap->n_entries == heap->capacity), 0) &&
        reserve(heap, block->time) < 0)
        return -ENOMEM;
    struct found found;
    uint64_t hash = ma_heap_hash(block->address);
    if (__builtin_expect(search(heap, hash, block->address, &found), 0)) {
        struct ma_heap_entry *entry = &heap->entries[found.bucket->entries[found.place]];
        unpack(heap, entry, former);
        struct ma_heap_entry old = *entry;
        if (pack(heap, block, entry) < 0)
            return -ENOMEM;
        drop_wide(heap, &old);
        return 1;
    }
    uint32_t index = heap->free ? heap->free - 1 : (uint32_t)heap->n_entries;
    struct ma_heap_entry *entry = &heap->entries[index];
    uint32_t next_free = heap->free ? entry->size : 0;
    if (pack(heap, block, entry) < 0)
        return -ENOMEM;
    heap->n_entries += !heap->free;
    heap->free = next_free;
    heap->count++;
    place(heap, hash, index);
    return 0;
}

bool ma_heap_take(struct ma_heap *heap, uint64_t address, struct ma_block *block)
{
    struct found found;
    uint64_t hash = ma_heap_hash(address);
    if (__builtin_expect(!heap->count, 0) || !search(heap, hash, address, &found))
        return false;
    struct ma_heap_bucket *bucket = found.bucket;
    uint32_t index = bucket->entries[found.place];
    struct ma_heap_entry *entry = &heap->entries[index];
    unpack(heap, entry, block);
    drop_wide(heap, entry);
    entry->time_high_slack = 0; /* not wide */
    bucket->used--;
    bucket->tags[found.place] = bucket->tags[bucket->used];
    bucket->entries[found.place] = bucket->entries[bucket->used];
    struct ma_heap_bucket *home = &heap->buckets[ma_heap_home(heap, hash)];
    for (; __builtin_expect(home != bucket, 0); home = next(heap, home))
        home->passed -= home->passed != UINT16_MAX;
    entry->use = MA_HEAP_FREE;
    entry->size = heap->free;
    heap->free = index + 1;
    heap->count--;
    return true;
}

bool ma_heap_find(const struct ma_heap *heap, uint64_t address, struct ma_block *block)
{
    struct found found;
    if (!heap->count || !search(heap, ma_heap_hash(address), address, &found))
        return false;
    unpack(heap, &heap->entries[found.bucket->entries[found.place]], block);
    return true;
}

bool ma_heap_at(const struct ma_heap *heap, size_t i, struct ma_block *block)
{
    if (heap->entries[i].use == MA_HEAP_FREE)
        return false;
    unpack(heap, &heap->entries[i], block);
    return true;
}

void ma_heap_free(struct ma_heap *heap)
{
    free(heap->buckets);
    free(heap->entries);
    free(heap->wide);
    *heap = (struct ma_heap){ 0 };
}
