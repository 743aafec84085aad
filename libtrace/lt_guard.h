/* SPDX-License-Identifier: MIT
 *
 * Guards: handlers of ours that stand in the kernel in place of the program's action for
 * a signal, with that action's flags and mask, and leave to the program what is not ours.
 * sigaction and signal tell and set the program's view. No guard: threads that block the
 * signal, programs that ignore it, and those that set an action by a system call of their
 * own (Go).
 */
#ifndef LT_GUARD_H
#define LT_GUARD_H

#include <signal.h>
#include <stdbool.h>

struct lt_frame_start;

/* In the handler: true if the signal was ours and nothing is left to do. `dies` tells
 * whether the program leaves it to the default action, which ends it; `at` is where the
 * handler returns to. */
typedef bool lt_guard_function(siginfo_t *info, const struct lt_frame_start *at, bool dies);

/* Guard against SIGBUS or SIGABRT. To be called in the constructor. Nothing is done where
 * the program ignores the signal already, or has a handler that came before ours. */
void lt_guard(int number, lt_guard_function *ours);

#endif
