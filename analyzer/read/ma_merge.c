/* SPDX-License-Identifier: MIT
 *
 * The merge; see ma_merge.h. Feeds with a head stand in a binary heap. The
 * feed on top is replaced in place when its next head comes, and what it has
 * before the next feed's head goes out as one run.
 */
#include "ma_merge.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "ma_clock.h"

#define AHEAD ((size_t)16 << 20)
#define MOST_STABLE ((size_t)1 << 30) /* of a file, whose pages are the system's */
#define MOST_COPIED ((size_t)256 << 20)
#define LANES_FROM ((uint64_t)4 << 20) /* before it, a thread would cost more than it saves, */
#define LANE_LEAST 16384               /* and so would waking it for less */
#define PROMPT_NS 1000000000u          /* events are held back no longer than that, */
#define STALE_NS UINT64_C(5000000000)  /* and for a process silent so long not at all */

int ma_merge_init(struct ma_merge *merge, struct ma_trace *trace, struct ma_source *source,
                  struct ma_error *error)
{
    *merge = (struct ma_merge){.trace = trace, .lanes_from = LANES_FROM};
    merge->decoding.lane_least = LANE_LEAST;
    int result = ma_reader_init(&merge->reader, source, &trace->audit, error);
    if (result < 0)
        return result;
    merge->stable = ma_source_stable(source);
    merge->ahead = AHEAD;
    merge->most = merge->stable ? MOST_STABLE : MOST_COPIED;
    return 0;
}

void ma_merge_free(struct ma_merge *merge)
{
    for (size_t i = 0; i < merge->n_feeds; i++)
        ma_feed_free(merge->feeds[i]);
    for (size_t i = 0; merge->trace && i < merge->trace->n_processes; i++)
        merge->trace->processes[i]->feeds = NULL;
    free(merge->feeds);
    free(merge->ready);
    free(merge->pending);
    ma_map_free(&merge->feed_of);
    ma_lanes_stop(merge->decoding.lanes);
    ma_reader_free(&merge->reader);
}

/* True if event x of feed a goes before event y of feed b: the order of ma_merge.h. */
static inline bool goes_before(const struct ma_feed *a, const struct ma_event *x,
                               const struct ma_feed *b, const struct ma_event *y)
{
    if (__builtin_expect(x->time != y->time, 1))
        return x->time < y->time;
    if (ma_event_rank(x) != ma_event_rank(y))
        return ma_event_rank(x) < ma_event_rank(y);
    if (a->process != b->process)
        return a->process->index < b->process->index;
    return a->number != b->number ? a->number < b->number : a->kind > b->kind;
}

static bool less(const struct ma_feed *a, const struct ma_feed *b)
{
    return goes_before(a, &a->events[a->at], b, &b->events[b->at]);
}

static void sift_down(struct ma_merge *merge, size_t i)
{
    struct ma_feed **ready = merge->ready, *feed = ready[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= merge->n_ready)
            break;
        if (child + 1 < merge->n_ready && less(ready[child + 1], ready[child]))
            child++;
        if (!less(ready[child], feed))
            break;
        ready[i] = ready[child];
        i = child;
    }
    ready[i] = feed;
}

static int heap_push(struct ma_merge *merge, struct ma_feed *feed)
{
    if (!MA_RESERVE(merge->ready, merge->n_ready, merge->ready_capacity))
        return -ENOMEM;
    size_t i = merge->n_ready++;
    for (; i && less(feed, merge->ready[(i - 1) / 2]); i = (i - 1) / 2)
        merge->ready[i] = merge->ready[(i - 1) / 2];
    merge->ready[i] = feed;
    feed->in_heap = true;
    return 0;
}

static uint64_t feed_key(uint32_t process, uint32_t number, unsigned kind)
{
    return (uint64_t)process << 33 | (uint64_t)number << 1 | (kind == MLF_EVENTS);
}

static struct ma_feed *feed_of(struct ma_merge *merge, struct ma_process *process, uint32_t number,
                               unsigned kind)
{
    uint64_t key = feed_key(process->index, number, kind);
    uint32_t index = ma_map_get(&merge->feed_of, key);
    if (index != MA_NONE)
        return merge->feeds[index];
    if (!MA_RESERVE(merge->feeds, merge->n_feeds, merge->feed_capacity))
        return NULL;
    struct ma_feed *feed = ma_feed_new(merge->trace, process, number, kind, &merge->decoding);
    if (!feed || ma_map_set(&merge->feed_of, key, (uint32_t)merge->n_feeds) < 0) {
        ma_feed_free(feed);
        return NULL;
    }
    feed->whole_chunks = merge->reader.layout == MLF_LAYOUT_MAPPED;
    merge->feeds[merge->n_feeds++] = feed;
    feed->sibling = process->feeds;
    process->feeds = feed;
    return feed;
}

/* The feed may have a head soon; look when the next one is picked. */
static int make_pending(struct ma_merge *merge, struct ma_feed *feed)
{
    if (feed->pending || feed->in_heap)
        return 0;
    if (!MA_RESERVE(merge->pending, merge->n_pending, merge->pending_capacity))
        return -ENOMEM;
    merge->pending[merge->n_pending++] = feed;
    feed->pending = true;
    return 0;
}

/* A stream trace is sure up to the least that any of its processes promised.
 * One that sleeps, or was killed, promises nothing more; who wants events
 * promptly does not wait for it. */
static void update_stream_watermark(struct ma_merge *merge)
{
    uint64_t least = UINT64_MAX, newest = 0;
    for (size_t i = 0; merge->prompt && i < merge->trace->n_processes; i++) {
        const struct ma_process *process = merge->trace->processes[i];
        if (process->known && process->watermark != UINT64_MAX && process->watermark > newest)
            newest = process->watermark;
    }
    for (size_t i = 0; i < merge->trace->n_processes; i++) {
        const struct ma_process *process = merge->trace->processes[i];
        if (!process->known || process->watermark >= least)
            continue;
        if (!merge->prompt || newest <= process->watermark ||
            newest - process->watermark < ma_clock_ticks(process, STALE_NS))
            least = process->watermark;
    }
    merge->watermark = least;
}

/* True if the chunk is of a process or thread beyond those that are told apart. */
static bool is_beyond(const struct ma_merge *merge, const struct ma_chunk *chunk)
{
    const struct ma_trace *trace = merge->trace;
    uint32_t process = ma_map_get(&trace->process_of, chunk->process);
    if (process == MA_NONE)
        return trace->n_processes >= MA_PROCESSES_MAX || merge->n_feeds >= MA_STREAMS_MAX;
    return merge->n_feeds >= MA_STREAMS_MAX &&
           ma_map_get(&merge->feed_of, feed_key(process, chunk->stream, chunk->kind)) == MA_NONE;
}

/* Take the next chunk of the trace. Returns 1, 0 at its end, or -ENOMEM. */
static int read_chunk(struct ma_merge *merge)
{
    struct ma_chunk chunk;
    if (!ma_reader_next(&merge->reader, &chunk))
        return 0;
    if (is_beyond(merge, &chunk)) {
        ma_audit_skip(&merge->trace->audit, chunk.offset,
                      chunk.payload_offset + chunk.size - chunk.offset,
                      "beyond the number of processes or threads that can be");
        return 1;
    }
    struct ma_process *process = ma_trace_process(merge->trace, chunk.process);
    struct ma_feed *feed = process ? feed_of(merge, process, chunk.stream, chunk.kind) : NULL;
    if (!feed)
        return -ENOMEM;
    merge->chunks++;
    if (merge->lanes_wanted && chunk.offset >= merge->lanes_from) {
        merge->lanes_wanted = false; /* asked once */
        merge->decoding.lanes = ma_lanes_start();
    }
    if (chunk.offset > 2 * merge->ahead)
        ma_source_forget(merge->reader.source, chunk.offset - 2 * merge->ahead);
    if (!process->known && !process->record.start)
        process->record.start = chunk.base_time; /* the best guess there is */
    if (merge->reader.layout == MLF_LAYOUT_MAPPED && chunk.base_time > merge->watermark)
        merge->watermark = chunk.base_time;
    if (ma_feed_arrive(feed, &chunk) == MA_DUPLICATE)
        return 1;
    int result;
    if (chunk.kind == MLF_DEFINITIONS) {
        result = ma_feed_define(feed, &chunk, merge->stable);
        /* Often enough, and not again and again through thousands of processes. */
        if (merge->reader.layout == MLF_LAYOUT_STREAM &&
            ++merge->since_watermark > merge->trace->n_processes / 64) {
            update_stream_watermark(merge);
            merge->since_watermark = 0;
        }
        if (feed->at == feed->n)
            return result < 0 ? result : 1;
    } else {
        result = ma_feed_enqueue(feed, &chunk, !merge->stable);
        merge->queued += ma_feed_cost(chunk.size);
    }
    if (result < 0 || (result = make_pending(merge, feed)) < 0)
        return result;
    return 1;
}

static int refill(struct ma_merge *merge, struct ma_feed *feed)
{
    size_t released = 0;
    bool keep_open = merge->stable && feed->whole_chunks && !merge->ended;
    int result = ma_feed_refill(feed, keep_open, &released);
    merge->queued -= released;
    return result;
}

static int refill_pending(struct ma_merge *merge)
{
    while (merge->n_pending) {
        struct ma_feed *feed = merge->pending[--merge->n_pending];
        feed->pending = false;
        int result = refill(merge, feed);
        if (result < 0 || (ma_feed_head(feed) && (result = heap_push(merge, feed)) < 0))
            return result;
    }
    return 0;
}

/* All chunks are known. If the trace may still be written, let nothing pass
 * that was written after this moment: all that happened up to the latest event
 * visible now has been written by the time we read it. Or, if there are chunks
 * by now that we do not know, up to the watermark: looked at last, as the chunk
 * of an event that is visible was begun before. */
static int end_of_chunks(struct ma_merge *merge)
{
    merge->cut = UINT64_MAX;
    if (merge->stable && merge->reader.layout == MLF_LAYOUT_MAPPED) {
        bool open = false;
        for (size_t i = 0; i < merge->trace->n_processes; i++)
            open |= merge->trace->processes[i]->watermark != UINT64_MAX;
        if (open) {
            uint64_t cut = 0;
            for (size_t i = 0; i < merge->n_feeds; i++) {
                uint64_t last = ma_feed_last_time(merge->feeds[i]);
                cut = last > cut ? last : cut;
            }
            if (ma_reader_grew(&merge->reader) && merge->watermark < cut)
                cut = merge->watermark;
            merge->cut = cut;
        }
        int result = ma_merge_poll(merge);
        if (result < 0)
            return result;
    }
    merge->ended = true;
    for (size_t i = 0; i < merge->n_feeds; i++) {
        int result = make_pending(merge, merge->feeds[i]);
        if (result < 0)
            return result;
    }
    return 0;
}

/* True if the smallest head may go. */
static bool head_is_due(const struct ma_merge *merge)
{
    if (merge->ended || merge->queued > merge->most)
        return true;
    const struct ma_feed *top = merge->ready[0];
    return (merge->queued >= merge->ahead || merge->draining) &&
           top->events[top->at].time < merge->watermark;
}

/* Prompt: whether what is due goes before more is read. It does when the input
 * pauses, and once a second. Returns 1, 0 or -ENOMEM. */
static int drain_first(struct ma_merge *merge)
{
    if (!merge->prompt)
        return 0;
    if (!merge->draining) {
        struct timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        uint64_t now = (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
        if (now - merge->drained < PROMPT_NS &&
            ma_source_is_ready(merge->reader.source, merge->reader.at))
            return 0;
        merge->drained = now;
        merge->draining = true;
        if (merge->reader.layout == MLF_LAYOUT_STREAM)
            update_stream_watermark(merge);
    }
    int result = refill_pending(merge);
    if (result < 0)
        return result;
    merge->draining = merge->n_ready && head_is_due(merge);
    return merge->draining;
}

/* Drop the heads that the caller has seen and put their feed in order again. */
static int step(struct ma_merge *merge)
{
    struct ma_feed *feed = merge->current;
    merge->current = NULL;
    if (!feed)
        return 0;
    ma_feed_pop(feed, merge->n_current);
    if (feed->at == feed->n) {
        int result = refill(merge, feed);
        if (result < 0)
            return result;
        if (feed->at == feed->n) {
            feed->in_heap = false;
            if (--merge->n_ready == 0)
                return 0;
            merge->ready[0] = merge->ready[merge->n_ready];
        }
    }
    sift_down(merge, 0);
    return 0;
}

/* Of the first n heads of the feed on top, those before `time`: at least the
 * first. One or two if threads alternate, all if there is one thread: so in
 * steps that double. */
static size_t count_before(const struct ma_feed *feed, size_t n, uint64_t time)
{
    const struct ma_event *events = &feed->events[feed->at];
    size_t sure = 1, to = 1, step = 1;
    for (; to < n; sure = to, step *= 2) {
        to = step < n - to ? to + step : n;
        if (events[to - 1].time >= time)
            break;
    }
    if (to == n && events[n - 1].time < time)
        return n;
    while (sure + 1 < to) { /* `sure` go; the last of `to` does not */
        size_t middle = sure + (to - sure) / 2;
        if (events[middle - 1].time < time)
            sure = middle;
        else
            to = middle;
    }
    return sure;
}

/* The number of heads of the feed on top, `most` at the most, that go before
 * all other heads. */
static size_t count_run(const struct ma_merge *merge, size_t most)
{
    const struct ma_feed *feed = merge->ready[0], *other = NULL;
    size_t n = feed->n - feed->at;
    if (n > most)
        n = most;
    if (merge->n_ready > 1)
        other = merge->ready[1];
    if (merge->n_ready > 2 && less(merge->ready[2], other))
        other = merge->ready[2];
    if (!other)
        return n;
    const struct ma_event *head = &feed->events[feed->at], *bound = &other->events[other->at];
    size_t sure = count_before(feed, n, bound->time);
    while (sure < n && head[sure].time == bound->time &&
           goes_before(feed, &head[sure], other, bound))
        sure++;
    return sure;
}

/* Note the times of a run of an events stream. */
static void note(struct ma_merge *merge, const struct ma_run *run)
{
    struct ma_process *process = run->process;
    const struct ma_event *last = &run->events[run->n - 1];
    for (size_t i = 0; i < run->n && run->events[i].time < process->last_time; i++)
        merge->trace->audit.late_events += run->events[i].type != MA_EVENT_REALLOC_BEGIN;
    if (last->time > process->last_time)
        process->last_time = last->time;
    if (last->type == MA_EVENT_RECORD && last->function == MLF_REC_PROCESS_END)
        process->watermark = UINT64_MAX; /* nothing more is promised */
}

/* Read until the smallest head may go. Returns 1, 0 if there is none and no more
 * to come, or -ENOMEM. */
static int await_head(struct ma_merge *merge)
{
    for (;;) {
        int result = merge->ended || merge->queued >= merge->ahead ? 1 : drain_first(merge);
        if (result > 0) {
            result = refill_pending(merge);
            if (result == 0 && merge->n_ready && head_is_due(merge))
                return 1;
            if (result == 0 && merge->ended)
                return 0;
        }
        if (result == 0)
            result = read_chunk(merge);
        if (result == 0)
            result = end_of_chunks(merge);
        if (result < 0)
            return result;
    }
}

static int next_run(struct ma_merge *merge, size_t most, struct ma_run *run)
{
    int result = step(merge);
    if (result < 0 || (result = await_head(merge)) <= 0)
        return result;
    struct ma_feed *feed = merge->ready[0];
    const struct ma_event *events = &feed->events[feed->at];
    if (feed->stream && merge->ended && events->time > merge->cut) {
        /* Written after our moment: everything left is. */
        merge->n_ready = 0;
        return 0;
    }
    size_t n = count_run(merge, feed->stream ? most : 1);
    if (!merge->ended && merge->queued <= merge->most)
        n = count_before(feed, n, merge->watermark);
    else if (merge->ended && merge->cut != UINT64_MAX && feed->stream)
        n = count_before(feed, n, merge->cut + 1);
    *run = (struct ma_run){
        .events = events,
        .n = n,
        .n_ahead = feed->n - feed->at,
        .fresh = feed->at == 0,
        .process = feed->process,
        .stream = feed->stream,
        .number = feed->stream ? feed->stream->number : feed->number,
    };
    merge->current = feed;
    merge->n_current = n;
    return 1;
}

void ma_merge_forget(struct ma_merge *merge, const struct ma_process *process)
{
    (void)merge;
    for (struct ma_feed *feed = process->feeds; feed; feed = feed->sibling)
        ma_feed_forget(feed);
}

/* True if there may be one more feed of which no chunk has come: as many as chunks
 * have, and some, so that records alone cannot make memory grow. */
static bool may_be_missing(const struct ma_merge *merge)
{
    return merge->n_feeds < MA_STREAMS_MAX && merge->n_feeds < 2 * merge->chunks + 16;
}

/* A record tells how far a chunk of any stream of its process is filled. */
static int take_filled(struct ma_merge *merge, const struct ma_run *run,
                       const struct ma_event *event)
{
    struct ma_record record;
    const char *problem;
    unsigned kind = run->stream ? MLF_EVENTS : MLF_DEFINITIONS;
    if (ma_record_decode(&record, event->function, kind, event->record, (size_t)event->size,
                         &problem) <= 0)
        return 0;
    uint64_t number = record.brief.filled.stream, of = record.brief.filled.kind;
    if (number > UINT32_MAX || (of != MLF_EVENTS && of != MLF_DEFINITIONS))
        return 0;
    uint64_t key = feed_key(run->process->index, (uint32_t)number, (unsigned)of);
    if (ma_map_get(&merge->feed_of, key) == MA_NONE && !may_be_missing(merge))
        return 0;
    struct ma_feed *feed = feed_of(merge, run->process, (uint32_t)number, (unsigned)of);
    if (!feed)
        return -ENOMEM;
    const struct ma_told told = ma_told_by(&record);
    ma_fill_said(&feed->fill, &told);
    return 0;
}

/* From here on the events of the chunk are another thread's. The run of before was handed
 * out as the first one's. */
static int take_over(struct ma_merge *merge, const struct ma_run *run, const struct ma_event *event)
{
    struct ma_record record;
    const char *problem;
    if (!run->stream || ma_record_decode(&record, event->function, MLF_EVENTS, event->record,
                                         (size_t)event->size, &problem) <= 0)
        return 0;
    const uint64_t number = record.brief.taken_over.stream;
    if (number > UINT32_MAX || ma_trace_is_full(merge->trace, run->process, (uint32_t)number))
        return 0;
    struct ma_stream *stream = ma_trace_stream(merge->trace, run->process, (uint32_t)number);
    if (stream)
        merge->current->stream = stream;
    return stream ? 0 : -ENOMEM;
}

/* Everything has been read that there will be. Chunks that are told of and did
 * not come are missing, unless they were claimed after we had begun. */
static void finish(struct ma_merge *merge)
{
    if (merge->finished)
        return;
    bool grew = ma_reader_grew(&merge->reader);
    for (size_t i = 0; i < merge->n_feeds; i++) {
        struct ma_feed *feed = merge->feeds[i];
        if (feed->kind == MLF_DEFINITIONS)
            ma_feed_end_definitions(feed, merge->stable);
        uint64_t missing = ma_feed_missing(feed);
        merge->trace->audit.missing_chunks += grew ? 0 : missing;
    }
    merge->finished = true;
}

int ma_merge_next(struct ma_merge *merge, size_t most, struct ma_run *run)
{
    for (;;) {
        int result = next_run(merge, most, run);
        if (result == 0)
            finish(merge);
        if (result <= 0)
            return result;
        const struct ma_event *last = &run->events[run->n - 1];
        if (__builtin_expect(
                last->type == MA_EVENT_RECORD &&
                    (last->function == MLF_REC_FILLED || last->function == MLF_REC_TAKEN_OVER),
                0)) {
            result = last->function == MLF_REC_FILLED ? take_filled(merge, run, last)
                                                      : take_over(merge, run, last);
            if (result < 0)
                return result;
            run->n--; /* it ends here; what is before it in its run goes out */
        }
        if (run->n && run->stream)
            note(merge, run);
        if (run->n)
            return 1;
    }
}

int ma_merge_poll(struct ma_merge *merge)
{
    if (!merge->stable)
        return 0;
    for (size_t i = 0; i < merge->n_feeds; i++) {
        struct ma_feed *feed = merge->feeds[i];
        if (feed->kind != MLF_DEFINITIONS)
            continue;
        int result = ma_definer_poll(&feed->definer);
        if (result < 0)
            return result;
        if (feed->at < feed->n && (result = make_pending(merge, feed)) < 0)
            return result;
    }
    return 0;
}

/* `queued` counts a small chunk for more than its bytes (ma_feed_cost), so it
 * may exceed `at`. */
uint64_t ma_merge_progress(const struct ma_merge *merge, uint64_t *size)
{
    uint64_t done, at = merge->reader.at;
    ma_source_progress(merge->reader.source, at, &done, size);
    if (merge->queued >= at)
        return 0;
    return (uint64_t)((double)done * ((double)(at - merge->queued) / (double)at));
}
