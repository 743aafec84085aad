/* SPDX-License-Identifier: MIT
 *
 * Ticks to nanoseconds. Each process has a clock of its own; processes of one
 * trace meet on the time line of the first.
 */
#ifndef MA_CLOCK_H
#define MA_CLOCK_H

#include "ma_trace.h"

/* Counts of the process's unshifted clock per second: from its record, from
 * its CLOCK records, or (then *guessed is set) taken to be 10^9. */
uint64_t ma_clock_rate(const struct ma_process *process, bool *guessed);

/* Nanoseconds since the start of the process; negative before it. */
int64_t ma_clock_since_start(const struct ma_process *process, uint64_t ticks);

/* Nanoseconds since the start of the trace's first process, not below 0. */
uint64_t ma_clock_ns(const struct ma_trace *trace, const struct ma_process *process,
                     uint64_t ticks);

/* Ticks of the process that make up ns nanoseconds. */
uint64_t ma_clock_ticks(const struct ma_process *process, uint64_t ns);

#endif
