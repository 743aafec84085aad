/* SPDX-License-Identifier: MIT
 *
 * What a pattern of patterns.c is made of: it serves requests, whose number in each
 * step of the run is the load's, and takes and gives blocks at the one stack that is to be
 * judged. Time is virtual. One process runs one pattern once, so patterns keep their state
 * in static variables.
 */
#ifndef PATTERNS_H
#define PATTERNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STEPS = 600 }; /* of a tenth of a second */

enum truth {
    LEAK,      /* grows with the work, to the end or until its threads end */
    CACHE,     /* has a level, or one that follows the load */
    TABLE,     /* made early, and left alone */
    SINGLETON, /* made once each, when first asked for: too few to tell */
    IN_FLIGHT, /* belongs to requests that were being served */
    TINY,      /* grows by what healthy programs grow by */
};

struct pattern {
    const char *name;
    enum truth truth;
    void (*request)(void);
    void (*step)(void); /* at the end of each step; NULL: nothing */
};

/* The patterns that the rules of ma_trend.c were set with, and those put away before
 * and only scored. A row of NULL ends each. */
extern const struct pattern patterns_tuned[], patterns_kept[];

extern unsigned step_now; /* 0 to STEPS - 1 */
extern unsigned served;   /* requests before this one */
extern unsigned to_serve; /* in the whole run */
extern unsigned load_now; /* requests of this step */

void *take(size_t size);                /* malloc at the stack to be judged */
void *regrow(void *block, size_t size); /* realloc there */
void give(void *block);                 /* free; NULL is allowed */
void work(void);                        /* what a request allocates and frees elsewhere */
void on_thread(unsigned thread);        /* what follows is done by it: 0 is main */
void end_thread(unsigned thread);

unsigned below(unsigned limit); /* at random */
bool one_in(unsigned n);
unsigned popular(unsigned limit); /* below limit; small ones far more often (Zipf) */

/* A queue of blocks with a time each, at most `most` long. */
struct queue {
    void *block[1 << 14];
    unsigned due[1 << 14], first, n;
};
void queue_add(struct queue *queue, void *block, unsigned due);
void *queue_take(struct queue *queue);      /* the first; NULL: empty */
void queue_expire(struct queue *queue);     /* give those in front that are due */
void queue_expire_any(struct queue *queue); /* give all that are due, in any place */

#endif
