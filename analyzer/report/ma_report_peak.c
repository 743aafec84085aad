/* SPDX-License-Identifier: MIT
 *
 * Peak: what the joint heap of all processes held when it was largest.
 */
#include "ma_report.h"

static struct ma_measure peak_measure(const struct ma_row *row)
{
    return (struct ma_measure){row->peak_bytes, row->peak_blocks};
}

static int build_peak(struct ma_analysis *analysis, struct ma_model *model)
{
    static const struct ma_stack_report report = {
        .key = "peak",
        .title = "Peak",
        .blocks_title = "blocks",
        .none = "No block was ever allocated.",
        .measure = peak_measure,
    };
    return ma_report_stacks(analysis, model, &report);
}

const struct ma_report ma_report_peak = {
    .name = "peak",
    .help = "what the heap held when it was largest, by stack",
    .usual = true,
    .build = build_peak,
};
