/* SPDX-License-Identifier: MIT
 *
 * Retired processes: sums by stack, common to all of them, and the ages, threads
 * and trend of the blocks they leaked. A trace of a build with thousands of
 * compilers thus needs the memory of those that run at one time, and of the
 * distinct stacks of all.
 *
 * The replay decides which process is retired and when (ma_replay_process.h).
 * Events of a retired process are still replayed: new blocks are right, and frees
 * of blocks from before are unmatched frees in the audit. A killed process left no
 * PROCESS_END and may only be silent, so it keeps its books until another process
 * has its pid.
 *
 * Nothing is retired in a pass with observers (ma_analysis_retire), which look at
 * single processes or blocks: --per-process, timelines, the exports of events, and
 * filters, whose books judge a process's blocks after its end, too. Nor while a
 * stream is followed: its reports are made from the same analysis again and again,
 * and names may come after the report that lacked them. A followed file is read
 * anew for each report, with retiring.
 */
#ifndef MA_RETIRE_H
#define MA_RETIRE_H

#include "ma_analysis.h"
#include "ma_leaks.h"

struct ma_retired { /* of one stack; as in struct ma_row */
    uint64_t first; /* process index << 32 | site: the first of those that had it */
    uint64_t leaked_bytes, leaked_blocks, calls, bytes, temporary;
    uint64_t peak_bytes, peak_blocks, peak_epoch;
    struct ma_own_peak own;
    uint64_t held, held_by; /* what the largest holder leaked; who, as above */
    uint32_t holders;
    uint32_t leak;         /* 1 + index; 0: none */
    uint32_t retired_node; /* ma_stacks.h */
};

struct ma_retire {
    struct ma_analysis *analysis;
    struct ma_retired *rows;
    size_t n_rows, row_capacity;
    struct ma_map row_of;  /* retired node to index */
    struct ma_leak *leaks; /* of those that have leaked; the trend is that of the holder */
    size_t n_leaks, leak_capacity;
    bool sorted;                     /* the rows are taken: no process is retired any more */
    uint64_t unknown, unknown_leaks; /* sites, and those that leaked, of undefined stacks */
};

struct ma_retire *ma_retire_new(struct ma_analysis *analysis);
void ma_retire_free(struct ma_retire *retire);

/* Retire a process: a struct ma_retire is `context`. Returns 0 or -ENOMEM. */
int ma_retire_account(void *context, struct ma_account *account);

/* Sort the rows by their `first`. Requires that it was not done before: row_of is
 * gone then, and the rows of a further process would be counted twice. */
void ma_retire_sort(struct ma_retire *retire);

#endif
