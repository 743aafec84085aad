/* SPDX-License-Identifier: MIT
 *
 * The stream sink: pipes, FIFOs, sockets, character devices. A context writes
 * into a private buffer; whoever finds its buffer full delivers what all
 * contexts have, definitions first, as pieces with checksums, and then a SYNC
 * record, so that a reader can merge the threads with bounded delay. A slow
 * reader slows the program (nothing is dropped); one that goes away ends the
 * tracing.
 *
 * A lock keeps the threads of a process apart, a record lock on the trace's
 * inode the processes: both are taken only here, never on an event's path.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "lt_sink.h"
#include "lt_trace.h"

#define EVENTS_BUFFER (64u << 10)
#define DEFINITIONS_BUFFER (16u << 10)
/* How late a store of another core may become visible, where the kernel has no
 * membarrier to make it so: 1 ms, in nanoseconds. */
#define STORE_DELAY_NS 1000000u

static struct {
    struct lt_file file;
    bool socket;
    bool membarrier;
    bool begun;                     /* this process has written its trace header */
    struct lt_lock lock;
    struct lt_context control;      /* the stream of SYNC records */
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

/* Deliver both parts whole; 0 or a negative errno. */
static int write_whole(int fd, struct iovec *parts)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    while (parts[0].iov_len + parts[1].iov_len) {
        long wrote = sink.socket ? lt_syscall3(SYS_sendmsg, fd, &message, MSG_NOSIGNAL)
                                 : lt_syscall3(SYS_writev, fd, parts, 2);
        if (wrote == -EINTR)
            continue;
        if (wrote == -EAGAIN) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            lt_syscall5(SYS_ppoll, &ready, 1, 0, 0, 0);
            continue;
        }
        if (wrote <= 0)
            return wrote ? (int)wrote : -EIO;
        for (int i = 0; i < 2; i++) {
            size_t n = (size_t)wrote < parts[i].iov_len ? (size_t)wrote : parts[i].iov_len;
            parts[i].iov_base = (char *)parts[i].iov_base + n;
            parts[i].iov_len -= n;
            wrote -= (long)n;
        }
    }
    return 0;
}

static int deliver(int fd, struct lt_writer *writer)
{
    unsigned char *end = __atomic_load_n(&writer->position, __ATOMIC_ACQUIRE);
    if (!writer->chunk || end == writer->drained)
        return 0;
    size_t size = (size_t)(end - writer->drained);
    unsigned char header[MLF_CHUNK_HEADER];
    lt_chunk_header(header, writer, (uint32_t)(MLF_CHUNK_HEADER + size),
                    (uint32_t)(writer->drained - writer->chunk), true,
                    lt_crc(writer->drained, size, 0));
    struct iovec parts[2] = {{header, sizeof header}, {writer->drained, size}};
    int error = write_whole(fd, parts);
    if (!error)
        writer->drained = end;
    return error;
}

static int deliver_trace_header(int fd)
{
    unsigned char header[MLF_HDR_SIZE] = {0};
    lt_trace_header(header, MLF_LAYOUT_STREAM, 0);
    struct iovec parts[2] = {{header, sizeof header}, {NULL, 0}};
    return write_whole(fd, parts);
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

static int deliver_sync(int fd, uint64_t mark)
{
    struct lt_writer *w = &sink.control.definitions;
    unsigned char payload[MLF_VU_SLACK], *end = mlf_put_vu(payload, mark);
    w->sequence++;
    w->base_time = mark;
    unsigned char *p = w->chunk = w->drained = sink.control.scratch;
    p[0] = MLF_REC_SYNC;
    p = mlf_put_vu(p + 1, (uint64_t)(end - payload));
    memcpy(p, payload, (size_t)(end - payload));
    w->position = p + (end - payload);
    return deliver(fd, w);
}

static int deliver_all(int fd, const struct lt_context *self)
{
    uint64_t now = lt_now();
    if (sink.membarrier)
        lt_syscall2(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
    else
        now -= STORE_DELAY_NS * (lt_process.clock.counts_per_second >> lt_page.tick_shift) /
               1000000000u;
    uint64_t mark = watermark(self, now);
    lt_stamp_anew();
    int error = sink.begun ? 0 : deliver_trace_header(fd);
    if (!error)
        sink.begun = true;
    for (struct lt_context *c = lt_process.contexts; c && !error; c = c->next)
        error = deliver(fd, &c->definitions);
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
    return error ? error : deliver_sync(fd, mark);
}

/* Deliver everything, the lock held. 0 or an enum mlf_loss. */
static int drain(const struct lt_context *self)
{
    int fd = stream_fd();
    if (fd < 0)
        return MLF_LOSS_SINK_GONE;
    /* SIGPIPE, if it comes of this write, is taken back before it is seen. */
    uint64_t pipe_signal = 1ull << (SIGPIPE - 1), old_mask = 0, pending = 0;
    if (!sink.socket) {
        lt_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, &pipe_signal, &old_mask, sizeof old_mask);
        lt_syscall2(SYS_rt_sigpending, &pending, sizeof pending);
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    long locked;
    do
        locked = lt_syscall3(LT_SYS_FCNTL, fd, F_SETLKW, &lock);
    while (locked == -EINTR);
    int error = deliver_all(fd, self);
    lock.l_type = F_UNLCK;
    if (locked == 0)
        lt_syscall3(LT_SYS_FCNTL, fd, F_SETLK, &lock);
    if (!sink.socket) {
        struct timespec at_once = {0, 0};
        if (error == -EPIPE && !(pending & pipe_signal))
            while (lt_syscall4(SYS_rt_sigtimedwait, &pipe_signal, 0, &at_once,
                               sizeof pipe_signal) == -EINTR)
                ;
        lt_syscall4(SYS_rt_sigprocmask, SIG_SETMASK, &old_mask, 0, sizeof old_mask);
    }
    return error == 0 ? 0 : error == -ENOSPC ? MLF_LOSS_SINK_FULL : MLF_LOSS_SINK_GONE;
}

static int stream_begin(struct lt_writer *writer, size_t need)
{
    size_t size = writer->kind == MLF_EVENTS ? EVENTS_BUFFER : DEFINITIONS_BUFFER;
    if (need > size - LT_CHUNK_SLACK - LT_ITEM_MAX)
        return LT_SINK_BUSY;
    if (!writer->chunk) {
        unsigned char *buffer = lt_memory(size);
        if (!buffer)
            return MLF_LOSS_MEMORY;
        writer->size = size;
        writer->position = writer->drained = buffer;
        __atomic_store_n(&writer->chunk, buffer, __ATOMIC_RELEASE);
    } else {
        if (!lt_lock_take(&sink.lock))
            return LT_SINK_BUSY;
        int refused = drain(writer->context);
        if (!refused)
            writer->position = writer->drained = writer->chunk;
        lt_lock_release(&sink.lock);
        if (refused)
            return refused;
    }
    writer->limit = writer->chunk + size - LT_CHUNK_SLACK - LT_ITEM_MAX;
    writer->sequence++;
    writer->base_time = lt_now();
    return 0;
}

static void stream_flush(struct lt_context *self)
{
    if (!lt_lock_take(&sink.lock))
        return;
    int refused = drain(self);
    lt_lock_release(&sink.lock);
    if (refused)
        lt_stop(refused, 0);
}

/* The block of an ended thread is used again under a new stream number: what
 * it holds must be delivered under the old one. */
static void stream_release(struct lt_context *context)
{
    struct lt_writer *writers[] = {&context->definitions, &context->events};
    if (!lt_lock_take(&sink.lock))
        return;
    int refused = lt_page.active == LT_ACTIVE ? drain(context) : 0;
    for (int i = 0; i < 2; i++) {
        unsigned char *buffer = writers[i]->chunk;
        writers[i]->chunk = NULL;
        writers[i]->position = writers[i]->drained = (unsigned char *)1;
        writers[i]->limit = NULL;
        lt_memory_free(buffer, writers[i]->size);
    }
    lt_lock_release(&sink.lock);
    if (refused)
        lt_stop(refused, 0);
}

static void stream_after_fork(void)
{
    sink.lock.word = 0;
    sink.begun = false;
    for (struct lt_context *c = lt_process.contexts; c; c = c->next) {
        struct lt_writer *writers[] = {&c->definitions, &c->events};
        for (int i = 0; i < 2; i++) {
            writers[i]->position = writers[i]->drained = writers[i]->chunk;
            writers[i]->limit = NULL;   /* no room: the next item begins a chunk */
            if (!writers[i]->chunk)
                writers[i]->position = (unsigned char *)1;
        }
    }
    sink.control.stream = __atomic_add_fetch(&lt_process.streams, 1, __ATOMIC_RELAXED);
    sink.control.definitions.sequence = 0;
}

const struct lt_sink lt_sink_stream = {stream_begin, stream_release, stream_flush,
                                       stream_after_fork};

int lt_sink_stream_open(int fd)
{
    struct stat st;
    int error = lt_fstat(fd, &st);
    if (error)
        return error;
    if (!lt_file_adopt(&sink.file, fd))
        return -EBADF;
    sink.socket = S_ISSOCK(st.st_mode);
    sink.membarrier =
        lt_syscall2(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0) == 0;
    sink.control.definitions.kind = MLF_DEFINITIONS;
    sink.control.definitions.context = &sink.control;
    sink.control.stream = __atomic_add_fetch(&lt_process.streams, 1, __ATOMIC_RELAXED);
    lt_sink = &lt_sink_stream;
    return 0;
}
