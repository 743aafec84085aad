/* SPDX-License-Identifier: MIT
 *
 * The replay: takes the merged events one by one and keeps the books: live
 * sets, uses per stack, totals, the joint peak, the timeline. The joint heap
 * is that of all processes together; a process leaves it when its end is known
 * and another goes on. Inherited blocks are in no sum: they are their
 * parent's; a child's free of one only ends its copy.
 */
#ifndef MA_REPLAY_H
#define MA_REPLAY_H

#include "ma_account.h"
#include "ma_merge.h"
#include "ma_timeline.h"

#define MA_REPAIRS 16
#define MA_INHERITED_MAX ((uint64_t)1 << 24) /* copies of blocks held for children */

/* What a stream, and the thread it stands for, is in the middle of. */
struct ma_worker {
    struct ma_block moving; /* a realloc's old block, between its two times */
    bool is_moving;
    uint32_t last_use;      /* MA_NONE: its thread's last block is gone */
    uint64_t last_block;    /* address of the thread's latest allocation */
    uint64_t events, allocations, allocated_bytes;
};

struct ma_repair {
    const struct ma_account *account;
    uint64_t address, time;
    uint32_t thread; /* that allocated the block now at the address */
};

struct ma_mark {
    const struct ma_process *process;
    uint64_t ticks, kind, live_bytes, live_blocks;
    char *name;
};
#define MA_MARKS 4096 /* kept */

struct ma_totals {
    uint64_t calls[MLF_FN_COUNT];
    uint64_t failed;
    uint64_t events;
    uint64_t allocations, frees, reallocations;
    uint64_t allocated_bytes, freed_bytes, usable_bytes;
    uint64_t inherited_frees, inherited_freed_bytes;
    uint64_t temporary;
};

struct ma_replay {
    struct ma_trace *trace;
    struct ma_account **accounts; /* by process index; NULL: no event yet */
    size_t n_accounts;
    struct ma_worker *workers; /* by stream index */
    size_t n_workers;
    struct ma_map account_of_pid;
    struct ma_account **ending; /* those whose end was told, to leave the joint heap */
    size_t n_ending, ending_capacity;
    uint64_t inherited; /* copies of blocks held for children, of all accounts */

    struct ma_totals totals;
    uint64_t live_bytes, live_blocks; /* joint */
    uint64_t peak_bytes, peak_blocks, peak_ticks, peak_epoch;
    struct ma_process *peak_process;
    uint64_t resident; /* sum of the latest samples; has_resident */
    bool has_resident;
    struct ma_process *end_process; /* of the latest event */
    uint64_t end_ticks;
    struct ma_timeline timeline;
    struct ma_repair repairs[MA_REPAIRS];
    unsigned n_repairs;    /* ever */
    uint64_t repair_until; /* ticks: frees up to then may be those made up for */
    struct ma_mark *marks;
    size_t n_marks, mark_capacity;
};

void ma_replay_init(struct ma_replay *replay, struct ma_trace *trace);
void ma_replay_free(struct ma_replay *replay);

/* Apply one event. Returns 0 or -ENOMEM. */
int ma_replay_event(struct ma_replay *replay, const struct ma_merged *merged);

/* All events were seen: finish the timeline. */
void ma_replay_finish(struct ma_replay *replay);

/* What a use held at the joint peak. */
void ma_replay_at_peak(const struct ma_replay *replay, const struct ma_account *account,
                       const struct ma_use *use, uint64_t *bytes, uint64_t *blocks);

#endif
