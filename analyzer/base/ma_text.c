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

uint32_t ma_hidden_character(const char *text, size_t length)
{
    const unsigned char *p = (const unsigned char *)text;
    uint32_t code =
        length == 1   ? p[0]
        : length == 2 ? (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f)
        : length == 3 ? (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f)
                      : 0;
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

size_t ma_write_text(FILE *out, const char *text, size_t columns)
{
    size_t written = 0;
    size_t total = strlen(text);
    while (*text) {
        size_t length = ma_utf8_length(text);
        if (written + 1 >= columns && total > length) {
            fputs("…", out);
            return written + 1;
        }
        if (length && !ma_hidden_character(text, length)) {
            fwrite(text, 1, length, out);
            written++;
        } else {
            length = length ? length : 1;
            for (size_t i = 0; i < length; i++) {
                unsigned char c = (unsigned char)text[i];
                written += (size_t)(c == '\n'   ? fprintf(out, "\\n")
                                    : c == '\t' ? fprintf(out, "\\t")
                                                : fprintf(out, "\\x%02x", c));
            }
        }
        text += length;
        total -= length;
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
