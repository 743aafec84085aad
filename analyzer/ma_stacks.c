/* SPDX-License-Identifier: MIT
 *
 * Stacks of all processes in one trie; see ma_stacks.h.
 */
#include "ma_stacks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void ma_stacks_init(struct ma_stacks *stacks, struct ma_trace *trace, struct ma_symbols *symbols)
{
    *stacks = (struct ma_stacks){ .trace = trace, .symbols = symbols };
}

void ma_stacks_free(struct ma_stacks *stacks)
{
    for (size_t i = 0; i < stacks->n_objects; i++) {
        free(stacks->objects[i].build_id_text);
        ma_map_free(&stacks->objects[i].frame_of);
    }
    free(stacks->objects);
    free(stacks->sites);
    free(stacks->paths);
    free(stacks->chain);
    free(stacks->frames);
    ma_map_free(&stacks->path_of);
    for (size_t i = 0; i < stacks->n_known; i++)
        free(stacks->known[i].ids);
    free(stacks->known);
    ma_map_free(&stacks->object_of);
}

static bool same_object(const struct ma_object_entry *object, const struct ma_module *module)
{
    return object->known && strcmp(object->path, module->path) == 0 &&
           object->build_id_size == module->build_id_size &&
           memcmp(object->build_id, module->build_id, module->build_id_size) == 0;
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
                      const struct ma_module *module, bool bare, uint32_t *index)
{
    if (!MA_RESERVE(stacks->objects, stacks->n_objects, stacks->object_capacity))
        return -ENOMEM;
    struct ma_object_entry object = {
        .owner = bare ? process : NULL,
        .path = "",
        .known = module != NULL,
        .since = process->known ? process->record.realtime_ns : 0,
        .here = is_here(process),
    };
    if (module) {
        object.segments = module->segments;
        object.n_segments = module->n_segments;
        object.path = module->path;
        object.build_id = module->build_id;
        object.build_id_size = module->build_id_size;
        object.vdso = module->flags & MLF_MODULE_VDSO;
    } else if (!bare) {
        stacks->trace->audit.unknown_modules++;
    }
    object.build_id_text = hexadecimal(object.build_id, object.build_id_size);
    if (!object.build_id_text)
        return -ENOMEM;
    *index = (uint32_t)stacks->n_objects;
    stacks->objects[stacks->n_objects++] = object;
    return 0;
}

/* The object of a module id; 0 is code that its process has in no module. */
static int find_object(struct ma_stacks *stacks, const struct ma_process *process, uint32_t id,
                       uint32_t *index)
{
    uint64_t key = (uint64_t)process->index << 32 | id;
    *index = ma_map_get(&stacks->object_of, key);
    if (*index != MA_NONE)
        return 0;
    const struct ma_module *module = id ? ma_process_module(process, id) : NULL;
    for (size_t i = 0; i < stacks->n_objects && module && *index == MA_NONE; i++) {
        if (same_object(&stacks->objects[i], module))
            *index = (uint32_t)i;
    }
    if (*index == MA_NONE) {
        int result = add_object(stacks, process, module, id == 0, index);
        if (result < 0)
            return result;
    }
    return ma_map_set(&stacks->object_of, key, *index);
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
    };
}

static int find_site(struct ma_stacks *stacks, const struct ma_process *process,
                     const struct ma_node *node, uint32_t *index)
{
    uint32_t object;
    int result = find_object(stacks, process, node->module, &object);
    if (result < 0)
        return result;
    struct ma_map *map = &stacks->objects[object].frame_of;
    uint64_t key = node->offset << 1 | (node->exact != 0);
    *index = ma_map_get(map, key);
    if (*index != MA_NONE)
        return 0;
    if (!MA_RESERVE(stacks->sites, stacks->n_sites, stacks->site_capacity))
        return -ENOMEM;
    *index = (uint32_t)stacks->n_sites;
    stacks->sites[stacks->n_sites++] = (struct ma_site){
        .object = object,
        .exact = node->exact,
        .offset = node->offset,
        .address = ma_process_address(process, node),
    };
    return ma_map_set(map, key, *index);
}

static int add_path(struct ma_stacks *stacks, uint32_t parent, uint32_t site, uint32_t *id)
{
    uint64_t key = (uint64_t)parent << 32 | site;
    *id = ma_map_get(&stacks->path_of, key);
    if (*id != MA_NONE)
        return 0;
    if (stacks->n_paths >= UINT32_MAX - MLF_FIRST_NODE - 1 ||
        !MA_RESERVE(stacks->paths, stacks->n_paths, stacks->path_capacity))
        return -ENOMEM;
    *id = (uint32_t)stacks->n_paths + MLF_FIRST_NODE;
    stacks->paths[stacks->n_paths++] =
        (struct ma_path){ parent, site, ma_stacks_root(stacks, parent) };
    return ma_map_set(&stacks->path_of, key, *id);
}

/* Where the id of a node is noted, valid until the next call; NULL if memory is
 * short. */
static uint32_t *known_id(struct ma_stacks *stacks, const struct ma_process *owner,
                          const struct ma_node *node)
{
    if (owner->index >= stacks->n_known) {
        size_t n = stacks->trace->n_processes + stacks->trace->n_processes / 2;
        n += owner->index + 1 > n;
        struct ma_known *known = realloc(stacks->known, n * sizeof *known);
        if (!known)
            return NULL;
        for (size_t i = stacks->n_known; i < n; i++)
            known[i] = (struct ma_known){ 0 };
        stacks->known = known;
        stacks->n_known = n;
    }
    struct ma_known *known = &stacks->known[owner->index];
    size_t index = (size_t)(node - owner->nodes);
    if (index >= known->n) {
        /* Most often the trace is read, and these are all. */
        size_t n = known->n ? owner->n_nodes + owner->n_nodes / 2 : owner->n_nodes;
        uint32_t *ids = realloc(known->ids, n * sizeof *ids);
        if (!ids)
            return NULL;
        memset(ids + known->n, 0, (n - known->n) * sizeof *ids);
        *known = (struct ma_known){ ids, n };
    }
    return &known->ids[index];
}

int ma_stacks_id(struct ma_stacks *stacks, const struct ma_process *process, uint32_t stack,
                 uint32_t *id)
{
    const struct ma_process *owner = process;
    stacks->n_chain = 0;
    *id = stack;
    /* Outwards to a root or a node that is known, then back. */
    while (stack >= MLF_FIRST_NODE) {
        const struct ma_node *node = ma_process_node(process, stack, &owner);
        if (!node) {
            if (stacks->n_chain == 0)
                stacks->trace->audit.unknown_stacks++;
            *id = MA_ROOT_UNKNOWN;
            break;
        }
        uint32_t *known = known_id(stacks, owner, node);
        if (!known || !MA_RESERVE(stacks->chain, stacks->n_chain, stacks->chain_capacity))
            return -ENOMEM;
        if (*known) {
            *id = *known;
            break;
        }
        stacks->chain[stacks->n_chain++] = stack;
        stack = node->parent;
        *id = stack;
    }
    while (stacks->n_chain) {
        uint32_t of = stacks->chain[--stacks->n_chain], site;
        const struct ma_node *node = ma_process_node(process, of, &owner);
        int result = find_site(stacks, owner, node, &site);
        if (result < 0 || (result = add_path(stacks, *id, site, id)) < 0)
            return result;
        *known_id(stacks, owner, node) = *id;
    }
    return 0;
}

static bool add_frame(struct ma_stacks *stacks, const struct ma_frame *frame)
{
    if (!MA_RESERVE(stacks->frames, stacks->n_frames, stacks->frame_capacity))
        return false;
    stacks->frames[stacks->n_frames++] = *frame;
    return true;
}

/* What is told of a return address. Returns the number of calls, 0 if nothing. */
static size_t resolve_site(struct ma_stacks *stacks, const struct ma_site *site,
                           const struct ma_symbol **symbols)
{
    const struct ma_object_entry *entry = &stacks->objects[site->object];
    if (!stacks->symbols || (!entry->known && !entry->owner))
        return 0;
    struct ma_object object = ma_stacks_object(entry);
    return ma_symbols_resolve(stacks->symbols, &object, site->offset, site->exact, symbols);
}

/* The frames of one return address: its function, those inlined there first. */
static bool add_site(struct ma_stacks *stacks, struct ma_site *site)
{
    struct ma_object_entry *object = &stacks->objects[site->object];
    struct ma_frame frame = {
        .address = site->address,
        .offset = site->offset,
        .module = object->known ? object->path : NULL,
        .build_id = object->build_id_size ? object->build_id_text : NULL,
    };
    const struct ma_symbol *symbols = NULL;
    size_t n = resolve_site(stacks, site, &symbols);
    if (!site->shown) {
        object->shown++;
        object->unresolved += !n || !symbols[n - 1].function;
    }
    site->shown = true;
    if (n == 0)
        return add_frame(stacks, &frame);
    for (size_t i = 0; i < n; i++) {
        frame.function = symbols[i].function;
        frame.file = symbols[i].file;
        frame.line = symbols[i].line;
        frame.inlined = symbols[i].inlined;
        if (!add_frame(stacks, &frame))
            return false;
    }
    return true;
}

int ma_stacks_resolve_all(struct ma_stacks *stacks)
{
    for (size_t i = 0; i < stacks->trace->n_processes; i++) {
        const struct ma_process *process = stacks->trace->processes[i];
        for (size_t k = 0; k < process->n_nodes; k++) {
            uint32_t id;
            int result = ma_stacks_id(stacks, process, process->nodes[k].id, &id);
            if (result < 0)
                return result;
        }
    }
    const struct ma_symbol *symbols;
    for (size_t i = 0; i < stacks->n_sites; i++)
        resolve_site(stacks, &stacks->sites[i], &symbols);
    return 0;
}

long ma_stacks_frames(struct ma_stacks *stacks, uint32_t id, const struct ma_frame **frames)
{
    stacks->n_frames = 0;
    for (unsigned depth = 0; id >= MLF_FIRST_NODE && depth < MLF_DEPTH_MAX; depth++) {
        const struct ma_path *path = &stacks->paths[id - MLF_FIRST_NODE];
        if (!add_site(stacks, &stacks->sites[path->site]))
            return -1;
        id = path->parent;
    }
    *frames = stacks->frames;
    return (long)stacks->n_frames;
}

long ma_stacks_site(struct ma_stacks *stacks, uint32_t site, const struct ma_frame **frames)
{
    stacks->n_frames = 0;
    if (!add_site(stacks, &stacks->sites[site]))
        return -1;
    *frames = stacks->frames;
    return (long)stacks->n_frames;
}

uint32_t ma_stacks_root(const struct ma_stacks *stacks, uint32_t id)
{
    return id >= MLF_FIRST_NODE ? stacks->paths[id - MLF_FIRST_NODE].root : id;
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
