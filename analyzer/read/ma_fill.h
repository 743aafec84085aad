/* SPDX-License-Identifier: MIT
 *
 * The filling of the chunks of one stream: as they were found in a mapped trace,
 * and as FILLED records say (FORMAT.md section 4). Zeros before the end that a
 * record names, or before bytes that are not zero, are lost bytes of a chunk, and
 * the audit names them. A chunk of which nothing is said may have been left by a
 * killed process or be written on: that is no damage.
 */
#ifndef MA_FILL_H
#define MA_FILL_H

#include "ma_audit.h"
#include "ma_record.h"

/* A chunk that was decoded up to its first zero tag. */
struct ma_filled_chunk {
    const unsigned char *payload;
    size_t size, used; /* of the payload, and decoded of it */
    uint64_t offset;   /* of the payload in the trace */
    uint32_t sequence;
};

struct ma_fill {
    bool found;                   /* a chunk's end was: the newest's */
    struct ma_filled_chunk chunk; /* payload NULL: it did not stay */
    size_t zeros;                 /* where the zeros around the end of what is used begin */
    size_t last;                  /* behind the last byte that is not zero */

    bool said; /* a record elsewhere told of a chunk: the newest */
    uint32_t said_sequence;
    uint64_t said_bytes; /* of payload */
};

/* The end of a chunk has been found; `stays`: its payload stays, and may still
 * be written on. */
void ma_fill_found(struct ma_fill *fill, struct ma_audit *audit,
                   const struct ma_filled_chunk *chunk, bool stays);

/* The chunk of number `sequence`, of this stream and kind, begins with `payload`:
 * it may say how far the one before is filled. */
void ma_fill_follow(struct ma_fill *fill, struct ma_audit *audit, uint32_t stream, unsigned kind,
                    uint32_t sequence, const unsigned char *payload, size_t size);

/* True if the chunk of number `sequence`, which begins with `payload`, tells that of the
 * one before so many bytes were filled. */
bool ma_fill_of_former(uint32_t stream, unsigned kind, uint32_t sequence,
                       const unsigned char *payload, size_t size, uint64_t *bytes);

/* A record says that so many bytes of a chunk's payload were filled. */
void ma_fill_said(struct ma_fill *fill, uint64_t sequence, uint64_t bytes);

/* Nothing more is to come. Returns how many chunks, of those from `next` on,
 * were told of and are missing. */
uint64_t ma_fill_finish(struct ma_fill *fill, struct ma_audit *audit, uint32_t next);

#endif
