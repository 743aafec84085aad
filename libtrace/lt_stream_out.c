/* SPDX-License-Identifier: MIT
 *
 * Delivery; see lt_stream_out.h. Pieces are gathered in `stage`; when that is
 * full, or pushed, its bytes move to `box`, compressed if so chosen, and from
 * there to the descriptor. Without compression and dropping neither exists:
 * pieces are written from where they lie.
 */
#include "lt_stream_out.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "lt_sink.h"
#include "lt_trace.h"
#include "lt_zstd.h"

#define STAGE LT_OUT_PIECE_MAX
#define PIPE_WRITE 4096 /* a pipe that polls writable takes that much without waiting */

static struct {
    bool socket, pipe, drop, compress;
    int own_fd; /* a description of our own that never waits, or -1 */
    unsigned char *stage, *box;
    size_t staged, boxed, sent;
} out;

int lt_out_open(int fd, const struct stat *st, bool drop, bool compress)
{
    out.socket = S_ISSOCK(st->st_mode);
    out.pipe = S_ISFIFO(st->st_mode);
    out.compress = compress;
    out.own_fd = -1;
    /* A file never makes us wait for a reader. */
    out.drop = drop && !S_ISREG(st->st_mode);
    if (out.drop && S_ISCHR(st->st_mode)) {
        static const char folder[] = "/proc/self/fd/";
        char name[sizeof folder + LT_DIGITS_MAX];
        memcpy(name, folder, sizeof folder - 1);
        *lt_put_decimal(name + sizeof folder - 1, (uint64_t)fd) = 0;
        int own = lt_open(name, O_WRONLY | O_NONBLOCK | O_NOCTTY, 0);
        out.own_fd = own < 0 ? -1 : lt_move_fd(own, LT_LOWEST_FD);
    }
    if (!out.drop && !compress)
        return 0;
    out.stage = lt_memory(STAGE);
    out.box = lt_memory(lt_zstd_bound(STAGE));
    if (out.stage && out.box)
        return 0;
    lt_memory_free(out.stage, STAGE);
    return -ENOMEM;
}

#ifndef F_SETPIPE_SZ
#define F_SETPIPE_SZ 1031
#define F_GETPIPE_SZ 1032
#endif

static bool widen_socket(int fd)
{
    int size = 0, wider = 0;
    unsigned length = sizeof size;
    if (lt_syscall5(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDBUF, &size, &length) || size <= 0)
        return false;
    length = sizeof wider; /* the kernel doubles what it is given, up to its limit */
    return lt_syscall5(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0 &&
           lt_syscall5(SYS_getsockopt, fd, SOL_SOCKET, SO_SNDBUF, &wider, &length) == 0 &&
           wider > size;
}

bool lt_out_widen(int fd)
{
    if (out.socket)
        return widen_socket(fd);
    long size = out.pipe ? lt_syscall3(LT_SYS_FCNTL, fd, F_GETPIPE_SZ, 0) : -1;
    return size > 0 && lt_syscall3(LT_SYS_FCNTL, fd, F_SETPIPE_SZ, 2 * size) > size;
}

bool lt_out_is_socket(void)
{
    return out.socket;
}

/* Write what can be written at once, or wait for room if we may. */
static long write_some(int fd, struct iovec *parts, int n)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)n};
    int flags = MSG_NOSIGNAL | (out.drop ? MSG_DONTWAIT : 0);
    if (out.socket)
        return lt_syscall3(SYS_sendmsg, fd, &message, flags);
    if (!out.drop)
        return lt_syscall3(SYS_writev, fd, parts, n);
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    struct timespec at_once = {0, 0};
    if (out.own_fd < 0 && lt_syscall5(SYS_ppoll, &ready, 1, &at_once, 0, 0) == 0)
        return -EAGAIN;
    size_t size = parts[0].iov_len;
    if (out.pipe && size > PIPE_WRITE)
        size = PIPE_WRITE;
    return lt_syscall3(SYS_write, out.own_fd < 0 ? fd : out.own_fd, parts[0].iov_base, size);
}

/* All of the parts; 0 or a negative errno. *done counts bytes also on failure. */
static int write_whole(int fd, struct iovec *parts, int n, size_t *done)
{
    for (int i = 0; i < n;) {
        if (!parts[i].iov_len) {
            i++;
            continue;
        }
        long wrote = write_some(fd, parts + i, n - i);
        if (wrote == -EINTR)
            continue;
        if (wrote == -EAGAIN && !out.drop) {
            struct pollfd ready = {.fd = fd, .events = POLLOUT};
            lt_syscall5(SYS_ppoll, &ready, 1, 0, 0, 0);
            continue;
        }
        if (wrote <= 0)
            return wrote ? (int)wrote : -EIO;
        *done += (size_t)wrote;
        for (int k = i; k < n && wrote; k++) {
            size_t part = (size_t)wrote < parts[k].iov_len ? (size_t)wrote : parts[k].iov_len;
            parts[k].iov_base = (char *)parts[k].iov_base + part;
            parts[k].iov_len -= part;
            wrote -= (long)part;
        }
    }
    return 0;
}

int lt_out_push(int fd)
{
    for (;;) {
        if (out.sent < out.boxed) {
            struct iovec rest = {out.box + out.sent, out.boxed - out.sent};
            int error = write_whole(fd, &rest, 1, &out.sent);
            if (error)
                return error;
        }
        out.sent = out.boxed = 0;
        if (!out.staged)
            return 0;
        if (out.compress) {
            out.boxed = lt_zstd_frame(out.box, out.stage, out.staged);
        } else {
            memcpy(out.box, out.stage, out.staged);
            out.boxed = out.staged;
        }
        out.staged = 0;
    }
}

int lt_out_put(int fd, struct iovec *parts)
{
    size_t size = parts[0].iov_len + parts[1].iov_len, ignored = 0;
    if (!out.stage)
        return write_whole(fd, parts, 2, &ignored);
    if (out.staged + size > STAGE) {
        int error = lt_out_push(fd);
        if (error && (error != -EAGAIN || out.staged + size > STAGE))
            return error;
    }
    for (int i = 0; i < 2; i++) {
        memcpy(out.stage + out.staged, parts[i].iov_base, parts[i].iov_len);
        out.staged += parts[i].iov_len;
    }
    return 0;
}

bool lt_out_is_halfway(void)
{
    return out.sent && out.sent < out.boxed;
}

void lt_out_after_fork(void)
{
    out.staged = out.boxed = out.sent = 0;
    lt_zstd_after_fork();
}
