/* SPDX-License-Identifier: MIT
 *
 * Opening where a trace goes; see mc_trace.h.
 */
#include "mc_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "mc_commands.h"
#include "mlf_format.h"

#define NAMES_MAX 9999 /* tried until one is free */

/* Descriptor 1022 as this process got it: open for writing, and a file's path. */
static bool is_given(char path[PATH_MAX], bool *empty)
{
    struct stat st;
    int flags = fcntl(MC_TRACE_FD, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY || fstat(MC_TRACE_FD, &st) < 0 ||
        S_ISDIR(st.st_mode))
        return false;
    ssize_t n = S_ISREG(st.st_mode) ? readlink("/proc/self/fd/1022", path, PATH_MAX - 1) : 0;
    path[n > 0 ? n : 0] = 0;
    *empty = st.st_size == 0;
    return true;
}

const char *mc_trace_choose(struct mc_trace *trace, const char *output, bool pipe, const char *tcp)
{
    bool empty = false;
    const char *out = getenv("MLOG_OUT");
    *trace = (struct mc_trace){.fd = -1, .reader = -1, .name = output};
    if (!!output + pipe + !!tcp > 1)
        return "a trace goes to one place: give one of -o, --pipe and --tcp";
    if (output && strncmp(output, "tcp:", 4) == 0)
        tcp = output + 4;
    if (output && !*output)
        return "expected a file, - for a pipe to the analyser, or tcp:HOST:PORT";
    if (tcp) {
        const char *colon = strrchr(tcp, ':');
        if (!colon || colon == tcp || !colon[1])
            return "expected HOST:PORT";
        trace->kind = MC_TRACE_TCP;
        trace->name = tcp;
    } else if (pipe || (output && strcmp(output, "-") == 0)) {
        trace->kind = MC_TRACE_PIPE;
    } else if (!output && is_given(trace->path, &empty)) {
        trace->kind = MC_TRACE_GIVEN;
        trace->readable = empty && trace->path[0];
    } else if (!output && out && *out) {
        trace->kind = MC_TRACE_OUT;
        trace->name = out;
    }
    return NULL;
}

static bool connect_to(struct mc_trace *trace, char *problem, size_t size)
{
    char host[256];
    const char *colon = strrchr(trace->name, ':'), *begin = trace->name;
    size_t n = (size_t)(colon - begin);
    if (n > 2 && begin[0] == '[' && colon[-1] == ']') { /* of IPv6 */
        begin++;
        n -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)n, begin);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
    int wrong = getaddrinfo(host, colon + 1, &hints, &all), error = 0;
    for (struct addrinfo *one = wrong ? NULL : all; one && trace->fd < 0; one = one->ai_next) {
        int fd =
            mc_move_up(socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol));
        if (fd >= 0 && connect(fd, one->ai_addr, one->ai_addrlen) == 0) {
            trace->fd = fd;
        } else {
            error = errno;
            if (fd >= 0)
                close(fd);
        }
    }
    if (!wrong)
        freeaddrinfo(all);
    if (trace->fd < 0)
        snprintf(problem, size, "cannot connect to %s: %s; is the receiver listening?", trace->name,
                 wrong ? gai_strerror(wrong) : strerror(error));
    return trace->fd >= 0;
}

bool mc_trace_prepare(struct mc_trace *trace, char *problem, size_t size)
{
    int ends[2];
    if (trace->kind == MC_TRACE_TCP)
        return connect_to(trace, problem, size);
    if (trace->kind != MC_TRACE_PIPE)
        return true;
    if (pipe2(ends, O_CLOEXEC) == 0) {
        trace->reader = mc_move_up(ends[0]);
        trace->fd = mc_move_up(ends[1]);
        if (trace->reader >= 0 && trace->fd >= 0)
            return true;
    }
    snprintf(problem, size, "cannot make a pipe: %s", strerror(errno));
    return false;
}

/* Write the name with what stands for %p, %c, %h, %t, %n and %%. Returns false if it is
 * too long. *numbered: it has a %n. */
static bool expand(const char *name, const char *program, unsigned number, char path[PATH_MAX],
                   bool *numbered)
{
    struct utsname host = {.nodename = ""};
    size_t at = 0;
    uname(&host);
    for (const char *p = name; *p; p++) {
        char piece[300] = {*p, 0};
        if (*p == '%' && p[1]) {
            switch (*++p) {
            case 'p': snprintf(piece, sizeof piece, "%d", getpid()); break;
            case 'n':
                snprintf(piece, sizeof piece, "%u", number);
                *numbered = true;
                break;
            case 't': snprintf(piece, sizeof piece, "%lld", (long long)time(NULL)); break;
            case 'c': snprintf(piece, sizeof piece, "%.15s", program); break;
            case 'h': snprintf(piece, sizeof piece, "%s", host.nodename); break;
            case '%': break;
            default: snprintf(piece, sizeof piece, "%%%c", *p);
            }
        }
        size_t n = strlen(piece);
        if (n >= PATH_MAX - at)
            return false;
        memcpy(path + at, piece, n + 1);
        at += n;
    }
    return true;
}

/* Open a file of this name, which may be there only if it is no regular file, or empty.
 * Returns a descriptor or a negative errno; *made: it was not there. */
static int open_new(const char *path, bool force, bool *made)
{
    struct stat st;
    const int flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
    if (force && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
        unlink(path); /* a program that still writes to it keeps it */
    int fd = open(path, flags | O_CREAT | O_EXCL, 0666);
    *made = fd >= 0;
    if (fd >= 0 || errno != EEXIST)
        return fd < 0 ? -errno : fd;
    if (stat(path, &st) < 0)
        return -errno;
    if (S_ISFIFO(st.st_mode)) /* waits for a reader */
        fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    else if (S_ISCHR(st.st_mode) || (S_ISREG(st.st_mode) && st.st_size == 0))
        fd = open(path, flags);
    else
        return S_ISDIR(st.st_mode) ? -EISDIR : -EEXIST;
    return fd < 0 ? -errno : fd;
}

static int open_file(struct mc_trace *trace, const char *program, char *problem, size_t size)
{
    bool numbered = false;
    int fd = -EEXIST;
    const char *name = strrchr(program, '/') ? strrchr(program, '/') + 1 : program;
    for (unsigned number = 1; fd == -EEXIST && number <= NAMES_MAX; number++) {
        char tail[16] = "";
        if (number > 1)
            snprintf(tail, sizeof tail, "-%u", number);
        bool fits = trace->name ? expand(trace->name, name, number, trace->path, &numbered)
                                : snprintf(trace->path, PATH_MAX, "mlog.%.100s.%d%s.mlog", name,
                                           getpid(), tail) < PATH_MAX;
        fd = fits ? open_new(trace->path, trace->force && !numbered, &trace->made) : -ENAMETOOLONG;
        if (trace->name && !numbered)
            break;
    }
    if (fd == -EEXIST)
        snprintf(problem, size,
                 "%s exists and is left as it is: remove it, give another name (with %%n it is "
                 "the first free number, with %%p the process's), or --force to replace it",
                 trace->path);
    else if (fd < 0)
        snprintf(problem, size, "cannot make the trace %s: %s; -o FILE puts it elsewhere",
                 trace->path, strerror(-fd));
    return fd;
}

/* Name the file in MLOG_OUT, with every percent sign doubled. */
static bool name_in_environment(const char *path)
{
    char absolute[PATH_MAX], value[2 * PATH_MAX];
    size_t at = 0;
    if (!realpath(path, absolute))
        return false;
    for (const char *p = absolute; *p; p++) {
        if (*p == '%')
            value[at++] = '%';
        value[at++] = *p;
    }
    value[at] = 0;
    return setenv("MLOG_OUT", value, 1) == 0;
}

bool mc_trace_place(struct mc_trace *trace, const char *program, char *problem, size_t size)
{
    struct rlimit limit, raised;
    if (trace->kind == MC_TRACE_GIVEN || trace->kind == MC_TRACE_OUT)
        return true;
    int fd = trace->fd;
    if (trace->kind == MC_TRACE_FILE) {
        fd = open_file(trace, program, problem, size);
        if (fd < 0)
            return false;
        struct stat st;
        fd = mc_move_up(fd);
        trace->readable = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    }
    unsetenv("MLOG_OUT");
    getrlimit(RLIMIT_NOFILE, &limit);
    raised = limit;
    if (limit.rlim_cur <= MC_TRACE_FD) {
        raised.rlim_cur = MC_TRACE_FD + 1;
        if (raised.rlim_max <= MC_TRACE_FD)
            raised.rlim_max = MC_TRACE_FD + 1; /* root may */
        setrlimit(RLIMIT_NOFILE, &raised);
    }
    /* The old limit comes back: an open descriptor may lie above it. */
    bool placed = dup2(fd, MC_TRACE_FD) == MC_TRACE_FD;
    if (raised.rlim_cur != limit.rlim_cur)
        setrlimit(RLIMIT_NOFILE, &limit);
    close(fd);
    if (!placed && trace->kind == MC_TRACE_FILE)
        placed = name_in_environment(trace->path);
    if (!placed)
        snprintf(problem, size,
                 "descriptor 1022 is above the hard limit of %llu descriptors (ulimit -Hn): give "
                 "-o FILE, or raise it to 1024",
                 (unsigned long long)limit.rlim_max);
    return placed;
}

void mc_trace_close(struct mc_trace *trace)
{
    if (trace->fd >= 0)
        close(trace->fd);
    if (trace->reader >= 0)
        close(trace->reader);
    trace->fd = trace->reader = -1;
}

bool mc_trace_is_written(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    void (*before)(int) = signal(SIGIO, SIG_IGN); /* of who would open it meanwhile */
    bool written = fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN;
    if (!written)
        fcntl(fd, F_SETLEASE, F_UNLCK);
    close(fd);
    signal(SIGIO, before);
    return written;
}

bool mc_trace_has_begun(const char *path)
{
    unsigned char first[MLF_MAGIC_SIZE] = {0};
    static const unsigned char zeros[MLF_MAGIC_SIZE];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return false;
    ssize_t n = pread(fd, first, sizeof first, 0);
    close(fd);
    return n > 0 && memcmp(first, zeros, sizeof first) != 0;
}
