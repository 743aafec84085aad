/* SPDX-License-Identifier: MIT
 *
 * What is known of the blocks that wrong frees name: which block had the address before,
 * by whom it was allocated, and by whom it was freed first. The replay keeps nothing of a
 * block that has ended; so this is an observer of its own, which takes some 100 bytes for
 * each address that was ever given out. Registered for the pass where wrong frees are
 * asked for; else the trace is read a second time, for the few addresses that matter, once
 * there are any.
 */
#ifndef MA_PAST_H
#define MA_PAST_H

#include "ma_analysis.h"

/* A call: thread is an index among the trace's streams, stack a node id of process; 0: not
 * told. process NULL: not known. */
struct ma_past_call {
    const struct ma_process *process;
    uint64_t ns;
    uint32_t thread, stack;
};

enum ma_wrong_kind {
    MA_WRONG_SECOND,    /* the block has been freed before */
    MA_WRONG_INSIDE,    /* the address lies in a live block */
    MA_WRONG_NEVER,     /* nothing was given out there */
    MA_WRONG_UNMATCHED, /* nothing is known: the trace was read once only */
};

/* What one wrong free is, and of which block. */
struct ma_wrong_case {
    const struct ma_wrong_free *free;
    enum ma_wrong_kind kind;
    uint64_t address, size;                 /* of the block; SECOND and INSIDE only */
    struct ma_past_call made, ended, again; /* allocated, freed first, freed wrongly */
    uint64_t frees;                         /* alike */
};

/* Watch the pass that is to come. Returns 0 or -ENOMEM. */
int ma_past_observe(struct ma_analysis *analysis);

/* The wrong frees of the trace, those alike (of the same kind, by the same stacks) as one, most
 * frequent first, to be freed by the caller. May read the trace again. Returns their
 * number, or -ENOMEM. */
long ma_past_cases(struct ma_analysis *analysis, struct ma_wrong_case **cases);

/* What it is, as a sentence without its end; the name of the function that freed. */
#define MA_PAST_TEXT 160
void ma_past_say(const struct ma_wrong_case *one, char *text, size_t size);
const char *ma_past_function(const struct ma_wrong_free *one);

/* Why frees of a trace that match nothing need not be wrong: a sentence's end, or NULL. */
const char *ma_past_doubt(const struct ma_analysis *analysis);

/* Those that are surely wrong. */
uint64_t ma_past_wrong(const struct ma_analysis *analysis);

#endif
