/* SPDX-License-Identifier: MIT
 *
 * Stacks as a tree of frames (struct ma_trie): for reports and exports that sum up
 * along whole stacks. A stack is followed outwards only as far as it is new.
 */
#include "ma_stacks_impl.h"

#include <errno.h>
#include <string.h>

struct piece { /* a return address of a path that is new */
    uint64_t hash;
    uint32_t pc;
};

struct pieces {
    struct piece *all;
    size_t n, capacity;
};

static int hash_of(struct ma_stacks *stacks, const struct ma_step *step, uint64_t *hash)
{
    if (step->node)
        return ma_stacks_hash_chain(stacks, step->process, step->node->id, hash);
    *hash = ma_stacks_retired_node_at(stacks, step->retired_node)->hash;
    return 0;
}

/* Collect the return addresses up to a path that is known: *node is its. */
static int follow(struct ma_stacks *stacks, const struct ma_trie *trie, uint32_t id,
                  struct pieces *pieces, uint32_t *node)
{
    struct ma_step step = ma_stacks_innermost(stacks, id);
    for (*node = MA_NONE; ma_step_is_frame(&step); ma_stacks_outwards(stacks, &step)) {
        struct piece piece;
        if (hash_of(stacks, &step, &piece.hash) < 0)
            return -ENOMEM;
        *node = ma_map_get(&trie->of, piece.hash);
        if (*node != MA_NONE)
            return 0;
        if (ma_stacks_step_pc(stacks, &step, &piece.pc) < 0 ||
            !ma_stacks_resolve(stacks, piece.pc) ||
            !MA_RESERVE(pieces->all, pieces->n, pieces->capacity))
            return -ENOMEM;
        pieces->all[pieces->n++] = piece;
    }
    return 0;
}

static int add_piece(const struct ma_stacks *stacks, struct ma_trie *trie,
                     const struct piece *piece, uint32_t *node)
{
    const struct ma_pc *pc = &stacks->pcs[piece->pc];
    for (uint32_t i = pc->n_resolved; i-- > 0;) {
        if (trie->n >= MA_NONE || !MA_RESERVE(trie->nodes, trie->n, trie->capacity))
            return -ENOMEM;
        trie->nodes[trie->n] = (struct ma_trie_node){*node, pc->resolved + i};
        *node = (uint32_t)trie->n++;
    }
    return ma_map_set(&trie->of, piece->hash, *node);
}

int ma_stacks_trie_add(struct ma_stacks *stacks, struct ma_trie *trie, uint32_t id, uint32_t *node)
{
    struct pieces pieces = {0};
    int result = follow(stacks, trie, id, &pieces, node);
    while (pieces.n && result == 0)
        result = add_piece(stacks, trie, &pieces.all[--pieces.n], node);
    free(pieces.all);
    return result;
}

void ma_trie_free(struct ma_trie *trie)
{
    free(trie->nodes);
    ma_map_free(&trie->of);
    *trie = (struct ma_trie){0};
}

/* First children and siblings; those of the whole stand at index n. */
static void link_nodes(const struct ma_trie *trie, uint32_t *first, uint32_t *next)
{
    memset(first, 0xff, (trie->n + 1) * sizeof *first);
    for (uint32_t i = (uint32_t)trie->n; i-- > 0;) {
        const uint32_t parent = trie->nodes[i].parent;
        uint32_t *of = parent == MA_NONE ? &first[trie->n] : &first[parent];
        next[i] = *of;
        *of = i;
    }
}

int ma_trie_walk(const struct ma_trie *trie, int (*pass)(void *context, uint32_t node, bool down),
                 void *context)
{
    const uint32_t whole = (uint32_t)trie->n;
    uint32_t *first = malloc((trie->n + 1) * sizeof *first);
    uint32_t *next = malloc((trie->n + 1) * sizeof *next);
    int result = first && next ? 0 : -ENOMEM;
    if (result == 0)
        link_nodes(trie, first, next);
    for (uint32_t at = whole; result == 0;) {
        const uint32_t child = first[at];
        if (child != MA_NONE) {
            first[at] = next[child];
            at = child;
            result = pass(context, at, true);
        } else if (at != whole) {
            result = pass(context, at, false);
            at = trie->nodes[at].parent == MA_NONE ? whole : trie->nodes[at].parent;
        } else {
            break;
        }
    }
    free(first);
    free(next);
    return result;
}
