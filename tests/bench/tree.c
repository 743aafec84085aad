/* SPDX-License-Identifier: MIT
 *
 * Stacks of a chosen depth that change the way a program's do: each of THREADS
 * threads calls down, then builds and frees binary trees by recursion, so that
 * the leaves are allocated DEPTH frames deep and nearly every event has another
 * stack than the one before. NODES nodes in all, whatever the number of
 * threads. Called by bench.py.
 *
 *     tree DEPTH THREADS NODES
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define LEVELS 10 /* of a tree: 1,023 nodes */

struct node {
    struct node *left, *right;
    unsigned long key;
};

static unsigned depth, trees;

static struct node *build(unsigned levels, unsigned long key)
{
    struct node *node = malloc(sizeof *node + key % 5 * 8);
    if (!node)
        exit(1);
    node->key = key;
    node->left = levels > 1 ? build(levels - 1, 2 * key) : NULL;
    node->right = levels > 1 ? build(levels - 1, 2 * key + 1) : NULL;
    return node;
}

static unsigned long release(struct node *node)
{
    unsigned long sum = node->key;
    if (node->left)
        sum += release(node->left);
    if (node->right)
        sum += release(node->right);
    free(node);
    return sum;
}

static unsigned long descend(unsigned levels)
{
    volatile unsigned long sum = 0; /* used after the call: no tail call */
    if (levels > 0)
        return sum + descend(levels - 1);
    for (unsigned i = 0; i < trees; i++) {
        struct node *root = build(LEVELS, 1);
        sum += release(root);
    }
    return sum;
}

static void *work(void *unused)
{
    (void)unused;
    volatile unsigned long sum = descend(depth > LEVELS + 4 ? depth - LEVELS - 4 : 0);
    (void)sum;
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[64];
    unsigned count = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
    if (count < 1 || count > 64) {
        fputs("usage: tree DEPTH THREADS NODES\n", stderr);
        return 2;
    }
    depth = (unsigned)atoi(argv[1]);
    trees = (unsigned)atoi(argv[3]) / ((1u << LEVELS) - 1) / count;
    for (unsigned i = 1; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, NULL))
            return 1;
    work(NULL);
    for (unsigned i = 1; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("%lu\n", 2ul * trees * ((1u << LEVELS) - 1) * count);
    return 0;
}
