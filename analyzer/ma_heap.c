/* SPDX-License-Identifier: MIT
 *
 * The table of ma_heap.h. Chains rather than open addressing: these would have
 * to be two thirds empty on the average between two doublings for searches as
 * short, and would hold two tables while they grow.
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
#define FIRST_HEADS_LOG2 6
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

/* Twice the heads, or the first ones. */
static int grow_heads(struct ma_heap *heap)
{
    unsigned shift = heap->heads ? heap->shift - 1 : 64 - FIRST_HEADS_LOG2;
    size_t n = (size_t)1 << (64 - shift);
    uint32_t *heads = calloc(n, sizeof *heads);
    if (!heads)
        return -ENOMEM;
    prefer_huge_pages(heads, n * sizeof *heads);
    free(heap->heads);
    heap->heads = heads;
    heap->shift = shift;
    for (size_t i = 0; i < heap->n_entries; i++) {
        struct ma_heap_entry *entry = &heap->entries[i];
        if (entry->use == MA_HEAP_FREE)
            continue;
        uint32_t *head = &heads[ma_heap_home(heap, address_of(heap, entry))];
        entry->next = *head;
        *head = (uint32_t)i + 1;
    }
    return 0;
}

static int grow_entries(struct ma_heap *heap)
{
    size_t capacity = heap->capacity + heap->capacity / 2 + ((size_t)1 << FIRST_HEADS_LOG2);
    struct ma_heap_entry *entries = realloc(heap->entries, capacity * sizeof *entries);
    if (!entries || heap->n_entries >= UINT32_MAX - 1)
        return -ENOMEM;
    heap->entries = entries;
    heap->capacity = capacity;
    return 0;
}

static int first_block(struct ma_heap *heap, uint64_t time)
{
    if (!ma_heap_multiplier)
        ma_heap_multiplier = choose_multiplier();
    heap->origin = time;
    return grow_heads(heap);
}

int ma_heap_put(struct ma_heap *heap, const struct ma_block *block, struct ma_block *former)
{
    if (__builtin_expect(!heap->heads, 0) && first_block(heap, block->time) < 0)
        return -ENOMEM;
    uint32_t *head = &heap->heads[ma_heap_home(heap, block->address)];
    for (uint32_t i = *head; i; i = heap->entries[i - 1].next) {
        struct ma_heap_entry *entry = &heap->entries[i - 1];
        if (!is_at(heap, entry, block->address))
            continue;
        unpack(heap, entry, former);
        struct ma_heap_entry old = *entry;
        if (pack(heap, block, entry) < 0)
            return -ENOMEM;
        drop_wide(heap, &old);
        return 1;
    }
    uint32_t index = heap->free;
    struct ma_heap_entry *entry;
    if (index) {
        entry = &heap->entries[index - 1];
        uint32_t next = entry->next;
        if (pack(heap, block, entry) < 0)
            return -ENOMEM;
        heap->free = next;
    } else {
        if (__builtin_expect(heap->n_entries == heap->capacity, 0) && grow_entries(heap) < 0)
            return -ENOMEM;
        if (__builtin_expect(heap->n_entries >= (size_t)2 << (64 - heap->shift), 0)) {
            if (grow_heads(heap) < 0)
                return -ENOMEM;
            head = &heap->heads[ma_heap_home(heap, block->address)];
        }
        entry = &heap->entries[heap->n_entries];
        if (pack(heap, block, entry) < 0)
            return -ENOMEM;
        index = (uint32_t)++heap->n_entries;
    }
    entry->next = *head;
    *head = index;
    heap->count++;
    return 0;
}

bool ma_heap_take(struct ma_heap *heap, uint64_t address, struct ma_block *block)
{
    if (__builtin_expect(!heap->heads, 0))
        return false;
    uint32_t *link = &heap->heads[ma_heap_home(heap, address)];
    while (*link) {
        uint32_t index = *link;
        struct ma_heap_entry *entry = &heap->entries[index - 1];
        if (is_at(heap, entry, address)) {
            unpack(heap, entry, block);
            drop_wide(heap, entry);
            *link = entry->next;
            entry->use = MA_HEAP_FREE;
            entry->next = heap->free;
            heap->free = index;
            heap->count--;
            return true;
        }
        link = &entry->next;
    }
    return false;
}

bool ma_heap_find(const struct ma_heap *heap, uint64_t address, struct ma_block *block)
{
    if (!heap->heads)
        return false;
    for (uint32_t i = heap->heads[ma_heap_home(heap, address)]; i;
         i = heap->entries[i - 1].next) {
        if (is_at(heap, &heap->entries[i - 1], address)) {
            unpack(heap, &heap->entries[i - 1], block);
            return true;
        }
    }
    return false;
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
    free(heap->heads);
    free(heap->entries);
    free(heap->wide);
    *heap = (struct ma_heap){ 0 };
}
