/* SPDX-License-Identifier: MIT
 *
 * The table of reports and the order in which they are built.
 */
#include "ma_report.h"

#include <errno.h>

const struct ma_report ma_reports[] = {
    { "trace", NULL, false, true, ma_report_trace },
    { "summary", "totals of the run", true, true, ma_report_summary },
    { "leaks", "blocks that were never freed, by stack", true, false, ma_report_leaks },
    { "peak", "what the heap held when it was largest, by stack", true, false, ma_report_peak },
    { "allocations", "all allocations, by stack", false, false, ma_report_allocations },
    { "timeline", "the heap over time", false, false, ma_report_timeline },
    { "audit", NULL, true, true, ma_report_audit },
};
const size_t ma_report_count = sizeof ma_reports / sizeof *ma_reports;

int ma_report_build(struct ma_analysis *analysis, struct ma_model *model, struct ma_error *error)
{
    const struct ma_options *options = analysis->options;
    for (size_t i = 0; i < ma_report_count; i++) {
        const struct ma_report *report = &ma_reports[i];
        bool wanted = options->reports ? options->reports >> i & 1 : report->usual;
        /* People get the audit with every report, machines all that is always there. */
        wanted |= options->json ? report->always : report->build == ma_report_audit;
        if (wanted && report->build(analysis, model) < 0)
            return ma_fail_memory(error);
    }
    return model->failed ? ma_fail_memory(error) : 0;
}
