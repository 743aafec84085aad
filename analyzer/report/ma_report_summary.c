/* SPDX-License-Identifier: MIT
 *
 * The summary: totals of the whole trace.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_identity.h"
#include "ma_past.h"
#include "ma_report.h"
#include "ma_text.h"

/* Threads: ordinary streams, however many streams one has. */
static uint64_t count_threads(const struct ma_trace *trace)
{
    uint64_t threads = 0;
    for (size_t i = 0; i < trace->n_streams; i++)
        threads += trace->streams[i]->thread == i;
    return threads;
}

/* For people: what ran. */
static void add_program(struct ma_analysis *analysis, struct ma_model *model,
                        struct ma_value *summary)
{
    const struct ma_trace *trace = &analysis->trace;
    if (!trace->n_processes)
        return;
    const struct ma_process *first = trace->processes[0];
    char command[MA_COMMAND_SIZE];
    char more[48] = "";
    if (trace->n_processes > 1)
        snprintf(more, sizeof more, " and %zu more process%s", trace->n_processes - 1,
                 trace->n_processes > 2 ? "es" : "");
    ma_model_format(model, summary, NULL, "program", "%s (pid %s%s)%s",
                    ma_report_command(first, false, command),
                    ma_process_name(trace, first, (char[MA_PROCESS_NAME]){0}),
                    first->ended        ? ""
                    : analysis->ongoing ? ", running"
                                        : ", no end recorded",
                    more);
}

static void add_calls(struct ma_model *model, struct ma_value *summary,
                      const struct ma_totals *totals)
{
    static const char *const names[MLF_FN_COUNT] = {
#define NAME(number, name, aligned) [number] = #name,
        MLF_FUNCTIONS(NAME)
#undef NAME
    };
    struct ma_value *calls = ma_model_object(model, summary, "calls", NULL, MA_FIELDS);
    for (size_t i = 0; i < MLF_FN_COUNT; i++)
        ma_model_number(model, calls, names[i], NULL, MA_COUNT, totals->calls[i]);
}

/* What processes without an end in the trace still held: no leak yet, perhaps. */
static int add_unended(struct ma_analysis *analysis, struct ma_model *model,
                       struct ma_value *summary)
{
    const struct ma_replay *books = ma_analysis_books(analysis);
    uint64_t bytes = 0, blocks = 0, n = 0, reaped = 0;
    for (size_t i = 0; i < books->n_accounts; i++) {
        const struct ma_account *account = books->accounts[i];
        if (!account || account->process->ended)
            continue;
        struct ma_sum leaked;
        if (ma_unsure_leaked(account, &leaked) < 0)
            return -ENOMEM;
        bytes += leaked.bytes;
        blocks += leaked.blocks;
        reaped += account->process->reaped.told;
        n++;
    }
    ma_model_number(model, summary, "unended_bytes", NULL, MA_BYTES, bytes);
    ma_model_number(model, summary, "unended_blocks", NULL, MA_COUNT, blocks);
    if (!blocks)
        return 0;
    char a[MA_HUMAN_SIZE], b[MA_COUNTED_SIZE], c[MA_COUNTED_SIZE];
    ma_model_format(model, summary, NULL, "  of these", "%s in %s alive in %s %s",
                    ma_human_bytes(a, bytes), ma_human_counted(b, blocks, "block"),
                    ma_human_counted(c, n, "process"),
                    reaped == n         ? "that ended without a word"
                    : reaped            ? "that ended without a word, or has no end in the trace"
                    : analysis->ongoing ? "still running"
                                        : "without an end in the trace");
    return 0;
}

static int build_summary(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_replay *replay = ma_analysis_books(analysis);
    const struct ma_totals *totals = &replay->totals;
    struct ma_value *summary =
        ma_model_object(model, &model->root, "summary", "Summary", MA_FIELDS);
    char a[MA_HUMAN_SIZE], b[MA_COUNTED_SIZE];
    uint64_t peak_time = replay->peak_process ? ma_clock_ns(&analysis->trace, replay->peak_process,
                                                            replay->peak_ticks)
                                              : 0;
    add_program(analysis, model, summary);
    ma_model_number(model, summary, "duration_ns", "duration", MA_NANOSECONDS, analysis->duration);
    add_calls(model, summary, totals);
    ma_model_number(model, summary, "failed_calls", NULL, MA_COUNT, totals->failed);
    ma_model_number(model, summary, "allocations", NULL, MA_COUNT, totals->allocations);
    ma_model_number(model, summary, "frees", NULL, MA_COUNT, totals->frees);
    ma_model_number(model, summary, "reallocations", NULL, MA_COUNT, totals->reallocations);
    ma_model_number(model, summary, "allocated_bytes", NULL, MA_BYTES, totals->allocated_bytes);
    ma_model_number(model, summary, "freed_bytes", NULL, MA_BYTES, totals->freed_bytes);
    ma_model_number(model, summary, "usable_bytes", NULL, MA_BYTES, totals->usable_bytes);
    ma_model_number(model, summary, "inherited_frees", NULL, MA_COUNT, totals->inherited_frees);
    ma_model_number(model, summary, "inherited_freed_bytes", NULL, MA_BYTES,
                    totals->inherited_freed_bytes);
    ma_model_format(model, summary, NULL, "allocated", "%s in %s",
                    ma_human_bytes(a, totals->allocated_bytes),
                    ma_human_counted(b, totals->allocations, "block"));
    ma_model_format(model, summary, NULL, "peak", "%s in %s", ma_human_bytes(a, replay->peak_bytes),
                    ma_human_counted(b, replay->peak_blocks, "block"));
    ma_model_format(model, summary, NULL, "  reached after", "%s", ma_human_time(a, peak_time));
    ma_model_number(model, summary, "leaked_bytes", NULL, MA_BYTES, analysis->leaked_bytes);
    ma_model_number(model, summary, "leaked_blocks", NULL, MA_COUNT, analysis->leaked_blocks);
    ma_model_format(model, summary, NULL, "never freed", "%s in %s",
                    ma_human_bytes(a, analysis->leaked_bytes),
                    ma_human_counted(b, analysis->leaked_blocks, "block"));
    ma_model_number(model, summary, "unsure_bytes", NULL, MA_BYTES, analysis->unsure.bytes);
    ma_model_number(model, summary, "unsure_blocks", NULL, MA_COUNT, analysis->unsure.blocks);
    if (analysis->unsure.blocks)
        ma_model_format(model, summary, NULL, "from before a pause",
                        "%s in %s: not known whether freed",
                        ma_human_bytes(a, analysis->unsure.bytes),
                        ma_human_counted(b, analysis->unsure.blocks, "block"));
    if (add_unended(analysis, model, summary) < 0)
        return -ENOMEM;
    ma_model_number(model, summary, "peak_bytes", NULL, MA_BYTES, replay->peak_bytes);
    ma_model_number(model, summary, "peak_blocks", NULL, MA_COUNT, replay->peak_blocks);
    ma_model_number(model, summary, "peak_time_ns", NULL, MA_NANOSECONDS, peak_time);
    ma_model_number(model, summary, "temporary", "temporary blocks", MA_COUNT, totals->temporary);
    ma_model_number(model, summary, "threads", "threads", MA_COUNT,
                    analysis->filter ? analysis->filter->threads : count_threads(&analysis->trace));
    ma_model_number(model, summary, "stacks", "distinct stacks", MA_COUNT, analysis->n_rows);
    ma_model_number(model, summary, "events", "events", MA_COUNT, totals->events);
    ma_model_number(model, summary, "wrong_frees", NULL, MA_COUNT, ma_past_wrong(analysis));
    return 0;
}

const struct ma_report ma_report_summary = {
    .name = "summary",
    .help = "totals of the run",
    .usual = true,
    .always = true,
    .build = build_summary,
};
