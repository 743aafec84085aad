/* SPDX-License-Identifier: MIT
 *
 * Writers: room in a chunk, framed records, records in the slack behind the
 * limit, the end of tracing, and the headers that both sinks write. A writer is
 * used by its context's thread only.
 */
#include <string.h>

#include "lt_config.h"
#include "lt_sink.h"
#include "lt_trace.h"
#include "mlf_control.h"

static struct mlf_crc_table crc_table;
static bool crc_ready;

uint32_t lt_crc(const void *data, size_t size, uint32_t crc)
{
    if (LT_UNLIKELY(!__atomic_load_n(&crc_ready, __ATOMIC_ACQUIRE))) {
        mlf_crc_table_fill(&crc_table); /* idempotent: two threads may both do it */
        __atomic_store_n(&crc_ready, true, __ATOMIC_RELEASE);
    }
    return mlf_crc32(&crc_table, crc, data, size);
}

void lt_trace_header(unsigned char *header, int layout, unsigned unit_log2)
{
    memcpy(header + MLF_HDR_MAGIC, MLF_MAGIC, MLF_MAGIC_SIZE);
    mlf_put_u16(header + MLF_HDR_MAJOR, MLF_MAJOR);
    mlf_put_u16(header + MLF_HDR_MINOR, MLF_MINOR);
    header[MLF_HDR_LAYOUT] = (unsigned char)layout;
    header[MLF_HDR_UNIT_LOG2] = (unsigned char)unit_log2;
    mlf_put_u16(header + MLF_HDR_HEADER_SIZE, MLF_HDR_SIZE);
    mlf_put_u64(header + MLF_HDR_REQUIRED, 0);
    mlf_put_u64(header + MLF_HDR_OPTIONAL, 0);
    mlf_put_u32(header + MLF_HDR_CRC, lt_crc(header, MLF_HDR_CRC, 0));
}

void lt_chunk_header(unsigned char *header, const struct lt_writer *writer, uint32_t stream,
                     uint32_t size, uint32_t position, bool has_crc, uint32_t crc)
{
    unsigned char bytes[MLF_CHUNK_HEADER];
    mlf_put_u32(bytes + MLF_CHUNK_MAGIC_AT, MLF_CHUNK_MAGIC);
    bytes[MLF_CHUNK_KIND] = (unsigned char)writer->kind;
    bytes[MLF_CHUNK_FLAGS] = has_crc ? MLF_CHUNK_HAS_CRC : 0;
    mlf_put_u16(bytes + MLF_CHUNK_HEADER_SIZE, MLF_CHUNK_HEADER);
    mlf_put_u32(bytes + MLF_CHUNK_SIZE_AT, size);
    mlf_put_u32(bytes + MLF_CHUNK_POSITION, position);
    mlf_put_u64(bytes + MLF_CHUNK_PROCESS, lt_process.key);
    mlf_put_u32(bytes + MLF_CHUNK_STREAM, stream);
    mlf_put_u32(bytes + MLF_CHUNK_SEQUENCE, writer->sequence - 1);
    mlf_put_u64(bytes + MLF_CHUNK_BASE_TIME, writer->base_time);
    mlf_put_u32(bytes + MLF_CHUNK_PAYLOAD_CRC, crc);
    mlf_put_u32(bytes + MLF_CHUNK_CRC, lt_crc(bytes, MLF_CHUNK_CRC, 0));
    memcpy(header + 4, bytes + 4, MLF_CHUNK_HEADER - 4);
    uint32_t magic;
    memcpy(&magic, bytes, sizeof magic);
    __atomic_store_n((uint32_t *)(void *)header, magic, __ATOMIC_RELEASE);
}

static void put_record(struct lt_writer *writer, unsigned tag, const unsigned char *payload,
                       size_t size)
{
    unsigned char *p = mlf_put_vu(writer->position + 1, size);
    memcpy(p, payload, size);
    lt_commit(writer, (unsigned char)tag, p + size);
}

/* True if `size` bytes are left in the writer's chunk, the slack behind its limit
 * included. */
static bool writer_has_slack(const struct lt_writer *writer, size_t size)
{
    return writer->chunk && writer->limit &&
           writer->position + size <= writer->limit + LT_ITEM_MAX + LT_CHUNK_SLACK;
}

bool lt_writer_record_in_slack(struct lt_writer *writer, unsigned tag, const unsigned char *payload,
                               size_t size, size_t room)
{
    if (!writer_has_slack(writer, room))
        return false;
    put_record(writer, tag, payload, size);
    return true;
}

/* Of a process that has a control page, to whoever looks at it. */
static void show_stop(int reason, int error)
{
    struct mlf_control *page = lt_process.control;
    if (!page)
        return;
    page->stop_reason = (uint32_t)reason;
    page->stop_errno = (uint32_t)error;
    __atomic_store_n(&page->state, MLF_CONTROL_STOPPED, __ATOMIC_RELEASE);
}

void lt_stop(struct lt_context *context, int reason, int error)
{
    uint32_t was = __atomic_exchange_n(&lt_page.active, LT_OFF, __ATOMIC_ACQ_REL);
    if (was != LT_ACTIVE)
        return;
    lt_process.stopped = true;
    lt_process.stopped_for = reason;
    __atomic_store_n(&lt_page.forward, LT_FORWARD_OFF, __ATOMIC_RELEASE);
    show_stop(reason, error);
    if (lt_config.debug && reason != MLF_LOSS_ASKED)
        lt_say("tracing stopped: the trace cannot be written on", NULL, error);
    bool told = false;
    if (context) {
        /* The slack behind the limit of the chunk in hand is kept for this. */
        struct lt_writer *w = &context->events;
        if (!writer_has_slack(w, LT_STOP_MAX))
            w = &context->definitions;
        unsigned char payload[LT_STOP_MAX];
        size_t size = (size_t)(lt_put_stop(payload, lt_now(), reason, error) - payload);
        told = lt_writer_record_in_slack(w, MLF_REC_STOP, payload, size, LT_STOP_MAX);
    }
    lt_sink->stopped(reason, error, told);
}

bool lt_writer_room(struct lt_writer *writer, size_t size)
{
    if (writer->position <= writer->limit &&
        size <= (size_t)(writer->limit - writer->position) + LT_ITEM_MAX)
        return true;
    __atomic_fetch_add(&lt_process.bytes, lt_writer_used(writer), __ATOMIC_RELAXED);
    enum lt_refusal refused = lt_sink->begin(writer, size);
    if (LT_UNLIKELY(refused)) {
        if (writer->kind == MLF_EVENTS)
            writer->context->dropping = refused == LT_REFUSED_DROP;
        if (lt_refusal_ends(refused))
            lt_stop(writer->context, refused, 0);
        return false;
    }
    writer->time = writer->base_time;
    if (writer->kind == MLF_EVENTS)
        lt_encoder_begin(&writer->context->encoder);
    else
        lt_node_encoder_begin(&writer->context->nodes);
    return true;
}

bool lt_writer_record(struct lt_writer *writer, unsigned tag, const unsigned char *payload,
                      size_t size)
{
    if (!lt_writer_room(writer, 1 + MLF_VU_SLACK + size))
        return false;
    put_record(writer, tag, payload, size);
    return true;
}

unsigned char *lt_put_stop(unsigned char *to, uint64_t now, int reason, int error)
{
    to = mlf_put_vu(to, now);
    const struct lt_met met = lt_met_of(reason);
    to = mlf_put_vu(to, (uint64_t)reason);
    to = mlf_put_vu(to, (uint64_t)error);
    if (!met.what)
        return to;
    to = mlf_put_vu(to, met.what);
    to = mlf_put_vu(to, met.limit);
    to = mlf_put_vu(to, met.held);
    return mlf_put_vu(to, met.asked);
}

unsigned char *lt_put_loss(unsigned char *to, uint64_t now, uint32_t stream, uint64_t events,
                           int reason)
{
    to = mlf_put_vu(to, now);
    to = mlf_put_vu(to, stream);
    to = mlf_put_vu(to, events);
    return mlf_put_vu(to, (uint64_t)reason);
}
