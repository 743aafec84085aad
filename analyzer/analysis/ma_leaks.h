/* SPDX-License-Identifier: MIT
 *
 * The blocks live at the end, beyond their sums: for each row of an analysis
 * their ages, their threads and their trend, found in one walk over the live
 * set when a report first asks. A stack of several processes is judged by the
 * one that leaked most of it.
 */
#ifndef MA_LEAKS_H
#define MA_LEAKS_H

#include "ma_analysis.h"
#include "ma_trend.h"

struct ma_leak {
    uint64_t oldest, youngest;      /* ns before the end of their process */
    uint32_t threads;               /* that allocated them */
    const struct ma_stream *thread; /* the one with most bytes of them; NULL: unknown */
    uint64_t thread_bytes;
    const struct ma_suppression *suppressed; /* NULL: it is shown */
    double life;                             /* s: of the process that the trend is of */
    struct ma_trend trend;
};

struct ma_leaks {
    uint64_t suppressed_bytes, suppressed_blocks, suppressed_stacks;
    struct ma_suppression runtime; /* what the C and C++ runtimes keep (ma_runtime.h) */
    struct ma_leak *of;            /* by row */
    size_t n;
};

/* The leaks of the rows as they are; owned by the analysis until its rows are
 * built anew. NULL if memory is short. */
const struct ma_leaks *ma_leaks_get(struct ma_analysis *analysis);

/* Live bytes of one process in stacks that grew and are not left out. Returns 0 or
 * -ENOMEM. */
int ma_leaks_growing(struct ma_analysis *analysis, const struct ma_account *account,
                     uint64_t *bytes);

void ma_leaks_free(struct ma_leaks *leaks);

/* Add ages and threads of the blocks of one process: of site i to leaks[rows[i]],
 * unless that is MA_NONE, and set life and trend there to the site's if wanted[i]. A leak
 * begins with `youngest` at its most. Returns 0 or -ENOMEM. */
int ma_leaks_walk(struct ma_analysis *analysis, const struct ma_account *account,
                  const uint32_t *rows, const bool *wanted, struct ma_leak *leaks);

/* Add ages and threads of other processes. */
void ma_leak_unite(struct ma_leak *leak, const struct ma_leak *other);

/* The process that leaked most of a row that leaked. */
const struct ma_process *ma_leak_process(const struct ma_analysis *analysis,
                                         const struct ma_row *row);

/* The trend as a sentence without full stop: "grows by 1.2 MiB/s: …". Returns
 * buffer. */
#define MA_REASON_SIZE 320
const char *ma_leak_reason(const struct ma_leak *leak, const struct ma_row *row,
                           char buffer[MA_REASON_SIZE]);

/* "1.2 MiB/s" */
const char *ma_leak_rate(double bytes_per_second, char *buffer, size_t size);

/* Bytes a second that it grew by at the end: none if its thread or its work had ended. */
double ma_leak_slope(const struct ma_leak *leak);

/* Bytes that a row will hold an hour after the end if it goes on like this. */
double ma_leak_projected(const struct ma_leak *leak, uint64_t bytes);

#endif
