/* SPDX-License-Identifier: MIT
 *
 * The decoder of events chunks (FORMAT.md section 7): turns payload bytes into
 * struct ma_event, a batch at a time. All state begins anew with each chunk
 * and lives on from piece to piece of one. No allocation.
 */
#ifndef MA_DECODE_H
#define MA_DECODE_H

#include "ma_cursor.h"
#include "ma_trace.h"

/* In the order in which heads of the same time are merged, by ma_event_rank. */
enum ma_event_type {
    MA_EVENT_FORK,  /* a process begins as the copy of another: from PROCESS */
    MA_EVENT_START, /* a program starts: from PROCESS */
    MA_EVENT_FREE,
    MA_EVENT_REALLOC_BEGIN, /* the old address is free for others from here on */
    MA_EVENT_ALLOC,
    MA_EVENT_REALLOC, /* the old block ends, the new one begins */
    MA_EVENT_FAILED,
    MA_EVENT_RECORD, /* a record with a moment: function is its tag */
};

/* Fields that its type does not have are undefined. */
struct ma_event {
    uint64_t time;
    uint64_t begin;   /* REALLOC: the first time */
    uint64_t address; /* ALLOC, FREE, REALLOC */
    union {
        uint64_t old_address;        /* REALLOC, REALLOC_BEGIN */
        const unsigned char *record; /* RECORD: its payload, of `size` bytes */
    };
    uint64_t size, usable; /* ALLOC, REALLOC; size: FAILED, RECORD */
    uint32_t stack;        /* ALLOC, REALLOC, FAILED; 0: the others */
    uint8_t type;          /* enum ma_event_type */
    uint8_t function;      /* enum mlf_function, or the tag of a RECORD */
    uint8_t aligned;       /* ALLOC, REALLOC: 0, or 1 + log2 of the alignment */
};

static inline unsigned ma_event_rank(const struct ma_event *event)
{
    return event->type <= MA_EVENT_START ? 0 : event->type <= MA_EVENT_REALLOC_BEGIN ? 1 : 2;
}

enum ma_decode_status {
    MA_DECODE_MORE, /* the batch is full, or ends with a record */
    MA_DECODE_END,  /* nothing more in this piece (so far, if it is being written) */
    MA_DECODE_CUT,  /* the last item is not whole */
    MA_DECODE_BAD,  /* the item at `item` is refused, for the reason in `problem` */
};

struct ma_decoder {
    struct ma_cursor cursor;
    const unsigned char *item; /* where the last item began */
    const char *problem;
    /* section 7 */
    uint64_t time, last, next, explicit_stack;
    uint64_t header, grain, smallest; /* of default usable sizes */
    bool grain_is_power;              /* of two */
    uint32_t n_addresses, n_stacks;   /* pushes so far */
    uint64_t addresses[MLF_RING];
    struct {
        uint64_t size;
        uint32_t stack;
    } stacks[MLF_RING];
};

/* Begin a chunk; then ma_decoder_piece for each of its pieces. */
void ma_decoder_begin(struct ma_decoder *decoder, const struct ma_process *process,
                      uint64_t base_time);
void ma_decoder_piece(struct ma_decoder *decoder, const unsigned char *payload, size_t size);

/* Decode up to max (2 or more) events to out and set *n. A record is the last of
 * its batch. After CUT or BAD every call gives the same and no event, up to the
 * next piece; END may be followed by more, in a piece that is being written. */
enum ma_decode_status ma_decoder_run(struct ma_decoder *decoder, struct ma_event *out, size_t max,
                                     size_t *n);

#endif
