/* SPDX-License-Identifier: MIT
 *
 * Shortening for terminals; see ma_render_fit.h.
 */
#include "ma_render_fit.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "ma_label.h"
#include "ma_text.h"

#define ELLIPSIS "…"
#define FOLD_LEAST 3 /* frames that are worth a line that says so */
#define DEPTHS 16    /* of template arguments that are told apart */

static size_t count_characters(const char *text)
{
    size_t n = 0;
    for (; *text; n++) {
        size_t length = ma_utf8_length(text);
        text += length ? length : 1;
    }
    return n;
}

/* Whether the character at `at` opens (+1) or closes (-1) template arguments. */
static int bracket(const char *name, const char *at)
{
    static const char word[] = "operator";
    const size_t n = sizeof word - 1;
    if (*at != '<' && *at != '>')
        return 0;
    if (*at == '>' && at > name && (at[-1] == '-' || at[-1] == '='))
        return 0;
    for (const char *from = at; from > name && at - from < 3; from--) {
        if ((size_t)(from - name) >= n && strncmp(from - n, word, n) == 0)
            return 0; /* of operator<, operator<<, operator>>, operator<=> */
        if (!strchr("<>=", from[-1]))
            break;
    }
    return *at == '<' ? 1 : -1;
}

/* The name with arguments that lie `depth` deep as "<…>". False if it has no room, or its
 * brackets do not match. */
static bool elide(const char *name, int depth, char *to, size_t size)
{
    static const char elided[] = ELLIPSIS ">";
    size_t used = 0;
    int at = 0;
    for (const char *from = name; *from; from++) {
        const int turn = bracket(name, from);
        const bool inside = at >= depth;
        at += turn;
        if (at < 0 || used + sizeof elided >= size)
            return false;
        if (!inside)
            to[used++] = *from;
        if (inside && turn < 0 && at < depth) {
            memcpy(to + used, elided, sizeof elided - 1);
            used += sizeof elided - 1;
        }
    }
    to[used] = '\0';
    return at == 0;
}

/* The text with its middle as an ellipsis, a little more of its end than of its
 * beginning. */
static const char *cut_middle(const char *text, size_t columns, char *buffer, size_t size)
{
    const size_t width = count_characters(text), wide = ma_text_columns(text);
    assert(columns >= 2 && wide > columns);
    columns = wide > width ? columns * width / wide : columns; /* of wide characters fewer */
    columns = columns < 2 ? 2 : columns;
    const size_t head = (columns - 1) * 2 / 5, tail = columns - 1 - head;
    size_t used = 0, at = 0;
    for (const char *from = text; *from; at++) {
        size_t length = ma_utf8_length(from);
        length = length ? length : 1;
        const bool cut = at == head;
        if (used + length + sizeof ELLIPSIS >= size)
            break;
        if (cut) {
            memcpy(buffer + used, ELLIPSIS, sizeof ELLIPSIS - 1);
            used += sizeof ELLIPSIS - 1;
        }
        if (at < head || at >= width - tail) {
            memmove(buffer + used, from, length);
            used += length;
        }
        from += length;
    }
    buffer[used] = '\0';
    return buffer;
}

const char *ma_fit_name(const char *name, size_t columns, char *buffer, size_t size)
{
    if (ma_text_columns(name) <= columns)
        return name;
    int deepest = 0, at = 0;
    for (const char *from = name; *from; from++) {
        at += bracket(name, from);
        deepest = at > deepest ? at : deepest;
    }
    for (int depth = deepest < DEPTHS ? deepest : DEPTHS; depth > 0; depth--) {
        if (!elide(name, depth, buffer, size))
            break;
        if (ma_text_columns(buffer) <= columns)
            return buffer;
    }
    /* Where even that is too long, the outermost arguments say least. */
    char plain[1024];
    const bool elided = deepest && elide(name, 1, plain, sizeof plain);
    return cut_middle(elided ? plain : name, columns, buffer, size);
}

const char *ma_fit_place(const char *place, size_t columns, char *buffer, size_t size)
{
    if (ma_text_columns(place) <= columns)
        return place;
    const char *slash = strrchr(place, '/');
    const char *base = slash ? slash + 1 : place;
    if (ma_text_columns(base) > columns)
        return cut_middle(base, columns, buffer, size);
    return base;
}

static bool may_fold(const struct ma_frame *frames, size_t i, size_t label, size_t own)
{
    return i && i != label && i != own && !ma_label_is_own(&frames[i]);
}

size_t ma_fold_run(const struct ma_frame *frames, size_t n, size_t at)
{
    const size_t label = ma_label_frame(frames, n), own = ma_label_own_frame(frames, n);
    size_t end = at;
    if (!ma_label_is_own(&frames[own]))
        return 0;
    while (end < n && may_fold(frames, end, label, own))
        end++;
    return end - at >= FOLD_LEAST ? end - at : 0;
}
