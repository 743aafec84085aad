/* SPDX-License-Identifier: MIT
 *
 * Retired nodes: the trie that all retired processes share (ma_stacks.h). A retired
 * node is found by the hash of its path, as in ma_stacks.c; parents are made before
 * their children.
 */
#include "ma_stacks_impl.h"

#include <errno.h>

#include "ma_pages.h"

uint32_t ma_stacks_retired(const struct ma_stacks *stacks, const struct ma_process *process,
                           uint32_t stack)
{
    const struct ma_process *owner = ma_process_of_node(process, stack);
    if (!owner || owner->index >= stacks->n_hashes)
        return 0;
    const struct ma_hashes *own = &stacks->hashes[owner->index];
    return stack >= own->first && stack - own->first < own->n_retired_nodes
               ? own->retired_nodes[stack - own->first]
               : 0;
}

int ma_stacks_retired_node_id(struct ma_stacks *stacks, uint32_t retired_node, uint32_t process,
                              uint32_t *id)
{
    *id = retired_node;
    if (retired_node < MLF_FIRST_NODE)
        return 0;
    return ma_stacks_find_stack(stacks, ma_stacks_retired_node_at(stacks, retired_node)->hash,
                                (struct ma_stack){process, retired_node - MLF_FIRST_NODE, true},
                                id);
}

static int add_retired_node(struct ma_stacks *stacks, const struct ma_process *owner,
                            const struct ma_node *node, uint32_t *retired_node)
{
    const uint64_t hash = stacks->hashes[owner->index].at[node - owner->nodes];
    uint32_t object;
    int result = ma_stacks_find_object(stacks, owner, node->module, &object);
    if (result < 0)
        return result;
    if (stacks->n_retired_nodes >= UINT32_MAX - MLF_FIRST_NODE - 1 ||
        !MA_RESERVE(stacks->retired_nodes, stacks->n_retired_nodes,
                    stacks->retired_node_capacity) ||
        ma_map_set(&stacks->retired_node_of, hash, (uint32_t)stacks->n_retired_nodes) < 0)
        return -ENOMEM;
    stacks->retired_nodes[stacks->n_retired_nodes] = (struct ma_retired_node){
        .hash = hash,
        .frame = ma_stacks_frame_of(node),
        .parent = *retired_node,
        .object = object,
    };
    *retired_node = (uint32_t)stacks->n_retired_nodes++ + MLF_FIRST_NODE;
    return 0;
}

int ma_stacks_retired_node(struct ma_stacks *stacks, const struct ma_process *process,
                           uint32_t stack, uint32_t *retired_node)
{
    const struct ma_process *owner = process;
    uint64_t hash;
    int result =
        ma_stacks_hash_chain(stacks, process, stack, &hash); /* that of all its parents, too */
    for (*retired_node = stack; stack >= MLF_FIRST_NODE && result == 0; *retired_node = stack) {
        const struct ma_node *node = ma_process_node(process, stack, &owner);
        if (!node) {
            *retired_node = ma_stacks_retired(stacks, process, stack);
            *retired_node = *retired_node ? *retired_node : MA_ROOT_UNKNOWN;
            break;
        }
        uint32_t known = ma_map_get(&stacks->retired_node_of,
                                    stacks->hashes[owner->index].at[node - owner->nodes]);
        if (known != MA_NONE) {
            *retired_node = known + MLF_FIRST_NODE;
            break;
        }
        if (!MA_RESERVE(stacks->chain, stacks->n_chain, stacks->chain_capacity))
            return -ENOMEM;
        stacks->chain[stacks->n_chain++] = stack;
        stack = node->parent;
    }
    while (stacks->n_chain && result == 0) {
        const struct ma_node *node =
            ma_process_node(process, stacks->chain[--stacks->n_chain], &owner);
        result = add_retired_node(stacks, owner, node, retired_node);
    }
    return result;
}

/* Make the retired nodes of the process's own nodes, and note them by id. */
static int retire_nodes(struct ma_stacks *stacks, const struct ma_process *process)
{
    if (!process->n_nodes)
        return 0;
    if (!ma_stacks_hash_at(stacks, process, 0))
        return -ENOMEM;
    uint32_t first = UINT32_MAX, last = 0;
    for (size_t i = 0; i < process->n_nodes; i++) {
        uint32_t id = process->nodes[i].id;
        first = id < first ? id : first;
        last = id > last ? id : last;
    }
    /* Ids this sparse come from a trace that lies: those behind get no retired node. */
    if (last - first >= 8 * process->n_nodes + 1024)
        last = first + (uint32_t)(8 * process->n_nodes + 1023);
    uint32_t *retired_nodes = calloc((size_t)(last - first) + 1, sizeof *retired_nodes);
    if (!retired_nodes)
        return -ENOMEM;
    int result = 0;
    for (size_t i = 0; i < process->n_nodes && result == 0; i++) {
        uint32_t id = process->nodes[i].id, retired_node;
        if (id <= last &&
            (result = ma_stacks_retired_node(stacks, process, id, &retired_node)) == 0)
            retired_nodes[id - first] = retired_node;
    }
    struct ma_hashes *own = &stacks->hashes[process->index];
    own->retired_nodes = retired_nodes;
    own->n_retired_nodes = (size_t)(last - first) + 1;
    own->first = first;
    return result;
}

/* Keep the process's retired nodes for its children, and drop those of the
 * earliest retired processes. */
static int keep_retired_nodes(struct ma_stacks *stacks, const struct ma_process *process)
{
    if (!MA_RESERVE(stacks->retired, stacks->n_retired, stacks->retired_capacity))
        return -ENOMEM;
    stacks->retired[stacks->n_retired++] = process->index;
    stacks->n_kept += stacks->hashes[process->index].n_retired_nodes;
    while (stacks->n_kept > MA_RETIRED_NODES_KEPT) {
        struct ma_hashes *oldest = &stacks->hashes[stacks->retired[stacks->retired_at++]];
        stacks->n_kept -= oldest->n_retired_nodes;
        free(oldest->retired_nodes);
        oldest->retired_nodes = NULL;
        oldest->n_retired_nodes = 0;
    }
    return 0;
}

/* Let a module borrow path, build-id and segments from its object's first module. */
static int share_module(struct ma_stacks *stacks, const struct ma_process *process,
                        struct ma_module *module)
{
    uint32_t index;
    if (ma_process_module(process, module->id) != module)
        return 0; /* its id is one of those that are inherited */
    int result = ma_stacks_find_object(stacks, process, module->id, &index);
    if (result < 0)
        return result;
    const struct ma_object_entry *object = &stacks->objects[index];
    if (module->borrowed || object->path == module->file || !ma_stacks_same_object(object, module))
        return 0;
    if (module->file != module->path)
        free(module->file);
    free(module->path);
    free(module->build_id);
    free(module->segments);
    module->path = module->file = (char *)(uintptr_t)object->path;
    module->build_id = (unsigned char *)(uintptr_t)object->build_id;
    module->segments = (struct ma_segment *)(uintptr_t)object->segments;
    module->n_segments = object->n_segments;
    module->borrowed = true;
    return 0;
}

int ma_stacks_retire(struct ma_stacks *stacks, struct ma_process *process)
{
    stacks->retiring = process;
    int result = process->n_nodes ? ma_stacks_hash_nodes(stacks, process) : 0;
    if (result == 0)
        result = retire_nodes(stacks, process);
    for (size_t i = 0; i < process->n_modules && result == 0; i++)
        result = share_module(stacks, process, &process->modules[i]);
    stacks->retiring = NULL;
    ma_map_free(&stacks->retiring_of);
    if (result < 0 || !process->n_nodes)
        return result;
    struct ma_hashes *own = &stacks->hashes[process->index];
    ma_pages_free(own->at, own->n * sizeof *own->at);
    own->at = NULL;
    own->n = own->done = 0;
    return keep_retired_nodes(stacks, process);
}

/* The load bias of the object in this process, or in one that it was forked from. */
static uint64_t bias_of(const struct ma_process *process, const struct ma_object_entry *object)
{
    for (unsigned depth = 0; process && depth < MA_FORKS_DEEP; depth++) {
        for (size_t i = 0; i < process->n_modules; i++) {
            if (ma_stacks_same_object(object, &process->modules[i]))
                return process->modules[i].bias;
        }
        process = process->parent;
    }
    return 0;
}

int ma_stacks_retired_pc(struct ma_stacks *stacks, const struct ma_process *process,
                         uint32_t retired_node, uint32_t *pc)
{
    const struct ma_retired_node *at = ma_stacks_retired_node_at(stacks, retired_node);
    const struct ma_object_entry *object = &stacks->objects[at->object];
    uint64_t offset = (uint64_t)((int64_t)at->frame >> 1); /* signed, as addresses may be */
    *pc = ma_map_get(&object->pc_of, at->frame);
    return *pc != MA_NONE ? 0
                          : ma_stacks_add_pc(stacks, at->object, at->frame, offset,
                                             offset + bias_of(process, object), pc);
}
