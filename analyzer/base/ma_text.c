/* SPDX-License-Identifier: MIT
 *
 * Escapes and human units; see ma_text.h.
 */
#include "ma_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char *ma_human_bytes(char buffer[MA_HUMAN_SIZE], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    while (value >= 1023.95 && unit < 6) {
        value /= 1024;
        unit++;
    }
    if (unit == 0)
        snprintf(buffer, MA_HUMAN_SIZE, "%llu B", (unsigned long long)bytes);
    else
        snprintf(buffer, MA_HUMAN_SIZE, "%.*f %s", value < 9.995 ? 2 : 1, value, units[unit]);
    return buffer;
}

const char *ma_human_time(char buffer[MA_HUMAN_SIZE], uint64_t nanoseconds)
{
    double seconds = (double)nanoseconds / 1e9;
    if (nanoseconds < 1000)
        snprintf(buffer, MA_HUMAN_SIZE, "%llu ns", (unsigned long long)nanoseconds);
    else if (seconds < 1e-3)
        snprintf(buffer, MA_HUMAN_SIZE, "%.1f µs", seconds * 1e6);
    else if (seconds < 1)
        snprintf(buffer, MA_HUMAN_SIZE, "%.1f ms", seconds * 1e3);
    else if (seconds < 120)
        snprintf(buffer, MA_HUMAN_SIZE, "%.2f s", seconds);
    else if (seconds < 2 * 3600)
        snprintf(buffer, MA_HUMAN_SIZE, "%u min %02u s", (unsigned)(seconds / 60),
                 (unsigned)seconds % 60);
    else
        snprintf(buffer, MA_HUMAN_SIZE, "%.1f h", seconds / 3600);
    return buffer;
}

const char *ma_human_count(char buffer[MA_HUMAN_SIZE], uint64_t count)
{
    char digits[MA_HUMAN_SIZE];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)count);
    char *to = buffer;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return buffer;
}

const char *ma_human_counted(char buffer[MA_COUNTED_SIZE], uint64_t count, const char *noun)
{
    char number[MA_HUMAN_SIZE];
    const size_t length = strlen(noun);
    const bool hisses = length && noun[length - 1] == 's';
    snprintf(buffer, MA_COUNTED_SIZE, "%s %.20s%s", ma_human_count(number, count), noun,
             count == 1 ? ""
             : hisses   ? "es"
                        : "s");
    return buffer;
}

size_t ma_utf8_length(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t length;
    uint32_t code;
    if (p[0] < 0x80)
        return p[0] != 0;
    if (p[0] >= 0xc2 && p[0] < 0xe0) {
        length = 2;
        code = p[0] & 0x1f;
    } else if (p[0] >= 0xe0 && p[0] < 0xf0) {
        length = 3;
        code = p[0] & 0x0f;
    } else if (p[0] >= 0xf0 && p[0] < 0xf5) {
        length = 4;
        code = p[0] & 0x07;
    } else {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (p[i] & 0x3f);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10ffff)) ||
        (code >= 0xd800 && code < 0xe000))
        return 0;
    return length;
}

static uint32_t code_of(const char *text, size_t length)
{
    const unsigned char *p = (const unsigned char *)text;
    return length == 1   ? p[0]
           : length == 2 ? (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f)
           : length == 3
               ? (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f)
               : (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
                     (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
}

uint32_t ma_hidden_character(const char *text, size_t length)
{
    const uint32_t code = length < 4 ? code_of(text, length) : 0;
    bool hidden = (code && code < 0x20) || (code >= 0x7f && code < 0xa0) || code == 0x061c ||
                  (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
                  (code >= 0x2060 && code <= 0x2069) || code == 0xfeff;
    return hidden ? code : 0;
}

void ma_write_json_bytes(FILE *out, const char *text, size_t size)
{
    const char *end = text + size, *written = text;
    while (text < end) {
        size_t length = (unsigned char)*text < 0x7f ? 0 : ma_utf8_length(text);
        uint32_t code = length ? ma_hidden_character(text, length) : 0;
        if (code) {
            fwrite(written, 1, (size_t)(text - written), out);
            fprintf(out, "\\u%04x", code);
            written = text + length;
        }
        text += length ? length : 1;
    }
    if (written < end)
        fwrite(written, 1, (size_t)(end - written), out);
}

struct code_range {
    uint32_t first, last;
};

static bool is_within(uint32_t code, const struct code_range *ranges, size_t n)
{
    size_t low = 0;
    while (low < n) {
        const size_t middle = low + (n - low) / 2;
        if (code <= ranges[middle].last)
            n = middle;
        else
            low = middle + 1;
        if (code >= ranges[middle].first && code <= ranges[middle].last)
            return true;
    }
    return false;
}

/* Columns of a terminal that a character takes: those of Unicode's East Asian Width, the
 * usual marks above and below letters none. Not wcwidth(), which depends on the locale. */
static size_t columns_of(uint32_t code)
{
    static const struct code_range none[] = {
        {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},   {0x64b, 0x65f},
        {0x6d6, 0x6dc},   {0x93c, 0x93c},   {0x94d, 0x94d},   {0xe31, 0xe31},   {0xe34, 0xe3a},
        {0xe47, 0xe4e},   {0x1160, 0x11ff}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff},
        {0x302a, 0x302d}, {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef},
    };
    static const struct code_range wide[] = {
        {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
        {0x23f0, 0x23f0},   {0x23f3, 0x23f3},   {0x25fd, 0x25fe},   {0x2614, 0x2615},
        {0x2648, 0x2653},   {0x267f, 0x267f},   {0x2693, 0x2693},   {0x26a1, 0x26a1},
        {0x26aa, 0x26ab},   {0x26bd, 0x26be},   {0x26c4, 0x26c5},   {0x26ce, 0x26ce},
        {0x26d4, 0x26d4},   {0x26ea, 0x26ea},   {0x26f2, 0x26f3},   {0x26f5, 0x26f5},
        {0x26fa, 0x26fa},   {0x26fd, 0x26fd},   {0x2705, 0x2705},   {0x270a, 0x270b},
        {0x2728, 0x2728},   {0x274c, 0x274c},   {0x274e, 0x274e},   {0x2753, 0x2755},
        {0x2757, 0x2757},   {0x2795, 0x2797},   {0x27b0, 0x27b0},   {0x27bf, 0x27bf},
        {0x2b1b, 0x2b1c},   {0x2b50, 0x2b50},   {0x2b55, 0x2b55},   {0x2e80, 0x303e},
        {0x3041, 0x4dbf},   {0x4e00, 0xa4cf},   {0xa960, 0xa97f},   {0xac00, 0xd7a3},
        {0xf900, 0xfaff},   {0xfe10, 0xfe19},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},
        {0xffe0, 0xffe6},   {0x16fe0, 0x18aff}, {0x1aff0, 0x1b2ff}, {0x1f004, 0x1f004},
        {0x1f0cf, 0x1f0cf}, {0x1f18e, 0x1f18e}, {0x1f191, 0x1f19a}, {0x1f200, 0x1f320},
        {0x1f32d, 0x1f335}, {0x1f337, 0x1f37c}, {0x1f37e, 0x1f393}, {0x1f3a0, 0x1f3ca},
        {0x1f3cf, 0x1f3d3}, {0x1f3e0, 0x1f3f0}, {0x1f3f4, 0x1f3f4}, {0x1f3f8, 0x1f43e},
        {0x1f440, 0x1f440}, {0x1f442, 0x1f4fc}, {0x1f4ff, 0x1f53d}, {0x1f54b, 0x1f54e},
        {0x1f550, 0x1f567}, {0x1f57a, 0x1f57a}, {0x1f595, 0x1f596}, {0x1f5a4, 0x1f5a4},
        {0x1f5fb, 0x1f64f}, {0x1f680, 0x1f6c5}, {0x1f6cc, 0x1f6cc}, {0x1f6d0, 0x1f6d2},
        {0x1f6d5, 0x1f6df}, {0x1f6eb, 0x1f6ec}, {0x1f6f4, 0x1f6fc}, {0x1f7e0, 0x1f7f0},
        {0x1f90c, 0x1f93a}, {0x1f93c, 0x1f945}, {0x1f947, 0x1f9ff}, {0x1fa70, 0x1faff},
        {0x20000, 0x3fffd},
    };
    return code < 0x300                                          ? 1
           : is_within(code, none, sizeof none / sizeof none[0]) ? 0
           : is_within(code, wide, sizeof wide / sizeof wide[0]) ? 2
                                                                 : 1;
}

/* The next character, or a byte that is none, as it is written. */
struct piece {
    size_t length, columns;
    bool escaped;
};

static struct piece next_piece(const char *text)
{
    const size_t length = ma_utf8_length(text);
    if (length && !ma_hidden_character(text, length))
        return (struct piece){length, columns_of(code_of(text, length)), false};
    if (*text == '\n' || *text == '\t')
        return (struct piece){1, 2, true};
    const size_t bytes = length ? length : 1;
    return (struct piece){bytes, 4 * bytes, true};
}

size_t ma_text_columns(const char *text)
{
    size_t columns = 0;
    while (*text) {
        const struct piece piece = next_piece(text);
        columns += piece.columns;
        text += piece.length;
    }
    return columns;
}

static void write_escaped(FILE *out, const char *text, size_t length)
{
    if (*text == '\n' || *text == '\t') {
        fputs(*text == '\n' ? "\\n" : "\\t", out);
        return;
    }
    for (size_t i = 0; i < length; i++)
        fprintf(out, "\\x%02x", (unsigned char)text[i]);
}

size_t ma_write_text(FILE *out, const char *text, size_t columns)
{
    size_t written = 0;
    while (*text) {
        const struct piece piece = next_piece(text);
        /* What is not the last leaves room for an ellipsis. */
        const bool more = text[piece.length] != '\0';
        if (piece.columns + more > columns - written) {
            if (written < columns) {
                fputs("…", out);
                written++;
            }
            return written;
        }
        if (piece.escaped)
            write_escaped(out, text, piece.length);
        else
            fwrite(text, 1, piece.length, out);
        written += piece.columns;
        text += piece.length;
    }
    return written;
}

void ma_write_json_string(FILE *out, const char *text)
{
    putc('"', out);
    while (*text) {
        size_t length = ma_utf8_length(text);
        unsigned char c = (unsigned char)*text;
        if (length == 0) {
            fputs("\xef\xbf\xbd", out);
            length = 1;
        } else if (c == '"' || c == '\\') {
            putc('\\', out);
            putc(c, out);
        } else if (ma_hidden_character(text, length)) {
            fprintf(out, "\\u%04x", ma_hidden_character(text, length));
        } else {
            fwrite(text, 1, length, out);
        }
        text += length;
    }
    putc('"', out);
}

char *ma_clean_utf8(const char *text)
{
    char *clean = malloc(3 * strlen(text) + 1), *to = clean;
    if (!clean)
        return NULL;
    while (*text) {
        size_t length = ma_utf8_length(text);
        if (length) {
            memcpy(to, text, length);
            to += length;
            text += length;
        } else {
            memcpy(to, "\xef\xbf\xbd", 3);
            to += 3;
            text++;
        }
    }
    *to = '\0';
    return clean;
}
