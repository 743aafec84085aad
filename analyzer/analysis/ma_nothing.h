/* SPDX-License-Identifier: MIT
 *
 * A report about nothing, which nobody should take for a healthy heap. A filter that
 * nothing in the trace matches, most often for a mistyped name: what there is instead. A
 * trace in which nothing came from the program: why.
 */
#ifndef MA_NOTHING_H
#define MA_NOTHING_H

#include <stdbool.h>
#include <stddef.h>

#include "ma_analysis.h"

/* True if a filter names processes, threads, functions, modules or a window behind the
 * trace's end (with --fail-on: any window), and no call of the trace passes it. Filters
 * by size, by age and by what is left out may well leave nothing: no mistake is seen in
 * them. Requires: the trace has been read. */
bool ma_nothing_matches(const struct ma_analysis *analysis);

/* What the trace has instead, as a sentence in buffer: processes, threads, the
 * functions whose names are nearest, modules, the duration. Returns buffer. */
const char *ma_nothing_sentence(struct ma_analysis *analysis, char *buffer, size_t size);

/* Where nothing matches, the error that says so: -ENOMSG, and else 0. */
int ma_nothing_check(struct ma_analysis *analysis, struct ma_error *error);

/* True if the whole trace has no call, or none with a frame of a process's executable on
 * its stack: then the sentence in buffer says of which program, why, and which command
 * tells more. False with a filter. Requires: the rows. */
bool ma_nothing_recorded(struct ma_analysis *analysis, char *buffer, size_t size);

#endif
