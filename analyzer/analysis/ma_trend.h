/* SPDX-License-Identifier: MIT
 *
 * Leak or cache: what the history of a stack (ma_history.h) and the blocks it had live at
 * the end (ma_survey.h) tell. Pure arithmetic; ma_leaks.c asks.
 *
 * The measure is what was never given back: at each moment the least that was
 * live from then to the end. It can only rise. A leak raises it to the end, a
 * cache until it is full, a table once; what comes and goes does not touch it.
 *
 * Two clocks: that of the wall, and the work of the process, its allocations but
 * those of the stack that stayed. A leak grows with the work, or with the time, as long as there is
 * some of it.
 */
#ifndef MA_TREND_H
#define MA_TREND_H

#include <stdbool.h>

#include "ma_history.h"

enum ma_trend_kind {
    MA_TREND_GROWING, /* was still growing at the end, or when its thread or its work ended */
    MA_TREND_UNCLEAR, /* the run was too short, rose too rarely or by too little */
    MA_TREND_YOUNG,   /* allocated in the last instants */
    MA_TREND_PLATEAU, /* reached its level long before the end */
    MA_TREND_STARTUP, /* allocated in the first quarter, and left alone since */
    MA_TRENDS
};

/* The reason, for kinds that have several. */
enum ma_trend_why {
    MA_WHY_PLAIN,
    MA_WHY_SHORT,       /* unclear: the run */
    MA_WHY_UNKNOWN,     /* unclear: there is no history */
    MA_WHY_RARE,        /* unclear: it rose once or twice, not long ago */
    MA_WHY_BEFORE,      /* plateau: it held as much before, and gave it back */
    MA_WHY_SLOWED,      /* plateau: still rising, ever more slowly */
    MA_WHY_SLOWED_WORK, /* plateau: the same for the work done */
    MA_WHY_TURNS,       /* plateau: its blocks turn over; their number follows the load */
    MA_WHY_TINY,        /* unclear: what it grew by is below the floor */
    MA_WHY_FEW,         /* unclear: it grew by a few blocks only */
    MA_WHY_ENDED,       /* growing: until its threads ended */
    MA_WHY_UNSEEN,      /* unclear: recording was paused, and part of it may be freed */
    MA_WHY_PAUSED,      /* growing: until the process had nothing to do */
};

#define MA_TREND_SHORTEST 0.1 /* seconds: of a shorter run nothing is told */

#define MA_BIRTHS 16     /* parts of a life, of */
#define MA_BIRTH_SHIFT 2 /* 2^this intervals each */

/* When the blocks that were live at the end were allocated. */
struct ma_births {
    float bytes[MA_BIRTHS], blocks[MA_BIRTHS];
};

struct ma_trend_input {
    unsigned n;              /* equal times that make up the process's life */
    double floors[MA_SLOTS]; /* the least bytes in each of them */
    double made[MA_SLOTS];   /* allocations of the stack up to the end of each */
    double work[MA_SLOTS];   /* and of the whole process */
    double width;            /* of one of them, seconds */
    double life;             /* of the process, seconds */
    double level, blocks;    /* bytes and blocks live at the end */
    double peak;             /* of the trace: most bytes live at once */
    unsigned last;           /* the latest of them in which the stack allocated or freed */
    unsigned ended;          /* that in which the last of the threads that allocated its
                              * blocks ended; n: one goes on */
    double thread_work;      /* allocations of these threads at other stacks */
    const struct ma_births *births;
};

struct ma_trend {
    enum ma_trend_kind kind;
    enum ma_trend_why why;
    double confidence;         /* 0 to 1; 0 of young and unclear, which claim nothing */
    double slope;              /* bytes per second in the second half of the stack's life */
    unsigned rises, intervals; /* in how many of its intervals the measure rose */
    double settled;            /* seconds from the process's first event to its last rise */
    double grown;              /* bytes that the measure rose by after its first interval */
    double last_quarter;       /* share of the level that the last quarter of its life added */
};

struct ma_trend ma_trend_judge(const struct ma_trend_input *input);

/* "growing", "plateau" …: the name in JSON. */
const char *ma_trend_name(enum ma_trend_kind kind);

#endif
