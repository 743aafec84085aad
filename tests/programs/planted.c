/* SPDX-License-Identifier: MIT
 *
 * Usage: planted SECONDS [PATTERN]...
 * Plants leaks, caches, tables and young blocks, each in a function that is named
 * after what it is: grow_* grows to the end, plateau_* reaches a level and stays,
 * startup_* is made once, young_* is a moment old, tiny_* grows to the end by what
 * healthy programs grow by. All run at once, a thread each, paced by the clock:
 * step n of STEPS is at its part of the run, however busy the machine is. Nothing is freed at the
 * end. Called by test_leak_score.py.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS = 480 };

static double seconds;
static struct timespec began;

static void wait_until(int step)
{
    double at = seconds * step / STEPS;
    struct timespec moment = began;
    moment.tv_sec += (time_t)at;
    moment.tv_nsec += (long)((at - (double)(time_t)at) * 1e9);
    if (moment.tv_nsec >= 1000000000) {
        moment.tv_sec++;
        moment.tv_nsec -= 1000000000;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &moment, NULL);
}

static unsigned random_below(uint32_t *seed, unsigned limit)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % limit;
}

static void *kept[STEPS * 64];
static int n_kept;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* So that no block is out of reach and no compiler drops one. */
static void keep(void *block)
{
    pthread_mutex_lock(&lock);
    kept[n_kept++ % (STEPS * 64)] = block;
    pthread_mutex_unlock(&lock);
}

/* --- what grows --- */

static void *grow_slow(void *unused)
{
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        if (step % 8 == 0)
            keep(malloc(24));
    }
    return unused;
}

static void *grow_fast(void *unused)
{
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        for (int i = 0; i < 4; i++)
            keep(malloc(16 * 1024));
    }
    return unused;
}

static void *grow_bursty(void *unused)
{
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        for (int i = 0; step % (STEPS / 8) == STEPS / 16 && i < 50; i++)
            keep(malloc(1000));
    }
    return unused;
}

static void *grow_noise(void *unused)
{
    void *queue[64] = {NULL};
    uint32_t seed = 7;
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        for (int i = 0; i < 32; i++) {
            unsigned at = random_below(&seed, 64);
            int leaks = i == 0;
            void *block = malloc(100);
            if (leaks) {
                keep(block);
                continue;
            }
            free(queue[at]);
            queue[at] = block;
        }
    }
    return unused;
}

static void *grow_doubling(void *unused)
{
    size_t capacity = 16, used = 0;
    char *arena = malloc(capacity);
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        used += 1000;
        while (used > capacity)
            arena = realloc(arena, capacity *= 2);
    }
    keep(arena);
    return unused;
}

static void *grow_behind_table(void *unused)
{
    static const size_t sizes[] = {1 << 20, 48};
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        keep(malloc(sizes[step > 0]));
    }
    return unused;
}

static void *grow_late(void *unused)
{
    wait_until(STEPS / 2);
    for (int step = STEPS / 2; step < STEPS; step++) {
        wait_until(step);
        keep(malloc(333));
    }
    return unused;
}

static void *grow_in_cycles(void *unused)
{
    void *batch[60];
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        batch[step % 60] = malloc(512);
        for (int i = 0; step % 60 == 59 && i < 60; i++) {
            if (i % 5)
                free(batch[i]);
            else
                keep(batch[i]);
        }
    }
    return unused;
}

/* One of eight threads forgets what the others free. */
static void *grow_one_thread(void *number)
{
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        void *block = malloc(777);
        if ((uintptr_t)number == 3)
            keep(block);
        else
            free(block);
    }
    return NULL;
}

/* --- what has a level --- */

static void *plateau_filled(void *unused)
{
    for (int step = 0; step < STEPS * 2 / 5; step++) {
        wait_until(step);
        keep(malloc(400));
    }
    return unused;
}

static void *plateau_lru(void *unused)
{
    void *cache[64] = {NULL};
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        free(cache[step % 64]);
        cache[step % 64] = malloc(2048);
    }
    for (int i = 0; i < 64; i++)
        keep(cache[i]);
    return unused;
}

static void *plateau_lru_sizes(void *unused)
{
    void *cache[64] = {NULL};
    uint32_t seed = 3;
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        for (int i = 0; i < 4; i++) {
            unsigned at = random_below(&seed, 64);
            free(cache[at]);
            cache[at] = malloc(100 + random_below(&seed, 4000));
        }
    }
    for (int i = 0; i < 64; i++)
        keep(cache[i]);
    return unused;
}

static void *plateau_keys(void *unused)
{
    static char *cache[100];
    uint32_t seed = 11;
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        unsigned key = random_below(&seed, 100);
        if (!cache[key])
            cache[key] = malloc(640);
    }
    return unused;
}

static void *plateau_waves(void *unused)
{
    void *batch[100];
    int n = 0;
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        batch[n++] = malloc(900);
        while (n == 100) {
            for (; n > 0; n--)
                free(batch[n - 1]);
        }
    }
    while (n > 0)
        keep(batch[--n]);
    return unused;
}

static void *plateau_arena(void *unused)
{
    size_t capacity = 1024, used = 0;
    char *arena = malloc(capacity);
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        used += step < STEPS * 9 / 20 ? 900 : 0;
        while (used > capacity)
            arena = realloc(arena, capacity *= 2);
    }
    keep(arena);
    return unused;
}

/* --- what is made once, or just now --- */

static void *startup_table(void *unused)
{
    for (int i = 0; i < 500; i++)
        keep(malloc(128));
    return unused;
}

static void *startup_config(void *unused)
{
    for (int step = 0; step < STEPS / 8; step++) {
        wait_until(step);
        keep(malloc(99));
    }
    return unused;
}

static void *young_request(void *unused)
{
    wait_until(STEPS * 99 / 100);
    for (int i = 0; i < 20; i++)
        keep(malloc(700));
    return unused;
}

static void *young_in_flight(void *unused)
{
    void *block = NULL;
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        free(block);
        block = step % 7 || step > STEPS - 5 ? malloc(350) : NULL;
    }
    keep(block);
    return unused;
}

/* --- what grows, by too little to tell --- */

static void *tiny_names(void *unused)
{
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        if (step % 32 == 16)
            keep(malloc(61));
    }
    return unused;
}

static void *tiny_share(void *unused)
{
    for (int step = 0; step < STEPS; step++) {
        wait_until(step);
        if (step % 32 == 20)
            keep(malloc(731));
    }
    return unused;
}

static const struct {
    const char *name;
    void *(*run)(void *);
    int threads;
} patterns[] = {
#define ONE(name)                                                                                  \
    {                                                                                              \
#name, name, 1                                                                             \
    }
    ONE(grow_slow),       ONE(grow_fast),      ONE(grow_bursty),
    ONE(grow_noise),      ONE(grow_doubling),  ONE(grow_behind_table),
    ONE(grow_late),       ONE(grow_in_cycles), {"grow_one_thread", grow_one_thread, 8},
    ONE(plateau_filled),  ONE(plateau_lru),    ONE(plateau_lru_sizes),
    ONE(plateau_keys),    ONE(plateau_waves),  ONE(plateau_arena),
    ONE(startup_table),   ONE(startup_config), ONE(young_request),
    ONE(young_in_flight), ONE(tiny_names),     ONE(tiny_share),
};

static int is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return 1;
    }
    return argc == 2;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    int n = 0;
    if (argc < 2 || (seconds = atof(argv[1])) <= 0)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        for (intptr_t k = 0; k < patterns[i].threads && is_wanted(patterns[i].name, argc, argv);
             k++)
            if (pthread_create(&threads[n++], NULL, patterns[i].run, (void *)k))
                return 1;
    }
    while (n > 0)
        pthread_join(threads[--n], NULL);
    wait_until(STEPS);
    return 0;
}
