/* SPDX-License-Identifier: MIT
 *
 * The books of the replay: for each process its live set and, for each stack
 * that allocated, a struct ma_use with counts, live bytes and what it held at
 * the peak. Values at a past moment (the peak, the highest moment of a slot of
 * the timeline) are kept by copy-on-write: each moment has an epoch; a use
 * saves its value the first time it changes after that moment, so one that did
 * not change since still holds it.
 */
#ifndef MA_ACCOUNT_H
#define MA_ACCOUNT_H

#include "ma_heap.h"
#include "ma_process.h"

struct ma_use {
    uint32_t stack;
    uint32_t candidate; /* index in the timeline, or MA_NONE */
    uint64_t live_bytes, live_blocks;
    uint64_t allocations, allocated_bytes;
    uint64_t temporary;
    uint64_t peak_bytes, peak_blocks, peak_epoch;
    uint64_t slot_bytes, slot_epoch;
    uint64_t first_time, last_time; /* of its allocations, ticks */
};

struct ma_account {
    struct ma_process *process;
    struct ma_heap heap;
    struct ma_use *uses;
    size_t n_uses, use_capacity;
    struct ma_map use_of; /* stack id to index */
    uint64_t live_bytes, live_blocks; /* without inherited blocks */
    uint64_t resident;      /* latest sample, bytes */
    bool ending;            /* its end was told; it leaves the joint heap soon */
    bool gone;              /* it left: it counts in nothing joint */
    uint64_t inherited;     /* blocks copied from the parent, those ended since included */
    bool inherits_loosely;  /* inherited blocks are not known exactly */
    uint64_t allocations, frees, allocated_bytes, freed_bytes;
};

struct ma_account *ma_account_new(struct ma_process *process);
void ma_account_free(struct ma_account *account);

/* The use of a stack, made if it is new; NULL if memory is short. Moves uses. */
struct ma_use *ma_account_use(struct ma_account *account, uint32_t stack);

/* The child's live set begins as a copy of the parent's as it was at
 * fork_time: blocks allocated later are left out. Returns 0 or -ENOMEM. */
int ma_account_inherit(struct ma_account *child, const struct ma_account *parent,
                       uint64_t fork_time);

/* Forget inherited blocks: the process is over. */
int ma_account_disinherit(struct ma_account *account);

#endif
