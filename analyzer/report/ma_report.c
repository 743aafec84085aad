/* SPDX-License-Identifier: MIT
 *
 * The table of reports and the order in which they are built.
 */
#include "ma_report.h"

#include <errno.h>

const struct ma_report *const ma_reports[] = {
#define ROW(name) &ma_report_##name,
    MA_REPORTS(ROW)
#undef ROW
};
const size_t ma_report_count = sizeof ma_reports / sizeof *ma_reports;
_Static_assert(sizeof ma_reports / sizeof *ma_reports <= MA_REPORTS_MAX, "the request has bits");

/* True if a report was asked for with which nothing comes unasked. */
static bool is_alone(const struct ma_request *request)
{
    for (size_t i = 0; i < request->n_reports; i++)
        if (ma_reports[request->order[i]]->alone)
            return true;
    return false;
}

/* People get the audit with every report, machines all that is always there. */
static bool is_wanted(const struct ma_request *request, size_t i)
{
    const struct ma_report *report = ma_reports[i];
    bool wanted = request->reports ? request->reports >> i & 1 : report->usual;
    if (wanted || is_alone(request))
        return wanted;
    return (request->json ? report->always
                          : report == &ma_report_audit ||
                                (request->filter.active && report == &ma_report_filter));
}

int ma_report_observe(struct ma_analysis *analysis, struct ma_error *error)
{
    for (size_t i = 0; i < ma_report_count; i++) {
        const bool judged =
            analysis->request->judges_growth && ma_reports[i] == &ma_report_savepoints;
        if ((judged || is_wanted(analysis->request, i)) && ma_reports[i]->observe &&
            ma_reports[i]->observe(analysis) < 0)
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
            result = ma_reports[i]->build(analysis, model);
    }
    for (size_t i = 0; i < request->n_reports && result == 0; i++)
        result = ma_reports[request->order[i]]->build(analysis, model);
    if (result == 0 && !is_alone(request))
        result = ma_reports[ma_report_count - 1]->build(analysis, model);
    if (result < 0)
        return ma_fail_memory(error);
    return model->failed ? ma_fail_memory(error) : 0;
}
