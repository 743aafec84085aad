/* SPDX-License-Identifier: MIT
 *
 * The decoder of definitions chunks (FORMAT.md sections 5 and 6): applies what
 * they define to a struct ma_trace at once, and hands on those records that
 * have a moment and so a place among the events. One struct ma_definer serves
 * one definitions stream, chunk after chunk, piece after piece.
 */
#ifndef MA_DEFINE_H
#define MA_DEFINE_H

#include "ma_cursor.h"
#include "ma_decode.h"
#include "ma_trace.h"
#include "ma_reader.h"

struct ma_frame_entry {
    uint64_t offset;
    uint32_t module;
};

struct ma_definer {
    struct ma_trace *trace;
    struct ma_process *process;
    /* An event of the process: fork, start, or a record with its payload, which
     * lives no longer than the call. Returns 0 or -ENOMEM. */
    int (*timed)(void *context, const struct ma_event *event);
    void *context;

    bool open;                   /* a chunk has begun and nothing of it is missing or bad */
    uint32_t sequence, position; /* of that chunk; payload bytes seen */
    struct ma_cursor cursor;     /* the rest of the piece at hand */
    uint64_t offset;             /* in the trace, of cursor.end */
    bool cut;                    /* the trace ends within that piece */
    uint32_t last_id;
    struct ma_frame_entry *frames;
    size_t n_frames, frame_capacity;
};

void ma_definer_init(struct ma_definer *definer, struct ma_trace *trace, struct ma_process *process,
                     int (*timed)(void *, const struct ma_event *), void *context);
void ma_definer_free(struct ma_definer *definer);

/* Forget the frames of the chunk at hand: what refers to them is damage from now on. */
void ma_definer_forget(struct ma_definer *definer);

/* Apply a chunk or piece of this stream. Damage goes to the audit; returns 0
 * or -ENOMEM. */
int ma_definer_chunk(struct ma_definer *definer, const struct ma_chunk *chunk);

/* Apply what was written since to the chunk that came last: for a stable
 * source of a trace that is still being written. */
int ma_definer_poll(struct ma_definer *definer);

#endif
