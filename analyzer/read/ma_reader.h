/* SPDX-License-Identifier: MIT
 *
 * The reader: finds the chunks of a trace in an input, in the order of their
 * offsets, checks headers and CRCs, and after damage goes on with the next
 * chunk that holds, noting in the audit what it skipped and why (FORMAT.md
 * sections 3, 4 and 8). It does not decode payloads.
 */
#ifndef MA_READER_H
#define MA_READER_H

#include "ma_audit.h"
#include "ma_error.h"
#include "ma_source.h"
#include "mlf_codec.h"
#include "mlf_format.h"

/* A chunk of a mapped trace, or a piece of a chunk of a stream trace. */
struct ma_chunk {
    uint64_t offset; /* of its header in the trace */
    uint64_t process;
    uint64_t base_time;
    uint32_t stream, sequence, position;
    uint8_t kind;                 /* enum mlf_chunk_kind, no other */
    bool cut;                     /* the input ends before the payload does */
    const unsigned char *payload; /* valid as long as the source's window */
    size_t size;                  /* bytes of payload at hand */
    uint64_t payload_offset;
};

struct ma_reader {
    struct ma_source *source;
    struct ma_audit *audit;
    uint64_t origin;       /* of the trace header: 0, but for what stands before it */
    uint64_t at;           /* where the next chunk is looked for; only grows */
    uint64_t unit;         /* mapped: bytes; stream: 1 */
    uint64_t claimed;      /* mapped: units, when we began */
    uint64_t claimed_end;  /* mapped: the offset behind them */
    uint64_t reserved_end; /* mapped: the offset up to which the file once reached */
    uint64_t zeros_beyond; /* bytes of zeros seen behind what is claimed */
    uint64_t searched;     /* bytes of payloads with a wrong CRC */

    /* of a file that may be written: what was passed as claimed and not begun, by offset */
    struct ma_range *passed;
    size_t n_passed, passed_capacity;
    bool passed_unknown; /* not all of it could be noted */

    unsigned layout, major, minor;
    unsigned waits; /* so far, for chunks that were claimed a moment ago */
    bool recovered; /* the trace header is damaged: layout and unit are guesses */
    struct mlf_crc_table crc;
};

/* Read the trace header. Anything that is no trace is refused with one
 * sentence. Returns 0 or a negative errno. */
int ma_reader_init(struct ma_reader *reader, struct ma_source *source, struct ma_audit *audit,
                   struct ma_error *error);
void ma_reader_free(struct ma_reader *reader);

/* The next chunk: 1, or 0 at the end of the trace. */
int ma_reader_next(struct ma_reader *reader, struct ma_chunk *chunk);

/* Asked when no more chunks come: true if the trace is being written and there are
 * chunks by now that were not read. Their units were claimed since we began, or were
 * passed before their chunk was begun. All their events are later than the base
 * time of any chunk that was read. */
bool ma_reader_grew(const struct ma_reader *reader);

#endif
