/* SPDX-License-Identifier: MIT
 *
 * Retiring; see ma_retire.h.
 */
#include "ma_retire.h"

#include <assert.h>
#include <errno.h>

struct ma_retire *ma_retire_new(struct ma_analysis *analysis)
{
    struct ma_retire *retire = calloc(1, sizeof *retire);
    if (retire)
        retire->analysis = analysis;
    return retire;
}

void ma_retire_free(struct ma_retire *retire)
{
    if (!retire)
        return;
    free(retire->rows);
    free(retire->leaks);
    ma_map_free(&retire->row_of);
    free(retire);
}

/* The row of a retired node, made if it is new; NULL if memory is short. */
static struct ma_retired *row_of(struct ma_retire *retire, uint32_t retired_node)
{
    uint32_t index = ma_map_get(&retire->row_of, retired_node);
    if (index == MA_NONE) {
        if (!MA_RESERVE(retire->rows, retire->n_rows, retire->row_capacity) ||
            ma_map_set(&retire->row_of, retired_node, (uint32_t)retire->n_rows) < 0)
            return NULL;
        index = (uint32_t)retire->n_rows++;
        retire->rows[index] =
            (struct ma_retired){.first = UINT64_MAX, .retired_node = retired_node};
    }
    return &retire->rows[index];
}

static struct ma_leak *leak_of(struct ma_retire *retire, struct ma_retired *row)
{
    if (!row->leak) {
        if (!MA_RESERVE(retire->leaks, retire->n_leaks, retire->leak_capacity))
            return NULL;
        retire->leaks[retire->n_leaks++] = (struct ma_leak){.youngest = UINT64_MAX};
        row->leak = (uint32_t)retire->n_leaks;
    }
    return &retire->leaks[row->leak - 1];
}

/* Add a site's share of the joint peak to its row. Shares of an earlier peak are
 * dropped. */
static void add_peak(const struct ma_replay *replay, const struct ma_account *account,
                     const struct ma_alloc_site *site, struct ma_retired *row)
{
    uint64_t bytes, blocks;
    ma_replay_at_peak(replay, account, site, &bytes, &blocks);
    if (row->peak_epoch != replay->peak_epoch) {
        row->peak_epoch = replay->peak_epoch;
        row->peak_bytes = row->peak_blocks = 0;
    }
    row->peak_bytes += bytes;
    row->peak_blocks += blocks;
}

/* Of two holders of as much, the first one wins. */
static bool holds_more(const struct ma_retired *row, uint64_t bytes, uint64_t who)
{
    return !row->holders || bytes > row->held || (bytes == row->held && who < row->held_by);
}

/* Add a site to its stack's row. *leak: the index of the row's leak, MA_NONE if
 * the site holds nothing; *wanted: whether its trend is to be the row's. */
static int add_site(struct ma_retire *retire, const struct ma_account *account, size_t index,
                    const struct ma_unsure *unsure, uint32_t *leak, bool *wanted)
{
    const struct ma_process *process = account->process;
    const struct ma_alloc_site *site = &account->sites[index];
    const struct ma_sum doubt = ma_unsure_of(unsure, index);
    const uint64_t bytes = site->live_bytes - doubt.bytes;
    const uint64_t blocks = site->live_blocks - doubt.blocks;
    const uint64_t who = (uint64_t)process->index << 32 | index;
    uint32_t retired_node;
    *leak = MA_NONE;
    if (ma_stacks_retired_node(&retire->analysis->stacks, process, account->stacks[index],
                               &retired_node) < 0)
        return -ENOMEM;
    struct ma_retired *row = row_of(retire, retired_node);
    if (!row)
        return -ENOMEM;
    row->first = who < row->first ? who : row->first;
    row->calls += site->allocations;
    row->bytes += site->allocated_bytes;
    row->temporary += site->temporary;
    const struct ma_own_peak own = ma_analysis_own_peak(retire->analysis, account, index);
    ma_own_peak_unite(&row->own, &own);
    add_peak(&retire->analysis->replay, account, site, row);
    const bool unknown = retired_node == MA_ROOT_UNKNOWN && account->stacks[index] != retired_node;
    retire->unknown += unknown;
    if (!blocks)
        return 0;
    retire->unknown_leaks += unknown;
    struct ma_leak *its = leak_of(retire, row);
    if (!its)
        return -ENOMEM;
    *leak = row->leak - 1;
    row->leaked_bytes += bytes;
    row->leaked_blocks += blocks;
    if (holds_more(row, bytes, who)) {
        row->held = bytes;
        row->held_by = who;
        *wanted = true;
    }
    row->holders++;
    return 0;
}

int ma_retire_account(void *context, struct ma_account *account)
{
    struct ma_retire *retire = context;
    assert(!retire->sorted);
    struct ma_analysis *analysis = retire->analysis;
    uint32_t *leaks = malloc((account->n_sites + 1) * sizeof *leaks);
    bool *wanted = calloc(account->n_sites + 1, sizeof *wanted);
    struct ma_unsure unsure = {0};
    int result = leaks && wanted ? ma_unsure_count(&unsure, account) : -ENOMEM;
    for (size_t i = 0; i < account->n_sites && result == 0; i++)
        result = add_site(retire, account, i, &unsure, &leaks[i], &wanted[i]);
    account->unsure_bytes = unsure.all.bytes;
    account->unsure_blocks = unsure.all.blocks;
    ma_unsure_free(&unsure);
    if (result == 0 && account->live_blocks)
        result = ma_leaks_walk(analysis, account, leaks, wanted, retire->leaks);
    free(leaks);
    free(wanted);
    /* A process that defined nodes and never allocated keeps them: no report asks
     * for its stacks. */
    if (result == 0 && (account->n_sites || !account->process->n_nodes)) {
        result = ma_stacks_retire(&analysis->stacks, account->process);
        if (result == 0)
            ma_process_forget(account->process);
    }
    if (result < 0)
        return result;
    ma_merge_forget(&analysis->merge, account->process);
    ma_account_forget(account);
    return 0;
}

static int by_first(const void *a, const void *b)
{
    const struct ma_retired *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

void ma_retire_sort(struct ma_retire *retire)
{
    assert(!retire->sorted);
    retire->sorted = true;
    if (!retire->n_rows)
        return;
    ma_map_free(&retire->row_of); /* sorting moves the rows, and no further process is retired */
    qsort(retire->rows, retire->n_rows, sizeof *retire->rows, by_first);
}
