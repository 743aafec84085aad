/* SPDX-License-Identifier: MIT
 *
 * Names and numbers of exporters; see ma_export_strings.h.
 */
#include "ma_export_strings.h"

#include <stdio.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_text.h"

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return ma_mix(hash);
}

static bool grow_slots(struct ma_strings *names)
{
    if (2 * (names->n + 1) <= names->n_slots)
        return true;
    size_t n_slots = names->n_slots ? 2 * names->n_slots : 256;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots)
        return false;
    for (size_t i = 0; i < names->n; i++) {
        size_t at = (size_t)hash_text(names->texts[i]) & (n_slots - 1);
        while (slots[at])
            at = (at + 1) & (n_slots - 1);
        slots[at] = (uint32_t)i + 1;
    }
    free(names->slots);
    names->slots = slots;
    names->n_slots = n_slots;
    return true;
}

uint32_t ma_strings_add(struct ma_strings *names, const char *text)
{
    if (names->n >= MA_NONE - 1 || !grow_slots(names) ||
        !MA_RESERVE(names->texts, names->n, names->capacity))
        return MA_NONE;
    size_t mask = names->n_slots - 1, at = (size_t)hash_text(text) & mask;
    for (; names->slots[at]; at = (at + 1) & mask) {
        if (strcmp(names->texts[names->slots[at] - 1], text) == 0)
            return names->slots[at] - 1;
    }
    char *copy = strdup(text);
    if (!copy)
        return MA_NONE;
    names->texts[names->n] = copy;
    names->slots[at] = (uint32_t)names->n + 1;
    return (uint32_t)names->n++;
}

uint32_t ma_strings_add_line(struct ma_strings *names, const char *text)
{
    if (ma_export_is_line(text))
        return ma_strings_add(names, text);
    char *line = ma_export_line(text);
    uint32_t number = line ? ma_strings_add(names, line) : MA_NONE;
    free(line);
    return number;
}

void ma_strings_free(struct ma_strings *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->texts[i]);
    free(names->texts);
    free(names->slots);
    *names = (struct ma_strings){0};
}

uint32_t ma_pairs_add(struct ma_pairs *pairs, uint32_t a, uint32_t b, bool *is_new)
{
    uint64_t key = (uint64_t)a << 32 | b;
    uint32_t number = ma_map_get(&pairs->map, key);
    *is_new = number == MA_NONE;
    if (!*is_new)
        return number;
    if (pairs->n == MA_NONE || ma_map_set(&pairs->map, key, pairs->n) < 0)
        return MA_NONE;
    return pairs->n++;
}

void ma_pairs_free(struct ma_pairs *pairs)
{
    ma_map_free(&pairs->map);
    *pairs = (struct ma_pairs){0};
}

bool ma_export_is_line(const char *text)
{
    while (*text >= ' ' && *text <= '~')
        text++;
    return !*text;
}

char *ma_export_line(const char *text)
{
    char *line = NULL;
    size_t size;
    if (ma_export_is_line(text))
        return strdup(text);
    FILE *out = open_memstream(&line, &size);
    if (!out)
        return NULL;
    ma_write_text(out, text, SIZE_MAX);
    if (fclose(out) != 0) {
        free(line);
        return NULL;
    }
    return line;
}

char *ma_export_command(const struct ma_analysis *analysis)
{
    char *line = NULL;
    size_t size;
    FILE *out = open_memstream(&line, &size);
    if (!out)
        return NULL;
    const struct ma_process *process =
        analysis->trace.n_processes ? analysis->trace.processes[0] : NULL;
    const char *program = process ? ma_process_text(process, MLF_TEXT_EXE) : "";
    ma_write_text(out, program[0] ? program : "(unknown program)", SIZE_MAX);
    if (process) {
        const struct ma_text *text = &process->texts[MLF_TEXT_ARGS];
        size_t at = 0;
        for (bool first = true; at < text->size; first = false) {
            if (!first) { /* the program's own name is there already */
                putc(' ', out);
                ma_write_text(out, text->data + at, SIZE_MAX);
            }
            at += strlen(text->data + at) + 1;
        }
    }
    char *filter = analysis->filter ? ma_filter_text(analysis->filter) : NULL;
    bool failed = analysis->filter && !filter;
    if (filter) {
        fputs(", ", out);
        ma_write_text(out, filter, SIZE_MAX);
    }
    free(filter);
    if (fclose(out) != 0 || failed) {
        free(line);
        return NULL;
    }
    return line;
}

uint64_t ma_export_time(const struct ma_analysis *analysis, const struct ma_point *point,
                        uint64_t *last)
{
    uint64_t time = ma_clock_ns(&analysis->trace, point->process, point->ticks);
    *last = time > *last ? time : *last;
    return *last;
}
