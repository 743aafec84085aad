/* SPDX-License-Identifier: MIT
 *
 * Inheritance; see ma_inherit.h. A walk goes up from child to parent, each time
 * with the moment at which the next one's live set is asked for: the fork.
 */
#include "ma_inherit.h"

#include <errno.h>
#include <string.h>

#include "ma_account.h"

#define SWEEP_FROM 4096 /* ended blocks that are kept without a look */

/* The number of forks before or at `when`. */
static size_t forks_until(const struct ma_inheritance *inherits, uint64_t when)
{
    size_t from = 0, to = inherits->n_forks;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (inherits->forks[middle] <= when)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* True if a child that may still ask was forked in (begin, end]. */
static bool is_needed(const struct ma_inheritance *inherits, uint64_t begin, uint64_t end)
{
    size_t at = forks_until(inherits, begin);
    return at < inherits->n_forks && inherits->forks[at] <= end;
}

int ma_inherit(struct ma_account *child, struct ma_account *parent, uint64_t fork_time)
{
    struct ma_inheritance *of = &parent->inherits;
    if (of->depth + 1 >= MA_FORKS_DEEP)
        return 0;
    if (!MA_RESERVE(of->forks, of->n_forks, of->fork_capacity))
        return -ENOMEM;
    size_t at = forks_until(of, fork_time);
    memmove(&of->forks[at + 1], &of->forks[at], (of->n_forks++ - at) * sizeof *of->forks);
    of->forks[at] = fork_time;
    child->inherits.parent = parent;
    child->inherits.fork_time = fork_time;
    child->inherits.depth = of->depth + 1;
    child->inherits_loosely = parent->inherits_loosely;
    return 1;
}

/* Of the blocks that ended at an address the latest that began (or `leaves`: began to
 * end) at `when` at the latest: 1 + index, or 0. In order of time they form a list
 * with jumps, so the search is short however many there are. */
static uint32_t latest_ended(const struct ma_inheritance *inherits, uint64_t address, uint64_t when,
                             bool leaves)
{
    uint32_t index = ma_map_get(&inherits->ended_of, address);
    uint32_t i = index == MA_NONE ? 0 : index + 1;
    while (i) {
        const struct ma_ended *one = &inherits->ended[i - 1];
        const struct ma_ended *far = one->jump ? &inherits->ended[one->jump - 1] : NULL;
        if ((leaves ? one->leaves : one->begin) <= when)
            break;
        i = far && (leaves ? far->leaves : far->begin) > when ? one->jump : one->former;
    }
    return i;
}

/* True if the process's own live set had a block there just before `when`. */
static bool had(const struct ma_account *account, uint64_t address, uint64_t when,
                struct ma_block *block)
{
    const struct ma_inheritance *inherits = &account->inherits;
    if (ma_heap_find(&account->heap, address, block) && block->time < when)
        return true;
    uint32_t i = when ? latest_ended(inherits, address, when - 1, false) : 0;
    if (!i || inherits->ended[i - 1].end < when)
        return false;
    const struct ma_ended *ended = &inherits->ended[i - 1];
    *block = (struct ma_block){
        .address = address,
        .size = ended->size,
        .usable = ended->usable,
        .time = ended->begin,
        .thread = ended->thread,
    };
    return true;
}

static bool has_dropped(const struct ma_inheritance *inherits, uint64_t address, uint64_t when)
{
    uint32_t index = ma_map_get(&inherits->dropped_of, address);
    return index != MA_NONE && inherits->dropped[index] < when;
}

bool ma_inherit_find(const struct ma_account *account, uint64_t address, struct ma_block *block)
{
    uint64_t when = UINT64_MAX;
    for (; account->inherits.parent; account = account->inherits.parent) {
        if (has_dropped(&account->inherits, address, when))
            return false;
        when = account->inherits.fork_time;
        if (had(account->inherits.parent, address, when, block)) {
            block->site = MA_NONE;
            return true;
        }
    }
    return false;
}

bool ma_inherit_is_doubtful(const struct ma_account *account, uint64_t address)
{
    for (; account->inherits.parent; account = account->inherits.parent) {
        const struct ma_inheritance *parent = &account->inherits.parent->inherits;
        uint32_t i = latest_ended(parent, address, account->process->record.start, true);
        if (i && parent->ended[i - 1].end >= account->inherits.fork_time)
            return true;
    }
    return false;
}

int ma_inherit_drop(struct ma_account *account, uint64_t address, uint64_t time)
{
    struct ma_inheritance *inherits = &account->inherits;
    if (!MA_RESERVE(inherits->dropped, inherits->n_dropped, inherits->dropped_capacity) ||
        ma_map_set(&inherits->dropped_of, address, (uint32_t)inherits->n_dropped) < 0)
        return -ENOMEM;
    inherits->dropped[inherits->n_dropped++] = time;
    return 0;
}

/* Link an ended block back to earlier ones: over both if the one before jumped as
 * far as the one it jumped to, else to the one before. Any of them is thus a few
 * jumps away, in the logarithm of all. */
static void link_back(const struct ma_ended *all, struct ma_ended *ended)
{
    const struct ma_ended *former = &all[ended->former - 1];
    const struct ma_ended *to = former->jump ? &all[former->jump - 1] : NULL;
    uint32_t reach = to ? former->depth - to->depth : 0;
    uint32_t next = to && to->jump ? to->depth - all[to->jump - 1].depth : 0;
    ended->depth = former->depth + 1;
    ended->jump = reach && reach == next ? to->jump : ended->former;
}

static int add_ended(struct ma_inheritance *inherits, uint64_t address, struct ma_ended ended)
{
    uint32_t former = ma_map_get(&inherits->ended_of, address);
    if (!MA_RESERVE(inherits->ended, inherits->n_ended, inherits->ended_capacity) ||
        ma_map_set(&inherits->ended_of, address, (uint32_t)inherits->n_ended) < 0)
        return -ENOMEM;
    ended.former = former == MA_NONE ? 0 : former + 1;
    ended.depth = ended.jump = 0;
    if (ended.former)
        link_back(inherits->ended, &ended);
    inherits->ended[inherits->n_ended++] = ended;
    return 0;
}

/* Forget what only children needed that are gone. */
static int sweep(struct ma_inheritance *inherits)
{
    size_t n = inherits->n_ended;
    ma_map_free(&inherits->ended_of);
    inherits->n_ended = 0;
    for (size_t i = 0; i < n; i++) {
        const struct ma_ended *ended = &inherits->ended[i];
        if (is_needed(inherits, ended->begin, ended->end) &&
            add_ended(inherits, ended->address, *ended) < 0)
            return -ENOMEM;
    }
    inherits->sweep_at = 2 * inherits->n_ended;
    return 0;
}

int ma_inherit_keep(struct ma_account *account, const struct ma_block *block, uint64_t leaves,
                    uint64_t time)
{
    struct ma_inheritance *inherits = &account->inherits;
    if (__builtin_expect(
            !inherits->n_forks || block->time >= inherits->forks[inherits->n_forks - 1], 1) ||
        !is_needed(inherits, block->time, time))
        return 0;
    if (inherits->n_ended >= SWEEP_FROM && inherits->n_ended >= inherits->sweep_at &&
        sweep(inherits) < 0)
        return -ENOMEM;
    return add_ended(inherits, block->address,
                     (struct ma_ended){
                         .address = block->address,
                         .begin = block->time,
                         .leaves = leaves,
                         .end = time,
                         .size = block->size,
                         .usable = block->usable,
                         .thread = block->thread,
                     });
}

/* A child with this fork asks no more. */
static void forget_fork(struct ma_inheritance *inherits, uint64_t fork_time)
{
    size_t at = forks_until(inherits, fork_time) - 1;
    memmove(&inherits->forks[at], &inherits->forks[at + 1],
            (--inherits->n_forks - at) * sizeof *inherits->forks);
}

static void forget_ended(struct ma_inheritance *inherits)
{
    ma_map_free(&inherits->ended_of);
    free(inherits->ended);
    inherits->ended = NULL;
    inherits->n_ended = inherits->ended_capacity = inherits->sweep_at = 0;
}

static void forget_dropped(struct ma_inheritance *inherits)
{
    ma_map_free(&inherits->dropped_of);
    free(inherits->dropped);
    inherits->dropped = NULL;
    inherits->n_dropped = inherits->dropped_capacity = 0;
}

void ma_inherit_release(struct ma_account *account)
{
    while (account->gone && !account->inherits.n_forks && account->inherits.parent) {
        struct ma_account *parent = account->inherits.parent;
        forget_fork(&parent->inherits, account->inherits.fork_time);
        account->inherits.parent = NULL;
        account->inherits_loosely = true;
        forget_dropped(&account->inherits);
        if (!parent->inherits.n_forks)
            forget_ended(&parent->inherits);
        account = parent;
    }
}

void ma_inheritance_free(struct ma_inheritance *inheritance)
{
    forget_ended(inheritance);
    forget_dropped(inheritance);
    free(inheritance->forks);
}
