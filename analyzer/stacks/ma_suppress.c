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
        /* The first place counts, also before a "$": "ab$" is not in "abab". */
        size_t n = strcspn(pattern, "*$");
        const char *at = memmem(name, strlen(name), pattern, n);
        if (!at || (anchored && at != name))
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
    char *squeezed = strndup(line + 5, length - 5);
    if (!pattern || !squeezed) {
        free(pattern);
        free(squeezed);
        return ma_fail_memory(error);
    }
    ma_suppress_squeeze(squeezed);
    suppressions->all[suppressions->n++] = (struct ma_suppression){
        .pattern = pattern, .squeezed = squeezed, .source = source, .line = number};
    if (suppressions->n_found)
        memset(suppressions->found, 0, suppressions->n_found * sizeof *suppressions->found);
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
    for (size_t i = 0; i < suppressions->n; i++) {
        free(suppressions->all[i].pattern);
        free(suppressions->all[i].squeezed);
    }
    free(suppressions->all);
    free(suppressions->found);
    *suppressions = (struct ma_suppressions){0};
}

/* Index of the first that matches one of these names, or n. */
static size_t first_of(const struct ma_suppressions *suppressions, const char *const *names,
                       size_t n_names, bool squeezed)
{
    for (size_t k = 0; k < suppressions->n; k++) {
        const struct ma_suppression *one = &suppressions->all[k];
        for (size_t i = 0; i < n_names; i++) {
            if (ma_suppress_matches(squeezed ? one->squeezed : one->pattern, names[i]))
                return k;
        }
    }
    return suppressions->n;
}

/* 2 + index of the one that matches a frame, or 1; 0 if memory is short. */
static uint32_t ask_frame(const struct ma_suppressions *suppressions, const struct ma_frame *frame)
{
    const char *module = frame->module ? frame->module : "<unknown module>";
    size_t k = first_of(suppressions, &module, 1, false);
    if (k == suppressions->n && frame->function) {
        char *whole[2], *shown = strdup(frame->function);
        if (!shown || ma_suppress_names(frame->linkage, whole) < 0) {
            free(shown);
            return 0;
        }
        ma_suppress_squeeze(shown);
        k = first_of(suppressions, (const char *const[]){shown, whole[0], whole[1]}, 3, true);
        free(shown);
        free(whole[0]);
        free(whole[1]);
    }
    if (k == suppressions->n)
        k = first_of(suppressions, &frame->file, 1, false);
    return k == suppressions->n ? 1 : (uint32_t)k + 2;
}

int ma_suppress_find(struct ma_suppressions *suppressions, const struct ma_frame *frames, size_t n,
                     struct ma_suppression **found)
{
    *found = NULL;
    for (size_t i = 0; i < n && suppressions->n; i++) {
        if (!MA_HOLDS(suppressions->found, frames[i].number, suppressions->n_found))
            return -ENOMEM;
        uint32_t *known = &suppressions->found[frames[i].number];
        if (!*known && !(*known = ask_frame(suppressions, &frames[i])))
            return -ENOMEM;
        if (*known > 1) {
            *found = &suppressions->all[*known - 2];
            return 0;
        }
    }
    return 0;
}
