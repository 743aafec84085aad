/* SPDX-License-Identifier: MIT
 *
 * The filling of the chunks of one stream: as they were found in a mapped trace,
 * and as FILLED records say (FORMAT.md section 4). Zeros before the end that a
 * record names, or before bytes that are not zero, are lost bytes of a chunk, and
 * the audit names them. A chunk of which nothing is said may have been left by a
 * killed process or be written on: that is no damage. Where a record has a checksum
 * of what it tells of, the audit names the chunk that has another.
 */
#ifndef MA_FILL_H
#define MA_FILL_H

#include "ma_audit.h"
#include "ma_record.h"
#include "mlf_codec.h"

/* A chunk that was decoded up to its first zero tag. */
struct ma_filled_chunk {
    const unsigned char *payload;
    size_t size, used; /* of the payload, and decoded of it */
    uint64_t offset;   /* of the payload in the trace */
    uint32_t sequence;
};

/* What a record tells of a chunk. */
struct ma_told {
    uint64_t sequence;
    uint64_t bytes; /* of payload, 0: no record does */
    uint64_t checksum;
    bool summed; /* there is a checksum */
};

/* Of a payload that did not stay, what gives the checksum of a part that ends near the
 * end of what is used: a process tells of a chunk at its end, and then ends it with a
 * record or two of other chunks. */
struct ma_fill_rest {
    struct mlf_sum sum; /* of all before */
    size_t from;
    unsigned char bytes[96];
    size_t size;
};

struct ma_fill {
    const struct ma_process *process; /* whose stream it is */
    uint32_t stream;
    unsigned kind;

    bool found;                   /* a chunk's end was: the newest's */
    bool judged;                  /* its checksum differs, or it has lost bytes: told */
    struct ma_filled_chunk chunk; /* payload NULL: it did not stay */
    size_t zeros;                 /* where the zeros around the end of what is used begin */
    size_t last;                  /* behind the last byte that is not zero */
    struct ma_fill_rest rest;

    struct ma_told said; /* by records elsewhere, of the newest chunk, the most bytes, */
    struct ma_told sum;  /* ... and the most with a checksum */
};

/* The end of a chunk has been found; `stays`: its payload stays, and may still
 * be written on. */
void ma_fill_found(struct ma_fill *fill, struct ma_audit *audit,
                   const struct ma_filled_chunk *chunk, bool stays);

/* The chunk of number `sequence`, of this stream and kind, begins with `payload`:
 * it may say how far the one before is filled. */
void ma_fill_follow(struct ma_fill *fill, struct ma_audit *audit, uint32_t stream, unsigned kind,
                    uint32_t sequence, const unsigned char *payload, size_t size);

/* True if the chunk of number `sequence`, which begins with `payload`, tells how far the
 * one before was filled. */
bool ma_fill_of_former(uint32_t stream, unsigned kind, uint32_t sequence,
                       const unsigned char *payload, size_t size, struct ma_told *told);

/* What a FILLED record tells. */
struct ma_told ma_told_by(const struct ma_record *record);

/* A record elsewhere tells of a chunk of this stream and kind. */
void ma_fill_said(struct ma_fill *fill, const struct ma_told *told);

/* Nothing more is to come. Returns how many chunks, of those from `next` on,
 * were told of and are missing. */
uint64_t ma_fill_finish(struct ma_fill *fill, struct ma_audit *audit, uint32_t next);

#endif
