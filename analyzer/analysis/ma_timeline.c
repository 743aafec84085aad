/* SPDX-License-Identifier: MIT
 *
 * The timeline; see ma_timeline.h.
 */
#include "ma_timeline.h"

#include <errno.h>

#include "ma_replay.h"

struct ma_held {
    uint64_t bytes;
    uint64_t slot_bytes, slot_epoch; /* at the highest moment of that epoch's slot */
    uint32_t candidate;              /* index in the timeline, or MA_NONE */
};

struct ma_share {
    uint64_t bytes, blocks;
    struct ma_held *held; /* by number of the site */
    size_t n_held;
    bool gone; /* it left the joint heap */
};

void ma_timeline_free(struct ma_timeline *timeline)
{
    if (!timeline)
        return;
    for (size_t i = 0; i < timeline->n_candidates; i++)
        free(timeline->candidates[i].bytes);
    for (size_t i = 0; i < timeline->n_shares; i++)
        free(timeline->shares[i].held);
    free(timeline->shares);
    free(timeline);
}

static struct ma_held *held_by(const struct ma_timeline *timeline,
                               const struct ma_candidate *candidate)
{
    return &timeline->shares[candidate->account->process->index].held[candidate->site];
}

static uint64_t slot_of(const struct ma_timeline *timeline, uint64_t ns)
{
    return ns > timeline->origin ? (ns - timeline->origin) / timeline->width : 0;
}

/* Make slots wider until at most half of the points are left. */
static void halve(struct ma_timeline *timeline)
{
    while (timeline->n_points > MA_POINTS / 2 && timeline->width < (uint64_t)1 << 62) {
        size_t kept = 0;
        timeline->width *= 2;
        for (size_t i = 0; i < timeline->n_points; i++) {
            const struct ma_point *point = &timeline->points[i];
            size_t to = kept;
            if (kept &&
                slot_of(timeline, point->ns) == slot_of(timeline, timeline->points[kept - 1].ns)) {
                if (point->bytes < timeline->points[kept - 1].bytes)
                    continue;
                to = kept - 1;
            } else {
                kept++;
            }
            timeline->points[to] = *point;
            for (size_t k = 0; k < timeline->n_candidates; k++)
                timeline->candidates[k].bytes[to] = timeline->candidates[k].bytes[i];
        }
        timeline->n_points = kept;
    }
    if (timeline->n_points == MA_POINTS)
        timeline->n_points--; /* times beyond reason */
}

/* Note a point; `high`: with the values of the high moment, else current ones. */
static void add_point(struct ma_timeline *timeline, const struct ma_point *point, bool high)
{
    if (timeline->n_points == MA_POINTS)
        halve(timeline);
    size_t at = timeline->n_points++;
    timeline->points[at] = *point;
    for (size_t k = 0; k < timeline->n_candidates; k++) {
        struct ma_candidate *candidate = &timeline->candidates[k];
        const struct ma_share *share = &timeline->shares[candidate->account->process->index];
        const struct ma_held *held = &share->held[candidate->site];
        uint64_t bytes = high && held->slot_epoch == timeline->epoch ? held->slot_bytes
                         : share->gone                               ? 0
                                                                     : held->bytes;
        candidate->bytes[at] = bytes;
        if (bytes > candidate->most)
            candidate->most = bytes;
    }
}

/* Events may share a time. */
static bool differs(const struct ma_point *later, const struct ma_point *earlier)
{
    return later->ns > earlier->ns || later->bytes != earlier->bytes;
}

/* End the open slot, if `ns` lies beyond it: before a change at that moment. */
static void end_slot(struct ma_timeline *timeline, uint64_t ns)
{
    if (!timeline->open) {
        timeline->origin = timeline->n_points ? timeline->origin : ns;
        return;
    }
    uint64_t slot = slot_of(timeline, ns);
    if (slot <= timeline->slot)
        return;
    add_point(timeline, &timeline->high, true);
    if (slot > timeline->slot + 1 && differs(&timeline->last, &timeline->high))
        add_point(timeline, &timeline->last, false);
    timeline->open = false;
}

/* The joint heap has changed. */
static void sample(struct ma_timeline *timeline, const struct ma_seen *seen)
{
    struct ma_point now = {
        .ns = seen->ns,
        .ticks = seen->ticks,
        .process = seen->process,
        .bytes = timeline->bytes,
        .blocks = timeline->blocks,
        .resident = seen->replay->has_resident ? seen->replay->resident : UINT64_MAX,
    };
    if (now.bytes > timeline->peak)
        timeline->peak = now.bytes;
    if (timeline->open && now.bytes <= timeline->high.bytes) {
        timeline->last = now;
        return;
    }
    if (!timeline->open) {
        timeline->open = true;
        timeline->slot = slot_of(timeline, now.ns);
    }
    timeline->high = timeline->last = now;
    timeline->epoch++;
}

static int finished(void *context, const struct ma_replay *replay)
{
    struct ma_timeline *timeline = context;
    (void)replay;
    if (timeline->open)
        add_point(timeline, &timeline->high, true);
    timeline->open = false;
    /* A slot that something else than an event has ended may lack its last. */
    if (timeline->n_points && differs(&timeline->last, &timeline->points[timeline->n_points - 1]))
        add_point(timeline, &timeline->last, false);
    return 0;
}

static void drop(struct ma_timeline *timeline, size_t i)
{
    struct ma_candidate *candidate = &timeline->candidates[i];
    held_by(timeline, candidate)->candidate = MA_NONE;
    free(candidate->bytes);
    *candidate = timeline->candidates[--timeline->n_candidates];
    if (i < timeline->n_candidates)
        held_by(timeline, candidate)->candidate = (uint32_t)i;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The most a candidate has held, now included. */
static uint64_t most(const struct ma_timeline *timeline, const struct ma_candidate *candidate)
{
    uint64_t live = held_by(timeline, candidate)->bytes;
    return live > candidate->most ? live : candidate->most;
}

/* Make room: the peak has grown since, so most early candidates are small now.
 * If that is not enough, the smaller half goes. */
static void prune(struct ma_timeline *timeline)
{
    for (size_t i = timeline->n_candidates; i-- > 0;) {
        if (most(timeline, &timeline->candidates[i]) < timeline->threshold)
            drop(timeline, i);
    }
    if (timeline->n_candidates < MA_CANDIDATES)
        return;
    uint64_t values[MA_CANDIDATES];
    for (size_t i = 0; i < MA_CANDIDATES; i++)
        values[i] = most(timeline, &timeline->candidates[i]);
    qsort(values, MA_CANDIDATES, sizeof *values, by_value);
    uint64_t median = values[MA_CANDIDATES / 2];
    for (size_t i = timeline->n_candidates;
         i-- > 0 && timeline->n_candidates > MA_CANDIDATES / 2;) {
        if (most(timeline, &timeline->candidates[i]) <= median)
            drop(timeline, i);
    }
}

/* A stack may have become large enough to be watched. */
static int watch(struct ma_timeline *timeline, const struct ma_account *account, uint32_t site)
{
    struct ma_held *held = &timeline->shares[account->process->index].held[site];
    if (held->candidate != MA_NONE || held->bytes < timeline->threshold)
        return 0;
    timeline->threshold = timeline->peak / 1000 + 1;
    if (held->bytes < timeline->threshold)
        return 0;
    if (timeline->n_candidates == MA_CANDIDATES)
        prune(timeline);
    uint64_t *bytes = calloc(MA_POINTS, sizeof *bytes);
    if (!bytes)
        return -ENOMEM;
    held->candidate = (uint32_t)timeline->n_candidates;
    timeline->candidates[timeline->n_candidates++] =
        (struct ma_candidate){.account = account, .site = site, .bytes = bytes};
    return 0;
}

/* The share of a process, made if it is new, with room for all its sites; NULL
 * if memory is short. */
static struct ma_share *share_of(struct ma_timeline *timeline, const struct ma_account *account)
{
    size_t index = account->process->index;
    if (!MA_HOLDS(timeline->shares, index, timeline->n_shares))
        return NULL;
    struct ma_share *share = &timeline->shares[index];
    if (account->n_sites > share->n_held) {
        size_t n = account->site_capacity;
        struct ma_held *held = realloc(share->held, n * sizeof *held);
        if (!held)
            return NULL;
        for (size_t i = share->n_held; i < n; i++)
            held[i] = (struct ma_held){.candidate = MA_NONE};
        share->held = held;
        share->n_held = n;
    }
    return share;
}

/* Before a stack's bytes change: keep what it held at the high moment. */
static void save_held(const struct ma_timeline *timeline, const struct ma_share *share,
                      struct ma_held *held)
{
    if (held->slot_epoch == timeline->epoch)
        return;
    held->slot_epoch = timeline->epoch;
    held->slot_bytes = share->gone ? 0 : held->bytes;
}

/* A block begins (sign 1) or ends (-1) in the sums. */
static void change(struct ma_timeline *timeline, struct ma_share *share,
                   const struct ma_seen_block *block, int sign)
{
    struct ma_held *held = &share->held[block->site];
    uint64_t bytes = sign < 0 ? -block->size : block->size;
    save_held(timeline, share, held);
    held->bytes += bytes;
    share->bytes += bytes;
    share->blocks += (uint64_t)sign;
    if (share->gone)
        return;
    timeline->bytes += bytes;
    timeline->blocks += (uint64_t)sign;
}

static int timeline_resized(void *context, const struct ma_seen *seen,
                            const struct ma_seen_block *old, const struct ma_seen_block *block)
{
    struct ma_timeline *timeline = context;
    struct ma_share *share = share_of(timeline, seen->account);
    if (!share)
        return -ENOMEM;
    end_slot(timeline, seen->ns);
    if (old && old->site != MA_NONE)
        change(timeline, share, old, -1);
    if (block)
        change(timeline, share, block, 1);
    sample(timeline, seen);
    return block ? watch(timeline, seen->account, block->site) : 0;
}

static int timeline_allocated(void *context, const struct ma_seen *seen,
                              const struct ma_seen_block *block)
{
    return timeline_resized(context, seen, NULL, block);
}

static int timeline_freed(void *context, const struct ma_seen *seen,
                          const struct ma_seen_block *block)
{
    return block->site == MA_NONE ? 0 : timeline_resized(context, seen, block, NULL);
}

static int process(void *context, const struct ma_seen *seen, enum ma_process_change what)
{
    struct ma_timeline *timeline = context;
    struct ma_share *share = share_of(timeline, seen->account);
    if (!share)
        return -ENOMEM;
    end_slot(timeline, seen->ns);
    if (what != MA_PROCESS_LEFT && what != MA_PROCESS_RETURNED)
        return 0;
    for (size_t i = 0; i < share->n_held; i++)
        save_held(timeline, share, &share->held[i]);
    share->gone = what == MA_PROCESS_LEFT;
    timeline->bytes += share->gone ? -share->bytes : share->bytes;
    timeline->blocks += share->gone ? -share->blocks : share->blocks;
    if (share->blocks) /* of those that go on a filter may accept nothing */
        sample(timeline, seen);
    return 0;
}

struct ma_timeline *ma_timeline_new(void)
{
    struct ma_timeline *timeline = calloc(1, sizeof *timeline);
    if (!timeline)
        return NULL;
    timeline->width = 1024;
    timeline->threshold = 1;
    timeline->epoch = 1;
    timeline->observer = (struct ma_observer){
        .context = timeline,
        .process = process,
        .allocated = timeline_allocated,
        .freed = timeline_freed,
        .resized = timeline_resized,
        .finished = finished,
    };
    return timeline;
}
