/* SPDX-License-Identifier: MIT
 *
 * The tree behind a flame graph, for its writers (ma_flame.c, ma_flame_svg.c)
 * and nobody else.
 */
#ifndef MA_FLAME_TREE_H
#define MA_FLAME_TREE_H

#include "ma_flame.h"

struct ma_flame_node {
    uint64_t total;               /* of this frame and all above it, after ma_flame_sum_up */
    uint64_t self;                /* of stacks that end here */
    uint64_t old_total, old_self; /* of the old table */
    uint32_t parent;              /* always an earlier node; the root's is itself */
    uint32_t name;
    uint32_t depth; /* the root's is 0 */
    uint32_t file;  /* number of a name; MA_FLAME_NO_FILE: unknown */
    unsigned line;
    bool own;     /* of the program itself */
    bool several; /* places: the one above is the first */
};

struct ma_flame {
    char *title;
    enum ma_flame_unit unit;
    struct ma_flame_node *nodes; /* [0] is the root, which has no name */
    size_t n_nodes, room_nodes;
    size_t most;          /* nodes, before what is new is united; 0: no bound */
    uint32_t *node_slots; /* hash of (parent, name) to node; 0: empty */
    size_t room_node_slots;
    char **names; /* valid UTF-8 without control characters */
    size_t n_names, room_names;
    uint32_t *name_slots; /* hash of a name to its number + 1 */
    size_t room_name_slots;
};

/* Make the totals; for the writers, first of all. */
void ma_flame_sum_up(struct ma_flame *flame);

/*
 * The nodes but the root with a total, or with `old` also those that only the
 * old table has, in depth-first order, children by the
 * bytes of their names: a new array (to free) and its length. NULL if memory
 * is short.
 */
uint32_t *ma_flame_order(const struct ma_flame *flame, bool old, size_t *n);

/*
 * A new string (to free), safe to show: valid UTF-8, without control and
 * direction characters. NULL if memory is short.
 */
char *ma_flame_clean(const char *text);

#endif
