/* SPDX-License-Identifier: MIT
 *
 * Frees of what is no live block, in the replay: those that came a moment before their
 * block, by clocks that differ, and those that are wrong.
 */
#include "tap.h"
#include "world.h"

/* GIVEN clocks of two processors that differ; WHEN a free comes before the allocation of
 * its own block by another thread; THEN it is a repair, and the block no leak, whether the
 * address is used again or not. */
static void test_free_before_its_allocation(void)
{
    struct world world;
    begin(&world);
    start(&world, 1, 100, 0);
    drop(&world, 1, 2, 1000, 0x1000);
    make(&world, 1, 1, 1076, 0x1000, 123 * 8, 16);
    CHECK(world.trace.audit.unmatched_frees == 1 && world.trace.audit.order_repairs == 0,
          "it may still be a free of something else");
    make(&world, 1, 1, 90000, 0x1000, 124 * 8, 16);
    CHECK(world.trace.audit.unmatched_frees == 0 && world.trace.audit.order_repairs == 1,
          "it was the block's own: its address is given out again");
    drop(&world, 1, 1, 91000, 0x1000);
    drop(&world, 1, 2, 92000, 0x2000);
    make(&world, 1, 1, 92010, 0x2000, 125 * 8, 16);
    move(&world, 1, 2, 93000, 0x3000, 0x4000, 126 * 8, 17);
    make(&world, 1, 1, 93020, 0x3000, 127 * 8, 16);
    drop(&world, 1, 2, 94000, 0x4000);
    CHECK(ma_replay_finish(&world.replay) == 0 && world.trace.audit.unmatched_frees == 0 &&
              world.trace.audit.order_repairs == 3 && world.replay.live_blocks == 0,
          "or the trace ends, and the block was not freed: a free and a realloc");
    CHECK(world.replay.totals.frees == 5 && world.replay.totals.allocations == 5,
          "each block has its end");
    end(&world);
}

/* GIVEN a free of what is not known; WHEN another thread is given the address a moment
 * later and frees it in its turn; THEN the first free stays wrong, and the block has its
 * own end. */
static void test_free_of_a_stranger_before_an_allocation(void)
{
    struct world world;
    begin(&world);
    start(&world, 1, 100, 0);
    drop(&world, 1, 2, 1000, 0x1000);
    make(&world, 1, 1, 1076, 0x1000, 123 * 8, 16);
    drop(&world, 1, 1, 50000, 0x1000);
    drop(&world, 1, 1, 60000, 0x2000);
    make(&world, 1, 1, 60010, 0x2000, 8, 16); /* of the same thread: its order is known */
    drop(&world, 1, 2, 70000, 0x3000);
    make(&world, 1, 1, 95000, 0x3000, 8, 16); /* 25 us later: no clock is so wrong */
    CHECK(ma_replay_finish(&world.replay) == 0 && world.trace.audit.unmatched_frees == 3 &&
              world.trace.audit.order_repairs == 0,
          "strangers stay wrong frees");
    CHECK(world.replay.live_blocks == 2, "and blocks that were never freed stay leaks");
    end(&world);
}

int main(void)
{
    test_free_before_its_allocation();
    test_free_of_a_stranger_before_an_allocation();
    return TAP_DONE();
}
