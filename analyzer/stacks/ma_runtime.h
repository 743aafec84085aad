/* SPDX-License-Identifier: MIT
 *
 * Blocks that the C and C++ runtimes keep for themselves until the end: buffers of
 * standard streams, the pool for exceptions, what threads, locales, time zones and
 * the loader need. No program can free them. Called by the leaks.
 */
#ifndef MA_RUNTIME_H
#define MA_RUNTIME_H

#include "ma_stacks.h"

/* What is known of frames, by their number. All zero is empty. */
struct ma_runtime {
    unsigned char *known;
    size_t n;
};

/*
 * Returns 1 if the blocks of a stack are a runtime's own, 0 if not, or -ENOMEM: all
 * frames from the innermost to a function that keeps its blocks are of the runtimes'
 * objects, or the loader had begun the stack and all its frames are. `most` is how
 * many such blocks one process may have; SIZE_MAX: any number. Looks at the innermost
 * frames only, and for names of the runtimes' objects alone.
 */
int ma_runtime_owns(struct ma_runtime *runtime, struct ma_stacks *stacks, uint32_t stack,
                    size_t *most);

void ma_runtime_free(struct ma_runtime *runtime);

#endif
