/* SPDX-License-Identifier: MIT
 *
 * How the program ended, written into its trace by the process that waited for it: a
 * program that a signal killed says nothing itself.
 */
#ifndef MC_ENDING_H
#define MC_ENDING_H

#include "mc_job.h"

/* Append a CHILD_END record to the trace in this file, which this run made. Others may
 * still write to it. Where that cannot be done (compressed, disk full, the program is not in
 * it), the file is left as it is. */
void mc_ending_append(const char *path, const struct mc_job *job);

#endif
