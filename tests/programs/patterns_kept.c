/* SPDX-License-Identifier: MIT
 *
 * Patterns put away: they were written before the rules they score, which were never
 * changed for one of them. Add new ones to patterns_tuned.c.
 */
#include "patterns.h"

/* --- leaks --- */

static void error_path(void)
{
    if (one_in(50)) {
        take(90);
        take(1200);
    }
}

static void list_node(void)
{
    take(24);
}

static void log_string(void)
{
    static void *text;
    static size_t size;
    text = regrow(text, size += 50);
}

static struct queue open_connections;

static void connections_open(void)
{
    void *block = take(300);
    if (!one_in(4))
        queue_add(&open_connections, block, step_now + 20 + below(20));
}

static void connections_close(void)
{
    queue_expire_any(&open_connections);
}

static void unbounded_cache(void)
{
    static void *entry[1 << 14];
    static unsigned n;
    if (n < 1 << 14)
        entry[n++] = take(160);
    if (one_in(10)) {
        unsigned at = below(n);
        give(entry[at]);
        entry[at] = take(160);
    }
}

static void restarted_workers(void)
{
    static unsigned worker;
    unsigned now = 1 + step_now / 60;
    if (now != worker) {
        if (worker)
            end_thread(worker);
        worker = now;
        on_thread(worker);
        take(4096);
    }
    on_thread(worker);
    work();
    take(16);
    on_thread(0);
}

static void worker_between(unsigned from, unsigned to, unsigned leaks)
{
    static bool ended;
    if (step_now >= from && step_now < to) {
        on_thread(1);
        work();
        if (one_in(leaks))
            take(220);
        on_thread(0);
    } else if (step_now >= to && !ended) {
        end_thread(1);
        ended = true;
    }
}

static void worker_gone(void)
{
    worker_between(STEPS / 5, STEPS * 3 / 4, 5);
}

static void early_worker_gone(void)
{
    worker_between(0, STEPS / 2, 1);
}

static void listeners(void)
{
    static void *listener[1 << 14];
    static unsigned n;
    listener[n++] = take(72);
    if (one_in(3))
        give(listener[--n]);
}

static void timer_batch(void)
{
    for (int i = 0; step_now % 40 == 39 && i < 20; i++)
        take(512);
}

static void nothing(void)
{
    work();
}

static void after_warming(void)
{
    if (served < 100 || one_in(15))
        take(250);
}

static void swapped_buffers(void)
{
    static void *buffer;
    if (served % 25 == 0)
        buffer = take(8192);
    else if (served % 25 == 12)
        buffer = regrow(buffer, 9000);
}

static void one_of_eight(void)
{
    unsigned worker = 1 + served % 8;
    on_thread(worker);
    work();
    void *block = take(96);
    if (worker != 5)
        give(block);
    on_thread(0);
}

static void seldom_and_big(void)
{
    if (one_in(200))
        take(20000);
}

/* --- caches --- */

static void fifo_500(void)
{
    static struct queue queue;
    queue_add(&queue, take(700), 0);
    if (queue.n > 500)
        give(queue_take(&queue));
}

static void random_800(void)
{
    static void *entry[800];
    unsigned at = below(800);
    give(entry[at]);
    entry[at] = take(300 + below(900));
}

static struct queue ttl;

static void ttl_100(void)
{
    queue_add(&ttl, take(450), step_now + 100);
}

static void ttl_jitter(void)
{
    queue_add(&ttl, take(450), step_now + 20 + below(60));
}

static void ttl_step(void)
{
    queue_expire_any(&ttl);
}

static void *sliding[150];
static unsigned sliding_due[150];

static void ttl_sliding(void)
{
    unsigned at = below(150);
    if (!sliding[at] || one_in(4)) {
        give(sliding[at]);
        sliding[at] = take(512);
    }
    sliding_due[at] = step_now + 40;
}

static void ttl_sliding_step(void)
{
    for (unsigned i = 0; i < 150; i++) {
        if (sliding[i] && step_now >= sliding_due[i]) {
            give(sliding[i]);
            sliding[i] = NULL;
        }
    }
}

/* Each of n made at its first use; the k-th is used by one request in 2^k or so. */
static void lazily(unsigned n, size_t size)
{
    static bool made[64];
    for (unsigned i = 0; i < n; i++) {
        if (!made[i] && one_in(1 + (1u << (i * 11 / n)))) {
            made[i] = true;
            take(size + 64 * i);
        }
    }
}

static void lazy_handlers(void)
{
    lazily(6, 2000);
}

static void lazy_keys(void)
{
    lazily(25, 200);
}

/* Connections in use at once follow the load; idle ones are kept. */
static void pool_connections(void)
{
    static unsigned have;
    if (have < 2 + load_now / 2)
        have++, take(1500);
}

static void memo_popular(void)
{
    static bool known[800];
    unsigned key = popular(800);
    if (!known[key])
        take(120);
    known[key] = true;
}

static void demand_buffer(void)
{
    static void *buffer;
    static size_t capacity;
    size_t need = 1000 + below(30000);
    while (capacity < need)
        buffer = regrow(buffer, capacity = capacity ? 2 * capacity : 512);
}

static struct queue sessions;

static void sessions_open(void)
{
    unsigned length = 5;
    while (length < 200 && !one_in(30))
        length++;
    queue_add(&sessions, take(800), step_now + length);
}

static void sessions_close(void)
{
    queue_expire_any(&sessions);
}

static void log_ring(void)
{
    static void *line[256];
    static unsigned at;
    give(line[at % 256]);
    line[at++ % 256] = take(40 + below(100));
}

static void give_all(struct queue *queue)
{
    while (queue->n)
        give(queue_take(queue));
}

static void flushed_batch(void)
{
    static struct queue batch;
    queue_add(&batch, take(350), 0);
    if (batch.n == 90)
        give_all(&batch);
}

static void *arena;
static size_t arena_size;

static void arena_used(void)
{
    arena = regrow(arena, arena_size += 256);
}

static void arena_reset(void)
{
    if (step_now % 100 == 99) {
        give(arena);
        arena = NULL;
        arena_size = 0;
    }
}

static void dropped_whole(void)
{
    static struct queue all;
    queue_add(&all, take(88), 0);
    if (all.n == 1000)
        give_all(&all);
}

static void slow_filling(void)
{
    static struct queue queue;
    queue_add(&queue, take(333), 0);
    if (queue.n > to_serve / 2)
        give(queue_take(&queue));
}

/* --- tables, singletons, requests being served, growth too small --- */

static void first_table(void)
{
    for (int i = 0; !served && i < 900; i++)
        take(128);
}

static void table_on_demand(void)
{
    for (int i = 0; served == 30 && i < 40; i++)
        take(2048);
}

static void loader(void)
{
    static bool ended;
    if (step_now < STEPS / 10) {
        on_thread(1);
        take(500);
        on_thread(0);
    } else if (!ended) {
        end_thread(1);
        ended = true;
    }
}

static void plugins(void)
{
    if (step_now < STEPS / 6 && served % 40 == 0) {
        take(5000);
        take(700);
    }
}

static void last_request(void)
{
    for (int i = 0; step_now == STEPS - 3 && i < 30; i++)
        take(256);
}

static struct queue serving;

static void serve(void)
{
    queue_add(&serving, take(1100), step_now + 2);
}

static void served_step(void)
{
    queue_expire(&serving);
}

static void few_names(void)
{
    if (served % (to_serve / 12) == 5)
        take(80);
}

static void statistics(void)
{
    if (served % (to_serve / 16) == 9)
        take(620);
}

const struct pattern patterns_kept[] = {
    {"error_path", LEAK, error_path, NULL},
    {"list_node", LEAK, list_node, NULL},
    {"log_string", LEAK, log_string, NULL},
    {"connections", LEAK, connections_open, connections_close},
    {"unbounded_cache", LEAK, unbounded_cache, NULL},
    {"restarted_workers", LEAK, restarted_workers, NULL},
    {"worker_gone", LEAK, worker_gone, NULL},
    {"early_worker_gone", LEAK, early_worker_gone, NULL},
    {"listeners", LEAK, listeners, NULL},
    {"timer_batch", LEAK, nothing, timer_batch},
    {"after_warming", LEAK, after_warming, NULL},
    {"swapped_buffers", LEAK, swapped_buffers, NULL},
    {"one_of_eight", LEAK, one_of_eight, NULL},
    {"seldom_and_big", LEAK, seldom_and_big, NULL},
    {"fifo_500", CACHE, fifo_500, NULL},
    {"random_800", CACHE, random_800, NULL},
    {"ttl_100", CACHE, ttl_100, ttl_step},
    {"ttl_jitter", CACHE, ttl_jitter, ttl_step},
    {"ttl_sliding", CACHE, ttl_sliding, ttl_sliding_step},
    {"pool_connections", CACHE, pool_connections, NULL},
    {"memo_popular", CACHE, memo_popular, NULL},
    {"demand_buffer", CACHE, demand_buffer, NULL},
    {"sessions", CACHE, sessions_open, sessions_close},
    {"log_ring", CACHE, log_ring, NULL},
    {"flushed_batch", CACHE, flushed_batch, NULL},
    {"arena_reset", CACHE, arena_used, arena_reset},
    {"dropped_whole", CACHE, dropped_whole, NULL},
    {"slow_filling", CACHE, slow_filling, NULL},
    {"lazy_handlers", SINGLETON, lazy_handlers, NULL},
    {"lazy_keys", SINGLETON, lazy_keys, NULL},
    {"first_table", TABLE, first_table, NULL},
    {"table_on_demand", TABLE, table_on_demand, NULL},
    {"loader", TABLE, loader, NULL},
    {"plugins", TABLE, plugins, NULL},
    {"last_request", IN_FLIGHT, nothing, last_request},
    {"serve", IN_FLIGHT, serve, served_step},
    {"few_names", TINY, few_names, NULL},
    {"statistics", TINY, statistics, NULL},
    {NULL, LEAK, NULL, NULL},
};
