/* SPDX-License-Identifier: MIT
 *
 * Facts from the symbol tables of the traced executable, beside names of
 * frames: allocators that are linked into it, whose blocks no hook sees, and
 * the text of its __lsan_default_suppressions(). Static means only: the file is
 * read, never run.
 */
#ifndef MA_EXECUTABLE_H
#define MA_EXECUTABLE_H

#include <libelf.h>
#include <stdbool.h>
#include <stddef.h>

#define MA_ALLOCATORS 8

struct ma_executable_allocator {
    const char *name;   /* static: "jemalloc" */
    const char *symbol; /* static: the symbol that gave it away */
};

struct ma_executable {
    struct ma_executable_allocator allocators[MA_ALLOCATORS];
    size_t n_allocators;
    bool has_suppressions; /* it defines __lsan_default_suppressions */
    char *suppressions;    /* the text, or NULL: it is not a plain constant */
};

/* Read a file that was held against the recorded build-id. Free in any case.
 * Returns 0 or -ENOMEM. */
int ma_executable_read(struct ma_executable *executable, Elf *elf);
void ma_executable_free(struct ma_executable *executable);

#endif
