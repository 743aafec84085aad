/* SPDX-License-Identifier: MIT
 *
 * What a parent is told of its children's ends: a process that a signal killed, or that
 * left by a bare system call, says nothing itself. Stands in front of the functions that
 * wait and, once one has returned, notes what it told. These are cancellation points: a
 * thread may be unwound in the middle of the real call, so nothing is held across it. No
 * system call is made that an event would not make.
 */
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "lt_real.h"
#include "lt_trace.h"

/* Resolved in the constructor, since a signal handler may wait. */
#define LT_WAITS(X)                                                                                \
    X(wait)                                                                                        \
    X(waitpid)                                                                                     \
    X(wait3)                                                                                       \
    X(wait4)                                                                                       \
    X(waitid)
enum {
#define LT_WAIT_ENUM(name) WAIT_##name,
    LT_WAITS(LT_WAIT_ENUM)
#undef LT_WAIT_ENUM
};
static const char *const names[] = {
#define LT_WAIT_NAME(name) #name,
    LT_WAITS(LT_WAIT_NAME)
#undef LT_WAIT_NAME
};
static void *resolved[sizeof names / sizeof *names];

__attribute__((constructor)) static void resolve(void)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        resolved[i] = lt_real_symbol(names[i]);
}

#define LT_FORWARD(name)                                                                           \
    __typeof__(name) *next =                                                                       \
        (__typeof__(name) *)(resolved[WAIT_##name] ? resolved[WAIT_##name]                         \
                                                   : lt_real_symbol(names[WAIT_##name]))

static void record(int pid, int how, int status, bool core, uintptr_t frame)
{
    int saved = errno;
    struct lt_context *c = lt_page.active == LT_ACTIVE ? lt_begin(frame) : NULL;
    if (c) {
        unsigned char *p = mlf_put_vu(c->scratch, lt_now());
        p = mlf_put_vu(p, (uint64_t)pid);
        p = mlf_put_vu(p, (uint64_t)how);
        p = mlf_put_vu(p, (uint64_t)status);
        p = mlf_put_vu(p, core ? MLF_CHILD_CORE : 0);
        lt_writer_record(&c->definitions, MLF_REC_CHILD_END, c->scratch, (size_t)(p - c->scratch));
        lt_finish(c, 0);
    }
    errno = saved;
}

/* Stopped and continued children live. */
static pid_t note(pid_t pid, int status, uintptr_t frame)
{
    if (pid <= 0)
        return pid;
    if (WIFEXITED(status))
        record(pid, MLF_CHILD_EXITED, WEXITSTATUS(status), false, frame);
    else if (WIFSIGNALED(status))
        record(pid, MLF_CHILD_KILLED, WTERMSIG(status), WCOREDUMP(status), frame);
    return pid;
}

#define LT_FRAME ((uintptr_t)__builtin_frame_address(0))

LT_EXPORT pid_t wait(int *status)
{
    LT_FORWARD(wait);
    int own = 0, *told = status ? status : &own;
    pid_t pid = next(told);
    return pid > 0 ? note(pid, *told, LT_FRAME) : pid;
}

LT_EXPORT pid_t waitpid(pid_t which, int *status, int options)
{
    LT_FORWARD(waitpid);
    int own = 0, *told = status ? status : &own;
    pid_t pid = next(which, told, options);
    return pid > 0 ? note(pid, *told, LT_FRAME) : pid;
}

LT_EXPORT pid_t wait3(int *status, int options, struct rusage *usage)
{
    LT_FORWARD(wait3);
    int own = 0, *told = status ? status : &own;
    pid_t pid = next(told, options, usage);
    return pid > 0 ? note(pid, *told, LT_FRAME) : pid;
}

LT_EXPORT pid_t wait4(pid_t which, int *status, int options, struct rusage *usage)
{
    LT_FORWARD(wait4);
    int own = 0, *told = status ? status : &own;
    pid_t pid = next(which, told, options, usage);
    return pid > 0 ? note(pid, *told, LT_FRAME) : pid;
}

/* One that is waited for with WNOWAIT is told of again when it is gone. */
LT_EXPORT int waitid(idtype_t type, id_t which, siginfo_t *info, int options)
{
    LT_FORWARD(waitid);
    siginfo_t own = {.si_pid = 0}, *told = info ? info : &own;
    int result = next(type, which, told, options);
    if (result < 0 || (options & WNOWAIT) || !told->si_pid)
        return result;
    if (told->si_code == CLD_EXITED)
        record(told->si_pid, MLF_CHILD_EXITED, told->si_status & 0xff, false, LT_FRAME);
    else if (told->si_code == CLD_KILLED || told->si_code == CLD_DUMPED)
        record(told->si_pid, MLF_CHILD_KILLED, told->si_status, told->si_code == CLD_DUMPED,
               LT_FRAME);
    return result;
}
