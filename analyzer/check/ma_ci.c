/* SPDX-License-Identifier: MIT
 *
 * Baseline, judgement and files of a run in continuous integration; see ma_ci.h.
 */
#include "ma_ci.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ma_gaps.h"
#include "ma_leaks.h"
#include "ma_text.h"

int ma_ci_metrics(struct ma_analysis *analysis, struct ma_metrics *metrics)
{
    const struct ma_leaks *leaks = ma_leaks_get(analysis);
    if (!leaks || ma_metrics_of(analysis, metrics) < 0)
        return -ENOMEM;
    ma_metrics_add_kinds(metrics, analysis, leaks);
    ma_metrics_add_growth(metrics, analysis);
    ma_metrics_hide(metrics, leaks->suppressed_bytes + leaks->runtime.bytes,
                    leaks->suppressed_blocks + leaks->runtime.blocks);
    return 0;
}

static int read_trace(const char *path, const struct ma_request *request,
                      struct ma_metrics *metrics, struct ma_error *error)
{
    struct ma_request plain = *request;
    struct ma_analysis analysis;
    char damage[400];
    plain.trace = path;
    int result = ma_analysis_open(&analysis, &plain, error);
    if (result == 0)
        result = ma_analysis_run(&analysis, NULL, error);
    if (result == 0)
        result = ma_analysis_rows(&analysis, error);
    if (result == 0 && ma_ci_metrics(&analysis, metrics) < 0)
        result = ma_fail_memory(error);
    if (result == 0 && ma_gate_doubts(&analysis.trace.audit, damage, sizeof damage))
        result = ma_fail(error, -EILSEQ, "%s: %s: no baseline can be made of it", path, damage);
    ma_analysis_free(&analysis);
    return result;
}

/* A part of one trace says nothing of the whole of another. */
static int read_report(const char *path, const struct ma_request *request,
                       struct ma_metrics *metrics, struct ma_error *error)
{
    int result = ma_metrics_read(path, metrics, error);
    if (result < 0 || metrics->filtered == request->filter.active)
        return result;
    return ma_fail(error, -EINVAL,
                   metrics->filtered
                       ? "%s: is the report of a part of its trace (its \"filter\" says which): "
                         "give the same filters, or a baseline without"
                       : "%s: is the report of a whole trace: give a trace as the baseline, which "
                         "is filtered too, or a report with the same filters",
                   path);
}

int ma_ci_open(struct ma_ci *ci, const struct ma_request *request, struct ma_error *error)
{
    *ci = (struct ma_ci){
        .gate = {.conditions = request->conditions, .n = request->n_conditions},
    };
    int result = 0;
    if (request->junit)
        result = ma_output_open(&ci->junit, request->junit, error);
    if (result == 0 && request->sarif)
        result = ma_output_open(&ci->sarif, request->sarif, error);
    if (result < 0 || !request->baseline)
        return result;
    ci->has_baseline = true;
    return ma_metrics_in_report(request->baseline)
               ? read_report(request->baseline, request, &ci->baseline, error)
               : read_trace(request->baseline, request, &ci->baseline, error);
}

void ma_ci_baseline(struct ma_ci *ci, const struct ma_metrics *metrics)
{
    if (!ci->has_baseline)
        ci->baseline = *metrics;
    ci->has_baseline = true;
}

static int write_file(struct ma_output *output, const struct ma_ci *ci,
                      struct ma_analysis *analysis,
                      int (*writer)(struct ma_analysis *, const struct ma_gate *, FILE *),
                      struct ma_error *error)
{
    if (!output->file)
        return 0;
    if (writer(analysis, &ci->gate, output->file) < 0)
        return ma_fail_memory(error);
    return ma_output_commit(output, error);
}

/* A condition tells nothing of what was not recorded. */
static void say_gaps(const struct ma_trace *trace)
{
    const uint64_t n = ma_gaps_count(trace);
    if (n)
        fprintf(stderr,
                "%s: recording was paused %s, %s in all: the conditions of --fail-on are judged "
                "by what was recorded\n",
                ma_command,
                n == 1 ? "once" : ma_human_counted((char[MA_COUNTED_SIZE]){0}, n, "time"),
                ma_human_time((char[MA_HUMAN_SIZE]){0}, ma_gaps_ns(trace)));
}

int ma_ci_finish(struct ma_ci *ci, struct ma_analysis *analysis, struct ma_error *error)
{
    struct ma_gate *gate = &ci->gate;
    struct ma_metrics metrics;
    bool doubt = ma_gate_doubts(&analysis->trace.audit, gate->doubt, sizeof gate->doubt);
    if (!gate->n && !ci->junit.file && !ci->sarif.file)
        return 0;
    if (ci->metrics)
        metrics = *ci->metrics;
    else if (ma_ci_metrics(analysis, &metrics) < 0)
        return ma_fail_memory(error);
    int result = ma_gate_judge(gate, &metrics, ci->has_baseline ? &ci->baseline : NULL, error);
    if (gate->n)
        say_gaps(&analysis->trace);
    for (size_t i = 0; result == 0 && i < gate->n; i++) {
        if (gate->judged[i].failed)
            fprintf(stderr, "%s: %s: --fail-on '%s'\n", ma_command, gate->judged[i].sentence,
                    gate->conditions[i].text);
    }
    if (result == 0)
        result = write_file(&ci->junit, ci, analysis, ma_ci_write_junit, error);
    if (result == 0)
        result = write_file(&ci->sarif, ci, analysis, ma_ci_write_sarif, error);
    if (result == 0 && doubt && gate->n)
        result = ma_fail(error, -EILSEQ, "%s: %s: the conditions of --fail-on cannot be trusted",
                         ma_source_name(analysis->source), gate->doubt);
    return result;
}

void ma_ci_close(struct ma_ci *ci)
{
    ma_output_discard(&ci->junit);
    ma_output_discard(&ci->sarif);
}

static int by_leak(const void *a, const void *b)
{
    const struct ma_row *x = *(const struct ma_row *const *)a;
    const struct ma_row *y = *(const struct ma_row *const *)b;
    if (x->leaked_bytes != y->leaked_bytes)
        return x->leaked_bytes > y->leaked_bytes ? -1 : 1;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

const struct ma_row **ma_ci_leaks(struct ma_analysis *analysis, size_t *n)
{
    const struct ma_leaks *leaks = ma_leaks_get(analysis);
    const struct ma_row **rows = leaks ? malloc((analysis->n_rows + 1) * sizeof *rows) : NULL;
    *n = 0;
    for (size_t i = 0; rows && i < analysis->n_rows; i++) {
        if (analysis->rows[i].leaked_blocks && !leaks->of[i].suppressed)
            rows[(*n)++] = &analysis->rows[i];
    }
    if (rows)
        qsort(rows, *n, sizeof *rows, by_leak);
    return rows;
}

const char *ma_ci_trace_name(const struct ma_analysis *analysis)
{
    const char *path = analysis->request->trace;
    char *cwd = getcwd(NULL, 0);
    const size_t n = cwd ? strlen(cwd) : 0;
    if (n > 1 && strncmp(path, cwd, n) == 0 && path[n] == '/' && path[n + 1])
        path += n + 1;
    free(cwd);
    while (path[0] == '.' && path[1] == '/' && path[2])
        path += 2;
    return path;
}
