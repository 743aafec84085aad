/* SPDX-License-Identifier: MIT
 *
 * The replay; see ma_replay.h.
 */
#include "ma_replay.h"

#include <errno.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_replay_process.h"

#define REPAIR_NS 20000u /* clocks of two processors differ by less */

void ma_replay_init(struct ma_replay *replay, struct ma_trace *trace)
{
    memset(replay, 0, sizeof *replay);
    replay->trace = trace;
    replay->peak_epoch = 1;
    ma_timeline_init(&replay->timeline);
}

void ma_replay_free(struct ma_replay *replay)
{
    ma_timeline_free(&replay->timeline);
    for (size_t i = 0; i < replay->n_accounts; i++)
        ma_account_free(replay->accounts[i]);
    for (size_t i = 0; i < replay->n_marks; i++)
        free(replay->marks[i].name);
    free(replay->accounts);
    free(replay->ending);
    free(replay->workers);
    free(replay->marks);
    ma_map_free(&replay->account_of_pid);
}

/* Entries for all streams that the trace knows by now. */
static struct ma_worker *worker_of(struct ma_replay *replay, uint32_t stream)
{
    if (stream >= replay->n_workers) {
        size_t n = replay->trace->n_streams + replay->trace->n_streams / 2 + 8;
        struct ma_worker *workers = realloc(replay->workers, n * sizeof *workers);
        if (!workers)
            return NULL;
        memset(workers + replay->n_workers, 0, (n - replay->n_workers) * sizeof *workers);
        replay->workers = workers;
        replay->n_workers = n;
    }
    return &replay->workers[stream];
}

/* A block begins in the books. */
static void credit(struct ma_replay *replay, struct ma_account *account, struct ma_use *use,
                   uint64_t size)
{
    ma_replay_touch(replay, account, use);
    use->live_bytes += size;
    use->live_blocks++;
    account->live_bytes += size;
    account->live_blocks++;
    replay->live_bytes += size;
    replay->live_blocks++;
}

/* A block ends in the books. */
static void debit(struct ma_replay *replay, struct ma_account *account, struct ma_use *use,
                  uint64_t size)
{
    ma_replay_touch(replay, account, use);
    use->live_bytes -= size;
    use->live_blocks--;
    account->live_bytes -= size;
    account->live_blocks--;
    if (!account->gone) {
        replay->live_bytes -= size;
        replay->live_blocks--;
    }
}

static struct ma_point moment(const struct ma_replay *replay, const struct ma_merged *merged)
{
    return (struct ma_point){
        .ticks = merged->event->time,
        .process = merged->process,
        .bytes = replay->live_bytes,
        .blocks = replay->live_blocks,
        .resident = replay->has_resident ? replay->resident : UINT64_MAX,
    };
}

/* The joint heap has changed: note a new peak, and the timeline's point. */
static void changed(struct ma_replay *replay, const struct ma_merged *merged)
{
    if (replay->live_bytes > replay->peak_bytes) {
        replay->peak_bytes = replay->live_bytes;
        replay->peak_blocks = replay->live_blocks;
        replay->peak_ticks = merged->event->time;
        replay->peak_process = merged->process;
        replay->peak_epoch++;
    }
    struct ma_point now = moment(replay, merged);
    ma_timeline_sample(&replay->timeline, &now);
}

static void count_free(struct ma_replay *replay, struct ma_account *account, uint64_t size)
{
    account->frees++;
    account->freed_bytes += size;
    replay->totals.frees++;
    replay->totals.freed_bytes += size;
}

/* The child of a fork ends its copy of a block of its parent's. */
static void end_inherited(struct ma_replay *replay, struct ma_account *account, uint64_t size)
{
    count_free(replay, account, size);
    replay->totals.inherited_frees++;
    replay->totals.inherited_freed_bytes += size;
}

/* A block that is known ends: by free, or unseen. */
static void end_block(struct ma_replay *replay, struct ma_account *account,
                      const struct ma_block *block)
{
    if (block->use == MA_NONE) {
        end_inherited(replay, account, block->size);
    } else {
        count_free(replay, account, block->size);
        debit(replay, account, &account->uses[block->use], block->size);
    }
}

/* An allocation at a live address: its free was not seen, or comes late. */
static void repair(struct ma_replay *replay, struct ma_account *account,
                   const struct ma_block *former, const struct ma_block *block)
{
    end_block(replay, account, former);
    if (former->use == MA_NONE && account->inherits_loosely)
        return; /* explained: the parent had freed it before the fork */
    replay->trace->audit.order_repairs++;
    uint64_t window = ma_clock_ticks(account->process, REPAIR_NS);
    if (__builtin_add_overflow(block->time, window, &replay->repair_until))
        replay->repair_until = UINT64_MAX;
    replay->repairs[replay->n_repairs++ % MA_REPAIRS] = (struct ma_repair){
        .account = account, .address = block->address, .time = block->time,
        .thread = block->thread,
    };
}

/* Whether this free is the one that an earlier repair made up for. */
static bool was_repaired(struct ma_replay *replay, const struct ma_account *account,
                         const struct ma_event *event, uint32_t thread)
{
    if (event->time > replay->repair_until || !replay->n_repairs)
        return false;
    for (unsigned i = 0; i < MA_REPAIRS; i++) {
        struct ma_repair *one = &replay->repairs[i];
        if (one->account == account && one->address == event->address && one->thread != thread &&
            event->time >= one->time) {
            one->account = NULL;
            return true;
        }
    }
    return false;
}

static int begin_block(struct ma_replay *replay, struct ma_account *account,
                       const struct ma_merged *merged, uint32_t *use_index)
{
    const struct ma_event *event = merged->event;
    const uint32_t thread = merged->stream->thread;
    struct ma_use *use = ma_account_use(account, event->stack);
    if (!use)
        return -ENOMEM;
    *use_index = (uint32_t)(use - account->uses);
    struct ma_block former, block = {
        .address = event->address, .size = event->size, .time = event->time,
        .use = *use_index, .thread = thread,
    };
    int result = ma_heap_put(&account->heap, &block, &former);
    if (result < 0)
        return result;
    if (result)
        repair(replay, account, &former, &block);
    if (account->gone)
        ma_replay_return(replay, account);
    credit(replay, account, use, event->size);
    if (!use->allocations++)
        use->first_time = event->time;
    use->last_time = event->time;
    use->allocated_bytes += event->size;
    account->allocations++;
    account->allocated_bytes += event->size;
    replay->totals.allocations++;
    replay->totals.allocated_bytes += event->size;
    replay->totals.usable_bytes += event->usable;
    struct ma_worker *worker = worker_of(replay, thread);
    if (!worker)
        return -ENOMEM;
    worker->last_use = *use_index;
    worker->last_block = event->address;
    worker->allocations++;
    worker->allocated_bytes += event->size;
    return 0;
}

static int watch(struct ma_replay *replay, struct ma_account *account, uint32_t index)
{
    const struct ma_use *use = &account->uses[index];
    if (use->candidate != MA_NONE || use->live_bytes < replay->timeline.threshold)
        return 0;
    return ma_timeline_watch(&replay->timeline, account, index, replay->peak_bytes);
}

static int on_alloc(struct ma_replay *replay, struct ma_account *account,
                    const struct ma_merged *merged)
{
    uint32_t use;
    replay->totals.calls[merged->event->function]++;
    int result = begin_block(replay, account, merged, &use);
    if (result < 0)
        return result;
    changed(replay, merged);
    return watch(replay, account, use);
}

static int on_free(struct ma_replay *replay, struct ma_account *account,
                   const struct ma_merged *merged)
{
    const struct ma_event *event = merged->event;
    struct ma_block block;
    replay->totals.calls[event->function]++;
    if (was_repaired(replay, account, event, merged->stream->thread))
        return 0;
    if (!ma_heap_take(&account->heap, event->address, &block)) {
        if (account->inherits_loosely)
            end_inherited(replay, account, 0);
        else
            replay->trace->audit.unmatched_frees++;
        return 0;
    }
    end_block(replay, account, &block);
    if (block.use == MA_NONE)
        return 0;
    struct ma_worker *worker = worker_of(replay, block.thread);
    if (!worker)
        return -ENOMEM;
    if (event->function != MLF_FN_realloc && worker->last_block == event->address &&
        worker->last_use == block.use) {
        account->uses[block.use].temporary++;
        replay->totals.temporary++;
    }
    if (worker->last_block == event->address)
        worker->last_block = 0;
    changed(replay, merged);
    return 0;
}

/* The old block leaves the address map but stays in the books until the end. */
static int on_realloc_begin(struct ma_replay *replay, struct ma_account *account,
                            const struct ma_merged *merged)
{
    struct ma_worker *worker = worker_of(replay, merged->stream->index);
    if (!worker)
        return -ENOMEM;
    worker->is_moving =
        ma_heap_take(&account->heap, merged->event->old_address, &worker->moving);
    return 0;
}

static int on_realloc(struct ma_replay *replay, struct ma_account *account,
                      const struct ma_merged *merged)
{
    struct ma_worker *worker = worker_of(replay, merged->stream->index);
    uint32_t use;
    if (!worker)
        return -ENOMEM;
    replay->totals.calls[merged->event->function]++;
    replay->totals.reallocations++;
    if (worker->is_moving) {
        end_block(replay, account, &worker->moving);
        worker->is_moving = false;
    } else if (account->inherits_loosely) {
        end_inherited(replay, account, 0);
    } else {
        replay->trace->audit.unmatched_frees++;
    }
    int result = begin_block(replay, account, merged, &use);
    if (result < 0)
        return result;
    changed(replay, merged);
    return watch(replay, account, use);
}

int ma_replay_event(struct ma_replay *replay, const struct ma_merged *merged)
{
    const struct ma_event *event = merged->event;
    struct ma_account *account = ma_replay_account(replay, merged->process);
    if (!account)
        return -ENOMEM;
    if (replay->n_ending)
        ma_replay_settle(replay, account);
    struct ma_point now = moment(replay, merged);
    ma_timeline_advance(&replay->timeline, &now);
    if (event->type >= MA_EVENT_FREE && event->type <= MA_EVENT_FAILED) {
        replay->end_process = merged->process;
        replay->end_ticks = event->time;
        if (event->type != MA_EVENT_REALLOC_BEGIN) {
            struct ma_worker *worker = worker_of(replay, merged->stream->index);
            if (!worker)
                return -ENOMEM;
            worker->events++;
            replay->totals.events++;
        }
    }
    switch ((enum ma_event_type)event->type) {
    case MA_EVENT_ALLOC:
        return on_alloc(replay, account, merged);
    case MA_EVENT_FREE:
        return on_free(replay, account, merged);
    case MA_EVENT_REALLOC_BEGIN:
        return on_realloc_begin(replay, account, merged);
    case MA_EVENT_REALLOC:
        return on_realloc(replay, account, merged);
    case MA_EVENT_FAILED:
        replay->totals.failed++;
        return 0;
    case MA_EVENT_FORK:
    case MA_EVENT_START:
    case MA_EVENT_RECORD:
        break;
    }
    return ma_replay_process_event(replay, account, merged);
}

void ma_replay_finish(struct ma_replay *replay)
{
    ma_timeline_finish(&replay->timeline);
}

void ma_replay_at_peak(const struct ma_replay *replay, const struct ma_account *account,
                       const struct ma_use *use, uint64_t *bytes, uint64_t *blocks)
{
    if (use->peak_epoch == replay->peak_epoch) {
        *bytes = use->peak_bytes;
        *blocks = use->peak_blocks;
    } else {
        *bytes = account->gone ? 0 : use->live_bytes;
        *blocks = account->gone ? 0 : use->live_blocks;
    }
}
