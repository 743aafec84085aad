/* SPDX-License-Identifier: MIT
 *
 * Leaks one block on each of 2^LEVELS call paths, and tells by its size which:
 * bit k of size - BASE says whether level k was entered through `left` or
 * `right`. Thousands of stacks that share most of their frames, so that their
 * definitions fill several chunks. Argument: how many threads walk all paths.
 */
#include <pthread.h>
#include <stdlib.h>

enum { LEVELS = 12, BASE = 123 * 8 };

static void *volatile last;
static void left(unsigned level, unsigned bits);
static void right(unsigned level, unsigned bits);

static void leaf(unsigned bits)
{
    last = malloc(BASE + bits);
}

static void descend(unsigned level, unsigned bits)
{
    if (level == LEVELS) {
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
    descend(0, 0);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t threads[16];
    int n = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 0; i < n && i < 16; i++)
        if (pthread_create(&threads[i], NULL, walk, NULL))
            return 1;
    for (int i = 0; i < n && i < 16; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
