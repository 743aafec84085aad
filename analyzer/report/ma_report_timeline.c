/* SPDX-License-Identifier: MIT
 *
 * The timeline: the joint heap at up to 1,000 moments, and what the largest
 * stacks held at each.
 */
#include <errno.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_gaps.h"
#include "ma_report.h"
#include "ma_text.h"

#define STACKS_USUALLY 64

struct series {
    uint32_t stack;
    uint64_t most;
    uint64_t *bytes; /* the candidate's own */
};

static int by_stack(const void *a, const void *b)
{
    const struct series *x = a, *y = b;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

static int by_most(const void *a, const void *b)
{
    const struct series *x = a, *y = b;
    return x->most > y->most ? -1 : x->most < y->most ? 1 : by_stack(a, b);
}

/* Candidates of the same stack in several processes become one series. */
static long gather_series(struct ma_analysis *analysis, struct series *series)
{
    const struct ma_timeline *timeline = analysis->timeline;
    size_t n = timeline->n_candidates, kept = 0;
    for (size_t i = 0; i < n; i++) {
        const struct ma_candidate *candidate = &timeline->candidates[i];
        series[i].bytes = candidate->bytes;
        if (ma_stacks_id(&analysis->stacks, candidate->account->process,
                         candidate->account->stacks[candidate->site], &series[i].stack) < 0)
            return -ENOMEM;
    }
    qsort(series, n, sizeof *series, by_stack);
    for (size_t i = 0; i < n; i++) {
        if (kept && series[kept - 1].stack == series[i].stack) {
            for (size_t p = 0; p < timeline->n_points; p++)
                series[kept - 1].bytes[p] += series[i].bytes[p];
        } else {
            series[kept++] = series[i];
        }
    }
    for (size_t i = 0; i < kept; i++) {
        series[i].most = 0;
        for (size_t p = 0; p < timeline->n_points; p++)
            series[i].most =
                series[i].bytes[p] > series[i].most ? series[i].bytes[p] : series[i].most;
    }
    qsort(series, kept, sizeof *series, by_most);
    return (long)kept;
}

static int add_stacks(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *object)
{
    const struct ma_timeline *timeline = analysis->timeline;
    const struct ma_request *request = analysis->request;
    struct series series[MA_CANDIDATES];
    long n = gather_series(analysis, series);
    if (n < 0)
        return -ENOMEM;
    size_t top = request->top_given ? request->top : STACKS_USUALLY;
    struct ma_value *stacks = ma_model_array(model, object, "stacks", NULL, MA_ENTRIES);
    for (size_t i = 0; i < (size_t)n && i < top && series[i].most; i++) {
        struct ma_value *one = ma_model_object(model, stacks, NULL, NULL, MA_FIELDS);
        if (ma_report_label(analysis, model, one, series[i].stack) < 0)
            return -ENOMEM;
        ma_model_stack(model, one, "stack", series[i].stack);
        struct ma_value *bytes = ma_model_array(model, one, "bytes", NULL, MA_LINES);
        for (size_t p = 0; p < timeline->n_points; p++)
            ma_model_number(model, bytes, NULL, NULL, MA_BYTES, series[i].bytes[p]);
    }
    return 0;
}

static int observe_timeline(struct ma_analysis *analysis)
{
    analysis->timeline = ma_timeline_new();
    return analysis->timeline
               ? ma_observers_add(&analysis->replay.observers, &analysis->timeline->observer)
               : -ENOMEM;
}

/* The times in which recording was paused. */
static void add_gaps(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *object)
{
    const struct ma_trace *trace = &analysis->trace;
    const uint64_t n = ma_gaps_count(trace);
    struct ma_value *array = ma_model_array(model, object, "pauses", NULL, MA_TABLE);
    for (size_t i = 0; i < trace->n_processes; i++) {
        const struct ma_process *process = trace->processes[i];
        for (size_t k = 0; k < process->n_gaps; k++) {
            const struct ma_gap_ns ns = ma_gap_ns(trace, process, &process->gaps[k]);
            struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
            ma_model_number(model, one, "pid", NULL, MA_PLAIN, ma_process_pid(process));
            ma_model_number(model, one, "from_ns", NULL, MA_NANOSECONDS, ns.from);
            ma_model_number(model, one, "to_ns", NULL, MA_NANOSECONDS, ns.to);
        }
    }
    if (n)
        ma_model_format(model, object, NULL, "not recorded",
                        "%s in %s: the curve tells nothing there",
                        ma_human_time((char[MA_HUMAN_SIZE]){0}, ma_gaps_ns(trace)),
                        ma_human_counted((char[MA_COUNTED_SIZE]){0}, n, "pause"));
}

static int build_timeline(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_timeline *timeline = analysis->timeline;
    struct ma_value *object =
        ma_model_object(model, &model->root, "timeline", "Heap over time", MA_FIELDS);
    struct ma_value *points = ma_model_array(model, object, "points", "", MA_CHART);
    uint64_t last = 0;
    for (size_t i = 0; i < timeline->n_points; i++) {
        const struct ma_point *point = &timeline->points[i];
        struct ma_value *one = ma_model_object(model, points, NULL, NULL, MA_FIELDS);
        uint64_t time = ma_clock_ns(&analysis->trace, point->process, point->ticks);
        last = time > last ? time : last;
        ma_model_number(model, one, "time_ns", "time", MA_NANOSECONDS, last);
        ma_model_number(model, one, "bytes", "bytes", MA_BYTES, point->bytes);
        ma_model_number(model, one, "blocks", "blocks", MA_COUNT, point->blocks);
        if (point->resident == UINT64_MAX)
            ma_model_null(model, one, "rss_bytes");
        else
            ma_model_number(model, one, "rss_bytes", "resident", MA_BYTES, point->resident);
    }
    add_gaps(analysis, model, object);
    return add_stacks(analysis, model, object);
}

const struct ma_report ma_report_timeline = {
    .name = "timeline",
    .help = "the heap over time",
    .build = build_timeline,
    .observe = observe_timeline,
};
