/* SPDX-License-Identifier: MIT
 *
 * Suppressions of known leaks, in the syntax and with the meaning of LeakSanitizer:
 * lines "leak:PATTERN", empty ones, and comments that begin with '#'. A pattern is
 * looked for in the module of each frame of a stack from the innermost out, in its
 * function and in its source file; '*' stands for any text, '^' at its beginning and
 * '$' at its end for the ends of the name. A function's names are the one that reports
 * show and the one that LeakSanitizer's symboliser writes, with all parameters; blanks
 * before '>' do not count, because some symbolisers of C++ write them and some do not.
 */
#ifndef MA_SUPPRESS_H
#define MA_SUPPRESS_H

#include "ma_error.h"
#include "ma_stacks.h"

struct ma_suppression {
    char *pattern;
    char *squeezed;     /* without blanks before '>' */
    const char *source; /* the file's name as given; must outlive it */
    unsigned line;
    uint64_t bytes, blocks, stacks; /* that it hides */
};

struct ma_suppressions {
    struct ma_suppression *all;
    size_t n, capacity;
    uint32_t *found; /* by number of a frame: 0: not asked, 1: none, else 2 + index */
    size_t n_found;
};

/* Add those of a file. Returns 0 or a negative errno with a message. */
int ma_suppress_load(struct ma_suppressions *suppressions, const char *path,
                     struct ma_error *error);

/* Add those of a text; `source` is its name in messages. */
int ma_suppress_parse(struct ma_suppressions *suppressions, const char *text, const char *source,
                      struct ma_error *error);

void ma_suppress_free(struct ma_suppressions *suppressions);

/* The one that matches a stack: of the innermost frame that one matches, the first of
 * its module, else of its function, else of its file. *found is NULL if there is none.
 * Frames are known by their number. Returns 0 or -ENOMEM. */
int ma_suppress_find(struct ma_suppressions *suppressions, const struct ma_frame *frames, size_t n,
                     struct ma_suppression **found);

/* True if a pattern matches a name, as TemplateMatch of compiler-rt has it. */
bool ma_suppress_matches(const char *pattern, const char *name);

/* The whole names of a symbol, squeezed, to free: as binutils demangles it, and as LLVM
 * does if that is known to differ. NULL: there is none. Returns 0 or -ENOMEM. */
int ma_suppress_names(const char *linkage, char *names[2]);

/* Takes blanks before '>' out of a name, in place. */
void ma_suppress_squeeze(char *name);

#endif
