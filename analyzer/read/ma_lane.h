/* SPDX-License-Identifier: MIT
 *
 * Decoding ahead on a second core. A lane is a ring of batches between two threads:
 * the worker decodes a chunk into it, the merge takes batches out, in the order of
 * the chunk. The worker's presence and progress change when events are decoded and
 * nothing else: the merge decodes the next batch itself where the ring is empty, so
 * it never waits for more than a batch.
 *
 * The lane owns the decoder and its payload from ma_lane_open until the batch whose
 * status is not MA_DECODE_MORE was taken, or until ma_lane_close. All functions are
 * for the thread of the merge.
 */
#ifndef MA_LANE_H
#define MA_LANE_H

#include "ma_decode.h"

struct ma_lane;
struct ma_lanes; /* a worker with a few lanes; memory: a MiB for each in use */

struct ma_batch {
    struct ma_event *events;
    size_t n;
    enum ma_decode_status status;
};

/* NULL if there is no second core for this process, or no memory or thread. */
struct ma_lanes *ma_lanes_start(void);
void ma_lanes_stop(struct ma_lanes *lanes); /* NULL will do */

/* A lane that decodes what the decoder was set to; NULL if all are taken. */
struct ma_lane *ma_lane_open(struct ma_lanes *lanes, struct ma_decoder *decoder);

/* The next batch, valid until the next call for this lane; the one before is
 * given back. */
struct ma_batch ma_lane_take(struct ma_lane *lane);

/* Batches that were decoded and not yet taken: for a look at the latest. */
size_t ma_lane_waiting(struct ma_lane *lane);
const struct ma_batch *ma_lane_peek(struct ma_lane *lane, size_t i);

/* Hold the worker off the decoder while the merge looks at it. */
void ma_lane_pause(struct ma_lane *lane);
void ma_lane_resume(struct ma_lane *lane);

void ma_lane_close(struct ma_lane *lane); /* for another chunk */

#endif
