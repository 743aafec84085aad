/* SPDX-License-Identifier: MIT
 *
 * What is kept of processes that are over: sums by stack, common to all of them,
 * and what is told of the blocks they leaked. So a trace of a build, of which
 * thousands of compilers are part, needs the memory of those that run at one time,
 * and of the distinct stacks of all.
 *
 * The replay says which process is folded and when (ma_replay_process.h). Events of
 * one that was folded are replayed all the same: new blocks are right, and ends of
 * blocks from before are unmatched frees of the audit. One that was killed told no end:
 * it may be silent, so it keeps its books until its pid comes again.
 *
 * Not for those who look at single processes or blocks, as observers do: --per-process,
 * timelines, the exports of events (ma_analysis_fold). Not with filters, whose books are
 * kept beside those of the replay and judge a process's blocks after its end, too. Not
 * when a stream is followed: its reports are made again and again while processes are
 * folded, each from stacks of its own, for names may come after the report that lacked
 * them. A file that is followed is read anew for each report, and folded.
 */
#ifndef MA_FOLD_H
#define MA_FOLD_H

#include "ma_analysis.h"
#include "ma_leaks.h"

struct ma_folded { /* of one stack; as in struct ma_row */
    uint64_t first; /* process index << 32 | use: the first of those that had it */
    uint64_t leaked_bytes, leaked_blocks, calls, bytes, temporary;
    uint64_t peak_bytes, peak_blocks, peak_epoch;
    uint64_t held, held_by; /* what the largest holder leaked; who, as above */
    uint32_t holders;
    uint32_t leak;  /* 1 + index; 0: none */
    uint32_t place; /* ma_stacks.h */
};

struct ma_fold {
    struct ma_analysis *analysis;
    struct ma_folded *rows;
    size_t n_rows, row_capacity;
    struct ma_map row_of; /* place to index */
    struct ma_leak *leaks; /* of those that have leaked; the trend is that of the holder */
    size_t n_leaks, leak_capacity;
    uint64_t unknown, unknown_leaks; /* uses, and those that leaked, of undefined stacks */
};

struct ma_fold *ma_fold_new(struct ma_analysis *analysis);
void ma_fold_free(struct ma_fold *fold);

/* Fold a process: a struct ma_fold is `context`. Returns 0 or -ENOMEM. */
int ma_fold_account(void *context, struct ma_account *account);

/* Sort the rows by their `first`. */
void ma_fold_sort(struct ma_fold *fold);

#endif
