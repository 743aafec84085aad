/* SPDX-License-Identifier: MIT
 *
 * Finding chunks; see ma_reader.h. All headers are checked in full before one
 * of their fields is used, so a stray magic in a payload or in garbage misleads
 * nobody. Progress is certain: every step moves `at` forward, but for at most
 * WAITS_MAX that wait for a writer.
 */
#include "ma_reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ma_map.h"

#define RECOVERY_SPAN ((uint64_t)64 << 20) /* how far a lost trace header makes us look */
#define ZEROS_MAX ((uint64_t)256 << 20)    /* reserved space read behind what is claimed */
#define SCAN_WINDOW ((size_t)1 << 20)
#define CHUNK_MAGIC "mlck" /* MLF_CHUNK_MAGIC in bytes */
/* Bytes of payloads with a wrong CRC in which other chunks are looked for, beside
 * one for each byte read: headers within headers would have each of them checked. */
#define SEARCHED_MAX ((uint64_t)64 << 20)
#define WAITS_MAX 20   /* a writer begins its chunk microseconds after it claimed the unit, */
#define WAIT_NS 500000 /* unless it was stopped or killed between the two */

struct trace_header {
    unsigned major, minor, layout, size;
    uint64_t unit, claimed, reserved;
};

/* True if the bytes begin with the magic, as far as they go. */
static bool begins_like(const unsigned char *p, size_t size, const char *magic, size_t magic_size)
{
    return memcmp(p, magic, size < magic_size ? size : magic_size) == 0;
}

static bool begins_like_chunk(const unsigned char *p, size_t size)
{
    return begins_like(p, size, CHUNK_MAGIC, sizeof CHUNK_MAGIC - 1);
}

static bool begins_like_trace(const unsigned char *p, size_t size)
{
    return begins_like(p, size, MLF_MAGIC, MLF_MAGIC_SIZE);
}

/* Returns NULL if a trace header begins at p, else what is wrong with it and,
 * in *field, where. Unlike all others, a version we do not know is refused
 * before the CRC, whose place might have changed. */
static const char *parse_trace_header(const struct ma_reader *reader, const unsigned char *p,
                                      size_t size, struct trace_header *header, unsigned *field)
{
    *field = 0;
    if (!begins_like_trace(p, size))
        return "no trace magic";
    *field = (unsigned)size;
    if (size < MLF_HDR_SIZE)
        return "the trace header is cut";
    header->major = mlf_get_u16(p + MLF_HDR_MAJOR);
    header->minor = mlf_get_u16(p + MLF_HDR_MINOR);
    header->layout = p[MLF_HDR_LAYOUT];
    header->size = mlf_get_u16(p + MLF_HDR_HEADER_SIZE);
    header->claimed = mlf_get_u64(p + MLF_HDR_CLAIMED);
    header->reserved = mlf_get_u64(p + MLF_HDR_RESERVED);
    *field = MLF_HDR_MAJOR;
    if (header->major != MLF_MAJOR)
        return "unsupported major version";
    *field = MLF_HDR_CRC;
    if (mlf_crc32(&reader->crc, 0, p, MLF_HDR_CRC) != mlf_get_u32(p + MLF_HDR_CRC))
        return "the CRC of the trace header is wrong";
    *field = MLF_HDR_REQUIRED;
    if (mlf_get_u64(p + MLF_HDR_REQUIRED) != 0)
        return "the trace requires features that this version does not know";
    *field = MLF_HDR_LAYOUT;
    if (header->layout != MLF_LAYOUT_MAPPED && header->layout != MLF_LAYOUT_STREAM)
        return "reserved layout";
    unsigned unit_log2 = p[MLF_HDR_UNIT_LOG2];
    *field = MLF_HDR_UNIT_LOG2;
    if (header->layout == MLF_LAYOUT_STREAM
            ? unit_log2 != 0
            : unit_log2 < MLF_UNIT_LOG2_MIN || unit_log2 > MLF_UNIT_LOG2_MAX)
        return "reserved unit";
    *field = MLF_HDR_HEADER_SIZE;
    if (header->size < MLF_HDR_SIZE)
        return "the trace header gives itself too small a size";
    header->unit = (uint64_t)1 << unit_log2;
    return NULL;
}

/* Returns NULL if a chunk header begins at p, else what is wrong with it. The
 * payload is set up to `size`, the bytes at hand from p on. */
static const char *parse_chunk_header(const struct ma_reader *reader, uint64_t at,
                                      const unsigned char *p, size_t size, struct ma_chunk *chunk,
                                      uint32_t *whole_size)
{
    if (!begins_like_chunk(p, size))
        return "no chunk begins here";
    if (size < MLF_CHUNK_HEADER)
        return "cut";
    if (mlf_crc32(&reader->crc, 0, p, MLF_CHUNK_CRC) != mlf_get_u32(p + MLF_CHUNK_CRC))
        return "the CRC of a chunk header is wrong";
    unsigned header_size = mlf_get_u16(p + MLF_CHUNK_HEADER_SIZE);
    uint32_t chunk_size = mlf_get_u32(p + MLF_CHUNK_SIZE_AT);
    *chunk = (struct ma_chunk){
        .offset = at,
        .kind = p[MLF_CHUNK_KIND],
        .process = mlf_get_u64(p + MLF_CHUNK_PROCESS),
        .stream = mlf_get_u32(p + MLF_CHUNK_STREAM),
        .sequence = mlf_get_u32(p + MLF_CHUNK_SEQUENCE),
        .position = mlf_get_u32(p + MLF_CHUNK_POSITION),
        .base_time = mlf_get_u64(p + MLF_CHUNK_BASE_TIME),
        .payload_offset = at + header_size,
    };
    if (p[MLF_CHUNK_FLAGS] & ~MLF_CHUNK_HAS_CRC)
        return "reserved flags in a chunk header";
    if (header_size < MLF_CHUNK_HEADER || chunk_size < header_size || chunk_size > MLF_CHUNK_MAX)
        return "impossible chunk size";
    if (chunk->process == 0)
        return "process key 0 in a chunk header";
    if (reader->layout == MLF_LAYOUT_MAPPED) {
        if (chunk_size % reader->unit)
            return "chunk size is no multiple of the unit";
        if (chunk->position)
            return "piece of a chunk in a mapped trace";
    }
    chunk->cut = size < chunk_size;
    if (size > chunk_size)
        size = chunk_size;
    chunk->payload = size > header_size ? p + header_size : p + size;
    chunk->size = size > header_size ? size - header_size : 0;
    *whole_size = chunk_size;
    return NULL;
}

static bool chunk_begins(const struct ma_reader *reader, uint64_t at, const unsigned char *p,
                         size_t size)
{
    struct ma_chunk chunk;
    uint32_t whole_size;
    return !parse_chunk_header(reader, at, p, size, &chunk, &whole_size);
}

/* True if a chunk begins at p, or in a stream a trace header. After damage at the
 * beginning, when the layout is a guess, the trace header of either layout. */
static bool header_begins(const struct ma_reader *reader, uint64_t at, const unsigned char *p,
                          size_t size)
{
    struct trace_header header;
    unsigned field;
    if (reader->layout == MLF_LAYOUT_STREAM && size >= MLF_HDR_SIZE &&
        !parse_trace_header(reader, p, size, &header, &field))
        return header.layout == MLF_LAYOUT_STREAM || reader->recovered;
    return chunk_begins(reader, at, p, size);
}

static size_t find_byte(const unsigned char *data, size_t from, size_t last, unsigned char byte)
{
    const unsigned char *found = from < last ? memchr(data + from, byte, last - from) : NULL;
    return found ? (size_t)(found - data) : last;
}

/* The first place in data[0, last) where a header begins that holds, or last.
 * size >= last bytes are at hand. */
static size_t find_header(const struct ma_reader *reader, uint64_t at, const unsigned char *data,
                          size_t last, size_t size)
{
    const unsigned char chunk_byte = CHUNK_MAGIC[0], trace_byte = (unsigned char)MLF_MAGIC[0];
    size_t chunk = find_byte(data, 0, last, chunk_byte);
    size_t trace = find_byte(data, 0, last, trace_byte);
    for (;;) {
        size_t i = chunk < trace ? chunk : trace;
        if (i == last || header_begins(reader, at + i, data + i, size - i))
            return i;
        if (i == chunk)
            chunk = find_byte(data, i + 1, last, chunk_byte);
        else
            trace = find_byte(data, i + 1, last, trace_byte);
    }
}

/* The next place from `at` on where a chunk (stream: or a trace header) begins
 * that holds, or the end of the input, or `limit`. */
static uint64_t next_header(struct ma_reader *reader, uint64_t at, uint64_t limit)
{
    const unsigned char *data;
    while (at < limit) {
        size_t want = reader->unit > 1 ? (size_t)reader->unit : SCAN_WINDOW;
        size_t size = ma_source_window(reader->source, at, want, &data);
        if (size < MLF_CHUNK_HEADER)
            return at + size;
        if (reader->unit > 1) {
            if (header_begins(reader, at, data, size))
                return at;
            if (size < reader->unit)
                return at + size;
            at = ma_source_next_data(reader->source, at + reader->unit);
            at -= (at - reader->origin) % reader->unit;
            continue;
        }
        size_t last = (size > SCAN_WINDOW ? SCAN_WINDOW : size) - MLF_CHUNK_HEADER + 1;
        size_t found = find_header(reader, at, data, last, size);
        at += found;
        if (found < last)
            return at;
    }
    return at;
}

/* Begin with the trace header found at `origin`. */
static void begin(struct ma_reader *reader, uint64_t origin, const struct trace_header *header)
{
    reader->origin = origin;
    reader->layout = header->layout;
    reader->major = header->major;
    reader->minor = header->minor;
    reader->unit = header->unit;
    reader->at = origin + (header->layout == MLF_LAYOUT_MAPPED ? header->unit : header->size);
    reader->claimed = header->claimed;
    if (header->layout == MLF_LAYOUT_MAPPED &&
        (__builtin_add_overflow(header->claimed, 1, &reader->claimed_end) ||
         __builtin_mul_overflow(reader->claimed_end, header->unit, &reader->claimed_end) ||
         __builtin_add_overflow(reader->claimed_end, origin, &reader->claimed_end)))
        reader->claimed_end = 0; /* nonsense */
    if (!header->reserved ||
        __builtin_add_overflow(header->reserved, origin, &reader->reserved_end))
        reader->reserved_end = UINT64_MAX; /* not told */
}

/* No trace header at the beginning: go on with the first thing that holds, be
 * it a trace header behind something else, or a chunk, which tells the layout. */
static bool recover(struct ma_reader *reader)
{
    reader->unit = 1;
    reader->layout = MLF_LAYOUT_STREAM;
    reader->recovered = true;
    uint64_t at = next_header(reader, 0, RECOVERY_SPAN);
    const unsigned char *p;
    struct trace_header header;
    unsigned field;
    size_t size = ma_source_window(reader->source, at, MLF_HDR_SIZE, &p);
    if (size >= MLF_HDR_SIZE && !parse_trace_header(reader, p, size, &header, &field)) {
        reader->recovered = false;
        begin(reader, at, &header);
        ma_audit_skip(reader->audit, 0, at, "the trace begins behind something else");
        return true;
    }
    if (size < MLF_CHUNK_HEADER || !chunk_begins(reader, at, p, size))
        return false;
    if (!(p[MLF_CHUNK_FLAGS] & MLF_CHUNK_HAS_CRC)) {
        reader->layout = MLF_LAYOUT_MAPPED;
        reader->unit = (uint64_t)1 << MLF_UNIT_LOG2_MIN;
        reader->origin = at % reader->unit;
    }
    reader->major = MLF_MAJOR;
    reader->at = at;
    reader->audit->no_header = at == 0;
    ma_audit_skip(reader->audit, 0, at, "the trace header is damaged");
    return true;
}

/* Whether bytes may be the beginning of a text for people, colours included. */
static bool is_text(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (p[i] < 0x80 && !isprint(p[i]) && !(p[i] && strchr("\n\r\t\f\b\033", p[i])))
            return false;
    }
    return size > 0;
}

/* p: the first bytes of the input, as many of a trace header as there are. */
static int refuse(struct ma_reader *reader, const unsigned char *p, size_t size, unsigned field,
                  const char *problem, const struct trace_header *header, struct ma_error *error)
{
    const char *name = ma_source_name(reader->source);
    const char *input = ma_source_problem(reader->source);
    if (input)
        return ma_fail_at(error, -EIO, 0, "%s: %s", name, input);
    if (field == MLF_HDR_MAJOR)
        return ma_fail_at(error, -ENOTSUP, field,
                          "%s: offset %u: format version %u.%u; this mlog-analyze reads version %d",
                          name, field, header->major, header->minor, MLF_MAJOR);
    if (field)
        return ma_fail_at(error, -EPROTO, field, "%s: offset %u: %s", name, field, problem);
    char found[64] = "", *to = found;
    if (size && !p[0] && !memcmp(p, p + 1, size - 1))
        return ma_fail_at(error, -EPROTO, 0,
                          "%s: is not an mlog trace: it begins with zeros, as when the program is "
                          "killed before anything is recorded",
                          name);
    for (size_t i = 0; i < size && i < MLF_MAGIC_SIZE; i++) {
        if (isprint(p[i]) && p[i] != '\\')
            *to++ = (char)p[i];
        else
            to += sprintf(to, "\\x%02x", p[i]);
    }
    if (is_text(p, size))
        return ma_fail_at(error, -EPROTO, 0,
                          "%s: is not an mlog trace but text (\"%s\"): the program's output, if a "
                          "shell other than bash took 1022>FILE for an argument and >FILE; what "
                          "works in every shell is mlog run COMMAND",
                          name, found);
    return ma_fail_at(error, -EPROTO, 0,
                      "%s: is not an mlog trace: expected \\x89mlog at offset 0, found \"%s\"",
                      name, found);
}

/* Note the stops in the table of a mapped trace: at the end of one that is stable,
 * since writers may have added to it, and else while its first unit is at hand. */
static void take_stops(struct ma_reader *reader)
{
    const unsigned char *p;
    struct ma_audit *audit = reader->audit;
    if (reader->layout != MLF_LAYOUT_MAPPED || reader->recovered)
        return;
    size_t size = ma_source_window(reader->source, reader->origin, (size_t)reader->unit, &p);
    size = size < reader->unit ? size : (size_t)reader->unit;
    audit->table_stops = 0;
    for (size_t at = MLF_HDR_STOPS; at + MLF_STOP_ENTRY <= size; at += MLF_STOP_ENTRY) {
        const unsigned char *entry = p + at;
        if (!mlf_get_u64(entry + MLF_STOP_PROCESS) || !mlf_get_u32(entry + MLF_STOP_REASON))
            continue;
        audit->table_stops++;
        audit->table_reason = mlf_get_u32(entry + MLF_STOP_REASON);
        audit->table_errno = mlf_get_u32(entry + MLF_STOP_ERRNO);
        audit->table_met = (struct ma_met){.what = entry[MLF_STOP_MET],
                                           .limit = mlf_get_u64(entry + MLF_STOP_MET) >> 8};
    }
}

int ma_reader_init(struct ma_reader *reader, struct ma_source *source, struct ma_audit *audit,
                   struct ma_error *error)
{
    *reader = (struct ma_reader){.source = source, .audit = audit};
    mlf_crc_table_fill(&reader->crc);
    const unsigned char *p;
    size_t size = ma_source_window(source, 0, MLF_HDR_SIZE, &p);
    struct trace_header header = {0};
    unsigned field;
    const char *problem = parse_trace_header(reader, p, size, &header, &field);
    if (problem) {
        unsigned char start[MLF_HDR_SIZE];
        size = size < sizeof start ? size : sizeof start;
        memcpy(start, p, size);
        if ((field == 0 || field == MLF_HDR_CRC) && recover(reader))
            return 0;
        return refuse(reader, start, size, field, problem, &header, error);
    }
    begin(reader, 0, &header);
    if (!ma_source_stable(source))
        take_stops(reader);
    return 0;
}

void ma_reader_free(struct ma_reader *reader)
{
    free(reader->passed);
}

/* Whether somebody may be writing what is read; a copy behind something else is
 * written by nobody. */
static bool may_be_written(const struct ma_reader *reader)
{
    return reader->layout == MLF_LAYOUT_MAPPED && !reader->recovered && reader->origin == 0 &&
           ma_source_stable(reader->source);
}

/* Whether more units are claimed now than when we began. */
static bool has_claimed(const struct ma_reader *reader)
{
    const unsigned char *p;
    if (!may_be_written(reader) ||
        ma_source_window(reader->source, 0, MLF_HDR_SIZE, &p) < MLF_HDR_SIZE)
        return false;
    uint64_t now;
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* what the caller saw was claimed before */
    __atomic_load((const uint64_t *)(const void *)(p + MLF_HDR_CLAIMED), &now, __ATOMIC_ACQUIRE);
    return mlf_get_u64((const unsigned char *)&now) > reader->claimed;
}

/* Whether a chunk has been begun in a range that was passed. Of a file's holes
 * nothing is looked at. */
static bool has_begun(const struct ma_reader *reader, const struct ma_range *range)
{
    const uint64_t unit = reader->unit, end = range->offset + range->bytes;
    for (uint64_t at = range->offset; at < end; at += unit) {
        const unsigned char *p;
        at = ma_source_next_data(reader->source, at);
        at -= at % unit;
        if (at >= end ||
            ma_source_window(reader->source, at, MLF_CHUNK_HEADER, &p) < MLF_CHUNK_HEADER)
            return false;
        if (__atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_ACQUIRE))
            return true;
    }
    return false;
}

/* Note that claimed units are passed: their writers may have been stopped. */
static void note_passed(struct ma_reader *reader, uint64_t at, uint64_t bytes)
{
    if (!may_be_written(reader))
        return;
    struct ma_range *last = reader->n_passed ? &reader->passed[reader->n_passed - 1] : NULL;
    if (last && last->offset + last->bytes == at)
        last->bytes += bytes;
    else if (MA_RESERVE(reader->passed, reader->n_passed, reader->passed_capacity))
        reader->passed[reader->n_passed++] = (struct ma_range){.offset = at, .bytes = bytes};
    else
        reader->passed_unknown = true;
}

bool ma_reader_grew(const struct ma_reader *reader)
{
    if (has_claimed(reader) || reader->passed_unknown)
        return true;
    for (size_t i = 0; i < reader->n_passed; i++) {
        if (has_begun(reader, &reader->passed[i]))
            return true;
    }
    /* Or the file was made longer after it was opened, and before its header was read. */
    return may_be_written(reader) && reader->at < reader->claimed_end &&
           ma_source_grew(reader->source);
}

static bool all_zero(const unsigned char *p, size_t size)
{
    unsigned char any = 0;
    for (size_t i = 0; i < size; i++)
        any |= p[i];
    return !any;
}

/* A unit of a mapped trace whose chunk has not been begun: zero, or with the
 * header but for its magic number, which is stored last, and nothing behind. */
static bool not_begun(struct ma_reader *reader, uint64_t at, const unsigned char **p, size_t *size)
{
    if (!all_zero(*p, *size < 4 ? *size : 4))
        return false;
    if (all_zero(*p, *size < MLF_CHUNK_HEADER ? *size : MLF_CHUNK_HEADER))
        return true;
    *size = ma_source_window(reader->source, at, reader->unit, p);
    return *size >= reader->unit &&
           all_zero(*p + MLF_CHUNK_HEADER, reader->unit - MLF_CHUNK_HEADER);
}

/* The outcome of a look for the next chunk at reader->at. */
enum step {
    STEP_ON,    /* no chunk to hand out: look again, at reader->at */
    STEP_CHUNK, /* a chunk, and reader->at is behind it */
    STEP_END,   /* the trace ends */
};

/* The input ends at or within `at`. */
static enum step finish(struct ma_reader *reader, uint64_t at, bool within)
{
    const char *problem = ma_source_problem(reader->source);
    if (problem)
        snprintf(reader->audit->input_problem, sizeof reader->audit->input_problem, "%s", problem);
    /* Units claimed but not reserved: the writer was killed in between. Not a
     * truncation. */
    within |= reader->layout == MLF_LAYOUT_MAPPED && at < reader->claimed_end &&
              at < reader->reserved_end;
    if (problem || (within && !ma_source_grew(reader->source)))
        ma_audit_truncated(reader->audit, at);
    reader->at = at;
    return STEP_END;
}

/* Skip what begins at `at` and does not hold, up to the next thing that does. */
static enum step skip_bad(struct ma_reader *reader, uint64_t at, const char *reason)
{
    const unsigned char *p;
    size_t size = ma_source_window(reader->source, at, (size_t)reader->unit, &p);
    reader->at =
        size < reader->unit ? at + size : next_header(reader, at + reader->unit, UINT64_MAX);
    ma_audit_skip(reader->audit, at, reader->at - at, "%s", reason);
    return STEP_ON;
}

/* A trace header may recur in a stream. */
static enum step step_over_trace_header(struct ma_reader *reader, const unsigned char *p,
                                        size_t size)
{
    struct trace_header header;
    unsigned field;
    const char *problem = parse_trace_header(reader, p, size, &header, &field);
    if (!problem && header.layout != MLF_LAYOUT_STREAM)
        problem = "the header of a mapped trace within a stream";
    if (problem)
        return skip_bad(reader, reader->at, problem);
    reader->at += header.size;
    return STEP_ON;
}

/* The fault of the payload of a chunk whose header holds, or NULL. */
static const char *check_payload(struct ma_reader *reader, const struct ma_chunk *chunk,
                                 const unsigned char *p, size_t size)
{
    if (chunk->cut && reader->layout == MLF_LAYOUT_STREAM &&
        find_header(reader, chunk->offset + 1, p + 1, size - 1, size - 1) < size - 1)
        return "a chunk runs past the next one";
    bool has_crc = p[MLF_CHUNK_FLAGS] & MLF_CHUNK_HAS_CRC;
    if (has_crc && !chunk->cut &&
        mlf_crc32(&reader->crc, 0, chunk->payload, chunk->size) !=
            mlf_get_u32(p + MLF_CHUNK_PAYLOAD_CRC))
        return "the CRC of a chunk's payload is wrong";
    return NULL;
}

/* A unit may have been claimed just now: give its writer a moment. True if it
 * has begun a chunk there. */
static bool is_being_written(struct ma_reader *reader, const unsigned char *p)
{
    while (reader->origin == 0 && ma_source_stable(reader->source) && reader->waits < WAITS_MAX) {
        nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
        reader->waits++;
        if (__atomic_load_n((const uint32_t *)(const void *)p, __ATOMIC_ACQUIRE))
            return true;
    }
    return false;
}

/* Step over a unit of zeros, of which `size` bytes are at hand, and over as much of
 * a hole as begins with it. After a long run of them behind what is claimed no more
 * is to come. */
static enum step step_over_zeros(struct ma_reader *reader, const unsigned char *p, size_t size)
{
    const uint64_t at = reader->at;
    if (at < reader->claimed_end && is_being_written(reader, p))
        return STEP_ON; /* to what stands there now */
    if (size < reader->unit)
        size = ma_source_window(reader->source, at, reader->unit, &p);
    if (size < reader->unit)
        return finish(reader, at + size, false);
    uint64_t next = ma_source_next_data(reader->source, at + reader->unit);
    next -= (next - reader->origin) % reader->unit;
    reader->at = next;
    uint64_t end = next < reader->claimed_end ? next : reader->claimed_end;
    if (at < reader->claimed_end) {
        ma_audit_unwritten(reader->audit, at, end - at, (end - at) / reader->unit);
        note_passed(reader, at, end - at);
    } else {
        reader->zeros_beyond += reader->unit; /* holes cost nothing */
    }
    return reader->zeros_beyond > ZEROS_MAX ? finish(reader, next, false) : STEP_ON;
}

/* No chunk begins here, for this reason, and nothing else that may. */
static enum step step_over_bad(struct ma_reader *reader, const unsigned char *p, size_t size,
                               const char *problem)
{
    if (size < MLF_CHUNK_HEADER && begins_like_chunk(p, size))
        return finish(reader, reader->at, true);
    if (reader->layout == MLF_LAYOUT_STREAM && size < MLF_HDR_SIZE && begins_like_trace(p, size))
        return finish(reader, reader->at, true);
    if (reader->layout == MLF_LAYOUT_MAPPED && size >= MLF_HDR_SIZE && begins_like_trace(p, size))
        problem = "another trace begins here";
    return skip_bad(reader, reader->at, problem);
}

/* A chunk of `whole` bytes whose header holds; `size` bytes are at hand from its
 * beginning on. */
static enum step take_chunk(struct ma_reader *reader, const struct ma_chunk *chunk,
                            const unsigned char *p, size_t size, uint32_t whole)
{
    const uint64_t at = reader->at, held = size < whole ? size : whole;
    reader->at += held;
    if (chunk->kind != MLF_EVENTS && chunk->kind != MLF_DEFINITIONS) {
        if (!(chunk->kind & MLF_CHUNK_KIND_OPTIONAL))
            ma_audit_skip(reader->audit, at, held, "unknown kind of chunk %u", chunk->kind);
        return STEP_ON;
    }
    if (reader->layout == MLF_LAYOUT_STREAM && !(p[MLF_CHUNK_FLAGS] & MLF_CHUNK_HAS_CRC)) {
        ma_audit_skip(reader->audit, at, held, "a chunk in a stream without payload CRC");
        return STEP_ON;
    }
    const char *problem = check_payload(reader, chunk, p, size);
    if (problem) {
        reader->searched += chunk->cut ? 0 : held;
        if (reader->layout == MLF_LAYOUT_STREAM && reader->searched <= at + SEARCHED_MAX)
            return skip_bad(reader, at, problem);
        ma_audit_skip(reader->audit, at, held, "%s", problem);
        return STEP_ON;
    }
    if (chunk->cut)
        finish(reader, at + size, true);
    return STEP_CHUNK;
}

/* Look at what stands where the next chunk is to begin. */
static enum step look(struct ma_reader *reader, struct ma_chunk *chunk)
{
    const unsigned char *p;
    const uint64_t at = reader->at;
    /* No more than there must be: the next may be hours away. */
    size_t size = ma_source_window(reader->source, at, MLF_CHUNK_HEADER, &p);
    if (size && p[0] == (unsigned char)MLF_MAGIC[0])
        size = ma_source_window(reader->source, at, MLF_HDR_SIZE, &p);
    if (size == 0)
        return finish(reader, at, false);
    const bool empty = reader->layout == MLF_LAYOUT_MAPPED && not_begun(reader, at, &p, &size);
    /* What follows is being written, and zeros that were passed may be so by now. */
    if (at >= reader->claimed_end && has_claimed(reader))
        return STEP_END;
    if (empty)
        return step_over_zeros(reader, p, size);
    if (reader->layout == MLF_LAYOUT_STREAM && size >= MLF_HDR_SIZE && begins_like_trace(p, size))
        return step_over_trace_header(reader, p, size);
    uint32_t whole;
    const char *problem = parse_chunk_header(reader, at, p, size, chunk, &whole);
    if (problem)
        return step_over_bad(reader, p, size, problem);
    if (size < whole) {
        size = ma_source_window(reader->source, at, whole, &p);
        parse_chunk_header(reader, at, p, size, chunk, &whole);
    }
    return take_chunk(reader, chunk, p, size, whole);
}

int ma_reader_next(struct ma_reader *reader, struct ma_chunk *chunk)
{
    enum step step = STEP_ON;
    while (step == STEP_ON)
        step = look(reader, chunk);
    if (step == STEP_END && ma_source_stable(reader->source))
        take_stops(reader);
    return step == STEP_CHUNK;
}
