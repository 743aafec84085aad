/* SPDX-License-Identifier: MIT
 *
 * The heap over time in a bounded number of points. Time is cut into slots;
 * each slot in which something happened keeps its highest moment, and its end
 * if a pause follows. When there are too many points slots become twice as
 * wide and the higher of two points stays, so the peak is never lost.
 *
 * Beside the sum, a bounded set of candidates: stacks that held a thousandth of
 * the peak so far or more, with their bytes at each point. The bytes of each
 * stack at the highest moment of the open slot are kept by copy-on-write, as
 * for the peak (ma_account.h): the moment has an epoch, and a stack saves its
 * value the first time it changes after it.
 *
 * It is an observer of the replay (ma_observer.h), and sums up what it is told.
 */
#ifndef MA_TIMELINE_H
#define MA_TIMELINE_H

#include "ma_account.h"
#include "ma_observer.h"

#define MA_POINTS 1000
#define MA_CANDIDATES 256

struct ma_point {
    uint64_t ns;    /* since the start of the trace's first process, as known then */
    uint64_t ticks; /* the same by the clock of `process` */
    struct ma_process *process;
    uint64_t bytes, blocks;
    uint64_t resident; /* UINT64_MAX: unknown */
};

struct ma_candidate {
    const struct ma_account *account;
    uint32_t site;
    uint64_t most;   /* the highest value in the series */
    uint64_t *bytes; /* one per point */
};

struct ma_held;  /* by one stack of one process */
struct ma_share; /* of one process */

struct ma_timeline {
    struct ma_observer observer;
    struct ma_point points[MA_POINTS];
    size_t n_points;
    struct ma_candidate candidates[MA_CANDIDATES];
    size_t n_candidates;
    uint64_t threshold;           /* live bytes that make a stack a candidate */
    uint64_t bytes, blocks, peak; /* joint; the most bytes so far */

    bool open;                    /* a slot has begun */
    uint64_t origin, width, slot; /* ns; number of the open slot */
    struct ma_point high, last;   /* of the open slot */
    uint64_t epoch;               /* of `high` */

    struct ma_share *shares; /* by process index */
    size_t n_shares;
};

/* A timeline whose `observer` is to be registered; NULL if memory is short. */
struct ma_timeline *ma_timeline_new(void);
void ma_timeline_free(struct ma_timeline *timeline);

#endif
