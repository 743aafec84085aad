/* SPDX-License-Identifier: MIT
 *
 * Names and places short enough for the columns of a terminal, and runs of
 * frames that a person may pass over. Called by the text renderer for terminals
 * only: elsewhere nothing is shortened.
 */
#ifndef MA_RENDER_FIT_H
#define MA_RENDER_FIT_H

#include <stddef.h>

#include "ma_stacks.h"

/* A function's name in `columns` (8 or more): the innermost template arguments become
 * "<…>" until it fits, then the middle becomes "…". Returns name itself if it fits,
 * else buffer, which may hold less than `columns` if it is small. */
const char *ma_fit_name(const char *name, size_t columns, char *buffer, size_t size);

/* A file with its line, or a module, in `columns`: without its folder, then without
 * its middle. Returns as above. */
const char *ma_fit_place(const char *place, size_t columns, char *buffer, size_t size);

/* How many frames from `at` on, of n, are a run that one line may stand for: library
 * frames and wrappers behind the innermost frame, neither the label's nor the one that a
 * person should open. 0: none, or too few, or no frame of the stack is the program's own. */
size_t ma_fold_run(const struct ma_frame *frames, size_t n, size_t at);

#endif
