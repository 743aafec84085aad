/* SPDX-License-Identifier: MIT
 *
 * Ends of processes; see ma_ending.h.
 */
#include "ma_ending.h"

#include <stdio.h>

/* Linux's numbers, the same on all processors that mlog traces; the trace may be of
 * another machine than this. */
const char *ma_signal_name(uint64_t number)
{
    static const char *const names[] = {
        NULL,        "SIGHUP",  "SIGINT",    "SIGQUIT", "SIGILL",   "SIGTRAP", "SIGABRT", "SIGBUS",
        "SIGFPE",    "SIGKILL", "SIGUSR1",   "SIGSEGV", "SIGUSR2",  "SIGPIPE", "SIGALRM", "SIGTERM",
        "SIGSTKFLT", "SIGCHLD", "SIGCONT",   "SIGSTOP", "SIGTSTP",  "SIGTTIN", "SIGTTOU", "SIGURG",
        "SIGXCPU",   "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO",   "SIGPWR",  "SIGSYS",
    };
    return number < sizeof names / sizeof *names ? names[number] : NULL;
}

static bool may_be(uint64_t a, uint64_t b)
{
    return !a || !b || a == b;
}

/* A process image that another replaced: what ended is the other, which is not in the
 * trace. One that went on after its exec failed is itself. */
static bool was_replaced(const struct ma_process *process)
{
    return process->ended && process->end_how == MLF_END_EXEC &&
           process->last_time <= process->end_time;
}

bool ma_process_reap(struct ma_process *child, const struct ma_process *waiter, bool adopted,
                     const struct ma_short_record *record)
{
    const struct ma_process_record *of = &child->record, *by = &waiter->record;
    const bool same_clock = of->clock == by->clock && of->tick_shift == by->tick_shift;
    if (child->reaped.told || was_replaced(child) || (same_clock && of->start > record->time))
        return false;
    if (of->pid == by->pid ? !may_be(of->birth, by->birth) : of->parent_pid != by->pid && !adopted)
        return false;
    child->reaped.told = true;
    child->reaped.killed = record->child_end.how == MLF_CHILD_KILLED;
    child->reaped.core = record->child_end.flags & MLF_CHILD_CORE;
    child->reaped.status = record->child_end.status;
    child->reaped.time = record->time;
    return true;
}

const char *ma_ending_text(const struct ma_process *process, char buffer[MA_ENDING_TEXT])
{
    const unsigned long long status = process->reaped.status;
    const char *name = ma_signal_name(status);
    if (!process->reaped.told || (!process->reaped.killed && process->ended))
        return NULL;
    if (process->reaped.killed)
        snprintf(buffer, MA_ENDING_TEXT, "ended by signal %llu%s%s%s%s", status, name ? " (" : "",
                 name ? name : "", name ? ")" : "", process->reaped.core ? ", core dumped" : "");
    else
        snprintf(buffer, MA_ENDING_TEXT, "ended by _exit %llu without a word", status);
    return buffer;
}
