/* SPDX-License-Identifier: MIT
 *
 * Lanes; see ma_lane.h. A lane's mutex is held by whoever decodes into it, for a
 * batch at a time. The positions of its ring only grow: `taken` is written by
 * the merge, `filled` by the holder of the mutex. The worker sleeps when it has
 * nothing to do, and is woken when a ring is down to its half, so that a
 * wake-up, which costs microseconds, goes for thousands of events.
 */
#include "ma_lane.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define LANES 4
#define DEPTH 8         /* batches in a ring */
#define LANE_BATCH 2048 /* events: a ring holds some tenths of a millisecond of replay */

struct ma_lane {
    pthread_mutex_t mutex;
    struct ma_lanes *lanes;
    struct ma_decoder *decoder;
    bool used;                   /* by a chunk; the merge's alone */
    atomic_bool open;            /* more may be decoded */
    atomic_size_t taken, filled; /* batches; the latest one taken is still in use */
    struct ma_batch ring[DEPTH];
    struct ma_event *events; /* of all batches */
};

struct ma_lanes {
    pthread_t thread;
    pthread_mutex_t mutex; /* of asleep and stop */
    pthread_cond_t wake;
    atomic_bool asleep;
    bool stop;
    struct ma_lane all[LANES];
};

static bool has_room(struct ma_lane *lane, size_t least)
{
    size_t filled = atomic_load(&lane->filled), taken = atomic_load(&lane->taken);
    /* The batch before `taken` is in the merge's hands. */
    return atomic_load(&lane->open) && filled - taken + least < DEPTH;
}

/* Decode one batch. The mutex is held, and there is room. */
static void fill(struct ma_lane *lane)
{
    size_t filled = atomic_load(&lane->filled);
    struct ma_batch *batch = &lane->ring[filled % DEPTH];
    batch->status = ma_decoder_run(lane->decoder, batch->events, LANE_BATCH, &batch->n);
    if (batch->status != MA_DECODE_MORE)
        atomic_store(&lane->open, false);
    atomic_store(&lane->filled, filled + 1);
}

static bool fill_some(struct ma_lanes *lanes)
{
    bool did = false;
    for (size_t i = 0; i < LANES; i++) {
        struct ma_lane *lane = &lanes->all[i];
        if (!has_room(lane, 1) || pthread_mutex_trylock(&lane->mutex) != 0)
            continue;
        if (has_room(lane, 1)) {
            fill(lane);
            did = true;
        }
        pthread_mutex_unlock(&lane->mutex);
    }
    return did;
}

static bool is_wanted(struct ma_lanes *lanes)
{
    for (size_t i = 0; i < LANES; i++) {
        if (has_room(&lanes->all[i], DEPTH / 2))
            return true;
    }
    return false;
}

static void *work(void *context)
{
    struct ma_lanes *lanes = context;
    for (;;) {
        if (fill_some(lanes))
            continue;
        pthread_mutex_lock(&lanes->mutex);
        atomic_store(&lanes->asleep, true);
        while (!lanes->stop && !is_wanted(lanes))
            pthread_cond_wait(&lanes->wake, &lanes->mutex);
        atomic_store(&lanes->asleep, false);
        bool stop = lanes->stop;
        pthread_mutex_unlock(&lanes->mutex);
        if (stop)
            return NULL;
    }
}

static void wake(struct ma_lanes *lanes)
{
    pthread_mutex_lock(&lanes->mutex);
    pthread_cond_signal(&lanes->wake);
    pthread_mutex_unlock(&lanes->mutex);
}

static bool has_second_core(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return errno == EINVAL; /* more than a set can tell */
    return CPU_COUNT(&set) > 1;
}

/* Signals are for the thread that waits for input; but a mapping that is lost is
 * told whoever meets it. */
static int start_worker(struct ma_lanes *lanes)
{
    sigset_t most, before;
    sigfillset(&most);
    sigdelset(&most, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &most, &before);
    int result = pthread_create(&lanes->thread, NULL, work, lanes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

static void free_lanes(struct ma_lanes *lanes)
{
    for (size_t i = 0; i < LANES; i++) {
        pthread_mutex_destroy(&lanes->all[i].mutex);
        free(lanes->all[i].events);
    }
    pthread_mutex_destroy(&lanes->mutex);
    pthread_cond_destroy(&lanes->wake);
    free(lanes);
}

struct ma_lanes *ma_lanes_start(void)
{
    struct ma_lanes *lanes = has_second_core() ? calloc(1, sizeof *lanes) : NULL;
    if (!lanes)
        return NULL;
    bool whole = true;
    pthread_mutex_init(&lanes->mutex, NULL);
    pthread_cond_init(&lanes->wake, NULL);
    for (size_t i = 0; i < LANES; i++) {
        struct ma_lane *lane = &lanes->all[i];
        pthread_mutex_init(&lane->mutex, NULL);
        lane->lanes = lanes;
        lane->events = calloc(DEPTH * LANE_BATCH, sizeof *lane->events);
        whole &= lane->events != NULL;
        for (size_t k = 0; k < DEPTH; k++)
            lane->ring[k].events = lane->events + k * LANE_BATCH;
    }
    if (!whole || start_worker(lanes) != 0) {
        free_lanes(lanes);
        return NULL;
    }
    return lanes;
}

void ma_lanes_stop(struct ma_lanes *lanes)
{
    if (!lanes)
        return;
    pthread_mutex_lock(&lanes->mutex);
    lanes->stop = true;
    pthread_cond_signal(&lanes->wake);
    pthread_mutex_unlock(&lanes->mutex);
    pthread_join(lanes->thread, NULL);
    free_lanes(lanes);
}

struct ma_lane *ma_lane_open(struct ma_lanes *lanes, struct ma_decoder *decoder)
{
    for (size_t i = 0; lanes && i < LANES; i++) {
        struct ma_lane *lane = &lanes->all[i];
        if (lane->used)
            continue;
        pthread_mutex_lock(&lane->mutex);
        lane->used = true;
        lane->decoder = decoder;
        atomic_store(&lane->taken, 0);
        atomic_store(&lane->filled, 0);
        atomic_store(&lane->open, true);
        pthread_mutex_unlock(&lane->mutex);
        if (atomic_load(&lanes->asleep))
            wake(lanes);
        return lane;
    }
    return NULL;
}

struct ma_batch ma_lane_take(struct ma_lane *lane)
{
    size_t taken = atomic_load(&lane->taken);
    if (taken == atomic_load(&lane->filled)) {
        pthread_mutex_lock(&lane->mutex);
        if (taken == atomic_load(&lane->filled))
            fill(lane);
        pthread_mutex_unlock(&lane->mutex);
    }
    atomic_store(&lane->taken, taken + 1);
    if (atomic_load(&lane->lanes->asleep) && has_room(lane, DEPTH / 2))
        wake(lane->lanes);
    return lane->ring[taken % DEPTH];
}

size_t ma_lane_waiting(struct ma_lane *lane)
{
    return atomic_load(&lane->filled) - atomic_load(&lane->taken);
}

const struct ma_batch *ma_lane_peek(struct ma_lane *lane, size_t i)
{
    return &lane->ring[(atomic_load(&lane->taken) + i) % DEPTH];
}

void ma_lane_pause(struct ma_lane *lane)
{
    pthread_mutex_lock(&lane->mutex);
}

void ma_lane_resume(struct ma_lane *lane)
{
    pthread_mutex_unlock(&lane->mutex);
}

void ma_lane_close(struct ma_lane *lane)
{
    pthread_mutex_lock(&lane->mutex);
    atomic_store(&lane->open, false);
    lane->used = false;
    pthread_mutex_unlock(&lane->mutex);
}
