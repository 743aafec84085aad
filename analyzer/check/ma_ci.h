/* SPDX-License-Identifier: MIT
 *
 * A run in continuous integration: the baseline is read and the files of --junit
 * and --sarif are opened before the pass; afterwards the conditions are judged
 * (ma_gate.h), printed, and written to the files. Called by the command.
 */
#ifndef MA_CI_H
#define MA_CI_H

#include "ma_analysis.h"
#include "ma_gate.h"
#include "ma_output.h"

struct ma_ci {
    struct ma_gate gate;
    struct ma_output junit, sarif;
    struct ma_metrics baseline;
    const struct ma_metrics *metrics; /* known already; NULL: taken from the analysis */
    bool has_baseline;
};

/* All return 0 or a negative errno with a message; close in every case. */
int ma_ci_open(struct ma_ci *ci, const struct ma_request *request, struct ma_error *error);
/* Use these as the baseline, if the request names no other. */
void ma_ci_baseline(struct ma_ci *ci, const struct ma_metrics *metrics);
/* The rows are made. Sentences of failed conditions go to standard error. Returns
 * -EILSEQ, after the files are written, if the trace is whole but for lost events. */
int ma_ci_finish(struct ma_ci *ci, struct ma_analysis *analysis, struct ma_error *error);
void ma_ci_close(struct ma_ci *ci);

/* The two writers, each in its file. Return 0 or -ENOMEM. */
int ma_ci_write_junit(struct ma_analysis *analysis, const struct ma_gate *gate, FILE *out);
int ma_ci_write_sarif(struct ma_analysis *analysis, const struct ma_gate *gate, FILE *out);

/* The metrics that conditions judge: those of the summary, without what suppressions
 * hide. Before the replay is freed. Returns 0 or -ENOMEM. */
int ma_ci_metrics(struct ma_analysis *analysis, struct ma_metrics *metrics);

/* The rows that leak and are not suppressed, largest first, as a list to free; NULL if memory is
 * short. */
const struct ma_row **ma_ci_leaks(struct ma_analysis *analysis, size_t *n);

/* What tells the trace from others in one job: its path as given, below the working
 * directory relative to it. Within the request. */
const char *ma_ci_trace_name(const struct ma_analysis *analysis);

#endif
