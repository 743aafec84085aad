/* SPDX-License-Identifier: MIT
 *
 * Times in which processes of the trace did not record, paused by whoever asked: how
 * many, and how long.
 */
#ifndef MA_GAPS_H
#define MA_GAPS_H

#include "ma_trace.h"

/* The number of all processes' gaps. */
uint64_t ma_gaps_count(const struct ma_trace *trace);

/* A gap in ns since the start of the trace's first process; one that is open ends where
 * its process does, or its last event. */
struct ma_gap_ns {
    uint64_t from, to;
};
struct ma_gap_ns ma_gap_ns(const struct ma_trace *trace, const struct ma_process *process,
                           const struct ma_gap *gap);

/* The length of all gaps; of those of several processes at one time the sum. */
uint64_t ma_gaps_ns(const struct ma_trace *trace);

/* "recording was paused for 5.1 s", for outputs that have a line for it; "" if it was
 * not. Returns buffer. */
#define MA_GAPS_WORDS 64
const char *ma_gaps_words(const struct ma_trace *trace, char buffer[MA_GAPS_WORDS]);

#endif
