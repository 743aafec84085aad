/* SPDX-License-Identifier: MIT
 *
 * Two analyses side by side, stack by stack. A stack of one is that of the other if
 * it has the same functions in modules of the same name, wherever they lie and
 * whatever was inlined: so a program that was built again compares with itself. The
 * report and the command use it.
 */
#ifndef MA_DIFF_H
#define MA_DIFF_H

#include "ma_export_strings.h"
#include "ma_metrics.h"
#include "ma_model.h"
#include "ma_report.h"

enum { MA_OLD, MA_NEW, MA_SIDES };
enum { MA_DIFF_LEAKS, MA_DIFF_PEAK, MA_DIFF_ALLOCATIONS, MA_DIFF_COSTS };

struct ma_diff_row {
    uint32_t stack[MA_SIDES]; /* one of those that count here, MA_NONE: none */
    struct ma_measure cost[MA_SIDES][MA_DIFF_COSTS];
};

struct ma_diff {
    struct ma_analysis *sides[MA_SIDES];
    struct ma_metrics metrics[MA_SIDES];
    const char *program[MA_SIDES]; /* the only executable of the trace, or NULL */
    uint64_t nameless[MA_SIDES];   /* stacks with a frame that only its module stands for */
    struct ma_strings keys;        /* what tells stacks apart, by number of the row */
    struct ma_diff_row *rows;
    size_t n_rows, row_capacity;
};

/* Match the rows of both, which are made; metrics are the caller's to set. The
 * analyses must outlive it. Returns 0 or -ENOMEM; free in either case. */
int ma_diff_build(struct ma_diff *diff, struct ma_analysis *old, struct ma_analysis *new);
void ma_diff_free(struct ma_diff *diff);

/* The report, as far as the options of the new side ask for. Returns 0 or -ENOMEM. */
int ma_report_diff(struct ma_diff *diff, struct ma_model *model);

#endif
