/* SPDX-License-Identifier: MIT
 *
 * Allocates on each of 2^LEVELS call paths, and tells by the size which: bit k of
 * size - BASE says whether level k was entered through `left` or `right`. Thousands
 * of stacks, or millions, that share most of their frames.
 *
 *     paths THREADS [LEVELS [HOW]]    so many threads walk all paths (1, 12)
 *
 *     leak     every block stays
 *     free     every block goes at once
 *     fork     every block stays; half way through each thread's walk a child that it
 *              forks walks all paths by itself
 *     endless  as free, again and again
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BASE = 123 * 8, THREADS = 64 };

static void *volatile last;
static unsigned levels = 12;
static int frees, forks, endless;
static void left(unsigned level, unsigned bits);
static void right(unsigned level, unsigned bits);

static void leaf(unsigned bits)
{
    void *volatile block = malloc(BASE + bits);
    if (frees)
        free(block);
    else
        last = block;
}

static void descend(unsigned level, unsigned bits)
{
    if (level == levels) {
        leaf(bits);
        return;
    }
    left(level + 1, bits);
    right(level + 1, bits | 1u << level);
}

static void left(unsigned level, unsigned bits)
{
    descend(level, bits);
    last = NULL;
}

static void right(unsigned level, unsigned bits)
{
    descend(level, bits);
    last = NULL;
}

static void *walk(void *unused)
{
    if (!forks) {
        do
            descend(0, 0);
        while (endless);
        return unused;
    }
    pid_t child = -1;
    for (volatile int is_child = 0;;) { /* volatile: no half is there twice */
        left(1, 0);
        if (!is_child && (child = fork()) == 0) {
            is_child = 1;
            continue;
        }
        right(1, 1);
        if (is_child)
            _exit(0);
        return child > 0 && waitpid(child, NULL, 0) == child ? unused : (void *)1;
    }
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    int n = argc > 1 ? atoi(argv[1]) : 1;
    const char *how = argc > 3 ? argv[3] : "leak";
    void *failed = NULL, *result;
    levels = argc > 2 ? (unsigned)atoi(argv[2]) : levels;
    endless = !strcmp(how, "endless");
    frees = endless || !strcmp(how, "free");
    forks = !strcmp(how, "fork");
    for (int i = 0; i < n && i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, walk, NULL))
            return 1;
    for (int i = 0; i < n && i < THREADS; i++) {
        pthread_join(threads[i], &result);
        failed = result ? result : failed;
    }
    return failed != NULL;
}
