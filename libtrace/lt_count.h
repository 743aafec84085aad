/* SPDX-License-Identifier: MIT
 *
 * Counting of calls and bytes, traced or not, for mlog_stats. It stands between
 * the hooks and the real functions: while it is on, the pointers that the hooks
 * forward to lead through here, so a program that never asks does not pay one
 * instruction. Below the trace: it knows of none, and counts what is forwarded.
 *
 * A thread counts in a cache line of its own; lines are summed when they are
 * read, and go to the next thread when theirs ends, with what they hold.
 */
#ifndef LT_COUNT_H
#define LT_COUNT_H

#include <stdbool.h>
#include <stdint.h>

struct lt_real;

/* True if the program is to be counted from its first call on: MLOG_STATS=1, or
 * an object of it has mlog.h's note. Before there is a second thread. */
bool lt_count_is_wanted(void);

/* MLOG_STATS=0. */
bool lt_count_is_refused(void);

/* Lead the functions of `real` through the counting ones. Called once. */
enum {
    LT_COUNT_LATE = 1,    /* the program has blocks already */
    LT_COUNT_UNSIZED = 2, /* real->malloc_usable_size is not the allocator's own */
    LT_COUNT_NESTS = 4,   /* the functions may call each other by name */
};
void lt_count_wrap(struct lt_real *real, unsigned flags);

/* True once it counts. */
bool lt_count_is_on(void);

/* A block is about to be freed by a function that is not among lt_real's. */
void lt_count_freed(void *block);

/* Once it is on, and libc has begun: a fork's child must know that its thread is the
 * only one. */
void lt_count_watch_forks(void);

struct lt_counts {
    uint64_t allocations, allocated, frees, freed; /* since the last reset */
    int64_t blocks, bytes;                         /* in use */
    int64_t peak;                                  /* of bytes since the last reset: at least ... */
    uint64_t peak_error;                           /* ... and at most so many above */
    bool late;    /* it began in a running program: what is in use is relative to then */
    bool moving;  /* other threads' calls came in between */
    bool unsized; /* a size was not told: bytes are wrong */
    bool halved;  /* a fork came in the middle of another thread's call */
};
/* False: it is not on. Exact unless a flag says otherwise: all numbers are of one moment. */
bool lt_count_read(struct lt_counts *totals);
void lt_count_reset(void);

#endif
