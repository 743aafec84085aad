/* SPDX-License-Identifier: MIT
 *
 * A trace in the making and its replay: events are handed to it as the merge would, so
 * that each test says only what it is about. After each event the books must hold.
 */
#ifndef WORLD_H
#define WORLD_H

#include <stdlib.h>

#include "ma_replay.h"
#include "books.h"
#include "tap.h"

struct world {
    struct ma_trace trace;
    struct ma_replay replay;
    unsigned events;
    const char *problem; /* the first time that the books did not hold together */
};

static inline void begin(struct world *world)
{
    *world = (struct world){0};
    ma_trace_init(&world->trace);
    ma_replay_init(&world->replay, &world->trace);
}

static inline void check_books(struct world *world)
{
    if (!world->problem)
        world->problem = books_problem(&world->replay, false);
}

static inline void end(struct world *world)
{
    check_books(world);
    CHECK(!world->problem, "the books hold together%s%s", world->problem ? ": " : "",
          world->problem ? world->problem : "");
    ma_replay_free(&world->replay);
    ma_trace_free(&world->trace);
}

static inline void feed(struct world *world, uint64_t key, uint32_t stream, struct ma_event event)
{
    struct ma_run run = {.events = &event, .n = 1, .n_ahead = 1, .number = stream};
    run.process = ma_trace_process(&world->trace, key);
    if (stream)
        run.stream = ma_trace_stream(&world->trace, run.process, stream);
    if (event.time > run.process->last_time)
        run.process->last_time = event.time;
    if (ma_replay_run(&world->replay, &run) != 0)
        abort();
    if (world->events++ < 2000) /* a walk over all of them */
        check_books(world);
}

static inline void start(struct world *world, uint64_t key, uint64_t pid, uint64_t time)
{
    struct ma_process_record record = {
        .pid = pid,
        .start = time,
        .monotonic_ns = time,
        .clock = MLF_CLOCK_MONOTONIC,
        .block_header = 8,
        .block_grain = 16,
        .smallest_usable = 24,
    };
    ma_process_define(&world->trace, ma_trace_process(&world->trace, key), &record);
    feed(world, key, 0, (struct ma_event){.type = MA_EVENT_START, .time = time});
}

static inline void start_fork(struct world *world, uint64_t key, uint64_t pid, uint64_t parent,
                              uint64_t time)
{
    struct ma_process_record record = {
        .pid = pid,
        .start = time + 1,
        .fork_time = time,
        .monotonic_ns = time + 1,
        .how = MLF_HOW_FORK,
        .parent_key = parent,
        .clock = MLF_CLOCK_MONOTONIC,
        .inherited_nodes = 100,
    };
    ma_process_define(&world->trace, ma_trace_process(&world->trace, key), &record);
    feed(world, key, 0, (struct ma_event){.type = MA_EVENT_FORK, .time = time});
}

static inline void make(struct world *world, uint64_t key, uint32_t stream, uint64_t time,
                        uint64_t address, uint64_t size, uint32_t stack)
{
    feed(world, key, stream,
         (struct ma_event){
             .type = MA_EVENT_ALLOC,
             .time = time,
             .address = address,
             .size = size,
             .usable = size,
             .stack = stack,
         });
}

static inline void drop(struct world *world, uint64_t key, uint32_t stream, uint64_t time,
                        uint64_t address)
{
    feed(world, key, stream,
         (struct ma_event){
             .type = MA_EVENT_FREE,
             .time = time,
             .address = address,
             .function = MLF_FN_free,
         });
}

static inline void move(struct world *world, uint64_t key, uint32_t stream, uint64_t time,
                        uint64_t from, uint64_t to, uint64_t size, uint32_t stack)
{
    feed(world, key, stream,
         (struct ma_event){
             .type = MA_EVENT_REALLOC_BEGIN,
             .time = time,
             .old_address = from,
         });
    feed(world, key, stream,
         (struct ma_event){
             .type = MA_EVENT_REALLOC,
             .time = time + 1,
             .begin = time,
             .old_address = from,
             .address = to,
             .size = size,
             .usable = size,
             .stack = stack,
             .function = MLF_FN_realloc,
         });
}

#endif
