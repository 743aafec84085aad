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

/* Index of the frame that a person should open, among n > 0: the innermost one of the
 * program itself with a source file; where none has one, the innermost of the program,
 * with a name if that of ma_label_frame is such; where there is none either, that of
 * ma_label_frame. In a program of the system's, as interpreters are, generated code of the
 * user's comes before all of these. */
size_t ma_label_own_frame(const struct ma_frame *frames, size_t n);

/* Whether a frame is the program's own and no allocation wrapper: of the executable, or
 * of a library that does not lie where systems keep theirs, or of generated code that has
 * a name and is not its runtime's. */
bool ma_label_is_own(const struct ma_frame *frame);

/* A path's last two parts, within it: enough to know a source file by. */
const char *ma_label_short_path(const char *path);

/* True if a function of this name only wraps the allocator. */
bool ma_label_is_wrapper(const char *function);

#endif
