/* SPDX-License-Identifier: MIT
 *
 * Recording that pauses, by mlog.h and from outside.
 *
 *     paused windows       blocks of 101 * 8 to 106 * 8 bytes around a pause of its own
 *     paused hammer N      three threads hand blocks over while N pauses come and go, and
 *                          all that is left is freed behind the last one
 *     paused serve         a letter on standard input, and its echo when it is done: a
 *                          allocates 107 * 8 bytes and keeps them, f forks a child that
 *                          serves in its place, r without libc's knowledge, b and e are 20 blocks
 * of 108 * 8 made and freed, x ends paused many N        N times malloc and free of 109 * 8 bytes
 */
#include "mlog.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void *volatile keep;
static void *volatile kept[5];

static int windows(void)
{
    void *lives = malloc(101 * 8), *freed = malloc(102 * 8), *moved = malloc(110 * 8);
    kept[0] = lives;
    if (mlog_pause() != 0 || mlog_pause() != 1)
        return 1;
    void *unseen = malloc(103 * 8), *gone = malloc(106 * 8);
    free(freed);
    kept[1] = realloc(moved, 111 * 8);
    if (mlog_resume() != 0 || mlog_resume() != 1)
        return 1;
    kept[2] = malloc(104 * 8);
    kept[3] = realloc(unseen, 105 * 8);
    free(gone);
    free(lives);
    return 0;
}

#define SLOTS 8
static _Atomic(void *) slots[SLOTS];
static atomic_bool over;

static void *hand_over(void *number)
{
    uint64_t random = (uintptr_t)number * 0x9e3779b97f4a7c15ull + 1;
    while (!atomic_load(&over)) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        void *block = malloc(24 + 32 * (random >> 62));
        if ((random >> 32 & 7) == 0)
            block = realloc(block, 200);
        free(atomic_exchange(&slots[random >> 40 & (SLOTS - 1)], block));
    }
    return NULL;
}

static int hammer(int times)
{
    pthread_t threads[3];
    const struct timespec moment = {0, 300000};
    for (uintptr_t i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, hand_over, (void *)i);
    for (int i = 0; i < times; i++) {
        nanosleep(&moment, NULL);
        mlog_pause();
        nanosleep(&moment, NULL);
        mlog_resume();
    }
    nanosleep(&moment, NULL);
    atomic_store(&over, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SLOTS; i++)
        free(atomic_load(&slots[i]));
    return 0;
}

static int serve(void)
{
    char letter;
    while (read(0, &letter, 1) == 1 && letter != 'x') {
        pid_t child = letter == 'f'   ? fork()
                      : letter == 'r' ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
                                      : 0;
        if (child > 0) {
            int status;
            return waitpid(child, &status, 0) < 0;
        }
        if (letter == 'a')
            keep = malloc(107 * 8);
        for (int i = 0; (letter == 'b' || letter == 'e') && i < 20; i++)
            free(keep = malloc(108 * 8));
        if (letter != '\n' && write(1, &letter, 1) != 1)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int n = argc > 2 ? atoi(argv[2]) : 0;
    if (!strcmp(what, "windows"))
        return windows();
    if (!strcmp(what, "hammer"))
        return hammer(n);
    if (!strcmp(what, "serve"))
        return serve();
    for (int i = 0; i < n; i++)
        free(keep = malloc(109 * 8));
    return 0;
}
