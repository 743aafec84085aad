/* SPDX-License-Identifier: MIT
 *
 * The part of the replay that deals with whole processes: accounts that begin,
 * inherit, leave the joint heap and return to it, and records.
 */
#ifndef MA_REPLAY_PROCESS_H
#define MA_REPLAY_PROCESS_H

#include "ma_replay.h"

/* The account of a process, made if it is new; NULL if memory is short. */
struct ma_account *ma_replay_account(struct ma_replay *replay, struct ma_process *process);

/* The moment of an event, for observers. */
void ma_replay_describe(const struct ma_replay *replay, const struct ma_account *account,
                        const struct ma_run *run, uint64_t ticks, struct ma_seen *seen);

/* Processes whose end was told leave the joint heap, now that another has an
 * event: the first of `run`. Returns 0 or -ENOMEM. */
int ma_replay_settle(struct ma_replay *replay, const struct ma_account *current,
                     const struct ma_run *run);

/* Retire those that left a while before `ticks` and did not come back. Returns 0 or
 * -ENOMEM. */
int ma_replay_retire_due(struct ma_replay *replay, uint64_t ticks);

/* A process that had left allocates: it is back. Returns 0 or -ENOMEM. */
int ma_replay_return(struct ma_replay *replay, struct ma_account *account, const struct ma_run *run,
                     uint64_t ticks);

/* FORK, START and RECORD. */
int ma_replay_process_event(struct ma_replay *replay, struct ma_account *account,
                            const struct ma_run *run, const struct ma_event *event);

/* To be called before a site changes: saves its values at the peak. */
static inline void ma_replay_touch(const struct ma_replay *replay, const struct ma_account *account,
                                   struct ma_alloc_site *site)
{
    if (site->peak_epoch == replay->peak_epoch)
        return;
    site->peak_epoch = replay->peak_epoch;
    site->peak_bytes = account->gone ? 0 : site->live_bytes;
    site->peak_blocks = account->gone ? 0 : site->live_blocks;
}

/* A STACK record: it tells the stack of the stream's latest call, number `call` of it.
 * Returns 0 or -ENOMEM. */
int ma_replay_stack(struct ma_replay *replay, const struct ma_account *account,
                    const struct ma_run *run, const struct ma_event *event, uint64_t call);

#endif
