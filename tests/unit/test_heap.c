/* SPDX-License-Identifier: MIT
 *
 * The live set against a plain table, where its two parts meet: addresses that
 * share a slot of the nursery, the address 0, blocks that fit no entry, times
 * that go back, blocks put twice, growth in between; and the mappings under it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ma_heap.h"
#include "ma_pages.h"
#include "tap.h"

enum { N = 6000, SHARED = 40, TURNS = 600000 };

/* The heap, and beside it what it should hold. */
struct world {
    struct ma_heap heap;
    uint64_t addresses[N], base;
    struct ma_block blocks[N]; /* size 0: not live */
    size_t n, live, wrong, most_old;
};

static uint64_t random_bits(unsigned bits)
{
    uint64_t all = (uint64_t)random() << 40 ^ (uint64_t)random() << 20 ^ (uint64_t)random();
    return all >> (64 - bits);
}

/* An address that goes to one of the first `slots` of the nursery, whatever its size. */
static uint64_t crowded(unsigned bits, uint64_t slots)
{
    uint64_t address;
    do
        address = random_bits(bits);
    while (address * 0x9e3779b97f4a7c15u >> 54 >= slots);
    return address;
}

/* Addresses: 0, many that share a few slots, some of them with high bits; the rest
 * as an allocator has them. */
static void choose_addresses(struct world *world, size_t n)
{
    world->n = n;
    world->base = 5000;
    world->addresses[0] = 0;
    for (size_t i = 1; i < n; i++) {
        bool taken = true;
        while (taken) {
            world->addresses[i] = i < n / 3       ? crowded(47, SHARED)
                                  : i < n / 3 + 9 ? crowded(64, SHARED)
                                                  : 0x555500000000 + i * 48;
            taken = false;
            for (size_t k = 0; k < i; k++)
                taken |= world->addresses[k] == world->addresses[i];
        }
    }
}

static struct ma_block any_block(const struct world *world, size_t i)
{
    bool wide = random() % 50 == 0;
    struct ma_block block = {
        .address = world->addresses[i],
        .size = 1 + random_bits(wide ? 40 : 14),
        .time = world->base + random_bits(30), /* now later, now earlier */
        .site = (uint32_t)random_bits(random() % 9 ? 12 : 31),
        .thread = (uint32_t)random_bits(random() % 60 ? 16 : 20),
    };
    block.usable = block.size + random_bits(random() % 60 ? 5 : 24);
    return block;
}

static bool same(const struct ma_block *a, const struct ma_block *b)
{
    return a->address == b->address && a->size == b->size && a->usable == b->usable &&
           a->time == b->time && a->site == b->site && a->thread == b->thread;
}

static void put(struct world *world, size_t i)
{
    struct ma_block block = any_block(world, i), former;
    bool was = world->blocks[i].size;
    int taken = ma_heap_put(&world->heap, &block, &former);
    world->wrong += taken != was || (was && !same(&former, &world->blocks[i]));
    world->live += !was;
    world->blocks[i] = block;
}

static void take(struct world *world, size_t i)
{
    struct ma_block block;
    bool was = world->blocks[i].size;
    bool found = ma_heap_take(&world->heap, world->addresses[i], &block);
    world->wrong += found != was || (was && !same(&block, &world->blocks[i]));
    world->live -= was;
    world->blocks[i].size = 0;
}

static void find(struct world *world, size_t i)
{
    struct ma_block block;
    bool found = ma_heap_find(&world->heap, world->addresses[i], &block);
    world->wrong +=
        found != (world->blocks[i].size != 0) || (found && !same(&block, &world->blocks[i]));
}

static void look_ahead(struct world *world, size_t i)
{
    const uint64_t address = world->addresses[i];
    if (!world->heap.nursery || !world->heap.buckets)
        return;
    ma_heap_prefetch(&world->heap, address, false);
    ma_heap_prefetch(&world->heap, address, true);
    ma_heap_prefetch_entry(&world->heap, address);
}

/* Each live block once, and nothing else. */
static void walk(struct world *world)
{
    static bool seen[N];
    size_t met = 0;
    struct ma_block block;
    memset(seen, 0, sizeof seen);
    for (size_t place = 0; place < ma_heap_places(&world->heap); place++) {
        if (!ma_heap_at(&world->heap, place, &block))
            continue;
        size_t i = 0;
        while (i < world->n && world->addresses[i] != block.address)
            i++;
        world->wrong += i == world->n || seen[i] || !same(&block, &world->blocks[i]);
        if (i < world->n)
            seen[i] = true;
        met++;
    }
    world->wrong += met != world->live;
}

static void test_against_a_plain_table(size_t n)
{
    struct world *world = calloc(1, sizeof *world);
    srandom((unsigned)n);
    choose_addresses(world, n);
    /* The first block tells where times begin. */
    struct ma_block first = any_block(world, 0), former;
    first.time = world->base;
    ma_heap_put(&world->heap, &first, &former);
    world->blocks[0] = first;
    world->live = 1;
    for (int turn = 0; turn < TURNS && !world->wrong; turn++) {
        /* Now it fills, now it empties; now all over, now again and again the same. */
        size_t i = (size_t)random() % (turn / 1000 % 3 ? n : n / 10 + 1);
        unsigned what = (unsigned)random() % 10;
        if (what < (turn / (TURNS / 4) % 2 ? 3 : 5))
            put(world, i);
        else if (what < 8)
            take(world, i);
        else if (what == 8)
            find(world, i);
        else
            look_ahead(world, i);
        if (turn % (TURNS / 50) == 0)
            walk(world);
        if (turn % (TURNS / 7) == TURNS / 14)
            world->wrong += ma_heap_rest(&world->heap) != 0 || world->heap.nursery != NULL;
        world->wrong += world->heap.count != world->live;
        if (world->heap.n_old > world->most_old)
            world->most_old = world->heap.n_old;
    }
    CHECK(!world->wrong, "%zu addresses, many in the same slots: as a plain table", n);
    CHECK(world->most_old > 1 && world->most_old < n, "up to %zu of them lay in the table",
          world->most_old);
    while (world->live) {
        for (size_t i = 0; i < n; i++)
            take(world, i);
    }
    size_t left = 0;
    for (size_t i = 0; i < world->heap.n_buckets; i++)
        left += world->heap.buckets[i].used || world->heap.buckets[i].passed;
    CHECK(!left && !world->wrong && !world->heap.count, "empty again, no bucket was ever passed");
    ma_heap_free(&world->heap);
    free(world);
}

/* The fields of struct ma_block that differ after a way through the table, for a
 * block at a time so long after the first. */
static uint64_t time_lost(uint64_t origin, uint64_t time)
{
    struct ma_heap heap = {0};
    struct ma_block former, block = {.address = 16, .size = 8, .usable = 24, .time = origin};
    ma_heap_put(&heap, &block, &former);
    block.address = 48;
    block.time = origin + (time - origin) / 3;
    ma_heap_put(&heap, &block, &former);
    ma_heap_rest(&heap);
    block.address = 32;
    block.time = time;
    ma_heap_put(&heap, &block, &former);
    ma_heap_rest(&heap);
    if (!ma_heap_take(&heap, 48, &former) || former.time > origin + (time - origin) / 3 ||
        (origin + (time - origin) / 3 - former.time) >> heap.time_shift)
        abort();
    if (!ma_heap_take(&heap, 32, &former) || former.time > time || former.size != 8 ||
        former.usable != 24 || !ma_heap_take(&heap, 16, &block) || block.time != origin)
        abort();
    ma_heap_free(&heap);
    return time - former.time;
}

static void test_times(void)
{
    CHECK(time_lost(77, 77) == 0 && time_lost(77, 77 + (UINT64_C(1) << 44) - 1) == 0,
          "times are exact up to 2^44 ticks");
    CHECK(time_lost(0, (UINT64_C(1) << 44) + 1) == 1 && time_lost(1, UINT64_MAX) < 1u << 20,
          "and lose a bit with each doubling");
}

/* Blocks in the table whose addresses differ in their highest bits alone, and fall
 * into one bucket with one tag: of all pairs one in 256, but which depends on the
 * multiplier, so they are looked for. */
static void test_high_bits(void)
{
    const uint64_t low = 0x7f0011223340;
    size_t wrong = 0, met = 0;
    for (uint64_t tries = 0; met < 64 && tries < 10000000; tries++) {
        struct ma_heap heap = {0};
        struct ma_block former, block = {.size = 8, .usable = 24};
        block.address = (tries % 2 ? random_bits(16) << 48 : 0) | low;
        uint64_t other = random_bits(16) << 48 | low;
        if (block.address == other ||
            (ma_heap_multiplier &&
             (uint8_t)(ma_heap_hash(other) >> 32) != (uint8_t)(ma_heap_hash(block.address) >> 32)))
            continue; /* known apart by their tags */
        ma_heap_put(&heap, &block, &former);
        ma_heap_rest(&heap);
        wrong +=
            ma_heap_find(&heap, other, &former) || !ma_heap_find(&heap, block.address, &former);
        met++;
        ma_heap_free(&heap);
    }
    CHECK(!wrong && met == 64, "addresses differ in all of their bits");
}

/* An address that comes again and again, and one that was in the table before,
 * find all in their slot. */
static void test_a_slot_is_enough(void)
{
    struct ma_heap heap = {0};
    struct ma_block former, block = {.size = 8, .usable = 24, .address = 0x1000};
    uint64_t rival = 0x2000;
    ma_heap_put(&heap, &block, &former);
    while (ma_heap_slot(&heap, rival) != ma_heap_slot(&heap, 0x1000))
        rival += 16;
    block.address = rival;
    ma_heap_put(&heap, &block, &former); /* puts the other into the table */
    ma_heap_take(&heap, rival, &block);
    bool old = heap.n_old == 1 && ma_heap_take(&heap, 0x1000, &block);
    uint32_t misses = heap.misses;
    for (int i = 0; i < 1000; i++) {
        ma_heap_put(&heap, &block, &former);
        ma_heap_take(&heap, block.address, &former);
    }
    CHECK(old && heap.misses == misses && !heap.n_old && !heap.count,
          "an address that is handed out again finds its slot");
    ma_heap_free(&heap);
}

/* A process that ended keeps little, however much it did before. */
static void test_rest(void)
{
    struct ma_heap heap = {0};
    struct ma_block former, block = {.size = 8, .usable = 24, .time = 9, .site = 1};
    CHECK(ma_heap_rest(&heap) == 0 && ma_heap_places(&heap) == 0, "nothing rests");
    for (uint64_t i = 0; i < 100000; i++) {
        block.address = 64 * i;
        ma_heap_put(&heap, &block, &former);
        if (i != 77)
            ma_heap_take(&heap, block.address, &former);
    }
    CHECK(ma_heap_rest(&heap) == 0 && heap.nursery == NULL && heap.n_old == 1 &&
              ma_heap_find(&heap, 64 * 77, &former) && !ma_heap_find(&heap, 64, &former),
          "a heap at rest has its blocks and no nursery");
    block.time = 7000;
    ma_heap_put(&heap, &block, &former);
    CHECK(heap.count == 2 && ma_heap_take(&heap, 64 * 77, &former) && former.time == 9 &&
              ma_heap_take(&heap, block.address, &former) && heap.count == 0,
          "and goes on");
    ma_heap_free(&heap);
}

/* A short process has a small nursery; how long it may stay so is bounded too. */
static void test_small_ones_stay_small(void)
{
    struct ma_heap heap = {0};
    struct ma_block former, block = {.size = 8, .usable = 24, .site = 1};
    size_t small = 0, most = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        block.address = 4096 * i;
        ma_heap_put(&heap, &block, &former);
        size_t slots = ma_heap_places(&heap) - heap.n_entries;
        small += slots <= 64;
        most = slots > most ? slots : most;
    }
    CHECK(small > 1000 && small < 10000 && most >= 512,
          "for the first %zu blocks the nursery is small, then it has %zu slots", small, most);
    ma_heap_free(&heap);
}

static bool is_zero(const unsigned char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Grown again and again, through malloc to mappings and on: what was there stays,
 * what comes is zero. */
static void test_pages_grow(void)
{
    size_t wrong = 0, size = 0;
    unsigned char *memory = NULL;
    for (size_t next = 100; next < 40 << 20; next += next / 3 + 1) {
        unsigned char *grown = ma_pages_grow(memory, size, next);
        wrong += !grown || (uintptr_t)grown % 64 || !is_zero(grown + size, next - size) ||
                 (size && (grown[0] != 0xab || grown[size / 2] != 0xab || grown[size - 1] != 0xab));
        memory = grown;
        size = next;
        memset(memory, 0xab, size);
    }
    CHECK(!wrong, "growing keeps what was there and adds zeros");
    ma_pages_free(memory, size);
    CHECK(!ma_pages_new(SIZE_MAX) && !ma_pages_new(PTRDIFF_MAX), "what cannot be is refused");
}

#ifndef __SANITIZE_ADDRESS__ /* which needs addresses itself */
static size_t addresses_in_use(void)
{
    size_t pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%zu", &pages) != 1)
        abort();
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* With a limit on addresses: refused with everything unchanged, or moved to where
 * there is room. */
static void test_pages_without_memory(void)
{
    const size_t size = 8 << 20;
    struct rlimit before, limit;
    unsigned char *memory = ma_pages_new(size);
    memset(memory, 0xcd, size);
    getrlimit(RLIMIT_AS, &before);
    limit = before;
    limit.rlim_cur = addresses_in_use() + size + size / 4;
    setrlimit(RLIMIT_AS, &limit);
    void *far = ma_pages_grow(memory, size, 2 * size + size / 2);
    bool kept = memory[0] == 0xcd && memory[size - 1] == 0xcd;
    unsigned char *grown = ma_pages_grow(memory, size, 2 * size);
    setrlimit(RLIMIT_AS, &before);
    CHECK(!far && kept, "no more than the limit, and nothing lost");
    CHECK(grown && grown[0] == 0xcd && grown[size - 1] == 0xcd && is_zero(grown + size, size),
          "growth takes no more addresses than it must");
    ma_pages_free(grown ? grown : memory, grown ? 2 * size : size);
}
#endif

int main(void)
{
    test_against_a_plain_table(12);
    test_against_a_plain_table(300);
    test_against_a_plain_table(N);
    test_times();
    test_high_bits();
    test_a_slot_is_enough();
    test_rest();
    test_small_ones_stay_small();
    test_pages_grow();
#ifndef __SANITIZE_ADDRESS__
    test_pages_without_memory();
#endif
    return TAP_DONE();
}
