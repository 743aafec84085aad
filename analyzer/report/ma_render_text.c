/* SPDX-License-Identifier: MIT
 *
 * The text renderer, for people: human units, stacks innermost first with
 * where in the source they are. On a terminal lines fit its width, titles are bold,
 * and a report that scrolls away ends with what is worth most, once more; elsewhere
 * nothing is cut, folded or coloured.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ma_render.h"
#include "ma_render_fit.h"
#include "ma_render_table.h"
#include "ma_text.h"

#define CHART_ROWS 24
#define CHART_BAR 40
#define NARROWEST 40
#define ANY_WIDTH ((size_t)1 << 20)

struct writer {
    FILE *out;
    struct ma_stacks *stacks;
    size_t frames;
    size_t width; /* ANY_WIDTH if it is no terminal */
    bool fold;
    const char *bold, *dim, *plain;
    bool begun; /* something was written */
    bool failed;
};

static size_t width_of(const struct ma_render_options *options, FILE *out)
{
    struct winsize size;
    if (!options->terminal)
        return ANY_WIDTH;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col)
        return size.ws_col < NARROWEST ? NARROWEST : size.ws_col;
    const char *columns = getenv("COLUMNS");
    long n = columns ? strtol(columns, NULL, 10) : 80;
    return n < NARROWEST ? NARROWEST : (size_t)n;
}

static size_t rows_of(FILE *out)
{
    struct winsize size;
    if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_row)
        return size.ws_row;
    const char *lines = getenv("LINES");
    long n = lines ? strtol(lines, NULL, 10) : 24;
    return n < 8 ? 8 : (size_t)n;
}

static void repeat(FILE *out, const char *what, size_t times)
{
    while (times-- > 0)
        fputs(what, out);
}

/* A signed change, with its sign. */
static const char *human_change(const struct ma_value *value, char buffer[MA_HUMAN_SIZE])
{
    char plain[MA_HUMAN_SIZE];
    int64_t change = (int64_t)value->number;
    uint64_t size = change < 0 ? -(uint64_t)change : (uint64_t)change;
    snprintf(buffer, MA_HUMAN_SIZE, "%s%.30s",
             change < 0 ? "-"
             : change   ? "+"
                        : "",
             value->unit == MA_BYTES_CHANGE ? ma_human_bytes(plain, size)
                                            : ma_human_count(plain, size));
    return buffer;
}

const char *ma_human(const struct ma_value *value, char buffer[MA_HUMAN_SIZE])
{
    switch (value->type) {
    case MA_NUMBER:
        if (value->unit == MA_BYTES)
            return ma_human_bytes(buffer, value->number);
        if (value->unit == MA_NANOSECONDS)
            return ma_human_time(buffer, value->number);
        if (value->unit == MA_COUNT)
            return ma_human_count(buffer, value->number);
        if (value->unit == MA_BYTES_CHANGE || value->unit == MA_COUNT_CHANGE)
            return human_change(value, buffer);
        snprintf(buffer, MA_HUMAN_SIZE, "%" PRIu64, value->number);
        return buffer;
    case MA_REAL:
        snprintf(buffer, MA_HUMAN_SIZE,
                 value->unit == MA_PERCENT          ? "%.1f %%"
                 : value->unit == MA_PERCENT_CHANGE ? "%+.1f %%"
                                                    : "%g",
                 value->real);
        return buffer;
    case MA_BOOLEAN: return value->number ? "yes" : "no";
    case MA_TEXT: return value->text;
    default: return "–";
    }
}

/* Write a text from `column` on, on a terminal on as many lines as its words need, all
 * indented alike. */
static void write_wrapped(struct writer *writer, const char *text, size_t column, size_t indent)
{
    bool begun = false;
    while (*text) {
        const size_t blanks = strspn(text, " "), length = strcspn(text + blanks, " ");
        char *word = strndup(text + blanks, length);
        if (!word) {
            writer->failed = true;
            return;
        }
        if (begun && length && column + blanks + ma_text_columns(word) > writer->width) {
            fprintf(writer->out, "\n%*s", (int)indent, "");
            column = indent;
        } else {
            fprintf(writer->out, "%*s", (int)blanks, "");
            column += blanks;
        }
        column += ma_write_text(writer->out, word, ANY_WIDTH);
        begun = true;
        text += blanks + length;
        free(word);
    }
    putc('\n', writer->out);
}

static void write_note(struct writer *writer, const struct ma_value *value)
{
    if (!value->note)
        return;
    fputs("  ", writer->out);
    write_wrapped(writer, value->note, 2, 2);
}

/* The file and line of a frame, or its module: the last two parts of the path
 * are enough to know it. Returns text, which is empty if neither is known. */
#define PLACE_SIZE 512
static const char *place_of(const struct ma_frame *frame, char text[PLACE_SIZE])
{
    const char *path = frame->file ? frame->file : frame->module;
    char line[16] = "";
    text[0] = '\0';
    if (!path)
        return text;
    const char *from = path + strlen(path);
    for (int parts = 0; from > path; from--) {
        if (from[-1] == '/' && ++parts == (frame->file ? 2 : 1))
            break;
    }
    if (frame->file && frame->line)
        snprintf(line, sizeof line, ":%u", frame->line);
    snprintf(text, PLACE_SIZE, "%s%s%s", from, line, frame->inlined ? " (inlined)" : "");
    return text;
}

static const char *const root_texts[MLF_FIRST_NODE] = {
    [MLF_ROOT_NO_RULE] = "cut here: no unwind rule",
    [MLF_ROOT_DEPTH_LIMIT] = "cut here: depth limit",
    [MLF_ROOT_BAD_MEMORY] = "cut here: unreadable memory",
    [MLF_ROOT_TABLE_FULL] = "cut here: no number is left for it",
    [MA_ROOT_UNKNOWN] = "the rest is not defined in the trace",
};

/* Code that stands between the program's first instruction and main; where libc
 * has no names for it, any nameless code of libc. */
static bool calls_main(const struct ma_frame *frame)
{
    static const char *const starters[] = {
        "_start",
        "__libc_start_main",
        "__libc_start_main_impl",
        "__libc_start_call_main",
        "__libc_start_main@@GLIBC_2.34",
    };
    if (!frame->function)
        return frame->module && strstr(frame->module, "/libc.so");
    for (size_t i = 0; i < sizeof starters / sizeof *starters; i++)
        if (strcmp(frame->function, starters[i]) == 0)
            return true;
    return false;
}

/* The number of a stack's frames that are worth a person's time: the callers of
 * main are the same in every program. */
static size_t up_to_main(const struct ma_frame *frames, size_t n)
{
    size_t kept = n;
    while (kept > 1 && calls_main(&frames[kept - 1]))
        kept--;
    bool is_main = frames[kept - 1].function && strcmp(frames[kept - 1].function, "main") == 0;
    return is_main ? kept : n;
}

/* The widths of the columns of a stack: of names, and of places. */
struct stack_columns {
    size_t name, place;
};

/* Write a frame, or measure it if `widest` is not NULL. */
static void put_frame(struct writer *writer, const struct ma_frame *frame,
                      const struct stack_columns *columns, struct stack_columns *widest)
{
    char buffer[256], text[PLACE_SIZE], fitted[1024];
    const char *name = ma_frame_name(frame, buffer, sizeof buffer);
    const char *place = place_of(frame, text);
    if (widest) {
        const size_t n = ma_text_columns(name), p = ma_text_columns(place);
        widest->name = n > widest->name ? n : widest->name;
        widest->place = p > widest->place ? p : widest->place;
        return;
    }
    if (writer->width != ANY_WIDTH)
        name = ma_fit_name(name, columns->name, fitted, sizeof fitted);
    fputs("      ", writer->out);
    const size_t wrote = ma_write_text(writer->out, name, ANY_WIDTH);
    repeat(writer->out, " ", wrote < columns->name ? columns->name - wrote + 2 : 2);
    if (writer->width != ANY_WIDTH)
        place = ma_fit_place(place, columns->place, fitted, sizeof fitted);
    fputs(writer->dim, writer->out);
    ma_write_text(writer->out, place, ANY_WIDTH);
    fprintf(writer->out, "%s\n", writer->plain);
}

static const char *base_name(const struct ma_frame *frame)
{
    const char *slash = frame->module ? strrchr(frame->module, '/') : NULL;
    return slash ? slash + 1 : frame->module ? frame->module : "no module";
}

/* "… 7 frames in libstdc++.so.6" */
static void write_fold(struct writer *writer, const struct ma_frame *frames, size_t n)
{
    const char *first = base_name(&frames[0]), *second = NULL;
    bool more = false;
    for (size_t i = 1; i < n; i++) {
        const char *name = base_name(&frames[i]);
        if (strcmp(name, first) == 0 || (second && strcmp(name, second) == 0))
            continue;
        more = second != NULL;
        second = second ? second : name;
    }
    fprintf(writer->out, "      %s… %zu frames in ", writer->dim, n);
    ma_write_text(writer->out, first, writer->width / 3);
    if (second) {
        fputs(more ? ", " : " and ", writer->out);
        ma_write_text(writer->out, second, writer->width / 3);
    }
    fprintf(writer->out, "%s%s\n", more ? " and others" : "", writer->plain);
}

/* Write the lines of a stack, or measure them if `widest` is not NULL. Returns how many
 * frames they tell. */
static size_t put_frames(struct writer *writer, const struct ma_frame *frames, size_t count,
                         const struct stack_columns *columns, struct stack_columns *widest)
{
    size_t at = 0;
    for (size_t line = 0; at < count && line < writer->frames; line++) {
        const size_t run = writer->fold ? ma_fold_run(frames, count, at) : 0;
        if (!run)
            put_frame(writer, &frames[at], columns, widest);
        else if (!widest)
            write_fold(writer, &frames[at], run);
        at += run ? run : 1;
    }
    return at;
}

static void write_stack(struct writer *writer, struct ma_stacks *stacks, uint32_t id)
{
    const struct ma_frame *frames;
    long n = ma_stacks_frames(stacks, id, &frames);
    if (n < 0) {
        writer->failed = true;
        return;
    }
    size_t count = (size_t)n;
    if (count && writer->frames != SIZE_MAX)
        count = up_to_main(frames, count);
    struct stack_columns widest = {0, 0};
    put_frames(writer, frames, count, NULL, &widest);
    if (writer->width == ANY_WIDTH) {
        widest.name = widest.name < 60 ? widest.name : 60;
    } else {
        const size_t room = writer->width - 8;
        const size_t least = room * 2 / 5; /* of a place, unless names leave it more */
        size_t left = room > widest.name ? room - widest.name : 0;
        left = left < least ? least : left;
        widest.place = widest.place < left ? widest.place : left;
        const size_t most = room - widest.place;
        widest.name = widest.name < most ? widest.name : most;
    }
    const size_t told = put_frames(writer, frames, count, &widest, NULL);
    if (told < count)
        fprintf(writer->out, "      … and %zu outer frames\n", count - told);
    uint32_t root = ma_stacks_root(stacks, id);
    if (id >= MLF_FIRST_NODE && root)
        fprintf(writer->out, "      (%s)\n", root_texts[root] ? root_texts[root] : "cut here");
}

/* All frames of a stack. */
static void write_whole_stack(struct writer *writer, struct ma_stacks *stacks, uint32_t id)
{
    struct writer whole = *writer;
    whole.frames = SIZE_MAX;
    whole.fold = false;
    write_stack(&whole, stacks, id);
    writer->failed |= whole.failed;
}

/* A sentence of an entry, on lines of its own that fit. */
static void write_remark(struct writer *writer, const struct ma_value *remark)
{
    fputs("      ", writer->out);
    if (remark->title[0])
        fprintf(writer->out, "%s%s%s ", writer->bold, remark->title, writer->plain);
    write_wrapped(writer, remark->text,
                  6 + (remark->title[0] ? ma_text_columns(remark->title) + 1 : 0), 6);
}

/* What an entry goes by: behind its numbers, which end at `column`, or where it has no
 * room there on a line of its own. */
static void write_label(struct writer *writer, const struct ma_value *label, size_t column)
{
    char fitted[1024];
    const char *name = label->text, *place = label->note ? label->note : "";
    const size_t behind = place[0] ? ma_text_columns(place) + 2 : 0;
    if (writer->width == ANY_WIDTH || column + 2 + ma_text_columns(name) + behind <= writer->width)
        fputs("  ", writer->out);
    else {
        const size_t room = writer->width - 6;
        name = ma_fit_name(name, room > behind + 12 ? room - behind : 12, fitted, sizeof fitted);
        fputs("\n      ", writer->out);
    }
    fputs(writer->bold, writer->out);
    ma_write_text(writer->out, name, ANY_WIDTH);
    fputs(writer->plain, writer->out);
    if (place[0]) {
        fputs(", ", writer->out);
        ma_write_text(writer->out, place, ANY_WIDTH);
    }
}

/* "1.  1.00 MiB, 60.9 %, 17 blocks, 20 calls: name" and the stack below. */
static void write_entry(struct writer *writer, const struct ma_value *entry, size_t number)
{
    char buffer[MA_HUMAN_SIZE];
    const char *separator = "";
    size_t column = (size_t)fprintf(writer->out, "\n%4zu. ", number) - 1;
    for (const struct ma_value *child = entry->first; child; child = child->next) {
        if (!child->title || child->type > MA_REAL)
            continue;
        size_t title = strlen(child->title);
        bool one = (child->unit == MA_COUNT && child->number == 1) ||
                   (child->unit == MA_COUNT_CHANGE && child->number + 1 <= 2 && child->number);
        column += (size_t)fprintf(writer->out, "%s%s%s%.*s", separator, ma_human(child, buffer),
                                  title ? " " : "", (int)(title - (one && title)),
                                  child->title); /* one block, two blocks */
        separator = ", ";
    }
    const struct ma_value *label = ma_model_find(entry, "label");
    if (label && label->type == MA_TEXT)
        write_label(writer, label, column);
    putc('\n', writer->out);
    bool in_remarks = true; /* an empty line goes before those of a further stack */
    for (const struct ma_value *child = entry->first; child; child = child->next) {
        if (child->extra && writer->fold)
            continue;
        if (child->type == MA_TEXT && child->title) {
            if (child->extra && !in_remarks)
                putc('\n', writer->out);
            write_remark(writer, child);
        }
        in_remarks = child->type == MA_TEXT || (in_remarks && child->type != MA_STACK);
        if (child->type == MA_STACK)
            (child->whole ? write_whole_stack : write_stack)(
                writer, child->stacks ? child->stacks : writer->stacks, (uint32_t)child->number);
        if (child->type == MA_ARRAY && child->title)
            ma_render_table(writer->out, child, writer->width, writer->dim, writer->plain);
    }
}

/* A moment and a number on each line, with a bar: one line for each part of the
 * time, its highest point, or where nothing changed the value that stayed. */
static void write_chart(struct writer *writer, const struct ma_value *points)
{
    char time[MA_HUMAN_SIZE], number[MA_HUMAN_SIZE];
    uint64_t most = 1;
    if (!points->n)
        return;
    for (const struct ma_value *point = points->first; point; point = point->next)
        most = point->first->next->number > most ? point->first->next->number : most;
    const uint64_t from = points->first->first->number;
    const uint64_t span = points->last->first->number - from;
    const struct ma_value *point = points->first, *last = point;
    size_t rows = points->n < CHART_ROWS ? points->n : CHART_ROWS;
    for (size_t row = 0; row < rows; row++) {
        uint64_t until = from + (uint64_t)((double)span * (double)(row + 1) / (double)rows);
        const struct ma_value *high = NULL;
        for (; point && (point->first->number <= until || row + 1 == rows); point = point->next) {
            if (!high || point->first->next->number >= high->first->next->number)
                high = point;
            last = point;
        }
        uint64_t value = (high ? high : last)->first->next->number;
        size_t bar = (size_t)((double)value / (double)most * CHART_BAR + 0.5);
        fprintf(writer->out, "  %10s  %10s  ",
                ma_human_time(time, high ? high->first->number : until),
                ma_human_bytes(number, value));
        repeat(writer->out, "█", bar);
        putc('\n', writer->out);
    }
}

static void write_container(struct writer *writer, const struct ma_value *value);

static void write_fields(struct writer *writer, const struct ma_value *object)
{
    char buffer[MA_HUMAN_SIZE];
    size_t column = 0;
    for (const struct ma_value *child = object->first; child; child = child->next) {
        if (child->title && child->type < MA_STACK) {
            size_t length = ma_text_columns(child->title);
            column = length > column ? length : column;
        }
    }
    for (const struct ma_value *child = object->first; child; child = child->next) {
        if (!child->title)
            continue;
        if (child->type >= MA_STACK) {
            write_container(writer, child);
            continue;
        }
        fputs("  ", writer->out);
        if (child->title[0]) {
            fprintf(writer->out, "%s%s%s", writer->dim, child->title, writer->plain);
            repeat(writer->out, " ", column - ma_text_columns(child->title) + 2);
        }
        const size_t begin = child->title[0] ? column + 4 : 2;
        write_wrapped(writer, ma_human(child, buffer), begin, begin);
    }
}

static void write_container(struct writer *writer, const struct ma_value *value)
{
    if (value->title[0]) {
        fprintf(writer->out, "%s%s%s%s\n", writer->begun ? "\n" : "", writer->bold, value->title,
                writer->plain);
    }
    writer->begun = true;
    write_note(writer, value);
    if (value->type == MA_OBJECT) {
        write_fields(writer, value);
        return;
    }
    size_t number = 1;
    switch (value->layout) {
    case MA_ENTRIES:
        for (const struct ma_value *child = value->first; child; child = child->next)
            write_entry(writer, child, number++);
        break;
    case MA_CHART: write_chart(writer, value); break;
    case MA_TABLE:
        ma_render_table(writer->out, value, writer->width, writer->dim, writer->plain);
        break;
    case MA_SECTIONS:
        for (const struct ma_value *child = value->first; child; child = child->next) {
            putc('\n', writer->out);
            write_container(writer, child);
        }
        break;
    case MA_TREE:
        ma_render_tree(writer->out, value, writer->width, writer->dim, writer->plain);
        break;
    default:
        for (const struct ma_value *child = value->first; child; child = child->next) {
            fputs("  ", writer->out);
            write_wrapped(writer, child->text ? child->text : "–", 2, 2);
        }
        break;
    }
}

static size_t count_lines(const char *text, size_t size)
{
    size_t lines = 0;
    for (const char *at = text, *end = text + size;
         (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++)
        lines++;
    return lines;
}

int ma_render_text(const struct ma_model *model, struct ma_stacks *stacks,
                   const struct ma_render_options *options, FILE *out)
{
    const char *no_color = getenv("NO_COLOR");
    bool color = options->terminal && !(no_color && no_color[0]);
    struct writer writer = {
        .out = out,
        .stacks = stacks,
        .frames = options->frames,
        .width = width_of(options, out),
        .fold = options->terminal && options->fold,
        .bold = color ? "\033[1m" : "",
        .dim = color ? "\033[2m" : "",
        .plain = color ? "\033[0m" : "",
    };
    char *text = NULL;
    size_t size = 0;
    if (options->terminal && !(writer.out = open_memstream(&text, &size)))
        return -ENOMEM;
    for (const struct ma_value *child = model->root.first; child; child = child->next) {
        if (child->title)
            write_container(&writer, child);
    }
    if (!options->terminal)
        return writer.failed ? -ENOMEM : 0;
    if (fclose(writer.out) != 0)
        writer.failed = true;
    else
        fwrite(text, 1, size, out);
    writer.out = out;
    const bool scrolls = !writer.failed && count_lines(text, size) >= rows_of(out);
    free(text);
    for (const struct ma_value *child = model->root.first; scrolls && child; child = child->next) {
        if (child->title && child->again)
            write_container(&writer, child);
    }
    return writer.failed ? -ENOMEM : 0;
}
