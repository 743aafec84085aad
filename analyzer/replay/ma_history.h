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
 * active in one slot only have no array. Memory: 512 bytes for each of the
 * others. The history is dropped if memory is short, and said to be.
 *
 * Beside the floors, how much was done by the end of each slot: allocations of the
 * stack, and of the whole process. By that a program's work is a clock of its own.
 */
#ifndef MA_HISTORY_H
#define MA_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ma_account;
struct ma_alloc_site;

#define MA_SLOTS 64

struct ma_slots { /* of one site, or of what was read of it */
    float floors[MA_SLOTS];
    float made[MA_SLOTS]; /* allocations up to the end of the slot */
};

struct ma_history {
    uint64_t origin, until;  /* ticks: of the process's start, or of the first event
                                if that is not known; where the open slot ends (0: none yet) */
    unsigned shift;          /* a slot is 2^shift ticks */
    uint32_t slot;           /* the open one */
    uint64_t work[MA_SLOTS]; /* allocations of the process up to the end of a slot, of those
                                before the open one */
    struct ma_slots *slots;  /* those of one site after the other */
    size_t n_slots, slot_capacity;
    uint32_t *slots_of; /* by site: 1 + index in slots; 0: all is in the site itself */
    size_t n_slots_of;
    bool failed; /* memory was short: nothing is known */
};

/* The slow halves of what the replay does: an event at `ticks` lies behind the open slot,
 * before which the process had made so many allocations; a site is about to change for
 * the first time in the open slot. */
void ma_history_next_slot(struct ma_account *account, uint64_t ticks, uint64_t made);
void ma_history_catch_up(struct ma_account *account, struct ma_alloc_site *site);

void ma_history_free(struct ma_history *history);

struct ma_site_history {
    unsigned n;     /* slots from the process's start to the end; 0: nothing is known */
    uint64_t width; /* of one, in ticks: a power of two */
    struct ma_slots slots;
};

/* The history of a site up to `end` (ticks). Changes nothing, so it may be asked
 * during the pass. */
void ma_history_read(const struct ma_account *account, const struct ma_alloc_site *site,
                     uint64_t end, struct ma_site_history *out);

/* The log2 of the width of ma_history_read. */
unsigned ma_history_shift(const struct ma_account *account, uint64_t end);

/* The allocations of the whole process up to `ticks`, to the precision of a slot. */
double ma_history_work(const struct ma_account *account, uint64_t ticks);

#endif
