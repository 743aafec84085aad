/* SPDX-License-Identifier: MIT
 *
 * The format of heaptrack's interpreted files, version 3, as heaptrack 1.4
 * writes and reads it: lines of a letter and numbers in hexadecimal. Strings
 * (s), instruction pointers with their names (i), traces as nodes of a tree
 * (t) and sizes at a trace (a) are defined before they are used, and numbered
 * in that order, from 1 (a: from 0). An allocation (+) and a deallocation (-)
 * name a size at a trace; c is the time in ms, R the resident pages.
 *
 * It is written while the trace is read, by what the replay tells its
 * observers. heaptrack knows one process: blocks of a process that has ended
 * count until the end of the file, as what they are: leaks.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_export.h"
#include "ma_export_strings.h"
#include "ma_observer.h"

struct heaptrack {
    struct ma_observer observer;
    struct ma_analysis *analysis;
    FILE *out;
    struct ma_strings strings;
    struct ma_map ip_of_pc;
    struct ma_trie trie;
    uint32_t *traces_of; /* by node of the trie: the trace of the innermost frame of a site */
    size_t n_traces_of;
    uint32_t n_ips, no_stack; /* the ip of stacks without frames, 0: none yet */
    struct ma_pairs traces;   /* ip and parent */
    struct ma_map trace_of;   /* process and site */
    struct ma_map size_of;    /* size to a number for it */
    uint32_t n_sizes;
    struct ma_pairs infos; /* trace and size */
    uint64_t ms, resident;
    bool told_program;
};

/* The number of a string, defined if it is new; 0 for none. MA_NONE without
 * memory. */
static uint32_t string_number(struct heaptrack *to, const char *text)
{
    if (!text || !text[0])
        return 0;
    size_t before = to->strings.n;
    uint32_t number = ma_strings_add_line(&to->strings, text);
    if (number == MA_NONE)
        return MA_NONE;
    const char *line = to->strings.texts[number];
    if (to->strings.n > before)
        fprintf(to->out, "s %zx %s\n", strlen(line), line);
    return number + 1;
}

static int define_ip(struct heaptrack *to, const struct ma_frame *frames, size_t n, uint32_t *ip)
{
    uint32_t module = string_number(to, frames[0].module), functions[64], files[64];
    n = n < 64 ? n : 64;
    if (module == MA_NONE)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        functions[i] = string_number(to, frames[i].function);
        files[i] = string_number(to, frames[i].file);
        if (functions[i] == MA_NONE || files[i] == MA_NONE)
            return -ENOMEM;
    }
    fprintf(to->out, "i %" PRIx64 " %" PRIx32, frames[0].address, module);
    for (size_t i = 0; i < n && (n > 1 || functions[i]); i++)
        fprintf(to->out, " %" PRIx32 " %" PRIx32 " %x", functions[i], files[i], frames[i].line);
    putc('\n', to->out);
    *ip = ++to->n_ips;
    return 0;
}

static int define_trace(struct heaptrack *to, uint32_t ip, uint32_t *trace)
{
    bool is_new;
    uint32_t number = ma_pairs_add(&to->traces, ip, *trace, &is_new);
    if (number == MA_NONE)
        return -ENOMEM;
    if (is_new)
        fprintf(to->out, "t %" PRIx32 " %" PRIx32 "\n", ip, *trace);
    *trace = number + 1;
    return 0;
}

static int define_no_stack(struct heaptrack *to, uint32_t *trace)
{
    const struct ma_frame none = {.function = MA_NO_STACK};
    if (!to->no_stack && define_ip(to, &none, 1, &to->no_stack) < 0)
        return -ENOMEM;
    return define_trace(to, to->no_stack, trace);
}

/* Traces for what is new in the trie, from a node on. */
static int define_nodes(struct heaptrack *to, size_t from)
{
    const struct ma_stacks *stacks = &to->analysis->stacks;
    const struct ma_trie *trie = &to->trie;
    if (!MA_HOLDS(to->traces_of, trie->n, to->n_traces_of))
        return -ENOMEM;
    uint32_t trace = from < trie->n && trie->nodes[from].parent != MA_NONE
                         ? to->traces_of[trie->nodes[from].parent]
                         : 0;
    for (size_t i = from; i < trie->n; i++) {
        const struct ma_frame *frame = ma_stacks_resolved(stacks, trie->nodes[i].frame);
        const struct ma_pc *pc = &stacks->pcs[frame->pc];
        if (frame->number != pc->resolved)
            continue; /* others are inlined there */
        uint32_t ip = ma_map_get(&to->ip_of_pc, frame->pc);
        if (ip == MA_NONE && (define_ip(to, frame, pc->n_resolved, &ip) < 0 ||
                              ma_map_set(&to->ip_of_pc, frame->pc, ip) < 0))
            return -ENOMEM;
        if (define_trace(to, ip, &trace) < 0)
            return -ENOMEM;
        to->traces_of[i] = trace;
    }
    return 0;
}

/* The trace of a stack, with all that it is made of. */
static int define_stack(struct heaptrack *to, const struct ma_process *process, uint32_t stack,
                        uint32_t *trace)
{
    const struct ma_process *owner;
    uint32_t id, node;
    *trace = 0;
    /* The names of a trace that is being written may come a little later. */
    if (stack >= MLF_FIRST_NODE && !ma_process_node(process, stack, &owner) &&
        ma_merge_poll(&to->analysis->merge) < 0)
        return -ENOMEM;
    const size_t n = to->trie.n;
    if (ma_stacks_id(&to->analysis->stacks, process, stack, &id) < 0 ||
        ma_stacks_trie_add(&to->analysis->stacks, &to->trie, id, &node) < 0)
        return -ENOMEM;
    if (node == MA_NONE)
        return define_no_stack(to, trace);
    if (define_nodes(to, n) < 0)
        return -ENOMEM;
    *trace = to->traces_of[node];
    return 0;
}

/* The number of this size at this stack. */
static int find_info(struct heaptrack *to, const struct ma_seen *seen,
                     const struct ma_seen_block *block, uint32_t *info)
{
    uint64_t key = (uint64_t)seen->process->index << 32 | block->site;
    uint32_t trace = ma_map_get(&to->trace_of, key);
    if (trace == MA_NONE && (define_stack(to, seen->process, block->stack, &trace) < 0 ||
                             ma_map_set(&to->trace_of, key, trace) < 0))
        return -ENOMEM;
    uint32_t size = ma_map_get(&to->size_of, block->size);
    if (size == MA_NONE) {
        size = to->n_sizes++;
        if (ma_map_set(&to->size_of, block->size, size) < 0)
            return -ENOMEM;
    }
    bool is_new;
    *info = ma_pairs_add(&to->infos, trace, size, &is_new);
    if (*info == MA_NONE)
        return -ENOMEM;
    if (is_new)
        fprintf(to->out, "a %" PRIx64 " %" PRIx32 "\n", block->size, trace);
    return 0;
}

static void tell_program(struct heaptrack *to)
{
    const struct ma_trace *trace = &to->analysis->trace;
    char *command = ma_export_command(to->analysis);
    fprintf(to->out, "X %s\nI %" PRIx64 " 0\n", command ? command : "?",
            trace->n_processes ? trace->processes[0]->record.page_size : 4096);
    free(command);
    to->told_program = true;
}

static void tell_time(struct heaptrack *to, const struct ma_seen *seen)
{
    const struct ma_replay *replay = seen->replay;
    uint64_t ms = seen->ns / 1000000, page = seen->process->record.page_size;
    if (!to->told_program)
        tell_program(to);
    if (ms > to->ms) {
        fprintf(to->out, "c %" PRIx64 "\n", ms);
        to->ms = ms;
    }
    if (replay->has_resident && replay->resident != to->resident && page) {
        fprintf(to->out, "R %" PRIx64 "\n", replay->resident / page);
        to->resident = replay->resident;
    }
}

static int heaptrack_allocated(void *context, const struct ma_seen *seen,
                               const struct ma_seen_block *block)
{
    struct heaptrack *to = context;
    uint32_t info;
    if (ferror(to->out))
        return 0; /* the commit says why */
    tell_time(to, seen);
    if (find_info(to, seen, block, &info) < 0)
        return -ENOMEM;
    fprintf(to->out, "+ %" PRIx32 "\n", info);
    return 0;
}

static int heaptrack_freed(void *context, const struct ma_seen *seen,
                           const struct ma_seen_block *block)
{
    struct heaptrack *to = context;
    uint32_t info;
    if (ferror(to->out) || block->site == MA_NONE)
        return 0; /* a copy that a child inherited: the block is its parent's */
    tell_time(to, seen);
    if (find_info(to, seen, block, &info) < 0)
        return -ENOMEM;
    fprintf(to->out, "- %" PRIx32 "\n", info);
    return 0;
}

static int begin_heaptrack(struct ma_analysis *analysis, FILE *out, void **state)
{
    struct heaptrack *to = calloc(1, sizeof *to);
    if (!to)
        return -ENOMEM;
    to->analysis = analysis;
    to->out = out;
    to->observer = (struct ma_observer){
        .context = to, .allocated = heaptrack_allocated, .freed = heaptrack_freed};
    *state = to;
    fputs("v 10400 3\n", out);
    return ma_observers_add(&analysis->replay.observers, &to->observer);
}

static int write_heaptrack(struct ma_analysis *analysis, void *state, FILE *out)
{
    struct heaptrack *to = state;
    (void)out;
    if (!to->told_program)
        tell_program(to);
    uint64_t end = ma_analysis_window(analysis).to / 1000000;
    if (end > to->ms)
        fprintf(to->out, "c %" PRIx64 "\n", end);
    return 0;
}

static void end_heaptrack(void *state)
{
    struct heaptrack *to = state;
    ma_strings_free(&to->strings);
    ma_map_free(&to->ip_of_pc);
    ma_pairs_free(&to->traces);
    ma_map_free(&to->trace_of);
    ma_map_free(&to->size_of);
    ma_pairs_free(&to->infos);
    free(to->traces_of);
    ma_trie_free(&to->trie);
    free(to);
}

const struct ma_exporter ma_exporter_heaptrack = {
    .name = "heaptrack",
    .help = "heaptrack_print, heaptrack_gui",
    .write = write_heaptrack,
    .begin = begin_heaptrack,
    .end = end_heaptrack,
};
