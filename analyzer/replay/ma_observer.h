/* SPDX-License-Identifier: MIT
 *
 * Aggregations beyond the default reports: lifetimes, sizes, realloc chains,
 * snapshots, the timeline … An observer is a struct of callbacks that the
 * replay calls after each event has been entered in the books. A report
 * registers one only if it is asked for (`observe` of struct ma_report), before
 * the pass; without observers the replay pays one predictable branch an event.
 *
 * Filters. All that reaches an observer goes through the struct ma_acceptor that a
 * filter by process, thread, size, stack, time window or age (ma_filter.h) hangs
 * into struct ma_observers, and is asked in ma_observer.c, nowhere else. It decides
 * by struct ma_seen and its like alone. Observers thus never filter themselves. The
 * replay's own books are not filtered: the filter keeps books of its own, as an
 * observer, and reports take those of ma_analysis_books.
 *
 * The order of callbacks is the order of the merge. Everything passed is valid
 * during the call. A callback returns 0, or -ENOMEM, which ends the pass. All
 * run in the thread of the replay.
 */
#ifndef MA_OBSERVER_H
#define MA_OBSERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ma_trace.h"

struct ma_account;
struct ma_replay;
struct ma_observer;

/* The event. Joint sums (live_bytes, resident …) are in replay, as they are
 * after the event. */
struct ma_seen {
    const struct ma_replay *replay;
    const struct ma_account *account; /* of the process: sums, sites, account->process */
    struct ma_process *process;
    const struct ma_stream *stream; /* NULL: from a definitions chunk */
    uint64_t ticks;                 /* its moment by the clock of the process */
    uint64_t ns;        /* the same in ns since the start of the trace's first process */
    uint32_t thread;    /* that made the call: index of a stream in the trace */
    uint64_t made;      /* allocations that it made so far, of a block's event */
    uint8_t function;   /* enum mlf_function, of a block's event */
    uint32_t freed_by;  /* node id of the stack that ended a block; 0: not told, or not yet */
    uint64_t alignment; /* that an allocation asked for; 0: none */
};

/* A block, as the books have it. */
struct ma_seen_block {
    uint64_t address, size, usable;
    uint64_t ticks, ns; /* of its allocation */
    uint32_t stack;     /* node id in the process; 0 if inherited */
    uint32_t site;      /* index in account->sites: a dense number of the stack;
                         * MA_NONE: inherited by fork, and only its copy ends */
    uint32_t thread;    /* that allocated it */
    bool temporary;     /* ended before that thread allocated again */
    bool unseen;        /* its end is not in the trace: the address was given out again */
};

/* A call that failed: it has no block. */
struct ma_seen_failure {
    uint64_t size;
    uint32_t stack, thread; /* node id in the process; that made it */
};

enum ma_process_change {
    MA_PROCESS_STARTED,
    MA_PROCESS_FORKED,   /* began as a copy of account->process->parent, if that is known */
    MA_PROCESS_LEFT,     /* its end was told and others go on: its blocks are leaks now, and
                          * in no joint sum */
    MA_PROCESS_RETURNED, /* it had left, but allocates: it counts again */
};

struct ma_mark;
struct ma_wrong_free; /* ma_wrong.h */

/* A savepoint is set, or it is asserted that nothing has grown since. */
struct ma_savepoint {
    uint64_t number;
    const char *name, *place;
    int64_t growth; /* usable bytes, as the program counted them */
    bool asserted, counted;
};

/* Callbacks that are NULL are not called. */
struct ma_observer {
    void *context;
    int (*process)(void *context, const struct ma_seen *seen, enum ma_process_change change);
    int (*allocated)(void *context, const struct ma_seen *seen, const struct ma_seen_block *block);
    int (*freed)(void *context, const struct ma_seen *seen, const struct ma_seen_block *block);
    /* A realloc moved or resized a block: old ends and new begins at one
     * moment. NULL: told as freed, then allocated. `old` is NULL if its
     * allocation is not in the trace. */
    int (*resized)(void *context, const struct ma_seen *seen, const struct ma_seen_block *old,
                   const struct ma_seen_block *block);
    int (*failed)(void *context, const struct ma_seen *seen, const struct ma_seen_failure *failure);
    int (*marked)(void *context, const struct ma_seen *seen, const struct ma_mark *mark);
    /* A free of what was no live block, and its number among those kept. Whatever the
     * filter: what leads to it may lie anywhere. */
    int (*wrong)(void *context, const struct ma_seen *seen, const struct ma_wrong_free *one,
                 size_t number);
    /* The stack of the free that was the latest call in seen->stream. Whatever the filter. */
    int (*told)(void *context, const struct ma_seen *seen, uint32_t stack);
    int (*savepoint)(void *context, const struct ma_seen *seen,
                     const struct ma_savepoint *savepoint);
    /* The end of the trace; when a trace is followed also each report on the way,
     * after which events go on. */
    int (*finished)(void *context, const struct ma_replay *replay);
};

#define MA_OBSERVERS 16

/* A filter's decisions. */
struct ma_acceptor {
    void *context;
    /* True: observers are told of this block now, of its begin or its end. */
    bool (*begin)(void *context, const struct ma_seen *seen, const struct ma_seen_block *block);
    bool (*end)(void *context, const struct ma_seen *seen, const struct ma_seen_block *block);
    bool (*failure)(void *context, const struct ma_seen *seen,
                    const struct ma_seen_failure *failure);
    /* True: they are told of something else now, which may lie before the
     * window, unless `after` is set. */
    bool (*moment)(void *context, const struct ma_seen *seen, bool after);
};

struct ma_observers {
    const struct ma_observer *all[MA_OBSERVERS]; /* the callers' */
    size_t n;
    const struct ma_acceptor *acceptor; /* the caller's; NULL: all is told */
};

/* Register; the observer must outlive the replay. Returns 0 or -ENOMEM. */
int ma_observers_add(struct ma_observers *observers, const struct ma_observer *observer);

/* For the replay: tell all. */
int ma_observers_process(const struct ma_observers *observers, const struct ma_seen *seen,
                         enum ma_process_change change);
int ma_observers_allocated(const struct ma_observers *observers, const struct ma_seen *seen,
                           const struct ma_seen_block *block);
int ma_observers_freed(const struct ma_observers *observers, const struct ma_seen *seen,
                       const struct ma_seen_block *block);
int ma_observers_resized(const struct ma_observers *observers, const struct ma_seen *seen,
                         const struct ma_seen_block *old, const struct ma_seen_block *block);
int ma_observers_failed(const struct ma_observers *observers, const struct ma_seen *seen,
                        const struct ma_seen_failure *failure);
int ma_observers_marked(const struct ma_observers *observers, const struct ma_seen *seen,
                        const struct ma_mark *mark);
int ma_observers_wrong(const struct ma_observers *observers, const struct ma_seen *seen,
                       const struct ma_wrong_free *one, size_t number);
int ma_observers_told(const struct ma_observers *observers, const struct ma_seen *seen,
                      uint32_t stack);
int ma_observers_savepoint(const struct ma_observers *observers, const struct ma_seen *seen,
                           const struct ma_savepoint *savepoint);
int ma_observers_finished(const struct ma_observers *observers, const struct ma_replay *replay);

#endif
