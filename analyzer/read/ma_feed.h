/* SPDX-License-Identifier: MIT
 *
 * A feed is one ordered source of events for the merge: an events stream of a
 * thread (chunks queue up, the first is decoded a batch at a time), or the
 * records with a moment of a definitions stream. Chunks may arrive late, out
 * of order or twice; a feed sorts what it still holds and refuses duplicates.
 */
#ifndef MA_FEED_H
#define MA_FEED_H

#include "ma_decode.h"
#include "ma_define.h"
#include "ma_fill.h"
#include "ma_lane.h"
#include "ma_reader.h"

#define MA_BATCH 256 /* events: 14 KB for each open stream */
#define MA_GAPS 16   /* runs of missing chunks that are known; what was in others is a duplicate */
/* Feeds between two pieces of a chunk keep its state; beyond so many the rest
 * of the chunk is given up. */
#define MA_DECODERS_KEPT ((size_t)1 << 15)

/* A chunk, or a piece of one, that waits for its turn. */
struct ma_piece {
    const unsigned char *payload;
    size_t size;
    uint64_t header, offset; /* of its header and payload in the trace */
    uint64_t base_time;
    uint32_t sequence, position;
    bool cut, owned;
};

/* The state that all feeds of a merge share. */
struct ma_decoding {
    size_t decoders;        /* kept by feeds */
    struct ma_lanes *lanes; /* NULL: no second core */
    size_t lane_least;      /* bytes of a piece that is worth a lane */
};

struct ma_feed {
    struct ma_process *process;
    struct ma_stream *stream; /* NULL for definitions; in a chunk that another thread took over,
                               * that one's, */
    struct ma_stream *own;    /* and else this */
    struct ma_feed *sibling;  /* another of the process, in the merge's list */
    struct ma_audit *audit;
    uint32_t number;     /* of the stream */
    uint8_t kind;        /* enum mlf_chunk_kind */
    bool whole_chunks;   /* a mapped trace: no chunk comes in pieces */
    struct ma_fill fill; /* how far chunks are filled; of pieces: what is said of it */

    bool in_heap, pending; /* the merge's: where it keeps the feed */

    /* what has arrived, to tell duplicates from latecomers */
    uint32_t next_sequence; /* 1 + that of the newest chunk */
    uint32_t end_position;  /* of the newest chunk: behind the latest piece */
    struct {
        uint32_t from, to; /* [from, to) */
    } gaps[MA_GAPS];
    unsigned n_gaps;

    /* heads, of either kind */
    struct ma_event *events; /* [at, n): decoded, not yet merged; in buffer or in the lane */
    size_t at, n;
    struct ma_event *buffer; /* events: of MA_BATCH; definitions: of event_capacity */
    size_t event_capacity;

    /* events */
    struct ma_piece *queue; /* [queue_at, n_queue), by sequence and position */
    size_t queue_at, n_queue, queue_capacity;
    struct ma_piece piece; /* being decoded, if active */
    bool active;
    bool begun;  /* the decoder's state is that of chunk `sequence`, up to `position` */
    bool broken; /* the rest of that chunk cannot be read */
    uint32_t sequence, position;
    struct ma_decoder *decoder; /* NULL: none is kept */
    struct ma_decoding *shared;
    struct ma_lane *lane; /* NULL: the feed decodes itself */
    bool lane_ended;      /* all batches of the lane were taken */

    /* definitions */
    struct ma_definer definer;
};

enum ma_arrival { MA_ARRIVED, MA_DUPLICATE };

/* *shared must outlive all feeds. */
struct ma_feed *ma_feed_new(struct ma_trace *trace, struct ma_process *process, uint32_t number,
                            unsigned kind, struct ma_decoding *shared);
void ma_feed_free(struct ma_feed *feed);

/* Nothing more is expected: an idle feed lets go of its buffers, and of what it would
 * need to read on in its chunk. */
void ma_feed_forget(struct ma_feed *feed);

/* Note the arrival of a chunk: new to the feed, or not. Counts gaps. */
enum ma_arrival ma_feed_arrive(struct ma_feed *feed, const struct ma_chunk *chunk);

/* Apply a chunk of definitions, whose payload may stay. Returns 0 or -ENOMEM. */
int ma_feed_define(struct ma_feed *feed, const struct ma_chunk *chunk, bool stays);

/* Nothing more is to come. Returns how many chunks, or last pieces of one, FILLED
 * records tell of that did not come. */
uint64_t ma_feed_missing(struct ma_feed *feed);

/* No more is read of the chunk of definitions at hand, if there is one. */
void ma_feed_end_definitions(struct ma_feed *feed, bool stays);

/* Queue a chunk of events; `copy` if its payload will not stay. */
int ma_feed_enqueue(struct ma_feed *feed, const struct ma_chunk *chunk, bool copy);

/* The cost of a queued chunk against the bound of what is read ahead: its payload,
 * and 16 KiB, about the size of a decoder and a batch, which a feed has of its own. */
static inline size_t ma_feed_cost(size_t size)
{
    return size + 16384;
}

/* Decode until there is a head or nothing is left. With `keep_open`, a piece
 * that has no successor yet stays active at its end: more may be written to
 * it. *released is the cost of what is no longer held. */
int ma_feed_refill(struct ma_feed *feed, bool keep_open, size_t *released);

/* Decode the newest piece on a copy to find the time of the last event that is
 * visible now; 0 if there is none. */
uint64_t ma_feed_last_time(const struct ma_feed *feed);

static inline const struct ma_event *ma_feed_head(const struct ma_feed *feed)
{
    return feed->at < feed->n ? &feed->events[feed->at] : NULL;
}

/* Drop n heads, 1 of definitions, and free what was kept for them. */
void ma_feed_pop(struct ma_feed *feed, size_t n);

#endif
