/* SPDX-License-Identifier: MIT
 *
 * Ages, threads and trends of leaks; see ma_leaks.h.
 */
#include "ma_leaks.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_retire.h"
#include "ma_runtime.h"
#include "ma_text.h"

#define HOUR 3600.0

/* Bytes that one thread has in one row. */
struct part {
    uint32_t row, thread;
    uint64_t bytes;
};

/* Of one site of the process at hand. */
struct ages {
    uint32_t row;
    uint32_t latest;      /* its part that was added to last, or MA_NONE */
    uint64_t first, last; /* ticks */
};

/* Over the blocks of one process. */
struct walk {
    struct part *parts;
    size_t n_parts, part_capacity;
    struct ma_map part_of; /* row and thread */
    struct ages *ages;
};

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

static int add_part(struct walk *walk, struct ages *its, const struct ma_block *block)
{
    uint32_t index = its->latest;
    if (index == MA_NONE || walk->parts[index].thread != block->thread) {
        uint64_t key = (uint64_t)its->row << 32 | block->thread;
        index = ma_map_get(&walk->part_of, key);
        if (index == MA_NONE) {
            if (!MA_RESERVE(walk->parts, walk->n_parts, walk->part_capacity))
                return -ENOMEM;
            index = (uint32_t)walk->n_parts++;
            walk->parts[index] = (struct part){its->row, block->thread, 0};
            if (ma_map_set(&walk->part_of, key, index) < 0)
                return -ENOMEM;
        }
        its->latest = index;
    }
    walk->parts[index].bytes += block->size;
    return 0;
}

static int add_block(struct walk *walk, const struct ma_block *block)
{
    struct ages *its = &walk->ages[block->site];
    if (its->row == MA_NONE)
        return 0;
    its->first = block->time < its->first ? block->time : its->first;
    its->last = block->time > its->last ? block->time : its->last;
    return add_part(walk, its, block);
}

/* Some at a time, whose ages are brought near together. */
static int walk_blocks(struct walk *walk, const struct ma_account *account)
{
    struct ma_block blocks[64];
    const size_t places = ma_heap_places(&account->heap), most = sizeof blocks / sizeof *blocks;
    for (size_t i = 0; i < places;) {
        size_t n = 0;
        for (; n < most && i < places; i++) {
            if (!ma_heap_at(&account->heap, i, &blocks[n]) || blocks[n].site >= account->n_sites)
                continue;
            ma_prefetch(&walk->ages[blocks[n++].site]);
        }
        for (size_t k = 0; k < n; k++) {
            if (add_block(walk, &blocks[k]) < 0)
                return -ENOMEM;
        }
    }
    return 0;
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

static void note_ages(const struct ma_analysis *analysis, const struct ma_account *account,
                      const struct ages *ages, struct ma_leak *leaks)
{
    const struct ma_process *process = account->process;
    uint64_t end = ma_clock_ns(&analysis->trace, process, end_of(analysis, process));
    for (size_t i = 0; i < account->n_sites; i++) {
        if (ages[i].row == MA_NONE || ages[i].first > ages[i].last)
            continue;
        uint64_t first = ma_clock_ns(&analysis->trace, process, ages[i].first);
        uint64_t last = ma_clock_ns(&analysis->trace, process, ages[i].last);
        ma_leak_unite(&leaks[ages[i].row], &(struct ma_leak){
                                               .oldest = first < end ? end - first : 0,
                                               .youngest = last < end ? end - last : 0,
                                           });
    }
}

static void note_threads(const struct ma_trace *trace, const struct walk *walk,
                         struct ma_leak *leaks)
{
    for (size_t i = 0; i < walk->n_parts; i++) {
        const struct part *part = &walk->parts[i];
        struct ma_leak *leak = &leaks[part->row];
        leak->threads++;
        if (part->thread < trace->n_streams &&
            tells_more(leak, trace->streams[part->thread], part->bytes)) {
            leak->thread = trace->streams[part->thread];
            leak->thread_bytes = part->bytes;
        }
    }
}

int ma_leaks_walk(struct ma_analysis *analysis, const struct ma_account *account,
                  const uint32_t *rows, struct ma_leak *leaks)
{
    struct walk walk = {.ages = malloc((account->n_sites + 1) * sizeof *walk.ages)};
    if (!walk.ages)
        return -ENOMEM;
    for (size_t i = 0; i < account->n_sites; i++)
        walk.ages[i] = (struct ages){rows[i], MA_NONE, UINT64_MAX, 0};
    int result = walk_blocks(&walk, account);
    if (result == 0) {
        note_ages(analysis, account, walk.ages, leaks);
        note_threads(&analysis->trace, &walk, leaks);
    }
    free(walk.ages);
    free(walk.parts);
    ma_map_free(&walk.part_of);
    return result;
}

static int walk_account(struct ma_analysis *analysis, const struct ma_account *account,
                        struct ma_leak *leaks)
{
    uint32_t *rows = malloc((account->n_sites + 1) * sizeof *rows);
    int result = rows ? 0 : -ENOMEM;
    for (size_t i = 0; i < account->n_sites && result == 0; i++) {
        uint32_t stack;
        rows[i] = MA_NONE;
        if (!account->sites[i].live_blocks)
            continue;
        result = ma_stacks_id(&analysis->stacks, account->process, account->stacks[i], &stack);
        const struct ma_row *row = result < 0 ? NULL
                                              : bsearch(&stack, analysis->rows, analysis->n_rows,
                                                        sizeof *analysis->rows, by_stack);
        if (row)
            rows[i] = (uint32_t)(row - analysis->rows);
    }
    if (result == 0)
        result = ma_leaks_walk(analysis, account, rows, leaks);
    free(rows);
    return result;
}

const struct ma_process *ma_leak_process(const struct ma_analysis *analysis,
                                         const struct ma_row *row)
{
    return analysis->trace.processes[row->held_by >> 32];
}

void ma_leak_judge(const struct ma_analysis *analysis, const struct ma_account *account,
                   size_t index, struct ma_leak *leak)
{
    const struct ma_alloc_site *site = &account->sites[index];
    const uint64_t origin = account->history.origin, end = end_of(analysis, account->process);
    double floors[MA_SLOTS];
    uint64_t width = 1;
    unsigned n = ma_history_read(account, site, end, floors, &width);
    uint64_t from = ma_clock_ns(&analysis->trace, account->process, origin);
    uint64_t until = ma_clock_ns(&analysis->trace, account->process, end);
    leak->life = until > from ? (double)(until - from) / 1e9 : 0;
    double ticks = end > origin ? (double)(end - origin) : 1;
    leak->trend = ma_trend_judge(&(struct ma_trend_input){
        .floors = floors,
        .n = n,
        .width = leak->life * ((double)width / ticks),
        .life = leak->life,
        .level = (double)site->live_bytes,
        .peak = (double)analysis->replay.peak_bytes,
        .last = (unsigned)(((uint64_t)site->slot << account->history.shift) / width),
    });
}

/* The trend of a row, by the one that holds most of it. */
static void judge_row(const struct ma_analysis *analysis, const struct ma_row *row,
                      struct ma_leak *leak)
{
    const struct ma_leak *told = row->retired ? &analysis->retire->leaks[row->retired - 1] : NULL;
    if (row->holder) {
        ma_leak_judge(analysis, row->holder, row->holder_site, leak);
    } else {
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
            judge_row(analysis, &analysis->rows[i], &leaks->of[i]);
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

double ma_leak_projected(const struct ma_leak *leak, uint64_t bytes)
{
    return (double)bytes + (leak->trend.slope > 0 ? leak->trend.slope * HOUR : 0);
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
        snprintf(buffer, size, "grows by %s, in %u of %u intervals%s",
                 ma_leak_rate(trend->slope, a, sizeof a), trend->rises, trend->intervals, ages);
        break;
    case MA_TREND_PLATEAU:
        if (trend->why == MA_WHY_BEFORE)
            snprintf(buffer, size, "comes and goes: it held as much before and gave it back%s",
                     ages);
        else if (trend->why == MA_WHY_SLOWED)
            snprintf(buffer, size, "filling up: the last quarter of its time added %.1f %%%s",
                     100 * trend->last_quarter, ages);
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
        else if (trend->why == MA_WHY_SHORT)
            snprintf(buffer, size, "the process lasted %s: too short to tell%s",
                     seconds(a, leak->life), ages);
        else
            snprintf(buffer, size, "nothing is known of its history%s", ages);
        break;
    }
    return buffer;
}
