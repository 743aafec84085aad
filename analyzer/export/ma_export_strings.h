/* SPDX-License-Identifier: MIT
 *
 * Strings of exporters: names of a trace made fit for other tools, each kept
 * once and known by a number, and the frames of a stack by such numbers.
 */
#ifndef MA_EXPORT_STRINGS_H
#define MA_EXPORT_STRINGS_H

#include "ma_analysis.h"

/* The name of a stack that the trace could not tell. */
#define MA_NO_STACK "(no stack)"

/* Distinct texts, numbered from 0 in the order they came. All zero is empty. */
struct ma_strings {
    char **texts;
    size_t n, capacity;
    uint32_t *slots; /* by hash: number + 1, 0 for none */
    size_t n_slots;
};

/* The number of a text (any bytes but NUL), which is copied if it is new;
 * MA_NONE if memory is short. */
uint32_t ma_strings_add(struct ma_strings *names, const char *text);
/* The same for the text as ma_export_line makes it. */
uint32_t ma_strings_add_line(struct ma_strings *names, const char *text);
void ma_strings_free(struct ma_strings *names);

/* Two numbers as one: distinct pairs, numbered from 0; *is_new tells whether
 * this one was. MA_NONE if memory is short. All zero is empty. */
struct ma_pairs {
    struct ma_map map;
    uint32_t n;
};
uint32_t ma_pairs_add(struct ma_pairs *pairs, uint32_t a, uint32_t b, bool *is_new);
void ma_pairs_free(struct ma_pairs *pairs);

/* The program and its arguments, of the first process, in one line of text
 * without control characters: a string to free, NULL if memory is short. */
char *ma_export_command(const struct ma_analysis *analysis);

/* True if text is plain ASCII in one line: nothing is to be escaped there. */
bool ma_export_is_line(const char *text);

/* A copy of text as one line, to free: control characters and invalid UTF-8
 * become \n, \t or \xHH. NULL if memory is short. */
char *ma_export_line(const char *text);

/* The time of a point of the timeline, ns since the start; never less than
 * *last, which it sets: clocks of two processes may differ by a little. */
uint64_t ma_export_time(const struct ma_analysis *analysis, const struct ma_point *point,
                        uint64_t *last);

#endif
