/* SPDX-License-Identifier: MIT
 *
 * The past of the blocks that wrong frees name; see ma_past.h. Numbers of processes and
 * streams are the order in which they appear, so those of a second pass over the same
 * trace are the first's.
 */
#include "ma_past.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ma_clock.h"
#include "ma_gaps.h"
#include "ma_text.h"

/* The latest block at an address, in one process. */
struct past {
    uint64_t size;
    struct ma_past_call made, ended;
    bool is_ended;
};

struct watch {
    struct ma_observer observer;
    const struct ma_trace *trace;
    const struct ma_map *wanted; /* the addresses that matter; NULL: all */
    struct ma_map *of;           /* by process index: address to index in `all` */
    size_t n_of;
    struct past *all;
    size_t n, capacity;
    uint32_t *latest; /* by stream index: the past of the block that it freed last; MA_NONE: none */
    size_t n_latest;
    struct ma_wrong_case *cases; /* by number of the wrong free */
    size_t n_cases;
};

static const char key;

static struct past *find(const struct watch *watch, const struct ma_process *process,
                         uint64_t address)
{
    uint32_t index =
        process->index < watch->n_of ? ma_map_get(&watch->of[process->index], address) : MA_NONE;
    return index == MA_NONE ? NULL : &watch->all[index];
}

/* The same, as a child of a fork has it of its parents. */
static const struct past *find_inherited(const struct watch *watch,
                                         const struct ma_process *process, uint64_t address)
{
    const struct past *past = find(watch, process, address);
    for (int deep = 0; !past && process->parent && deep < MA_FORKS_DEEP; deep++) {
        process = process->parent;
        past = find(watch, process, address);
    }
    return past;
}

static struct past *make(struct watch *watch, const struct ma_process *process, uint64_t address)
{
    struct past *past = find(watch, process, address);
    if (past)
        return past;
    if (watch->n >= MA_NONE || !MA_HOLDS(watch->of, process->index, watch->n_of) ||
        !MA_RESERVE(watch->all, watch->n, watch->capacity) ||
        ma_map_set(&watch->of[process->index], address, (uint32_t)watch->n) < 0)
        return NULL;
    past = &watch->all[watch->n++];
    memset(past, 0, sizeof *past);
    return past;
}

/* What a stack that the stream tells next is about. Returns 0 or -ENOMEM. */
static int set_latest(struct watch *watch, const struct ma_seen *seen, uint32_t index)
{
    if (!seen->stream)
        return 0;
    if (!MA_HOLDS_NUMBER(watch->latest, seen->stream->index, watch->n_latest))
        return -ENOMEM;
    watch->latest[seen->stream->index] = index;
    return 0;
}

static bool matters(const struct watch *watch, uint64_t address)
{
    return !watch->wanted || ma_map_get(watch->wanted, address) != MA_NONE;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct watch *watch = context;
    if (set_latest(watch, seen, MA_NONE) < 0)
        return -ENOMEM;
    if (!matters(watch, block->address))
        return 0;
    struct past *past = make(watch, seen->process, block->address);
    if (!past)
        return -ENOMEM;
    *past = (struct past){
        .size = block->size,
        .made = {seen->process, block->ns, block->thread, block->stack},
    };
    return 0;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct watch *watch = context;
    if (!matters(watch, block->address))
        return set_latest(watch, seen, MA_NONE);
    const struct past *parents = find_inherited(watch, seen->process, block->address);
    struct past former = parents ? *parents : (struct past){.size = block->size};
    struct past *past = make(watch, seen->process, block->address);
    if (!past)
        return -ENOMEM;
    *past = former;
    past->is_ended = true;
    past->ended = (struct ma_past_call){seen->process, seen->ns, seen->thread, seen->freed_by};
    return set_latest(watch, seen, (uint32_t)(past - watch->all));
}

static int on_told(void *context, const struct ma_seen *seen, uint32_t stack)
{
    struct watch *watch = context;
    const uint32_t index = seen->stream && seen->stream->index < watch->n_latest
                               ? watch->latest[seen->stream->index]
                               : MA_NONE;
    if (index != MA_NONE && watch->all[index].is_ended && !watch->all[index].ended.stack)
        watch->all[index].ended.stack = stack;
    return 0;
}

/* What is known of a wrong free without a past. */
static struct ma_wrong_case bare_case(const struct ma_trace *trace, const struct ma_wrong_free *one)
{
    struct ma_wrong_case result = {
        .free = one,
        .kind = MA_WRONG_UNMATCHED,
        .frees = 1,
        .again = {one->process, ma_clock_ns(trace, one->process, one->ticks), one->thread,
                  one->stack},
    };
    if (!one->inside)
        return result;
    const struct ma_block *around = &one->around;
    result.kind = MA_WRONG_INSIDE;
    result.address = around->address;
    result.size = around->size;
    result.made =
        (struct ma_past_call){one->process, ma_clock_ns(trace, one->process, around->time),
                              around->thread, one->around_stack};
    return result;
}

static int on_wrong(void *context, const struct ma_seen *seen, const struct ma_wrong_free *one,
                    size_t number)
{
    struct watch *watch = context;
    const struct past *past = find_inherited(watch, seen->process, one->address);
    if (!MA_HOLDS(watch->cases, number, watch->n_cases) || set_latest(watch, seen, MA_NONE) < 0)
        return -ENOMEM;
    struct ma_wrong_case *result = &watch->cases[number];
    *result = bare_case(watch->trace, one);
    if (past && past->is_ended) {
        result->kind = MA_WRONG_SECOND;
        result->address = one->address;
        result->size = past->size;
        result->made = past->made;
        result->ended = past->ended;
    } else if (result->kind == MA_WRONG_UNMATCHED) {
        result->kind = MA_WRONG_NEVER;
    }
    return 0;
}

static void watch_free(void *data)
{
    struct watch *watch = data;
    for (size_t i = 0; i < watch->n_of; i++)
        ma_map_free(&watch->of[i]);
    free(watch->of);
    free(watch->all);
    free(watch->latest);
    free(watch->cases);
    free(watch);
}

static struct watch *watch_new(const struct ma_trace *trace, const struct ma_map *wanted)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    watch->trace = trace;
    watch->wanted = wanted;
    watch->observer = (struct ma_observer){
        .context = watch,
        .allocated = on_allocated,
        .freed = on_freed,
        .wrong = on_wrong,
        .told = on_told,
    };
    return watch;
}

int ma_past_observe(struct ma_analysis *analysis)
{
    struct watch *watch = watch_new(&analysis->trace, NULL);
    return ma_analysis_observe(analysis, watch ? &watch->observer : NULL, &key, watch, watch_free);
}

/* Whether the trace is a file that can be read from its beginning, and will be the same. */
static bool can_read_again(const struct ma_analysis *analysis)
{
    struct stat status;
    return !analysis->ongoing && !analysis->request->trace_fd && analysis->request->trace &&
           stat(analysis->request->trace, &status) == 0 && S_ISREG(status.st_mode);
}

static void localise(const struct ma_trace *trace, struct ma_past_call *call)
{
    const uint32_t index = call->process ? call->process->index : MA_NONE;
    call->process = index < trace->n_processes && trace->processes[index]->key == call->process->key
                        ? trace->processes[index]
                        : NULL;
    if (call->thread >= trace->n_streams)
        call->thread = MA_NONE;
}

/* Take over what a second pass has found out. */
static void take_over(const struct ma_analysis *analysis, const struct ma_analysis *again,
                      const struct watch *watch, struct ma_wrong_case *cases, size_t n)
{
    for (size_t i = 0, k = 0; i < n; i++) {
        const struct ma_wrong_free *one = cases[i].free, *other = NULL;
        for (; k < again->replay.wrong.n; k++) {
            other = &again->replay.wrong.all[k];
            if (other->address == one->address && other->ticks == one->ticks &&
                other->stream == one->stream)
                break;
        }
        if (k == again->replay.wrong.n)
            return;
        if (k >= watch->n_cases)
            continue;
        cases[i] = watch->cases[k++];
        cases[i].free = one;
        localise(&analysis->trace, &cases[i].made);
        localise(&analysis->trace, &cases[i].ended);
        localise(&analysis->trace, &cases[i].again);
        cases[i].again.stack = one->stack; /* an abort may have told it since */
    }
}

static int read_again(const struct ma_analysis *analysis, struct ma_wrong_case *cases, size_t n)
{
    struct ma_request plain = *analysis->request;
    struct ma_map wanted = {0};
    struct ma_analysis again;
    struct ma_error ignored = {0};
    int result = 0;
    memset(&plain.filter, 0, sizeof plain.filter);
    plain.n_suppressions = 0;
    plain.symbols = plain.follow = false;
    for (size_t i = 0; i < n && result == 0; i++)
        result = ma_map_set(&wanted, cases[i].free->address, 0);
    if (result < 0) {
        ma_map_free(&wanted);
        return result;
    }
    result = ma_analysis_open(&again, &plain, &ignored);
    again.silent = true;
    struct watch *watch = watch_new(&again.trace, &wanted);
    if (result == 0)
        result =
            ma_analysis_observe(&again, watch ? &watch->observer : NULL, &key, watch, watch_free);
    else
        free(watch);
    if (result == 0 && (result = ma_analysis_run(&again, NULL, &ignored)) == 0)
        take_over(analysis, &again, watch, cases, n);
    ma_analysis_free(&again);
    ma_map_free(&wanted);
    return result == -ENOMEM ? result : 0; /* without it they are told all the same */
}

static int compare_calls(const struct ma_past_call *a, const struct ma_past_call *b)
{
    return a->stack != b->stack ? (a->stack < b->stack ? -1 : 1) : 0;
}

/* Alike: of one kind, by the same stacks. Stacks are ids of ma_stacks by now. */
static int compare_alike(const struct ma_wrong_case *a, const struct ma_wrong_case *b)
{
    int order = (int)a->kind - (int)b->kind;
    order = order ? order : compare_calls(&a->made, &b->made);
    order = order ? order : compare_calls(&a->ended, &b->ended);
    order = order ? order : compare_calls(&a->again, &b->again);
    return order ? order : (int)a->free->function - (int)b->free->function;
}

/* The earliest of those alike comes first. */
static int by_likeness(const void *a, const void *b)
{
    const struct ma_wrong_case *x = a, *y = b;
    int order = compare_alike(x, y);
    return order ? order : x->again.ns < y->again.ns ? -1 : x->again.ns > y->again.ns;
}

static int by_frequency(const void *a, const void *b)
{
    const struct ma_wrong_case *x = a, *y = b;
    if (x->frees != y->frees)
        return x->frees > y->frees ? -1 : 1;
    return x->again.ns < y->again.ns ? -1 : x->again.ns > y->again.ns;
}

/* Where the program aborted, libc's own frames lead to where it was called: there. */
static uint32_t outside_libc(const struct ma_process *process, uint32_t stack)
{
    const struct ma_process *owner;
    const struct ma_node *leaf = ma_process_node(process, stack, &owner);
    for (const struct ma_node *node = leaf; node && node->parent >= MLF_FIRST_NODE;) {
        node = ma_process_node(process, node->parent, &owner);
        if (node && node->module != leaf->module)
            return node->id;
    }
    return stack;
}

static int name_stack(struct ma_analysis *analysis, struct ma_past_call *call)
{
    if (!call->process || !call->stack) {
        call->stack = 0;
        return 0;
    }
    return ma_stacks_id(&analysis->stacks, call->process, call->stack, &call->stack);
}

static int name_stacks(struct ma_analysis *analysis, struct ma_wrong_case *one)
{
    if (one->free->of_abort && one->again.process)
        one->again.stack = outside_libc(one->again.process, one->again.stack);
    return name_stack(analysis, &one->made) < 0 || name_stack(analysis, &one->ended) < 0 ||
                   name_stack(analysis, &one->again) < 0
               ? -ENOMEM
               : 0;
}

static size_t unite(struct ma_wrong_case *cases, size_t n)
{
    size_t kept = 0;
    qsort(cases, n, sizeof *cases, by_likeness);
    for (size_t i = 0; i < n; i++) {
        if (kept && compare_alike(&cases[kept - 1], &cases[i]) == 0)
            cases[kept - 1].frees += cases[i].frees;
        else
            cases[kept++] = cases[i];
    }
    qsort(cases, kept, sizeof *cases, by_frequency);
    return kept;
}

long ma_past_cases(struct ma_analysis *analysis, struct ma_wrong_case **cases)
{
    const struct ma_wrong_frees *wrong = &analysis->replay.wrong;
    const struct watch *watch = ma_analysis_observer_data(analysis, &key);
    size_t n = 0;
    int result = 0;
    *cases = calloc(wrong->n + 1, sizeof **cases);
    if (!*cases)
        return -ENOMEM;
    for (size_t i = 0; i < wrong->n; i++) {
        if (wrong->all[i].good)
            continue;
        (*cases)[n] = watch && i < watch->n_cases ? watch->cases[i]
                                                  : bare_case(&analysis->trace, &wrong->all[i]);
        (*cases)[n].free = &wrong->all[i];
        (*cases)[n++].again.stack = wrong->all[i].stack;
    }
    if (n && !watch && can_read_again(analysis))
        result = read_again(analysis, *cases, n);
    for (size_t i = 0; i < n && result == 0; i++)
        result = name_stacks(analysis, &(*cases)[i]);
    if (result < 0) {
        free(*cases);
        *cases = NULL;
        return result;
    }
    return (long)unite(*cases, n);
}

const char *ma_past_function(const struct ma_wrong_free *one)
{
    static const char *const names[MLF_FN_COUNT] = {
#define NAME(number, name, aligned) [number] = #name,
        MLF_FUNCTIONS(NAME)
#undef NAME
    };
    return names[one->function];
}

void ma_past_say(const struct ma_wrong_case *one, char *text, size_t size)
{
    const unsigned long long address = one->free->address, block = one->address;
    const char *call = ma_past_function(one->free);
    char bytes[MA_HUMAN_SIZE];
    ma_human_bytes(bytes, one->size);
    switch (one->kind) {
    case MA_WRONG_SECOND:
        snprintf(text, size, "%s of a block that had been freed, %s at 0x%llx", call, bytes,
                 address);
        break;
    case MA_WRONG_INSIDE:
        snprintf(text, size, "%s of 0x%llx, %llu bytes inside a block of %s", call, address,
                 address - block, bytes);
        break;
    case MA_WRONG_NEVER:
        snprintf(text, size, "%s of 0x%llx, where no block was ever given out", call, address);
        break;
    default: snprintf(text, size, "%s of 0x%llx, where no block was live", call, address); break;
    }
}

const char *ma_past_doubt(const struct ma_analysis *analysis)
{
    const struct ma_trace *trace = &analysis->trace;
    const struct ma_audit *audit = &trace->audit;
    const struct {
        bool is;
        const char *why;
    } doubts[] = {
        {audit->lost_events, "events were lost while recording"},
        {audit->sampling_interval, "only a sample of the allocations was recorded"},
        {audit->skipped_ranges || audit->missing_chunks || audit->changed_chunks ||
             audit->no_header || audit->input_problem[0],
         "a part of the trace is missing or damaged"},
        {trace->n_bypasses, "modules of the program call another malloc, which is not traced"},
        {ma_gaps_count(trace), "recording was paused for a time"},
        {audit->late_forks, "a fork was noticed late"},
        {audit->retired_returns, "a process went on after the end that was told"},
        {audit->late_events || audit->order_repairs, "the order of some events is not sure"},
        {audit->foreign_clocks, "the clocks of its processes differ"},
    };
    for (size_t i = 0; i < sizeof doubts / sizeof *doubts; i++) {
        if (doubts[i].is)
            return doubts[i].why;
    }
    return NULL;
}

uint64_t ma_past_wrong(const struct ma_analysis *analysis)
{
    return ma_past_doubt(analysis) ? 0 : analysis->trace.audit.unmatched_frees;
}
