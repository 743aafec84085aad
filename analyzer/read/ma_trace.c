/* SPDX-License-Identifier: MIT
 *
 * Definitions; see ma_trace.h. A parent is linked only if it was seen before
 * its child, so that walks up end whatever a trace claims.
 */
#include "ma_trace.h"

#include <errno.h>
#include <string.h>

#include "ma_pages.h"
#include "ma_place.h"

void ma_trace_init(struct ma_trace *trace)
{
    memset(trace, 0, sizeof *trace);
    ma_audit_init(&trace->audit);
}

void ma_process_forget(struct ma_process *process)
{
    ma_pages_free(process->nodes, process->node_capacity * sizeof *process->nodes);
    process->nodes = NULL;
    process->n_nodes = process->node_capacity = 0;
    ma_pages_free(process->node_at, process->n_node_at * sizeof *process->node_at);
    process->node_at = NULL;
    process->n_node_at = 0;
    ma_map_free(&process->node_of);
    free(process->texts[MLF_TEXT_MAPS].data);
    process->texts[MLF_TEXT_MAPS] = (struct ma_text){0};
}

static void process_free(struct ma_process *process)
{
    ma_process_forget(process);
    for (size_t i = 0; i < MA_TEXTS; i++)
        free(process->texts[i].data);
    for (size_t i = 0; i < process->n_modules; i++) {
        if (process->modules[i].borrowed)
            continue;
        if (process->modules[i].file != process->modules[i].path)
            free(process->modules[i].file);
        free(process->modules[i].path);
        free(process->modules[i].build_id);
        free(process->modules[i].segments);
    }
    free(process->gaps);
    free(process->modules);
    ma_map_free(&process->module_of);
    free(process);
}

void ma_trace_free(struct ma_trace *trace)
{
    for (size_t i = 0; i < trace->n_execs; i++)
        free(trace->execs[i].path);
    free(trace->execs);
    for (size_t i = 0; i < trace->n_bypasses; i++) {
        free(trace->bypasses[i].path);
        free(trace->bypasses[i].target);
    }
    free(trace->bypasses);
    for (size_t i = 0; i < trace->n_processes; i++)
        process_free(trace->processes[i]);
    for (size_t i = 0; i < trace->n_streams; i++) {
        free(trace->streams[i]->name);
        free(trace->streams[i]);
    }
    free(trace->processes);
    free(trace->streams);
    ma_map_free(&trace->process_of);
    ma_map_free(&trace->first_of_pid);
    ma_map_free(&trace->stream_of);
    ma_map_free(&trace->thread_of);
}

struct ma_process *ma_trace_process(struct ma_trace *trace, uint64_t key)
{
    uint32_t index = ma_map_get(&trace->process_of, key);
    if (index != MA_NONE)
        return trace->processes[index];
    struct ma_process *process = calloc(1, sizeof *process);
    if (!process || !MA_RESERVE(trace->processes, trace->n_processes, trace->process_capacity) ||
        ma_map_set(&trace->process_of, key, (uint32_t)trace->n_processes) < 0) {
        free(process);
        return NULL;
    }
    process->key = key;
    process->index = (uint32_t)trace->n_processes;
    process->record.block_header = 8; /* glibc's layout, until the record is read */
    process->record.block_grain = 16;
    process->record.smallest_usable = 24;
    process->record.clock = MLF_CLOCK_MONOTONIC;
    process->end_time = UINT64_MAX;
    trace->processes[trace->n_processes++] = process;
    return process;
}

struct ma_stream *ma_trace_stream(struct ma_trace *trace, struct ma_process *process,
                                  uint32_t number)
{
    uint64_t key = (uint64_t)process->index << 32 | number;
    uint32_t index = ma_map_get(&trace->stream_of, key);
    if (index != MA_NONE)
        return trace->streams[index];
    struct ma_stream *stream = calloc(1, sizeof *stream);
    if (!stream || !MA_RESERVE(trace->streams, trace->n_streams, trace->stream_capacity) ||
        ma_map_set(&trace->stream_of, key, (uint32_t)trace->n_streams) < 0) {
        free(stream);
        return NULL;
    }
    stream->process = process;
    stream->number = number;
    stream->index = stream->thread = (uint32_t)trace->n_streams;
    stream->end = UINT64_MAX;
    trace->streams[trace->n_streams++] = stream;
    return stream;
}

bool ma_trace_is_full(const struct ma_trace *trace, const struct ma_process *process,
                      uint32_t number)
{
    return trace->n_streams >= MA_STREAMS_MAX &&
           ma_map_get(&trace->stream_of, (uint64_t)process->index << 32 | number) == MA_NONE;
}

/* Notes whether the pid of a process is that of another in another place, too. */
static int note_pid_of(struct ma_trace *trace, struct ma_process *process)
{
    uint32_t index = ma_map_get(&trace->first_of_pid, process->record.pid);
    if (index == MA_NONE)
        return ma_map_set(&trace->first_of_pid, process->record.pid, process->index);
    struct ma_process *first = trace->processes[index];
    const struct ma_process_record *a = &first->record, *b = &process->record;
    const bool machines = a->machine && b->machine && a->machine != b->machine;
    const bool namespaces =
        a->pid_namespace && b->pid_namespace && a->pid_namespace != b->pid_namespace;
    process->elsewhere = machines || namespaces;
    first->machines |= machines;
    first->namespaces |= namespaces;
    trace->places |= process->elsewhere;
    return 0;
}

int ma_process_define(struct ma_trace *trace, struct ma_process *process,
                      const struct ma_process_record *record)
{
    if (process->known)
        return 0;
    process->known = true;
    process->record = *record;
    if (!trace->first_known || process->index < trace->first_known->index)
        trace->first_known = process;
    if (!process->record.block_grain)
        process->record.block_grain = 1;
    process->watermark = record->start;
    if (record->how == MLF_HOW_FORK) {
        uint32_t parent = ma_map_get(&trace->process_of, record->parent_key);
        if (parent != MA_NONE && parent < process->index) {
            process->parent = trace->processes[parent];
            process->parent->heirs++;
        }
    }
    return note_pid_of(trace, process);
}

int ma_process_add_text(struct ma_process *process, uint64_t what, struct ma_bytes bytes)
{
    if (what >= MA_TEXTS)
        return 0;
    struct ma_text *text = &process->texts[what];
    if (bytes.size > MA_TEXT_MAX - text->size)
        bytes.size = MA_TEXT_MAX - text->size;
    char *data = realloc(text->data, text->size + bytes.size + 1);
    if (!data)
        return -ENOMEM;
    memcpy(data + text->size, bytes.data, bytes.size);
    text->data = data;
    text->size += bytes.size;
    data[text->size] = '\0';
    return 0;
}

static char *copy_text(struct ma_bytes bytes)
{
    char *text = malloc(bytes.size + 1);
    if (text) {
        memcpy(text, bytes.data, bytes.size);
        text[bytes.size] = '\0';
    }
    return text;
}

int ma_process_add_module(struct ma_process *process, const struct ma_module_record *record)
{
    if (record->id == 0 || record->id >= UINT32_MAX ||
        ma_map_get(&process->module_of, record->id) != MA_NONE)
        return 0;
    if (!MA_RESERVE(process->modules, process->n_modules, process->module_capacity))
        return -ENOMEM;
    struct ma_module module = {
        .id = (uint32_t)record->id,
        .flags = (uint32_t)record->flags,
        .bias = record->bias,
        .load_time = record->time,
        .end_time = UINT64_MAX,
        .path = copy_text(record->path),
        .build_id = (unsigned char *)copy_text(record->build_id),
        .build_id_size = record->build_id.size,
        .segments = malloc((record->n_segments + 1) * sizeof *module.segments),
        .n_segments = record->n_segments,
    };
    if (!module.path || !module.build_id || !module.segments ||
        ma_map_set(&process->module_of, record->id, (uint32_t)process->n_modules) < 0) {
        free(module.path);
        free(module.build_id);
        free(module.segments);
        return -ENOMEM;
    }
    memcpy(module.segments, record->segments, record->n_segments * sizeof *module.segments);
    module.file = ma_place_find(process, &module);
    if (!module.file)
        module.file = module.path;
    process->modules[process->n_modules++] = module;
    return 0;
}

/* Ids are dense from the first one on, or a trace lies: an array leads from id
 * to index as long as a fair part of it is used, a map takes the rest. */
static int index_node(struct ma_process *process, uint32_t id)
{
    const size_t ids_per_node = 8, few = 1024;
    uint32_t first = (uint32_t)process->record.inherited_nodes;
    size_t at = id - first;
    if (id < first || !process->known)
        return ma_map_set(&process->node_of, id, (uint32_t)process->n_nodes);
    if (at >= process->n_node_at) {
        if (at >= few + ids_per_node * process->n_nodes)
            return ma_map_set(&process->node_of, id, (uint32_t)process->n_nodes);
        uint32_t *node_at =
            ma_pages_more(process->node_at, &process->n_node_at, sizeof *node_at, at + 1);
        if (!node_at)
            return -ENOMEM;
        process->node_at = node_at;
    }
    process->node_at[at] = (uint32_t)process->n_nodes + 1;
    return 0;
}

static bool grow_nodes(struct ma_process *process)
{
    void *nodes = ma_pages_more(process->nodes, &process->node_capacity, sizeof *process->nodes, 0);
    if (nodes)
        process->nodes = nodes;
    return nodes != NULL;
}

static uint64_t hash_path(const struct ma_process *process, const struct ma_node *node)
{
    const struct ma_process *owner;
    const struct ma_node *parent = process->n_nodes ? &process->nodes[process->n_nodes - 1] : NULL;
    if (!parent || parent->id != node->parent)
        parent =
            node->parent < MLF_FIRST_NODE ? NULL : ma_process_node(process, node->parent, &owner);
    uint64_t frame =
        node->offset + ((uint64_t)node->module << 1 | node->exact) * 0x9e3779b97f4a7c15u;
    return ma_mix((parent ? parent->path : node->parent) + frame * 0xd6e8feb86659fd93u);
}

int ma_process_add_node(struct ma_process *process, const struct ma_node *node)
{
    if (ma_process_own_node(process, node->id) != MA_NONE)
        return 0;
    if ((process->n_nodes == process->node_capacity && !grow_nodes(process)) ||
        index_node(process, node->id) < 0)
        return -ENOMEM;
    struct ma_node *its = &process->nodes[process->n_nodes];
    *its = *node;
    its->path = hash_path(process, node);
    process->n_nodes++;
    return 0;
}

int ma_stream_define(struct ma_trace *trace, struct ma_stream *stream,
                     const struct ma_stream_record *record)
{
    if (stream->known)
        return 0;
    char *name = copy_text(record->name);
    if (!name)
        return -ENOMEM;
    free(stream->name); /* of an end that came first */
    stream->name = name;
    stream->known = true;
    stream->tid = record->tid;
    stream->flags = record->flags;
    stream->start = record->time;
    if (record->tid > UINT32_MAX)
        return 0; /* no thread has such a one */
    uint64_t key = (uint64_t)stream->process->index << 32 | record->tid;
    uint32_t latest = ma_map_get(&trace->thread_of, key);
    if (!(record->flags & MLF_STREAM_NESTED))
        return latest != MA_NONE && latest > stream->index
                   ? 0
                   : ma_map_set(&trace->thread_of, key, stream->index);
    /* A nested stream belongs to the thread that was interrupted: the latest
     * ordinary stream with its tid. */
    if (latest != MA_NONE)
        stream->thread = latest;
    return 0;
}

void ma_stream_end(struct ma_stream *stream, const struct ma_stream_record *record)
{
    stream->end = record->time;
    char *name = record->name.size ? copy_text(record->name) : NULL;
    if (name) {
        free(stream->name);
        stream->name = name;
    }
}

const struct ma_process *ma_process_of_node(const struct ma_process *process, uint32_t id)
{
    unsigned depth = 0;
    while (process && process->known && id < process->record.inherited_nodes)
        process = depth++ < MA_FORKS_DEEP ? process->parent : NULL;
    return process;
}

const struct ma_node *ma_process_node(const struct ma_process *process, uint32_t id,
                                      const struct ma_process **owner)
{
    process = ma_process_of_node(process, id);
    if (!process)
        return NULL;
    uint32_t index = ma_process_own_node(process, id);
    *owner = process;
    return index == MA_NONE ? NULL : &process->nodes[index];
}

const struct ma_module *ma_process_module(const struct ma_process *process, uint32_t id)
{
    unsigned depth = 0;
    while (process && process->known && id < process->record.inherited_modules)
        process = depth++ < MA_FORKS_DEEP ? process->parent : NULL;
    if (!process || !id)
        return NULL;
    uint32_t index = ma_map_get(&process->module_of, id);
    return index == MA_NONE ? NULL : &process->modules[index];
}

uint64_t ma_process_address(const struct ma_process *process, const struct ma_node *node)
{
    const struct ma_module *module = ma_process_module(process, node->module);
    return node->offset + (module ? module->bias : 0);
}

const char *ma_process_text(const struct ma_process *process, unsigned what)
{
    return what < MA_TEXTS && process->texts[what].data ? process->texts[what].data : "";
}

const struct ma_process *ma_process_program(const struct ma_process *process)
{
    unsigned depth = 0;
    while (process->parent && depth++ < MA_FORKS_DEEP && !ma_process_text(process, MLF_TEXT_EXE)[0])
        process = process->parent;
    return process;
}

int ma_trace_add_exec(struct ma_trace *trace, const struct ma_process *starter,
                      const struct ma_short_record *record)
{
    if (record->exec.state & MLF_EXEC_FAILED) {
        for (size_t i = trace->n_execs; i-- > 0;)
            if (trace->execs[i].pid == record->exec.pid) {
                free(trace->execs[i].path);
                memmove(&trace->execs[i], &trace->execs[i + 1],
                        (--trace->n_execs - i) * sizeof *trace->execs);
                break;
            }
        return 0;
    }
    if (trace->n_execs == MA_EXECS_MAX)
        return 0;
    char *path = strndup((const char *)record->exec.path.data, record->exec.path.size);
    if (!path || !MA_RESERVE(trace->execs, trace->n_execs, trace->exec_capacity)) {
        free(path);
        return -ENOMEM;
    }
    trace->execs[trace->n_execs++] = (struct ma_exec){
        .starter = starter,
        .pid = record->exec.pid,
        .time = record->time,
        .state = record->exec.state,
        .path = path,
    };
    return 0;
}

const char *ma_process_setting(const struct ma_process *process, const char *name)
{
    const struct ma_text *text = &ma_process_program(process)->texts[MLF_TEXT_SETTINGS];
    const size_t length = strlen(name);
    for (size_t at = 0; at < text->size; at += strlen(text->data + at) + 1)
        if (!strncmp(text->data + at, name, length) && text->data[at + length] == '=')
            return text->data + at + length + 1;
    return "";
}

int ma_process_add_gap(struct ma_process *process, const struct ma_short_record *record)
{
    const bool open = process->unseen_before == UINT64_MAX;
    if (record->window.what == MLF_WINDOW_RESUME) {
        if (open && process->n_gaps && process->gaps[process->n_gaps - 1].to == UINT64_MAX)
            process->gaps[process->n_gaps - 1].to = record->time;
        if (process->has_unseen) /* a resume alone ends nothing */
            process->unseen_before = record->time;
        return 0;
    }
    if (record->window.what != MLF_WINDOW_PAUSE || (open && process->gap_count))
        return 0;
    process->has_unseen = true;
    process->unseen_before = UINT64_MAX;
    if (process->gap_count++ >= MA_GAPS_MAX)
        return 0;
    if (!MA_RESERVE(process->gaps, process->n_gaps, process->gap_capacity))
        return -ENOMEM;
    process->gaps[process->n_gaps++] = (struct ma_gap){record->time, UINT64_MAX, record->window.by};
    return 0;
}

static bool is_text(const char *text, struct ma_bytes bytes)
{
    size_t size = strnlen((const char *)bytes.data, bytes.size);
    return strlen(text) == size && memcmp(text, bytes.data, size) == 0;
}

int ma_trace_add_bypass(struct ma_trace *trace, const struct ma_short_record *record)
{
    for (size_t i = 0; i < trace->n_bypasses; i++) {
        struct ma_bypass *known = &trace->bypasses[i];
        if (known->why == record->bypass.why && is_text(known->path, record->bypass.path) &&
            is_text(known->target, record->bypass.target)) {
            known->processes++;
            return 0;
        }
    }
    if (trace->n_bypasses == MA_BYPASSES_MAX)
        return 0;
    char *path = strndup((const char *)record->bypass.path.data, record->bypass.path.size);
    char *target = strndup((const char *)record->bypass.target.data, record->bypass.target.size);
    if (!path || !target ||
        !MA_RESERVE(trace->bypasses, trace->n_bypasses, trace->bypass_capacity)) {
        free(path);
        free(target);
        return -ENOMEM;
    }
    trace->bypasses[trace->n_bypasses++] = (struct ma_bypass){
        .why = record->bypass.why,
        .processes = 1,
        .path = path,
        .target = target,
    };
    return 0;
}
