/* SPDX-License-Identifier: MIT
 *
 * The choice of the sink: descriptor 1022 or MLOG_OUT, mapped or written. Runs
 * once a program image, at the start. A wish that cannot be granted is said
 * here, in one line.
 *
 * A regular file is mapped unless that could harm the program: where the user
 * says so, or on a file system on which a page that was reserved may still
 * fail to be there (a server gone, space promised and not kept), which the
 * kernel would report by SIGBUS.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>

#include "lt_config.h"
#include "lt_filesystem.h"
#include "lt_sink.h"
#include "lt_trace.h"

#define TRACE_FD_NAME "/proc/self/fd/1022"
#define NAMES_MAX 9999 /* names tried until one is free */

/* What descriptor 1022 was when the sink was chosen. */
static struct {
    struct lt_file file;
    bool taken; /* the trace came by it, or went there for the children */
    int spare;  /* the sink's own descriptor of the same file */
    int mode;   /* to open it again by name; -1 not */
    char path[512];
} given = {.spare = -1, .mode = -1};

enum holds { HOLDS_UNKNOWN, HOLDS_NOTHING, HOLDS_MAPPED, HOLDS_STREAM, HOLDS_ZSTD, HOLDS_OTHER };

/* True if the file is as one that another process is just beginning to map: short,
 * and nothing but zeros. */
static bool is_just_begun(int fd)
{
    unsigned char piece[4096];
    uint64_t at = 0;
    long got;
    while ((got = lt_pread(fd, piece, sizeof piece, at)) > 0 && at < LT_FILE_BEGUN_MAX) {
        for (long i = 0; i < got; i++)
            if (piece[i])
                return false;
        at += (uint64_t)got;
    }
    return got == 0;
}

/* The kind of a file, by its first bytes. */
static enum holds what_it_holds(int fd)
{
    static const unsigned char zeros[MLF_HDR_CRC];
    unsigned char found[MLF_HDR_CRC] = {0};
    bool begun = false;
    for (;;) {
        long got = lt_pread(fd, found, sizeof found, 0);
        if (got <= 0)
            return HOLDS_NOTHING;
        if (mlf_get_u32(found) == LT_ZSTD_MAGIC)
            return HOLDS_ZSTD;
        if (!memcmp(found + MLF_HDR_MAGIC, MLF_MAGIC, MLF_MAGIC_SIZE))
            return found[MLF_HDR_LAYOUT] == MLF_LAYOUT_STREAM ? HOLDS_STREAM : HOLDS_MAPPED;
        if (begun || memcmp(found, zeros, sizeof zeros))
            return HOLDS_OTHER;
        if (is_just_begun(fd))
            return HOLDS_MAPPED;
        begun = true; /* perhaps meanwhile: then its header stands there now */
    }
}

/* True if a regular file that holds `holds` is to be mapped. */
static bool to_map(int fd, enum holds holds)
{
    if (holds == HOLDS_STREAM || holds == HOLDS_ZSTD)
        return false;
    if (holds == HOLDS_MAPPED)
        return true;
    return !lt_config.write_file && !lt_config.zstd_level && lt_filesystem_may_map(fd);
}

/* A regular file becomes a stream: say why, unless the user asked for it, or it is one
 * already. error: why it could not be opened again or mapped, if that was tried. */
static void note_stream(enum holds holds, int error)
{
    if (lt_config.write_file || lt_config.zstd_level || holds == HOLDS_STREAM ||
        holds == HOLDS_ZSTD)
        return;
    lt_process.stream_reason = holds == HOLDS_UNKNOWN ? "denied" : error ? "refused" : "filesystem";
}

/* Open fd as a stream, compressed if it is to be. A file that is written on
 * stays what it is. */
static int open_stream(int fd, enum holds holds)
{
    if (holds == HOLDS_STREAM)
        lt_config.zstd_level = 0;
    else if (holds == HOLDS_ZSTD && !lt_config.zstd_level)
        lt_config.zstd_level = 1;
    return lt_sink_stream_open(fd);
}

/* A relative name of a file for each process is one in the folder where the tree
 * began, wherever its programs go: descriptor 1022 stands for that folder. */
static int folder_of_tree(void)
{
    struct stat st;
    if (!lt_config.out_per_process || lt_config.out[0] == '/')
        return AT_FDCWD;
    if (lt_fstat(LT_TRACE_FD, &st)) {
        int fd = lt_open(".", O_PATH | O_DIRECTORY, 0);
        if (fd < 0)
            return AT_FDCWD;
        long at = lt_syscall3(SYS_dup3, fd, LT_TRACE_FD, 0); /* above the limit: refused */
        lt_close(fd);
        return at == LT_TRACE_FD ? LT_TRACE_FD : AT_FDCWD;
    }
    return S_ISDIR(st.st_mode) ? LT_TRACE_FD : AT_FDCWD;
}

/* Open what MLOG_OUT names: with %n the first name that is not taken. *name is what
 * was opened. Returns a descriptor or a negative errno. */
static int open_out(int folder, unsigned suffix, char *name, size_t size, struct stat *st)
{
    int flags = O_RDWR | O_CREAT | O_NOCTTY | (lt_config.out_numbered ? O_EXCL : 0);
    int fd = -EEXIST;
    for (unsigned number = 1; fd == -EEXIST && number <= NAMES_MAX; number++) {
        if (!lt_config_out_name(name, size, number, suffix))
            return -ENAMETOOLONG;
        fd = lt_open_at(folder, name, flags, 0666);
        if (!lt_config.out_numbered)
            break;
    }
    if (fd >= 0 && lt_fstat(fd, st)) {
        lt_close(fd);
        return -EBADF;
    }
    if (fd >= 0 && S_ISFIFO(st->st_mode)) { /* open for reading too, it would never report its
                                               reader gone */
        lt_close(fd);
        fd = lt_open_at(folder, name, O_WRONLY | O_NOCTTY, 0);
    }
    return fd < 0 ? fd : lt_move_fd(fd, LT_LOWEST_FD);
}

/* Trace into a regular file that MLOG_OUT names. What stands in it stays: a trace,
 * whoever wrote it, is continued, all else is refused. */
static int trace_into(int fd, enum holds holds)
{
    char path[1100];
    if (holds == HOLDS_OTHER)
        return -EEXIST;
    if (to_map(fd, holds)) {
        lt_name_of_fd(fd, path, sizeof path); /* absolute: the program may go elsewhere */
        int error = lt_sink_file_open(fd, path);
        if (!error || holds != HOLDS_NOTHING || error == -ENOSPC || error == -EDQUOT ||
            error == -EFBIG)
            return error;
        note_stream(holds, error);
    } else {
        note_stream(holds, 0);
    }
    /* Others may write to it by descriptions of their own. */
    lt_syscall3(LT_SYS_FCNTL, fd, F_SETFL, O_APPEND);
    return open_stream(fd, holds);
}

static int choose_out(void)
{
    char name[1100];
    struct stat st;
    struct termios terminal;
    int folder = folder_of_tree();
    for (unsigned suffix = 0;; suffix++) {
        enum holds holds = HOLDS_NOTHING;
        int fd = open_out(folder, suffix, name, sizeof name, &st), error = fd < 0 ? fd : 0;
        if (error) {
            lt_say("cannot open MLOG_OUT, not tracing:", lt_config.out, error);
            return error;
        }
        if (S_ISREG(st.st_mode)) {
            holds = what_it_holds(fd);
            error = trace_into(fd, holds);
        } else if (S_ISCHR(st.st_mode) && !lt_syscall3(SYS_ioctl, fd, TCGETS, &terminal)) {
            lt_close(fd);
            lt_say("MLOG_OUT is a terminal, not tracing: give a file or a FIFO:", name, 0);
            return -EINVAL;
        } else {
            error = open_stream(fd, holds);
        }
        if (!error && suffix)
            lt_say("MLOG_OUT names a trace of another machine or version, left as it is, "
                   "tracing into:",
                   name, 0);
        if (!error && !lt_config.out_per_process)
            lt_syscall3(SYS_dup3, fd, LT_TRACE_FD, 0); /* where children find it */
        if (!error) {
            given.spare = fd;
            return 0;
        }
        lt_close(fd);
        if (error == -EEXIST && suffix < NAMES_MAX && (suffix || holds == HOLDS_MAPPED))
            continue;
        if (error == -EEXIST)
            lt_say("MLOG_OUT names a file that holds something other than a trace, left as it "
                   "is, not tracing: give another name, or remove it:",
                   name, 0);
        else
            lt_say("cannot trace into MLOG_OUT, not tracing:", name, error);
        return error;
    }
}

static int choose_file(enum holds *holds)
{
    char path[512];
    lt_name_of_fd(LT_TRACE_FD, path, sizeof path);
    int fd = lt_open(TRACE_FD_NAME, O_RDWR, 0);
    if (fd >= 0)
        fd = lt_move_fd(fd, LT_LOWEST_FD);
    int error = fd < 0 ? fd : 0;
    if (!error) {
        *holds = what_it_holds(fd);
        const bool mapped = *holds != HOLDS_OTHER && to_map(fd, *holds);
        error = *holds == HOLDS_OTHER ? -EEXIST : mapped ? lt_sink_file_open(fd, path) : -EINVAL;
        if (error)
            note_stream(*holds, mapped ? error : 0);
        if (!error) {
            given.spare = fd;
            return 0;
        }
        lt_close(fd);
    } else {
        note_stream(HOLDS_UNKNOWN, error);
    }
    if (error == -EEXIST)
        lt_say("descriptor 1022 is a file that holds something other than a trace, not tracing:",
               path, 0);
    else if (error == -ENOSPC || error == -EDQUOT || error == -EFBIG)
        lt_say("no space for the trace, not tracing:", path, error);
    else
        return -EAGAIN; /* to be written: open for writing alone, or not to be mapped */
    return error;
}

/* May a file that could not be opened again, and so not looked into (a sandbox
 * forbids it), be written as a stream? Not if something stands in it behind our
 * place: others map it, or nobody knows what it holds. Writers move the place. */
static bool may_write_unseen(const struct stat *st)
{
    return st->st_size == 0 ||
           lt_syscall3(SYS_lseek, LT_TRACE_FD, 0, SEEK_CUR) == (long)st->st_size;
}

static int choose(void)
{
    struct stat st;
    struct termios terminal;
    enum holds holds = HOLDS_UNKNOWN;
    bool is_open = lt_fstat(LT_TRACE_FD, &st) == 0;
    if (lt_config.out[0] && (!is_open || lt_config.out_per_process))
        return choose_out();
    if (!is_open)
        return 1;
    bool is_special = S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode);
    long flags = lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_GETFL, 0);
    if ((S_ISREG(st.st_mode) || is_special) && flags >= 0 && (flags & O_ACCMODE) == O_RDONLY) {
        lt_say("descriptor 1022 is not open for writing, not tracing", NULL, 0);
        return -EBADF;
    }
    if (S_ISREG(st.st_mode)) {
        int error = choose_file(&holds);
        if (error != -EAGAIN)
            return error;
        if (holds == HOLDS_UNKNOWN && !may_write_unseen(&st)) {
            lt_say("descriptor 1022 is a file that this process may not open, and others write "
                   "to it, not tracing",
                   NULL, 0);
            return -EACCES;
        }
    } else if (!is_special) {
        lt_say("descriptor 1022 is neither a file, a pipe, a socket nor a character device, "
               "not tracing",
               NULL, 0);
        return -EINVAL;
    } else if (S_ISCHR(st.st_mode) && !lt_syscall3(SYS_ioctl, LT_TRACE_FD, TCGETS, &terminal)) {
        lt_say("descriptor 1022 is a terminal, not tracing: give a file or a pipe", NULL, 0);
        return -EINVAL;
    }
    int fd = (int)lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_DUPFD_CLOEXEC, LT_LOWEST_FD);
    if (fd < 0) /* a lower limit of descriptors */
        fd = (int)lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_DUPFD_CLOEXEC, 3);
    int error = fd < 0 ? fd : open_stream(fd, holds);
    given.spare = fd;
    if (error) {
        if (fd >= 0)
            lt_close(fd);
        lt_say("cannot trace into descriptor 1022, not tracing", NULL, error);
    }
    return error;
}

/* A file into which the place to write moves, shared by all who inherited it, is only
 * opened again where each write finds the end by itself. */
static int mode_to_open(const struct stat *st)
{
    if (S_ISFIFO(st->st_mode))
        return O_WRONLY | O_NONBLOCK; /* without a reader: an error and no wait */
    if (!S_ISREG(st->st_mode))
        return -1;
    if (!lt_sink->buffers)
        return O_RDWR;
    long flags = lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_GETFL, 0);
    return flags >= 0 && flags & O_APPEND ? O_RDWR | O_APPEND : -1;
}

static void remember_given(void)
{
    struct stat st;
    if (lt_config.out_per_process || lt_fstat(LT_TRACE_FD, &st) ||
        !lt_file_adopt(&given.file, LT_TRACE_FD))
        return;
    long n = lt_syscall4(SYS_readlinkat, AT_FDCWD, TRACE_FD_NAME, given.path, sizeof given.path);
    if (n > 0 && n < (long)sizeof given.path && given.path[0] == '/')
        given.mode = mode_to_open(&st);
    given.path[n > 0 && n < (long)sizeof given.path ? n : 0] = 0;
    given.taken = true;
}

int lt_sink_choose(void)
{
    int result = choose();
    if (result == 0)
        remember_given();
    return result;
}

static bool open_by_name(void)
{
    if (given.mode < 0)
        return false;
    int fd = lt_open(given.path, given.mode | O_NOCTTY, 0);
    if (fd < 0)
        return false;
    const struct lt_file found = {fd, given.file.device, given.file.inode};
    bool right = lt_file_is_ours(&found);
    if (right && given.mode & O_NONBLOCK)
        right = lt_syscall3(LT_SYS_FCNTL, fd, F_SETFL, O_WRONLY) == 0;
    if (right && fd != LT_TRACE_FD)
        right = lt_syscall3(SYS_dup3, fd, LT_TRACE_FD, 0) == LT_TRACE_FD;
    else if (right)
        right = lt_syscall3(LT_SYS_FCNTL, fd, F_SETFD, 0) == 0;
    if (!right || fd != LT_TRACE_FD)
        lt_close(fd);
    return right;
}

enum lt_put_back lt_sink_put_back(void)
{
    struct stat st;
    if (!given.taken)
        return LT_PUT_NOTHING;
    if (lt_fstat(LT_TRACE_FD, &st) == 0) {
        if (!lt_file_is_ours(&given.file))
            return LT_PUT_FAILED;
        long flags = lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_GETFD, 0);
        if (flags < 0 || !(flags & FD_CLOEXEC))
            return LT_PUT_NOTHING;
        lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_SETFD, flags & ~FD_CLOEXEC);
        return LT_PUT_KEPT;
    }
    const struct lt_file spare = {given.spare, given.file.device, given.file.inode};
    if (spare.fd >= 0 && lt_file_is_ours(&spare) &&
        lt_syscall3(SYS_dup3, spare.fd, LT_TRACE_FD, 0) == LT_TRACE_FD)
        return LT_PUT_OPENED;
    return open_by_name() ? LT_PUT_OPENED : LT_PUT_FAILED;
}

void lt_sink_take_away(enum lt_put_back changed)
{
    if (changed == LT_PUT_OPENED)
        lt_close(LT_TRACE_FD);
    else if (changed == LT_PUT_KEPT)
        lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_SETFD, FD_CLOEXEC);
}
