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
#include <sys/random.h>

#include "ma_pages.h"

#define ADDRESS_BITS 48
#define TIME_BITS 44
#define SLACK_WIDE 0xfffffu /* the entry's size is 1 + an index of wide ones */

/* Slots of the nursery: the first ones, and the most. It grows when misses have
 * come to so many a slot: so that thousands of short processes stay small. */
#define NURSERY_FIRST 5
#define NURSERY_MOST 10
#define MISSES_A_SLOT 64

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

static inline size_t nursery_slots(const struct ma_heap *heap)
{
    return heap->nursery ? (size_t)1 << (64 - heap->nursery_shift) : 0;
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
    if (entry->address_low != (uint32_t)address || entry->address_high != (uint16_t)(address >> 32))
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
    block->site = entry->site;
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
        .address = block->address,
        .size = block->size,
        .usable = block->usable,
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
                             (block->thread >> 16) | (slack >= SLACK_WIDE),
                         0)) {
        slack = SLACK_WIDE;
        size = add_wide(heap, block);
        if (!size)
            return -ENOMEM;
    }
    entry->address_low = (uint32_t)block->address;
    entry->address_high = (uint16_t)(block->address >> 32);
    entry->thread = (uint16_t)block->thread;
    entry->size = size;
    entry->site = block->site;
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

static inline struct ma_heap_bucket *next(const struct ma_heap *heap, struct ma_heap_bucket *bucket)
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

/* A block's bucket and its place there. */
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
                *found = (struct found){bucket, at};
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
    ma_pages_free(heap->buckets, heap->n_buckets * sizeof *heap->buckets);
    heap->buckets = ma_pages_new(n * sizeof *heap->buckets);
    if (!heap->buckets) {
        heap->n_buckets = 0;
        ma_heap_free(heap);
        return -ENOMEM;
    }
    heap->n_buckets = n;
    heap->most = n * MA_HEAP_PLACES - (n * MA_HEAP_PLACES + 9) / 10;
    for (size_t i = 0; i < heap->n_entries; i++) {
        size_t ahead = i + 16 < heap->n_entries ? i + 16 : i;
        uint64_t hash = ma_heap_hash(address_of(heap, &heap->entries[ahead]));
        ma_prefetch(&heap->buckets[ma_heap_home(heap, hash)]);
        if (heap->entries[i].site != MA_HEAP_FREE)
            place(heap, ma_heap_hash(address_of(heap, &heap->entries[i])), (uint32_t)i);
    }
    return 0;
}

static int grow_entries(struct ma_heap *heap)
{
    if (heap->n_entries >= UINT32_MAX - 1)
        return -ENOMEM;
    /* Half as many again, to the page: these are what memory goes with. */
    const size_t size = sizeof *heap->entries, more = heap->capacity + heap->capacity / 2 + 8;
    void *entries = ma_pages_grow(heap->entries, heap->capacity * size, more * size);
    if (!entries)
        return -ENOMEM;
    heap->entries = entries;
    heap->capacity = more;
    return 0;
}

/* Put a block into the table, which does not have its address. Returns 0 or
 * -ENOMEM. */
static int put_old(struct ma_heap *heap, const struct ma_block *block)
{
    if (!heap->free && heap->n_entries == heap->capacity && grow_entries(heap) < 0)
        return -ENOMEM;
    if (heap->n_old >= heap->most && grow_buckets(heap) < 0)
        return -ENOMEM;
    uint32_t index = heap->free ? heap->free - 1 : (uint32_t)heap->n_entries;
    struct ma_heap_entry *entry = &heap->entries[index];
    uint32_t next_free = heap->free ? entry->size : 0;
    if (pack(heap, block, entry) < 0)
        return -ENOMEM;
    heap->n_entries += !heap->free;
    heap->free = next_free;
    if (next_free)
        ma_prefetch(&heap->entries[next_free - 1]); /* the next one to be used */
    heap->n_old++;
    place(heap, ma_heap_hash(block->address), index);
    return 0;
}

/* Take the block that was found out of the table. */
static void take_old(struct ma_heap *heap, uint64_t hash, const struct found *found,
                     struct ma_block *block)
{
    struct ma_heap_bucket *bucket = found->bucket;
    uint32_t index = bucket->entries[found->place];
    struct ma_heap_entry *entry = &heap->entries[index];
    unpack(heap, entry, block);
    drop_wide(heap, entry);
    entry->time_high_slack = 0; /* not wide */
    bucket->used--;
    bucket->tags[found->place] = bucket->tags[bucket->used];
    bucket->entries[found->place] = bucket->entries[bucket->used];
    struct ma_heap_bucket *home = &heap->buckets[ma_heap_home(heap, hash)];
    for (; __builtin_expect(home != bucket, 0); home = next(heap, home))
        home->passed -= home->passed != UINT16_MAX;
    entry->site = MA_HEAP_FREE;
    entry->size = heap->free;
    heap->free = index + 1;
    heap->n_old--;
}

/* The slot of an address depends on nothing but the address, so a slot that
 * knows of no address yet has one that goes to another slot. */
static void empty_nursery(struct ma_heap *heap)
{
    size_t n = nursery_slots(heap);
    uint64_t elsewhere = 1; /* an address whose slot is not 0, as that of 0 is */
    while (ma_heap_slot(heap, elsewhere) == heap->nursery)
        elsewhere++;
    for (size_t i = 0; i < n; i++)
        heap->nursery[i] = (struct ma_block){.address = i ? 0 : elsewhere, .site = MA_HEAP_FREE};
}

int ma_heap_rest(struct ma_heap *heap)
{
    size_t n = nursery_slots(heap);
    for (size_t i = 0; i < n; i++) {
        if (heap->nursery[i].site != MA_HEAP_FREE && put_old(heap, &heap->nursery[i]) < 0)
            return -ENOMEM;
    }
    free(heap->nursery);
    heap->nursery = NULL;
    return 0;
}

/* The first nursery, or a larger one. */
static int grow_nursery(struct ma_heap *heap)
{
    unsigned log2 = heap->nursery ? NURSERY_MOST : NURSERY_FIRST;
    if (!ma_heap_multiplier)
        ma_heap_multiplier = choose_multiplier();
    if (ma_heap_rest(heap) < 0)
        return -ENOMEM;
    struct ma_block *nursery = aligned_alloc(64, sizeof *nursery << log2);
    if (!nursery)
        return -ENOMEM;
    heap->nursery = nursery;
    heap->nursery_shift = 64 - log2;
    empty_nursery(heap);
    return 0;
}

int ma_heap_put_slow(struct ma_heap *heap, const struct ma_block *block, struct ma_block *former)
{
    size_t slots = nursery_slots(heap);
    if (!slots && !heap->n_entries)
        heap->origin = block->time; /* of the first block: those that leave first may be younger */
    if (__builtin_expect(slots < (size_t)1 << NURSERY_MOST, 0) &&
        heap->misses++ >= slots * MISSES_A_SLOT && grow_nursery(heap) < 0)
        return -ENOMEM;
    struct found found;
    uint64_t hash = ma_heap_hash(block->address);
    int taken = heap->n_old && search(heap, hash, block->address, &found);
    if (__builtin_expect(taken, 0))
        take_old(heap, hash, &found, former);
    struct ma_block *slot = ma_heap_slot(heap, block->address);
    if (slot->site != MA_HEAP_FREE && put_old(heap, slot) < 0)
        return -ENOMEM;
    *slot = *block;
    heap->count += !taken;
    return taken;
}

bool ma_heap_take_slow(struct ma_heap *heap, uint64_t address, struct ma_block *block)
{
    struct found found;
    uint64_t hash = ma_heap_hash(address);
    if (!heap->n_old || !search(heap, hash, address, &found))
        return false;
    take_old(heap, hash, &found, block);
    heap->count--;
    struct ma_block *slot = heap->nursery ? ma_heap_slot(heap, address) : NULL;
    if (slot && slot->site == MA_HEAP_FREE)
        slot->address = address;
    return true;
}

bool ma_heap_find(const struct ma_heap *heap, uint64_t address, struct ma_block *block)
{
    struct found found;
    const struct ma_block *slot = heap->nursery ? ma_heap_slot(heap, address) : NULL;
    if (slot && slot->address == address) {
        *block = *slot;
        return slot->site != MA_HEAP_FREE;
    }
    if (!heap->n_old || !search(heap, ma_heap_hash(address), address, &found))
        return false;
    unpack(heap, &heap->entries[found.bucket->entries[found.place]], block);
    return true;
}

size_t ma_heap_places(const struct ma_heap *heap)
{
    return nursery_slots(heap) + heap->n_entries;
}

bool ma_heap_at(const struct ma_heap *heap, size_t i, struct ma_block *block)
{
    size_t slots = nursery_slots(heap);
    if (i < slots) {
        *block = heap->nursery[i];
        return block->site != MA_HEAP_FREE;
    }
    const struct ma_heap_entry *entry = &heap->entries[i - slots];
    if (entry->site == MA_HEAP_FREE)
        return false;
    unpack(heap, entry, block);
    return true;
}

void ma_heap_free(struct ma_heap *heap)
{
    ma_pages_free(heap->buckets, heap->n_buckets * sizeof *heap->buckets);
    ma_pages_free(heap->entries, heap->capacity * sizeof *heap->entries);
    free(heap->nursery);
    free(heap->wide);
    *heap = (struct ma_heap){0};
}
