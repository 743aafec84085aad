/* SPDX-License-Identifier: MIT
 *
 * The timeline; see ma_timeline.h.
 */
#include "ma_timeline.h"

#include <errno.h>
#include <string.h>

void ma_timeline_init(struct ma_timeline *timeline)
{
    memset(timeline, 0, sizeof *timeline);
    timeline->width = 1024;
    timeline->threshold = 1;
    timeline->epoch = 1;
}

void ma_timeline_free(struct ma_timeline *timeline)
{
    for (size_t i = 0; i < timeline->n_candidates; i++)
        free(timeline->candidates[i].bytes);
    timeline->n_candidates = 0;
}

static uint64_t slot_of(const struct ma_timeline *timeline, uint64_t ticks)
{
    return ticks > timeline->origin ? (ticks - timeline->origin) / timeline->width : 0;
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
            if (kept && slot_of(timeline, point->ticks) ==
                            slot_of(timeline, timeline->points[kept - 1].ticks)) {
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
        const struct ma_use *use = &candidate->account->uses[candidate->use];
        uint64_t bytes = high && use->slot_epoch == timeline->epoch ? use->slot_bytes
                         : candidate->account->gone                 ? 0
                                                                    : use->live_bytes;
        candidate->bytes[at] = bytes;
        if (bytes > candidate->most)
            candidate->most = bytes;
    }
}

/* Events may share a time. */
static bool differs(const struct ma_point *later, const struct ma_point *earlier)
{
    return later->ticks > earlier->ticks || later->bytes != earlier->bytes;
}

/* End the open slot, if `ticks` lies beyond it. To be called before the change
 * at that moment is made. */
void ma_timeline_advance(struct ma_timeline *timeline, const struct ma_point *now)
{
    if (!timeline->open) {
        timeline->origin = timeline->n_points ? timeline->origin : now->ticks;
        return;
    }
    uint64_t slot = slot_of(timeline, now->ticks);
    if (slot <= timeline->slot)
        return;
    add_point(timeline, &timeline->high, true);
    if (slot > timeline->slot + 1 && differs(&timeline->last, &timeline->high))
        add_point(timeline, &timeline->last, false);
    timeline->open = false;
}

void ma_timeline_sample(struct ma_timeline *timeline, const struct ma_point *now)
{
    if (timeline->open && now->bytes <= timeline->high.bytes) {
        timeline->last = *now;
        return;
    }
    if (!timeline->open) {
        timeline->open = true;
        timeline->slot = slot_of(timeline, now->ticks);
    }
    timeline->high = timeline->last = *now;
    timeline->epoch++;
}

void ma_timeline_finish(struct ma_timeline *timeline)
{
    if (timeline->open)
        add_point(timeline, &timeline->high, true);
    timeline->open = false;
    /* A slot that something else than an event has ended may lack its last. */
    if (timeline->n_points &&
        differs(&timeline->last, &timeline->points[timeline->n_points - 1]))
        add_point(timeline, &timeline->last, false);
}

static void drop(struct ma_timeline *timeline, size_t i)
{
    struct ma_candidate *candidate = &timeline->candidates[i];
    candidate->account->uses[candidate->use].candidate = MA_NONE;
    free(candidate->bytes);
    *candidate = timeline->candidates[--timeline->n_candidates];
    if (i < timeline->n_candidates)
        candidate->account->uses[candidate->use].candidate = (uint32_t)i;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The most a candidate has held, now included. */
static uint64_t most(const struct ma_candidate *candidate)
{
    uint64_t live = candidate->account->uses[candidate->use].live_bytes;
    return live > candidate->most ? live : candidate->most;
}

/* Make room: the peak has grown since, so most early candidates are small now.
 * If that is not enough, the smaller half goes. */
static void prune(struct ma_timeline *timeline)
{
    for (size_t i = timeline->n_candidates; i-- > 0;) {
        if (most(&timeline->candidates[i]) < timeline->threshold)
            drop(timeline, i);
    }
    if (timeline->n_candidates < MA_CANDIDATES)
        return;
    uint64_t values[MA_CANDIDATES];
    for (size_t i = 0; i < MA_CANDIDATES; i++)
        values[i] = most(&timeline->candidates[i]);
    qsort(values, MA_CANDIDATES, sizeof *values, by_value);
    uint64_t median = values[MA_CANDIDATES / 2];
    for (size_t i = timeline->n_candidates;
         i-- > 0 && timeline->n_candidates > MA_CANDIDATES / 2;) {
        if (most(&timeline->candidates[i]) <= median)
            drop(timeline, i);
    }
}

int ma_timeline_watch(struct ma_timeline *timeline, struct ma_account *account, uint32_t use,
                      uint64_t peak)
{
    timeline->threshold = peak / 1000 + 1;
    if (account->uses[use].live_bytes < timeline->threshold)
        return 0;
    if (timeline->n_candidates == MA_CANDIDATES)
        prune(timeline);
    uint64_t *bytes = calloc(MA_POINTS, sizeof *bytes);
    if (!bytes)
        return -ENOMEM;
    account->uses[use].candidate = (uint32_t)timeline->n_candidates;
    timeline->candidates[timeline->n_candidates++] =
        (struct ma_candidate){ .account = account, .use = use, .bytes = bytes };
    return 0;
}
