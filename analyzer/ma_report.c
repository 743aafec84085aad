/* SPDX-License-Identifier: MIT
 *
 * The table of reports and the order in which they are built.
 */
#include "ma_report.h"

#include <errno.h>

const struct ma_report ma_reports[] = {
    { "trace", NULL, false, true, ma_report_trace, NULL },
    { "filter", NULL, false, true, ma_report_filter, NULL },
    { "summary", "totals of the run", true, true, ma_report_summary, NULL },
    { "leaks", "blocks that were never freed, by stack", true, false, ma_report_leaks,
      NULL },
    { "peak", "what the heap held when it was largest, by stack", true, false, ma_report_peak,
      NULL },
    { "allocations", "all allocations, by stack", false, false, ma_report_allocations, NULL },
    { "timeline", "the heap over time", false, false, ma_report_timeline,
      ma_report_timeline_observe },
    { "per-process", "leaks and peak of each process by itself", false, false,
      ma_report_processes, ma_report_processes_observe },
    { "audit", NULL, true, true, ma_report_audit, NULL },
};
const size_t ma_report_count = sizeof ma_reports / sizeof *ma_reports;

/* People get the audit with every report, machines all that is always there. */
static bool is_wanted(const struct ma_options *options, size_t i)
{
    const struct ma_report *report = &ma_reports[i];
    bool wanted = options->reports ? options->reports >> i & 1 : report->usual;
    return wanted || (options->json ? report->always
                                    : report->build == ma_report_audit ||
                                          (options->filter.active &&
                                           report->build == ma_report_filter));
}

int ma_report_observe(struct ma_analysis *analysis, struct ma_error *error)
{
    for (size_t i = 0; i < ma_report_count; i++) {
        if (is_wanted(analysis->options, i) && ma_reports[i].observe &&
            ma_reports[i].observe(analysis) < 0)
            return ma_fail_memory(error);
    }
    return 0;
}

int ma_report_build(struct ma_analysis *analysis, struct ma_model *model, struct ma_error *error)
{
    for (size_t i = 0; i < ma_report_count; i++) {
        if (is_wanted(analysis->options, i) && ma_reports[i].build(analysis, model) < 0)
            return ma_fail_memory(error);
    }
    return model->failed ? ma_fail_memory(error) : 0;
}
