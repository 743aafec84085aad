/* SPDX-License-Identifier: MIT
 *
 * Filled chunks; see ma_fill.h. The end that a chunk tells of the one before is
 * compared at once, as that end has just been found. The end that other streams
 * tell is that of a stream's last chunk, and may come before or after it: it is
 * compared when all is read.
 */
#include "ma_fill.h"

#include "ma_cursor.h"

/* An item that a killed writer never finished stands behind the end of what is
 * used; it is no longer than that. */
#define UNFINISHED_MAX ((size_t)4096)

/* True if there is an item by now where there was none: the chunk is alive. */
static bool has_grown(const struct ma_filled_chunk *chunk)
{
    return chunk->payload && chunk->used < chunk->size &&
           __atomic_load_n(chunk->payload + chunk->used, __ATOMIC_ACQUIRE);
}

/* The last item may have been read across the beginning of lost bytes, so these
 * are counted from their first zero, be it before the end of what is used. */
static void measure_fill(struct ma_fill *fill, const unsigned char *payload)
{
    size_t at = fill->chunk.used;
    while (at && !payload[at - 1])
        at--;
    fill->zeros = at;
    at = fill->chunk.size;
    while (at > fill->zeros && !payload[at - 1])
        at--;
    fill->last = at;
}

static void lose(struct ma_fill *fill, struct ma_audit *audit, size_t end, const char *reason)
{
    ma_audit_skip(audit, fill->chunk.offset + fill->zeros, end - fill->zeros, "%s", reason);
    fill->chunk.used = fill->zeros = end;
    fill->last = fill->last > end ? fill->last : end;
}

/* `bytes` of the chunk were filled. */
static void compare_fill(struct ma_fill *fill, struct ma_audit *audit, uint64_t bytes)
{
    const struct ma_filled_chunk *chunk = &fill->chunk;
    size_t end = bytes < chunk->size ? (size_t)bytes : chunk->size;
    if (has_grown(chunk) || (chunk->used >= end && fill->last >= end))
        return;
    lose(fill, audit, end, "zeros where a chunk had been filled");
}

void ma_fill_found(struct ma_fill *fill, struct ma_audit *audit,
                   const struct ma_filled_chunk *chunk, bool stays)
{
    fill->found = true;
    fill->chunk = *chunk;
    measure_fill(fill, chunk->payload);
    if (has_grown(chunk)) /* while it was measured */
        fill->last = fill->zeros;
    if (!stays)
        fill->chunk.payload = NULL;
    if (fill->last > chunk->used && fill->last - chunk->used > UNFINISHED_MAX)
        lose(fill, audit, fill->last, "zeros in the middle of a chunk");
}

/* The FILLED record with which a payload begins: true if there is one. */
static bool first_record(struct ma_record *record, unsigned kind, const unsigned char *payload,
                         size_t size)
{
    if (!size || __atomic_load_n(payload, __ATOMIC_ACQUIRE) != MLF_REC_FILLED)
        return false;
    struct ma_cursor cursor = {payload + 1, payload + size, false};
    const unsigned char *bytes;
    const char *problem;
    uint64_t length = ma_cursor_vu(&cursor);
    return length <= MLF_RECORD_MAX && ma_cursor_take(&cursor, length, &bytes) &&
           ma_record_decode(record, MLF_REC_FILLED, kind, bytes, (size_t)length, &problem) > 0;
}

bool ma_fill_of_former(uint32_t stream, unsigned kind, uint32_t sequence,
                       const unsigned char *payload, size_t size, uint64_t *bytes)
{
    struct ma_record record;
    if (!sequence || !first_record(&record, kind, payload, size) ||
        record.brief.filled.stream != stream || record.brief.filled.kind != kind ||
        record.brief.filled.sequence != sequence - 1)
        return false;
    *bytes = record.brief.filled.bytes;
    return true;
}

void ma_fill_follow(struct ma_fill *fill, struct ma_audit *audit, uint32_t stream, unsigned kind,
                    uint32_t sequence, const unsigned char *payload, size_t size)
{
    uint64_t bytes;
    if (fill->found && fill->chunk.sequence == sequence - 1 &&
        ma_fill_of_former(stream, kind, sequence, payload, size, &bytes))
        compare_fill(fill, audit, bytes);
}

void ma_fill_said(struct ma_fill *fill, uint64_t sequence, uint64_t bytes)
{
    if (sequence > UINT32_MAX || (fill->said && sequence < fill->said_sequence) ||
        (fill->said && sequence == fill->said_sequence && bytes < fill->said_bytes))
        return;
    fill->said = true;
    fill->said_sequence = (uint32_t)sequence;
    fill->said_bytes = bytes;
}

uint64_t ma_fill_finish(struct ma_fill *fill, struct ma_audit *audit, uint32_t next)
{
    if (fill->said && fill->found && fill->said_sequence == fill->chunk.sequence)
        compare_fill(fill, audit, fill->said_bytes);
    return fill->said && fill->said_sequence >= next ? (uint64_t)fill->said_sequence + 1 - next : 0;
}
