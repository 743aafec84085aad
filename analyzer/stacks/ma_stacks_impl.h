/* SPDX-License-Identifier: MIT
 *
 * The inside of ma_stacks.h, for the ma_stacks*.c files alone. Functions that
 * return an int return 0 or -ENOMEM.
 */
#ifndef MA_STACKS_IMPL_H
#define MA_STACKS_IMPL_H

#include "ma_stacks.h"

/* ma_stacks.c */

static inline uint64_t ma_stacks_frame_of(const struct ma_node *node)
{
    return node->offset << 1 | (node->exact != 0);
}

bool ma_stacks_same_object(const struct ma_object_entry *object, const struct ma_module *module);

/* The object of a module id; 0 is code that its process has in no module. */
int ma_stacks_find_object(struct ma_stacks *stacks, const struct ma_process *process, uint32_t id,
                          uint32_t *index);
int ma_stacks_add_pc(struct ma_stacks *stacks, uint32_t object, uint64_t frame, uint64_t offset,
                     uint64_t address, uint32_t *index);

/* The place of the hash of a node's path. Valid until the next call; NULL if
 * memory is short. */
uint64_t *ma_stacks_hash_at(struct ma_stacks *stacks, const struct ma_process *owner, size_t node);

/* The hash of the path of a node of this process, and those of its parents. */
int ma_stacks_hash_chain(struct ma_stacks *stacks, const struct ma_process *process, uint32_t stack,
                         uint64_t *hash);

/* The hashes of all nodes that a process has defined since. */
int ma_stacks_hash_nodes(struct ma_stacks *stacks, const struct ma_process *process);

/* The id of the path with this hash, made if it is new, with `first` as a node
 * that stands for it. */
int ma_stacks_find_stack(struct ma_stacks *stacks, uint64_t hash, struct ma_stack first,
                         uint32_t *id);

/* A frame of a path, on the way outwards: a node of a process, or a retired node. */
struct ma_step {
    const struct ma_process *process; /* whose node; of a retired node: one that had it */
    const struct ma_node *node;       /* NULL: it is a retired node */
    uint32_t retired_node;            /* below MLF_FIRST_NODE: the path has ended */
};

static inline bool ma_step_is_frame(const struct ma_step *step)
{
    return step->node || step->retired_node >= MLF_FIRST_NODE;
}

struct ma_step ma_stacks_innermost(const struct ma_stacks *stacks, uint32_t id);
void ma_stacks_outwards(const struct ma_stacks *stacks, struct ma_step *step);
int ma_stacks_step_pc(struct ma_stacks *stacks, const struct ma_step *step, uint32_t *pc);

/* Resolve the frames of a return address, if that was not done yet. False if memory
 * is short. */
bool ma_stacks_resolve(struct ma_stacks *stacks, uint32_t pc);

/* ma_stacks_retired.c */

static inline const struct ma_retired_node *
ma_stacks_retired_node_at(const struct ma_stacks *stacks, uint32_t retired_node)
{
    return &stacks->retired_nodes[retired_node - MLF_FIRST_NODE];
}

/* The retired node of a stack of this process, or of a retired one that it inherits
 * from. Returns 0 if there is none, or it is kept no more. */
uint32_t ma_stacks_retired(const struct ma_stacks *stacks, const struct ma_process *process,
                           uint32_t stack);

/* The return address of a retired node that this process had. */
int ma_stacks_retired_pc(struct ma_stacks *stacks, const struct ma_process *process,
                         uint32_t retired_node, uint32_t *pc);

#endif
