/* SPDX-License-Identifier: MIT
 *
 * The stream sink: pipes, FIFOs, sockets, character devices. A context writes
 * into a private buffer; whoever finds its buffer full delivers what all
 * contexts have, definitions first, as pieces with checksums, and then a SYNC
 * record, so that a reader can merge the threads with bounded delay. A slow
 * reader slows the program, or, with MLOG_ON_FULL=drop, costs events: a thread
 * whose buffer is full and cannot be delivered counts what it does not record.
 * Definitions are never dropped: what does not go out is set aside. A reader
 * that goes away ends the tracing.
 *
 * A lock keeps the threads of a process apart, a record lock on the trace's
 * inode the processes: both are taken only here, never on an event's path.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "lt_config.h"
#include "lt_fill.h"
#include "lt_sink.h"
#include "lt_stream_out.h"
#include "lt_trace.h"
#include "lt_zstd.h"

#define EVENTS_BUFFER (64u << 10)
#define DEFINITIONS_BUFFER (16u << 10)
/* The longest delay until a store of another core is visible, where the kernel
 * has no membarrier to make it so: 1 ms, in nanoseconds. */
#define STORE_DELAY_NS 1000000u
/* With MLOG_ON_FULL=drop: what may be set aside before new threads get no
 * buffer, how soon a reader that was slow is tried again, how long the end of
 * the process waits for it. */
#define ASIDE_MAX (16u << 20)
#define RETRY_NS 1000000u
#define LINGER_NS 100000000u

/* A buffer given up by its context before it was delivered; it stands behind
 * the buffer's bytes. */
struct aside {
    struct aside *next;
    struct lt_writer writer;
    uint32_t stream;
};

struct aside_list {
    struct aside *first, **end;
};

static struct {
    struct lt_file file;
    bool membarrier;
    bool begun;  /* this process has written its trace header */
    bool locked; /* the record lock is kept: something is half sent */
    struct lt_lock lock;
    struct lt_context control; /* the stream of SYNC records */
    struct aside_list definitions_aside, events_aside;
    size_t aside_bytes;
    uint64_t retry_at;                /* ticks */
    uint64_t linger_until;            /* monotonic ns: the end's patience; 0: it has not come */
    const struct lt_context *parting; /* its thread ends */
    uint64_t unsaid;                  /* events dropped by ended threads without a buffer */
    int stop_reason, stop_error;      /* of a STOP record to be delivered; 0: none */
} sink;

static int stream_fd(void)
{
    if (lt_file_is_ours(&sink.file))
        return sink.file.fd;
    struct lt_file given = {LT_TRACE_FD, sink.file.device, sink.file.inode};
    if (!lt_file_is_ours(&given))
        return -EBADF;
    sink.file.fd = LT_TRACE_FD;
    return LT_TRACE_FD;
}

static int deliver_of(int fd, struct lt_writer *writer, uint32_t stream)
{
    unsigned char *end = __atomic_load_n(&writer->position, __ATOMIC_ACQUIRE);
    if (!writer->chunk || end == writer->drained)
        return 0;
    size_t size = (size_t)(end - writer->drained);
    unsigned char header[MLF_CHUNK_HEADER];
    lt_chunk_header(header, writer, stream, (uint32_t)(MLF_CHUNK_HEADER + size),
                    (uint32_t)(writer->drained - writer->chunk), true,
                    lt_crc(writer->drained, size, 0));
    struct iovec parts[2] = {{header, sizeof header}, {writer->drained, size}};
    int error = lt_out_put(fd, parts);
    if (!error)
        writer->drained = end;
    return error;
}

static int deliver(int fd, struct lt_writer *writer)
{
    return deliver_of(fd, writer, writer->context->stream);
}

static int deliver_trace_header(int fd)
{
    unsigned char header[MLF_HDR_SIZE] = {0};
    lt_trace_header(header, MLF_LAYOUT_STREAM, 0);
    struct iovec parts[2] = {{header, sizeof header}, {NULL, 0}};
    return lt_out_put(fd, parts);
}

static void free_buffer(unsigned char *buffer, size_t size)
{
    lt_memory_free(buffer, size + sizeof(struct aside));
}

/* The writer's undelivered buffer is delivered when there is room for it. */
static void set_aside(struct lt_writer *writer)
{
    struct aside *a = (struct aside *)(void *)(writer->chunk + writer->size);
    struct aside_list *list =
        writer->kind == MLF_EVENTS ? &sink.events_aside : &sink.definitions_aside;
    a->next = NULL;
    a->writer = *writer;
    a->stream = writer->context->stream;
    if (!list->first)
        list->end = &list->first;
    *list->end = a;
    list->end = &a->next;
    sink.aside_bytes += writer->size;
    writer->chunk = NULL;
}

static int deliver_aside(int fd, struct aside_list *list)
{
    struct aside *a;
    while ((a = list->first)) {
        int error = deliver_of(fd, &a->writer, a->stream);
        if (error)
            return error;
        list->first = a->next;
        sink.aside_bytes -= a->writer.size;
        free_buffer(a->writer.chunk, a->writer.size);
    }
    return 0;
}

/* No event before the result is still to come: what a recording thread has
 * stamped lies after its last event, and a thread that we see idle will take
 * its next stamp after `now`. */
static uint64_t watermark(const struct lt_context *self, uint64_t now)
{
    uint64_t mark = now & ~(uint64_t)(LT_COARSE_TICKS - 1);
    for (const struct lt_context *c = lt_process.contexts; c; c = c->next)
        if (c != self && __atomic_load_n(&c->busy, __ATOMIC_ACQUIRE)) {
            uint64_t last = __atomic_load_n(&c->events.time, __ATOMIC_RELAXED);
            mark = last < mark ? last : mark;
        }
    return mark;
}

/* A record in the stream of the sink's own. */
static int deliver_control(int fd, unsigned tag, uint64_t time, const unsigned char *payload,
                           size_t size)
{
    struct lt_writer *w = &sink.control.definitions;
    unsigned char *p = w->chunk = w->drained = sink.control.scratch;
    p[0] = (unsigned char)tag;
    p = mlf_put_vu(p + 1, size);
    memcpy(p, payload, size);
    w->sequence++;
    w->base_time = time;
    w->position = p + size;
    int error = deliver(fd, w);
    if (error)
        w->sequence--;
    return error;
}

static int deliver_sync(int fd, uint64_t mark)
{
    unsigned char payload[MLF_VU_SLACK], *end = mlf_put_vu(payload, mark);
    return deliver_control(fd, MLF_REC_SYNC, mark, payload, (size_t)(end - payload));
}

static int deliver_loss(int fd, uint32_t stream, uint64_t events)
{
    unsigned char payload[LT_LOSS_MAX];
    uint64_t now = lt_now();
    unsigned char *end = lt_put_loss(payload, now, stream, events, MLF_LOSS_CHOICE);
    return deliver_control(fd, MLF_REC_LOSS, now, payload, (size_t)(end - payload));
}

static int deliver_stop(int fd)
{
    unsigned char payload[LT_STOP_MAX];
    uint64_t now = lt_now();
    unsigned char *end = lt_put_stop(payload, now, sink.stop_reason, sink.stop_error);
    return deliver_control(fd, MLF_REC_STOP, now, payload, (size_t)(end - payload));
}

/* Say how far the newest chunks of a context are delivered: of a piece that is lost
 * behind all others nothing else would tell. */
static int deliver_filled(int fd, const struct lt_context *c)
{
    const struct lt_writer *writers[] = {&c->definitions, &c->events};
    int error = 0;
    for (int i = 0; i < 2 && !error; i++) {
        const struct lt_writer *w = writers[i];
        struct lt_fill fill = {.stream = c->stream, .kind = w->kind, .sequence = w->sequence - 1};
        unsigned char payload[LT_FILL_MAX];
        if (w->chunk && w->sequence)
            fill.bytes = (uint32_t)(w->drained - w->chunk);
        if (fill.bytes)
            error = deliver_control(fd, MLF_REC_FILLED, lt_now(), payload,
                                    (size_t)(lt_fill_put(payload, &fill) - payload));
    }
    return error;
}

/* Deliver LOSS records of the dropped events that are still unsaid, by all threads. */
static int deliver_losses(int fd)
{
    int error = sink.unsaid ? deliver_loss(fd, sink.control.stream, sink.unsaid) : 0;
    if (!error)
        sink.unsaid = 0;
    for (struct lt_context *c = lt_process.contexts; c && !error; c = c->next) {
        uint64_t dropped = __atomic_load_n(&c->dropped, __ATOMIC_RELAXED);
        if (dropped && !(error = deliver_loss(fd, c->stream, dropped)))
            __atomic_fetch_sub(&c->dropped, dropped, __ATOMIC_RELAXED);
    }
    return error;
}

static int deliver_all(int fd, const struct lt_context *self, bool ending)
{
    uint64_t now = lt_now();
    if (sink.membarrier)
        lt_syscall2(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
    else
        now -= lt_clock_ticks(&lt_process.clock, STORE_DELAY_NS);
    uint64_t mark = watermark(self, now);
    lt_stamp_anew();
    int error = sink.begun ? 0 : deliver_trace_header(fd);
    if (!error)
        sink.begun = true;
    if (!error)
        error = deliver_aside(fd, &sink.definitions_aside);
    for (struct lt_context *c = lt_process.contexts; c && !error; c = c->next)
        error = deliver(fd, &c->definitions);
    if (!error)
        error = deliver_aside(fd, &sink.events_aside);
    for (struct lt_context *c = lt_process.contexts; c && !error; c = c->next) {
        /* A definition that an event of this piece needs may have come since. */
        unsigned char *end = __atomic_load_n(&c->events.position, __ATOMIC_ACQUIRE);
        if (!c->events.chunk || end == c->events.drained)
            continue;
        for (struct lt_context *d = lt_process.contexts; d && !error; d = d->next)
            error = deliver(fd, &d->definitions);
        if (!error)
            error = deliver(fd, &c->events);
    }
    if (!error && (ending || sink.unsaid))
        error = deliver_losses(fd);
    for (struct lt_context *c = lt_process.contexts; c && !error; c = c->next)
        if (ending || c == sink.parting)
            error = deliver_filled(fd, c);
    if (!error && sink.stop_reason)
        error = deliver_stop(fd);
    if (!error)
        error = deliver_sync(fd, mark);
    return error ? error : lt_out_push(fd);
}

/* The record lock that keeps the trace's processes apart. False: another has
 * it, and we are not to wait. A sink without locks is written without. */
static bool lock_record(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    long locked = 0;
    while (!sink.locked &&
           (locked = lt_syscall3(LT_SYS_FCNTL, fd, lt_config.drop ? F_SETLK : F_SETLKW, &lock)) ==
               -EINTR)
        ;
    sink.locked |= locked == 0;
    return !lt_config.drop || (locked != -EAGAIN && locked != -EACCES);
}

static void unlock_record(int fd)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};
    if (sink.locked && lt_syscall3(LT_SYS_FCNTL, fd, F_SETLK, &lock)) {
        /* The closing of any descriptor of the file gives it up as well; kept,
         * the other processes of the trace would wait for ever. */
        long other = lt_syscall1(SYS_dup, fd);
        if (other >= 0)
            lt_close((int)other);
    }
    sink.locked = false;
}

/* Deliver everything, the lock held. LT_REFUSED_DROP: not all, the
 * reader is slow and we are not to wait. */
static enum lt_refusal drain(const struct lt_context *self, bool ending)
{
    int fd = stream_fd();
    if (fd < 0)
        return LT_REFUSED_GONE;
    /* SIGPIPE, or SIGXFSZ at the limit of a file's size, if it comes of this
     * write, is taken back before it is seen. */
    uint64_t own = 1ull << (SIGPIPE - 1) | 1ull << (SIGXFSZ - 1), old_mask = 0, pending = 0;
    if (!lt_out_is_socket()) {
        lt_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, &own, &old_mask, sizeof old_mask);
        lt_syscall2(SYS_rt_sigpending, &pending, sizeof pending);
    }
    int error = lock_record(fd) ? deliver_all(fd, self, ending) : -EAGAIN;
    if (!lt_out_is_halfway() || error != -EAGAIN)
        unlock_record(fd);
    if (!lt_out_is_socket()) {
        uint64_t ours = error == -EPIPE   ? 1ull << (SIGPIPE - 1)
                        : error == -EFBIG ? 1ull << (SIGXFSZ - 1)
                                          : 0;
        struct timespec at_once = {0, 0};
        if (ours && !(pending & ours))
            while (lt_syscall4(SYS_rt_sigtimedwait, &ours, 0, &at_once, sizeof ours) == -EINTR)
                ;
        lt_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &old_mask, 0, sizeof old_mask);
    }
    if (error == -EAGAIN) {
        sink.retry_at = lt_now() + lt_clock_ticks(&lt_process.clock, RETRY_NS);
        return LT_REFUSED_DROP;
    }
    if (error == -ENOSPC || error == -EDQUOT)
        lt_met_note(error == -ENOSPC ? MLF_MET_SPACE : MLF_MET_QUOTA, 0, 0, 0);
    if (error == -EFBIG)
        lt_met_note(MLF_MET_FSIZE, lt_soft_limit(RLIMIT_FSIZE), 0, 0);
    return error == 0                                                ? 0
           : error == -ENOSPC || error == -EDQUOT || error == -EFBIG ? LT_REFUSED_FULL
                                                                     : LT_REFUSED_GONE;
}

static bool is_delivered(const struct lt_writer *writer)
{
    return !writer->chunk || writer->position == writer->drained;
}

/* Make the writer's buffer empty, if it has one; the lock held. */
static enum lt_refusal empty_buffer(struct lt_writer *writer)
{
    bool wait_more = lt_config.drop && lt_now() < sink.retry_at;
    enum lt_refusal refused = wait_more ? LT_REFUSED_DROP : drain(writer->context, false);
    if (lt_refusal_ends(refused))
        return refused;
    if (is_delivered(writer))
        return writer->chunk || sink.aside_bytes <= ASIDE_MAX ? 0 : LT_REFUSED_DROP;
    if (writer->kind == MLF_EVENTS)
        return LT_REFUSED_DROP;
    set_aside(writer);
    return 0;
}

static enum lt_refusal stream_begin(struct lt_writer *writer, size_t need)
{
    size_t size = writer->kind == MLF_EVENTS ? EVENTS_BUFFER : DEFINITIONS_BUFFER;
    static_assert(EVENTS_BUFFER + MLF_CHUNK_HEADER <= LT_OUT_PIECE_MAX, "pieces fit");
    if (need > size - LT_CHUNK_SLACK - LT_ITEM_MAX)
        return LT_REFUSED_BUSY;
    bool no_more = writer->kind == MLF_EVENTS && sink.aside_bytes > ASIDE_MAX;
    struct lt_fill former = {
        .stream = writer->context->stream, .kind = writer->kind, .sequence = writer->sequence - 1};
    if (writer->chunk && writer->sequence)
        former.bytes = (uint32_t)(writer->position - writer->chunk);
    if (writer->chunk || no_more) {
        if (!lt_lock_take(&sink.lock))
            return LT_REFUSED_BUSY;
        enum lt_refusal refused = empty_buffer(writer);
        if (!refused && writer->chunk)
            writer->position = writer->drained = writer->chunk;
        lt_lock_release(&sink.lock);
        if (refused)
            return refused;
    }
    if (!writer->chunk) {
        unsigned char *buffer = lt_memory(size + sizeof(struct aside));
        if (!buffer)
            return LT_REFUSED_MEMORY;
        writer->size = size;
        writer->position = writer->drained = buffer;
        __atomic_store_n(&writer->chunk, buffer, __ATOMIC_RELEASE);
    }
    writer->limit = writer->chunk + size - LT_CHUNK_SLACK - LT_ITEM_MAX;
    writer->sequence++;
    writer->base_time = lt_now();
    if (former.bytes)
        lt_fill_say(writer, &former);
    return 0;
}

/* Where the peer lives, deliver what is buffered, and that it was the last. */
static void stream_stopped(int reason, int error, bool told)
{
    if (reason == LT_REFUSED_GONE || reason == LT_REFUSED_FULL || !lt_lock_take(&sink.lock))
        return;
    if (!told) {
        sink.stop_reason = reason;
        sink.stop_error = error;
    }
    drain(NULL, true);
    lt_lock_release(&sink.lock);
}

static void stream_flush(struct lt_context *self)
{
    if (!lt_lock_take(&sink.lock))
        return;
    enum lt_refusal refused = drain(self, false);
    lt_lock_release(&sink.lock);
    if (lt_refusal_ends(refused))
        lt_stop(NULL, refused, 0);
}

static void stream_end(struct lt_context *self)
{
    if (!lt_lock_take(&sink.lock))
        return;
    if (!sink.linger_until)
        sink.linger_until = lt_clock_monotonic() + LINGER_NS;
    const bool ending = self;
    enum lt_refusal refused;
    while ((refused = drain(self, ending)) == LT_REFUSED_DROP &&
           lt_clock_monotonic() < sink.linger_until) {
        struct timespec moment = {0, 2000000};
        lt_syscall2(SYS_nanosleep, &moment, 0);
    }
    /* For a reader that comes when we are gone: how much was lost, at least. */
    while (refused == LT_REFUSED_DROP && lt_out_widen(sink.file.fd))
        refused = drain(self, ending);
    lt_lock_release(&sink.lock);
    if (lt_refusal_ends(refused))
        lt_stop(NULL, refused, 0);
}

static void stream_constructed(void)
{
    extern char __libc_single_threaded __attribute__((weak));
    if (!lt_config.zstd_level)
        return;
    /* The allocations of opening libzstd are not the program's. */
    bool alone = &__libc_single_threaded && __libc_single_threaded;
    if (alone)
        lt_page.active = LT_OFF;
    bool loaded = lt_zstd_load(lt_config.zstd_level);
    if (alone)
        lt_page.active = LT_ACTIVE;
    if (!loaded && lt_config.debug)
        lt_say("no libzstd.so.1: the trace is not compressed", NULL, 0);
}

/* The events that the context dropped and has not said, behind its last event:
 * the slack behind the limit is kept for it. */
static void say_at_end(struct lt_context *c)
{
    struct lt_writer *w = &c->events;
    uint64_t dropped = __atomic_exchange_n(&c->dropped, 0, __ATOMIC_RELAXED);
    unsigned char payload[LT_LOSS_MAX];
    if (!dropped)
        return;
    unsigned char *p = lt_put_loss(payload, lt_now(), c->stream, dropped, MLF_LOSS_CHOICE);
    if (!lt_writer_record_in_slack(w, MLF_REC_LOSS, payload, (size_t)(p - payload), LT_CHUNK_SLACK))
        sink.unsaid += dropped;
}

/* The block of an ended thread is used again under a new stream number: what
 * it holds must be delivered under the old one. */
static void stream_release(struct lt_context *context)
{
    struct lt_writer *writers[] = {&context->definitions, &context->events};
    if (!lt_lock_take(&sink.lock))
        return;
    say_at_end(context);
    sink.parting = context;
    enum lt_refusal refused = lt_page.active == LT_ACTIVE ? drain(context, false) : 0;
    sink.parting = NULL;
    for (int i = 0; i < 2; i++) {
        unsigned char *buffer = writers[i]->chunk;
        if (refused == LT_REFUSED_DROP && !is_delivered(writers[i]))
            set_aside(writers[i]);
        else if (buffer)
            free_buffer(buffer, writers[i]->size);
        writers[i]->chunk = NULL;
        writers[i]->position = writers[i]->drained = (unsigned char *)1;
        writers[i]->limit = NULL;
    }
    lt_lock_release(&sink.lock);
    if (lt_refusal_ends(refused))
        lt_stop(NULL, refused, 0);
}

static void forget_aside(struct aside_list *list)
{
    for (struct aside *a; (a = list->first);) {
        list->first = a->next;
        free_buffer(a->writer.chunk, a->writer.size);
    }
}

static void stream_after_fork(void)
{
    sink.lock.word = 0;
    sink.begun = sink.locked = false;
    sink.unsaid = sink.retry_at = sink.linger_until = 0;
    sink.parting = NULL;
    lt_out_after_fork();
    forget_aside(&sink.definitions_aside);
    forget_aside(&sink.events_aside);
    sink.aside_bytes = 0;
    for (struct lt_context *c = lt_process.contexts; c; c = c->next) {
        struct lt_writer *writers[] = {&c->definitions, &c->events};
        c->dropped = 0;
        for (int i = 0; i < 2; i++) {
            writers[i]->position = writers[i]->drained = writers[i]->chunk;
            writers[i]->limit = NULL; /* no room: the next item begins a chunk */
            if (!writers[i]->chunk)
                writers[i]->position = (unsigned char *)1;
        }
    }
    sink.control.stream = __atomic_add_fetch(&lt_process.streams, 1, __ATOMIC_RELAXED);
    sink.control.definitions.sequence = 0;
}

/* Nothing was delivered under the number of a chunk that holds nothing. */
static void stream_recover(struct lt_writer *writer)
{
    if (writer->position == writer->chunk && writer->sequence)
        writer->sequence--;
}

static int stream_descriptor(void)
{
    return sink.file.fd;
}

const struct lt_sink lt_sink_stream = {
    .begin = stream_begin,
    .release = stream_release,
    .flush = stream_flush,
    .end = stream_end,
    .stopped = stream_stopped,
    .constructed = stream_constructed,
    .after_fork = stream_after_fork,
    .recover = stream_recover,
    .descriptor = stream_descriptor,
    .buffers = true,
};

int lt_sink_stream_open(int fd)
{
    struct stat st;
    int error = lt_fstat(fd, &st);
    if (error)
        return error;
    if (!lt_file_adopt(&sink.file, fd))
        return -EBADF;
    error = lt_out_open(fd, &st, lt_config.drop, lt_config.zstd_level != 0);
    if (error)
        return error;
    lt_config.drop &= !S_ISREG(st.st_mode);
    sink.membarrier =
        lt_syscall2(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0) == 0;
    lt_process.no_owner = !sink.membarrier;
    sink.control.definitions.kind = MLF_DEFINITIONS;
    sink.control.definitions.context = &sink.control;
    sink.control.stream = __atomic_add_fetch(&lt_process.streams, 1, __ATOMIC_RELAXED);
    lt_sink = &lt_sink_stream;
    return 0;
}
