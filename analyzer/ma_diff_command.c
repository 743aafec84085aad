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
#include "ma_render.h"

/* Read one trace to its rows, and let go of what only the reading needed. */
static int read_side(struct ma_analysis *analysis, const struct ma_options *options,
                     struct ma_metrics *metrics, struct ma_metrics *judged, struct ma_error *error)
{
    struct ma_error own = {0};
    int result = ma_analysis_open(analysis, options, &own);
    if (result == 0)
        result = ma_analysis_run(analysis, NULL, &own);
    if (result == 0)
        result = ma_analysis_rows(analysis, &own);
    bool judges = options->gate.n || options->junit || options->sarif;
    if (result == 0 &&
        (ma_metrics_of(analysis, metrics) < 0 || (judges && ma_ci_metrics(analysis, judged) < 0)))
        result = ma_fail_memory(&own);
    if (result < 0)
        return strncmp(own.message, options->trace, strlen(options->trace)) == 0
                   ? ma_fail(error, result, "%s", own.message)
                   : ma_fail(error, result, "%s: %s", options->trace,
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

static int report(struct ma_diff *diff, const struct ma_options *options, FILE *out,
                  struct ma_error *error)
{
    struct ma_render_options look = {
        .frames = options->frames,
        .terminal = isatty(fileno(out)),
    };
    struct ma_stacks *stacks = &diff->sides[MA_NEW]->stacks;
    struct ma_model model;
    ma_model_init(&model);
    int result = ma_report_diff(diff, &model);
    if (result == 0 && !model.failed)
        result = options->json ? ma_render_json(&model, stacks, &look, out)
                               : ma_render_text(&model, stacks, &look, out);
    if (result < 0 || model.failed)
        result = ma_fail_memory(error);
    ma_model_free(&model);
    return result;
}

static int write_result(struct ma_diff *diff, const struct ma_options *options, FILE *out,
                        struct ma_error *error)
{
    size_t n = options->output ? strlen(options->output) : 0;
    if (!options->flamegraph)
        return report(diff, options, out, error);
    return ma_flamegraph_write(diff->sides[MA_NEW], diff->sides[MA_OLD],
                               n > 4 && strcmp(options->output + n - 4, ".svg") == 0, out, error);
}

int ma_diff_command(struct ma_options *options, struct ma_error *error)
{
    struct ma_options of_old = *options;
    struct ma_analysis old = {0}, new = {0};
    struct ma_metrics metrics[MA_SIDES], judged_by[MA_SIDES] = {0};
    struct ma_output output = {0};
    struct ma_diff diff = {0};
    struct ma_ci ci = {0};
    char damage[400];
    of_old.trace = options->diff_old;
    if (options->diff_window.active) {
        of_old.filter.active = true;
        of_old.filter.from = options->diff_window.from;
        of_old.filter.to = options->diff_window.to;
    }
    int judged = 0, result = ma_output_open(&output, options->output, error);
    if (result == 0)
        result = ma_ci_open(&ci, &options->gate, options, error);
    if (result < 0)
        goto opened;
    if ((result = read_side(&old, &of_old, &metrics[MA_OLD], &judged_by[MA_OLD], error)) < 0)
        goto first;
    if ((result = read_side(&new, options, &metrics[MA_NEW], &judged_by[MA_NEW], error)) < 0)
        goto out;
    if (ma_diff_build(&diff, &old, &new) < 0) {
        result = ma_fail_memory(error);
        goto out;
    }
    memcpy(diff.metrics, metrics, sizeof metrics);
    ma_ci_baseline(&ci, &judged_by[MA_OLD]);
    ci.metrics = &judged_by[MA_NEW];
    result = write_result(&diff, options, output.file, error);
    if (result == 0 && (judged = ma_ci_finish(&ci, &new, error)) < 0 && judged != -EILSEQ)
        result = judged;
    if (result == 0)
        result = ma_output_commit(&output, error);
    for (int side = MA_OLD; result == 0 && side < MA_SIDES; side++) {
        if (ma_audit_is_damaged(&diff.sides[side]->trace.audit, damage, sizeof damage))
            result = ma_fail(error, -EILSEQ, "%s: %s", diff.sides[side]->options->trace, damage);
        else if (options->gate.n &&
                 ma_gate_doubts(&diff.sides[side]->trace.audit, damage, sizeof damage))
            result =
                ma_fail(error, -EILSEQ, "%s: %s: the conditions of --fail-on cannot be trusted",
                        diff.sides[side]->options->trace, damage);
    }
out:
    ma_diff_free(&diff);
    ma_analysis_free(&new);
first:
    ma_analysis_free(&old);
opened:
    ma_ci_close(&ci);
    ma_output_discard(&output);
    return result;
}
