/* SPDX-License-Identifier: MIT
 *
 * The replay; see ma_replay.h. Events come in runs of one stream, so all that
 * depends on process and thread is found once a run, sums that nobody sees
 * before its end are added to the totals there; and since what follows is
 * decoded already, the memory that an event will need is asked for some events
 * ahead.
 */
#include "ma_replay.h"

#include <errno.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_replay_process.h"

#define SLOW __attribute__((noinline)) /* seldom called: kept out of the loop over a run */

#define REPAIR_NS 20000u /* clocks of two processors differ by less */
#define PLACES_AHEAD 48  /* events by which prefetches run ahead */
#define THINGS_AHEAD 24
#define PREFETCH_FROM 4096 /* blocks in the table; fewer stay near by themselves */

void ma_replay_init(struct ma_replay *replay, struct ma_trace *trace)
{
    memset(replay, 0, sizeof *replay);
    replay->trace = trace;
    replay->peak_epoch = 1;
    replay->retire_due = UINT64_MAX;
}

void ma_replay_free(struct ma_replay *replay)
{
    for (size_t i = 0; i < replay->n_accounts; i++)
        ma_account_free(replay->accounts[i]);
    free(replay->accounts);
    free(replay->ending);
    free(replay->left);
    free(replay->states);
    ma_wrong_free_all(&replay->wrong);
    ma_pids_free(&replay->pids);
}

/* States for all streams that the trace knows by now. */
static bool reserve_states(struct ma_replay *replay)
{
    return MA_HOLDS(replay->states, replay->trace->n_streams, replay->n_states);
}

/* The run at hand: what its events have in common, and their sums. */
struct turn {
    struct ma_replay *replay;
    struct ma_account *account;
    struct ma_stream_state *stream, *thread; /* the stream's own, and its thread's */
    const struct ma_run *run;
    struct {
        uint64_t calls, allocations, allocated_bytes, usable_bytes;
        uint64_t frees, freed_bytes, temporary;
    } sums;
};

/* Of the latest call, among those of its stream. */
static uint64_t call_number(const struct turn *turn)
{
    return turn->stream->events + turn->sums.calls;
}

/* For observers. */
static void describe_event(const struct turn *turn, const struct ma_event *event,
                           struct ma_seen *seen)
{
    ma_replay_describe(turn->replay, turn->account, turn->run, event->time, seen);
    seen->function = event->function;
    seen->alignment =
        event->type == MA_EVENT_ALLOC && event->aligned ? (uint64_t)1 << (event->aligned - 1) : 0;
    seen->freed_by = event->type == MA_EVENT_REALLOC ? event->stack : 0;
    seen->made = turn->thread->allocations + turn->sums.allocations;
}

static struct ma_seen_block seen_block(const struct turn *turn, const struct ma_block *block)
{
    const struct ma_account *account = turn->account;
    return (struct ma_seen_block){
        .address = block->address,
        .size = block->size,
        .usable = block->usable,
        .ticks = block->time,
        .ns = ma_clock_ns(turn->replay->trace, account->process, block->time),
        .stack = block->site == MA_NONE ? 0 : account->stacks[block->site],
        .site = block->site,
        .thread = block->thread,
    };
}

SLOW static int notify_freed(const struct turn *turn, const struct ma_event *event,
                             const struct ma_block *block, bool temporary, bool unseen)
{
    struct ma_seen seen;
    struct ma_seen_block old = seen_block(turn, block);
    old.temporary = temporary;
    old.unseen = unseen;
    describe_event(turn, event, &seen);
    return ma_observers_freed(&turn->replay->observers, &seen, &old);
}

SLOW static int notify_allocated(const struct turn *turn, const struct ma_event *event,
                                 const struct ma_block *block)
{
    struct ma_seen seen;
    struct ma_seen_block new = seen_block(turn, block);
    describe_event(turn, event, &seen);
    return ma_observers_allocated(&turn->replay->observers, &seen, &new);
}

SLOW static int notify_resized(const struct turn *turn, const struct ma_event *event,
                               const struct ma_block *from, const struct ma_block *block)
{
    struct ma_seen seen;
    struct ma_seen_block old, new = seen_block(turn, block);
    if (from)
        old = seen_block(turn, from);
    describe_event(turn, event, &seen);
    return ma_observers_resized(&turn->replay->observers, &seen, from ? &old : NULL, &new);
}

static inline bool is_observed(const struct turn *turn)
{
    return __builtin_expect(turn->replay->observers.n != 0, 0);
}

/* A site is about to change. */
static inline void save_site(const struct ma_replay *replay, struct ma_account *account,
                             struct ma_alloc_site *site)
{
    ma_replay_touch(replay, account, site);
    if (__builtin_expect(site->slot != account->history.slot, 0))
        ma_history_catch_up(account, site);
}

/* A block has ended and none replaced it at once: the floor may be lower. */
static inline void settle_floor(const struct turn *turn, uint32_t index)
{
    if (__builtin_expect(index == MA_NONE, 0))
        return;
    struct ma_alloc_site *site = &turn->account->sites[index];
    if (site->live_bytes < site->floor)
        site->floor = site->live_bytes;
}

/* A block begins in the books. */
static inline void credit(const struct turn *turn, struct ma_alloc_site *site, uint64_t size)
{
    struct ma_replay *replay = turn->replay;
    struct ma_account *account = turn->account;
    save_site(replay, account, site);
    site->live_bytes += size;
    site->live_blocks++;
    account->live_bytes += size;
    account->live_blocks++;
    replay->live_bytes += size;
    replay->live_blocks++;
}

/* A block ends in the books. */
static inline void debit(const struct turn *turn, struct ma_alloc_site *site, uint64_t size)
{
    struct ma_replay *replay = turn->replay;
    struct ma_account *account = turn->account;
    save_site(replay, account, site);
    site->live_bytes -= size;
    site->live_blocks--;
    account->live_bytes -= size;
    account->live_blocks--;
    if (!account->gone) {
        replay->live_bytes -= size;
        replay->live_blocks--;
    }
}

/* The joint heap has grown: note a new peak. */
static inline void note_peak(const struct turn *turn, const struct ma_event *event)
{
    struct ma_replay *replay = turn->replay;
    if (replay->live_bytes <= replay->peak_bytes)
        return;
    replay->peak_bytes = replay->live_bytes;
    replay->peak_blocks = replay->live_blocks;
    replay->peak_ticks = event->time;
    replay->peak_process = turn->run->process;
    replay->peak_epoch++;
}

static inline void count_free(struct turn *turn, uint64_t size)
{
    turn->sums.frees++;
    turn->sums.freed_bytes += size;
}

/* The run is over. */
static void add_sums(const struct turn *turn)
{
    struct ma_totals *totals = &turn->replay->totals;
    struct ma_account *account = turn->account;
    turn->stream->events += turn->sums.calls;
    turn->thread->allocations += turn->sums.allocations;
    turn->thread->allocated_bytes += turn->sums.allocated_bytes;
    account->allocations += turn->sums.allocations;
    account->allocated_bytes += turn->sums.allocated_bytes;
    account->frees += turn->sums.frees;
    account->freed_bytes += turn->sums.freed_bytes;
    totals->events += turn->sums.calls;
    totals->allocations += turn->sums.allocations;
    totals->allocated_bytes += turn->sums.allocated_bytes;
    totals->usable_bytes += turn->sums.usable_bytes;
    totals->frees += turn->sums.frees;
    totals->freed_bytes += turn->sums.freed_bytes;
    totals->temporary += turn->sums.temporary;
}

/* The child of a fork ends its copy of a block of its parent's. */
static void end_inherited(struct turn *turn, uint64_t size)
{
    count_free(turn, size);
    turn->replay->totals.inherited_frees++;
    turn->replay->totals.inherited_freed_bytes += size;
}

/* A block that is known ends, between two moments: by free, or unseen. It is out of
 * the live set. */
static inline int end_block(struct turn *turn, const struct ma_block *block, uint64_t leaves,
                            uint64_t time)
{
    struct ma_account *account = turn->account;
    if (__builtin_expect(block->site == MA_NONE, 0)) {
        end_inherited(turn, block->size);
        return 0;
    }
    count_free(turn, block->size);
    debit(turn, &account->sites[block->site], block->size);
    return __builtin_expect(account->inherits.n_forks != 0, 0)
               ? ma_inherit_keep(account, block, leaves, time)
               : 0;
}

/* Take the block at address out of what the process sees: its own or its copy
 * of its parent's. 1, 0 if there is none, or -ENOMEM. */
static inline int take_block(const struct turn *turn, uint64_t address, uint64_t time,
                             struct ma_block *block)
{
    struct ma_account *account = turn->account;
    if (__builtin_expect(ma_heap_take(&account->heap, address, block), 1))
        return 1;
    if (!account->inherits.parent || !ma_inherit_find(account, address, block))
        return 0;
    int result = ma_inherit_drop(account, address, time);
    return result < 0 ? result : 1;
}

/* A free matches nothing: keep it, and see if the block begins in a moment, or has begun
 * since a realloc did. `address` is the block's, `time` when it ended. */
SLOW static int note_wrong(struct turn *turn, const struct ma_event *event, uint64_t address,
                           uint64_t time)
{
    struct ma_replay *replay = turn->replay;
    const uint64_t window = ma_clock_ticks(turn->account->process, REPAIR_NS);
    const struct ma_wrong_free one = {
        .process = turn->run->process,
        .address = address,
        .ticks = time,
        .call = call_number(turn),
        .stream = turn->run->stream->index,
        .thread = turn->run->stream->thread,
        .stack = event->type == MA_EVENT_REALLOC ? event->stack : 0,
        .function = event->function,
    };
    struct ma_block block;
    size_t kept;
    if (turn->account->process->has_unseen) {
        replay->trace->audit.unseen_frees++;
        return 0; /* its beginning was in a time without recording */
    }
    replay->trace->audit.unmatched_frees++;
    if (ma_wrong_add(&replay->wrong, turn->account, &one, &kept) < 0)
        return -ENOMEM;
    turn->account->is_wrong |= kept != SIZE_MAX;
    if (__builtin_add_overflow(time, window, &replay->wrong.early_until))
        replay->wrong.early_until = UINT64_MAX;
    if (event->type == MA_EVENT_REALLOC && ma_heap_find(&turn->account->heap, address, &block) &&
        block.time >= time)
        ma_wrong_tie(&replay->wrong, one.process, address, block.time, block.thread, window);
    if (!is_observed(turn) || kept == SIZE_MAX)
        return 0;
    struct ma_seen seen;
    describe_event(turn, event, &seen);
    return ma_observers_wrong(&replay->observers, &seen, &replay->wrong.all[kept], kept);
}

/* A wrong free was the early one of this block. */
SLOW static void make_good(struct ma_replay *replay, struct ma_wrong_free *one)
{
    one->good = true;
    replay->trace->audit.unmatched_frees--;
}

/* An allocation at a live address: its free was not seen, or comes late. */
SLOW static int repair(struct turn *turn, const struct ma_event *event,
                       const struct ma_block *former)
{
    struct ma_replay *replay = turn->replay;
    struct ma_account *account = turn->account;
    int result = end_block(turn, former, event->time, event->time);
    settle_floor(turn, former->site);
    if (result == 0 && is_observed(turn))
        result = notify_freed(turn, event, former, false, true);
    if (result < 0 ||
        (former->site == MA_NONE &&
         (account->inherits_loosely || ma_inherit_is_doubtful(account, event->address))))
        return result; /* explained: the parent had freed it before the fork */
    if (former->time < account->process->unseen_before) {
        replay->trace->audit.unseen_ends++; /* in a time without recording */
        return 0;
    }
    replay->trace->audit.order_repairs++;
    uint64_t window = ma_clock_ticks(account->process, REPAIR_NS);
    struct ma_wrong_free *early = ma_wrong_tied(&replay->wrong, account->process, former, window);
    if (early) {
        make_good(replay, early);
        return 0; /* its free has been seen */
    }
    if (__builtin_add_overflow(event->time, window, &replay->repair_until))
        replay->repair_until = UINT64_MAX;
    replay->repairs[replay->n_repairs++ % MA_REPAIRS] = (struct ma_repair){
        .account = account,
        .address = event->address,
        .time = event->time,
        .thread = turn->run->stream->thread,
    };
    return 0;
}

/* True if this free is the one that an earlier repair made up for. */
static bool was_repaired(const struct turn *turn, const struct ma_event *event)
{
    struct ma_replay *replay = turn->replay;
    if (event->time > replay->repair_until || !replay->n_repairs)
        return false;
    for (unsigned i = 0; i < MA_REPAIRS; i++) {
        struct ma_repair *one = &replay->repairs[i];
        if (one->account == turn->account && one->address == event->address &&
            one->thread != turn->run->stream->thread && event->time >= one->time) {
            one->account = NULL;
            return true;
        }
    }
    return false;
}

static inline int begin_block(struct turn *turn, const struct ma_event *event,
                              struct ma_block *block)
{
    struct ma_replay *replay = turn->replay;
    struct ma_account *account = turn->account;
    struct ma_alloc_site *site = ma_account_site(account, event->stack);
    if (!site)
        return -ENOMEM;
    struct ma_block former;
    *block = (struct ma_block){
        .address = event->address,
        .size = event->size,
        .usable = event->usable,
        .time = event->time,
        .site = (uint32_t)(site - account->sites),
        .thread = turn->run->stream->thread,
    };
    int result = ma_heap_put(&account->heap, block, &former);
    if (__builtin_expect(result == 0 && account->inherits.parent, 0) &&
        ma_inherit_find(account, event->address, &former))
        result = ma_inherit_drop(account, event->address, event->time) < 0 ? -ENOMEM : 1;
    if (__builtin_expect(result != 0, 0) &&
        (result < 0 || (result = repair(turn, event, &former)) < 0))
        return result;
    if (__builtin_expect(account->gone, 0) &&
        (result = ma_replay_return(replay, account, turn->run, event->time)) < 0)
        return result;
    credit(turn, site, event->size);
    ma_account_note_most(account, block->site, event->time);
    site->allocations++;
    site->allocated_bytes += event->size;
    turn->sums.allocations++;
    turn->sums.allocated_bytes += event->size;
    turn->sums.usable_bytes += event->usable;
    turn->thread->last_site = block->site;
    turn->thread->last_block = event->address;
    note_peak(turn, event);
    if (__builtin_expect(event->time <= replay->wrong.early_until, 0))
        ma_wrong_tie(&replay->wrong, turn->run->process, event->address, event->time,
                     turn->run->stream->thread, ma_clock_ticks(account->process, REPAIR_NS));
    return 0;
}

static inline int on_alloc(struct turn *turn, const struct ma_event *event)
{
    struct ma_block block;
    turn->replay->totals.calls[event->function]++;
    turn->sums.calls++;
    int result = begin_block(turn, event, &block);
    if (result == 0 && is_observed(turn))
        result = notify_allocated(turn, event, &block);
    return result;
}

static inline int on_free(struct turn *turn, const struct ma_event *event)
{
    struct ma_replay *replay = turn->replay;
    struct ma_block block;
    replay->totals.calls[event->function]++;
    turn->sums.calls++;
    if (__builtin_expect(event->time <= replay->repair_until, 0) && was_repaired(turn, event))
        return 0;
    int result = take_block(turn, event->address, event->time, &block);
    if (__builtin_expect(result <= 0, 0)) {
        if (result == 0 && turn->account->inherits_loosely)
            end_inherited(turn, 0);
        else if (result == 0)
            result = note_wrong(turn, event, event->address, event->time);
        return result;
    }
    result = end_block(turn, &block, event->time, event->time);
    if (result < 0)
        return result;
    settle_floor(turn, block.site);
    bool temporary = false;
    if (__builtin_expect(block.site != MA_NONE, 1)) {
        struct ma_stream_state *thread = &replay->states[block.thread];
        bool latest = thread->last_block == event->address;
        temporary =
            latest & (event->function != MLF_FN_realloc) & (thread->last_site == block.site);
        turn->account->sites[block.site].temporary += temporary;
        turn->sums.temporary += temporary;
        thread->last_block = latest ? 0 : thread->last_block;
    }
    return is_observed(turn) ? notify_freed(turn, event, &block, temporary, false) : 0;
}

/* The old block leaves the address map but stays in the books until the end. */
static inline int on_realloc_begin(const struct turn *turn, const struct ma_event *event)
{
    int result = take_block(turn, event->old_address, event->time, &turn->stream->moving);
    turn->stream->is_moving = result > 0 ? 1 + turn->account->retired : 0;
    return result < 0 ? result : 0;
}

static inline int on_realloc(struct turn *turn, const struct ma_event *event)
{
    struct ma_replay *replay = turn->replay;
    struct ma_stream_state *stream = turn->stream;
    struct ma_block block;
    int result = 0;
    bool moved = stream->is_moving == 1 + turn->account->retired;
    replay->totals.calls[event->function]++;
    replay->totals.reallocations++;
    turn->sums.calls++;
    if (__builtin_expect(moved, 1)) {
        result = end_block(turn, &stream->moving, event->begin, event->time);
        stream->is_moving = 0;
    } else if (turn->account->inherits_loosely) {
        end_inherited(turn, 0);
    } else {
        result = note_wrong(turn, event, event->old_address, event->begin);
    }
    if (result < 0 || (result = begin_block(turn, event, &block)) < 0)
        return result;
    if (moved)
        settle_floor(turn, stream->moving.site);
    return is_observed(turn) ? notify_resized(turn, event, moved ? &stream->moving : NULL, &block)
                             : 0;
}

static int on_failed(struct turn *turn, const struct ma_event *event)
{
    turn->replay->totals.failed++;
    turn->sums.calls++;
    if (!is_observed(turn))
        return 0;
    struct ma_seen seen;
    describe_event(turn, event, &seen);
    return ma_observers_failed(&turn->replay->observers, &seen,
                               &(struct ma_seen_failure){.size = event->size,
                                                         .stack = event->stack,
                                                         .thread = seen.thread});
}

/* Neither ALLOC nor FREE. */
SLOW static int apply_other(struct turn *turn, const struct ma_event *event)
{
    if (event->type == MA_EVENT_RECORD && event->function == MLF_REC_STACK)
        return ma_replay_stack(turn->replay, turn->account, turn->run, event,
                               turn->stream ? call_number(turn) : 0);
    switch ((enum ma_event_type)event->type) {
    case MA_EVENT_REALLOC_BEGIN: return on_realloc_begin(turn, event);
    case MA_EVENT_REALLOC: return on_realloc(turn, event);
    case MA_EVENT_FAILED: return on_failed(turn, event);
    default: return ma_replay_process_event(turn->replay, turn->account, turn->run, event);
    }
}

/* Prefetch the memory of an event in two steps: first the slots that lead to its
 * block and site, then these. A processor predicts badly if an event allocates or
 * frees, so both do nearly the same here; a useless prefetch does no harm. */
static inline void prefetch_places(const struct ma_account *account, const struct ma_event *event)
{
    ma_account_prefetch(account, event->stack);
    ma_heap_prefetch(&account->heap, event->address, event->type == MA_EVENT_ALLOC);
}

static inline void prefetch_things(const struct ma_account *account, const struct ma_event *event)
{
    const struct ma_block *slot = ma_heap_slot(&account->heap, event->address);
    const bool frees = event->type == MA_EVENT_FREE;
    uint32_t site = frees ? slot->site : ma_account_likely(account, event->stack);
    site = site == MA_HEAP_FREE ? 0 : site;
    ma_prefetch(&account->sites[site]);
    ma_prefetch(&account->most[site]);
    if (__builtin_expect(slot->address != event->address, 0) && frees)
        ma_heap_prefetch_entry(&account->heap, event->address);
}

/* The first events of a batch, all at once: their misses overlap. */
static void prefetch_first(const struct ma_account *account, const struct ma_run *run)
{
    for (size_t i = 0; i < PLACES_AHEAD && i < run->n_ahead; i++)
        prefetch_places(account, &run->events[i]);
    for (size_t i = 0; i < THINGS_AHEAD && i < run->n_ahead; i++)
        prefetch_things(account, &run->events[i]);
}

static inline bool is_large(const struct ma_account *account)
{
    return account->heap.n_old >= PREFETCH_FROM && account->heap.nursery;
}

/* A run of a thread's events. */
static int apply_run(struct turn *turn)
{
    struct ma_account *account = turn->account;
    const struct ma_run *run = turn->run;
    const struct ma_event *event = run->events, *const end = event + run->n;
    const struct ma_event *last_ahead = event;
    if (is_large(account)) {
        if (run->fresh)
            prefetch_first(account, run);
        if (run->n_ahead > PLACES_AHEAD)
            last_ahead = event + (run->n_ahead - PLACES_AHEAD);
    }
    for (; event < end; event++) {
        if (event < last_ahead) {
            prefetch_places(account, event + PLACES_AHEAD);
            prefetch_things(account, event + THINGS_AHEAD);
        }
        if (__builtin_expect(event->time >= account->history.until, 0))
            ma_history_next_slot(account, event->time,
                                 account->allocations + turn->sums.allocations);
        int result = event->type == MA_EVENT_FREE    ? on_free(turn, event)
                     : event->type == MA_EVENT_ALLOC ? on_alloc(turn, event)
                                                     : apply_other(turn, event);
        if (__builtin_expect(result < 0, 0))
            return result;
    }
    return 0;
}

int ma_replay_run(struct ma_replay *replay, const struct ma_run *run)
{
    struct ma_account *account = ma_replay_account(replay, run->process);
    if (!account || !reserve_states(replay))
        return -ENOMEM;
    struct turn turn = {.replay = replay, .account = account, .run = run};
    int result = 0;
    if (replay->n_ending && (result = ma_replay_settle(replay, account, run)) < 0)
        return result;
    if (run->events[0].time >= replay->retire_due &&
        (result = ma_replay_retire_due(replay, run->events[0].time)) < 0)
        return result;
    if (!run->stream) {
        for (size_t i = 0; result == 0 && i < run->n; i++)
            result = apply_other(&turn, &run->events[i]);
        return result;
    }
    turn.stream = &replay->states[run->stream->index];
    turn.thread = &replay->states[run->stream->thread];
    result = apply_run(&turn);
    if (result < 0)
        return result;
    add_sums(&turn);
    const struct ma_event *last = &run->events[run->n - 1];
    if (last->type == MA_EVENT_RECORD && run->n > 1)
        last--;
    if (last->type != MA_EVENT_RECORD) {
        replay->end_process = run->process;
        replay->end_ticks = last->time;
    }
    return 0;
}

/* End a block whose free came just before it. */
SLOW static int end_tied(struct ma_replay *replay, const struct ma_wrong_free *one)
{
    struct ma_account *account = replay->accounts[one->process->index];
    struct ma_event event = {.type = MA_EVENT_FREE,
                             .time = one->tied,
                             .address = one->address,
                             .function = one->function};
    const struct ma_run run = {
        .events = &event,
        .n = 1,
        .process = account->process,
        .stream = replay->trace->streams[one->stream],
    };
    struct turn turn = {
        .replay = replay,
        .account = account,
        .stream = &replay->states[one->stream],
        .thread = &replay->states[one->thread],
        .run = &run,
    };
    struct ma_block block;
    if (!ma_heap_take(&account->heap, one->address, &block))
        return 0;
    int result = end_block(&turn, &block, event.time, event.time);
    settle_floor(&turn, block.site);
    if (result == 0 && is_observed(&turn))
        result = notify_freed(&turn, &event, &block, false, false);
    add_sums(&turn);
    return result;
}

/* Blocks that were never freed, but by a free that came just before them. */
static int settle_ties(struct ma_replay *replay)
{
    int result = 0;
    for (unsigned i = 0; i < replay->wrong.n_ties && result == 0; i++) {
        struct ma_wrong_free *one = &replay->wrong.all[replay->wrong.ties[i]];
        const struct ma_account *account = replay->accounts[one->process->index];
        struct ma_block block;
        if (one->good || !ma_heap_find(&account->heap, one->address, &block) ||
            ma_wrong_tied(&replay->wrong, one->process, &block,
                          ma_clock_ticks(account->process, REPAIR_NS)) != one)
            continue;
        replay->trace->audit.order_repairs++;
        make_good(replay, one);
        result = end_tied(replay, one);
    }
    return result;
}

int ma_replay_finish(struct ma_replay *replay)
{
    if (settle_ties(replay) < 0)
        return -ENOMEM;
    return ma_observers_finished(&replay->observers, replay);
}

void ma_replay_at_peak(const struct ma_replay *replay, const struct ma_account *account,
                       const struct ma_alloc_site *site, uint64_t *bytes, uint64_t *blocks)
{
    if (site->peak_epoch == replay->peak_epoch) {
        *bytes = site->peak_bytes;
        *blocks = site->peak_blocks;
    } else {
        *bytes = account->gone ? 0 : site->live_bytes;
        *blocks = account->gone ? 0 : site->live_blocks;
    }
}
