/* SPDX-License-Identifier: MIT
 *
 * Trends of leaks, and their words; see ma_leaks.h.
 */
#include "ma_leaks.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_retire.h"
#include "ma_runtime.h"
#include "ma_survey.h"
#include "ma_text.h"

#define HOUR 3600.0

void ma_leaks_free(struct ma_leaks *leaks)
{
    if (leaks)
        free(leaks->of);
    free(leaks);
}

static int by_stack(const void *key, const void *row)
{
    uint32_t a = *(const uint32_t *)key, b = ((const struct ma_row *)row)->stack;
    return a < b ? -1 : a > b;
}

static uint64_t end_of(const struct ma_analysis *analysis, const struct ma_process *process)
{
    uint64_t end = process->ended ? process->end_time : process->last_time;
    return analysis->filter ? ma_filter_end(analysis->filter, process, end) : end;
}

/* Of two threads with as many bytes, the one of the later process is told. */
static bool tells_more(const struct ma_leak *leak, const struct ma_stream *thread, uint64_t bytes)
{
    return bytes > leak->thread_bytes ||
           (bytes == leak->thread_bytes &&
            (!leak->thread || thread->process->index >= leak->thread->process->index));
}

void ma_leak_unite(struct ma_leak *leak, const struct ma_leak *other)
{
    leak->oldest = other->oldest > leak->oldest ? other->oldest : leak->oldest;
    leak->youngest = other->youngest < leak->youngest ? other->youngest : leak->youngest;
    leak->threads += other->threads;
    if (other->thread && tells_more(leak, other->thread, other->thread_bytes)) {
        leak->thread = other->thread;
        leak->thread_bytes = other->thread_bytes;
    }
}

static void note_ages(const struct ma_analysis *analysis, const struct ma_process *process,
                      const struct ma_survivors *survivors, struct ma_leak *leak)
{
    const uint64_t end = ma_clock_ns(&analysis->trace, process, end_of(analysis, process));
    const uint64_t first = ma_clock_ns(&analysis->trace, process, survivors->first);
    const uint64_t last = ma_clock_ns(&analysis->trace, process, survivors->last);
    struct ma_leak ages = {
        .oldest = first < end ? end - first : 0,
        .youngest = last < end ? end - last : 0,
    };
    ma_leak_unite(leak, &ages);
}

static void note_threads(const struct ma_trace *trace, const struct ma_survivors *survivors,
                         struct ma_leak *leak)
{
    leak->threads += survivors->threads;
    const struct ma_stream *thread =
        survivors->thread < trace->n_streams ? trace->streams[survivors->thread] : NULL;
    if (thread && tells_more(leak, thread, survivors->thread_bytes)) {
        leak->thread = thread;
        leak->thread_bytes = survivors->thread_bytes;
    }
}

/* The interval in which the last thread that allocated these blocks ended; `n` of a
 * process of one thread, or if one goes on. */
static unsigned ended_in(const struct ma_survivors *survivors, uint64_t origin, uint64_t width,
                         unsigned n)
{
    if (survivors->ended == UINT64_MAX || survivors->ended < origin)
        return n;
    const uint64_t at = (survivors->ended - origin) / width;
    return at < n ? (unsigned)at : n;
}

/* Set life and trend to those of one site. */
static void judge(const struct ma_analysis *analysis, const struct ma_account *account,
                  size_t index, const struct ma_survivors *survivors, struct ma_leak *leak)
{
    const struct ma_alloc_site *site = &account->sites[index];
    const struct ma_process *process = account->process;
    const struct ma_account *whole = analysis->replay.accounts[process->index]; /* unfiltered */
    const uint64_t origin = account->history.origin, end = end_of(analysis, process);
    struct ma_site_history history;
    ma_history_read(account, site, end, &history);
    struct ma_trend_input in = {
        .n = history.n,
        .level = (double)(float)site->live_bytes,
        .peak = (double)analysis->replay.peak_bytes,
        .blocks = site->live_blocks,
        .last = (unsigned)(((uint64_t)site->slot << account->history.shift) / history.width),
        .ended = ended_in(survivors, origin, history.width, history.n),
        .thread_work = survivors->thread_work,
        .births = survivors->births,
    };
    for (unsigned i = 0; i < history.n; i++) {
        in.floors[i] = (double)history.slots.floors[i];
        in.made[i] = (double)history.slots.made[i];
        in.work[i] = ma_history_work(whole, origin + (i + 1) * history.width - 1);
    }
    const uint64_t from = ma_clock_ns(&analysis->trace, process, origin);
    const uint64_t until = ma_clock_ns(&analysis->trace, process, end);
    in.life = leak->life = until > from ? (double)(until - from) / 1e9 : 0;
    in.width = in.life * ((double)history.width / (end > origin ? (double)(end - origin) : 1));
    leak->trend = ma_trend_judge(&in);
}

int ma_leaks_walk(struct ma_analysis *analysis, const struct ma_account *account,
                  const uint32_t *rows, const bool *wanted, struct ma_leak *leaks)
{
    struct ma_survey survey;
    int result = ma_survey_make(&survey, &analysis->replay, account, rows,
                                end_of(analysis, account->process));
    for (size_t i = 0; i < account->n_sites && result == 0; i++) {
        struct ma_survivors survivors;
        if (rows[i] == MA_NONE)
            continue;
        if (!ma_survey_get(&survey, i, &survivors)) { /* its blocks are inside a realloc */
            if (wanted[i])
                leaks[rows[i]].trend =
                    (struct ma_trend){.kind = MA_TREND_UNCLEAR, .why = MA_WHY_UNKNOWN};
            continue;
        }
        note_ages(analysis, account->process, &survivors, &leaks[rows[i]]);
        note_threads(&analysis->trace, &survivors, &leaks[rows[i]]);
        if (wanted[i])
            judge(analysis, account, i, &survivors, &leaks[rows[i]]);
        if (wanted[i] && survivors.unsure) /* its floors are those of blocks that may be gone */
            leaks[rows[i]].trend =
                (struct ma_trend){.kind = MA_TREND_UNCLEAR, .why = MA_WHY_UNSEEN};
    }
    ma_survey_free(&survey);
    return result;
}

/* The row of each site with live blocks, MA_NONE where there is none. */
static int find_rows(struct ma_analysis *analysis, const struct ma_account *account, uint32_t *rows)
{
    for (size_t i = 0; i < account->n_sites; i++) {
        uint32_t stack;
        rows[i] = MA_NONE;
        if (!account->sites[i].live_blocks)
            continue;
        if (ma_stacks_id(&analysis->stacks, account->process, account->stacks[i], &stack) < 0)
            return -ENOMEM;
        const struct ma_row *row =
            bsearch(&stack, analysis->rows, analysis->n_rows, sizeof *analysis->rows, by_stack);
        if (row)
            rows[i] = (uint32_t)(row - analysis->rows);
    }
    return 0;
}

static int walk_account(struct ma_analysis *analysis, const struct ma_account *account,
                        struct ma_leak *leaks)
{
    uint32_t *rows = malloc((account->n_sites + 1) * sizeof *rows);
    bool *wanted = calloc(account->n_sites + 1, sizeof *wanted);
    int result = rows && wanted ? find_rows(analysis, account, rows) : -ENOMEM;
    for (size_t i = 0; i < account->n_sites && result == 0; i++) {
        const struct ma_row *row = rows[i] == MA_NONE ? NULL : &analysis->rows[rows[i]];
        wanted[i] = row && row->holder == account && row->holder_site == i;
    }
    if (result == 0)
        result = ma_leaks_walk(analysis, account, rows, wanted, leaks);
    free(rows);
    free(wanted);
    return result;
}

int ma_leaks_growing(struct ma_analysis *analysis, const struct ma_account *account,
                     uint64_t *bytes)
{
    const struct ma_leaks *all = ma_leaks_get(analysis);
    const size_t n = account->n_sites;
    uint32_t *sites = malloc((n + 1) * sizeof *sites);
    bool *wanted = calloc(n + 1, sizeof *wanted);
    struct ma_leak *leaks = calloc(n + 1, sizeof *leaks);
    int result = all && sites && wanted && leaks ? find_rows(analysis, account, sites) : -ENOMEM;
    *bytes = 0;
    for (size_t i = 0; i < n && result == 0; i++) {
        wanted[i] = sites[i] != MA_NONE && !all->of[sites[i]].suppressed;
        sites[i] = wanted[i] ? (uint32_t)i : MA_NONE; /* each to a leak of its own */
        leaks[i].youngest = UINT64_MAX;
    }
    if (result == 0)
        result = ma_leaks_walk(analysis, account, sites, wanted, leaks);
    for (size_t i = 0; i < n && result == 0; i++)
        if (wanted[i] && leaks[i].trend.kind == MA_TREND_GROWING)
            *bytes += account->sites[i].live_bytes;
    free(sites);
    free(wanted);
    free(leaks);
    return result;
}

const struct ma_process *ma_leak_process(const struct ma_analysis *analysis,
                                         const struct ma_row *row)
{
    return analysis->trace.processes[row->held_by >> 32];
}

/* The trend of a row whose largest holder was retired. */
static void take_retired(const struct ma_analysis *analysis, const struct ma_row *row,
                         struct ma_leak *leak)
{
    if (!row->holder) {
        const struct ma_leak *told = &analysis->retire->leaks[row->retired - 1];
        leak->life = told->life;
        leak->trend = told->trend;
    }
    leak->youngest = leak->youngest > leak->oldest ? leak->oldest : leak->youngest;
}

static void hide(struct ma_leaks *leaks, size_t row, const struct ma_row *its,
                 struct ma_suppression *one)
{
    leaks->of[row].suppressed = one;
    one->stacks++;
    one->bytes += its->leaked_bytes;
    one->blocks += its->leaked_blocks;
}

/* Hide the blocks that the C and C++ runtimes keep for themselves. A stack that grows,
 * or of more blocks than they keep, is shown: the program makes them keep more. */
static int hide_runtime(struct ma_analysis *analysis, struct ma_leaks *leaks)
{
    struct ma_runtime runtime = {0};
    int result = 0;
    for (size_t i = 0; i < analysis->n_rows && result >= 0; i++) {
        const struct ma_row *row = &analysis->rows[i];
        size_t most;
        if (!row->leaked_blocks || leaks->of[i].suppressed ||
            leaks->of[i].trend.kind == MA_TREND_GROWING)
            continue;
        result = ma_runtime_owns(&runtime, &analysis->stacks, row->stack, &most);
        if (result > 0 && row->leaked_blocks / (row->holders ? row->holders : 1) <= most)
            hide(leaks, i, row, &leaks->runtime);
    }
    ma_runtime_free(&runtime);
    return result < 0 ? result : 0;
}

/* Match the suppressions with all leaking rows. Resolves the names of all their stacks. */
static int suppress(struct ma_analysis *analysis, struct ma_leaks *leaks)
{
    if (!ma_analysis_executable(analysis))
        return -ENOMEM;
    struct ma_suppressions *all = &analysis->suppressions;
    for (size_t i = 0; i < all->n; i++)
        all->all[i].bytes = all->all[i].blocks = all->all[i].stacks = 0;
    for (size_t i = 0; i < analysis->n_rows && all->n; i++) {
        const struct ma_row *row = &analysis->rows[i];
        const struct ma_frame *frames;
        if (!row->leaked_blocks)
            continue;
        long n = ma_stacks_frames(&analysis->stacks, row->stack, &frames);
        if (n < 0)
            return -ENOMEM;
        struct ma_suppression *one;
        if (ma_suppress_find(all, frames, (size_t)n, &one) < 0)
            return -ENOMEM;
        if (!one)
            continue;
        hide(leaks, i, row, one);
        leaks->suppressed_stacks++;
        leaks->suppressed_bytes += row->leaked_bytes;
        leaks->suppressed_blocks += row->leaked_blocks;
    }
    return 0;
}

const struct ma_leaks *ma_leaks_get(struct ma_analysis *analysis)
{
    const struct ma_replay *replay = ma_analysis_books(analysis);
    if (analysis->leaks)
        return analysis->leaks;
    struct ma_leaks *leaks = calloc(1, sizeof *leaks);
    size_t n = analysis->n_rows;
    int result = leaks && (leaks->of = calloc(n + 1, sizeof *leaks->of)) ? 0 : -ENOMEM;
    for (size_t i = 0; i < n && result == 0; i++) {
        const struct ma_row *row = &analysis->rows[i];
        if (!row->leaked_blocks)
            continue; /* most rows: not even their memory is touched */
        leaks->of[i].youngest = UINT64_MAX;
        if (row->retired)
            ma_leak_unite(&leaks->of[i], &analysis->retire->leaks[row->retired - 1]);
    }
    if (analysis->retire)
        analysis->trace.audit.unknown_stacks += analysis->retire->unknown_leaks;
    for (size_t i = 0; i < replay->n_accounts && result == 0; i++) {
        if (replay->accounts[i] && replay->accounts[i]->live_blocks)
            result = walk_account(analysis, replay->accounts[i], leaks->of);
    }
    for (size_t i = 0; i < n && result == 0; i++) {
        if (analysis->rows[i].holders)
            take_retired(analysis, &analysis->rows[i], &leaks->of[i]);
    }
    if (result == 0)
        result = suppress(analysis, leaks);
    if (result == 0 && !analysis->request->show_runtime)
        result = hide_runtime(analysis, leaks);
    if (result < 0) {
        ma_leaks_free(leaks);
        return NULL;
    }
    leaks->n = n;
    return analysis->leaks = leaks;
}

double ma_leak_slope(const struct ma_leak *leak)
{
    const struct ma_trend *trend = &leak->trend;
    const bool over = trend->why == MA_WHY_ENDED || trend->why == MA_WHY_PAUSED;
    return over || trend->slope < 0 ? 0 : trend->slope;
}

double ma_leak_projected(const struct ma_leak *leak, uint64_t bytes)
{
    return (double)bytes + ma_leak_slope(leak) * HOUR;
}

const char *ma_leak_rate(double rate, char *buffer, size_t size)
{
    char human[MA_HUMAN_SIZE];
    const char *unit = "s";
    if (rate * 60 < 10) {
        rate *= HOUR; /* a leak of a byte a second is one of 3.5 KiB an hour */
        unit = "h";
    }
    snprintf(buffer, size, "%s/%s", ma_human_bytes(human, (uint64_t)llround(rate < 0 ? 0 : rate)),
             unit);
    return buffer;
}

static const char *seconds(char buffer[MA_HUMAN_SIZE], double s)
{
    return ma_human_time(buffer, (uint64_t)(s * 1e9));
}

const char *ma_leak_reason(const struct ma_leak *leak, const struct ma_row *row,
                           char buffer[MA_REASON_SIZE])
{
    const struct ma_trend *trend = &leak->trend;
    char a[MA_HUMAN_SIZE + 8], b[MA_HUMAN_SIZE], c[MA_HUMAN_SIZE], d[MA_HUMAN_SIZE];
    char ages[120] = "";
    const size_t size = MA_REASON_SIZE;
    if (row->leaked_blocks > 1)
        snprintf(ages, sizeof ages, "; oldest block %s, youngest %s",
                 ma_human_time(b, leak->oldest), ma_human_time(c, leak->youngest));
    else if (row->leaked_blocks)
        snprintf(ages, sizeof ages, "; its block is %s old", ma_human_time(b, leak->oldest));
    switch (trend->kind) {
    case MA_TREND_GROWING:
        snprintf(buffer, size, "%s by %s%s, in %u of %u intervals%s",
                 trend->why == MA_WHY_PLAIN ? "grows" : "grew",
                 ma_leak_rate(trend->slope, a, sizeof a),
                 trend->why == MA_WHY_ENDED    ? " until its thread ended"
                 : trend->why == MA_WHY_PAUSED ? " until the program's work paused"
                                               : "",
                 trend->rises, trend->intervals, ages);
        break;
    case MA_TREND_PLATEAU:
        if (trend->why == MA_WHY_BEFORE)
            snprintf(buffer, size, "comes and goes: it held as much before and gave it back%s",
                     ages);
        else if (trend->why == MA_WHY_SLOWED || trend->why == MA_WHY_SLOWED_WORK)
            snprintf(buffer, size, "filling up: the last quarter of its %s added %.1f %%%s",
                     trend->why == MA_WHY_SLOWED ? "time" : "work", 100 * trend->last_quarter,
                     ages);
        else if (trend->why == MA_WHY_TURNS)
            snprintf(buffer, size, "turns over: its blocks live no longer than before%s", ages);
        else
            snprintf(buffer, size, "reached its level %s into a run of %s%s",
                     seconds(a, trend->settled), seconds(d, leak->life), ages);
        break;
    case MA_TREND_STARTUP:
        snprintf(buffer, size, "allocated in the first quarter of the run and left alone since%s",
                 ages);
        break;
    case MA_TREND_YOUNG:
        snprintf(buffer, size, "allocated in the last instants: too young to tell%s", ages);
        break;
    default:
        if (trend->why == MA_WHY_RARE)
            snprintf(buffer, size,
                     "rose in %u of %u intervals, the last time after %s: too "
                     "rarely to tell%s",
                     trend->rises, trend->intervals, seconds(a, trend->settled), ages);
        else if (trend->why == MA_WHY_TINY)
            snprintf(buffer, size, "grew by %s in %s: too little to tell%s",
                     ma_human_bytes(a, (uint64_t)trend->grown), seconds(d, leak->life), ages);
        else if (trend->why == MA_WHY_FEW)
            snprintf(buffer, size, "grew by %s in a few blocks: too few to tell%s",
                     ma_human_bytes(a, (uint64_t)trend->grown), ages);
        else if (trend->why == MA_WHY_SHORT)
            snprintf(buffer, size, "the process lasted %s: too short to tell%s",
                     seconds(a, leak->life), ages);
        else if (trend->why == MA_WHY_UNSEEN)
            snprintf(buffer, size,
                     "recording was paused meanwhile, and blocks from before may be freed: not "
                     "to tell%s",
                     ages);
        else
            snprintf(buffer, size, "nothing is known of its history%s", ages);
        break;
    }
    return buffer;
}
