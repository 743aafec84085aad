/* SPDX-License-Identifier: MIT
 *
 * One analysis from the input to the numbers that reports are built from:
 * rows, one for each stack, whatever the process.
 */
#ifndef MA_ANALYSIS_H
#define MA_ANALYSIS_H

#include "ma_filter.h"
#include "ma_merge.h"
#include "ma_request.h"
#include "ma_process_peaks.h"
#include "ma_executable.h"
#include "ma_progress.h"
#include "ma_replay.h"
#include "ma_stacks.h"
#include "ma_suppress.h"
#include "ma_timeline.h"
#include "ma_unsure.h"

/* The most that a stack held at once: bytes, and when; blocks. */
struct ma_own_peak {
    uint64_t bytes, ns, blocks;
};

struct ma_row {
    uint32_t stack; /* id in ma_stacks */
    uint64_t leaked_bytes, leaked_blocks;
    uint64_t peak_bytes, peak_blocks;
    uint64_t calls, bytes; /* allocations and what they asked for */
    uint64_t temporary;
    struct ma_own_peak own; /* in one process */
    /* the process that leaked most of it, its number for the stack, and how much;
     * how many did */
    const struct ma_account *holder; /* NULL: one that was retired */
    uint32_t holder_site, holders;
    uint64_t held, held_by; /* held_by: its index << 32 | holder_site */
    uint32_t retired;       /* 1 + index of what ma_retire.h keeps of leaks; 0: nothing */
};

/* Take what is more, and of two moments with as much the earlier. */
static inline void ma_own_peak_unite(struct ma_own_peak *own, const struct ma_own_peak *other)
{
    if (!own->blocks || other->bytes > own->bytes ||
        (other->bytes == own->bytes && other->ns < own->ns)) {
        own->bytes = other->bytes;
        own->ns = other->ns;
    }
    own->blocks = other->blocks > own->blocks ? other->blocks : own->blocks;
}

/* An observer's data: gathered during the pass, read when its report is built. */
struct ma_observer_data {
    const void *key; /* says whose it is */
    void *data;
    void (*free)(void *data);
};
#define MA_OBSERVER_DATA_MAX 24

struct ma_retire;

struct ma_analysis {
    const struct ma_request *request;
    struct ma_source *source;
    struct ma_trace trace;
    struct ma_merge merge;
    struct ma_replay replay;
    struct ma_filter *filter;               /* NULL: none */
    struct ma_timeline *timeline;           /* NULL: not asked for */
    struct ma_retire *retire;               /* NULL: every process keeps its own books */
    struct ma_process_peaks *process_peaks; /* of each process; NULL: not asked for */
    struct ma_observer_data observer_data[MA_OBSERVER_DATA_MAX];
    size_t n_observer_data;
    struct ma_symbols *symbols;
    struct ma_stacks stacks;
    struct ma_row *rows;
    size_t n_rows, row_capacity;
    uint64_t leaked_bytes, leaked_blocks;
    struct ma_sum unsure; /* live, but perhaps not; in no row's leaked (ma_unsure.h) */
    struct ma_suppressions suppressions; /* of files, then of the program */
    struct ma_executable executable;     /* see ma_analysis_executable */
    bool executable_read;
    char suppressions_problem[200]; /* of the program's own; or empty */
    struct ma_leaks *leaks;         /* what ma_leaks.h tells of the rows; NULL: not asked yet */
    uint64_t duration;              /* ns */
    /* Called a few times a second while the pass goes on, from within it: may
     * build reports. True ends the input there. NULL: not called. */
    bool (*poll)(void *context, struct ma_analysis *analysis);
    void *poll_context;
    struct ma_progress progress;
    bool ongoing; /* followed, and the input has not ended: who has no end is running */
    bool silent;  /* a report is in sight already: no progress of the pass */
};

/* A client of the pass beside the replay: it sees each event just after the replay
 * did, so that an observer may tell it of the blocks. All functions may be NULL. */
struct ma_pass {
    int (*event)(void *context, struct ma_analysis *analysis, const struct ma_merged *merged);
    int (*end)(void *context, struct ma_analysis *analysis);
    void *context;
    bool no_replay; /* the books are not needed */
    bool prompt;    /* of a pipe, hold no event back for more than a moment */
};

/* Open the trace. Observers (ma_observer.h) may register with replay from then on
 * until the pass. Returns 0 or a negative errno with a message; free in either
 * case. */
int ma_analysis_open(struct ma_analysis *analysis, const struct ma_request *request,
                     struct ma_error *error);

/* The same trace from its beginning; what is known of symbols stays. */
int ma_analysis_reopen(struct ma_analysis *analysis, struct ma_error *error);

/* Read it to its end. pass may be NULL. */
int ma_analysis_run(struct ma_analysis *analysis, const struct ma_pass *pass,
                    struct ma_error *error);

/* Register an observer whose data the analysis is to keep and to free with
 * itself; also on failure, and if data is NULL. Returns 0 or -ENOMEM. */
int ma_analysis_observe(struct ma_analysis *analysis, const struct ma_observer *observer,
                        const void *key, void *data, void (*free)(void *data));

/* Retire processes that are over (ma_retire.h), for who looks at rows alone; where
 * observers are registered already, nothing is done. Requires that rows are built
 * once only (asserted). Before the pass. Returns 0 or -ENOMEM. */
int ma_analysis_retire(struct ma_analysis *analysis);

/* The data kept under key, or NULL. */
void *ma_analysis_observer_data(const struct ma_analysis *analysis, const void *key);
/* The books that reports are about: of what the filter accepts, or of all. Their
 * end and marks are the replay's. */
static inline const struct ma_replay *ma_analysis_books(const struct ma_analysis *analysis)
{
    return analysis->filter ? &analysis->filter->books : &analysis->replay;
}

/* The part of the trace's time that reports are about, ns since its start: all
 * of it, or what --from and --to leave. Requires ma_analysis_rows. */
struct ma_window {
    uint64_t from, to;
};
struct ma_window ma_analysis_window(const struct ma_analysis *analysis);

/* The own peak of a site. */
struct ma_own_peak ma_analysis_own_peak(const struct ma_analysis *analysis,
                                        const struct ma_account *account, size_t index);

/* Build the rows; anew, if they were built before, which requires that no process
 * was retired (ma_analysis_retire). */
int ma_analysis_rows(struct ma_analysis *analysis, struct ma_error *error);

/* The allocators and suppressions in the executable of the trace's first process,
 * if the file that ran is found; its suppressions join the others. Requires the
 * pass to be over. Returns NULL if memory is short. */
const struct ma_executable *ma_analysis_executable(struct ma_analysis *analysis);

void ma_analysis_free(struct ma_analysis *analysis);

#endif
