/* SPDX-License-Identifier: MIT
 *
 * CSV as RFC 4180 has it (lines end in CR LF, texts are quoted), in two
 * tables: stacks with their numbers, and the heap over time. A text that a
 * spreadsheet would take for a formula gets an apostrophe in front.
 *
 * A cell has a whole stack, so the file grows with stacks times their depth: the
 * name of a frame is made fit for it once.
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

/* True if a spreadsheet would read the text as a formula. */
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

struct names { /* by number of the frame */
    struct name {
        char *text; /* as it stands within a stack; NULL: not met yet */
        size_t length;
    } * all;
    size_t n;
};

static const struct name *name_of(struct names *names, const struct ma_frame *frame)
{
    char buffer[256];
    if (!MA_HOLDS(names->all, frame->number, names->n))
        return NULL;
    struct name *name = &names->all[frame->number];
    if (name->text)
        return name;
    FILE *out = open_memstream(&name->text, &name->length);
    if (!out)
        return NULL;
    int result = write_inside(out, ma_frame_name(frame, buffer, sizeof buffer), true);
    if (fclose(out) == 0 && result == 0)
        return name;
    free(name->text);
    name->text = NULL;
    return NULL;
}

static void names_free(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->all[i].text);
    free(names->all);
}

static int write_stack(FILE *out, struct names *names, const struct ma_frame *frames, size_t n)
{
    char buffer[256];
    putc('"', out);
    if (n && is_formula(ma_frame_name(&frames[n - 1], buffer, sizeof buffer)))
        putc('\'', out);
    for (size_t i = n; i-- > 0;) {
        const struct name *name = name_of(names, &frames[i]);
        if (!name)
            return -ENOMEM;
        fwrite(name->text, 1, name->length, out);
        if (i)
            putc(';', out);
    }
    putc('"', out);
    return 0;
}

static int write_row(struct ma_analysis *analysis, struct names *names, const struct ma_row *row,
                     FILE *out)
{
    const struct ma_frame *frames;
    char buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, row->stack, &frames);
    if (n < 0)
        return -ENOMEM;
    static const struct ma_frame none = {.function = MA_NO_STACK};
    const struct ma_frame *label = n ? &frames[ma_label_frame(frames, (size_t)n)] : &none;
    fprintf(out,
            "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
            ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
            row->leaked_bytes, row->leaked_blocks, row->peak_bytes, row->peak_blocks, row->bytes,
            row->calls, row->temporary, row->own.bytes, row->own.blocks, row->own.ns);
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
    if (result == 0 && n)
        result = write_stack(out, names, frames, (size_t)n);
    else if (result == 0)
        result = write_cell(out, MA_NO_STACK);
    fputs("\r\n", out);
    return result;
}

static int write_csv(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    const struct ma_row **rows = malloc((analysis->n_rows + 1) * sizeof *rows);
    if (!rows)
        return -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows; i++)
        rows[i] = &analysis->rows[i];
    qsort(rows, analysis->n_rows, sizeof *rows, by_weight);
    fputs("leaked_bytes,leaked_blocks,peak_bytes,peak_blocks,allocated_bytes,allocations,"
          "temporary_blocks,own_peak_bytes,own_peak_blocks,own_peak_time_ns,function,file,line,"
          "module,stack\r\n",
          out);
    struct names names = {0};
    int result = 0;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++)
        result = write_row(analysis, &names, rows[i], out);
    names_free(&names);
    free(rows);
    return result;
}

static int write_csv_timeline(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    const struct ma_timeline *timeline = analysis->timeline;
    uint64_t last = 0;
    fputs("time_ns,bytes,blocks,resident_bytes\r\n", out);
    for (size_t i = 0; i < timeline->n_points; i++) {
        const struct ma_point *point = &timeline->points[i];
        fprintf(out, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", ma_export_time(analysis, point, &last),
                point->bytes, point->blocks);
        if (point->resident != UINT64_MAX)
            fprintf(out, "%" PRIu64, point->resident);
        fputs("\r\n", out);
    }
    return 0;
}

const struct ma_exporter ma_exporter_csv = {
    .name = "csv",
    .help = "stacks and their numbers, for spreadsheets",
    .write = write_csv,
};

const struct ma_exporter ma_exporter_csv_timeline = {
    .name = "csv-timeline",
    .help = "the heap over time, for spreadsheets",
    .write = write_csv_timeline,
    .timeline = true,
};
