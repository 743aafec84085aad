/* SPDX-License-Identifier: MIT
 *
 * Killed for memory; see ma_killed.h. Samples of resident memory are 10 ms old at most while
 * a process allocates, but that is much for one that runs away: what its heap grew by since
 * then counts, too. Pages that processes share are counted once, as those of the one that
 * has most of them.
 */
#include "ma_killed.h"

#include <signal.h>

#include "ma_replay.h"

/* Resident at the latest sample, and what the heap grew by since. */
static uint64_t size_at_end(const struct ma_account *account)
{
    const uint64_t grown = account->live_bytes > account->sampled_live
                               ? account->live_bytes - account->sampled_live
                               : 0;
    return account->resident + grown;
}

static bool was_killed(const struct ma_process *process)
{
    return process->reaped.killed && process->reaped.status == SIGKILL;
}

/* The kernel kills by SIGKILL, which whoever waited may have told. */
static bool may_be_killed(const struct ma_account *account)
{
    return account && account->resident && !account->process->ended &&
           (!account->process->reaped.told || was_killed(account->process));
}

static bool is_limited(const struct ma_account *account)
{
    return account->limit_bytes &&
           (account->limit_kind == MLF_LIMIT_GROUP || account->limit_kind == MLF_LIMIT_MACHINE);
}

static bool is_near(const struct ma_killed *killed)
{
    return killed->bytes >= killed->limit - killed->limit / 10;
}

/* One that was waited for while others went on: what these held then is not known. */
static bool find_child(const struct ma_replay *replay, struct ma_killed *killed)
{
    for (size_t i = 0; i < replay->n_accounts; i++) {
        const struct ma_account *account = replay->accounts[i];
        if (!account || !account->gone || account->process->ended ||
            !was_killed(account->process) || !is_limited(account))
            continue;
        *killed = (struct ma_killed){
            .account = account,
            .bytes = account->last_resident + size_at_end(account) - account->resident,
            .limit = account->limit_bytes,
            .kind = account->limit_kind,
        };
        if (is_near(killed))
            return true;
    }
    return false;
}

bool ma_killed_for_memory(const struct ma_analysis *analysis, struct ma_killed *killed)
{
    const struct ma_replay *replay = &analysis->replay;
    uint64_t private = 0, shared = 0;
    *killed = (struct ma_killed){0};
    if (analysis->ongoing)
        return false;
    for (size_t i = 0; i < replay->n_accounts; i++) {
        const struct ma_account *account = replay->accounts[i];
        if (!may_be_killed(account))
            continue;
        const uint64_t of_both = account->shared;
        private += size_at_end(account) - of_both;
        shared = of_both > shared ? of_both : shared;
        if (is_limited(account) &&
            (!killed->account || size_at_end(account) > size_at_end(killed->account)))
            killed->account = account;
    }
    if (!killed->account)
        return find_child(replay, killed);
    killed->bytes = private + shared;
    killed->limit = killed->account->limit_bytes;
    killed->kind = killed->account->limit_kind;
    return is_near(killed) || find_child(replay, killed);
}
