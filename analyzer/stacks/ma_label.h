/* SPDX-License-Identifier: MIT
 *
 * The name a stack goes by: that of the innermost frame which is not there
 * merely to allocate for others.
 */
#ifndef MA_LABEL_H
#define MA_LABEL_H

#include "ma_stacks.h"

/* Index of that frame among n > 0. The innermost frame without a name, if only
 * wrappers and functions that begin a program or a thread have one. */
size_t ma_label_frame(const struct ma_frame *frames, size_t n);

/* Index of the innermost frame of the program itself, no allocation wrapper: of
 * `executable` (its path), or of a library that does not lie where systems keep
 * theirs, or of generated code that has a name. In a program of the system's, as interpreters
 * are, generated code comes before the executable's. That of ma_label_frame, if there is
 * none. */
size_t ma_label_own_frame(const struct ma_frame *frames, size_t n, const char *executable);

/* A path's last two parts, within it: enough to know a source file by. */
const char *ma_label_short_path(const char *path);

/* True if a function of this name only wraps the allocator. */
bool ma_label_is_wrapper(const char *function);

#endif
