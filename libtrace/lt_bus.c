/* SPDX-License-Identifier: MIT
 *
 * The guard against SIGBUS; see lt_bus.h. Its handler stands in the kernel in place of
 * the program's action, with that action's flags and mask, and calls the program's
 * handler for what is not ours; sigaction and signal tell and set the program's view.
 * No guard: threads that block the signal, programs that ignore it, and those that set
 * an action by a system call of their own (Go).
 *
 * The action of the program is read by the handler while another thread may set it:
 * two copies, of which a number says which one holds.
 */
#include "lt_bus.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "lt_real.h"
#include "lt_trace.h"

typedef int (*sigaction_function)(int, const struct sigaction *, struct sigaction *);
typedef void (*signal_handler)(int);
typedef signal_handler (*signal_function)(int, signal_handler);
typedef void (*info_handler)(int, siginfo_t *, void *);
static sigaction_function real_sigaction;
static signal_function real_signal;

static struct {
    uintptr_t header;
    size_t header_size;
    bool guarding;
    bool struck;            /* atomic */
    uint32_t holds;         /* atomic */
    struct sigaction of[2]; /* the program's; all zero: the default */
} bus;

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

static const struct sigaction *programs_action(void)
{
    return &bus.of[__atomic_load_n(&bus.holds, __ATOMIC_ACQUIRE) & 1];
}

static bool is_in(uintptr_t at, const struct lt_writer *writer)
{
    uintptr_t chunk = (uintptr_t)__atomic_load_n(&writer->chunk, __ATOMIC_ACQUIRE);
    return chunk && at - chunk < writer->size;
}

static bool is_of_trace(uintptr_t at)
{
    if (at - bus.header < bus.header_size)
        return true;
    for (const struct lt_context *c = lt_process.contexts; c; c = c->next)
        if (is_in(at, &c->events) || is_in(at, &c->definitions))
            return true;
    return false;
}

/* The default action, which ends the program, where the signal came from: a fault comes
 * again when the handler returns, one that was sent is sent again. */
static void by_default(siginfo_t *info)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    next_sigaction(SIGBUS, &action, NULL);
    if (info->si_code <= 0)
        lt_syscall4(SYS_rt_tgsigqueueinfo, lt_getpid(), lt_gettid(), SIGBUS, info);
}

static void on_bus(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    if (info->si_code > 0 && is_of_trace(at)) {
        uintptr_t page = at & ~(uintptr_t)(lt_process.page_size - 1);
        __atomic_store_n(&bus.struck, true, __ATOMIC_RELEASE);
        long got = lt_mmap((void *)page, lt_process.page_size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (got == (long)page)
            return;
    }
    struct sigaction program = *programs_action();
    if (program.sa_handler == SIG_DFL) {
        by_default(info);
        return;
    }
    if (program.sa_flags & (int)SA_RESETHAND) {
        struct sigaction none;
        memset(&none, 0, sizeof none);
        sigaction(SIGBUS, &none, NULL);
    }
    if (program.sa_flags & SA_SIGINFO)
        ((info_handler)program.sa_sigaction)(number, info, context);
    else
        program.sa_handler(number);
}

/* What stands in the kernel for an action of the program. */
static struct sigaction guard_for(const struct sigaction *program)
{
    struct sigaction guard = *program;
    if (program->sa_handler == SIG_DFL) {
        guard.sa_flags = SA_ONSTACK;
        sigemptyset(&guard.sa_mask);
    }
    guard.sa_flags = (guard.sa_flags | SA_SIGINFO) & ~(int)SA_RESETHAND;
    guard.sa_sigaction = on_bus;
    return guard;
}

static bool is_guard(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_bus;
}

static void set_programs_action(const struct sigaction *program)
{
    uint32_t other = (bus.holds + 1) & 1;
    bus.of[other] = *program;
    __atomic_store_n(&bus.holds, other, __ATOMIC_RELEASE);
}

/* A vfork's child shares our memory, but has actions of its own. */
static bool is_to_guard(const struct sigaction *action)
{
    return action && bus.guarding && action->sa_handler != SIG_IGN && lt_getpid() == lt_process.pid;
}

LT_EXPORT int sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    struct sigaction was, guard, program = {0};
    if (number != SIGBUS)
        return next_sigaction(number, action, old);
    bool guards = is_to_guard(action);
    struct sigaction before = *programs_action();
    if (guards) {
        program = *action; /* `old` may be the same memory */
        guard = guard_for(&program);
        set_programs_action(&program);
        action = &guard;
    }
    int result = next_sigaction(number, action, &was);
    if (result == 0 && old)
        *old = is_guard(&was) ? before : was;
    return result;
}

LT_EXPORT signal_handler signal(int number, signal_handler handler)
{
    signal_function next = real_signal ? real_signal : (signal_function)lt_real_symbol("signal");
    if (number != SIGBUS || !bus.guarding || handler == SIG_ERR)
        return next(number, handler);
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaddset(&action.sa_mask, number);
    return sigaction(number, &action, &old) ? SIG_ERR : old.sa_handler;
}

bool lt_bus_struck(void)
{
    return __atomic_load_n(&bus.struck, __ATOMIC_ACQUIRE);
}

void lt_bus_guard(void *header, size_t size)
{
    struct sigaction program, guard;
    int saved = errno;
    bus.header = (uintptr_t)header;
    bus.header_size = size;
    if (next_sigaction(SIGBUS, NULL, &program) == 0 && program.sa_handler == SIG_DFL) {
        set_programs_action(&program);
        guard = guard_for(&program);
        bus.guarding = next_sigaction(SIGBUS, &guard, NULL) == 0;
    }
    errno = saved;
}
