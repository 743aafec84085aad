/* SPDX-License-Identifier: MIT
 *
 * Leaks: blocks live at the end of the process that allocated them, those first
 * that were still growing: by the bytes they will hold an hour later.
 */
#include <errno.h>
#include <stdio.h>

#include "ma_label.h"
#include "ma_leaks.h"
#include "ma_report.h"
#include "ma_text.h"

static struct ma_measure leaked_measure(const struct ma_row *row)
{
    return (struct ma_measure){row->leaked_bytes, row->leaked_blocks};
}

static const struct ma_leak *leak_of(struct ma_analysis *analysis, const struct ma_row *row)
{
    return &analysis->leaks->of[row - analysis->rows];
}

static int compare_leaks(struct ma_analysis *analysis, const struct ma_row *a,
                         const struct ma_row *b)
{
    const struct ma_leak *x = leak_of(analysis, a), *y = leak_of(analysis, b);
    if (x->trend.kind != y->trend.kind)
        return x->trend.kind < y->trend.kind ? -1 : 1;
    if (x->trend.kind != MA_TREND_GROWING)
        return 0;
    double p = ma_leak_projected(x, a->leaked_bytes), q = ma_leak_projected(y, b->leaked_bytes);
    return p > q ? -1 : p < q;
}

/* The first frame of the program itself, where the label names another's. */
static void add_own(struct ma_model *model, struct ma_value *entry, const struct ma_frame *frames,
                    size_t n)
{
    char buffer[256];
    size_t own = n ? ma_label_own_frame(frames, n) : 0;
    struct ma_value *one = ma_model_object(model, entry, "own_frame", NULL, MA_FIELDS);
    const struct ma_frame *frame = own < n ? &frames[own] : NULL;
    ma_model_text(model, one, "function", NULL, frame ? frame->function : NULL);
    ma_model_text(model, one, "module", NULL, frame ? frame->module : NULL);
    ma_model_text(model, one, "file", NULL, frame ? frame->file : NULL);
    if (frame && frame->line)
        ma_model_number(model, one, "line", NULL, MA_PLAIN, frame->line);
    else
        ma_model_null(model, one, "line");
    if (!frame || own == ma_label_frame(frames, n))
        return;
    const char *name = ma_frame_name(frame, buffer, sizeof buffer);
    if (frame->file && frame->line)
        ma_model_format(model, entry, NULL, "your code:", "%s, %s:%u", name,
                        ma_label_short_path(frame->file), frame->line);
    else
        ma_model_text(model, entry, NULL, "your code:", name);
}

/* Of several processes' blocks: which one holds most of them. */
static void add_process(const struct ma_analysis *analysis, struct ma_model *model,
                        struct ma_value *entry, const struct ma_row *row)
{
    const struct ma_process *process = ma_leak_process(analysis, row);
    char command[MA_COMMAND_SIZE], others[MA_COUNTED_SIZE], buffer[MA_PROCESS_NAME];
    if (analysis->trace.n_processes < 2)
        return;
    ma_report_command(process, true, command);
    const char *name = ma_process_name(&analysis->trace, process, buffer);
    if (row->holders > 1)
        ma_model_format(model, entry, NULL, "process:", "%s (%s) holds most, %s do", name, command,
                        ma_human_counted(others, row->holders, "process"));
    else
        ma_model_format(model, entry, NULL, "process:", "%s (%s)", name, command);
}

static int describe_leak(struct ma_analysis *analysis, struct ma_model *model,
                         struct ma_value *entry, const struct ma_row *row)
{
    const struct ma_leak *leak = leak_of(analysis, row);
    const struct ma_trend *trend = &leak->trend;
    char reason[MA_REASON_SIZE], thread[160] = "";
    static const char *const shown[MA_TRENDS] = {
        [MA_TREND_GROWING] = "GROWING:",  [MA_TREND_UNCLEAR] = "unclear:",
        [MA_TREND_YOUNG] = "young:",      [MA_TREND_PLATEAU] = "plateau:",
        [MA_TREND_STARTUP] = "start-up:",
    };
    ma_leak_reason(leak, row, reason);
    ma_model_text(model, entry, "kind", NULL, ma_trend_name(trend->kind));
    ma_model_real(model, entry, "confidence", NULL, MA_PLAIN, trend->confidence);
    if (trend->kind == MA_TREND_UNCLEAR || trend->kind == MA_TREND_YOUNG)
        ma_model_null(model, entry, "slope_bytes_per_s");
    else
        ma_model_real(model, entry, "slope_bytes_per_s", NULL, MA_PLAIN, trend->slope);
    ma_model_number(model, entry, "oldest_ns", NULL, MA_NANOSECONDS, leak->oldest);
    ma_model_number(model, entry, "youngest_ns", NULL, MA_NANOSECONDS, leak->youngest);
    ma_model_number(model, entry, "threads", NULL, MA_COUNT, leak->threads);
    if (leak->thread)
        ma_model_number(model, entry, "thread", NULL, MA_PLAIN, leak->thread->tid);
    else
        ma_model_null(model, entry, "thread");
    ma_model_number(model, entry, "processes", NULL, MA_COUNT, row->holders);
    const struct ma_process *process = ma_leak_process(analysis, row);
    ma_model_number(model, entry, "pid", NULL, MA_PLAIN, ma_process_pid(process));
    ma_model_number(model, entry, "process", NULL, MA_PLAIN, process->index);
    ma_model_text(model, entry, "reason", NULL, reason);
    const struct ma_frame *frames;
    long n = ma_stacks_frames(&analysis->stacks, row->stack, &frames);
    if (n < 0)
        return -ENOMEM;
    /* The thread is worth a word if it is not the only one. */
    if (leak->thread && leak->threads == 1 && leak->thread->tid &&
        leak->thread->tid != ma_process_pid(leak->thread->process))
        snprintf(thread, sizeof thread, "; all by thread %llu%s%.60s%s",
                 (unsigned long long)leak->thread->tid,
                 leak->thread->name && *leak->thread->name ? " (" : "",
                 leak->thread->name ? leak->thread->name : "",
                 leak->thread->name && *leak->thread->name ? ")" : "");
    else if (leak->threads > 1)
        snprintf(thread, sizeof thread, "; by %u threads", leak->threads);
    ma_model_format(model, entry, NULL, shown[trend->kind], "%s%s", reason, thread);
    add_process(analysis, model, entry, row);
    add_own(model, entry, frames, (size_t)n);
    return 0;
}

static const char *kind_of(struct ma_analysis *analysis, const struct ma_row *row)
{
    const enum ma_trend_kind kind = leak_of(analysis, row)->trend.kind;
    return kind == MA_TREND_GROWING ? "GROWING" : ma_trend_name(kind);
}

static bool is_suppressed(struct ma_analysis *analysis, const struct ma_row *row)
{
    return leak_of(analysis, row)->suppressed != NULL;
}

/* The suppressions, each in a line with what it hid: those that hid nothing in JSON
 * only. */
static void add_suppressions(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_suppressions *all = &analysis->suppressions;
    const struct ma_leaks *leaks = analysis->leaks;
    struct ma_value *object =
        ma_model_object(model, &model->root, "suppressions",
                        leaks->suppressed_stacks ? "Suppressed leaks" : NULL, MA_FIELDS);
    ma_model_number(model, object, "bytes", NULL, MA_BYTES, leaks->suppressed_bytes);
    ma_model_number(model, object, "blocks", NULL, MA_COUNT, leaks->suppressed_blocks);
    ma_model_number(model, object, "stacks", NULL, MA_COUNT, leaks->suppressed_stacks);
    struct ma_value *array = ma_model_array(model, object, "patterns", NULL, MA_TABLE);
    for (size_t i = 0; i < all->n; i++) {
        const struct ma_suppression *one = &all->all[i];
        struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_text(model, entry, "pattern", NULL, one->pattern);
        ma_model_text(model, entry, "source", NULL, one->source);
        ma_model_number(model, entry, "line", NULL, MA_PLAIN, one->line);
        ma_model_number(model, entry, "bytes", NULL, MA_BYTES, one->bytes);
        ma_model_number(model, entry, "blocks", NULL, MA_COUNT, one->blocks);
        ma_model_number(model, entry, "stacks", NULL, MA_COUNT, one->stacks);
        char a[MA_HUMAN_SIZE], b[MA_COUNTED_SIZE], c[MA_COUNTED_SIZE];
        if (one->stacks)
            ma_model_format(
                model, object, NULL, "", "%s in %s from %s: leak:%s (%s:%u)",
                ma_human_bytes(a, one->bytes), ma_human_counted(b, one->blocks, "block"),
                ma_human_counted(c, one->stacks, "stack"), one->pattern, one->source, one->line);
    }
}

/* The blocks that the C and C++ runtimes keep for themselves. */
static void add_runtime(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_suppression *one = &analysis->leaks->runtime;
    char a[MA_HUMAN_SIZE], b[MA_COUNTED_SIZE], c[MA_COUNTED_SIZE];
    struct ma_value *object =
        ma_model_object(model, &model->root, "runtime", one->stacks ? "Left out" : NULL, MA_FIELDS);
    ma_model_number(model, object, "bytes", NULL, MA_BYTES, one->bytes);
    ma_model_number(model, object, "blocks", NULL, MA_COUNT, one->blocks);
    ma_model_number(model, object, "stacks", NULL, MA_COUNT, one->stacks);
    if (one->stacks)
        ma_model_format(model, object, NULL, "",
                        "%s in %s from %s: the C and C++ runtimes' own "
                        "(--no-builtin-suppressions shows them)",
                        ma_human_bytes(a, one->bytes), ma_human_counted(b, one->blocks, "block"),
                        ma_human_counted(c, one->stacks, "stack"));
}

/* Blocks from before a pause: perhaps freed in it. */
static void add_unsure(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_sum *sum = &analysis->unsure;
    char a[MA_HUMAN_SIZE], b[MA_COUNTED_SIZE];
    struct ma_value *object =
        ma_model_object(model, &model->root, "unsure", sum->blocks ? "Not known" : NULL, MA_FIELDS);
    ma_model_number(model, object, "bytes", NULL, MA_BYTES, sum->bytes);
    ma_model_number(model, object, "blocks", NULL, MA_COUNT, sum->blocks);
    if (sum->blocks)
        ma_model_format(model, object, NULL, "",
                        "from before a pause: %s, %s: not known whether freed",
                        ma_human_counted(b, sum->blocks, "block"), ma_human_bytes(a, sum->bytes));
}

static int build_leaks(struct ma_analysis *analysis, struct ma_model *model)
{
    static const struct ma_stack_report report = {
        .key = "leaks",
        .title = "Leaks",
        .blocks_title = "blocks",
        .none = "No block was left.",
        .measure = leaked_measure,
        .leaves_out = is_suppressed,
        .compare = compare_leaks,
        .describe = describe_leak,
        .kind = kind_of,
    };
    if (!ma_leaks_get(analysis))
        return -ENOMEM;
    struct ma_stack_report shown = report;
    if (analysis->unsure.blocks)
        shown.none = "No block was left that is known to be.";
    if (analysis->leaked_blocks)
        shown.none = "Every block was freed but those below.";
    int result = ma_report_stacks(analysis, model, &shown);
    add_suppressions(analysis, model);
    add_runtime(analysis, model);
    add_unsure(analysis, model);
    return result;
}

const struct ma_report ma_report_leaks = {
    .name = "leaks",
    .help = "blocks that were never freed, by stack",
    .usual = true,
    .build = build_leaks,
};
