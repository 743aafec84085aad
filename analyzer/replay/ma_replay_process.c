/* SPDX-License-Identifier: MIT
 *
 * Processes in the replay; see ma_replay_process.h.
 */
#include "ma_replay_process.h"

#include <errno.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_ending.h"

/* Wait before a process is retired: threads that outlive its PROCESS_END, or an exec
 * that failed, show within that time. */
#define RETIRE_NS 1000000000u
#define BELIEVED 8        /* returns of a process after its end */
#define BLOCK_OVERHEAD 32 /* bytes an allocator spends on a block, at most */

struct ma_account *ma_replay_account(struct ma_replay *replay, struct ma_process *process)
{
    if (!MA_HOLDS(replay->accounts, process->index, replay->n_accounts))
        return NULL;
    struct ma_account **account = &replay->accounts[process->index];
    if (!*account)
        *account = ma_account_new(process);
    return *account;
}

void ma_replay_describe(const struct ma_replay *replay, const struct ma_account *account,
                        const struct ma_run *run, uint64_t ticks, struct ma_seen *seen)
{
    *seen = (struct ma_seen){
        .replay = replay,
        .account = account,
        .process = run->process,
        .stream = run->stream,
        .ticks = ticks,
        .ns = ma_clock_ns(replay->trace, run->process, ticks),
        .thread = run->stream ? run->stream->thread : MA_NONE,
    };
}

/* Notify observers of a change of `account`, at a moment of the run's process. */
static int notify_process(const struct ma_replay *replay, const struct ma_account *account,
                          const struct ma_run *run, uint64_t ticks, enum ma_process_change change)
{
    struct ma_seen seen;
    if (!replay->observers.n)
        return 0;
    ma_replay_describe(replay, account, run, ticks, &seen);
    return ma_observers_process(&replay->observers, &seen, change);
}

/* Queue a process that left: it is retired RETIRE_NS later, if it does not return. */
static int wait_to_retire(struct ma_replay *replay, struct ma_account *account, uint64_t ticks)
{
    if (!replay->retire || account->retired || account->waits)
        return 0;
    if (replay->left_at > 64 && replay->left_at > replay->n_left / 2) {
        replay->n_left -= replay->left_at;
        memmove(replay->left, replay->left + replay->left_at,
                replay->n_left * sizeof *replay->left);
        replay->left_at = 0;
    }
    if (!MA_RESERVE(replay->left, replay->n_left, replay->left_capacity))
        return -ENOMEM;
    uint64_t due;
    if (__builtin_add_overflow(ticks, ma_clock_ticks(account->process, RETIRE_NS), &due))
        return 0;
    account->waits = true;
    replay->left[replay->n_left++] = (struct ma_left){account, due};
    replay->retire_due = replay->left[replay->left_at].due;
    return 0;
}

/* True if the process ended by an exec, and the program that it began has not appeared. */
static bool may_have_failed(const struct ma_account *account)
{
    const struct ma_process *process = account->process;
    return process->ended && process->end_how == MLF_END_EXEC && process->known &&
           !account->followed && !process->reaped.told;
}

/* True if the process left and nothing will ask for its blocks or nodes. A process
 * with live forked children is reconsidered once its last child is retired; one
 * whose exec may have failed, once its successor appears. */
static bool may_retire(const struct ma_account *account)
{
    return account->gone && !account->ending && !account->is_wrong && !account->inherits.n_forks &&
           !account->process->heirs && !may_have_failed(account);
}

static int retire(struct ma_replay *replay, struct ma_account *account, uint64_t ticks)
{
    int result = replay->retire(replay->retire_context, account);
    struct ma_process *parent = account->process->parent;
    if (result < 0)
        return result;
    account->retired = true;
    account->retired_bytes = account->live_bytes;
    account->retired_blocks = account->live_blocks;
    if (!parent || --parent->heirs || parent->index >= replay->n_accounts ||
        !replay->accounts[parent->index] || !replay->accounts[parent->index]->gone)
        return 0;
    return wait_to_retire(replay, replay->accounts[parent->index], ticks);
}

int ma_replay_retire_due(struct ma_replay *replay, uint64_t ticks)
{
    int result = 0;
    while (result == 0 && replay->left_at < replay->n_left &&
           replay->left[replay->left_at].due <= ticks) {
        struct ma_account *account = replay->left[replay->left_at++].account;
        account->waits = false;
        if (may_retire(account))
            result = retire(replay, account, ticks);
    }
    replay->retire_due =
        replay->left_at < replay->n_left ? replay->left[replay->left_at].due : UINT64_MAX;
    return result;
}

static int leave(struct ma_replay *replay, struct ma_account *account, const struct ma_run *run)
{
    for (size_t i = 0; i < account->n_sites; i++)
        ma_replay_touch(replay, account, &account->sites[i]);
    account->gone = true;
    replay->live_bytes -= account->live_bytes - account->retired_bytes;
    replay->live_blocks -= account->live_blocks - account->retired_blocks;
    replay->resident -= account->resident;
    account->last_resident = account->resident;
    replay->virtual_bytes -= account->virtual_bytes;
    replay->shared -= account->shared;
    account->resident = account->virtual_bytes = account->shared = 0;
    /* Thousands of children end so; one may come back. */
    if (!account->heap.count)
        ma_heap_free(&account->heap);
    else if (ma_heap_rest(&account->heap) < 0)
        return -ENOMEM;
    ma_inherit_release(account);
    return notify_process(replay, account, run, run->events[0].time, MA_PROCESS_LEFT);
}

int ma_replay_return(struct ma_replay *replay, struct ma_account *account, const struct ma_run *run,
                     uint64_t ticks)
{
    for (size_t i = 0; i < account->n_sites; i++)
        ma_replay_touch(replay, account, &account->sites[i]);
    account->gone = false;
    account->returns++;
    replay->trace->audit.retired_returns += account->retired && !account->revived;
    account->revived = account->retired;
    replay->live_bytes += account->live_bytes - account->retired_bytes;
    replay->live_blocks += account->live_blocks - account->retired_blocks;
    return notify_process(replay, account, run, ticks, MA_PROCESS_RETURNED);
}

int ma_replay_settle(struct ma_replay *replay, const struct ma_account *current,
                     const struct ma_run *run)
{
    size_t left = 0;
    int result = 0;
    for (size_t i = 0; i < replay->n_ending; i++) {
        struct ma_account *account = replay->ending[i];
        if (account == current || result < 0) {
            replay->ending[left++] = account;
            continue;
        }
        account->ending = false;
        if (!account->gone)
            result = leave(replay, account, run);
        if (result == 0)
            result = wait_to_retire(replay, account, run->events[0].time);
    }
    replay->n_ending = left;
    return result;
}

/* Note that the process ends. One that came back BELIEVED times stays in the
 * joint heap for good: leaving and returning cost a walk through all its sites. */
static int will_end(struct ma_replay *replay, struct ma_account *account)
{
    if (account->ending || account->returns >= BELIEVED)
        return 0;
    if (!MA_RESERVE(replay->ending, replay->n_ending, replay->ending_capacity))
        return -ENOMEM;
    replay->ending[replay->n_ending++] = account;
    account->ending = true;
    return 0;
}

static const struct ma_process_record *record_of(const void *context, uint32_t index)
{
    const struct ma_replay *replay = context;
    return &replay->accounts[index]->process->record;
}

/* A new program image or child: whoever had its pid before, in its place, is over. */
static int note_pid(struct ma_replay *replay, struct ma_account *account)
{
    const struct ma_process_record *record = &account->process->record;
    uint32_t former = ma_pids_find(&replay->pids, record, record->pid, record_of, replay);
    if (former != MA_NONE && former != account->process->index) {
        replay->accounts[former]->followed = true;
        if (will_end(replay, replay->accounts[former]) < 0)
            return -ENOMEM;
    }
    return ma_pids_set(&replay->pids, record, account->process->index);
}

static int on_fork(struct ma_replay *replay, struct ma_account *account,
                   const struct ma_event *event)
{
    struct ma_process *process = account->process;
    if (!process->parent) {
        account->inherits_loosely = true; /* from a process that is not in the trace */
        if (ma_map_get(&replay->trace->process_of, process->record.parent_key) != MA_NONE)
            replay->trace->audit.late_forks++; /* or came into it later than its child */
        return note_pid(replay, account);
    }
    struct ma_account *parent = ma_replay_account(replay, process->parent);
    if (!parent)
        return -ENOMEM;
    if (process->parent->has_unseen && !process->has_unseen) {
        process->has_unseen = true; /* what it inherits is in doubt as there */
        process->unseen_before = process->parent->unseen_before;
    }
    bool late = process->parent->last_time > event->time;
    int inherits = parent->retired ? 0 : ma_inherit(account, parent, event->time);
    if (inherits < 0)
        return inherits;
    if (!inherits)
        account->inherits_loosely = true;
    if (late) {
        account->inherits_loosely = true; /* we learn of the fork too late */
        replay->trace->audit.late_forks++;
    }
    return note_pid(replay, account);
}

static int notify_mark(const struct ma_replay *replay, const struct ma_account *account,
                       const struct ma_run *run, const struct ma_short_record *record,
                       uint64_t kind, struct ma_bytes text)
{
    if (!replay->observers.n)
        return 0;
    char *name = strndup((const char *)text.data, text.size);
    if (!name)
        return -ENOMEM;
    struct ma_mark mark = {
        .process = run->process,
        .ticks = record->time,
        .kind = kind,
        .name = name,
    };
    struct ma_seen seen;
    ma_replay_describe(replay, account, run, record->time, &seen);
    int result = ma_observers_marked(&replay->observers, &seen, &mark);
    free(name);
    return result;
}

static int notify_savepoint(const struct ma_replay *replay, const struct ma_account *account,
                            const struct ma_run *run, const struct ma_short_record *record)
{
    if (!replay->observers.n)
        return 0;
    const struct ma_bytes *name = &record->savepoint.name, *place = &record->savepoint.place;
    char *texts[] = {strndup((const char *)name->data, name->size),
                     strndup((const char *)place->data, place->size)};
    const struct ma_savepoint savepoint = {
        .number = record->savepoint.number,
        .name = texts[0],
        .place = texts[1],
        .growth = record->savepoint.growth,
        .asserted = record->savepoint.flags & MLF_SAVEPOINT_ASSERTED,
        .counted = record->savepoint.flags & MLF_SAVEPOINT_COUNTED,
    };
    struct ma_seen seen;
    ma_replay_describe(replay, account, run, record->time, &seen);
    int result = texts[0] && texts[1]
                     ? ma_observers_savepoint(&replay->observers, &seen, &savepoint)
                     : -ENOMEM;
    free(texts[0]);
    free(texts[1]);
    return result;
}

static void on_counters(struct ma_process *process, struct ma_bytes pairs)
{
    struct ma_cursor cursor = {pairs.data, pairs.data + pairs.size, false};
    while (cursor.at < cursor.end) {
        uint64_t counter = ma_cursor_vu(&cursor), value = ma_cursor_vu(&cursor);
        if (cursor.failed)
            return;
        if (counter < sizeof process->counters / sizeof *process->counters)
            process->counters[counter] = value;
    }
}

static int on_loss(struct ma_trace *trace, struct ma_process *process,
                   const struct ma_short_record *brief)
{
    const unsigned reason = brief->loss.reason < MA_LOSS_REASONS ? (unsigned)brief->loss.reason : 0;
    const uint32_t number = (uint32_t)brief->loss.stream;
    trace->audit.lost_events += brief->loss.lost;
    if (ma_trace_is_full(trace, process, number))
        return 0;
    struct ma_stream *stream = ma_trace_stream(trace, process, number);
    if (!stream)
        return -ENOMEM;
    stream->lost[reason] += brief->loss.lost;
    return 0;
}

/* The difference a - b, or 0 if b is larger. */
static uint64_t excess(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* The joint peak is at least the process's own: what it explains may be more,
 * never less. */
static void note_unseen(const struct ma_replay *replay, struct ma_account *account,
                        uint64_t resident, uint64_t shared)
{
    struct ma_unseen *unseen = &account->unseen;
    const uint64_t private = excess(resident, shared);
    const uint64_t heap = replay->peak_bytes + BLOCK_OVERHEAD * replay->peak_blocks;
    if (!unseen->sampled) {
        *unseen = (struct ma_unseen){
            .sampled = true, .first_private = private, .first_heap = replay->live_bytes};
        return;
    }
    const uint64_t grown = excess(private, unseen->first_private);
    const uint64_t explained = excess(heap, unseen->first_heap);
    if (excess(grown, explained) > unseen->bytes) {
        unseen->bytes = grown - explained;
        unseen->grown = grown;
        unseen->heap = replay->peak_bytes;
    }
}

/* Who waited was told how a process ended. One that its parent left behind is waited for
 * by another. */
static int on_child_end(struct ma_replay *replay, const struct ma_process *waiter,
                        const struct ma_short_record *brief)
{
    const struct ma_process_record *by = &waiter->record;
    const uint32_t at = ma_pids_find(&replay->pids, by, brief->child_end.pid, record_of, replay);
    if (!waiter->known || at == MA_NONE)
        return 0;
    struct ma_account *child = replay->accounts[at];
    const uint32_t parent = ma_pids_find(&replay->pids, &child->process->record,
                                         child->process->record.parent_pid, record_of, replay);
    const bool adopted = parent != MA_NONE && ma_process_is_over(replay->accounts[parent]->process);
    return ma_process_reap(child->process, waiter, adopted, brief) ? will_end(replay, child) : 0;
}

static void note_memory(struct ma_replay *replay, struct ma_account *account,
                        const struct ma_short_record *brief)
{
    replay->resident += brief->memory.resident - account->resident;
    replay->virtual_bytes += brief->memory.virtual_bytes - account->virtual_bytes;
    replay->shared += brief->memory.shared - account->shared;
    account->resident = brief->memory.resident;
    account->virtual_bytes = brief->memory.virtual_bytes;
    account->shared = brief->memory.shared;
    replay->has_resident = true;
    replay->at_end = (struct ma_memory){replay->virtual_bytes, replay->resident, replay->shared};
    if (replay->at_peak_epoch != replay->peak_epoch)
        replay->at_peak = replay->at_end;
    replay->at_peak_epoch = replay->peak_epoch;
}

static int on_record(struct ma_replay *replay, struct ma_account *account, const struct ma_run *run,
                     const struct ma_event *event)
{
    struct ma_process *process = run->process;
    struct ma_audit *audit = &replay->trace->audit;
    struct ma_record record;
    const char *problem;
    unsigned kind = run->stream ? MLF_EVENTS : MLF_DEFINITIONS;
    if (ma_record_decode(&record, event->function, kind, event->record, (size_t)event->size,
                         &problem) <= 0)
        return 0; /* was checked when it was read */
    const struct ma_short_record *brief = &record.brief;
    switch (record.tag) {
    case MLF_REC_PROCESS_END:
        process->ended = true;
        process->end_time = brief->time;
        process->end_how = brief->process_end.how;
        process->end_status = brief->process_end.status;
        return will_end(replay, account);
    case MLF_REC_LOSS: return on_loss(replay->trace, process, brief);
    case MLF_REC_STOP:
        audit->stops++;
        process->stopped = true;
        audit->stop_reason = brief->stop.reason;
        audit->stop_errno = brief->stop.error;
        audit->stop_met = brief->stop.met;
        return 0;
    case MLF_REC_CLOCK:
        process->clock_ticks = brief->time;
        process->clock_ns = brief->clock.monotonic_ns;
        return 0;
    case MLF_REC_MEMORY:
        if (account->gone)
            return 0;
        note_unseen(replay, account, brief->memory.resident, brief->memory.shared);
        note_memory(replay, account, brief);
        account->sampled_live = account->live_bytes;
        return 0;
    case MLF_REC_MARK:
        return notify_mark(replay, account, run, brief, brief->mark.kind, brief->mark.name);
    case MLF_REC_PRINT:
        return notify_mark(replay, account, run, brief, MA_MARK_PRINT, brief->print.text);
    case MLF_REC_SAVEPOINT: return notify_savepoint(replay, account, run, brief);
    case MLF_REC_WINDOW: return ma_process_add_gap(process, brief);
    case MLF_REC_EXEC: return ma_trace_add_exec(replay->trace, process, brief);
    case MLF_REC_CHILD_END: return on_child_end(replay, process, brief);
    case MLF_REC_LIMIT:
        account->limit_kind = brief->limit.kind;
        account->limit_bytes = brief->limit.bytes;
        return 0;
    case MLF_REC_BYPASS: return ma_trace_add_bypass(replay->trace, brief);
    case MLF_REC_COUNTERS: on_counters(process, brief->counters.pairs); return 0;
    default: return 0;
    }
}

int ma_replay_process_event(struct ma_replay *replay, struct ma_account *account,
                            const struct ma_run *run, const struct ma_event *event)
{
    if (event->type == MA_EVENT_RECORD)
        return on_record(replay, account, run, event);
    bool fork = event->type == MA_EVENT_FORK;
    int result = fork ? on_fork(replay, account, event) : note_pid(replay, account);
    if (result < 0)
        return result;
    return notify_process(replay, account, run, event->time,
                          fork ? MA_PROCESS_FORKED : MA_PROCESS_STARTED);
}

int ma_replay_stack(struct ma_replay *replay, const struct ma_account *account,
                    const struct ma_run *run, const struct ma_event *event, uint64_t call)
{
    struct ma_record record;
    const char *problem;
    if (!run->stream || ma_record_decode(&record, event->function, MLF_EVENTS, event->record,
                                         (size_t)event->size, &problem) <= 0)
        return 0; /* was checked when it was read */
    const uint32_t stack = (uint32_t)record.brief.stack.stack;
    const bool aborted = record.brief.stack.what == MLF_STACK_ABORT;
    if (!aborted && record.brief.stack.what != MLF_STACK_FREE)
        return 0;
    ma_wrong_tell(&replay->wrong, run->stream->index, call, stack, aborted);
    if (aborted || !replay->observers.n)
        return 0;
    struct ma_seen seen;
    ma_replay_describe(replay, account, run, event->time, &seen);
    return ma_observers_told(&replay->observers, &seen, stack);
}
