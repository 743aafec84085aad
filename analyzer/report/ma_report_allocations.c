/* SPDX-License-Identifier: MIT
 *
 * Allocations: all blocks that were ever created, by stack.
 */
#include "ma_report.h"

static struct ma_measure allocated_measure(const struct ma_row *row)
{
    return (struct ma_measure){row->bytes, row->calls};
}

static int build_allocations(struct ma_analysis *analysis, struct ma_model *model)
{
    static const struct ma_stack_report report = {
        .key = "allocations",
        .title = "Allocations",
        .blocks_title = "calls",
        .none = "No block was ever allocated.",
        .measure = allocated_measure,
    };
    return ma_report_stacks(analysis, model, &report);
}

const struct ma_report ma_report_allocations = {
    .name = "allocations",
    .help = "all allocations, by stack",
    .build = build_allocations,
};
