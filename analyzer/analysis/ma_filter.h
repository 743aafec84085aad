/* SPDX-License-Identifier: MIT
 *
 * Filters: which blocks reports are about. A block is accepted or not when it
 * begins, for its whole life: by its process, the thread that allocates it, its
 * size, its stack and the moment. A call that failed is judged by the same.
 * Observers are told nothing of what happens after the window's end. The filter
 * stands between the replay, whose own books stay whole (so no free lacks its
 * allocation), and its observers (ma_observer.h); it is the first of these and
 * keeps the books of what it accepts, in the form of the replay's and with its
 * numbers of sites (those of which nothing is accepted have no allocations):
 * reports take those of ma_analysis_books and need not know of filters.
 *
 * Inherited blocks are never accepted: they are their parent's.
 *
 * Costs: the live set of accepted blocks once more, one byte for each stack of
 * each process; a stack is resolved when an event first has it, and each of its
 * frames once.
 */
#ifndef MA_FILTER_H
#define MA_FILTER_H

#include "ma_filter_options.h"
#include "ma_replay.h"
#include "ma_stacks.h"

struct ma_filter_verdicts { /* on the stacks of one process */
    uint8_t *of_site;       /* by number of the site; 0: not known yet */
    size_t n;
};

/* An accepted block whose realloc has begun: its address is another's by now. */
struct ma_displaced {
    uint32_t process; /* index */
    struct ma_block block;
};

struct ma_filter {
    const struct ma_filter_options *spec;
    struct ma_trace *trace;
    struct ma_merge *merge; /* that reads it */
    struct ma_observer observer;
    struct ma_acceptor acceptor;
    struct ma_replay books;
    /* The window, ns since the start of the trace: from <= moment < to. */
    uint64_t from, to;
    uint64_t end;        /* to, or where the trace ends before that, if known: of --min-age */
    struct ma_map named; /* process index << 32 | stream number, to whether its name is wanted */
    struct ma_stacks stacks; /* its own: it asks while the trace is read */
    uint8_t *pcs;            /* what frames match, by number of their site */
    size_t n_pcs;
    struct ma_filter_verdicts *verdicts; /* by process index */
    size_t n_verdicts;
    struct ma_map of_failures; /* process index << 32 | stack, to the verdict */
    uint8_t *allocated;        /* by thread: it allocated an accepted block */
    size_t n_allocated, threads;
    struct ma_displaced *displaced;
    size_t n_displaced, displaced_capacity;
    bool failed; /* memory ran out */
};

/* A filter for the replay of `trace`, which `merge` will read from `path`: reads it
 * once before if the spec asks for its end, and registers with observers, as the
 * first. symbols may be NULL. Returns 0 or a negative errno with a message;
 * free in either case. */
int ma_filter_new(struct ma_filter **filter, const struct ma_filter_options *spec, const char *path,
                  struct ma_trace *trace, struct ma_merge *merge, struct ma_symbols *symbols,
                  struct ma_observers *observers, struct ma_error *error);
void ma_filter_free(struct ma_filter *filter); /* NULL is allowed */

/* True if reports are about this process, and this moment (ns) lies in the window. */
bool ma_filter_has(const struct ma_filter *filter, const struct ma_process *process, uint64_t ns);

/* The moment up to which a process is looked at, in its ticks: `end`, or the
 * window's end if that comes first. */
uint64_t ma_filter_end(const struct ma_filter *filter, const struct ma_process *process,
                       uint64_t end);

/* The filter in words, "filtered: …": a string to free, NULL if memory is short. */
char *ma_filter_text(const struct ma_filter *filter);

/* For ma_filter_new: find what lies ahead in the trace. */
int ma_filter_scan(struct ma_filter *filter, const char *path, struct ma_error *error);

#endif
