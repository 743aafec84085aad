/* SPDX-License-Identifier: MIT
 *
 * Places: the trie that processes which are over share (ma_stacks.h). A place is
 * found by the hash of its path, as paths are told apart everywhere; parents are
 * made before their children.
 */
#include "ma_stacks_impl.h"

#include <errno.h>

#include "ma_pages.h"

uint32_t ma_stacks_folded(const struct ma_stacks *stacks, const struct ma_process *process,
                          uint32_t stack)
{
    const struct ma_process *owner = ma_process_of_node(process, stack);
    if (!owner || owner->index >= stacks->n_hashes)
        return 0;
    const struct ma_hashes *own = &stacks->hashes[owner->index];
    return stack >= own->first && stack - own->first < own->n_places
               ? own->places[stack - own->first]
               : 0;
}

int ma_stacks_place_id(struct ma_stacks *stacks, uint32_t place, uint32_t process, uint32_t *id)
{
    *id = place;
    if (place < MLF_FIRST_NODE)
        return 0;
    return ma_stacks_find_path(stacks, ma_stacks_place_at(stacks, place)->hash,
                               (struct ma_path){ process, place - MLF_FIRST_NODE, true }, id);
}

static int add_place(struct ma_stacks *stacks, const struct ma_process *owner,
                     const struct ma_node *node, uint32_t *place)
{
    const uint64_t hash = stacks->hashes[owner->index].at[node - owner->nodes];
    uint32_t object;
    int result = ma_stacks_find_object(stacks, owner, node->module, &object);
    if (result < 0)
        return result;
    if (stacks->n_places >= UINT32_MAX - MLF_FIRST_NODE - 1 ||
        !MA_RESERVE(stacks->places, stacks->n_places, stacks->place_capacity) ||
        ma_map_set(&stacks->place_of, hash, (uint32_t)stacks->n_places) < 0)
        return -ENOMEM;
    stacks->places[stacks->n_places] = (struct ma_place){
        .hash = hash, .frame = ma_stacks_frame_of(node), .parent = *place, .object = object,
    };
    *place = (uint32_t)stacks->n_places++ + MLF_FIRST_NODE;
    return 0;
}

int ma_stacks_place(struct ma_stacks *stacks, const struct ma_process *process, uint32_t stack,
                    uint32_t *place)
{
    const struct ma_process *owner = process;
    uint64_t hash;
    int result = ma_stacks_hash_chain(stacks, process, stack, &hash); /* that of all its parents, too */
    for (*place = stack; stack >= MLF_FIRST_NODE && result == 0; *place = stack) {
        const struct ma_node *node = ma_process_node(process, stack, &owner);
        if (!node) {
            *place = ma_stacks_folded(stacks, process, stack);
            *place = *place ? *place : MA_ROOT_UNKNOWN;
            break;
        }
        uint32_t known = ma_map_get(&stacks->place_of,
                                    stacks->hashes[owner->index].at[node - owner->nodes]);
        if (known != MA_NONE) {
            *place = known + MLF_FIRST_NODE;
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
        result = add_place(stacks, owner, node, place);
    }
    return result;
}

/* Places for the ids of the process's own nodes. */
static int place_nodes(struct ma_stacks *stacks, const struct ma_process *process)
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
    /* A trace that lies has far between them: so many are looked for no more. */
    if (last - first >= 8 * process->n_nodes + 1024)
        last = first + (uint32_t)(8 * process->n_nodes + 1023);
    uint32_t *places = calloc((size_t)(last - first) + 1, sizeof *places);
    if (!places)
        return -ENOMEM;
    int result = 0;
    for (size_t i = 0; i < process->n_nodes && result == 0; i++) {
        uint32_t id = process->nodes[i].id, place;
        if (id <= last && (result = ma_stacks_place(stacks, process, id, &place)) == 0)
            places[id - first] = place;
    }
    struct ma_hashes *own = &stacks->hashes[process->index];
    own->places = places;
    own->n_places = (size_t)(last - first) + 1;
    own->first = first;
    return result;
}

/* Children that are silent for so long are not waited for. */
static int keep_places(struct ma_stacks *stacks, const struct ma_process *process)
{
    if (!MA_RESERVE(stacks->folded, stacks->n_folded, stacks->folded_capacity))
        return -ENOMEM;
    stacks->folded[stacks->n_folded++] = process->index;
    stacks->n_kept += stacks->hashes[process->index].n_places;
    while (stacks->n_kept > MA_PLACES_KEPT) {
        struct ma_hashes *oldest = &stacks->hashes[stacks->folded[stacks->folded_at++]];
        stacks->n_kept -= oldest->n_places;
        free(oldest->places);
        oldest->places = NULL;
        oldest->n_places = 0;
    }
    return 0;
}

/* One copy of what modules of the same object are called and built of. */
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
    if (module->borrowed || object->path == module->path || !ma_stacks_same_object(object, module))
        return 0;
    free(module->path);
    free(module->build_id);
    free(module->segments);
    module->path = (char *)(uintptr_t)object->path;
    module->build_id = (unsigned char *)(uintptr_t)object->build_id;
    module->segments = (struct ma_segment *)(uintptr_t)object->segments;
    module->n_segments = object->n_segments;
    module->borrowed = true;
    return 0;
}

int ma_stacks_fold(struct ma_stacks *stacks, struct ma_process *process)
{
    stacks->folding = process;
    int result = process->n_nodes ? ma_stacks_hash_nodes(stacks, process) : 0;
    if (result == 0)
        result = place_nodes(stacks, process);
    for (size_t i = 0; i < process->n_modules && result == 0; i++)
        result = share_module(stacks, process, &process->modules[i]);
    stacks->folding = NULL;
    ma_map_free(&stacks->folding_of);
    if (result < 0 || !process->n_nodes)
        return result;
    struct ma_hashes *own = &stacks->hashes[process->index];
    ma_pages_free(own->at, own->n * sizeof *own->at);
    own->at = NULL;
    own->n = own->done = 0;
    return keep_places(stacks, process);
}

/* Where the object lay in this process, or in one that it was forked from. */
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

int ma_stacks_place_site(struct ma_stacks *stacks, const struct ma_process *process,
                         uint32_t place, uint32_t *site)
{
    const struct ma_place *at = ma_stacks_place_at(stacks, place);
    const struct ma_object_entry *object = &stacks->objects[at->object];
    uint64_t offset = (uint64_t)((int64_t)at->frame >> 1); /* as addresses are */
    *site = ma_map_get(&object->site_of, at->frame);
    return *site != MA_NONE ? 0
                            : ma_stacks_add_site(stacks, at->object, at->frame, offset,
                                                 offset + bias_of(process, object), site);
}
