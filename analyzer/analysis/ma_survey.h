/* SPDX-License-Identifier: MIT
 *
 * The blocks of one process that are live at the end, summed up by site: when they were
 * allocated, by which threads, and whether these are still there. Made in one walk over
 * the live set, for ma_leaks.c; memory in proportion to the sites that have blocks.
 */
#ifndef MA_SURVEY_H
#define MA_SURVEY_H

#include "ma_map.h"
#include "ma_replay.h"
#include "ma_trend.h"

struct ma_survivors { /* of one site */
    bool unsure;      /* there are others, of which an end may not have been seen (ma_unsure.h) */
    uint64_t first, last; /* ticks: allocation of the oldest and of the youngest */
    uint32_t threads;     /* that allocated them */
    uint32_t thread;      /* index of the one with most bytes of them */
    uint64_t thread_bytes;
    uint64_t ended;     /* ticks: the end of the last of the threads that allocated most of
                         * them; UINT64_MAX: one of these goes on */
    double thread_work; /* what these threads allocated elsewhere: number of calls */
    const struct ma_births *births;
};

struct ma_survey { /* the module's own */
    const struct ma_replay *replay;
    const struct ma_account *account;
    uint64_t end;
    unsigned shift;
    struct ma_survey_site *sites;
    struct ma_survey_part *parts;
    size_t n_parts, part_capacity;
    struct ma_map part_of; /* site and thread */
    struct ma_births *births;
    size_t n_births, birth_capacity;
};

/* Look at all blocks of `account`, a process of this replay or of a filter's books of it,
 * but those of sites whose row is MA_NONE. `end`: ticks, of the process. Returns 0 or
 * -ENOMEM; the survey is to be freed either way. */
int ma_survey_make(struct ma_survey *survey, const struct ma_replay *replay,
                   const struct ma_account *account, const uint32_t *rows, uint64_t end);
void ma_survey_free(struct ma_survey *survey);

/* The survivors of a site, valid as long as the survey; false if it has none. */
bool ma_survey_get(const struct ma_survey *survey, size_t site, struct ma_survivors *survivors);

#endif
