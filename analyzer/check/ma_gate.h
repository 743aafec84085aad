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
    bool growth;       /* against the baseline: +N or -N */
    bool percent;      /* of the baseline */
    long double limit; /* in the metric's unit, or percent */
};

struct ma_judgement {
    bool failed;        /* the condition holds, which is not allowed */
    char sentence[512]; /* what is so, in either case */
};

/* Conditions and what became of them. */
struct ma_gate {
    const struct ma_condition *conditions; /* the request's */
    size_t n;                              /* up to MA_CONDITIONS_MAX */
    struct ma_judgement judged[MA_CONDITIONS_MAX];
    size_t n_failed;
    char doubt[512]; /* why no condition can be trusted, or empty */
};

/* Parse one. Returns NULL, or what was expected as the end of a sentence that begins
 * with the option and its value; valid until the next call. */
const char *ma_condition_parse(struct ma_condition *condition, const char *text);

/* True if a condition compares with a baseline. */
bool ma_conditions_need_baseline(const struct ma_condition *conditions, size_t n);

/* Judge all. baseline may be NULL if none needs it. -EINVAL with a message if the
 * baseline lacks a metric. */
int ma_gate_judge(struct ma_gate *gate, const struct ma_metrics *metrics,
                  const struct ma_metrics *baseline, struct ma_error *error);

/* True if damage or losses in the audit make every condition doubtful, with a
 * sentence that says so, without the trace's name. */
struct ma_audit;
bool ma_gate_doubts(const struct ma_audit *audit, char *sentence, size_t size);

#endif
