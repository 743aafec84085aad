/* SPDX-License-Identifier: MIT
 *
 * The common part of the reports of stacks (leaks, peak, allocations): choosing
 * and sorting rows and laying them out as entries.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_label.h"
#include "ma_name_tree.h"
#include "ma_report.h"
#include "ma_text.h"

struct order {
    struct ma_analysis *analysis;
    const struct ma_stack_report *report;
};

struct choice {
    const struct ma_row *row;
    struct ma_measure measure;
};

static int compare_rows(const void *a, const void *b, void *context)
{
    const struct choice *x = a, *y = b;
    const struct order *order = context;
    const struct ma_request *request = order->analysis->request;
    int first = request->n_sort || !order->report->compare
                    ? 0
                    : order->report->compare(order->analysis, x->row, y->row);
    if (first)
        return first;
    for (size_t i = 0; i <= request->n_sort; i++) {
        enum ma_sort key = i < request->n_sort ? request->sort[i] : MA_SORT_BYTES;
        uint64_t p = key == MA_SORT_BYTES    ? x->measure.bytes
                     : key == MA_SORT_BLOCKS ? x->measure.blocks
                                             : x->row->calls;
        uint64_t q = key == MA_SORT_BYTES    ? y->measure.bytes
                     : key == MA_SORT_BLOCKS ? y->measure.blocks
                                             : y->row->calls;
        if (p != q)
            return p > q ? -1 : 1;
    }
    return x->row->stack < y->row->stack ? -1 : x->row->stack > y->row->stack;
}

int ma_report_label(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *parent,
                    uint32_t stack)
{
    const struct ma_frame *frames;
    char buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, stack, &frames);
    if (n < 0)
        return -ENOMEM;
    const struct ma_frame *frame = n ? &frames[ma_label_frame(frames, (size_t)n)] : NULL;
    struct ma_value *label =
        ma_model_text(model, parent, "label", NULL,
                      frame ? ma_frame_name(frame, buffer, sizeof buffer) : "(no stack)");
    if (frame && frame->file && frame->line)
        ma_model_note(model, label, "%s:%u", ma_label_short_path(frame->file), frame->line);
    return 0;
}

void ma_report_function(struct ma_model *model, struct ma_value *parent, const char *title,
                        const char *name, const char *program, const struct ma_lines *lines)
{
    const char *slash = program ? strrchr(program, '/') : NULL;
    struct ma_value *told = ma_model_text(model, parent, "function", program ? NULL : title, name);
    ma_model_text(model, parent, "program", NULL, program);
    ma_model_text(model, parent, "file", NULL, lines->file);
    if (lines->file) {
        ma_model_number(model, parent, "line", NULL, MA_PLAIN, lines->first);
        ma_model_number(model, parent, "last_line", NULL, MA_PLAIN, lines->last);
    } else {
        ma_model_null(model, parent, "line");
        ma_model_null(model, parent, "last_line");
    }
    if (program)
        told = ma_model_format(model, parent, NULL, title, "%s [%s]", name,
                               slash ? slash + 1 : program);
    char last[16] = "";
    if (lines->last > lines->first)
        snprintf(last, sizeof last, "-%u", lines->last);
    if (lines->file)
        ma_model_note(model, told, "%s:%u%s%s", ma_label_short_path(lines->file), lines->first,
                      last, lines->elsewhere ? " …" : "");
}

static int add_entry(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                     const struct ma_stack_report *report, const struct choice *choice,
                     uint64_t total)
{
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_number(model, entry, "bytes", "", MA_BYTES, choice->measure.bytes);
    if (total)
        ma_model_real(model, entry, NULL, "", MA_PERCENT,
                      100.0 * (double)choice->measure.bytes / (double)total);
    ma_model_number(model, entry, "blocks", report->blocks_title, MA_COUNT, choice->measure.blocks);
    bool same = choice->measure.blocks == choice->row->calls;
    ma_model_number(model, entry, "calls", same ? NULL : "calls", MA_COUNT, choice->row->calls);
    ma_model_number(model, entry, "temporary", NULL, MA_COUNT, choice->row->temporary);
    int result = ma_report_label(analysis, model, entry, choice->row->stack);
    if (result == 0 && report->describe)
        result = report->describe(analysis, model, entry, choice->row);
    ma_model_stack(model, entry, "stack", choice->row->stack);
    return result;
}

/* The first `most` in order, so far: a heap with the last of them on top. */
struct first {
    struct choice *choices;
    size_t n, most;
    struct order order;
};

static bool is_behind(const struct first *first, size_t a, size_t b)
{
    return compare_rows(&first->choices[a], &first->choices[b], (void *)&first->order) > 0;
}

static void swap(struct first *first, size_t a, size_t b)
{
    struct choice kept = first->choices[a];
    first->choices[a] = first->choices[b];
    first->choices[b] = kept;
}

static void offer(struct first *first, const struct choice *choice)
{
    size_t at = first->n;
    if (at < first->most) {
        first->choices[first->n++] = *choice;
        for (; at && is_behind(first, at, (at - 1) / 2); at = (at - 1) / 2)
            swap(first, at, (at - 1) / 2);
        return;
    }
    if (!at || compare_rows(choice, &first->choices[0], &first->order) > 0)
        return;
    first->choices[0] = *choice;
    for (at = 0; 2 * at + 1 < first->n;) {
        size_t child = 2 * at + 1;
        child += child + 1 < first->n && is_behind(first, child + 1, child);
        if (!is_behind(first, child, at))
            break;
        swap(first, at, child);
        at = child;
    }
}

int ma_report_rows(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *parent,
                   const struct ma_stack_report *report, const struct ma_row *rows, size_t n_rows)
{
    const size_t top = analysis->request->top;
    struct first first = {.most = top < n_rows ? top : n_rows, .order = {analysis, report}};
    struct ma_measure total = {0, 0};
    size_t n = 0;
    first.choices = malloc((first.most + 1) * sizeof *first.choices);
    if (!first.choices)
        return -ENOMEM;
    for (size_t i = 0; i < n_rows; i++) {
        struct ma_measure measure = report->measure(&rows[i]);
        if (!measure.bytes && !measure.blocks)
            continue;
        if (report->leaves_out && report->leaves_out(analysis, &rows[i]))
            continue;
        total.bytes += measure.bytes;
        total.blocks += measure.blocks;
        offer(&first, &(struct choice){&rows[i], measure});
        n++;
    }
    const size_t shown = first.n;
    qsort_r(first.choices, shown, sizeof *first.choices, compare_rows, &first.order);
    struct ma_value *array = ma_model_array(model, parent, report->key, report->title, MA_ENTRIES);
    char a[MA_HUMAN_SIZE], b[MA_COUNTED_SIZE], c[MA_COUNTED_SIZE], d[MA_HUMAN_SIZE];
    char noun[16], rest[64] = "";
    snprintf(noun, sizeof noun, "%.*s", (int)strlen(report->blocks_title) - 1,
             report->blocks_title);
    if (shown < n)
        snprintf(rest, sizeof rest, "; the %s %s",
                 report->compare && !analysis->request->n_sort ? "worst" : "largest",
                 ma_human_count(d, shown));
    if (!n)
        ma_model_note(model, array, "%s", report->none);
    else
        ma_model_note(model, array, "%s in %s from %s%s:", ma_human_bytes(a, total.bytes),
                      ma_human_counted(b, total.blocks, noun), ma_human_counted(c, n, "stack"),
                      rest);
    int result = 0;
    for (size_t i = 0; i < shown && result == 0; i++)
        result = add_entry(analysis, model, array, report, &first.choices[i], total.bytes);
    free(first.choices);
    return result;
}

int ma_report_stacks(struct ma_analysis *analysis, struct ma_model *model,
                     const struct ma_stack_report *report)
{
    return ma_report_rows(analysis, model, &model->root, report, analysis->rows, analysis->n_rows);
}
