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
#include <sys/stat.h>
#include <unistd.h>

#include "ma_bundle.h"
#include "ma_ci.h"
#include "ma_diff_command.h"
#include "ma_dump.h"
#include "ma_export.h"
#include "ma_flamegraph.h"
#include "ma_follow.h"
#include "ma_nothing.h"
#include "ma_options.h"
#include "ma_output.h"
#include "ma_pool_command.h"
#include "ma_render.h"
#include "ma_report.h"

static int report(struct ma_analysis *analysis, FILE *out, bool terminal, struct ma_error *error)
{
    const struct ma_request *request = analysis->request;
    struct ma_render_options look = {
        .frames = request->frames,
        .fold = !request->frames_given,
        .terminal = terminal,
    };
    struct ma_model model;
    ma_model_init(&model);
    int result = ma_report_build(analysis, &model, error);
    if (result == 0) {
        result = request->json ? ma_render_json(&model, &analysis->stacks, &look, out)
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

/* Write the result that was asked for: anything but a dump. */
static int write_result(struct ma_analysis *analysis, FILE *out, bool terminal,
                        struct ma_error *error)
{
    const struct ma_request *request = analysis->request;
    if (request->bundle)
        return ma_bundle_write(analysis, out, error);
    return request->flamegraph
               ? ma_flamegraph_write(analysis, NULL, ends_with(request->output, ".svg"), out, error)
               : report(analysis, out, terminal, error);
}

/* Copy an input that can be read once only for a bundle, whose writing reads it
 * again; the request is then about the copy. Returns the number of conditions of
 * --fail-on that hold, or a negative errno with a message. */
static int work(const struct ma_request *wanted, struct ma_error *error)
{
    struct ma_request of_copy = *wanted;
    const struct ma_request *request = wanted;
    struct ma_analysis analysis;
    struct ma_output output = {0};
    const struct ma_dumper *dumper = request->dump;
    struct ma_dump dump = {0};
    struct ma_exports exports = {0};
    struct ma_ci ci = {0};
    FILE *spool = NULL;
    char *spool_path = NULL;
    bool doubtful = false; /* reported whole, but events are missing */
    int result = request->bundle ? ma_bundle_spool(request->trace, &spool, &spool_path, error) : 0;
    if (result < 0)
        goto spooled;
    if (spool_path) {
        of_copy.trace = spool_path;
        request = &of_copy;
    }
    result = ma_analysis_open(&analysis, request, error);
    if (result < 0)
        goto out;
    if (!request->exports_only)
        result = ma_output_open(&output, request->output, error);
    if (result < 0)
        goto out;
    if (dumper) {
        if (ma_dump_begin(&dump, dumper, &analysis, output.file) < 0) {
            result = ma_fail_memory(error);
            goto out;
        }
        analysis.silent = isatty(fileno(output.file)); /* the events are what is seen */
    } else if (!request->flamegraph && !request->exports_only &&
               (result = ma_report_observe(&analysis, error)) < 0) {
        goto out;
    }
    result = ma_exports_open(&exports, &analysis, error);
    if (result == 0)
        result = ma_ci_open(&ci, request, error);
    if (result == 0 && !dumper && !request->bundle && ma_analysis_retire(&analysis) < 0)
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
        if (result == 0 && !request->exports_only)
            result = write_result(&analysis, output.file, isatty(fileno(output.file)), error);
        if (result == 0 && (result = ma_ci_finish(&ci, &analysis, error)) == -EILSEQ)
            doubtful = true;
        if (result < 0 && !doubtful)
            goto out;
    }
    if (!request->exports_only)
        result = ma_output_commit(&output, error);
    char damage[400];
    if (result == 0 && ma_audit_is_damaged(&analysis.trace.audit, damage, sizeof damage))
        result = ma_fail(error, -EILSEQ, "%s: %s", ma_source_name(analysis.source), damage);
    if (result == 0 && doubtful)
        result = -EILSEQ;
    if (result == 0 && !dumper)
        result = ma_nothing_check(&analysis, error);
    if (result == 0)
        result = (int)ci.gate.n_failed;
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

/* True if the output is a regular file that is also the input, by whatever names. */
static bool is_same_file(const char *output, const char *input, int input_fd)
{
    struct stat in, out;
    if (!output || strcmp(output, "-") == 0 || stat(output, &out) < 0 || !S_ISREG(out.st_mode))
        return false;
    int found = input_fd > 0              ? fstat(input_fd, &in)
                : !input                  ? -1
                : strcmp(input, "-") == 0 ? fstat(STDIN_FILENO, &in)
                                          : stat(input, &in);
    return found == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

static bool is_one_of(const char *output, const struct ma_request *request)
{
    for (size_t i = 1; i < request->n_traces; i++)
        if (is_same_file(output, request->traces[i], 0))
            return true;
    return false;
}

/* Returns the option whose file would replace what is to be read, which cannot be got
 * again; or NULL. */
static const char *overwriting(const struct ma_request *request, const char **file)
{
    const struct {
        const char *option, *file;
    } fixed[] = {{"--bundle", request->bundle_output}, /* becomes the output */
                 {"-o", request->output},
                 {"--junit", request->junit},
                 {"--sarif", request->sarif}};
    const size_t n = sizeof fixed / sizeof *fixed;
    for (size_t i = 0; i < n + request->n_exports; i++) {
        *file = i < n ? fixed[i].file : request->exports[i - n].file;
        if (is_same_file(*file, request->trace, request->trace_fd) ||
            is_same_file(*file, request->diff_old, 0) || is_one_of(*file, request) ||
            is_same_file(*file, request->baseline, 0))
            return i < n ? fixed[i].option : "--export";
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct ma_request request;
    struct ma_error error = {0};
    ma_command_set(argv[0]);
    setlocale(LC_CTYPE, "C.UTF-8");
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20); /* large arrays grow in place, and go when freed */
#endif
    const char *option, *file;
    int status = 0, result;
    switch (ma_options_parse(&request, argc, argv)) {
    case MA_OPTIONS_RUN:
        option = overwriting(&request, &file);
        if (option) {
            fprintf(stderr,
                    "%s: %s: is what is to be read, and would be replaced: give %s "
                    "another name\n",
                    ma_command, file, option);
            status = 2;
            break;
        }
        result = request.diff           ? ma_diff_command(&request, &error)
                 : request.n_traces > 1 ? ma_pool_command(&request, &error)
                 : request.follow       ? ma_follow(&request, write_result, &error)
                                        : work(&request, &error);
        if (request.page && result >= 0 && strcmp(request.page, "-") != 0)
            fprintf(stderr, "%s: the page is %s: open it in a browser\n", ma_command, request.page);
        if (result < 0) {
            fprintf(stderr, "%s: %s\n", ma_command,
                    error.message[0] ? error.message : "an unexpected error");
            status = result == -ENOMSG ? 2 : 1; /* a filter that nothing matches is mistyped */
        } else if (result > 0) {
            status = 3;
        }
        break;
    case MA_OPTIONS_DONE:
        if (fflush(stdout) != 0) {
            fprintf(stderr, "%s: standard output: %s\n", ma_command, strerror(errno));
            status = 1;
        }
        break;
    case MA_OPTIONS_WRONG: status = 2; break;
    }
    ma_options_free(&request);
    return status;
}
