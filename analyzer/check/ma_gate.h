/* SPDX-License-Identifier: MIT
 *
 * Conditions on the summary that fail a run: --fail-on 'leaked_bytes>0'. A
 * condition says what is not allowed; it is parsed with the command line and
 * judged once the rows are made, against a baseline where it speaks of growth.
 */
#ifndef MA_GATE_H
#define MA_GATE_H

#include "ma_metrics.h"

#define MA_CONDITIONS_MAX 32

enum ma_relation { MA_GT, MA_GE, MA_LT, MA_LE, MA_EQ, MA_NE };

struct ma_condition {
    const char *text; /* as given */
    int metric;       /* in ma_metric_table */
    enum ma_relation relation;
    bool growth;        /* against the baseline: +N or -N */
    bool percent;       /* of the baseline */
    long double limit;  /* in the metric's unit, or percent */
    bool failed;        /* judged: it holds, which is not allowed */
    char sentence[512]; /* judged: what is so, in either case */
};

struct ma_gate {
    struct ma_condition conditions[MA_CONDITIONS_MAX];
    size_t n;
    size_t n_failed;
    char doubt[512]; /* why no condition can be trusted, or empty */
};

/* Parse one. Returns false with a sentence in why. */
bool ma_gate_parse(struct ma_gate *gate, const char *text, char *why, size_t size);

/* Whether a condition compares with a baseline. */
bool ma_gate_needs_baseline(const struct ma_gate *gate);

/* Judge all. baseline may be NULL if none needs it. -EINVAL with a message if the
 * baseline lacks a metric. */
int ma_gate_judge(struct ma_gate *gate, const struct ma_metrics *metrics,
                  const struct ma_metrics *baseline, struct ma_error *error);

/* What of an audit makes every condition doubtful (damage and losses): true, with a
 * sentence without the trace's name. */
struct ma_audit;
bool ma_gate_doubts(const struct ma_audit *audit, char *sentence, size_t size);

#endif
