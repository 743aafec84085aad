/* SPDX-License-Identifier: MIT
 *
 * Patterns that the rules of ma_trend.c were set with. What a rule gets wrong in the
 * field is added here.
 */
#include "patterns.h"

/* --- leaks --- */

static void every_request(void)
{
    take(100);
}

static void one_in_twenty(void)
{
    if (one_in(20))
        take(400);
}

static void rare_path(void)
{
    if (one_in(150))
        take(3000);
}

static void under_noise(void)
{
    static void *slot[64];
    void *block = take(100);
    if (one_in(32))
        return;
    unsigned at = below(64);
    give(slot[at]);
    slot[at] = block;
}

static void doubling(void)
{
    static void *items;
    static size_t used, capacity;
    used += 64;
    if (used > capacity)
        items = regrow(items, capacity = capacity ? 2 * capacity : 64);
}

static void stretched(void)
{
    static void *items;
    static size_t used, capacity;
    used += 40;
    if (used > capacity)
        items = regrow(items, capacity += 4096);
}

static void behind_table(void)
{
    take(served ? 48 : 1 << 20);
}

static void late(void)
{
    if (step_now >= STEPS / 2)
        take(333);
}

static void worker(unsigned number, unsigned from, unsigned to, void (*request)(void))
{
    static bool ended[16];
    if (step_now >= from && step_now < to) {
        on_thread(number);
        work();
        request();
        on_thread(0);
    } else if (step_now >= to && !ended[number]) {
        end_thread(number);
        ended[number] = true;
    }
}

static void one_in_three(void)
{
    if (one_in(3))
        take(150);
}

static void worker_ended(void)
{
    worker(1, STEPS / 10, STEPS * 6 / 10, every_request);
}

static void worker_ended_early(void)
{
    worker(1, 0, STEPS * 4 / 10, one_in_three);
}

static void pool_ended(void)
{
    worker(1, 0, STEPS * 5 / 10, one_in_twenty);
    worker(2, 0, STEPS * 6 / 10, one_in_twenty);
    worker(3, 0, STEPS * 7 / 10, one_in_twenty);
}

static void thread_a_request(void)
{
    static unsigned thread = 1;
    if (served % 8)
        return;
    on_thread(thread);
    work();
    take(256);
    on_thread(0);
    end_thread(thread++);
}

static void cycles(void)
{
    static void *batch[60];
    static unsigned n;
    batch[n++] = take(512);
    for (; n == 60; n = 0) {
        for (unsigned i = 0; i < 60; i++) {
            if (i % 5)
                give(batch[i]);
        }
    }
}

static struct queue timed;

static void forgotten_sessions(void)
{
    void *block = take(900);
    if (!one_in(10))
        queue_add(&timed, block, step_now + 50);
}

static void expire(void)
{
    queue_expire(&timed);
}

static void few_and_big(void)
{
    if (served % 300 == 150)
        take(64 << 10);
}

static void refreshed_map(void)
{
    static void *value[1 << 14];
    static unsigned n;
    value[n++] = take(140);
    for (int i = 0; i < 3; i++) {
        unsigned at = below(n);
        give(value[at]);
        value[at] = take(140);
    }
}

static void beside_cache(void)
{
    static struct queue lru;
    queue_add(&lru, take(240), 0);
    if (lru.n > 200)
        give(queue_take(&lru));
    if (one_in(10))
        take(240);
}

/* Of one stack alone that gives most of its blocks back. */
static void alone_some_stay(void)
{
    void *block = take(200);
    if (!one_in(30))
        give(block);
}

static void nothing(void)
{
    work();
}

static void timer(void)
{
    take(40);
}

static void one_worker(void)
{
    unsigned number = 1 + served % 4;
    on_thread(number);
    work();
    void *block = take(777);
    if (number != 3)
        give(block);
    on_thread(0);
}

static void accelerating(void)
{
    for (unsigned i = 0; i < 1 + 8 * served / to_serve; i++)
        take(64);
}

static void most_freed(void)
{
    void *block = take(640);
    if (!one_in(40))
        queue_add(&timed, block, step_now + 10);
}

/* --- caches --- */

static void filled(void)
{
    if (served < 300)
        take(400);
}

static void lru_64(void)
{
    static struct queue lru;
    queue_add(&lru, take(2048), 0);
    if (lru.n > 64)
        give(queue_take(&lru));
}

static void lru_sizes(void)
{
    static void *entry[64];
    unsigned at = below(64);
    give(entry[at]);
    entry[at] = take(100 + below(4000));
}

static void few_keys(void)
{
    static bool known[100];
    unsigned key = below(100);
    if (!known[key])
        take(640);
    known[key] = true;
}

static void popular_keys(void)
{
    static bool known[400];
    unsigned key = popular(400);
    if (!known[key])
        take(300);
    known[key] = true;
}

static void ttl_50(void)
{
    queue_add(&timed, take(450), step_now + 50);
}

static void ttl_200(void)
{
    queue_add(&timed, take(450), step_now + 200);
}

static void ttl_on_access(void)
{
    queue_expire(&timed);
    ttl_50();
}

static void ttl_with_pinned(void)
{
    if (served < 20)
        take(450);
    ttl_50();
}

static void waves(void)
{
    static struct queue batch;
    queue_add(&batch, take(900), 0);
    if (batch.n == 100) {
        while (batch.n)
            give(queue_take(&batch));
    }
}

static void arena_kept(void)
{
    static void *memory;
    static size_t used, capacity;
    used += served < to_serve * 9 / 20 ? 90 : 0;
    while (used > capacity)
        memory = regrow(memory, capacity = capacity ? 2 * capacity : 1024);
}

static void pinned_and_lru(void)
{
    static struct queue lru;
    if (served < 30) {
        take(500);
        return;
    }
    queue_add(&lru, take(500), 0);
    if (lru.n > 100)
        give(queue_take(&lru));
}

static void backlog(void)
{
    queue_add(&timed, take(1400), step_now + 15);
}

static void high_water(void)
{
    static unsigned have;
    unsigned wanted = below(2 + load_now / 2);
    for (; have < wanted; have++)
        take(4000);
}

static void filled_late(void)
{
    static struct queue lru;
    queue_add(&lru, take(200), 0);
    if (lru.n > to_serve * 2 / 5)
        give(queue_take(&lru));
}

static void recalculated(void)
{
    static void *result[40];
    unsigned at = served / 7 % 40;
    give(result[at]);
    result[at] = take(800 + below(400));
}

/* --- tables, singletons, requests being served, growth too small --- */

static void first_things(void)
{
    for (int i = 0; !served && i < 500; i++)
        take(128);
}

static void configured(void)
{
    if (step_now < STEPS / 8)
        take(99);
}

static void loaded_by_thread(void)
{
    worker(1, 0, STEPS * 15 / 100, every_request);
}

static void reloaded(void)
{
    static struct queue table;
    if (served % (to_serve / 6) == 0) {
        while (table.n)
            give(queue_take(&table));
        for (int i = 0; i < 200; i++)
            queue_add(&table, take(180), 0);
    }
}

static void once_each(unsigned n, size_t size)
{
    static unsigned made;
    if (made < n && one_in(to_serve / n)) {
        made++;
        take(size + below((unsigned)size));
    }
}

static void singletons(void)
{
    once_each(10, 1500);
}

static void codecs(void)
{
    once_each(5, 30000);
}

static void first_uses(void)
{
    static bool made[16];
    for (unsigned i = 0; i < 16; i++) {
        if (!made[i] && one_in(1u << (i * 13 / 16))) {
            made[i] = true;
            take(400 + 100 * i);
        }
    }
}

static void late_request(void)
{
    for (int i = 0; step_now == STEPS * 99 / 100 && i < 4; i++)
        take(700);
}

static void in_flight(void)
{
    queue_add(&timed, take(350), step_now + 1);
}

static void interned(void)
{
    if (served % (to_serve / 15) == 7)
        take(61);
}

static void small_share(void)
{
    if (served % (to_serve / 15) == 7)
        take(731);
}

const struct pattern patterns_tuned[] = {
    {"every_request", LEAK, every_request, NULL},
    {"one_in_twenty", LEAK, one_in_twenty, NULL},
    {"rare_path", LEAK, rare_path, NULL},
    {"under_noise", LEAK, under_noise, NULL},
    {"doubling", LEAK, doubling, NULL},
    {"stretched", LEAK, stretched, NULL},
    {"behind_table", LEAK, behind_table, NULL},
    {"late", LEAK, late, NULL},
    {"worker_ended", LEAK, worker_ended, NULL},
    {"worker_ended_early", LEAK, worker_ended_early, NULL},
    {"pool_ended", LEAK, pool_ended, NULL},
    {"thread_a_request", LEAK, thread_a_request, NULL},
    {"cycles", LEAK, cycles, NULL},
    {"forgotten_sessions", LEAK, forgotten_sessions, expire},
    {"few_and_big", LEAK, few_and_big, NULL},
    {"refreshed_map", LEAK, refreshed_map, NULL},
    {"beside_cache", LEAK, beside_cache, NULL},
    {"timer", LEAK, nothing, timer},
    {"one_worker", LEAK, one_worker, NULL},
    {"accelerating", LEAK, accelerating, NULL},
    {"most_freed", LEAK, most_freed, expire},
    {"alone_some_stay", LEAK, alone_some_stay, NULL},
    {"filled", CACHE, filled, NULL},
    {"lru_64", CACHE, lru_64, NULL},
    {"alone_lru_64", CACHE, lru_64, NULL},
    {"lru_sizes", CACHE, lru_sizes, NULL},
    {"few_keys", CACHE, few_keys, NULL},
    {"popular_keys", CACHE, popular_keys, NULL},
    {"ttl_50", CACHE, ttl_50, expire},
    {"ttl_200", CACHE, ttl_200, expire},
    {"ttl_on_access", CACHE, ttl_on_access, NULL},
    {"ttl_with_pinned", CACHE, ttl_with_pinned, expire},
    {"waves", CACHE, waves, NULL},
    {"arena_kept", CACHE, arena_kept, NULL},
    {"pinned_and_lru", CACHE, pinned_and_lru, NULL},
    {"backlog", CACHE, backlog, expire},
    {"high_water", CACHE, high_water, NULL},
    {"filled_late", CACHE, filled_late, NULL},
    {"recalculated", CACHE, recalculated, NULL},
    {"first_things", TABLE, first_things, NULL},
    {"configured", TABLE, configured, NULL},
    {"loaded_by_thread", TABLE, loaded_by_thread, NULL},
    {"reloaded", CACHE, reloaded, NULL},
    {"singletons", SINGLETON, singletons, NULL},
    {"codecs", SINGLETON, codecs, NULL},
    {"first_uses", SINGLETON, first_uses, NULL},
    {"late_request", IN_FLIGHT, late_request, NULL},
    {"in_flight", IN_FLIGHT, in_flight, expire},
    {"interned", TINY, interned, NULL},
    {"small_share", TINY, small_share, NULL},
    {NULL, LEAK, NULL, NULL},
};
