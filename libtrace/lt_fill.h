/* SPDX-License-Identifier: MIT
 *
 * FILLED records (FORMAT.md section 5): the extent of the chunks of a mapped
 * trace, said in pages other than those they tell of, so that a reader knows
 * zeros that were never written from bytes that were lost.
 */
#ifndef LT_FILL_H
#define LT_FILL_H

#include "lt_trace.h"

/* Longest FILLED record, with its tag. */
#define LT_FILL_MAX 32

/* A chunk of this process that has been begun in the trace. */
struct lt_fill {
    uint32_t stream, kind, sequence;
    uint32_t bytes; /* of payload, all visible; the last one is not zero */
    bool summed;    /* there is a checksum of them */
    uint64_t checksum;
};

/* Note the filled part of the writer's chunk. The writer may be another thread's,
 * at work: then its chunk is not looked into. False if there is none, or it is
 * changing. */
bool lt_fill_look(const struct lt_writer *writer, bool own, struct lt_fill *fill);

/* Add the checksum of what lt_fill_look noted of the writer's chunk, which stays mapped
 * meanwhile. */
void lt_fill_sum(const struct lt_writer *writer, struct lt_fill *fill);

/* The payload of the record, at most LT_FILL_MAX bytes; the result is behind it. */
unsigned char *lt_fill_put(unsigned char *to, const struct lt_fill *fill);

/* Say it in a chunk of the calling thread, in the room that is left or not at all. */
void lt_fill_say(struct lt_writer *writer, const struct lt_fill *fill);

/* The calling thread's context writes no more for now: each of its chunks says
 * it of the other one. With `last` nobody goes on with the definitions. */
void lt_fill_say_own(struct lt_context *context, bool last);

/* Say it of all other contexts' chunks, in the definitions of `self`. Nobody unmaps a
 * chunk who does not hold the lock. */
void lt_fill_say_others(struct lt_context *self, struct lt_lock *lock);

#endif
