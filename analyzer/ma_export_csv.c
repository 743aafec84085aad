/* SPDX-License-Identifier: MIT
 *
 * CSV as RFC 4180 has it (lines end in CR LF, texts are quoted), in two
 * tables: stacks with their numbers, and the heap over time. A text that a
 * spreadsheet would take for a formula gets an apostrophe in front.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_export.h"
#include "ma_export_strings.h"
#include "ma_label.h"

static int by_weight(const void *a, const void *b)
{
    const struct ma_row *x = *(const struct ma_row *const *)a;
    const struct ma_row *y = *(const struct ma_row *const *)b;
    if (x->leaked_bytes != y->leaked_bytes)
        return x->leaked_bytes > y->leaked_bytes ? -1 : 1;
    if (x->peak_bytes != y->peak_bytes)
        return x->peak_bytes > y->peak_bytes ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

/* The inside of a cell: quotes doubled, control characters as \xHH. With
 * `joined` it is one name of several, and ';' becomes ':'. */
static int write_inside(FILE *out, const char *text, bool joined)
{
    char *line = ma_export_is_line(text) ? NULL : ma_export_line(text);
    if (!line && !ma_export_is_line(text))
        return -ENOMEM;
    for (const char *c = line ? line : text; *c; c++) {
        if (*c == '"')
            putc('"', out);
        putc(joined && *c == ';' ? ':' : *c, out);
    }
    free(line);
    return 0;
}

/* Whether a spreadsheet would read the text as a formula. */
static bool is_formula(const char *text)
{
    text += strspn(text, " ");
    return *text && strchr("=+-@|%", *text);
}

static int write_cell(FILE *out, const char *text)
{
    putc('"', out);
    if (is_formula(text))
        putc('\'', out);
    int result = write_inside(out, text, false);
    putc('"', out);
    return result;
}

static int write_stack(FILE *out, const struct ma_frame *frames, size_t n)
{
    char buffer[256];
    int result = 0;
    putc('"', out);
    for (size_t i = n; i-- > 0 && result == 0;) {
        const char *name = ma_frame_name(&frames[i], buffer, sizeof buffer);
        if (i == n - 1 && is_formula(name))
            putc('\'', out);
        result = write_inside(out, name, true);
        if (i)
            putc(';', out);
    }
    putc('"', out);
    return result;
}

static int write_row(struct ma_analysis *analysis, const struct ma_row *row, FILE *out)
{
    const struct ma_frame *frames;
    struct ma_frame none = { .function = MA_NO_STACK };
    char buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, row->stack, &frames);
    if (n < 0)
        return -ENOMEM;
    if (n == 0) {
        frames = &none;
        n = 1;
    }
    const struct ma_frame *label = &frames[ma_label_frame(frames, (size_t)n)];
    fprintf(out,
            "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
            row->leaked_bytes, row->leaked_blocks, row->peak_bytes, row->peak_blocks, row->bytes,
            row->calls, row->temporary);
    int result = write_cell(out, ma_frame_name(label, buffer, sizeof buffer));
    putc(',', out);
    if (result == 0)
        result = write_cell(out, label->file ? label->file : "");
    putc(',', out);
    if (label->line)
        fprintf(out, "%u", label->line);
    putc(',', out);
    if (result == 0)
        result = write_cell(out, label->module ? label->module : "");
    putc(',', out);
    if (result == 0)
        result = write_stack(out, frames, (size_t)n);
    fputs("\r\n", out);
    return result;
}

int ma_export_csv(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    const struct ma_row **rows = malloc((analysis->n_rows + 1) * sizeof *rows);
    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows; i++)
        rows[i] = &analysis->rows[i];
    qsort(rows, analysis->n_rows, sizeof *rows, by_weight);
    fputs("leaked_bytes,leaked_blocks,peak_bytes,peak_blocks,allocated_bytes,allocations,"
          "temporary_blocks,function,file,line,module,stack\r\n",
          out);
    int result = 0;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++)
        result = write_row(analysis, rows[i], out);
    free(rows);
    return result;
}

int ma_export_csv_timeline(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    const struct ma_timeline *timeline = analysis->timeline;
    uint64_t last = 0;
    fputs("time_ns,bytes,blocks,resident_bytes\r\n", out);
    for (size_t i = 0; i < timeline->n_points; i++) {
        const struct ma_point *point = &timeline->points[i];
        fprintf(out, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
                ma_export_time(analysis, point, &last), point->bytes, point->blocks);
        if (point->resident != UINT64_MAX)
            fprintf(out, "%" PRIu64, point->resident);
        fputs("\r\n", out);
    }
    return 0;
}
