/* SPDX-License-Identifier: MIT
 *
 * Blocks that grow by realloc, in sizes that tests know: two chains from one
 * site (100 to 200, 400 and 800 bytes, and to 1600; with an argument to 400),
 * one that is only made smaller, one that grows and is made smaller again. With
 * a block between, so that growing moves; nothing is freed but these.
 */
#include <stdlib.h>

static void *volatile keep, *volatile fence;

static __attribute__((noinline)) void *grow(void *block, size_t to)
{
    for (size_t size = 200; size <= to; size *= 2) {
        fence = malloc(24);
        keep = block = realloc(block, size);
        free(fence);
    }
    return block;
}

static __attribute__((noinline)) void only_smaller(void)
{
    keep = realloc(malloc(5000), 50);
}

static __attribute__((noinline)) void there_and_back(void)
{
    void *block = malloc(300);
    fence = malloc(24);
    keep = block = realloc(block, 3000);
    keep = realloc(block, 1000);
    free(fence);
}

int main(int argc, char **argv)
{
    grow(malloc(100), 800);
    (void)argv;
    grow(malloc(100), argc > 1 ? 400 : 1600);
    only_smaller();
    there_and_back();
    return 0;
}
