/* SPDX-License-Identifier: MIT
 *
 * The part of a parent's live set that the child of a fork sees. Nothing is copied:
 * a block is inherited if it was live in the parent at the moment of the fork,
 * which is answered from the parent's live set, from the blocks that the parent has
 * ended since then (kept only while a child may ask), from what the parent
 * inherited itself, and from those the child has ended already.
 *
 * Costs: 8 bytes for a fork; about 40 bytes for an inherited block that a child
 * ends; up to about 150 bytes for a block that a parent ended, as long as a child
 * lives that was forked while the block did. So what is kept is bounded by the
 * live sets at the forks of the children that live, however long a parent goes
 * on forking.
 */
#ifndef MA_INHERIT_H
#define MA_INHERIT_H

#include "ma_heap.h"
#include "ma_map.h"

struct ma_account;

struct ma_ended { /* a block that ended while a child of before lived */
    uint64_t address, begin, size, usable;
    uint64_t leaves, end;    /* free: both its time; realloc: its two times */
    uint32_t thread, former; /* 1 + index of the one before at its address; 0: none */
    uint32_t depth, jump;    /* how many came before; 1 + index of one some way back */
};

struct ma_inheritance {
    struct ma_account *parent; /* NULL: nothing is inherited */
    uint64_t fork_time;        /* ticks */
    unsigned depth;
    /* inherited blocks that this process has ended */
    struct ma_map dropped_of; /* address to index */
    uint64_t *dropped;        /* when */
    size_t n_dropped, dropped_capacity;
    /* as a parent */
    uint64_t *forks; /* of the children that may still ask: ticks, rising */
    size_t n_forks, fork_capacity;
    struct ma_map ended_of; /* address to the latest */
    struct ma_ended *ended;
    size_t n_ended, ended_capacity;
    size_t sweep_at; /* n_ended that makes us look for what no child needs */
};

/* The child begins as a copy of the parent as it was at fork_time. Returns 1, 0
 * if it cannot be followed so deep, or -ENOMEM. */
int ma_inherit(struct ma_account *child, struct ma_account *parent, uint64_t fork_time);

/* The inherited block at address, if the process has not ended it: its site is
 * MA_NONE. */
bool ma_inherit_find(const struct ma_account *account, uint64_t address, struct ma_block *block);

/* True if a parent may have ended the block between the recorded moment of a fork,
 * which is just before it, and the child's start: the child may have none then. A
 * realloc that was on its way at the fork has ended it, or not. */
bool ma_inherit_is_doubtful(const struct ma_account *account, uint64_t address);

/* The process ends its copy of the block at address. Returns 0 or -ENOMEM. */
int ma_inherit_drop(struct ma_account *account, uint64_t address, uint64_t time);

/* A block of the process's own ends, between `leaves` and `time`. To be called for all
 * blocks, before they are forgotten: keeps what children may ask for. Returns 0 or
 * -ENOMEM. */
int ma_inherit_keep(struct ma_account *account, const struct ma_block *block, uint64_t leaves,
                    uint64_t time);

/* The process is over: it and its ancestors keep nothing more for it. */
void ma_inherit_release(struct ma_account *account);

void ma_inheritance_free(struct ma_inheritance *inheritance);

#endif
