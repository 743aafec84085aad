/* SPDX-License-Identifier: MIT
 *
 * The numbers of the summary under their names in REPORT.md, from an analysis or
 * from a report that `--json` wrote: what conditions and differences compare.
 * They are read from the summary as the report builds it, so that both always
 * tell the same; leaked bytes of a kind are those of the verdict.
 */
#ifndef MA_METRICS_H
#define MA_METRICS_H

#include "ma_error.h"
#include "ma_model.h"

struct ma_analysis;

struct ma_metric {
    const char *name;
    const char *alias; /* or NULL */
    enum ma_unit unit;
    const char *kind; /* NULL: a number of the summary; or a member of the verdict's `bytes`; of
                       * growth "", what the program's assertions are about */
};
enum { MA_METRICS = 20 };
extern const struct ma_metric ma_metric_table[MA_METRICS];

struct ma_metrics {
    uint64_t value[MA_METRICS];
    bool known[MA_METRICS]; /* a report of an older version may lack some */
    bool filtered;          /* of ma_metrics_read: the report is about a part of its trace */
};

/* The index of the metric whose name or alias is these `length` bytes, or -1. */
int ma_metric_find(const char *name, size_t length);
/* All names with commas between, for messages. Static. */
const char *ma_metric_names(void);

/* Those of the summary; the others are unknown. Requires the rows. Returns 0 or -ENOMEM. */
int ma_metrics_of(struct ma_analysis *analysis, struct ma_metrics *metrics);

/* Set the leaked bytes of each kind, those that are hidden left out. */
struct ma_leaks;
void ma_metrics_add_kinds(struct ma_metrics *metrics, const struct ma_analysis *analysis,
                          const struct ma_leaks *leaks);

/* Set what the program's assertions tell, if there are any. */
void ma_metrics_add_growth(struct ma_metrics *metrics, const struct ma_analysis *analysis);

/* Take blocks that suppressions hide from the leaks. */
void ma_metrics_hide(struct ma_metrics *metrics, uint64_t bytes, uint64_t blocks);

/* True if the file begins as a JSON report does; false if it cannot be read. */
bool ma_metrics_in_report(const char *path);
/* Read them from a JSON report of at most 1 GiB, without what it says is suppressed. Returns 0 or a
 * negative errno with a message. */
int ma_metrics_read(const char *path, struct ma_metrics *metrics, struct ma_error *error);

#endif
