/* SPDX-License-Identifier: MIT
 *
 * Killed for memory; see ma_killed.h. Samples of resident memory are 10 ms old at most while
 * a process allocates, but that is much for one that runs away: what its heap grew by since
 * then counts, too. Pages that processes share are counted once, as those of the one that
 * has most of them.
 */
#include "ma_killed.h"

#include "ma_replay.h"

/* Resident at the latest sample, and what the heap grew by since. */
static uint64_t size_at_end(const struct ma_account *account)
{
    const uint64_t grown = account->live_bytes > account->sampled_live
                               ? account->live_bytes - account->sampled_live
                               : 0;
    return account->resident + grown;
}

static bool may_be_killed(const struct ma_account *account)
{
    return account && account->resident && !account->process->ended;
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
        const uint64_t of_both = account->resident - account->private_resident;
        private += size_at_end(account) - of_both;
        shared = of_both > shared ? of_both : shared;
        if (account->limit_bytes &&
            (account->limit_kind == MLF_LIMIT_GROUP || account->limit_kind == MLF_LIMIT_MACHINE) &&
            (!killed->account || size_at_end(account) > size_at_end(killed->account)))
            killed->account = account;
    }
    if (!killed->account)
        return false;
    killed->bytes = private + shared;
    killed->limit = killed->account->limit_bytes;
    killed->kind = killed->account->limit_kind;
    return killed->bytes >= killed->limit - killed->limit / 10;
}
