/* SPDX-License-Identifier: MIT
 *
 * Blocks that are live in the books and may not be: they began before a time in which
 * their process did not record (struct ma_gap), where an end of theirs would not have
 * been seen. They are in every sum and chart until an event shows their end, and no leak.
 */
#ifndef MA_UNSURE_H
#define MA_UNSURE_H

#include "ma_account.h"

struct ma_sum {
    uint64_t bytes, blocks;
};

struct ma_unsure {
    struct ma_sum *of_site; /* as many as sites; NULL: none of the process's blocks is */
    struct ma_sum all;      /* with those of before the process was retired */
};

/* What is live and no such block. Returns 0 or -ENOMEM. */
int ma_unsure_leaked(const struct ma_account *account, struct ma_sum *leaked);

/* Count them, by site. Returns 0 or -ENOMEM; free in either case. */
int ma_unsure_count(struct ma_unsure *unsure, const struct ma_account *account);
void ma_unsure_free(struct ma_unsure *unsure);

/* True if an end of the block may not have been seen. */
static inline bool ma_unsure_is(const struct ma_process *process, const struct ma_block *block)
{
    return block->time < process->unseen_before;
}

static inline struct ma_sum ma_unsure_of(const struct ma_unsure *unsure, size_t site)
{
    return unsure->of_site ? unsure->of_site[site] : (struct ma_sum){0, 0};
}

#endif
