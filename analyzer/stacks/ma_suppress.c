/* SPDX-License-Identifier: MIT
 *
 * Suppressions; see ma_suppress.h. The pattern's meaning is that of
 * TemplateMatch in compiler-rt's sanitizer_common.
 */
#include "ma_suppress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_BYTES 4096

bool ma_suppress_matches(const char *pattern, const char *name)
{
    bool anchored = *pattern == '^', star = false;
    if (!name || !*name)
        return false;
    pattern += anchored;
    while (*pattern) {
        if (*pattern == '*') {
            pattern++;
            anchored = false;
            star = true;
            continue;
        }
        if (*pattern == '$')
            return !*name || star;
        size_t n = strcspn(pattern, "*$");
        const char *at = memmem(name, strlen(name), pattern, n);
        if (anchored && at != name)
            return false;
        /* Text before a "$" has to be at the end: the last place counts. */
        if (at && pattern[n] == '$' && !anchored) {
            size_t length = strlen(name);
            at = length >= n && memcmp(name + length - n, pattern, n) == 0 ? name + length - n
                                                                           : NULL;
        }
        if (!at)
            return false;
        name = at + n;
        pattern += n;
        anchored = star = false;
    }
    return true;
}

static int add_line(struct ma_suppressions *suppressions, const char *line, size_t length,
                    const char *source, unsigned number, struct ma_error *error)
{
    while (length && strchr(" \t", *line)) {
        line++;
        length--;
    }
    while (length && strchr(" \t\r", line[length - 1]))
        length--;
    if (!length || *line == '#')
        return 0;
    if (length < 5 || strncmp(line, "leak:", 5) != 0)
        return ma_fail(error, -EINVAL,
                       "%s:%u: expected leak:PATTERN, a comment that begins with #, or nothing, "
                       "but found \"%.*s\"",
                       source, number, (int)(length < 60 ? length : 60), line);
    if (length == 5)
        return ma_fail(error, -EINVAL, "%s:%u: expected a pattern after leak:", source, number);
    if (!MA_RESERVE(suppressions->all, suppressions->n, suppressions->capacity))
        return ma_fail_memory(error);
    char *pattern = strndup(line + 5, length - 5);
    if (!pattern)
        return ma_fail_memory(error);
    suppressions->all[suppressions->n++] =
        (struct ma_suppression){.pattern = pattern, .source = source, .line = number};
    return 0;
}

int ma_suppress_parse(struct ma_suppressions *suppressions, const char *text, const char *source,
                      struct ma_error *error)
{
    int result = 0;
    for (unsigned number = 1; *text && result == 0; number++) {
        size_t length = strcspn(text, "\n");
        result = add_line(suppressions, text, length, source, number, error);
        text += length + (text[length] == '\n');
    }
    return result;
}

int ma_suppress_load(struct ma_suppressions *suppressions, const char *path, struct ma_error *error)
{
    FILE *file = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    int result = 0;
    if (!file)
        return ma_fail(error, -errno, "%s: %s: expected a file of suppressions", path,
                       strerror(errno));
    for (unsigned number = 1; result == 0; number++) {
        errno = 0;
        ssize_t n = getline(&line, &room, file);
        if (n < 0)
            break;
        if (n > LINE_MAX_BYTES || memchr(line, '\0', (size_t)n)) {
            result = ma_fail(error, -EINVAL, "%s:%u: expected a line of text of at most %d bytes",
                             path, number, LINE_MAX_BYTES);
            break;
        }
        n -= n && line[n - 1] == '\n';
        result = add_line(suppressions, line, (size_t)n, path, number, error);
    }
    if (result == 0 && ferror(file))
        result = ma_fail(error, -EIO, "%s: %s", path, strerror(errno ? errno : EIO));
    free(line);
    fclose(file);
    return result;
}

void ma_suppress_free(struct ma_suppressions *suppressions)
{
    for (size_t i = 0; i < suppressions->n; i++)
        free(suppressions->all[i].pattern);
    free(suppressions->all);
    *suppressions = (struct ma_suppressions){0};
}

struct ma_suppression *ma_suppress_find(const struct ma_suppressions *suppressions,
                                        const struct ma_frame *frames, size_t n)
{
    for (size_t k = 0; k < suppressions->n; k++) {
        struct ma_suppression *one = &suppressions->all[k];
        for (size_t i = 0; i < n; i++) {
            if (ma_suppress_matches(one->pattern, frames[i].function) ||
                ma_suppress_matches(one->pattern, frames[i].file) ||
                ma_suppress_matches(one->pattern, frames[i].module))
                return one;
        }
    }
    return NULL;
}
