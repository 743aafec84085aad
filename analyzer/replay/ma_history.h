/* SPDX-License-Identifier: MIT
 *
 * The bytes of each stack over time, in a bounded number of numbers: the life
 * of a process is cut into at most MA_SLOTS slots of 2^shift ticks, and of each
 * slot a stack keeps the least bytes it held there (its floor). A cache that is
 * emptied, a queue, a loop's buffers touch their floor again and again; only
 * what is never given back raises it. When the slots are used up they become
 * twice as wide, and of two floors the lower stays.
 *
 * Kept by the replay in every pass, so it has to cost next to nothing: one
 * comparison an event finds whether a slot has ended, and a stack's floors are
 * written only when it changes for the first time in a slot. Stacks that were
 * active in one slot only have no array. Memory: 256 bytes for each of the
 * others. The history is dropped if memory is short, and said to be.
 */
#ifndef MA_HISTORY_H
#define MA_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ma_account;
struct ma_alloc_site;

#define MA_SLOTS 64

struct ma_history {
    uint64_t origin, until;    /* ticks: of the process's start, or of the first event
                                  if that is not known; where the open slot ends (0: none yet) */
    unsigned shift;            /* a slot is 2^shift ticks */
    uint32_t slot;             /* the open one */
    float (*floors)[MA_SLOTS]; /* those of one site after the other */
    size_t n_floors, floor_capacity;
    uint32_t *floors_of; /* by site: 1 + index in floors; 0: all is in the site itself */
    size_t n_floors_of;
    bool failed; /* memory was short: nothing is known */
};

/* The slow halves of the functions below. */
void ma_history_next_slot(struct ma_account *account, uint64_t ticks);
void ma_history_catch_up(struct ma_account *account, struct ma_alloc_site *site);

void ma_history_free(struct ma_history *history);

/* The floors of a site from the process's start to `end` (ticks), in
 * `floors`: its slots become the result, their width in ticks *width. 0 if
 * nothing is known. Changes nothing, so it may be asked during the pass. */
unsigned ma_history_read(const struct ma_account *account, const struct ma_alloc_site *site,
                         uint64_t end, double floors[MA_SLOTS], uint64_t *width);

#endif
