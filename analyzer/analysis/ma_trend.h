/* SPDX-License-Identifier: MIT
 *
 * Leak or cache: what the floors of a stack (ma_history.h) tell about the
 * blocks it had live at the end. Pure arithmetic; ma_leaks.c asks.
 *
 * The measure is what was never given back: at each moment the least that was
 * live from then to the end. It can only rise. A leak raises it to the end, a
 * cache until it is full, a table once; what comes and goes does not touch it.
 */
#ifndef MA_TREND_H
#define MA_TREND_H

#include <stdbool.h>

enum ma_trend_kind {
    MA_TREND_GROWING, /* was still growing at the end */
    MA_TREND_UNCLEAR, /* the run was too short, rose too rarely or by too little */
    MA_TREND_YOUNG,   /* allocated in the last instants */
    MA_TREND_PLATEAU, /* reached its level long before the end */
    MA_TREND_STARTUP, /* allocated in the first quarter, and left alone since */
    MA_TRENDS
};

/* The reason, for kinds that have several. */
enum ma_trend_why {
    MA_WHY_PLAIN,
    MA_WHY_SHORT,   /* unclear: the run */
    MA_WHY_UNKNOWN, /* unclear: there is no history */
    MA_WHY_RARE,    /* unclear: it rose once or twice, not long ago */
    MA_WHY_BEFORE,  /* plateau: it held as much before, and gave it back */
    MA_WHY_SLOWED,  /* plateau: still rising, ever more slowly */
    MA_WHY_TINY,    /* unclear: what it grew by is below the floor */
};

#define MA_TREND_SHORTEST 0.1 /* seconds: of a shorter run nothing is told */

struct ma_trend_input {
    const double *floors; /* bytes, of equal times that make up the process's life */
    unsigned n;
    double width;  /* of one of them, seconds */
    double life;   /* of the process, seconds */
    double level;  /* bytes live at the end */
    double peak;   /* of the trace: most bytes live at once */
    unsigned last; /* the latest of them in which the stack allocated or freed */
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
