/* SPDX-License-Identifier: MIT
 *
 * Filled chunks; see ma_fill.h. The end that a chunk tells of the one before is
 * compared at once, as that end has just been found. The end that other streams
 * tell is that of a stream's last chunk, and may come before or after it: it is
 * compared when all is read.
 */
#include "ma_fill.h"

#include <string.h>

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

static void keep_rest(struct ma_fill *fill, const unsigned char *payload)
{
    struct ma_fill_rest *rest = &fill->rest;
    size_t used = fill->chunk.used, most = sizeof rest->bytes - MLF_SUM_BLOCK;
    rest->from = used > most ? (used - most) / MLF_SUM_BLOCK * MLF_SUM_BLOCK : 0;
    rest->sum = mlf_sum_begin();
    mlf_sum_add(&rest->sum, payload, rest->from);
    rest->size = used - rest->from;
    memcpy(rest->bytes, payload + rest->from, rest->size);
}

/* The checksum of the first `bytes` of the chunk's payload; false if they did not stay. */
static bool checksum(const struct ma_fill *fill, size_t bytes, uint64_t *sum)
{
    const struct ma_fill_rest *rest = &fill->rest;
    if (fill->chunk.payload)
        *sum = mlf_checksum(fill->chunk.payload, bytes);
    else if (bytes >= rest->from && bytes - rest->from <= rest->size)
        *sum = mlf_sum_end(rest->sum, rest->bytes, bytes - rest->from, bytes);
    else
        return false;
    return true;
}

static void lose(struct ma_fill *fill, struct ma_audit *audit, size_t end, const char *reason)
{
    ma_audit_skip(audit, fill->chunk.offset + fill->zeros, end - fill->zeros, "%s", reason);
    fill->chunk.used = fill->zeros = end;
    fill->last = fill->last > end ? fill->last : end;
    fill->judged = true;
}

/* Of a chunk that has lost bytes the checksum tells nothing more. */
static void compare_checksum(struct ma_fill *fill, struct ma_audit *audit,
                             const struct ma_told *told)
{
    uint64_t sum;
    if (!told->summed || fill->judged || told->bytes > fill->chunk.size ||
        !checksum(fill, (size_t)told->bytes, &sum) || sum == told->checksum)
        return;
    fill->judged = true;
    ma_audit_changed(audit, &(struct ma_changed){
                                .offset = fill->chunk.offset,
                                .bytes = told->bytes,
                                .process = fill->process,
                                .stream = fill->stream,
                                .kind = fill->kind,
                            });
}

static void compare_fill(struct ma_fill *fill, struct ma_audit *audit, const struct ma_told *told)
{
    const struct ma_filled_chunk *chunk = &fill->chunk;
    size_t end = told->bytes < chunk->size ? (size_t)told->bytes : chunk->size;
    if (has_grown(chunk) || (chunk->used >= end && fill->last >= end))
        return;
    lose(fill, audit, end, "zeros where a chunk had been filled");
}

void ma_fill_found(struct ma_fill *fill, struct ma_audit *audit,
                   const struct ma_filled_chunk *chunk, bool stays)
{
    fill->found = true;
    fill->judged = false;
    fill->chunk = *chunk;
    measure_fill(fill, chunk->payload);
    if (has_grown(chunk)) /* while it was measured */
        fill->last = fill->zeros;
    if (!stays) {
        keep_rest(fill, chunk->payload);
        fill->chunk.payload = NULL;
    }
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

struct ma_told ma_told_by(const struct ma_record *record)
{
    return (struct ma_told){
        .bytes = record->brief.filled.bytes,
        .checksum = record->brief.filled.checksum,
        .sequence = record->brief.filled.sequence,
        .summed = record->brief.filled.summed,
    };
}

bool ma_fill_of_former(uint32_t stream, unsigned kind, uint32_t sequence,
                       const unsigned char *payload, size_t size, struct ma_told *told)
{
    struct ma_record record;
    if (!sequence || !first_record(&record, kind, payload, size) ||
        record.brief.filled.stream != stream || record.brief.filled.kind != kind ||
        record.brief.filled.sequence != sequence - 1)
        return false;
    *told = ma_told_by(&record);
    return true;
}

void ma_fill_follow(struct ma_fill *fill, struct ma_audit *audit, uint32_t stream, unsigned kind,
                    uint32_t sequence, const unsigned char *payload, size_t size)
{
    struct ma_told told;
    if (!fill->found || fill->chunk.sequence != sequence - 1 ||
        !ma_fill_of_former(stream, kind, sequence, payload, size, &told))
        return;
    compare_fill(fill, audit, &told);
    compare_checksum(fill, audit, &told);
}

/* The newest chunk, and of that the most bytes. */
static void keep_told(struct ma_told *kept, const struct ma_told *told)
{
    if (!kept->bytes || told->sequence > kept->sequence ||
        (told->sequence == kept->sequence && told->bytes > kept->bytes))
        *kept = *told;
}

void ma_fill_said(struct ma_fill *fill, const struct ma_told *told)
{
    if (told->sequence > UINT32_MAX || !told->bytes)
        return;
    keep_told(&fill->said, told);
    if (told->summed)
        keep_told(&fill->sum, told);
}

uint64_t ma_fill_finish(struct ma_fill *fill, struct ma_audit *audit, uint32_t next)
{
    const struct ma_told *said = &fill->said, *sum = &fill->sum;
    if (said->bytes && fill->found && said->sequence == fill->chunk.sequence)
        compare_fill(fill, audit, said);
    if (sum->bytes && fill->found && sum->sequence == fill->chunk.sequence)
        compare_checksum(fill, audit, sum);
    return said->bytes && said->sequence >= next ? said->sequence + 1 - next : 0;
}
