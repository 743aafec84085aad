/* SPDX-License-Identifier: MIT
 *
 * The replay: takes the merged events, a run at a time, and keeps the books:
 * live sets, sites per stack, totals, the joint peak; and tells observers. The
 * joint heap is that of all processes together; a process leaves it when its
 * end is known and another goes on. Inherited blocks are in no sum: they are
 * their parent's; a child's free of one only ends its copy.
 *
 * Memory: live blocks (ma_heap.h), distinct stacks (struct ma_alloc_site), streams
 * (struct ma_stream_state), processes; nothing for events.
 */
#ifndef MA_REPLAY_H
#define MA_REPLAY_H

#include "ma_account.h"
#include "ma_identity.h"
#include "ma_merge.h"
#include "ma_observer.h"
#include "ma_wrong.h"

#define MA_REPAIRS 16

/* The replay's state of a stream, and of the thread that it stands for
 * (ma_stream.thread). */
struct ma_stream_state {
    /* of the stream */
    struct ma_block moving; /* a realloc's old block, between its two times; its site is
                             * MA_NONE: an inherited one */
    uint64_t events;
    uint8_t is_moving; /* 0: there is none; else 1, and 1 more if its process had been
                        * retired by then: a site from before means nothing after */
    /* of the thread */
    uint32_t last_site;  /* of its latest allocation */
    uint64_t last_block; /* the address of that; 0: it is gone */
    uint64_t allocations, allocated_bytes;
};

struct ma_repair {
    const struct ma_account *account;
    uint64_t address, time;
    uint32_t thread; /* that allocated the block now at the address */
};

struct ma_mark {
    const struct ma_process *process;
    uint64_t ticks, kind; /* enum mlf_mark, or MA_MARK_PRINT */
    const char *name;
};
#define MA_MARK_PRINT ((uint64_t)1 << 32) /* a line of text: a moment, and no border */

/* A process that has left, and is to be retired if it does not come back. */
struct ma_left {
    struct ma_account *account;
    uint64_t due; /* ticks */
};

struct ma_totals {
    uint64_t calls[MLF_FN_COUNT];
    uint64_t failed;
    uint64_t events;
    uint64_t allocations, frees, reallocations;
    uint64_t allocated_bytes, freed_bytes, usable_bytes;
    uint64_t inherited_frees, inherited_freed_bytes;
    uint64_t temporary;
};

/* The kernel's numbers of all processes that have not left. */
struct ma_memory {
    uint64_t virtual_bytes, resident, shared;
};

struct ma_replay {
    struct ma_trace *trace;
    struct ma_account **accounts; /* by process index; NULL: no event yet */
    size_t n_accounts;
    struct ma_stream_state *states; /* by stream index */
    size_t n_states;
    struct ma_pids pids;        /* index of the latest account */
    struct ma_account **ending; /* those whose end was told, to leave the joint heap */
    size_t n_ending, ending_capacity;
    struct ma_observers observers;
    /* Takes what a process that is over leaves behind, and empties its account: 0 or
     * -ENOMEM. The caller's; NULL: accounts stay. */
    int (*retire)(void *context, struct ma_account *account);
    void *retire_context;
    struct ma_left *left; /* [left_at, n_left), in the order of leaving */
    size_t left_at, n_left, left_capacity;
    uint64_t retire_due; /* ticks: of the first of them; none: UINT64_MAX */

    struct ma_totals totals;
    uint64_t live_bytes, live_blocks; /* joint */
    uint64_t peak_bytes, peak_blocks, peak_ticks, peak_epoch;
    struct ma_process *peak_process;
    uint64_t resident; /* sum of the latest samples; has_resident */
    bool has_resident;
    uint64_t virtual_bytes, shared;   /* of the same */
    struct ma_memory at_end, at_peak; /* by the latest sample, and the first at or after the peak,
                                       * or the latest; has_resident */
    uint64_t at_peak_epoch;           /* of peak_epoch: which peak that is */
    struct ma_process *end_process;   /* of the latest event */
    uint64_t end_ticks;
    struct ma_repair repairs[MA_REPAIRS];
    unsigned n_repairs;    /* ever */
    uint64_t repair_until; /* ticks: frees up to then may be those made up for */
    struct ma_wrong_frees wrong;
};

void ma_replay_init(struct ma_replay *replay, struct ma_trace *trace);
void ma_replay_free(struct ma_replay *replay);

/* Apply a run of events. Returns 0 or -ENOMEM. */
int ma_replay_run(struct ma_replay *replay, const struct ma_run *run);

/* All events were seen: tell observers. Returns 0 or -ENOMEM. */
int ma_replay_finish(struct ma_replay *replay);

/* The live bytes and blocks of a site at the joint peak. */
void ma_replay_at_peak(const struct ma_replay *replay, const struct ma_account *account,
                       const struct ma_alloc_site *site, uint64_t *bytes, uint64_t *blocks);

#endif
