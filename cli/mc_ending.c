/* SPDX-License-Identifier: MIT
 *
 * Appending the program's end to its trace; see mc_ending.h. The record stands in a chunk of
 * definitions of its own, under the program's process key, which is looked for in the
 * trace, as is the clock. A mapped trace's space is claimed as every writer claims it.
 */
#include "mc_ending.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "mc_trace.h"
#include "mlf_codec.h"
#include "mlf_format.h"

#define PROCESS_BYTES 160 /* of a chunk's payload: more than a PROCESS record takes */

/* What the trace tells of the program. */
struct found {
    uint64_t key, clock, tick_shift;
};

struct trace {
    int fd;
    unsigned layout;
    uint64_t unit; /* 1 in a stream */
    uint64_t size;
};

static bool open_trace(struct trace *trace, const char *path)
{
    unsigned char header[MLF_HDR_SIZE];
    struct stat st;
    trace->fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (trace->fd < 0)
        return false;
    if (fstat(trace->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        pread(trace->fd, header, sizeof header, 0) != sizeof header ||
        memcmp(header, MLF_MAGIC, MLF_MAGIC_SIZE) != 0 ||
        mlf_get_u16(header + MLF_HDR_MAJOR) != MLF_MAJOR ||
        header[MLF_HDR_UNIT_LOG2] > MLF_UNIT_LOG2_MAX)
        return false;
    trace->layout = header[MLF_HDR_LAYOUT];
    trace->unit = UINT64_C(1) << header[MLF_HDR_UNIT_LOG2];
    trace->size = (uint64_t)st.st_size;
    return trace->layout == MLF_LAYOUT_STREAM ||
           (trace->layout == MLF_LAYOUT_MAPPED && trace->unit >= MLF_HDR_SIZE);
}

/* True if the chunk's payload begins with the PROCESS record of this pid. */
static bool is_of(const unsigned char *payload, size_t size, pid_t pid, struct found *found)
{
    const unsigned char *p = payload + 1, *end = payload + size;
    uint64_t length, value[10];
    if (size < 2 || payload[0] != MLF_REC_PROCESS || mlf_get_vu(&p, end, &length) < 0)
        return false;
    if (mlf_get_vu(&p, end, &value[0]) < 0 || value[0] != (uint64_t)pid ||
        mlf_get_vu(&p, end, &value[1]) < 0 || end - p < 8)
        return false;
    p += 8; /* the parent's key; then how, start, fork time, nodes, modules, clock, shift */
    for (size_t i = 2; i < 9; i++)
        if (mlf_get_vu(&p, end, &value[i]) < 0)
            return false;
    found->clock = value[7];
    found->tick_shift = value[8];
    return true;
}

static bool find_program(const struct trace *trace, pid_t pid, struct found *found)
{
    unsigned char bytes[MLF_CHUNK_HEADER + PROCESS_BYTES];
    uint64_t at = trace->layout == MLF_LAYOUT_MAPPED ? trace->unit : MLF_HDR_SIZE;
    while (at < trace->size) {
        ssize_t n = pread(trace->fd, bytes, sizeof bytes, (off_t)at);
        if (n < MLF_CHUNK_HEADER)
            return false;
        if (memcmp(bytes, MLF_MAGIC, MLF_MAGIC_SIZE) == 0) {
            at += MLF_HDR_SIZE; /* of another process of the stream */
            continue;
        }
        uint64_t size = mlf_get_u32(bytes + MLF_CHUNK_SIZE_AT);
        if (mlf_get_u32(bytes + MLF_CHUNK_MAGIC_AT) != MLF_CHUNK_MAGIC || size < trace->unit) {
            if (trace->layout == MLF_LAYOUT_STREAM)
                return false;
            at += trace->unit; /* claimed, and not begun */
            continue;
        }
        found->key = mlf_get_u64(bytes + MLF_CHUNK_PROCESS);
        if (bytes[MLF_CHUNK_KIND] == MLF_DEFINITIONS &&
            is_of(bytes + MLF_CHUNK_HEADER, (size_t)n - MLF_CHUNK_HEADER, pid, found))
            return true;
        at += size;
    }
    return false;
}

/* The moment in the program's ticks; false if this process cannot read its clock. */
static bool now_of(const struct found *found, uint64_t *now)
{
    struct timespec time;
    if (found->tick_shift > 63)
        return false;
    if (found->clock == MLF_CLOCK_MONOTONIC) {
        clock_gettime(CLOCK_MONOTONIC, &time);
        *now = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
#if defined(__x86_64__) || defined(__i386__)
    } else if (found->clock == MLF_CLOCK_TSC) {
        *now = __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    } else if (found->clock == MLF_CLOCK_CNTVCT) {
        __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(*now));
#endif
    } else {
        return false;
    }
    *now >>= found->tick_shift;
    return true;
}

static size_t put_record(unsigned char *to, const struct mc_job *job, uint64_t now)
{
    unsigned char payload[8 * MLF_VU_SLACK], *p = mlf_put_vu(payload, now);
    p = mlf_put_vu(p, (uint64_t)job->pid);
    p = mlf_put_vu(p, job->killed ? MLF_CHILD_KILLED : MLF_CHILD_EXITED);
    p = mlf_put_vu(p, (uint64_t)(job->status & 0xff));
    p = mlf_put_vu(p, job->core ? MLF_CHILD_CORE : 0);
    to[0] = MLF_REC_CHILD_END;
    unsigned char *at = mlf_put_vu(to + 1, (uint64_t)(p - payload));
    memcpy(at, payload, (size_t)(p - payload));
    return (size_t)(at - to) + (size_t)(p - payload);
}

static void put_header(unsigned char *header, const struct found *found, uint64_t now,
                       uint32_t size, bool has_crc, size_t filled)
{
    struct mlf_crc_table table;
    mlf_crc_table_fill(&table);
    memset(header, 0, MLF_CHUNK_HEADER);
    mlf_put_u32(header + MLF_CHUNK_MAGIC_AT, MLF_CHUNK_MAGIC);
    header[MLF_CHUNK_KIND] = MLF_DEFINITIONS;
    header[MLF_CHUNK_FLAGS] = has_crc ? MLF_CHUNK_HAS_CRC : 0;
    mlf_put_u16(header + MLF_CHUNK_HEADER_SIZE, MLF_CHUNK_HEADER);
    mlf_put_u32(header + MLF_CHUNK_SIZE_AT, size);
    mlf_put_u64(header + MLF_CHUNK_PROCESS, found->key);
    mlf_put_u32(header + MLF_CHUNK_STREAM, MLF_STREAM_OUTSIDE);
    mlf_put_u64(header + MLF_CHUNK_BASE_TIME, now);
    if (has_crc)
        mlf_put_u32(header + MLF_CHUNK_PAYLOAD_CRC,
                    mlf_crc32(&table, 0, header + MLF_CHUNK_HEADER, filled));
    mlf_put_u32(header + MLF_CHUNK_CRC, mlf_crc32(&table, 0, header, MLF_CHUNK_CRC));
}

/* Claim one unit. Returns its offset, or 0: there is no space. */
static uint64_t claim(const struct trace *trace)
{
    unsigned char *first =
        mmap(NULL, trace->unit, PROT_READ | PROT_WRITE, MAP_SHARED, trace->fd, 0);
    if (first == MAP_FAILED)
        return 0;
    uint64_t *claimed = (uint64_t *)(void *)(first + MLF_HDR_CLAIMED);
    uint64_t number = __atomic_fetch_add(claimed, 1, __ATOMIC_ACQ_REL), behind = number + 1;
    uint64_t offset = behind * trace->unit;
    if (posix_fallocate(trace->fd, (off_t)offset, (off_t)trace->unit) != 0) {
        __atomic_compare_exchange_n(claimed, &behind, number, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_RELAXED);
        offset = 0;
    }
    munmap(first, trace->unit);
    return offset;
}

/* The magic last, as all writers do. */
static void append_mapped(const struct trace *trace, const struct found *found,
                          const struct mc_job *job)
{
    unsigned char chunk[MLF_CHUNK_HEADER + 16 * MLF_VU_SLACK];
    uint64_t now, offset;
    /* Before the claim: no later chunk may hold an earlier event. */
    if (!now_of(found, &now) || !(offset = claim(trace)))
        return;
    size_t filled = put_record(chunk + MLF_CHUNK_HEADER, job, now);
    put_header(chunk, found, now, (uint32_t)trace->unit, false, filled);
    const size_t rest = MLF_CHUNK_HEADER + filled - 4;
    if (pwrite(trace->fd, chunk + 4, rest, (off_t)offset + 4) == (ssize_t)rest &&
        pwrite(trace->fd, chunk, 4, (off_t)offset) != 4)
        return; /* a unit that was claimed and not begun: no harm */
}

static void append_piece(const struct trace *trace, const struct found *found,
                         const struct mc_job *job)
{
    unsigned char chunk[MLF_CHUNK_HEADER + 16 * MLF_VU_SLACK];
    uint64_t now;
    if (!now_of(found, &now))
        return;
    size_t filled = put_record(chunk + MLF_CHUNK_HEADER, job, now);
    const size_t size = MLF_CHUNK_HEADER + filled;
    put_header(chunk, found, now, (uint32_t)size, true, filled);
    if (pwrite(trace->fd, chunk, size, (off_t)trace->size) != (ssize_t)size &&
        ftruncate(trace->fd, (off_t)trace->size) < 0)
        return; /* cut in this chunk, and the analyser says so */
}

void mc_ending_append(const char *path, const struct mc_job *job)
{
    struct trace trace;
    struct found found;
    const bool written = mc_trace_is_written(path); /* asked before we could ourselves */
    if (open_trace(&trace, path) && find_program(&trace, job->pid, &found)) {
        if (trace.layout == MLF_LAYOUT_MAPPED)
            append_mapped(&trace, &found, job);
        else if (!written)
            append_piece(&trace, &found, job);
    }
    if (trace.fd >= 0)
        close(trace.fd);
}
