/* SPDX-License-Identifier: MIT
 *
 * The fixed run whose instructions are counted: the same calls at every run, in
 * one thread. Each phase is one function that callgrind can be told to count
 * alone, so that start and end of the program do not matter. Prints the events
 * of the phase. Called by bench_instructions.py.
 *
 *     fixed PHASE
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __clang__
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noinline, noclone))
#endif

static void *blocks[1024];
static uint32_t seed = 12345;

static uint32_t next_random(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 8;
}

static void *checked(void *block)
{
    if (!block)
        exit(1);
    return block;
}

/* One stack, one block at a time: what every event costs at least. */
APART static unsigned long run_pairs(void)
{
    static const size_t sizes[] = {8, 16, 256, 512, 4096, 16384};
    for (unsigned i = 0; i < 24000; i++)
        free(checked(malloc(sizes[i % 6])));
    return 2 * 24000;
}

/* Blocks that live for a while, from eight call paths 4 to 11 frames deep. */
APART static void *make(unsigned depth, size_t size)
{
    void *volatile block = depth ? make(depth - 1, size) : checked(malloc(size));
    return block;
}

APART static unsigned long run_live(void)
{
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t r = next_random();
        void **at = &blocks[r % 1024];
        free(*at);
        *at = make(4 + (r >> 10) % 8, 16 + (r >> 13) % 200);
    }
    return 2 * 20000 - 1024;
}

/* A tree built and freed by recursion, 20 frames and more below main. */
struct node {
    struct node *left, *right;
};

APART static struct node *build(unsigned levels)
{
    struct node *node = checked(malloc(sizeof *node));
    node->left = levels > 1 ? build(levels - 1) : NULL;
    node->right = levels > 1 ? build(levels - 1) : NULL;
    return node;
}

APART static void release(struct node *node)
{
    if (node->left)
        release(node->left);
    if (node->right)
        release(node->right);
    free(node);
}

APART static unsigned descend(unsigned levels)
{
    volatile unsigned one = 1;
    if (levels > 1)
        return one + descend(levels - 1);
    for (unsigned i = 0; i < 20; i++) {
        struct node *root = build(10);
        release(root);
    }
    return one;
}

APART static unsigned long run_tree(void)
{
    descend(10);
    return 2 * 20 * 1023;
}

/* As many new paths as there are events: the dear part of the stack table. */
APART static unsigned path(unsigned bits, unsigned left);
APART static unsigned step_one(unsigned bits, unsigned left)
{
    volatile unsigned one = 1;
    return one + path(bits >> 1, left - 1);
}
APART static unsigned step_two(unsigned bits, unsigned left)
{
    volatile unsigned one = 1;
    return path(bits >> 1, left - 1) + one;
}
APART static unsigned path(unsigned bits, unsigned left)
{
    volatile unsigned one = 1;
    if (left == 0) {
        free(checked(malloc(24)));
        return one;
    }
    return one + (bits & 1 ? step_one(bits, left) : step_two(bits, left));
}

APART static unsigned long run_paths(void)
{
    for (unsigned i = 0; i < 8192; i++)
        path(i, 13);
    return 2 * 8192;
}

APART static unsigned long run_resize(void)
{
    for (unsigned i = 0; i < 4000; i++) {
        void *block = NULL;
        for (size_t n = 1; n <= 8; n++)
            block = checked(realloc(block, n * (8 + i % 64)));
        free(block);
    }
    return 9 * 4000;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        unsigned long (*run)(void);
    } phases[] = {{"pairs", run_pairs},
                  {"live", run_live},
                  {"tree", run_tree},
                  {"paths", run_paths},
                  {"resize", run_resize}};
    free(checked(malloc(8))); /* what a first event costs is not the phase's */
    for (unsigned i = 0; argc == 2 && i < sizeof phases / sizeof *phases; i++)
        if (!strcmp(argv[1], phases[i].name)) {
            printf("%lu\n", phases[i].run());
            return 0;
        }
    fputs("usage: fixed pairs|live|tree|paths|resize\n", stderr);
    return 2;
}
