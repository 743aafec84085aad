/* SPDX-License-Identifier: MIT
 *
 * The pass over a trace; see ma_analysis.h.
 */
#include "ma_analysis.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_fold.h"
#include "ma_leaks.h"
#include "ma_pages.h"

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
    analysis->merge.lanes_wanted = options->jobs != 1;
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

static void forget_rows(struct ma_analysis *analysis)
{
    ma_leaks_free(analysis->leaks);
    analysis->leaks = NULL;
    ma_pages_free(analysis->rows, analysis->row_capacity * sizeof *analysis->rows);
    analysis->rows = NULL;
    analysis->n_rows = analysis->row_capacity = 0;
}

void ma_analysis_free(struct ma_analysis *analysis)
{
    forget_rows(analysis);
    ma_fold_free(analysis->fold);
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

int ma_analysis_fold(struct ma_analysis *analysis)
{
    if (analysis->replay.observers.n)
        return 0;
    analysis->fold = ma_fold_new(analysis);
    analysis->replay.fold = analysis->fold ? ma_fold_account : NULL;
    analysis->replay.fold_context = analysis->fold;
    return analysis->fold ? 0 : -ENOMEM;
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

/* The row with this stack's id as index: ids are dense, so there is no row to
 * look for. NULL if memory is short. Moves rows. */
static struct ma_row *row_of(struct ma_analysis *analysis, uint32_t stack)
{
    if (stack >= analysis->row_capacity) {
        struct ma_row *rows =
            ma_pages_more(analysis->rows, &analysis->row_capacity, sizeof *rows, stack + 1);
        if (!rows)
            return NULL;
        analysis->rows = rows;
    }
    if (stack >= analysis->n_rows)
        analysis->n_rows = stack + 1;
    return &analysis->rows[stack];
}

static int add_use(struct ma_analysis *analysis, const struct ma_account *account, size_t index)
{
    const struct ma_use *use = &account->uses[index];
    uint32_t stack;
    if (!use->allocations)
        return 0; /* a filter accepts nothing of it */
    if (ma_stacks_id(&analysis->stacks, account->process, account->stacks[index], &stack) < 0)
        return -ENOMEM;
    struct ma_row *row = row_of(analysis, stack);
    if (!row)
        return -ENOMEM;
    uint64_t peak_bytes, peak_blocks;
    ma_replay_at_peak(ma_analysis_books(analysis), account, use, &peak_bytes, &peak_blocks);
    row->leaked_bytes += use->live_bytes;
    row->leaked_blocks += use->live_blocks;
    row->peak_bytes += peak_bytes;
    row->peak_blocks += peak_blocks;
    row->calls += use->allocations;
    row->bytes += use->allocated_bytes;
    row->temporary += use->temporary;
    const uint64_t who = (uint64_t)account->process->index << 32 | index;
    if (use->live_blocks && (!row->holders++ || use->live_bytes > row->held ||
                             (use->live_bytes == row->held && who < row->held_by))) {
        row->held = use->live_bytes;
        row->held_by = who;
        row->holder = account;
        row->holder_use = (uint32_t)index;
    }
    return 0;
}

static int add_folded(struct ma_analysis *analysis, const struct ma_folded *folded)
{
    uint32_t stack;
    if (ma_stacks_place_id(&analysis->stacks, folded->place, (uint32_t)(folded->first >> 32),
                           &stack) < 0)
        return -ENOMEM;
    struct ma_row *row = row_of(analysis, stack);
    if (!row)
        return -ENOMEM;
    row->leaked_bytes += folded->leaked_bytes;
    row->leaked_blocks += folded->leaked_blocks;
    if (folded->peak_epoch == analysis->replay.peak_epoch) {
        row->peak_bytes += folded->peak_bytes;
        row->peak_blocks += folded->peak_blocks;
    }
    row->calls += folded->calls;
    row->bytes += folded->bytes;
    row->temporary += folded->temporary;
    row->folded = folded->leak;
    if (folded->holders && (!row->holders || folded->held > row->held ||
                            (folded->held == row->held && folded->held_by < row->held_by))) {
        row->held = folded->held;
        row->held_by = folded->held_by;
        row->holder = NULL;
    }
    row->holders += folded->holders;
    return 0;
}

/* Rows of folded processes, from *at on, that come before this use: so stacks get
 * the same ids as if nothing had been folded. */
static int add_folded_before(struct ma_analysis *analysis, size_t *at, uint64_t use)
{
    const struct ma_fold *fold = analysis->fold;
    int result = 0;
    while (fold && *at < fold->n_rows && fold->rows[*at].first < use && result == 0)
        result = add_folded(analysis, &fold->rows[(*at)++]);
    return result;
}

/* Ids that others asked for have no row. */
static void close_gaps(struct ma_analysis *analysis)
{
    size_t kept = 0;
    for (size_t i = 0; i < analysis->n_rows; i++) {
        if (!analysis->rows[i].calls)
            continue;
        if (kept != i)
            analysis->rows[kept] = analysis->rows[i];
        analysis->rows[kept++].stack = (uint32_t)i;
    }
    analysis->n_rows = kept;
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
    forget_rows(analysis);
    analysis->leaked_bytes = analysis->leaked_blocks = 0;
    size_t folded = 0;
    if (analysis->fold) {
        ma_fold_sort(analysis->fold);
        analysis->trace.audit.unknown_stacks += analysis->fold->unknown;
    }
    for (size_t i = 0; i < replay->n_accounts; i++) {
        const struct ma_account *account = replay->accounts[i];
        for (size_t k = 0; account && k < account->n_uses; k++) {
            if (add_folded_before(analysis, &folded, (uint64_t)i << 32 | k) < 0 ||
                add_use(analysis, account, k) < 0)
                return ma_fail_memory(error);
        }
        if (account) {
            analysis->leaked_bytes += account->live_bytes;
            analysis->leaked_blocks += account->live_blocks;
        }
    }
    if (add_folded_before(analysis, &folded, UINT64_MAX) < 0)
        return ma_fail_memory(error);
    close_gaps(analysis);
    measure_duration(analysis);
    return 0;
}
