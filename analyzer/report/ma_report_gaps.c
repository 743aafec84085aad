/* SPDX-License-Identifier: MIT
 *
 * Part of the audit: the times in which recording was paused, and what follows from them
 * for blocks that lived through one.
 */
#include "ma_gaps.h"
#include "ma_identity.h"
#include "ma_report.h"
#include "ma_text.h"

#define COUNT(number) ma_human_count((char[MA_HUMAN_SIZE]){0}, number)
#define COUNTED(n, noun) ma_human_counted((char[MA_COUNTED_SIZE]){0}, n, noun)
#define TIME(ns) ma_human_time((char[MA_HUMAN_SIZE]){0}, ns)
#define SHOWN 10

static const char *by_in_words(uint64_t by)
{
    switch (by) {
    case MLF_WINDOW_START: return "MLOG_START=paused";
    case MLF_WINDOW_FORK: return "forked of a paused process";
    case MLF_WINDOW_CTL: return "mlog ctl";
    case MLF_WINDOW_API: return "mlog_pause()";
    default: return "an unknown hand";
    }
}

static void add_list(const struct ma_analysis *analysis, struct ma_model *model,
                     struct ma_value *object)
{
    const struct ma_trace *trace = &analysis->trace;
    struct ma_value *array = ma_model_array(model, object, "list", NULL, MA_TABLE);
    for (size_t i = 0; i < trace->n_processes; i++) {
        const struct ma_process *process = trace->processes[i];
        for (size_t k = 0; k < process->n_gaps; k++) {
            const struct ma_gap *gap = &process->gaps[k];
            const struct ma_gap_ns ns = ma_gap_ns(trace, process, gap);
            struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
            ma_model_number(model, one, "pid", NULL, MA_PLAIN, ma_process_pid(process));
            ma_model_number(model, one, "process", NULL, MA_PLAIN, process->index);
            ma_model_number(model, one, "from_ns", NULL, MA_NANOSECONDS, ns.from);
            ma_model_number(model, one, "to_ns", NULL, MA_NANOSECONDS, ns.to);
            ma_model_text(model, one, "by", NULL, ma_window_by_name(gap->by));
            ma_model_boolean(model, one, "open", NULL, gap->to == UINT64_MAX);
        }
    }
}

static void say_list(const struct ma_analysis *analysis, struct ma_model *model,
                     struct ma_value *warnings)
{
    const struct ma_trace *trace = &analysis->trace;
    size_t shown = 0;
    for (size_t i = 0; i < trace->n_processes && shown < SHOWN; i++) {
        const struct ma_process *process = trace->processes[i];
        for (size_t k = 0; k < process->n_gaps && shown < SHOWN; k++, shown++) {
            const struct ma_gap *gap = &process->gaps[k];
            const struct ma_gap_ns ns = ma_gap_ns(trace, process, gap);
            ma_model_format(model, warnings, NULL, NULL, "  process %s: from %s to %s, by %s",
                            ma_process_name(trace, process, (char[MA_PROCESS_NAME]){0}),
                            TIME(ns.from), gap->to == UINT64_MAX ? "the end" : TIME(ns.to),
                            by_in_words(gap->by));
        }
    }
    const uint64_t n = ma_gaps_count(trace);
    if (n > shown)
        ma_model_format(model, warnings, NULL, NULL, "  and %s more (see --json)",
                        COUNT(n - shown));
}

void ma_report_gaps(const struct ma_analysis *analysis, struct ma_model *model,
                    struct ma_value *audit, struct ma_value *warnings)
{
    const struct ma_trace *trace = &analysis->trace;
    const uint64_t n = ma_gaps_count(trace), ns = ma_gaps_ns(trace);
    struct ma_value *gaps = ma_model_object(model, audit, "pauses", NULL, MA_FIELDS);
    ma_model_number(model, gaps, "count", NULL, MA_COUNT, n);
    ma_model_number(model, gaps, "ns", NULL, MA_NANOSECONDS, ns);
    ma_model_number(model, gaps, "unsure_bytes", NULL, MA_BYTES, analysis->unsure.bytes);
    ma_model_number(model, gaps, "unsure_blocks", NULL, MA_COUNT, analysis->unsure.blocks);
    add_list(analysis, model, gaps);
    if (!n)
        return;
    ma_model_format(model, warnings, NULL, NULL,
                    "Recording was paused %s, %s in all: what was allocated and freed meanwhile "
                    "is not in the trace.",
                    n == 1 ? "once" : COUNTED(n, "time"), TIME(ns));
    say_list(analysis, model, warnings);
    if (trace->audit.unseen_frees)
        ma_model_format(model, warnings, NULL, NULL,
                        "  %s ended later whose beginning was not seen.",
                        COUNTED(trace->audit.unseen_frees, "block"));
    if (trace->audit.unseen_ends)
        ma_model_format(model, warnings, NULL, NULL,
                        "  %s ended in a pause, as the next use of the address tells.",
                        COUNTED(trace->audit.unseen_ends, "block"));
    if (analysis->unsure.blocks)
        ma_model_format(model, warnings, NULL, NULL,
                        "  from before a pause: %s, %s: not known whether freed, and in no list "
                        "of leaks.",
                        COUNTED(analysis->unsure.blocks, "block"),
                        ma_human_bytes((char[MA_HUMAN_SIZE]){0}, analysis->unsure.bytes));
}
