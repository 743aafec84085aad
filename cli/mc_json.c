/* SPDX-License-Identifier: MIT
 *
 * Reading single values; see mc_json.h.
 */
#include "mc_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mc_json_find(const char *at, const char *name)
{
    char quoted[64];
    int n = snprintf(quoted, sizeof quoted, "\"%s\":", name);
    const char *found = at ? strstr(at, quoted) : NULL;
    if (!found)
        return NULL;
    found += n;
    return found + strspn(found, " \n");
}

/* Append a code point as UTF-8. */
static size_t put_point(char *to, unsigned point)
{
    if (point < 0x20 || point == 0x7f) {
        to[0] = '?';
        return 1;
    }
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (char)(0xc0 | point >> 6);
        to[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    to[0] = (char)(0xe0 | point >> 12);
    to[1] = (char)(0x80 | (point >> 6 & 0x3f));
    to[2] = (char)(0x80 | (point & 0x3f));
    return 3;
}

bool mc_json_string(const char *value, char *text, size_t size)
{
    size_t n = 0;
    if (!value || *value != '"')
        return false;
    for (const char *p = value + 1; *p && *p != '"' && n + 4 < size; p++) {
        char hex[5] = "";
        if (*p != '\\') {
            text[n++] = (unsigned char)*p < 0x20 ? '?' : *p;
        } else if (*++p == 'u') {
            strncpy(hex, p + 1, 4);
            if (strlen(hex) < 4)
                break;
            n += put_point(text + n, (unsigned)strtoul(hex, NULL, 16));
            p += 4;
        } else if (!*p) {
            break;
        } else {
            text[n++] = strchr("bfnrt", *p) ? '?' : *p;
        }
    }
    text[n] = 0;
    return true;
}

uint64_t mc_json_number(const char *value)
{
    return value ? strtoull(value, NULL, 10) : 0;
}
