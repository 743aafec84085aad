/* SPDX-License-Identifier: MIT
 *
 * The pass over a trace; see ma_analysis.h.
 */
#include "ma_analysis.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_retire.h"
#include "ma_leaks.h"
#include "ma_pages.h"

static int open_trace(struct ma_analysis *analysis, const struct ma_request *request,
                      struct ma_symbols *symbols, struct ma_error *error)
{
    *analysis = (struct ma_analysis){.request = request, .symbols = symbols};
    ma_trace_init(&analysis->trace);
    ma_replay_init(&analysis->replay, &analysis->trace);
    if (request->symbols && !symbols) {
        analysis->symbols = ma_symbols_open(&request->symbol_options);
        if (!analysis->symbols)
            return ma_fail_memory(error);
    }
    ma_stacks_init(&analysis->stacks, &analysis->trace, analysis->symbols);
    struct ma_source **source = &analysis->source;
    int result = request->trace_fd
                     ? ma_source_open_fd(request->trace_fd, request->trace, source, error)
                     : ma_source_open(request->trace, source, error);
    if (result < 0)
        return result;
    for (size_t i = 0; i < request->n_suppressions && result == 0; i++)
        result = ma_suppress_load(&analysis->suppressions, request->suppressions[i], error);
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
    if (request->filter.active &&
        (result = ma_filter_new(&analysis->filter, &request->filter, request->trace,
                                &analysis->trace, &analysis->merge, analysis->symbols,
                                &analysis->replay.observers, error)) < 0)
        return result;
    result = ma_merge_init(&analysis->merge, &analysis->trace, analysis->source, error);
    analysis->merge.lanes_wanted = request->jobs != 1;
    return result;
}

int ma_analysis_open(struct ma_analysis *analysis, const struct ma_request *request,
                     struct ma_error *error)
{
    return open_trace(analysis, request, NULL, error);
}

int ma_analysis_reopen(struct ma_analysis *analysis, struct ma_error *error)
{
    struct ma_symbols *symbols = analysis->symbols;
    analysis->symbols = NULL;
    ma_analysis_free(analysis);
    return open_trace(analysis, analysis->request, symbols, error);
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
    ma_retire_free(analysis->retire);
    ma_suppress_free(&analysis->suppressions);
    ma_executable_free(&analysis->executable);
    ma_stacks_free(&analysis->stacks);
    ma_filter_free(analysis->filter);
    ma_symbols_close(analysis->symbols);
    ma_timeline_free(analysis->timeline);
    ma_process_peaks_free(analysis->process_peaks);
    for (size_t i = 0; i < analysis->n_observer_data; i++)
        analysis->observer_data[i].free(analysis->observer_data[i].data);
    ma_replay_free(&analysis->replay);
    ma_merge_free(&analysis->merge);
    ma_source_close(analysis->source);
    ma_trace_free(&analysis->trace);
}

int ma_analysis_observe(struct ma_analysis *analysis, const struct ma_observer *observer,
                        const void *key, void *data, void (*free)(void *data))
{
    if (!data || analysis->n_observer_data == MA_OBSERVER_DATA_MAX) {
        if (data)
            free(data);
        return -ENOMEM;
    }
    analysis->observer_data[analysis->n_observer_data++] =
        (struct ma_observer_data){key, data, free};
    return ma_observers_add(&analysis->replay.observers, observer);
}

int ma_analysis_retire(struct ma_analysis *analysis)
{
    if (analysis->replay.observers.n)
        return 0;
    analysis->retire = ma_retire_new(analysis);
    analysis->replay.retire = analysis->retire ? ma_retire_account : NULL;
    analysis->replay.retire_context = analysis->retire;
    return analysis->retire ? 0 : -ENOMEM;
}

void *ma_analysis_observer_data(const struct ma_analysis *analysis, const void *key)
{
    for (size_t i = 0; i < analysis->n_observer_data; i++) {
        if (analysis->observer_data[i].key == key)
            return analysis->observer_data[i].data;
    }
    return NULL;
}

/* Show progress and poll, every so often during the pass. True: end the pass. */
static bool on_interval(void *context)
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
    analysis->merge.prompt = analysis->request->follow || (pass && pass->prompt);
    ma_source_on_wait(analysis->source, on_interval, analysis);
    while ((result = ma_merge_next(&analysis->merge, most, &run)) > 0) {
        struct ma_merged merged = {run.events, run.process, run.stream, run.number};
        if (replays && (result = ma_replay_run(&analysis->replay, &run)) < 0)
            break;
        if (pass && pass->event && (result = pass->event(pass->context, analysis, &merged)) < 0)
            break;
        if (ma_progress_due(progress, run.n) && on_interval(analysis))
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
        .path = module->file[0] ? module->file : NULL,
        .build_id = module->build_id_size ? module->build_id : NULL,
        .build_id_size = module->build_id_size,
        .segments = module->segments,
        .n_segments = module->n_segments,
        .since = process->known ? process->record.realtime_ns : 0,
    };
    Elf *elf = ma_symbols_object_elf(analysis->symbols, &object);
    if (elf && ma_executable_read(&analysis->executable, elf) < 0)
        return -ENOMEM;
    if (!analysis->executable.suppressions)
        return 0;
    struct ma_error problem = {0};
    int result = ma_suppress_parse(&analysis->suppressions, analysis->executable.suppressions,
                                   "__lsan_default_suppressions", &problem);
    if (result < 0)
        snprintf(analysis->suppressions_problem, sizeof analysis->suppressions_problem, "%.190s",
                 problem.message);
    return result == -ENOMEM ? result : 0;
}

const struct ma_executable *ma_analysis_executable(struct ma_analysis *analysis)
{
    const struct ma_trace *trace = &analysis->trace;
    const struct ma_module *module = trace->n_processes ? main_module(trace->processes[0]) : NULL;
    if (!analysis->executable_read && analysis->symbols && module) {
        if (read_program(analysis, trace->processes[0], module) < 0)
            return NULL;
        analysis->executable_read = true;
    }
    return &analysis->executable;
}

static void measure_duration(struct ma_analysis *analysis)
{
    const struct ma_replay *replay = &analysis->replay;
    if (replay->end_process)
        analysis->duration = ma_clock_ns(&analysis->trace, replay->end_process, replay->end_ticks);
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

struct ma_own_peak ma_analysis_own_peak(const struct ma_analysis *analysis,
                                        const struct ma_account *account, size_t index)
{
    const struct ma_site_most *most = &account->most[index];
    return (struct ma_own_peak){
        .bytes = most->bytes,
        .ns = ma_clock_ns(&analysis->trace, account->process, most->ticks),
        .blocks = most->blocks,
    };
}

static int add_site(struct ma_analysis *analysis, const struct ma_account *account, size_t index,
                    const struct ma_unsure *unsure)
{
    const struct ma_alloc_site *site = &account->sites[index];
    const struct ma_sum doubt = ma_unsure_of(unsure, index);
    const uint64_t bytes = site->live_bytes - doubt.bytes;
    const uint64_t blocks = site->live_blocks - doubt.blocks;
    uint32_t stack;
    if (!site->allocations)
        return 0; /* a filter accepts nothing of it */
    if (ma_stacks_id(&analysis->stacks, account->process, account->stacks[index], &stack) < 0)
        return -ENOMEM;
    struct ma_row *row = row_of(analysis, stack);
    if (!row)
        return -ENOMEM;
    uint64_t peak_bytes, peak_blocks;
    ma_replay_at_peak(ma_analysis_books(analysis), account, site, &peak_bytes, &peak_blocks);
    row->leaked_bytes += bytes;
    row->leaked_blocks += blocks;
    row->peak_bytes += peak_bytes;
    row->peak_blocks += peak_blocks;
    row->calls += site->allocations;
    row->bytes += site->allocated_bytes;
    row->temporary += site->temporary;
    const struct ma_own_peak own = ma_analysis_own_peak(analysis, account, index);
    ma_own_peak_unite(&row->own, &own);
    const uint64_t who = (uint64_t)account->process->index << 32 | index;
    if (blocks &&
        (!row->holders++ || bytes > row->held || (bytes == row->held && who < row->held_by))) {
        row->held = bytes;
        row->held_by = who;
        row->holder = account;
        row->holder_site = (uint32_t)index;
    }
    return 0;
}

static int add_retired(struct ma_analysis *analysis, const struct ma_retired *retired)
{
    uint32_t stack;
    if (ma_stacks_retired_node_id(&analysis->stacks, retired->retired_node,
                                  (uint32_t)(retired->first >> 32), &stack) < 0)
        return -ENOMEM;
    struct ma_row *row = row_of(analysis, stack);
    if (!row)
        return -ENOMEM;
    row->leaked_bytes += retired->leaked_bytes;
    row->leaked_blocks += retired->leaked_blocks;
    if (retired->peak_epoch == analysis->replay.peak_epoch) {
        row->peak_bytes += retired->peak_bytes;
        row->peak_blocks += retired->peak_blocks;
    }
    row->calls += retired->calls;
    row->bytes += retired->bytes;
    row->temporary += retired->temporary;
    ma_own_peak_unite(&row->own, &retired->own);
    row->retired = retired->leak;
    if (retired->holders && (!row->holders || retired->held > row->held ||
                             (retired->held == row->held && retired->held_by < row->held_by))) {
        row->held = retired->held;
        row->held_by = retired->held_by;
        row->holder = NULL;
    }
    row->holders += retired->holders;
    return 0;
}

/* Rows of retired processes, from *at on, that come before this site: so stacks get
 * the same ids as if nothing had been retired. */
static int add_retired_before(struct ma_analysis *analysis, size_t *at, uint64_t site)
{
    const struct ma_retire *retire = analysis->retire;
    int result = 0;
    while (retire && *at < retire->n_rows && retire->rows[*at].first < site && result == 0)
        result = add_retired(analysis, &retire->rows[(*at)++]);
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
    struct ma_window window = {0, analysis->duration};
    if (filter && filter->to < window.to)
        window.to = filter->to;
    if (filter)
        window.from = filter->from < window.to ? filter->from : window.to;
    return window;
}

/* All sites of a process, with those retired ones that come before them. */
static int add_account(struct ma_analysis *analysis, const struct ma_account *account,
                       size_t *retired)
{
    const uint64_t first = (uint64_t)account->process->index << 32;
    struct ma_unsure unsure;
    int result = ma_unsure_count(&unsure, account);
    for (size_t k = 0; k < account->n_sites && result == 0; k++) {
        result = add_retired_before(analysis, retired, first | k);
        if (result == 0)
            result = add_site(analysis, account, k, &unsure);
    }
    analysis->leaked_bytes += account->live_bytes - unsure.all.bytes;
    analysis->leaked_blocks += account->live_blocks - unsure.all.blocks;
    analysis->unsure.bytes += unsure.all.bytes;
    analysis->unsure.blocks += unsure.all.blocks;
    ma_unsure_free(&unsure);
    return result;
}

int ma_analysis_rows(struct ma_analysis *analysis, struct ma_error *error)
{
    const struct ma_replay *replay = ma_analysis_books(analysis);
    forget_rows(analysis);
    analysis->leaked_bytes = analysis->leaked_blocks = 0;
    analysis->unsure = (struct ma_sum){0, 0};
    size_t retired = 0;
    if (analysis->retire) {
        ma_retire_sort(analysis->retire);
        analysis->trace.audit.unknown_stacks += analysis->retire->unknown;
    }
    for (size_t i = 0; i < replay->n_accounts; i++) {
        if (replay->accounts[i] && add_account(analysis, replay->accounts[i], &retired) < 0)
            return ma_fail_memory(error);
    }
    if (add_retired_before(analysis, &retired, UINT64_MAX) < 0)
        return ma_fail_memory(error);
    close_gaps(analysis);
    measure_duration(analysis);
    return 0;
}
