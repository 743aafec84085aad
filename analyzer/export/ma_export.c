/* SPDX-License-Identifier: MIT
 *
 * The table of exporters, and the exports of one run: outputs opened before
 * the work, written after it, each whole or not at all.
 */
#include "ma_export.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "ma_report.h"

const struct ma_exporter *const ma_exporters[] = {
#define ROW(name) &ma_exporter_##name,
    MA_EXPORTERS(ROW)
#undef ROW
};
const size_t ma_exporter_count = sizeof ma_exporters / sizeof *ma_exporters;

const struct ma_exporter *ma_exporter_find(const char *name, size_t length)
{
    for (size_t i = 0; i < ma_exporter_count; i++) {
        if (strlen(ma_exporters[i]->name) == length &&
            strncmp(ma_exporters[i]->name, name, length) == 0)
            return ma_exporters[i];
    }
    return NULL;
}

const char *ma_exporter_names(void)
{
    static char names[256];
    char *at = names;
    for (size_t i = 0; i < ma_exporter_count && at == names + strlen(names); i++)
        at += snprintf(at, sizeof names - (size_t)(at - names), "%s%s", i ? ", " : "",
                       ma_exporters[i]->name);
    return names;
}

int ma_exports_open(struct ma_exports *exports, struct ma_analysis *analysis,
                    struct ma_error *error)
{
    const struct ma_request *request = analysis->request;
    memset(exports, 0, sizeof *exports);
    for (size_t i = 0; i < request->n_exports; i++) {
        const struct ma_export_request *wanted = &request->exports[i];
        struct ma_export_job *job = &exports->jobs[exports->n++];
        job->exporter = wanted->exporter;
        int result =
            job->exporter->may_replace ? job->exporter->may_replace(wanted->file, error) : 0;
        if (result == 0)
            result = ma_output_open(&job->output, wanted->file, error);
        if (result < 0)
            return result;
        if (job->exporter->binary && isatty(fileno(job->output.file)))
            return ma_fail(error, -EINVAL,
                           "--export %s: is not for a terminal; name a file with "
                           "--export %s=FILE, or redirect the output",
                           job->exporter->name, job->exporter->name);
        if (job->exporter->timeline && !analysis->timeline &&
            ma_report_timeline.observe(analysis) < 0)
            return ma_fail_memory(error);
        if (job->exporter->begin &&
            job->exporter->begin(analysis, job->output.file, &job->state) < 0)
            return ma_fail_memory(error);
        const char *problem = job->exporter->problem ? job->exporter->problem(job->state) : NULL;
        if (problem)
            return ma_fail(error, -EIO, "%s: cannot write: %s", wanted->file, problem);
    }
    return 0;
}

int ma_exports_write(struct ma_exports *exports, struct ma_analysis *analysis,
                     struct ma_error *error)
{
    for (size_t i = 0; i < exports->n; i++) {
        struct ma_export_job *job = &exports->jobs[i];
        int result = job->exporter->write(analysis, job->state, job->output.file);
        const char *problem = job->exporter->problem ? job->exporter->problem(job->state) : NULL;
        if (problem)
            return ma_fail(error, result, "%s: cannot write: %s", job->output.path, problem);
        if (result == -ENOMEM)
            return ma_fail_memory(error);
        if (result < 0 && !ferror(job->output.file))
            return ma_fail(error, result, "--export %s: the format cannot hold this trace: %s",
                           job->exporter->name, strerror(-result));
        result = ma_output_commit(&job->output, error);
        if (result < 0)
            return result;
    }
    return 0;
}

void ma_exports_close(struct ma_exports *exports)
{
    for (size_t i = 0; i < exports->n; i++) {
        struct ma_export_job *job = &exports->jobs[i];
        if (job->state)
            job->exporter->end(job->state);
        ma_output_discard(&job->output);
    }
    exports->n = 0;
}
