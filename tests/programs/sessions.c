/* SPDX-License-Identifier: MIT
 *
 * A server in small, for what is looked at over time: a cache that is filled and dropped,
 * temporary blocks, buffers that are resized across phases, sessions of which one in three
 * is never closed, threads, and a child. Phases are marked. sessions PHASES ROUNDS.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mlog.h"

static void *cache[64];
static void *volatile kept;

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

__attribute__((noinline)) static void open_session(int i)
{
    kept = malloc(123 * 8);
    if (i % 3)
        free(kept);
}

__attribute__((noinline)) static void fill_cache(void)
{
    for (size_t i = 0; i < sizeof cache / sizeof *cache; i++)
        cache[i] = malloc(211 * 8 + i);
}

__attribute__((noinline)) static void drop_cache(void)
{
    for (size_t i = 0; i < sizeof cache / sizeof *cache; i++)
        free(cache[i]);
}

static void *work(void *rounds)
{
    char *buffer = NULL;
    for (int i = 0; i < *(int *)rounds; i++) {
        char *grown = realloc(buffer, 40 + 37 * (size_t)(i % 29));
        buffer = grown ? grown : buffer;
        open_session(i);
        if (i % 5 == 0)
            pause_a_little();
    }
    free(buffer);
    return NULL;
}

int main(int argc, char **argv)
{
    int phases = argc > 1 ? atoi(argv[1]) : 3, rounds = argc > 2 ? atoi(argv[2]) : 100;
    for (int phase = 0; phase < phases; phase++) {
        pthread_t thread;
        mlog_mark("phase");
        fill_cache();
        if (pthread_create(&thread, NULL, work, &rounds) != 0)
            return 1;
        work(&rounds);
        pthread_join(thread, NULL);
        if (phase % 2)
            drop_cache();
    }
    pid_t child = fork();
    if (child == 0) {
        work(&rounds);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return 0;
}
