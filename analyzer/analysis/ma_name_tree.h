/* SPDX-License-Identifier: MIT
 *
 * The rows of an analysis as a tree of function names, for reports that look
 * from function to function: callers, callees, trees. Inlined functions are
 * on it; a frame without name goes by "module+0xoffset". Functions of the same name in
 * two executables, as main is, are two names.
 *
 * Memory: 20 to 32 bytes for each distinct path, 4 for each row, and the names.
 */
#ifndef MA_NAME_TREE_H
#define MA_NAME_TREE_H

#include "ma_analysis.h"

enum { MA_COST_LEAKED, MA_COST_PEAK, MA_COST_ALLOCATED, MA_COST_CALLS, MA_COSTS };

struct ma_name_tree {
    struct ma_analysis *analysis;
    const char **names;    /* by number of the name */
    const char **programs; /* by number of the name: the executable whose function it is, if
                            * others have one of this name; or NULL */
    size_t n_names, name_capacity;
    void *tree; /* of names, by tsearch(3) */
    struct ma_trie trie;
    uint32_t *of_frame; /* numbers of names, by the number of the frame */
    size_t n_frames;
    uint32_t *innermost; /* node in the trie, by row; MA_NONE: a stack without frames */
};

/* Read the rows. Release in either case. Returns 0 or -ENOMEM. */
int ma_name_tree_read(struct ma_name_tree *name_tree, struct ma_analysis *analysis);
void ma_name_tree_release(struct ma_name_tree *name_tree);

/* Order of two numbers: by name, then by program. */
int ma_name_tree_compare(const struct ma_name_tree *name_tree, uint32_t a, uint32_t b);

/* The number of the name that a node of the trie has. */
static inline uint32_t ma_name_tree_name(const struct ma_name_tree *name_tree, uint32_t node)
{
    return name_tree->of_frame[name_tree->trie.nodes[node].frame];
}

/* Where calls lie that go by one name. All zero: none was met. */
struct ma_lines {
    const char *file; /* of the first one */
    unsigned first, last;
    bool elsewhere; /* others lie in another file */
};
void ma_lines_add(struct ma_lines *lines, const struct ma_frame *frame);

/* The frame that a node of the trie has. */
static inline const struct ma_frame *ma_name_tree_frame(const struct ma_name_tree *name_tree,
                                                        uint32_t node)
{
    return ma_stacks_resolved(&name_tree->analysis->stacks, name_tree->trie.nodes[node].frame);
}

/* The value of a row that `cost` names. */
static inline uint64_t ma_name_tree_cost(const struct ma_row *row, unsigned cost)
{
    return cost == MA_COST_LEAKED  ? row->leaked_bytes
           : cost == MA_COST_PEAK  ? row->peak_bytes
           : cost == MA_COST_CALLS ? row->calls
                                   : row->bytes;
}

#endif
