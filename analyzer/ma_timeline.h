/* SPDX-License-Identifier: MIT
 *
 * The heap over time in a bounded number of points. Time is cut into slots;
 * each slot in which something happened keeps its highest moment, and its end
 * if a pause follows. When there are too many points slots become twice as
 * wide and the higher of two points stays, so the peak is never lost.
 *
 * Beside the sum, a bounded set of candidates: stacks that held a thousandth
 * of the peak so far or more, with their bytes at each point.
 */
#ifndef MA_TIMELINE_H
#define MA_TIMELINE_H

#include "ma_account.h"

#define MA_POINTS 1000
#define MA_CANDIDATES 256

struct ma_point {
    uint64_t ticks;
    struct ma_process *process; /* whose clock ticks are */
    uint64_t bytes, blocks;
    uint64_t resident; /* UINT64_MAX: unknown */
};

struct ma_candidate {
    struct ma_account *account;
    uint32_t use;
    uint64_t most;   /* the highest value in the series */
    uint64_t *bytes; /* one per point */
};

struct ma_timeline {
    struct ma_point points[MA_POINTS];
    size_t n_points;
    struct ma_candidate candidates[MA_CANDIDATES];
    size_t n_candidates;
    uint64_t threshold; /* live bytes that make a use a candidate */

    bool open; /* a slot has begun */
    uint64_t origin, width, slot; /* ticks; number of the open slot */
    struct ma_point high, last;   /* of the open slot */
    uint64_t epoch;               /* of `high` */
};

void ma_timeline_init(struct ma_timeline *timeline);
void ma_timeline_free(struct ma_timeline *timeline);

/* Call for each change of the joint heap, after it, with the moment and the
 * values since; `resident` UINT64_MAX if unknown. Uses save slot_bytes for
 * timeline->epoch before they change. */
void ma_timeline_advance(struct ma_timeline *timeline, const struct ma_point *now);
void ma_timeline_sample(struct ma_timeline *timeline, const struct ma_point *now);
void ma_timeline_finish(struct ma_timeline *timeline);

/* Watch a use from now on. Returns 0 or -ENOMEM. */
int ma_timeline_watch(struct ma_timeline *timeline, struct ma_account *account, uint32_t use,
                      uint64_t peak);

#endif
