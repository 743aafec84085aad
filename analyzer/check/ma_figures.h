/* SPDX-License-Identifier: MIT
 *
 * The numbers of the summary under their names in REPORT.md, from an analysis or
 * from a report that `--json` wrote: what conditions and differences compare.
 * They are read from the summary as the report builds it, so that both always
 * tell the same.
 */
#ifndef MA_FIGURES_H
#define MA_FIGURES_H

#include "ma_error.h"
#include "ma_model.h"

struct ma_analysis;

struct ma_figure {
    const char *name;
    const char *alias; /* or NULL */
    enum ma_unit unit;
};
enum { MA_FIGURES = 16 };
extern const struct ma_figure ma_figure_table[MA_FIGURES];

struct ma_figures {
    uint64_t value[MA_FIGURES];
    bool known[MA_FIGURES]; /* a report of an older version may lack some */
    bool filtered;          /* of ma_figures_read: the report is about a part of its trace */
};

/* The index of the figure whose name or alias is these `length` bytes, or -1. */
int ma_figure_find(const char *name, size_t length);
/* All names with commas between, for messages. Static. */
const char *ma_figure_names(void);

/* The rows are made. Returns 0 or -ENOMEM. */
int ma_figures_of(struct ma_analysis *analysis, struct ma_figures *figures);

/* Take blocks that suppressions hide from the leaks. */
void ma_figures_hide(struct ma_figures *figures, uint64_t bytes, uint64_t blocks);

/* Whether the file begins as a JSON report does. False if it cannot be read. */
bool ma_figures_in_report(const char *path);
/* Read them from a JSON report of at most 1 GiB, without what it says is suppressed. Returns 0 or a negative errno with a
 * message. */
int ma_figures_read(const char *path, struct ma_figures *figures, struct ma_error *error);

#endif
