/* SPDX-License-Identifier: MIT
 *
 * The merge: one sequence of events out of the streams of all threads of all
 * processes of a trace, by time. It reads chunks ahead until watermarks
 * (FORMAT.md section 4) say that nothing earlier can follow, and further, so
 * that definitions and forks are known in time. It decodes ahead on a second
 * core, if there is one (ma_lane.h). Memory: what is read ahead, with a bound,
 * and one batch for each open stream.
 *
 * Order of heads: time; forks and starts, then frees, then the rest; order of
 * appearance of the process; stream number; definitions before events.
 */
#ifndef MA_MERGE_H
#define MA_MERGE_H

#include "ma_feed.h"
#include "ma_reader.h"

struct ma_merge {
    struct ma_trace *trace; /* the caller's */
    struct ma_reader reader;
    bool stable;       /* payloads stay: nothing is copied */
    bool prompt;       /* set by the caller: hand out what is due while the input pauses */
    bool lanes_wanted; /* set by the caller: decode ahead if there is a second core */

    /* how far has been read, and what may go by now (the times are ticks) */
    bool ended;             /* the reader has no more chunks */
    bool finished;          /* and their ends have been compared with what the trace says of them */
    uint64_t watermark;     /* of the chunks to come no event is before it */
    uint64_t cut;           /* once ended, of a trace that is being written: the latest event that
                             * was visible. Later ones are left out, as others before them may
                             * not have been seen; UINT64_MAX: nothing is left out */
    size_t since_watermark; /* stream: definitions chunks since it was computed */
    size_t queued;          /* cost (ma_feed_cost) of the events chunks held or referred to */
    size_t ahead;           /* so much is read ahead before anything goes, unless draining */
    size_t most;            /* beyond it the smallest head goes, sure or not */
    bool draining;          /* prompt: what is due goes before more is read */
    uint64_t drained;       /* ns of CLOCK_MONOTONIC: when that began last */
    uint64_t chunks;        /* that were read */

    /* feeds: one for each stream and kind of chunk; never removed before the end */
    struct ma_feed **feeds;
    size_t n_feeds, feed_capacity;
    struct ma_map feed_of;       /* process index, stream number and kind to index */
    struct ma_decoding decoding; /* what they share */
    uint64_t lanes_from;         /* bytes of a trace that is worth a second core; a test may
                                  * lower it */
    struct ma_feed **ready;      /* a binary heap of those with a head, the smallest first */
    size_t n_ready, ready_capacity;
    struct ma_feed **pending; /* those that may have a head once refilled; not in the heap */
    size_t n_pending, pending_capacity;
    struct ma_feed *current; /* heap[0], if the caller holds its first n_current heads */
    size_t n_current;
};

/* A run of heads of one stream, all before those of the others: valid until
 * the next call. */
struct ma_run {
    const struct ma_event *events;
    size_t n;       /* one or more; a record is the last of its run */
    size_t n_ahead; /* n, and what is decoded behind them: to look at, not to use */
    bool fresh;     /* nothing of what is decoded was handed out before */
    struct ma_process *process;
    struct ma_stream *stream; /* NULL: a record of a definitions chunk */
    uint32_t number;          /* of the stream */
};

/* One event of a run. */
struct ma_merged {
    const struct ma_event *event;
    struct ma_process *process;
    struct ma_stream *stream;
    uint32_t number;
};

/* Start on a source: reads the trace header. The trace and the source stay the
 * caller's and must outlive the merge. */
int ma_merge_init(struct ma_merge *merge, struct ma_trace *trace, struct ma_source *source,
                  struct ma_error *error);
void ma_merge_free(struct ma_merge *merge);

/* The process is over: what was kept to go on decoding its definitions is let go.
 * More of them may come all the same. */
void ma_merge_forget(struct ma_merge *merge, const struct ma_process *process);

/* The next run, of at most `most` events: 1, or 0 at the end, or a negative
 * errno (no memory). */
int ma_merge_next(struct ma_merge *merge, size_t most, struct ma_run *run);

/* The merge's position in its source, of *size (0: unknown), in bytes of the
 * source: an estimate, for progress only. */
uint64_t ma_merge_progress(const struct ma_merge *merge, uint64_t *size);

/* Look for definitions that were written since: for a name that is unknown.
 * Returns 0 or -ENOMEM. */
int ma_merge_poll(struct ma_merge *merge);

#endif
