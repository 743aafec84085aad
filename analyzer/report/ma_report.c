/* SPDX-License-Identifier: MIT
 *
 * The table of reports and the order in which they are built.
 */
#include "ma_report.h"

#include <errno.h>

const struct ma_report ma_reports[] = {
    {.name = "trace", .always = true, .build = ma_report_trace},
    {.name = "filter", .always = true, .build = ma_report_filter},
    {.name = "verdict", .usual = true, .always = true, .build = ma_report_verdict},
    {.name = "summary",
     .help = "totals of the run",
     .usual = true,
     .always = true,
     .build = ma_report_summary},
    {.name = "leaks",
     .help = "blocks that were never freed, by stack",
     .usual = true,
     .build = ma_report_leaks},
    {.name = "peak",
     .help = "what the heap held when it was largest, by stack",
     .usual = true,
     .build = ma_report_peak},
    {.name = "allocations", .help = "all allocations, by stack", .build = ma_report_allocations},
    {.name = "timeline",
     .help = "the heap over time",
     .build = ma_report_timeline,
     .observe = ma_report_timeline_observe},
    {.name = "per-process",
     .help = "leaks and peak of each process by itself",
     .build = ma_report_processes,
     .observe = ma_report_processes_observe},
    {.name = "temporary",
     .help = "blocks that were freed at once, by stack",
     .build = ma_report_temporary,
     .observe = ma_report_temporary_observe,
     .value = "[N]",
     .parse = ma_report_temporary_parse},
    {.name = "churn",
     .help = "bytes allocated and freed, by stack",
     .build = ma_report_churn,
     .observe = ma_report_churn_observe},
    {.name = "sizes",
     .help = "how large the blocks are, as a histogram",
     .build = ma_report_sizes,
     .observe = ma_report_sizes_observe},
    {.name = "lifetimes",
     .help = "how long blocks live, as histograms",
     .build = ma_report_lifetimes,
     .observe = ma_report_lifetimes_observe},
    {.name = "threads",
     .help = "what each thread does, and who frees whose blocks",
     .build = ma_report_threads,
     .observe = ma_report_threads_observe},
    {.name = "reallocs",
     .help = "blocks that grow step by step, by stack",
     .build = ma_report_reallocs,
     .observe = ma_report_reallocs_observe},
    {.name = "snapshots",
     .help = "by stack, every so often: churn:BYTES, time:SECONDS, marks",
     .build = ma_report_snapshots,
     .observe = ma_report_snapshots_observe,
     .value = "WHEN",
     .parse = ma_report_snapshots_parse},
    {.name = "callers",
     .help = "who calls a function on the way to allocations",
     .build = ma_report_callers,
     .value = "FUNCTION",
     .parse = ma_report_callers_parse},
    {.name = "callees",
     .help = "what it calls on the way to allocations",
     .build = ma_report_callees,
     .value = "FUNCTION",
     .parse = ma_report_callees_parse},
    {.name = "tree",
     .help = "call tree with shares: from main, or bottom-up",
     .build = ma_report_tree,
     .value = "[HOW]",
     .parse = ma_report_tree_parse},
    {.name = "audit", .usual = true, .always = true, .build = ma_report_audit},
};
const size_t ma_report_count = sizeof ma_reports / sizeof *ma_reports;

/* People get the audit with every report, machines all that is always there. */
static bool is_wanted(const struct ma_request *request, size_t i)
{
    const struct ma_report *report = &ma_reports[i];
    bool wanted = request->reports ? request->reports >> i & 1 : report->usual;
    return wanted ||
           (request->json ? report->always
                          : report->build == ma_report_audit ||
                                (request->filter.active && report->build == ma_report_filter));
}

int ma_report_observe(struct ma_analysis *analysis, struct ma_error *error)
{
    for (size_t i = 0; i < ma_report_count; i++) {
        if (is_wanted(analysis->request, i) && ma_reports[i].observe &&
            ma_reports[i].observe(analysis) < 0)
            return ma_fail_memory(error);
    }
    return 0;
}

int ma_report_build(struct ma_analysis *analysis, struct ma_model *model, struct ma_error *error)
{
    const struct ma_request *request = analysis->request;
    int result = 0;
    for (size_t i = 0; i + 1 < ma_report_count && result == 0; i++) {
        if (is_wanted(request, i) && !(request->reports >> i & 1))
            result = ma_reports[i].build(analysis, model);
    }
    for (size_t i = 0; i < request->n_reports && result == 0; i++)
        result = ma_reports[request->order[i]].build(analysis, model);
    if (result == 0)
        result = ma_reports[ma_report_count - 1].build(analysis, model);
    if (result < 0)
        return ma_fail_memory(error);
    return model->failed ? ma_fail_memory(error) : 0;
}
