/* SPDX-License-Identifier: MIT
 *
 * The records that a process writes about itself (FORMAT.md section 5): what it
 * is, where it runs, what its clock and its memory are. They go to the
 * definitions of the calling thread's context, which is busy, and use its scratch.
 */
#ifndef LT_RECORDS_H
#define LT_RECORDS_H

#include <stdint.h>

#include "lt_trace.h"

/* Open what samples read; in a fork's child close the parent's and open its own. */
void lt_records_open(void);
void lt_records_after_fork(void);

/* PROCESS: how is an enum mlf_how. */
void lt_record_process(struct lt_context *c, int how, uint64_t parent_key);
void lt_record_texts(struct lt_context *c);    /* TEXT: the program, its arguments, the machine */
void lt_record_clock(struct lt_context *c);    /* CLOCK; the next one is due a second later */
void lt_record_counters(struct lt_context *c); /* COUNTERS */
struct lt_totals;
void lt_record_totals(struct lt_context *c, const struct lt_totals *totals); /* likewise */

/* MEMORY. Returns the resident bytes, 0 if they cannot be had. */
uint64_t lt_record_memory(struct lt_context *c, uint64_t now);

/* The periodic work, by whichever thread's event finds it due; inside that event. */
void lt_tick(struct lt_context *c, uint64_t now);

#endif
