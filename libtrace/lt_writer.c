/* SPDX-License-Identifier: MIT
 *
 * Writers: room in a chunk, framed records, and the headers that both sinks
 * write. A writer is used by its context's thread only.
 */
#include <string.h>
#include <sys/stat.h>

#include "lt_sink.h"
#include "lt_trace.h"

const struct lt_sink *lt_sink;

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

bool lt_file_adopt(struct lt_file *file, int fd)
{
    struct stat st;
    if (lt_fstat(fd, &st) != 0)
        return false;
    file->fd = fd;
    file->device = st.st_dev;
    file->inode = st.st_ino;
    return true;
}

bool lt_file_is_ours(const struct lt_file *file)
{
    struct stat st;
    return lt_fstat(file->fd, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode;
}

bool lt_writer_room(struct lt_writer *writer, size_t size)
{
    if (writer->position <= writer->limit &&
        size <= (size_t)(writer->limit - writer->position) + LT_ITEM_MAX)
        return true;
    int refused = lt_sink->begin(writer, size);
    if (LT_UNLIKELY(refused)) {
        if (writer->kind == MLF_EVENTS)
            writer->context->dropping = refused == LT_SINK_DROP;
        if (refused != LT_SINK_BUSY && refused != LT_SINK_DROP)
            lt_stop(refused, 0);
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
    unsigned char *p = mlf_put_vu(writer->position + 1, size);
    memcpy(p, payload, size);
    lt_commit(writer, (unsigned char)tag, p + size);
    return true;
}
