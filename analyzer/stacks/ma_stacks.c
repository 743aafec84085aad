/* SPDX-License-Identifier: MIT
 *
 * Stacks of all processes; see ma_stacks.h.
 */
#include "ma_stacks_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ma_pages.h"

void ma_stacks_init(struct ma_stacks *stacks, struct ma_trace *trace, struct ma_symbols *symbols)
{
    *stacks = (struct ma_stacks){.trace = trace, .symbols = symbols, .latest_module = UINT64_MAX};
}

void ma_stacks_free(struct ma_stacks *stacks)
{
    for (size_t i = 0; i < stacks->n_objects; i++) {
        free(stacks->objects[i].build_id_text);
        ma_map_free(&stacks->objects[i].pc_of);
    }
    free(stacks->objects);
    free(stacks->pcs);
    free(stacks->all);
    free(stacks->chain);
    free(stacks->resolved);
    free(stacks->frames);
    ma_map_free(&stacks->stack_of);
    for (size_t i = 0; i < stacks->n_hashes; i++) {
        ma_pages_free(stacks->hashes[i].at, stacks->hashes[i].n * sizeof *stacks->hashes[i].at);
        free(stacks->hashes[i].retired_nodes);
    }
    free(stacks->hashes);
    free(stacks->retired_nodes);
    free(stacks->retired);
    ma_map_free(&stacks->retired_node_of);
    free(stacks->stack_pcs);
    ma_map_free(&stacks->object_of);
    ma_map_free(&stacks->retiring_of);
    ma_map_free(&stacks->named);
}

bool ma_stacks_same_object(const struct ma_object_entry *object, const struct ma_module *module)
{
    return object->known && strcmp(object->path, module->file) == 0 &&
           object->build_id_size == module->build_id_size &&
           memcmp(object->build_id, module->build_id, module->build_id_size) == 0;
}

static uint64_t hash_of(const struct ma_module *module)
{
    uint64_t hash = 0;
    for (const char *c = module->file; *c; c++)
        hash = ma_mix(hash ^ (unsigned char)*c);
    for (size_t i = 0; i < module->build_id_size; i++)
        hash = ma_mix(hash ^ module->build_id[i]);
    return hash;
}

static char *hexadecimal(const unsigned char *bytes, size_t size)
{
    char *text = malloc(2 * size + 1);
    if (!text)
        return NULL;
    text[0] = '\0';
    for (size_t i = 0; i < size; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
    return text;
}

/* True if the process ran on this machine, as far as one can tell. */
static bool is_here(const struct ma_process *process)
{
    char name[256];
    return gethostname(name, sizeof name) == 0 &&
           strcmp(ma_process_text(process, MLF_TEXT_HOST), name) == 0;
}

static int add_object(struct ma_stacks *stacks, const struct ma_process *process,
                      const struct ma_module *module, uint32_t id, uint32_t *index)
{
    if (!MA_RESERVE(stacks->objects, stacks->n_objects, stacks->object_capacity))
        return -ENOMEM;
    struct ma_object_entry object = {
        .owner = id ? NULL : process,
        .path = "",
        .known = module != NULL,
        .since = process->known ? process->record.realtime_ns : 0,
        .here = is_here(process),
        .order = (uint64_t)process->index << 32 | (uint32_t)stacks->n_objects,
    };
    if (module) {
        object.first = process;
        object.first_id = id;
        object.segments = module->segments;
        object.n_segments = module->n_segments;
        object.path = module->file;
        object.build_id = module->build_id;
        object.build_id_size = module->build_id_size;
        object.vdso = module->flags & MLF_MODULE_VDSO;
        object.executable = module->flags & MLF_MODULE_MAIN;
    } else if (id) {
        stacks->trace->audit.unknown_modules++;
    }
    object.build_id_text = hexadecimal(object.build_id, object.build_id_size);
    if (!object.build_id_text)
        return -ENOMEM;
    *index = (uint32_t)stacks->n_objects;
    stacks->objects[stacks->n_objects++] = object;
    return 0;
}

/* The object that a module is, by its name and build-id; made if it is new. */
static int find_named(struct ma_stacks *stacks, const struct ma_process *process,
                      const struct ma_module *module, uint32_t id, uint32_t *index)
{
    uint64_t hash = module ? hash_of(module) : 0;
    uint32_t first = module ? ma_map_get(&stacks->named, hash) : MA_NONE;
    *index = first;
    while (*index != MA_NONE && !ma_stacks_same_object(&stacks->objects[*index], module))
        *index = stacks->objects[*index].other;
    if (*index != MA_NONE) {
        struct ma_object_entry *object = &stacks->objects[*index];
        object->executable |= (module->flags & MLF_MODULE_MAIN) != 0;
        uint64_t order = (uint64_t)process->index << 32 | (uint32_t)stacks->n_objects;
        if (order < object->order) { /* an earlier process, retired or asked for later */
            object->order = order;
            object->since = process->known ? process->record.realtime_ns : 0;
            object->first = process;
            object->first_id = id;
        }
        return 0;
    }
    int result = add_object(stacks, process, module, id, index);
    if (result < 0)
        return result;
    stacks->objects[*index].other = first;
    return module ? ma_map_set(&stacks->named, hash, *index) : 0;
}

int ma_stacks_find_object(struct ma_stacks *stacks, const struct ma_process *process, uint32_t id,
                          uint32_t *index)
{
    uint64_t key = (uint64_t)process->index << 32 | id;
    *index =
        key == stacks->latest_module ? stacks->latest_object : ma_map_get(&stacks->object_of, key);
    if (*index == MA_NONE)
        *index = ma_map_get(&stacks->retiring_of, key);
    if (*index == MA_NONE) {
        const struct ma_module *module = id ? ma_process_module(process, id) : NULL;
        /* Modules of a process that is being retired are not asked for again: their
         * map is let go with it. */
        struct ma_map *map =
            module && process == stacks->retiring ? &stacks->retiring_of : &stacks->object_of;
        int result = find_named(stacks, process, module, id, index);
        if (result < 0 || (result = ma_map_set(map, key, *index)) < 0)
            return result;
    }
    stacks->latest_module = key;
    stacks->latest_object = *index;
    return 0;
}

struct ma_object ma_stacks_object(const struct ma_object_entry *entry)
{
    return (struct ma_object){
        .path = entry->path[0] ? entry->path : NULL,
        .build_id = entry->build_id_size ? entry->build_id : NULL,
        .build_id_size = entry->build_id_size,
        .vdso = entry->vdso,
        .segments = entry->segments,
        .n_segments = entry->n_segments,
        .since = entry->since,
        .generated = entry->owner != NULL,
        .process = entry->owner ? entry->owner->key : 0,
        .pid = entry->owner ? ma_process_pid(entry->owner) : 0,
        .here = entry->here,
        .directory =
            entry->owner ? ma_process_text(ma_process_program(entry->owner), MLF_TEXT_CWD) : NULL,
    };
}

int ma_stacks_add_pc(struct ma_stacks *stacks, uint32_t object, uint64_t frame, uint64_t offset,
                     uint64_t address, uint32_t *index)
{
    if (!MA_RESERVE(stacks->pcs, stacks->n_pcs, stacks->pc_capacity))
        return -ENOMEM;
    *index = (uint32_t)stacks->n_pcs;
    stacks->pcs[stacks->n_pcs++] = (struct ma_pc){
        .object = object,
        .exact = frame & 1,
        .offset = offset,
        .address = address,
    };
    return ma_map_set(&stacks->objects[object].pc_of, frame, *index);
}

static int find_pc(struct ma_stacks *stacks, const struct ma_process *process,
                   const struct ma_node *node, uint32_t *index)
{
    uint32_t object;
    int result = ma_stacks_find_object(stacks, process, node->module, &object);
    if (result < 0)
        return result;
    *index = ma_map_get(&stacks->objects[object].pc_of, ma_stacks_frame_of(node));
    if (*index != MA_NONE)
        return 0;
    return ma_stacks_add_pc(stacks, object, ma_stacks_frame_of(node), node->offset,
                            ma_process_address(process, node), index);
}

uint64_t *ma_stacks_hash_at(struct ma_stacks *stacks, const struct ma_process *owner, size_t node)
{
    if (!MA_HOLDS(stacks->hashes, owner->index, stacks->n_hashes))
        return NULL;
    struct ma_hashes *own = &stacks->hashes[owner->index];
    if (node >= own->n) {
        /* Most often the whole trace has been read, and the process defines no more. */
        size_t n = own->n ? owner->n_nodes + owner->n_nodes / 2 : owner->n_nodes;
        uint64_t *at = ma_pages_grow(own->at, own->n * sizeof *at, n * sizeof *at);
        if (!at)
            return NULL;
        own->at = at;
        own->n = n;
    }
    return &own->at[node];
}

#define ROOT_MASK ((uint64_t)MLF_FIRST_NODE - 1)

/* The hash of a node's path from that of its parent, or the root: folded along its
 * frames, with the root in the low bits. Returns 0 or -ENOMEM. */
static int hash_path(struct ma_stacks *stacks, const struct ma_process *owner,
                     const struct ma_node *node, uint64_t parent, uint64_t *hash)
{
    uint32_t object;
    int result = ma_stacks_find_object(stacks, owner, node->module, &object);
    uint64_t within = ma_mix((uint64_t)object << 1 | (node->exact != 0));
    *hash = ma_mix(parent ^ ma_mix(node->offset + within));
    *hash = (*hash & ~ROOT_MASK) | (ROOT_MASK + 1) | (parent & ROOT_MASK); /* never 0 */
    return result;
}

/* Outwards to a root or a node whose hash is known, then back. */
int ma_stacks_hash_chain(struct ma_stacks *stacks, const struct ma_process *process, uint32_t stack,
                         uint64_t *hash)
{
    const struct ma_process *owner = process;
    stacks->n_chain = 0;
    for (*hash = stack; stack >= MLF_FIRST_NODE; *hash = stack) {
        const struct ma_node *node = ma_process_node(process, stack, &owner);
        if (!node) {
            uint32_t retired_node = ma_stacks_retired(stacks, process, stack);
            *hash = retired_node ? ma_stacks_retired_node_at(stacks, retired_node)->hash
                                 : MA_ROOT_UNKNOWN;
            break;
        }
        const uint64_t *known = ma_stacks_hash_at(stacks, owner, (size_t)(node - owner->nodes));
        if (!known || !MA_RESERVE(stacks->chain, stacks->n_chain, stacks->chain_capacity))
            return -ENOMEM;
        if (*known) {
            *hash = *known;
            break;
        }
        stacks->chain[stacks->n_chain++] = stack;
        stack = node->parent;
    }
    while (stacks->n_chain) {
        const struct ma_node *node =
            ma_process_node(process, stacks->chain[--stacks->n_chain], &owner);
        int result = hash_path(stacks, owner, node, *hash, hash);
        if (result < 0)
            return result;
        *ma_stacks_hash_at(stacks, owner, (size_t)(node - owner->nodes)) = *hash;
    }
    return 0;
}

/* Parents came before their children, most often. */
int ma_stacks_hash_nodes(struct ma_stacks *stacks, const struct ma_process *process)
{
    if (!process->n_nodes || !ma_stacks_hash_at(stacks, process, process->n_nodes - 1))
        return process->n_nodes ? -ENOMEM : 0;
    struct ma_hashes *own = &stacks->hashes[process->index];
    int result = 0;
    for (; own->done < process->n_nodes && result == 0; own->done++) {
        const struct ma_node *node = &process->nodes[own->done];
        uint32_t parent =
            node->parent < MLF_FIRST_NODE ? MA_NONE : ma_process_own_node(process, node->parent);
        uint64_t hash = parent != MA_NONE ? own->at[parent] : node->parent;
        if (parent == MA_NONE ? node->parent < MLF_FIRST_NODE : hash != 0) {
            result = hash_path(stacks, process, node, hash, &own->at[own->done]);
        } else if (!own->at[own->done]) {
            result = ma_stacks_hash_chain(stacks, process, node->id, &hash);
            own = &stacks->hashes[process->index];
        }
    }
    return result;
}

int ma_stacks_find_stack(struct ma_stacks *stacks, uint64_t hash, struct ma_stack first,
                         uint32_t *id)
{
    uint32_t index = ma_map_get(&stacks->stack_of, hash);
    if (index == MA_NONE) {
        index = (uint32_t)stacks->n_stacks;
        if (stacks->n_stacks >= UINT32_MAX - MLF_FIRST_NODE - 1 ||
            !MA_RESERVE(stacks->all, stacks->n_stacks, stacks->stack_capacity) ||
            ma_map_set(&stacks->stack_of, hash, index) < 0)
            return -ENOMEM;
        stacks->all[stacks->n_stacks++] = first;
    }
    *id = index + MLF_FIRST_NODE;
    return 0;
}

int ma_stacks_id(struct ma_stacks *stacks, const struct ma_process *process, uint32_t stack,
                 uint32_t *id)
{
    const struct ma_process *owner;
    *id = stack;
    if (stack < MLF_FIRST_NODE)
        return 0;
    const struct ma_node *node = ma_process_node(process, stack, &owner);
    uint32_t retired_node = node ? 0 : ma_stacks_retired(stacks, process, stack);
    if (retired_node)
        return ma_stacks_retired_node_id(stacks, retired_node, process->index, id);
    if (!node) {
        stacks->trace->audit.unknown_stacks++;
        *id = MA_ROOT_UNKNOWN;
        return 0;
    }
    size_t index = (size_t)(node - owner->nodes);
    if ((owner->index >= stacks->n_hashes || index >= stacks->hashes[owner->index].done) &&
        ma_stacks_hash_nodes(stacks, owner) < 0)
        return -ENOMEM;
    return ma_stacks_find_stack(stacks, stacks->hashes[owner->index].at[index],
                                (struct ma_stack){.owner = owner->index, .node = (uint32_t)index},
                                id);
}

/* Resolve a return address to the calls there. Returns their number, 0 if nothing
 * is known. */
static size_t resolve_pc(struct ma_stacks *stacks, const struct ma_pc *pc,
                         const struct ma_symbol **symbols)
{
    const struct ma_object_entry *entry = &stacks->objects[pc->object];
    if (!stacks->symbols || (!entry->known && !entry->owner))
        return 0;
    struct ma_object object = ma_stacks_object(entry);
    return ma_symbols_resolve(stacks->symbols, &object, pc->offset, pc->exact, symbols);
}

/* The frames of one return address: its function, those inlined there first. */
bool ma_stacks_resolve(struct ma_stacks *stacks, uint32_t index)
{
    struct ma_pc *pc = &stacks->pcs[index];
    struct ma_object_entry *object = &stacks->objects[pc->object];
    struct ma_frame frame = {
        .address = pc->address,
        .offset = pc->offset,
        .module = object->known ? object->path : NULL,
        .build_id = object->build_id_size ? object->build_id_text : NULL,
        .pc = index,
        .executable = object->executable,
    };
    const struct ma_symbol *symbols = NULL;
    if (pc->n_resolved)
        return true;
    size_t n = resolve_pc(stacks, pc, &symbols);
    const size_t first = stacks->n_resolved;
    for (size_t i = 0; i < (n ? n : 1); i++) {
        if (n) {
            frame.function = symbols[i].function;
            frame.linkage = symbols[i].linkage;
            frame.file = symbols[i].file;
            frame.line = symbols[i].line;
            frame.inlined = symbols[i].inlined;
        }
        if (!MA_RESERVE(stacks->resolved, stacks->n_resolved, stacks->resolved_capacity)) {
            stacks->n_resolved = first;
            return false;
        }
        frame.number = (uint32_t)stacks->n_resolved;
        stacks->resolved[stacks->n_resolved++] = frame;
    }
    object->shown++;
    object->unresolved += !n || !symbols[n - 1].function;
    pc->resolved = (uint32_t)first;
    pc->n_resolved = (uint32_t)(n ? n : 1);
    return true;
}

int ma_stacks_resolve_all(struct ma_stacks *stacks)
{
    const struct ma_symbol *symbols;
    for (size_t i = 0; i < stacks->trace->n_processes; i++) {
        const struct ma_process *process = stacks->trace->processes[i];
        for (size_t k = 0; k < process->n_nodes; k++) {
            uint32_t pc;
            int result = find_pc(stacks, process, &process->nodes[k], &pc);
            if (result < 0)
                return result;
        }
    }
    for (size_t i = 0; i < stacks->n_pcs; i++)
        resolve_pc(stacks, &stacks->pcs[i], &symbols);
    return 0;
}

struct ma_step ma_stacks_innermost(const struct ma_stacks *stacks, uint32_t id)
{
    struct ma_step step = {0};
    if (id < MLF_FIRST_NODE)
        return step;
    const struct ma_stack *path = &stacks->all[id - MLF_FIRST_NODE];
    step.process = stacks->trace->processes[path->owner];
    if (path->retired)
        step.retired_node = path->node + MLF_FIRST_NODE;
    else
        step.node = &step.process->nodes[path->node];
    return step;
}

void ma_stacks_outwards(const struct ma_stacks *stacks, struct ma_step *step)
{
    if (!step->node) {
        step->retired_node = ma_stacks_retired_node_at(stacks, step->retired_node)->parent;
        return;
    }
    const struct ma_process *process = step->process;
    uint32_t parent = step->node->parent;
    step->node = parent < MLF_FIRST_NODE ? NULL : ma_process_node(process, parent, &step->process);
    step->retired_node =
        step->node || parent < MLF_FIRST_NODE ? 0 : ma_stacks_retired(stacks, process, parent);
}

int ma_stacks_step_pc(struct ma_stacks *stacks, const struct ma_step *step, uint32_t *pc)
{
    return step->node ? find_pc(stacks, step->process, step->node, pc)
                      : ma_stacks_retired_pc(stacks, step->process, step->retired_node, pc);
}

long ma_stacks_pcs(struct ma_stacks *stacks, uint32_t id, const uint32_t **pcs)
{
    return ma_stacks_pcs_within(stacks, id, MLF_DEPTH_MAX, pcs);
}

long ma_stacks_pcs_within(struct ma_stacks *stacks, uint32_t id, unsigned most,
                          const uint32_t **pcs)
{
    struct ma_step step = ma_stacks_innermost(stacks, id);
    stacks->n_stack_pcs = 0;
    for (unsigned depth = 0; ma_step_is_frame(&step) && depth < most; depth++) {
        uint32_t pc;
        if (ma_stacks_step_pc(stacks, &step, &pc) < 0 ||
            !MA_RESERVE(stacks->stack_pcs, stacks->n_stack_pcs, stacks->stack_pc_capacity))
            return -1;
        stacks->stack_pcs[stacks->n_stack_pcs++] = pc;
        ma_stacks_outwards(stacks, &step);
    }
    *pcs = stacks->stack_pcs;
    return (long)stacks->n_stack_pcs;
}

long ma_stacks_frames(struct ma_stacks *stacks, uint32_t id, const struct ma_frame **frames)
{
    const uint32_t *pcs;
    long n = ma_stacks_pcs(stacks, id, &pcs);
    stacks->n_frames = 0;
    for (long i = 0; i < n; i++) {
        if (!ma_stacks_resolve(stacks, pcs[i]))
            return -1;
        const struct ma_pc *pc = &stacks->pcs[pcs[i]];
        for (uint32_t k = 0; k < pc->n_resolved; k++) {
            if (!MA_RESERVE(stacks->frames, stacks->n_frames, stacks->frame_capacity))
                return -1;
            stacks->frames[stacks->n_frames++] = stacks->resolved[pc->resolved + k];
        }
    }
    *frames = stacks->frames;
    return n < 0 ? n : (long)stacks->n_frames;
}

long ma_stacks_pc(struct ma_stacks *stacks, uint32_t pc, const struct ma_frame **frames)
{
    if (!ma_stacks_resolve(stacks, pc))
        return -1;
    *frames = &stacks->resolved[stacks->pcs[pc].resolved];
    return stacks->pcs[pc].n_resolved;
}

uint32_t ma_stacks_root(const struct ma_stacks *stacks, uint32_t id)
{
    if (id < MLF_FIRST_NODE)
        return id;
    const struct ma_stack *path = &stacks->all[id - MLF_FIRST_NODE];
    uint64_t hash = path->retired ? stacks->retired_nodes[path->node].hash
                                  : stacks->hashes[path->owner].at[path->node];
    return (uint32_t)(hash & ROOT_MASK);
}

const char *ma_frame_name(const struct ma_frame *frame, char *buffer, size_t size)
{
    if (frame->function)
        return frame->function;
    if (frame->module && frame->module[0]) {
        const char *slash = strrchr(frame->module, '/');
        snprintf(buffer, size, "%s+0x%llx", slash && slash[1] ? slash + 1 : frame->module,
                 (unsigned long long)frame->offset);
    } else {
        snprintf(buffer, size, "0x%llx", (unsigned long long)frame->address);
    }
    return buffer;
}
