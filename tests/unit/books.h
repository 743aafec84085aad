/* SPDX-License-Identifier: MIT
 *
 * Checks of the books of a replay (ma_replay.h): what holds between two runs of
 * events, whatever the trace was. For tests that replay, and for the fuzz targets.
 */
#ifndef BOOKS_H
#define BOOKS_H

#include <stdlib.h>

#include "ma_replay.h"

/* Blocks between the two times of a realloc: in the sites, no more in the heap. */
static void books_add_moving(const struct ma_replay *replay, const struct ma_account *account,
                             uint64_t *bytes, uint64_t *blocks)
{
    const struct ma_trace *trace = replay->trace;
    for (size_t i = 0; i < replay->n_states && i < trace->n_streams; i++) {
        const struct ma_stream_state *state = &replay->states[i];
        if (trace->streams[i]->process != account->process || state->moving.site == MA_NONE ||
            state->is_moving != 1 + account->retired)
            continue;
        bytes[state->moving.site] += state->moving.size;
        blocks[state->moving.site]++;
    }
}

/* The live set, by site, is what the sites say. */
static const char *books_of_heap(const struct ma_replay *replay, const struct ma_account *account,
                                 bool wraps)
{
    uint64_t *bytes = calloc(account->n_sites + 1, sizeof *bytes);
    uint64_t *blocks = calloc(account->n_sites + 1, sizeof *blocks);
    const char *problem = bytes && blocks ? NULL : "no memory for a check";
    struct ma_block block;
    size_t count = 0;
    for (size_t i = 0; !problem && i < ma_heap_places(&account->heap); i++) {
        if (!ma_heap_at(&account->heap, i, &block))
            continue;
        count++;
        if (block.site >= account->n_sites) {
            problem = "a live block is of no use";
            break;
        }
        bytes[block.site] += block.size;
        blocks[block.site]++;
    }
    if (!problem && count != account->heap.count)
        problem = "a live set does not have the blocks that it counts";
    if (!problem)
        books_add_moving(replay, account, bytes, blocks);
    for (size_t i = 0; !problem && i < account->n_sites; i++) {
        const struct ma_alloc_site *site = &account->sites[i];
        if (bytes[i] != site->live_bytes || blocks[i] != site->live_blocks)
            problem = "what a use holds is not what lives of its blocks";
        else if (!wraps && site->floor > site->live_bytes)
            problem = "a floor is above what is held";
    }
    free(bytes);
    free(blocks);
    return problem;
}

/* NULL, or what does not hold. `wraps`: the trace may claim sizes whose sums wrap; equal
 * sums are equal all the same. */
static const char *books_problem(const struct ma_replay *replay, bool wraps)
{
    const struct ma_totals *totals = &replay->totals;
    uint64_t joint_bytes = 0, joint_blocks = 0, all_bytes = 0, all_blocks = 0, calls = 0;
    uint64_t peak_bytes = 0, peak_blocks = 0;
    for (size_t i = 0; i < replay->n_accounts; i++) {
        const struct ma_account *account = replay->accounts[i];
        if (!account)
            continue;
        uint64_t bytes = account->retired_bytes, blocks = account->retired_blocks;
        for (size_t k = 0; k < account->n_sites; k++) {
            const struct ma_alloc_site *site = &account->sites[k];
            uint64_t at_peak, blocks_at_peak;
            ma_replay_at_peak(replay, account, site, &at_peak, &blocks_at_peak);
            peak_bytes += at_peak;
            peak_blocks += blocks_at_peak;
            bytes += site->live_bytes;
            blocks += site->live_blocks;
        }
        if (bytes != account->live_bytes || blocks != account->live_blocks)
            return "a process does not hold what its stacks hold";
        all_bytes += bytes;
        all_blocks += blocks;
        calls += account->allocations;
        joint_bytes += account->gone ? 0 : bytes - account->retired_bytes;
        joint_blocks += account->gone ? 0 : blocks - account->retired_blocks;
        const char *problem = books_of_heap(replay, account, wraps);
        if (problem)
            return problem;
    }
    if (joint_bytes != replay->live_bytes || joint_blocks != replay->live_blocks)
        return "the joint heap is not that of the processes that have not left";
    if (!wraps && replay->live_bytes > replay->peak_bytes)
        return "the joint heap is larger than its peak";
    if (!replay->retire && (peak_bytes != replay->peak_bytes || peak_blocks != replay->peak_blocks))
        return "what stacks held at the peak is not the peak";
    if (totals->allocations != calls ||
        totals->allocations - (totals->frees - totals->inherited_frees) != all_blocks ||
        totals->allocated_bytes - (totals->freed_bytes - totals->inherited_freed_bytes) !=
            all_bytes)
        return "what was allocated and not freed is not what lives";
    return NULL;
}

#endif
