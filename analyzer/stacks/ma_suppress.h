/* SPDX-License-Identifier: MIT
 *
 * Suppressions of known leaks, in the syntax of LeakSanitizer: lines
 * "leak:PATTERN", empty ones, and comments that begin with '#'. A pattern is
 * looked for in function, source file and module of each frame of a stack; '*'
 * stands for any text, '^' at its beginning and '$' at its end for the ends of
 * the name.
 */
#ifndef MA_SUPPRESS_H
#define MA_SUPPRESS_H

#include "ma_error.h"
#include "ma_stacks.h"

struct ma_suppression {
    char *pattern;
    const char *source; /* the file's name as given; must outlive it */
    unsigned line;
    uint64_t bytes, blocks, stacks; /* that it hides */
};

struct ma_suppressions {
    struct ma_suppression *all;
    size_t n, capacity;
};

/* Add those of a file. Returns 0 or a negative errno with a message. */
int ma_suppress_load(struct ma_suppressions *suppressions, const char *path,
                     struct ma_error *error);

/* Add those of a text; `source` is its name in messages. */
int ma_suppress_parse(struct ma_suppressions *suppressions, const char *text, const char *source,
                      struct ma_error *error);

void ma_suppress_free(struct ma_suppressions *suppressions);

/* The first that matches a stack, or NULL. */
struct ma_suppression *ma_suppress_find(const struct ma_suppressions *suppressions,
                                        const struct ma_frame *frames, size_t n);

/* True if a pattern matches a name. */
bool ma_suppress_matches(const char *pattern, const char *name);

#endif
