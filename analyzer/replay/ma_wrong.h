/* SPDX-License-Identifier: MIT
 *
 * Frees of what was no live block, as the replay meets them: the first thousands are
 * kept, all are counted. One may merely have come before the allocation of its block, by
 * clocks of two processors that differ: it is tied to a block that begins at its address
 * a moment later. Which of the two it was shows afterwards. If that block is freed, the
 * early free was of something else and stays wrong; if its address is given out again, or
 * the trace ends, without that, the early free was the block's own. Works on slow paths
 * only: a tie is looked at then, not when a block is freed.
 */
#ifndef MA_WRONG_H
#define MA_WRONG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ma_heap.h"

struct ma_account;
struct ma_process;

#define MA_WRONG_KEPT 4096
#define MA_WRONG_SCANS 64 /* live sets that are searched for the block that an address is in */
#define MA_WRONG_EARLY 16
#define MA_WRONG_TIES 64

struct ma_wrong_free {
    const struct ma_process *process;
    uint64_t address, ticks;
    uint64_t call;   /* its number among the calls of its stream */
    uint32_t stream; /* index of the stream it is in, */
    uint32_t thread; /* and of the one that stands for its thread */
    uint32_t stack;  /* node id; 0: not told */
    uint8_t function;
    bool aborted;          /* the program aborted right after */
    bool of_abort;         /* `stack` is where it did */
    bool good;             /* it was early, and has been made good */
    uint64_t tied;         /* when the block began that this may be the free of; 0: none */
    bool inside;           /* the address lies in a live block, this one: */
    uint32_t around_stack; /* node id of its allocation; 0: not known */
    struct ma_block around;
};

struct ma_wrong_frees {
    struct ma_wrong_free *all;
    size_t n, capacity;
    unsigned scans;
    uint16_t ties[MA_WRONG_TIES]; /* numbers of those that are tied */
    unsigned n_ties;
    uint64_t early_until; /* ticks: allocations up to then may be those of the latest */
};

/* Keep one; *kept is its number or SIZE_MAX. Returns 0 or -ENOMEM. */
int ma_wrong_add(struct ma_wrong_frees *wrong, const struct ma_account *account,
                 const struct ma_wrong_free *one, size_t *kept);

/* A thread was given a block: tie it to one of the latest MA_WRONG_EARLY of the kept, if
 * another thread freed its address within `window` ticks before. */
void ma_wrong_tie(struct ma_wrong_frees *wrong, const struct ma_process *process, uint64_t address,
                  uint64_t ticks, uint32_t thread, uint64_t window);

/* The free that is tied to this block, which has never been freed, or NULL. */
struct ma_wrong_free *ma_wrong_tied(struct ma_wrong_frees *wrong, const struct ma_process *process,
                                    const struct ma_block *block, uint64_t window);

/* The stack of call number `call` of the stream, or, where the program aborted after it, of
 * the abort: kept if that was a wrong free. */
void ma_wrong_tell(struct ma_wrong_frees *wrong, uint32_t stream, uint64_t call, uint32_t stack,
                   bool aborted);

void ma_wrong_free_all(struct ma_wrong_frees *wrong);

#endif
