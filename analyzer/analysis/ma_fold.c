/* SPDX-License-Identifier: MIT
 *
 * Folding; see ma_fold.h.
 */
#include "ma_fold.h"

#include <errno.h>

struct ma_fold *ma_fold_new(struct ma_analysis *analysis)
{
    struct ma_fold *fold = calloc(1, sizeof *fold);
    if (fold)
        fold->analysis = analysis;
    return fold;
}

void ma_fold_free(struct ma_fold *fold)
{
    if (!fold)
        return;
    free(fold->rows);
    free(fold->leaks);
    ma_map_free(&fold->row_of);
    free(fold);
}

/* The row of a place, made if it is new; NULL if memory is short. */
static struct ma_folded *row_of(struct ma_fold *fold, uint32_t place)
{
    uint32_t index = ma_map_get(&fold->row_of, place);
    if (index == MA_NONE) {
        if (!MA_RESERVE(fold->rows, fold->n_rows, fold->row_capacity) ||
            ma_map_set(&fold->row_of, place, (uint32_t)fold->n_rows) < 0)
            return NULL;
        index = (uint32_t)fold->n_rows++;
        fold->rows[index] = (struct ma_folded){ .first = UINT64_MAX, .place = place };
    }
    return &fold->rows[index];
}

static struct ma_leak *leak_of(struct ma_fold *fold, struct ma_folded *row)
{
    if (!row->leak) {
        if (!MA_RESERVE(fold->leaks, fold->n_leaks, fold->leak_capacity))
            return NULL;
        fold->leaks[fold->n_leaks++] = (struct ma_leak){ .youngest = UINT64_MAX };
        row->leak = (uint32_t)fold->n_leaks;
    }
    return &fold->leaks[row->leak - 1];
}

/* What a use held at the joint peak: of an earlier one there is nothing to keep. */
static void add_peak(const struct ma_replay *replay, const struct ma_account *account,
                     const struct ma_use *use, struct ma_folded *row)
{
    uint64_t bytes, blocks;
    ma_replay_at_peak(replay, account, use, &bytes, &blocks);
    if (row->peak_epoch != replay->peak_epoch) {
        row->peak_epoch = replay->peak_epoch;
        row->peak_bytes = row->peak_blocks = 0;
    }
    row->peak_bytes += bytes;
    row->peak_blocks += blocks;
}

/* Of two that hold as much, the first is told of. */
static bool holds_more(const struct ma_folded *row, uint64_t bytes, uint64_t who)
{
    return !row->holders || bytes > row->held || (bytes == row->held && who < row->held_by);
}

/* *leak: as MA_NONE, or the index of what is told of its leaks. */
static int add_use(struct ma_fold *fold, const struct ma_account *account, size_t index,
                   uint32_t *leak)
{
    const struct ma_process *process = account->process;
    const struct ma_use *use = &account->uses[index];
    const uint64_t who = (uint64_t)process->index << 32 | index;
    uint32_t place;
    *leak = MA_NONE;
    if (ma_stacks_place(&fold->analysis->stacks, process, account->stacks[index], &place) < 0)
        return -ENOMEM;
    struct ma_folded *row = row_of(fold, place);
    if (!row)
        return -ENOMEM;
    row->first = who < row->first ? who : row->first;
    row->calls += use->allocations;
    row->bytes += use->allocated_bytes;
    row->temporary += use->temporary;
    add_peak(&fold->analysis->replay, account, use, row);
    const bool unknown = place == MA_ROOT_UNKNOWN && account->stacks[index] != place;
    fold->unknown += unknown;
    if (!use->live_blocks)
        return 0;
    fold->unknown_leaks += unknown;
    struct ma_leak *its = leak_of(fold, row);
    if (!its)
        return -ENOMEM;
    *leak = row->leak - 1;
    row->leaked_bytes += use->live_bytes;
    row->leaked_blocks += use->live_blocks;
    if (holds_more(row, use->live_bytes, who)) {
        row->held = use->live_bytes;
        row->held_by = who;
        ma_leak_judge(fold->analysis, account, index, its);
    }
    row->holders++;
    return 0;
}

int ma_fold_account(void *context, struct ma_account *account)
{
    struct ma_fold *fold = context;
    struct ma_analysis *analysis = fold->analysis;
    uint32_t *leaks = malloc((account->n_uses + 1) * sizeof *leaks);
    int result = leaks ? 0 : -ENOMEM;
    for (size_t i = 0; i < account->n_uses && result == 0; i++)
        result = add_use(fold, account, i, &leaks[i]);
    if (result == 0 && account->heap.count)
        result = ma_leaks_walk(analysis, account, leaks, fold->leaks);
    free(leaks);
    /* Nodes of which none was used stay, unseen: nothing of them is in any report. */
    if (result == 0 && (account->n_uses || !account->process->n_nodes)) {
        result = ma_stacks_fold(&analysis->stacks, account->process);
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
    const struct ma_folded *x = a, *y = b;
    return x->first < y->first ? -1 : x->first > y->first;
}

void ma_fold_sort(struct ma_fold *fold)
{
    if (!fold->n_rows)
        return;
    ma_map_free(&fold->row_of); /* no more is folded: it led to them as they were */
    qsort(fold->rows, fold->n_rows, sizeof *fold->rows, by_first);
}
