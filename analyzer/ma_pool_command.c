/* SPDX-License-Identifier: MIT
 *
 * The run of --pool over several traces; see ma_pool_command.h. One trace after the other is
 * analysed, and of each only the numbers of its report are kept.
 */
#include "ma_pool_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ma_output.h"
#include "ma_render.h"
#include "ma_report.h"
#include "ma_text.h"

struct needed {
    const char *trace;
    char *setting; /* "" where nothing was allocated */
    uint64_t bytes;
    bool threads;
};

static int read_numbers(struct ma_analysis *analysis, struct needed *needed, struct ma_error *error)
{
    struct ma_model model;
    ma_model_init(&model);
    int result = ma_report_build(analysis, &model, error);
    const struct ma_value *pool = ma_model_find(&model.root, "pool");
    if (result == 0 && (!pool || model.failed))
        result = ma_fail_memory(error);
    if (result == 0) {
        const struct ma_value *setting = ma_model_find(pool, "setting");
        const struct ma_value *threads = ma_model_find(pool, "threads");
        needed->bytes = ma_model_find(pool, "initial_bytes")->number;
        needed->setting = strdup(setting ? setting->text : "");
        needed->threads = threads && threads->number;
        if (!needed->setting)
            result = ma_fail_memory(error);
    }
    ma_model_free(&model);
    return result;
}

static int read_trace(const struct ma_request *request, struct needed *needed,
                      struct ma_error *error)
{
    struct ma_request one = *request;
    struct ma_analysis analysis;
    char damage[400];
    one.trace = needed->trace;
    one.symbols = false;
    int result = ma_analysis_open(&analysis, &one, error);
    if (result == 0)
        result = ma_report_observe(&analysis, error);
    if (result == 0)
        result = ma_analysis_run(&analysis, NULL, error);
    if (result == 0)
        result = ma_analysis_rows(&analysis, error);
    if (result == 0)
        result = read_numbers(&analysis, needed, error);
    if (result == 0 && ma_audit_is_damaged(&analysis.trace.audit, damage, sizeof damage))
        result = ma_fail(error, -EILSEQ, "%s: %s", needed->trace, damage);
    ma_analysis_free(&analysis);
    return result;
}

static int write_pools(const struct ma_request *request, const struct needed *all, size_t n,
                       FILE *out, struct ma_error *error)
{
    const struct ma_render_options look = {.terminal = isatty(fileno(out))};
    const struct needed *largest = &all[0];
    bool threads = false;
    char bytes[MA_HUMAN_SIZE];
    struct ma_model model;
    for (size_t i = 0; i < n; i++) {
        largest = all[i].bytes > largest->bytes ? &all[i] : largest;
        threads |= all[i].threads;
    }
    ma_model_init(&model);
    struct ma_value *object = ma_model_object(&model, &model.root, "pools", "Pools", MA_FIELDS);
    ma_model_note(
        &model, object, "INITIAL_MEMPOOL_SIZE=%s (%s) holds each of these %zu runs; %s needs it.%s",
        largest->setting[0] ? largest->setting : "4K", ma_human_bytes(bytes, largest->bytes), n,
        largest->trace,
        threads ? " Several threads allocated: another run may need more, take a margin." : "");
    ma_model_number(&model, object, "initial_bytes", NULL, MA_BYTES, largest->bytes);
    ma_model_text(&model, object, "setting", NULL, largest->setting);
    ma_model_text(&model, object, "trace", NULL, largest->trace);
    struct ma_value *array = ma_model_array(&model, object, "traces", "", MA_TABLE);
    for (size_t i = 0; i < n; i++) {
        struct ma_value *row = ma_model_object(&model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(&model, row, "initial_bytes", "pool", MA_BYTES, all[i].bytes);
        ma_model_text(&model, row, "setting", "INITIAL_MEMPOOL_SIZE", all[i].setting);
        ma_model_boolean(&model, row, "threads", NULL, all[i].threads);
        ma_model_text(&model, row, "trace", "trace", all[i].trace);
    }
    struct ma_stacks none = {0};
    int result = model.failed    ? -ENOMEM
                 : request->json ? ma_render_json(&model, &none, &look, out)
                                 : ma_render_text(&model, &none, &look, out);
    ma_model_free(&model);
    return result < 0 ? ma_fail_memory(error) : 0;
}

int ma_pool_command(const struct ma_request *request, struct ma_error *error)
{
    const size_t n = request->n_traces;
    struct needed *all = calloc(n, sizeof *all);
    struct ma_output output = {0};
    int result = all ? ma_output_open(&output, request->output, error) : ma_fail_memory(error);
    for (size_t i = 0; i < n && result == 0; i++) {
        all[i].trace = request->traces[i];
        result = read_trace(request, &all[i], error);
    }
    if (result == 0)
        result = write_pools(request, all, n, output.file, error);
    if (result == 0)
        result = ma_output_commit(&output, error);
    ma_output_discard(&output);
    for (size_t i = 0; all && i < n; i++)
        free(all[i].setting);
    free(all);
    return result;
}
