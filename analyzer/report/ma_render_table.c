/* SPDX-License-Identifier: MIT
 *
 * Tables for people: a heading, numbers to the right, texts to the left, the
 * last column cut to what the terminal has room for. Called by the text
 * renderer, which says what a value looks like; cells of one table are made
 * twice, to measure and to write, and never kept.
 */
#include <inttypes.h>
#include <string.h>

#include "ma_render_fit.h"
#include "ma_render_table.h"
#include "ma_text.h"

#define COLUMNS 16
#define BAR 20
#define LAST_LEAST 10  /* columns of a last text, else it gets a line of its own, */
#define BELOW 10       /* indented so far */
#define NAME_LEAST 16  /* columns of a name that is shortened for its place */
#define HIDDEN_LEAST 3 /* lines that are worth a line that says so */

static bool is_shown(const struct ma_value *cell)
{
    return cell->title && cell->type < MA_STACK;
}

static void pad(FILE *out, size_t n)
{
    while (n-- > 0)
        putc(' ', out);
}

static void write_bar(FILE *out, double share)
{
    for (int i = (int)(share / 100 * BAR + 0.5); i > 0; i--)
        fputs("█", out);
}

/* The columns' widths; returns how many there are. */
static size_t measure_columns(const struct ma_value *array, size_t widths[COLUMNS])
{
    size_t n = 0;
    for (const struct ma_value *row = array->first; row; row = row->next) {
        n = 0;
        for (const struct ma_value *cell = row->first; cell && n < COLUMNS; cell = cell->next) {
            char buffer[MA_HUMAN_SIZE];
            if (!is_shown(cell))
                continue;
            size_t width = cell->unit == MA_BAR ? BAR : ma_text_columns(ma_human(cell, buffer));
            size_t title = ma_text_columns(cell->title);
            width = title > width ? title : width;
            if (row == array->first || width > widths[n])
                widths[n] = width;
            n++;
        }
    }
    return n;
}

/* Write a function and the place it lies at, which goes where both have no room:
 * first the place loses its folder, then the name is shortened. */
static void write_function(FILE *out, const struct ma_value *value, size_t room)
{
    char fitted[1024];
    const char *lies = value->note, *slash = strrchr(lies, '/');
    const size_t name = ma_text_columns(value->text);
    if (slash && name + ma_text_columns(lies) + 2 > room)
        lies = slash + 1;
    const size_t place = ma_text_columns(lies) + 2;
    const bool both = name + place <= room || (place < room && room - place >= NAME_LEAST);
    const size_t most = both ? room - place : room;
    const char *text = value->text;
    if (name > most)
        text = ma_fit_name(text, most > 2 ? most : 2, fitted, sizeof fitted);
    ma_write_text(out, text, (size_t)1 << 20);
    if (!both)
        return;
    fputs(", ", out);
    ma_write_text(out, lies, (size_t)1 << 20);
}

static void write_row(FILE *out, const struct ma_value *row, const size_t *widths, size_t n,
                      size_t width, bool heading)
{
    char buffer[MA_HUMAN_SIZE];
    size_t at = 0, used = 0;
    for (const struct ma_value *cell = row->first; cell && at < n; cell = cell->next) {
        if (!is_shown(cell))
            continue;
        const bool last = at + 1 == n, number = cell->type != MA_TEXT && cell->unit != MA_BAR;
        const char *text = heading ? cell->title : ma_human(cell, buffer);
        if (last && at && cell->type == MA_TEXT && used + 2 + LAST_LEAST > width) {
            putc('\n', out); /* it has no room behind the others */
            pad(out, BELOW - 2);
            used = BELOW - 2;
        }
        pad(out, 2);
        used += 2;
        if (number)
            pad(out, widths[at] - ma_text_columns(text));
        if (!heading && cell->unit == MA_BAR)
            write_bar(out, cell->real);
        else if (last && cell->note && !heading)
            write_function(out, cell, width > used ? width - used : 0);
        else
            ma_write_text(out, text, last && width > used ? width - used : (size_t)1 << 20);
        if (!number && !last)
            pad(out, widths[at] - ma_text_columns(text));
        used += widths[at++];
    }
    putc('\n', out);
}

void ma_render_table(FILE *out, const struct ma_value *array, size_t width, const char *dim,
                     const char *plain)
{
    size_t widths[COLUMNS] = {0};
    size_t n = measure_columns(array, widths);
    if (!array->first)
        return;
    fputs(dim, out);
    write_row(out, array->first, widths, n, width, true);
    fputs(plain, out);
    for (const struct ma_value *row = array->first; row; row = row->next)
        write_row(out, row, widths, n, width, false);
}

void ma_render_tree(FILE *out, const struct ma_value *array, size_t width, const char *dim,
                    const char *plain)
{
    char buffer[MA_HUMAN_SIZE];
    const struct ma_value *row = array->first;
    size_t used = 0;
    fputs(dim, out);
    for (const struct ma_value *cell = row ? row->first : NULL; cell; cell = cell->next) {
        if (is_shown(cell) && cell->type != MA_TEXT)
            fprintf(out, "%*s", cell->type == MA_REAL ? 8 : 11, cell->title);
    }
    fprintf(out, "%s%s", plain, row ? "\n" : "");
    for (; row; row = row->next) {
        const struct ma_value *after = row;
        size_t hidden = 0;
        for (; after && !after->title; after = after->next)
            hidden++;
        if (hidden >= HIDDEN_LEAST) {
            pad(out, used);
            fprintf(out, "%s… %zu frames%s\n", dim, hidden, plain);
            row = after;
            if (!row)
                break;
        }
        used = 0;
        for (const struct ma_value *cell = row->first; cell; cell = cell->next) {
            if (!is_shown(cell) || cell->type == MA_TEXT)
                continue;
            const char *text = ma_human(cell, buffer);
            const size_t room = cell->type == MA_REAL ? 8 : 11, length = ma_text_columns(text);
            pad(out, length < room ? room - length : 1);
            fputs(text, out);
            used += length < room ? room : length + 1;
        }
        const size_t room = width > used + 14 ? width - used - 12 : 2;
        const size_t most = room < width / 3 ? room : width / 3;
        const size_t indent = 2 + 2 * (size_t)row->number;
        pad(out, indent < most ? indent : most);
        used += indent < most ? indent : most;
        const struct ma_value *name = row->first;
        while (name && !(name->type == MA_TEXT && name->title))
            name = name->next;
        const size_t left = width > used + 8 ? width - used : 8;
        if (name && name->note)
            write_function(out, name, left);
        else
            ma_write_text(out, name ? name->text : "–", left);
        putc('\n', out);
    }
}
