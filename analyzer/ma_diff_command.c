/* SPDX-License-Identifier: MIT
 *
 * The run of --diff; see ma_diff_command.h.
 */
#include "ma_diff_command.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ma_ci.h"
#include "ma_diff.h"
#include "ma_flamegraph.h"
#include "ma_nothing.h"
#include "ma_render.h"

/* Read one trace to its rows, and let go of what only the reading needed. */
static int read_side(struct ma_analysis *analysis, const struct ma_request *request,
                     struct ma_metrics *metrics, struct ma_metrics *judged, struct ma_error *error)
{
    struct ma_error own = {0};
    int result = ma_analysis_open(analysis, request, &own);
    if (result == 0)
        result = ma_analysis_run(analysis, NULL, &own);
    if (result == 0)
        result = ma_analysis_rows(analysis, &own);
    bool judges = request->n_conditions || request->junit || request->sarif;
    if (result == 0 &&
        (ma_metrics_of(analysis, metrics) < 0 || (judges && ma_ci_metrics(analysis, judged) < 0)))
        result = ma_fail_memory(&own);
    if (result < 0)
        return strncmp(own.message, request->trace, strlen(request->trace)) == 0
                   ? ma_fail(error, result, "%s", own.message)
                   : ma_fail(error, result, "%s: %s", request->trace,
                             own.message[0] ? own.message : "an unexpected error");
    /* The audit asks for the totals, the rest is in the rows. */
    struct ma_totals totals = analysis->replay.totals;
    ma_merge_free(&analysis->merge);
    analysis->merge = (struct ma_merge){0};
    ma_replay_free(&analysis->replay);
    ma_replay_init(&analysis->replay, &analysis->trace);
    analysis->replay.totals = totals;
    return 0;
}

static int report(struct ma_diff *diff, const struct ma_request *request, FILE *out,
                  struct ma_error *error)
{
    struct ma_render_options look = {
        .frames = request->frames,
        .terminal = isatty(fileno(out)),
    };
    struct ma_stacks *stacks = &diff->sides[MA_NEW]->stacks;
    struct ma_model model;
    ma_model_init(&model);
    int result = ma_report_diff(diff, &model);
    if (result == 0 && !model.failed)
        result = request->json ? ma_render_json(&model, stacks, &look, out)
                               : ma_render_text(&model, stacks, &look, out);
    if (result < 0 || model.failed)
        result = ma_fail_memory(error);
    ma_model_free(&model);
    return result;
}

static int write_result(struct ma_diff *diff, const struct ma_request *request, FILE *out,
                        struct ma_error *error)
{
    size_t n = request->output ? strlen(request->output) : 0;
    if (!request->flamegraph)
        return report(diff, request, out, error);
    return ma_flamegraph_write(diff->sides[MA_NEW], diff->sides[MA_OLD],
                               n > 4 && strcmp(request->output + n - 4, ".svg") == 0, out, error);
}

int ma_diff_command(const struct ma_request *request, struct ma_error *error)
{
    struct ma_request of_old = *request;
    struct ma_analysis old = {0}, new = {0};
    struct ma_metrics metrics[MA_SIDES], judged_by[MA_SIDES] = {0};
    struct ma_output output = {0};
    struct ma_diff diff = {0};
    struct ma_ci ci = {0};
    char damage[400];
    of_old.trace = request->diff_old;
    if (request->diff_window.active) {
        of_old.filter.active = true;
        of_old.filter.from = request->diff_window.from;
        of_old.filter.to = request->diff_window.to;
    }
    int judged = 0, result = ma_output_open(&output, request->output, error);
    if (result == 0)
        result = ma_ci_open(&ci, request, error);
    if (result < 0)
        goto opened;
    if ((result = read_side(&old, &of_old, &metrics[MA_OLD], &judged_by[MA_OLD], error)) < 0)
        goto first;
    if ((result = read_side(&new, request, &metrics[MA_NEW], &judged_by[MA_NEW], error)) < 0)
        goto out;
    if (ma_diff_build(&diff, &old, &new) < 0) {
        result = ma_fail_memory(error);
        goto out;
    }
    memcpy(diff.metrics, metrics, sizeof metrics);
    ma_ci_baseline(&ci, &judged_by[MA_OLD]);
    ci.metrics = &judged_by[MA_NEW];
    result = write_result(&diff, request, output.file, error);
    if (result == 0 && (judged = ma_ci_finish(&ci, &new, error)) < 0 && judged != -EILSEQ)
        result = judged;
    if (result == 0)
        result = ma_output_commit(&output, error);
    for (int side = MA_OLD; result == 0 && side < MA_SIDES; side++) {
        if (ma_audit_is_damaged(&diff.sides[side]->trace.audit, damage, sizeof damage))
            result = ma_fail(error, -EILSEQ, "%s: %s", diff.sides[side]->request->trace, damage);
        else if (request->n_conditions &&
                 ma_gate_doubts(&diff.sides[side]->trace.audit, damage, sizeof damage))
            result =
                ma_fail(error, -EILSEQ, "%s: %s: the conditions of --fail-on cannot be trusted",
                        diff.sides[side]->request->trace, damage);
    }
    if (result == 0)
        result = ma_nothing_check(&new, error);
out:
    ma_diff_free(&diff);
    ma_analysis_free(&new);
first:
    ma_analysis_free(&old);
opened:
    if (result == 0)
        result = (int)ci.gate.n_failed;
    ma_ci_close(&ci);
    ma_output_discard(&output);
    return result;
}
