/* SPDX-License-Identifier: MIT
 *
 * Programs that lock themselves in: behind a seccomp filter a system call that
 * the program did not foresee ends it, and the library makes such calls. So
 * tracing stops where a filter is set, and the trace says so; from then on the
 * library makes no system call, in forked children neither, and the trace's
 * descriptor is not handed on to a program executed behind the filter. Stands in
 * front of prctl and syscall, by which libc's users set one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <time.h>

#include "lt_real.h"
#include "lt_sink.h"
#include "lt_trace.h"

typedef long (*syscall_function)(long, long, long, long, long, long, long);
typedef int (*prctl_function)(int, unsigned long, unsigned long, unsigned long, unsigned long);
static syscall_function real_syscall;
static prctl_function real_prctl;

/* In the constructor: no look-up behind a filter. */
__attribute__((constructor)) static void resolve(void)
{
    real_syscall = (syscall_function)lt_real_symbol("syscall");
    real_prctl = (prctl_function)lt_real_symbol("prctl");
}

/* A filter may come over all threads at once: none may be inside the library. */
static void await_idle(const struct lt_context *self)
{
    for (const struct lt_context *c = lt_process.contexts; c; c = c->next)
        if (c != self)
            lt_context_await_idle(c);
}

/* Returns whether the descriptor's flag was set here, to be taken back if the
 * filter is refused. */
static bool before_filter(void)
{
    int saved = errno;
    bool kept = lt_sink && lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_GETFD, 0) == 0 &&
                lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_SETFD, FD_CLOEXEC) == 0;
    /* A fork's child begins now, or never; a vfork's shares the parent's tracing. */
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    if (c && lt_getpid() == lt_process.pid) {
        lt_stop(c, MLF_LOSS_SANDBOX, 0);
        await_idle(c);
    }
    if (c)
        lt_finish(c, 0);
    errno = saved;
    return kept;
}

static void after_filter(bool kept, long result)
{
    if (result < 0 && kept)
        lt_syscall3(LT_SYS_FCNTL, LT_TRACE_FD, F_SETFD, 0);
}

/* libseccomp asks what there is by a filter at address 0 and by the strict mode with a
 * flag, which are refused: no filter. */
static bool sets_filter(long mode, long filter)
{
    return mode == SECCOMP_MODE_STRICT || (mode == SECCOMP_MODE_FILTER && filter);
}

LT_EXPORT int prctl(int option, ...)
{
    unsigned long argument[4];
    va_list list;
    va_start(list, option);
    for (int i = 0; i < 4; i++)
        argument[i] = va_arg(list, unsigned long);
    va_end(list);
    prctl_function next = real_prctl ? real_prctl : (prctl_function)lt_real_symbol("prctl");
    bool sets = option == PR_SET_SECCOMP && sets_filter((long)argument[0], (long)argument[1]);
    bool kept = sets && before_filter();
    int result = next(option, argument[0], argument[1], argument[2], argument[3]);
    if (sets)
        after_filter(kept, result);
    return result;
}

/* libc's is variadic; passed on by a jump, whatever the call does to the stack. */
LT_EXPORT long lt_syscall_hook(long number, long a, long b, long c, long d, long e,
                               long f) __asm__("syscall");
LT_EXPORT long lt_syscall_hook(long number, long a, long b, long c, long d, long e, long f)
{
    syscall_function next =
        LT_LIKELY(real_syscall) ? real_syscall : (syscall_function)lt_real_symbol("syscall");
    bool sets = (number == SYS_seccomp && ((a == SECCOMP_SET_MODE_STRICT && !b && !c) ||
                                           (a == SECCOMP_SET_MODE_FILTER && c))) ||
                (number == SYS_prctl && a == PR_SET_SECCOMP && sets_filter(b, c));
    if (LT_LIKELY(!sets))
        return next(number, a, b, c, d, e, f);
    bool kept = before_filter();
    long result = next(number, a, b, c, d, e, f);
    after_filter(kept, result);
    return result;
}
