/* SPDX-License-Identifier: MIT
 *
 * mlog-analyze: the command. Opens the output before the work, so that what
 * cannot be written is known at once; then one pass over the trace.
 */
#include <errno.h>
#include <locale.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ma_bundle.h"
#include "ma_ci.h"
#include "ma_diff_command.h"
#include "ma_dump.h"
#include "ma_export.h"
#include "ma_flamegraph.h"
#include "ma_follow.h"
#include "ma_output.h"
#include "ma_render.h"
#include "ma_report.h"

static int report(struct ma_analysis *analysis, FILE *out, bool terminal, struct ma_error *error)
{
    const struct ma_options *options = analysis->options;
    struct ma_render_options look = {
        .frames = options->frames,
        .terminal = terminal,
    };
    struct ma_model model;
    ma_model_init(&model);
    int result = ma_report_build(analysis, &model, error);
    if (result == 0) {
        result = options->json ? ma_render_json(&model, &analysis->stacks, &look, out)
                               : ma_render_text(&model, &analysis->stacks, &look, out);
        if (result < 0)
            ma_fail_memory(error);
    }
    ma_model_free(&model);
    return result;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = text ? strlen(text) : 0, k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

/* What was asked for, but for a dump. */
static int write_result(struct ma_analysis *analysis, FILE *out, bool terminal,
                        struct ma_error *error)
{
    const struct ma_options *options = analysis->options;
    if (options->bundle)
        return ma_bundle_write(analysis, out, error);
    return options->flamegraph
               ? ma_flamegraph_write(analysis, NULL, ends_with(options->output, ".svg"), out, error)
               : report(analysis, out, terminal, error);
}

static int work(struct ma_options *options, struct ma_error *error)
{
    struct ma_analysis analysis;
    struct ma_output output = {0};
    const struct ma_dumper *dumper = options->dump ? ma_dumper_find(options->dump) : NULL;
    struct ma_dump dump = {0};
    struct ma_exports exports = {0};
    struct ma_ci ci = {0};
    FILE *spool = NULL;
    char *spool_path = NULL;
    bool doubtful = false; /* reported whole, but events are missing */
    int result = options->bundle ? ma_bundle_spool(options->trace, &spool, &spool_path, error) : 0;
    if (result < 0)
        goto spooled;
    if (spool_path)
        options->trace = spool_path;
    result = ma_analysis_open(&analysis, options, error);
    if (result < 0)
        goto out;
    if (!options->exports_only)
        result = ma_output_open(&output, options->output, error);
    if (result < 0)
        goto out;
    if (dumper) {
        if (ma_dump_begin(&dump, dumper, &analysis, output.file) < 0) {
            result = ma_fail_memory(error);
            goto out;
        }
        analysis.silent = isatty(fileno(output.file)); /* the events are what is seen */
    } else if (!options->flamegraph && !options->exports_only &&
               (result = ma_report_observe(&analysis, error)) < 0) {
        goto out;
    }
    result = ma_exports_open(&exports, &analysis, error);
    if (result == 0)
        result = ma_ci_open(&ci, &options->gate, options, error);
    if (result == 0 && !dumper && !options->bundle && ma_analysis_retire(&analysis) < 0)
        result = ma_fail_memory(error);
    if (result < 0)
        goto out;
    result = ma_analysis_run(&analysis, dumper ? &dump.pass : NULL, error);
    if (result == -EIO && dumper && ferror(output.file))
        result = 0; /* the commit says why */
    if (result < 0)
        goto out;
    if (!dumper) {
        result = ma_analysis_rows(&analysis, error);
        if (result == 0)
            result = ma_exports_write(&exports, &analysis, error);
        if (result == 0 && !options->exports_only)
            result = write_result(&analysis, output.file, isatty(fileno(output.file)), error);
        if (result == 0 && (result = ma_ci_finish(&ci, &analysis, error)) == -EILSEQ)
            doubtful = true;
        if (result < 0 && !doubtful)
            goto out;
    }
    if (!options->exports_only)
        result = ma_output_commit(&output, error);
    char damage[400];
    if (result == 0 && ma_audit_is_damaged(&analysis.trace.audit, damage, sizeof damage))
        result = ma_fail(error, -EILSEQ, "%s: %s", ma_source_name(analysis.source), damage);
    if (result == 0 && doubtful)
        result = -EILSEQ;
out:
    ma_output_discard(&output);
    ma_exports_close(&exports);
    ma_ci_close(&ci);
    ma_dump_free(&dump);
    ma_analysis_free(&analysis);
spooled:
    if (spool)
        fclose(spool);
    free(spool_path);
    return result;
}

int main(int argc, char **argv)
{
    struct ma_options options;
    struct ma_error error = {0};
    setlocale(LC_CTYPE, "C.UTF-8");
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20); /* large arrays grow in place, and go when freed */
#endif
    int status = 0;
    switch (ma_options_parse(&options, argc, argv)) {
    case MA_OPTIONS_RUN:
        if ((options.diff     ? ma_diff_command(&options, &error)
             : options.follow ? ma_follow(&options, write_result, &error)
                              : work(&options, &error)) < 0) {
            fprintf(stderr, "mlog-analyze: %s\n",
                    error.message[0] ? error.message : "an unexpected error");
            status = 1;
        } else if (options.gate.n_failed) {
            status = 3;
        }
        break;
    case MA_OPTIONS_DONE:
        if (fflush(stdout) != 0) {
            fprintf(stderr, "mlog-analyze: standard output: %s\n", strerror(errno));
            status = 1;
        }
        break;
    case MA_OPTIONS_WRONG: status = 2; break;
    }
    ma_options_free(&options);
    return status;
}
