/* SPDX-License-Identifier: MIT
 *
 * The walk over the live set; see ma_survey.h. The parts of a site, one for each thread
 * that allocated its blocks, are a list.
 */
#include "ma_survey.h"

#include <errno.h>

#include "ma_unsure.h"

#define MOST 0.9 /* of the bytes of a site: threads with less than the rest do not count */

/* Bytes of one site by one thread. */
struct ma_survey_part {
    uint32_t thread, next; /* next: MA_NONE: none */
    uint64_t bytes;
};

struct ma_survey_site {
    bool wanted;
    bool unsure;          /* of some of its blocks an end may not have been seen */
    uint32_t parts;       /* the first one, the latest to be made; MA_NONE: none */
    uint32_t latest;      /* the one that was added to last */
    uint32_t births;      /* index; MA_NONE: none */
    uint64_t first, last; /* ticks */
};

static int add_part(struct ma_survey *survey, struct ma_survey_site *site,
                    const struct ma_block *block)
{
    uint32_t index = site->latest;
    if (index == MA_NONE || survey->parts[index].thread != block->thread) {
        const uint64_t key = (uint64_t)block->site << 32 | block->thread;
        index = ma_map_get(&survey->part_of, key);
        if (index == MA_NONE) {
            if (!MA_RESERVE(survey->parts, survey->n_parts, survey->part_capacity))
                return -ENOMEM;
            index = (uint32_t)survey->n_parts++;
            survey->parts[index] = (struct ma_survey_part){block->thread, site->parts, 0};
            if (ma_map_set(&survey->part_of, key, index) < 0)
                return -ENOMEM;
            site->parts = index;
        }
        site->latest = index;
    }
    survey->parts[index].bytes += block->size;
    return 0;
}

static int add_block(struct ma_survey *survey, const struct ma_block *block)
{
    struct ma_survey_site *site = &survey->sites[block->site];
    if (!site->wanted)
        return 0;
    if (ma_unsure_is(survey->account->process, block)) {
        site->unsure = true;
        return 0;
    }
    site->first = block->time < site->first ? block->time : site->first;
    site->last = block->time > site->last ? block->time : site->last;
    if (site->births == MA_NONE) {
        if (!MA_RESERVE(survey->births, survey->n_births, survey->birth_capacity))
            return -ENOMEM;
        site->births = (uint32_t)survey->n_births++;
        survey->births[site->births] = (struct ma_births){0};
    }
    struct ma_births *births = &survey->births[site->births];
    const uint64_t origin = survey->account->history.origin;
    uint64_t part =
        block->time > origin ? (block->time - origin) >> (survey->shift + MA_BIRTH_SHIFT) : 0;
    part = part < MA_BIRTHS ? part : MA_BIRTHS - 1;
    births->bytes[part] += (float)block->size;
    births->blocks[part] += 1;
    return add_part(survey, site, block);
}

/* Some at a time, whose sites are prefetched together. */
static int walk_blocks(struct ma_survey *survey)
{
    const struct ma_account *account = survey->account;
    struct ma_block blocks[64];
    const size_t places = ma_heap_places(&account->heap), most = sizeof blocks / sizeof *blocks;
    for (size_t i = 0; i < places;) {
        size_t n = 0;
        for (; n < most && i < places; i++) {
            if (!ma_heap_at(&account->heap, i, &blocks[n]) || blocks[n].site >= account->n_sites)
                continue;
            ma_prefetch(&survey->sites[blocks[n++].site]);
        }
        for (size_t k = 0; k < n; k++) {
            if (add_block(survey, &blocks[k]) < 0)
                return -ENOMEM;
        }
    }
    return 0;
}

int ma_survey_make(struct ma_survey *survey, const struct ma_replay *replay,
                   const struct ma_account *account, const uint32_t *rows, uint64_t end)
{
    *survey = (struct ma_survey){
        .replay = replay,
        .account = account,
        .end = end,
        .shift = ma_history_shift(account, end),
        .sites = malloc((account->n_sites + 1) * sizeof *survey->sites),
    };
    if (!survey->sites)
        return -ENOMEM;
    for (size_t i = 0; i < account->n_sites; i++)
        survey->sites[i] = (struct ma_survey_site){.wanted = rows[i] != MA_NONE,
                                                   .parts = MA_NONE,
                                                   .latest = MA_NONE,
                                                   .births = MA_NONE,
                                                   .first = UINT64_MAX};
    return walk_blocks(survey);
}

void ma_survey_free(struct ma_survey *survey)
{
    free(survey->sites);
    free(survey->parts);
    free(survey->births);
    ma_map_free(&survey->part_of);
}

/* Of two threads with as many bytes, the one that came later is told. */
static void add_thread(const struct ma_survey *survey, const struct ma_survey_part *part,
                       struct ma_survivors *survivors)
{
    survivors->threads++;
    if (survivors->threads == 1 || part->bytes > survivors->thread_bytes) {
        survivors->thread = part->thread;
        survivors->thread_bytes = part->bytes;
    }
    if (part->thread < survey->replay->n_states)
        survivors->thread_work += (double)survey->replay->states[part->thread].allocations;
}

bool ma_survey_get(const struct ma_survey *survey, size_t index, struct ma_survivors *survivors)
{
    const struct ma_survey_site *site = &survey->sites[index];
    const struct ma_trace *trace = survey->replay->trace;
    if (site->parts == MA_NONE)
        return false;
    *survivors = (struct ma_survivors){.unsure = site->unsure,
                                       .first = site->first,
                                       .last = site->last,
                                       .births = &survey->births[site->births]};
    double all = 0, gone = 0;
    for (uint32_t i = site->parts; i != MA_NONE; i = survey->parts[i].next) {
        const struct ma_survey_part *part = &survey->parts[i];
        add_thread(survey, part, survivors);
        all += (double)part->bytes;
        const uint64_t ended =
            part->thread < trace->n_streams ? trace->streams[part->thread]->end : UINT64_MAX;
        if (ended >= survey->end)
            continue;
        gone += (double)part->bytes;
        survivors->ended = ended > survivors->ended ? ended : survivors->ended;
    }
    const double made = (double)survey->account->sites[index].allocations;
    survivors->thread_work -= survivors->thread_work > made ? made : survivors->thread_work;
    if (gone < MOST * all || !survivors->ended)
        survivors->ended = UINT64_MAX;
    return true;
}
