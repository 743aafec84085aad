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
#include "ma_stack_key.h"
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
    uint64_t number;
    char digits[MA_KEY_SIZE];
    long n;
    if (ma_stack_key(&analysis->stacks, stack, &number) < 0 ||
        (n = ma_stacks_frames(&analysis->stacks, stack, &frames)) < 0)
        return -ENOMEM;
    ma_model_text(model, parent, "stack_id", NULL, ma_stack_key_text(number, digits));
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

int ma_report_own_peak(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *entry,
                       const struct ma_row *row)
{
    uint64_t number;
    char digits[MA_KEY_SIZE];
    if (ma_stack_key(&analysis->stacks, row->stack, &number) < 0)
        return -ENOMEM;
    char bytes[MA_HUMAN_SIZE], blocks[MA_COUNTED_SIZE], time[MA_HUMAN_SIZE];
    ma_model_number(model, entry, "own_peak_bytes", NULL, MA_BYTES, row->own.bytes);
    ma_model_number(model, entry, "own_peak_blocks", NULL, MA_COUNT, row->own.blocks);
    ma_model_number(model, entry, "own_peak_time_ns", NULL, MA_NANOSECONDS, row->own.ns);
    ma_model_format(model, entry, NULL, "at most:", "%s after %s; %s at once; stack %s",
                    ma_human_bytes(bytes, row->own.bytes), ma_human_time(time, row->own.ns),
                    ma_human_counted(blocks, row->own.blocks, "block"),
                    ma_stack_key_text(number, digits));
    return 0;
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
    if (result == 0)
        result = ma_report_own_peak(analysis, model, entry, choice->row);
    ma_model_stack(model, entry, "stack", choice->row->stack);
    return result;
}

/* A shown row among those of its own function. */
struct member {
    const char *function, *module; /* NULL: it has no function of the program's own */
    uint32_t next;                 /* of the same function, MA_NONE: no more */
    bool is_first;
};

/* Find each row's own function, and chain rows that have the same one. */
static int find_groups(struct ma_analysis *analysis, const struct choice *choices, size_t n,
                       struct member *members)
{
    struct ma_map first_of = {0};
    uint32_t *last = malloc((n + 1) * sizeof *last); /* of a first one's group */
    int result = last ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < n && result == 0; i++) {
        const struct ma_frame *frames;
        members[i] = (struct member){.next = MA_NONE, .is_first = true};
        long depth = ma_stacks_frames(&analysis->stacks, choices[i].row->stack, &frames);
        result = depth < 0 ? -ENOMEM : 0;
        if (depth <= 0)
            continue;
        const struct ma_frame *own = &frames[ma_label_own_frame(frames, (size_t)depth)];
        if (!own->function || !ma_label_is_own(own))
            continue;
        members[i].function = own->function;
        members[i].module = own->module ? own->module : "";
        uint64_t hash = 0;
        for (const char *c = own->function; *c; c++)
            hash = ma_mix(hash ^ (unsigned char)*c);
        for (const char *c = members[i].module; *c; c++)
            hash = ma_mix(hash ^ (unsigned char)*c);
        const uint32_t first = ma_map_get(&first_of, hash);
        last[i] = i;
        if (first == MA_NONE) {
            result = ma_map_set(&first_of, hash, i);
        } else if (strcmp(members[first].function, own->function) == 0 &&
                   strcmp(members[first].module, members[i].module) == 0) {
            members[i].is_first = false;
            members[last[first]].next = i;
            last[first] = i;
        }
    }
    ma_map_free(&first_of);
    free(last);
    return result;
}

/* The line of a row's own function, and the function there if it is another's. */
static int add_line(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *parent,
                    const char *title, uint32_t stack)
{
    const struct ma_frame *frames;
    char buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, stack, &frames);
    if (n <= 0)
        return n < 0 ? -ENOMEM : 0;
    const size_t own = ma_label_own_frame(frames, (size_t)n);
    const size_t label = ma_label_frame(frames, (size_t)n);
    const char *name = ma_frame_name(&frames[label], buffer, sizeof buffer);
    if (frames[own].file)
        ma_model_format(model, parent, NULL, title, own == label ? "%s:%u" : "%s:%u, %s",
                        ma_label_short_path(frames[own].file), frames[own].line, name);
    else
        ma_model_text(model, parent, NULL, title, name);
    return 0;
}

/* Several rows of one own function, from choices[at] on, for people: their sums, a table of
 * their lines, and each with its stack. */
static int add_group(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                     const struct ma_stack_report *report, const struct choice *choices,
                     const struct member *members, uint32_t at, uint64_t total)
{
    struct ma_measure sum = {0, 0};
    char size[MA_HUMAN_SIZE], blocks[MA_COUNTED_SIZE], noun[16];
    uint64_t stacks = 0;
    int result = 0;
    for (uint32_t i = at; i != MA_NONE; i = members[i].next, stacks++) {
        sum.bytes += choices[i].measure.bytes;
        sum.blocks += choices[i].measure.blocks;
    }
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_number(model, entry, NULL, "", MA_BYTES, sum.bytes);
    if (total)
        ma_model_real(model, entry, NULL, "", MA_PERCENT,
                      100.0 * (double)sum.bytes / (double)total);
    ma_model_number(model, entry, NULL, report->blocks_title, MA_COUNT, sum.blocks);
    struct ma_value *label = ma_model_text(model, entry, "label", NULL, members[at].function);
    ma_model_note(model, label, "%s", ma_human_counted(blocks, stacks, "stack"));
    struct ma_value *lines = ma_model_array(model, entry, NULL, "", MA_TABLE);
    for (uint32_t i = at; i != MA_NONE && result == 0; i = members[i].next) {
        struct ma_value *line = ma_model_object(model, lines, NULL, NULL, MA_FIELDS);
        ma_model_number(model, line, NULL, "       bytes", MA_BYTES, choices[i].measure.bytes);
        ma_model_number(model, line, NULL, report->blocks_title, MA_COUNT,
                        choices[i].measure.blocks);
        ma_model_number(model, line, NULL, "at most", MA_BYTES, choices[i].row->own.bytes);
        ma_model_text(model, line, NULL, "kind", report->kind(analysis, choices[i].row));
        uint64_t number;
        char digits[MA_KEY_SIZE];
        result = ma_stack_key(&analysis->stacks, choices[i].row->stack, &number);
        ma_model_text(model, line, NULL, "stack", ma_stack_key_text(number, digits));
        if (result == 0)
            result = add_line(analysis, model, line, "line", choices[i].row->stack);
    }
    snprintf(noun, sizeof noun, "%.*s", (int)strlen(report->blocks_title) - 1,
             report->blocks_title);
    for (uint32_t i = at; i != MA_NONE && result == 0; i = members[i].next) {
        const struct choice *one = &choices[i];
        struct ma_value *before = entry->last;
        if (i != at)
            ma_model_format(model, entry, NULL, "",
                            "%s in %s:", ma_human_bytes(size, one->measure.bytes),
                            ma_human_counted(blocks, one->measure.blocks, noun));
        if (report->describe)
            result = report->describe(analysis, model, entry, one->row);
        if (result == 0)
            result = ma_report_own_peak(analysis, model, entry, one->row);
        ma_model_stack(model, entry, "stack", one->row->stack);
        for (struct ma_value *value = before ? before->next : NULL; value && i != at;
             value = value->next)
            value->extra = true;
    }
    return result;
}

static int add_entries(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                       const struct ma_stack_report *report, const struct choice *choices, size_t n,
                       uint64_t total)
{
    const bool groups = report->kind && !analysis->request->json;
    struct member *members = groups ? malloc((n + 1) * sizeof *members) : NULL;
    int result = groups ? members ? find_groups(analysis, choices, n, members) : -ENOMEM : 0;
    for (uint32_t i = 0; i < n && result == 0; i++) {
        if (groups && members[i].next != MA_NONE && members[i].is_first)
            result = add_group(analysis, model, array, report, choices, members, i, total);
        else if (!groups || members[i].is_first)
            result = add_entry(analysis, model, array, report, &choices[i], total);
    }
    free(members);
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
    int result = add_entries(analysis, model, array, report, first.choices, shown, total.bytes);
    free(first.choices);
    return result;
}

int ma_report_stacks(struct ma_analysis *analysis, struct ma_model *model,
                     const struct ma_stack_report *report)
{
    return ma_report_rows(analysis, model, &model->root, report, analysis->rows, analysis->n_rows);
}
