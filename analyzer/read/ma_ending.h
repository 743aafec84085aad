/* SPDX-License-Identifier: MIT
 *
 * How processes ended, by their own word (PROCESS_END) and by that of whoever waited for
 * them (CHILD_END).
 */
#ifndef MA_ENDING_H
#define MA_ENDING_H

#include "ma_trace.h"

#define MA_ENDING_TEXT 64

/* True if the process is known to have ended, by whoever's word. */
static inline bool ma_process_is_over(const struct ma_process *process)
{
    return process->ended || process->reaped.told;
}

/* Note what `waiter` was told of `child`, the latest process with the pid. False, and
 * nothing is noted, if it cannot be the one that is meant: pids come again. `adopted`: who
 * was its parent at its start is over. */
bool ma_process_reap(struct ma_process *child, const struct ma_process *waiter, bool adopted,
                     const struct ma_short_record *record);

/* "ended by signal 11 (SIGSEGV), core dumped", or "ended by _exit 3 without a word"; NULL
 * if it said its end itself and no signal came after, or nobody tells. */
const char *ma_ending_text(const struct ma_process *process, char buffer[MA_ENDING_TEXT]);

/* "SIGSEGV" of 11; NULL for one without a name of its own. */
const char *ma_signal_name(uint64_t number);

#endif
