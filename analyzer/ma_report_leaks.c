/* SPDX-License-Identifier: MIT
 *
 * Leaks: blocks live at the end of the process that allocated them.
 */
#include "ma_report.h"

static struct ma_measure measure(const struct ma_row *row)
{
    return (struct ma_measure){ row->leaked_bytes, row->leaked_blocks };
}

int ma_report_leaks(struct ma_analysis *analysis, struct ma_model *model)
{
    static const struct ma_stack_report report = {
        .key = "leaks",
        .title = "Leaks",
        .blocks_title = "blocks",
        .none = "Every block was freed.",
        .measure = measure,
    };
    return ma_report_stacks(analysis, model, &report);
}
