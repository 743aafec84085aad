/* SPDX-License-Identifier: MIT
 *
 * The pass over a trace; see ma_analysis.h.
 */
#include "ma_analysis.h"

#include <errno.h>
#include <stdio.h>

#include "ma_clock.h"
#include "ma_leaks.h"

static int open_trace(struct ma_analysis *analysis, const struct ma_options *options,
                      struct ma_symbols *symbols, struct ma_error *error)
{
    *analysis = (struct ma_analysis){ .options = options, .symbols = symbols };
    ma_trace_init(&analysis->trace);
    ma_replay_init(&analysis->replay, &analysis->trace);
    if (options->symbols && !symbols) {
        analysis->symbols = ma_symbols_open(&options->symbol_options);
        if (!analysis->symbols)
            return ma_fail_memory(error);
    }
    ma_stacks_init(&analysis->stacks, &analysis->trace, analysis->symbols);
    struct ma_source **source = &analysis->source;
    int result = options->trace_fd
                     ? ma_source_open_fd(options->trace_fd, options->trace, source, error)
                     : ma_source_open(options->trace, source, error);
    if (result < 0)
        return result;
    for (size_t i = 0; i < options->n_suppressions && result == 0; i++)
        result = ma_suppress_load(&analysis->suppressions, options->suppressions[i], error);
    if (result < 0)
        return result;
    size_t n_saved;
    const void *saved = ma_source_symbols(analysis->source, &n_saved);
    if (saved && analysis->symbols) {
        result = ma_symbols_load(analysis->symbols, saved, n_saved);
        if (result == -ENOMEM)
            return ma_fail_memory(error);
        analysis->trace.audit.symbols_damaged = result < 0;
    }
    if (options->filter.active &&
        (result = ma_filter_new(&analysis->filter, &options->filter, options->trace,
                                &analysis->trace, &analysis->merge, analysis->symbols,
                                &analysis->replay.observers, error)) < 0)
        return result;
    result = ma_merge_init(&analysis->merge, &analysis->trace, analysis->source, error);
    analysis->merge.ahead_wanted = options->jobs != 1;
    return result;
}

int ma_analysis_open(struct ma_analysis *analysis, const struct ma_options *options,
                     struct ma_error *error)
{
    return open_trace(analysis, options, NULL, error);
}

int ma_analysis_reopen(struct ma_analysis *analysis, struct ma_error *error)
{
    struct ma_symbols *symbols = analysis->symbols;
    analysis->symbols = NULL;
    ma_analysis_free(analysis);
    return open_trace(analysis, analysis->options, symbols, error);
}

void ma_analysis_free(struct ma_analysis *analysis)
{
    free(analysis->rows);
    ma_leaks_free(analysis->leaks);
    ma_suppress_free(&analysis->suppressions);
    ma_program_free(&analysis->program);
    ma_stacks_free(&analysis->stacks);
    ma_filter_free(analysis->filter);
    ma_symbols_close(analysis->symbols);
    ma_timeline_free(analysis->timeline);
    ma_own_peaks_free(analysis->own_peaks);
    for (size_t i = 0; i < analysis->n_keeps; i++)
        analysis->keeps[i].free(analysis->keeps[i].data);
    ma_replay_free(&analysis->replay);
    ma_merge_free(&analysis->merge);
    ma_source_close(analysis->source);
    ma_trace_free(&analysis->trace);
}

int ma_analysis_observe(struct ma_analysis *analysis, const struct ma_observer *observer,
                        const void *key, void *data, void (*free)(void *data))
{
    if (!data || analysis->n_keeps == MA_KEEPS) {
        if (data)
            free(data);
        return -ENOMEM;
    }
    analysis->keeps[analysis->n_keeps++] = (struct ma_keep){ key, data, free };
    return ma_observers_add(&analysis->replay.observers, observer);
}

void *ma_analysis_kept(const struct ma_analysis *analysis, const void *key)
{
    for (size_t i = 0; i < analysis->n_keeps; i++) {
        if (analysis->keeps[i].key == key)
            return analysis->keeps[i].data;
    }
    return NULL;
}

/* What happens now and then during the pass. True: end it. */
static bool now_and_then(void *context)
{
    struct ma_analysis *analysis = context;
    uint64_t size, done = ma_merge_progress(&analysis->merge, &size);
    ma_progress_show(&analysis->progress, done, size);
    return analysis->poll && analysis->poll(analysis->poll_context, analysis);
}

int ma_analysis_run(struct ma_analysis *analysis, const struct ma_pass *pass,
                    struct ma_error *error)
{
    struct ma_run run;
    struct ma_progress *progress = &analysis->progress;
    bool replays = !(pass && pass->no_replay);
    size_t most = pass && pass->event ? 1 : SIZE_MAX;
    int result;
    ma_progress_begin(progress, NULL);
    progress->on &= !analysis->silent;
    analysis->merge.prompt = analysis->options->follow || (pass && pass->prompt);
    ma_source_on_wait(analysis->source, now_and_then, analysis);
    while ((result = ma_merge_next(&analysis->merge, most, &run)) > 0) {
        struct ma_merged merged = { run.events, run.process, run.stream, run.number };
        if (replays && (result = ma_replay_run(&analysis->replay, &run)) < 0)
            break;
        if (pass && pass->event && (result = pass->event(pass->context, analysis, &merged)) < 0)
            break;
        if (ma_progress_due(progress, run.n) && now_and_then(analysis))
            break;
    }
    ma_progress_end(progress);
    if (result < 0)
        return result == -ENOMEM ? ma_fail_memory(error) : result;
    if (ma_replay_finish(&analysis->replay) < 0)
        return ma_fail_memory(error);
    if (pass && pass->end)
        return pass->end(pass->context, analysis);
    return 0;
}

/* The main executable of a process, as the symboliser knows it. */
static const struct ma_module *main_module(const struct ma_process *process)
{
    for (size_t i = 0; i < process->n_modules; i++) {
        if (process->modules[i].flags & MLF_MODULE_MAIN)
            return &process->modules[i];
    }
    return NULL;
}

static int read_program(struct ma_analysis *analysis, const struct ma_process *process,
                        const struct ma_module *module)
{
    struct ma_object object = {
        .path = module->path[0] ? module->path : NULL,
        .build_id = module->build_id_size ? module->build_id : NULL,
        .build_id_size = module->build_id_size,
        .segments = module->segments,
        .n_segments = module->n_segments,
        .since = process->known ? process->record.realtime_ns : 0,
    };
    Elf *elf = ma_symbols_object_elf(analysis->symbols, &object);
    if (elf && ma_program_read(&analysis->program, elf) < 0)
        return -ENOMEM;
    if (!analysis->program.suppressions)
        return 0;
    struct ma_error problem = { 0 };
    int result = ma_suppress_parse(&analysis->suppressions, analysis->program.suppressions,
                                   "__lsan_default_suppressions", &problem);
    if (result < 0)
        snprintf(analysis->suppressions_problem, sizeof analysis->suppressions_problem, "%.190s",
                 problem.message);
    return result == -ENOMEM ? result : 0;
}

const struct ma_program *ma_analysis_program(struct ma_analysis *analysis)
{
    const struct ma_trace *trace = &analysis->trace;
    const struct ma_module *module = trace->n_processes ? main_module(trace->processes[0]) : NULL;
    if (!analysis->program_read && analysis->symbols && module) {
        if (read_program(analysis, trace->processes[0], module) < 0)
            return NULL;
        analysis->program_read = true;
    }
    return &analysis->program;
}

static int by_value(const void *a, const void *b)
{
    const struct ma_row *x = a, *y = b;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

/* What the process that holds most of a row leaked. */
static uint64_t row_bytes(const struct ma_row *row)
{
    return row->holder->uses[row->holder_use].live_bytes;
}

static bool are_sorted(const struct ma_row *rows, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (rows[i - 1].stack > rows[i].stack)
            return false;
    }
    return true;
}

void ma_rows_unite(struct ma_row *rows, size_t *n)
{
    size_t kept = 0;
    if (!are_sorted(rows, *n)) /* ids are given in the order of asking: one process's are */
        qsort(rows, *n, sizeof *rows, by_value);
    for (size_t i = 0; i < *n; i++) {
        const struct ma_row *row = &rows[i];
        struct ma_row *last = kept ? &rows[kept - 1] : NULL;
        if (!last || last->stack != row->stack) {
            rows[kept++] = *row;
            continue;
        }
        last->leaked_bytes += row->leaked_bytes;
        last->leaked_blocks += row->leaked_blocks;
        last->peak_bytes += row->peak_bytes;
        last->peak_blocks += row->peak_blocks;
        last->calls += row->calls;
        last->bytes += row->bytes;
        last->temporary += row->temporary;
        last->holders += row->holders;
        if (row->holders && (!last->holder || row_bytes(row) > row_bytes(last))) {
            last->holder = row->holder;
            last->holder_use = row->holder_use;
        }
    }
    *n = kept;
}

static void measure_duration(struct ma_analysis *analysis)
{
    const struct ma_replay *replay = &analysis->replay;
    if (replay->end_process)
        analysis->duration =
            ma_clock_ns(&analysis->trace, replay->end_process, replay->end_ticks);
    for (size_t i = 0; i < analysis->trace.n_processes; i++) {
        const struct ma_process *process = analysis->trace.processes[i];
        if (!process->ended)
            continue;
        uint64_t end = ma_clock_ns(&analysis->trace, process, process->end_time);
        analysis->duration = end > analysis->duration ? end : analysis->duration;
    }
}

/* Room for a row of each use, made at once. */
static bool reserve_rows(struct ma_analysis *analysis, const struct ma_replay *replay)
{
    size_t n = 1;
    for (size_t i = 0; i < replay->n_accounts; i++)
        n += replay->accounts[i] ? replay->accounts[i]->n_uses : 0;
    if (n <= analysis->row_capacity)
        return true;
    free(analysis->rows);
    analysis->rows = malloc(n * sizeof *analysis->rows);
    analysis->row_capacity = analysis->rows ? n : 0;
    return analysis->rows != NULL;
}

struct ma_window ma_analysis_window(const struct ma_analysis *analysis)
{
    const struct ma_filter *filter = analysis->filter;
    struct ma_window window = { 0, analysis->duration };
    if (filter && filter->to < window.to)
        window.to = filter->to;
    if (filter)
        window.from = filter->from < window.to ? filter->from : window.to;
    return window;
}

int ma_analysis_rows(struct ma_analysis *analysis, struct ma_error *error)
{
    const struct ma_replay *replay = ma_analysis_books(analysis);
    if (!reserve_rows(analysis, replay))
        return ma_fail_memory(error);
    ma_leaks_free(analysis->leaks);
    analysis->leaks = NULL;
    analysis->n_rows = 0;
    analysis->leaked_bytes = analysis->leaked_blocks = 0;
    for (size_t i = 0; i < replay->n_accounts; i++) {
        const struct ma_account *account = replay->accounts[i];
        for (size_t k = 0; account && k < account->n_uses; k++) {
            const struct ma_use *use = &account->uses[k];
            if (!use->allocations)
                continue; /* a filter accepts nothing of it */
            struct ma_row row = {
                .leaked_bytes = use->live_bytes,
                .leaked_blocks = use->live_blocks,
                .calls = use->allocations,
                .bytes = use->allocated_bytes,
                .temporary = use->temporary,
                .holder = use->live_blocks ? account : NULL,
                .holder_use = (uint32_t)k,
                .holders = use->live_blocks != 0,
            };
            ma_replay_at_peak(replay, account, use, &row.peak_bytes, &row.peak_blocks);
            if (ma_stacks_id(&analysis->stacks, account->process, account->stacks[k], &row.stack) < 0)
                return ma_fail_memory(error);
            analysis->rows[analysis->n_rows++] = row;
        }
        if (account) {
            analysis->leaked_bytes += account->live_bytes;
            analysis->leaked_blocks += account->live_blocks;
        }
    }
    ma_rows_unite(analysis->rows, &analysis->n_rows);
    measure_duration(analysis);
    return 0;
}
