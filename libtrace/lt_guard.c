/* SPDX-License-Identifier: MIT
 *
 * Guards of signals; see lt_guard.h. The action of the program is read by the handler
 * while another thread may set it: two copies, of which a number says which one holds.
 */
#include "lt_guard.h"

#include <errno.h>
#include <string.h>

#include "lt_caller.h"
#include "lt_real.h"

typedef int (*sigaction_function)(int, const struct sigaction *, struct sigaction *);
typedef void (*signal_handler)(int);
typedef signal_handler (*signal_function)(int, signal_handler);
typedef void (*info_handler)(int, siginfo_t *, void *);
static sigaction_function real_sigaction;
static signal_function real_signal;

static struct guard {
    int number;
    lt_guard_function *ours; /* NULL: not guarded */
    uint32_t holds;          /* atomic */
    struct sigaction of[2];  /* the program's; all zero: the default */
} guards[] = {{.number = SIGBUS}, {.number = SIGABRT}};

/* Before any second thread, so that none resolves it inside a handler. */
__attribute__((constructor)) static void resolve(void)
{
    real_sigaction = (sigaction_function)lt_real_symbol("sigaction");
    real_signal = (signal_function)lt_real_symbol("signal");
}

static int next_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    sigaction_function next =
        real_sigaction ? real_sigaction : (sigaction_function)lt_real_symbol("sigaction");
    return next(number, action, old);
}

static struct guard *guard_of(int number)
{
    for (size_t i = 0; i < sizeof guards / sizeof *guards; i++)
        if (guards[i].number == number)
            return &guards[i];
    return NULL;
}

static const struct sigaction *programs_action(const struct guard *guard)
{
    return &guard->of[__atomic_load_n(&guard->holds, __ATOMIC_ACQUIRE) & 1];
}

/* The default action, which ends the program, where the signal came from: a fault comes
 * again when the handler returns, one that was sent is sent again. */
static void by_default(int number, siginfo_t *info)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    next_sigaction(number, &action, NULL);
    if (info->si_code <= 0)
        lt_syscall4(SYS_rt_tgsigqueueinfo, lt_getpid(), lt_gettid(), number, info);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    const struct guard *guard = &guards[number == SIGBUS ? 0 : 1];
    struct sigaction program = *programs_action(guard);
    struct lt_frame_start at = lt_caller();
    if (guard->ours(info, &at, program.sa_handler == SIG_DFL))
        return;
    if (program.sa_handler == SIG_DFL) {
        by_default(number, info);
        return;
    }
    if (program.sa_flags & (int)SA_RESETHAND) {
        struct sigaction none;
        memset(&none, 0, sizeof none);
        sigaction(number, &none, NULL);
    }
    if (program.sa_flags & SA_SIGINFO)
        ((info_handler)program.sa_sigaction)(number, info, context);
    else
        program.sa_handler(number);
}

/* What stands in the kernel for an action of the program. */
static struct sigaction guarding(const struct sigaction *program)
{
    struct sigaction action = *program;
    if (program->sa_handler == SIG_DFL) {
        action.sa_flags = SA_ONSTACK;
        sigemptyset(&action.sa_mask);
    }
    action.sa_flags = (action.sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
    action.sa_sigaction = on_signal;
    return action;
}

static bool is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_signal;
}

static void set_programs_action(struct guard *guard, const struct sigaction *program)
{
    uint32_t other = (guard->holds + 1) & 1;
    guard->of[other] = *program;
    __atomic_store_n(&guard->holds, other, __ATOMIC_RELEASE);
}

/* A vfork's child shares our memory, but has actions of its own. */
static bool is_to_guard(const struct guard *guard, const struct sigaction *action)
{
    return action && guard->ours && action->sa_handler != SIG_IGN && lt_getpid() == lt_process.pid;
}

LT_EXPORT int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    struct guard *guard = guard_of(number);
    struct sigaction was, stands, program = {0};
    if (!guard)
        return next_sigaction(number, action, old);
    bool guards_it = is_to_guard(guard, action);
    struct sigaction before = *programs_action(guard);
    if (guards_it) {
        program = *action; /* `old` may be the same memory */
        stands = guarding(&program);
        set_programs_action(guard, &program);
        action = &stands;
    }
    int result = next_sigaction(number, action, &was);
    if (result == 0 && old)
        *old = is_ours(&was) ? before : was;
    return result;
}

LT_EXPORT signal_handler signal(int number, signal_handler handler)
{
    signal_function next = real_signal ? real_signal : (signal_function)lt_real_symbol("signal");
    const struct guard *guard = guard_of(number);
    if (!guard || !guard->ours || handler == SIG_ERR)
        return next(number, handler);
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaddset(&action.sa_mask, number);
    return sigaction(number, &action, &old) ? SIG_ERR : old.sa_handler;
}

void lt_guard(int number, lt_guard_function *ours)
{
    struct guard *guard = guard_of(number);
    struct sigaction program, stands;
    int saved = errno;
    if (next_sigaction(number, NULL, &program) == 0 && program.sa_handler == SIG_DFL) {
        set_programs_action(guard, &program);
        stands = guarding(&program);
        guard->ours = ours;
        if (next_sigaction(number, &stands, NULL))
            guard->ours = NULL;
    }
    errno = saved;
}
