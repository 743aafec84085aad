/* SPDX-License-Identifier: MIT
 *
 * The mapped sink: chunks of a regular file, mapped shared. An event's bytes
 * are in the page cache at once, so they survive any end of the process, and no
 * event costs a system call.
 *
 * Space is claimed by one atomic addition to a counter in the file's first
 * unit, which all processes that trace into the file map: they need no lock.
 * It is reserved by fallocate before it is mapped, so that a full disk is an
 * error here and no SIGBUS later.
 *
 * No reservation prevents that somebody makes the file shorter while a chunk is
 * mapped: the next store there is a SIGBUS. A chunk that begins looks at the
 * file's size first and ends the tracing if it has shrunk; between the cut and
 * that look lt_bus.c takes the fault. What else was weighed: a lease ends when
 * somebody opens the file for reading, and by a signal; denying writers needs
 * that we are none; an append-only file needs privileges and outlives us; a call
 * of pwrite for each event costs several events; to write when a chunk is full
 * loses its events when the program is killed. Where SIGBUS is blocked or ignored
 * MLOG_FILE=write does without a mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lt_bus.h"
#include "lt_fill.h"
#include "lt_sink.h"
#include "lt_trace.h"

#define STEP_MIN LT_FILE_BEGUN_MAX /* file space reserved at a time */
#define STEP_MAX (8u << 20)
#define WARM_MIN (16u << 10)
#define EVENTS_CHUNK_MAX_LOG2 6 /* 4 KiB << 6 */
#define DEFINITIONS_CHUNK_MAX_LOG2 4
#define HANDED_ON_MAX (16u << 10)

static struct {
    struct lt_file file;
    unsigned char *header; /* the mapped first unit */
    unsigned unit_log2;
    struct lt_lock lock;  /* over the giving up of a chunk */
    uint64_t mapped_end;  /* of the file, as far as we ever mapped it; atomic */
    uint64_t witness;     /* offset of a chunk that we began, and whose it is: */
    uint64_t witness_key; /*   there as long as the file is ours; 0 none */
    bool forsaken;        /* the file was cut: nothing that we map is in it any more */
    bool warm;            /* not on a file system that is memory itself */
    char path[512];       /* where to find the file again; "" unknown */
} sink;

static uint64_t *header_counter(unsigned offset)
{
    return (uint64_t *)(void *)(sink.header + offset);
}

static int open_again(const char *path)
{
    struct lt_file again = {-1, 0, 0};
    int fd = lt_open(path, O_RDWR | O_NOCTTY | O_NONBLOCK, 0);
    if (fd >= 0)
        fd = lt_move_fd(fd, LT_LOWEST_FD);
    if (fd < 0)
        return -EBADF;
    if (!lt_file_adopt(&again, fd) || again.device != sink.file.device ||
        again.inode != sink.file.inode) {
        lt_close(fd);
        return -ESTALE;
    }
    sink.file.fd = fd;
    return fd;
}

/* A descriptor of the trace file, opened again by name, or, if that is gone,
 * by the descriptor that was given, if the program closed ours. */
static int trace_fd(void)
{
    if (lt_file_is_ours(&sink.file))
        return sink.file.fd;
    int fd = sink.path[0] ? open_again(sink.path) : -ENOENT;
    return fd >= 0 ? fd : open_again("/proc/self/fd/1022");
}

/* Above the limit of a file's size the kernel sends SIGXFSZ: not to be tried. */
static bool is_allowed(uint64_t from, uint64_t to)
{
    const uint64_t limit = lt_soft_limit(RLIMIT_FSIZE);
    if (to > limit)
        lt_met_note(MLF_MET_FSIZE, limit, from, to - from);
    return to <= limit;
}

/* The file system's refusal to have the file go on from `from` to `to`. */
static int note_refusal(int error, uint64_t from, uint64_t to)
{
    if (error == -ENOSPC || error == -EDQUOT)
        lt_met_note(error == -ENOSPC ? MLF_MET_SPACE : MLF_MET_QUOTA, 0, from, to - from);
    return error;
}

static int write_zeros(int fd, uint64_t from, uint64_t to)
{
    static const unsigned char zeros[4096];
    if (!is_allowed(from, to))
        return -EFBIG;
    while (from < to) {
        size_t n = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        long wrote = lt_pwrite(fd, zeros, n, from);
        if (wrote == -EINTR)
            continue;
        if (wrote <= 0)
            return note_refusal(wrote ? (int)wrote : -ENOSPC, from, to);
        from += (uint64_t)wrote;
    }
    return 0;
}

static int allocate(int fd, uint64_t from, uint64_t to)
{
    long result;
    if (!is_allowed(from, to))
        return -EFBIG;
    do
        result = lt_fallocate(fd, from, to - from);
    while (result == -EINTR);
    return note_refusal((int)result, from, to);
}

/* See that the file, now of this size, has space for [from, to), which is the
 * caller's alone. */
static int reserve(int fd, uint64_t from, uint64_t to, uint64_t file_size)
{
    uint64_t *reserved = header_counter(MLF_HDR_RESERVED);
    uint64_t seen = __atomic_load_n(reserved, __ATOMIC_RELAXED);
    if (to <= seen && to <= file_size)
        return 0;
    if (to <= seen || seen > from) /* cut behind all that is mapped */
        seen = from;
    uint64_t step = to / 8;
    step = step < STEP_MIN ? STEP_MIN : step > STEP_MAX ? STEP_MAX : step;
    uint64_t goal = (to + step) & ~(uint64_t)(STEP_MIN - 1);
    int result = allocate(fd, seen, goal);
    if (result == -ENOSPC || result == -EDQUOT || result == -EFBIG) {
        goal = to;
        result = allocate(fd, from, to);
    }
    if (result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL) {
        goal = to;
        result = write_zeros(fd, from, to);
    }
    if (result)
        return result;
    while (seen < goal && !__atomic_compare_exchange_n(reserved, &seen, goal, 1, __ATOMIC_RELAXED,
                                                       __ATOMIC_RELAXED))
        ;
    return 0;
}

/* Bring a fresh chunk's pages into the page cache, dirty, by one call: on
 * ext4 a page then costs a third of what its own write fault would (measured:
 * 2.9 us to 1.1). On tmpfs, where a fault is all there is, it costs more. */
static void warm(int fd, uint64_t offset, size_t size)
{
    static const unsigned char zeros[4096] __attribute__((aligned(64)));
    struct iovec parts[64];
    for (size_t done = 0; done < size;) {
        int n = 0;
        for (; n < 64 && done + (size_t)n * sizeof zeros < size; n++)
            parts[n] = (struct iovec){(void *)(uintptr_t)zeros, sizeof zeros};
        long wrote = lt_pwritev(fd, parts, n, offset + done);
        if (wrote <= 0)
            return; /* the faults will do */
        done += (size_t)wrote;
    }
}

/* The lock is for forsake() and for the checksums at the end of the process, which look
 * at other contexts' chunks. A handler that interrupts those leaves its chunk mapped. */
static void give_up_chunk(struct lt_writer *writer)
{
    bool locked = lt_lock_take(&sink.lock);
    unsigned char *chunk = writer->chunk;
    writer->chunk = NULL; /* first: a thread cancelled in between looks into its chunk */
    LT_SIGNAL_FENCE();
    if (chunk && locked)
        lt_unmap(chunk, writer->size);
    if (locked)
        lt_lock_release(&sink.lock);
    writer->position = writer->drained = (unsigned char *)1; /* beyond the limit: no room */
    writer->limit = NULL;
}

/* Memory of no file takes the place of a chunk: stores into it harm nobody. */
static void replace(void *chunk, size_t size)
{
    lt_mmap(chunk, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* True if the file is still the one that we map: not cut, nor cut and grown
 * again by somebody else. *size gets its size. */
static bool is_intact(int fd, uint64_t *size)
{
    struct stat st;
    unsigned char key[8] = {0};
    /* Before the size is asked for: what another thread maps meanwhile lies behind it. */
    uint64_t mapped_end = __atomic_load_n(&sink.mapped_end, __ATOMIC_ACQUIRE);
    if (lt_bus_struck() || lt_fstat(fd, &st))
        return false;
    *size = (uint64_t)st.st_size;
    if (*size < mapped_end)
        return false;
    uint64_t witness_key = __atomic_load_n(&sink.witness_key, __ATOMIC_ACQUIRE);
    if (!witness_key)
        return true;
    return lt_pread(fd, key, sizeof key, sink.witness + MLF_CHUNK_PROCESS) == sizeof key &&
           mlf_get_u64(key) == witness_key;
}

/* The file was cut under us: no thread may store into it any more. */
static enum lt_refusal forsake(void)
{
    sink.forsaken = true;
    if (lt_lock_take(&sink.lock)) {
        for (struct lt_context *c = lt_process.contexts; c; c = c->next) {
            if (c->events.chunk)
                replace(c->events.chunk, c->events.size);
            if (c->definitions.chunk)
                replace(c->definitions.chunk, c->definitions.size);
        }
        replace(sink.header, (size_t)1 << sink.unit_log2);
        lt_lock_release(&sink.lock);
    }
    return LT_REFUSED_GONE;
}

/* Whether a file that was cut is yet what is left of our trace: not if another run has
 * begun there, which has put a chunk, or reserved zeros, where our witness stood. */
static bool is_rest_of_ours(const unsigned char *header)
{
    unsigned char ours[MLF_HDR_SIZE] = {0}, key[8] = {0};
    lt_trace_header(ours, MLF_LAYOUT_MAPPED, sink.unit_log2);
    if (memcmp(header, ours, MLF_HDR_CRC + 4) != 0)
        return false;
    return lt_pread(sink.file.fd, key, sizeof key, sink.witness + MLF_CHUNK_PROCESS) !=
               sizeof key ||
           mlf_get_u64(key) == sink.witness_key;
}

/* Say it in the table of stops. That of a file which was cut is not mapped any more,
 * and written to only where it is ours yet. */
static void file_stopped(int reason, int error, bool told)
{
    unsigned char *table = sink.header,
                  cut[MLF_HDR_STOPS + MLF_STOP_ENTRY] __attribute__((aligned(8))) = {0};
    size_t size = (size_t)1 << sink.unit_log2;
    const struct lt_met met = lt_met_of(reason);
    if (told && !sink.forsaken)
        return;
    if (sink.forsaken) {
        if (lt_pread(sink.file.fd, cut, sizeof cut, 0) != sizeof cut || !is_rest_of_ours(cut))
            return;
        table = cut;
        size = sizeof cut;
    }
    for (size_t at = MLF_HDR_STOPS; at + MLF_STOP_ENTRY <= size; at += MLF_STOP_ENTRY) {
        unsigned char *entry = table + at;
        uint64_t free_entry = 0;
        if (!__atomic_compare_exchange_n((uint64_t *)(void *)(entry + MLF_STOP_PROCESS),
                                         &free_entry, lt_process.key, 0, __ATOMIC_RELAXED,
                                         __ATOMIC_RELAXED))
            continue;
        mlf_put_u64(entry + MLF_STOP_TIME, lt_now());
        mlf_put_u32(entry + MLF_STOP_ERRNO, (uint32_t)error);
        mlf_put_u64(entry + MLF_STOP_MET, met.what | met.limit << 8);
        __atomic_store_n((uint32_t *)(void *)(entry + MLF_STOP_REASON), (uint32_t)reason,
                         __ATOMIC_RELEASE);
        if (sink.forsaken)
            lt_pwrite(sink.file.fd, entry, MLF_STOP_ENTRY, at);
        return;
    }
}

static enum lt_refusal file_begin(struct lt_writer *writer, size_t need)
{
    unsigned most = writer->kind == MLF_EVENTS ? EVENTS_CHUNK_MAX_LOG2 : DEFINITIONS_CHUNK_MAX_LOG2;
    unsigned growth = writer->sequence < most ? writer->sequence : most;
    size_t unit = (size_t)1 << sink.unit_log2;
    size_t size = unit << growth;
    need += MLF_CHUNK_HEADER + LT_FILL_MAX + LT_ITEM_MAX + LT_CHUNK_SLACK;
    if (size < need)
        size = (need + unit - 1) & ~(unit - 1);

    int fd = trace_fd();
    uint64_t file_size;
    if (fd < 0)
        return LT_REFUSED_GONE;
    if (!is_intact(fd, &file_size))
        return forsake();
    /* Before the claim: no later chunk may hold an earlier event. */
    uint64_t base_time = lt_now();
    uint64_t units = size >> sink.unit_log2;
    uint64_t *claimed = header_counter(MLF_HDR_CLAIMED);
    uint64_t first = __atomic_fetch_add(claimed, units, __ATOMIC_ACQ_REL);
    uint64_t offset = (first + 1) << sink.unit_log2, behind = first + units;
    if (reserve(fd, offset, offset + size, file_size)) {
        /* Unless someone has claimed behind us, the trace ends where it did. */
        __atomic_compare_exchange_n(claimed, &behind, first, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
        return LT_REFUSED_FULL;
    }
    if (sink.warm && size >= WARM_MIN)
        warm(fd, offset, size);
    unsigned char *chunk = lt_map_file(fd, offset, size);
    if (!chunk)
        return LT_REFUSED_MEMORY;

    uint64_t end = offset + size, was = __atomic_load_n(&sink.mapped_end, __ATOMIC_RELAXED);
    while (was < end && !__atomic_compare_exchange_n(&sink.mapped_end, &was, end, 1,
                                                     __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
    struct lt_fill filled;
    bool follows = lt_fill_look(writer, true, &filled);
    if (follows)
        lt_fill_sum(writer, &filled);
    give_up_chunk(writer);
    if (writer->stream != writer->context->stream) {
        writer->sequence = 0;
        writer->context->stamp_anew = 1; /* the rest of its events are in another's chunk */
        __atomic_store_n(&writer->stream, writer->context->stream, __ATOMIC_RELEASE);
    }
    writer->size = size;
    writer->base_time = base_time;
    __atomic_store_n(&writer->chunk, chunk, __ATOMIC_RELEASE); /* file_recover looks there */
    struct lt_writer numbered = *writer;
    numbered.sequence++;
    lt_chunk_header(chunk, &numbered, writer->context->stream, (uint32_t)size, 0, false, 0);
    if (!sink.witness_key) { /* the first of the process, before it has a second thread */
        sink.witness = offset;
        __atomic_store_n(&sink.witness_key, lt_process.key, __ATOMIC_RELEASE);
    }
    LT_SIGNAL_FENCE();
    /* Once the chunk can be seen: file_recover goes by that. */
    __atomic_store_n(&writer->sequence, writer->sequence + 1, __ATOMIC_RELAXED);
    writer->limit = chunk + size - LT_CHUNK_SLACK - LT_ITEM_MAX;
    writer->drained = chunk + MLF_CHUNK_HEADER;
    __atomic_store_n(&writer->position, chunk + MLF_CHUNK_HEADER, __ATOMIC_RELEASE);
    if (follows)
        lt_fill_say(writer, &filled);
    return 0;
}

/* Nothing waits; but this is called now and then, so see whether the file lives. */
static void file_flush(struct lt_context *self)
{
    uint64_t size;
    (void)self;
    if (lt_file_is_ours(&sink.file) && !is_intact(sink.file.fd, &size))
        lt_stop(NULL, forsake(), 0);
}

/* The chunks stay for the next thread that gets the context, since a thread that lives
 * for one request would leave them empty: records of definitions name their streams, and
 * events go on behind a TAKEN_OVER record. Not large ones of events: their checksum is made
 * at each thread's end, and they take address space. */
static void file_release(struct lt_context *context)
{
    file_flush(context);
    const bool active = lt_page.active == LT_ACTIVE;
    if (active)
        lt_fill_say_own(context, false);
    if (!active || context->events.size > HANDED_ON_MAX)
        give_up_chunk(&context->events);
    if (!active)
        give_up_chunk(&context->definitions);
}

static void file_end(struct lt_context *self)
{
    file_flush(self);
    if (lt_page.active == LT_ACTIVE)
        lt_fill_say_others(self, &sink.lock);
    if (lt_page.active == LT_ACTIVE)
        lt_fill_say_own(self, true);
}

/* The child has inherited the mappings of the parent's chunks: only the parent
 * may write into them. A hook that the fork interrupted (a signal handler
 * forked) will go on in the child: its chunk becomes private memory. */
static void file_after_fork(void)
{
    sink.lock.word = 0;
    for (struct lt_context *c = lt_process.contexts; c; c = c->next) {
        struct lt_writer *writers[] = {&c->events, &c->definitions};
        for (int i = 0; i < 2; i++) {
            struct lt_writer *w = writers[i];
            if (!c->busy || !w->chunk) {
                give_up_chunk(w);
                continue;
            }
            replace(w->chunk, w->size);
            w->limit = NULL;
        }
    }
}

static void file_constructed(void)
{
    lt_bus_guard(sink.header, (size_t)1 << sink.unit_log2);
}

/* A chunk that can be seen has its number. */
static void file_recover(struct lt_writer *writer)
{
    if (mlf_get_u32(writer->chunk + MLF_CHUNK_MAGIC_AT) == MLF_CHUNK_MAGIC &&
        mlf_get_u32(writer->chunk + MLF_CHUNK_SEQUENCE) == writer->sequence)
        writer->sequence++;
}

static int file_descriptor(void)
{
    return sink.file.fd;
}

const struct lt_sink lt_sink_file = {
    .begin = file_begin,
    .release = file_release,
    .flush = file_flush,
    .end = file_end,
    .stopped = file_stopped,
    .constructed = file_constructed,
    .after_fork = file_after_fork,
    .recover = file_recover,
    .descriptor = file_descriptor,
    .buffers = false,
};

int lt_sink_file_open(int fd, const char *path)
{
    unsigned char constant[MLF_HDR_SIZE] = {0}, found[MLF_HDR_SIZE] = {0};
    struct stat st;
    int error = lt_fstat(fd, &st);
    if (error)
        return error;
    long page = sysconf(_SC_PAGESIZE);
    sink.unit_log2 = MLF_UNIT_LOG2_MIN;
    while (1l << sink.unit_log2 < page && sink.unit_log2 < MLF_UNIT_LOG2_MAX)
        sink.unit_log2++;
    lt_trace_header(constant, MLF_LAYOUT_MAPPED, sink.unit_log2);

    /* Empty, a trace of ours, or one that another process is just beginning. */
    long got = lt_pread(fd, found, sizeof found, 0);
    if (got < 0)
        return (int)got;
    static const unsigned char nothing[MLF_HDR_CRC];
    if (got > 0 && memcmp(found, constant, MLF_HDR_CRC) && memcmp(found, nothing, MLF_HDR_CRC))
        return -EEXIST;

    uint64_t unit = 1ull << sink.unit_log2;
    error = allocate(fd, 0, STEP_MIN);
    uint64_t reserved = STEP_MIN;
    if (error == -EOPNOTSUPP || error == -ENOSYS || error == -EINVAL) {
        reserved = unit;
        error = !is_allowed(0, unit)          ? -EFBIG
                : (uint64_t)st.st_size < unit ? (int)lt_ftruncate(fd, unit)
                                              : 0;
        if (!error && (uint64_t)st.st_size < unit)
            error = write_zeros(fd, MLF_HDR_SIZE, unit);
    }
    if (error)
        return error;
    sink.mapped_end = unit;
    sink.header = lt_map_file(fd, 0, unit);
    if (!sink.header)
        return -ENOMEM;
    memcpy(sink.header, constant, MLF_HDR_CRC + 4); /* the same bytes whoever stores them */
    uint64_t seen = 0;
    __atomic_compare_exchange_n(header_counter(MLF_HDR_RESERVED), &seen, reserved, 0,
                                __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    if (!lt_file_adopt(&sink.file, fd))
        return -EBADF;
    struct statfs fs;
    sink.warm = lt_fstatfs(fd, &fs, sizeof fs) == 0 && (unsigned)fs.f_type != TMPFS_MAGIC &&
                (unsigned)fs.f_type != RAMFS_MAGIC;
    sink.path[0] = 0;
    if (path && strlen(path) < sizeof sink.path)
        strcpy(sink.path, path);
    lt_sink = &lt_sink_file;
    return 0;
}
