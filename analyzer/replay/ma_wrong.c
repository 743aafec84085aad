/* SPDX-License-Identifier: MIT
 *
 * The list of wrong frees; see ma_wrong.h.
 */
#include "ma_wrong.h"

#include <errno.h>
#include <stdlib.h>

#include "ma_account.h"

/* Look through the live set, since nothing orders it by address. */
static void find_around(struct ma_wrong_frees *wrong, const struct ma_account *account,
                        struct ma_wrong_free *one)
{
    if (wrong->scans >= MA_WRONG_SCANS)
        return;
    wrong->scans++;
    for (size_t i = 0, n = ma_heap_places(&account->heap); i < n; i++) {
        struct ma_block block;
        if (!ma_heap_at(&account->heap, i, &block) || block.address >= one->address ||
            one->address - block.address >= block.usable)
            continue;
        one->inside = true;
        one->around = block;
        one->around_stack = block.site < account->n_sites ? account->stacks[block.site] : 0;
        return;
    }
}

int ma_wrong_add(struct ma_wrong_frees *wrong, const struct ma_account *account,
                 const struct ma_wrong_free *one, size_t *kept)
{
    *kept = SIZE_MAX;
    if (wrong->n == MA_WRONG_KEPT)
        return 0;
    if (!MA_RESERVE(wrong->all, wrong->n, wrong->capacity))
        return -ENOMEM;
    *kept = wrong->n;
    wrong->all[wrong->n] = *one;
    find_around(wrong, account, &wrong->all[wrong->n++]);
    return 0;
}

void ma_wrong_tie(struct ma_wrong_frees *wrong, const struct ma_process *process, uint64_t address,
                  uint64_t ticks, uint32_t thread, uint64_t window)
{
    const size_t first = wrong->n > MA_WRONG_EARLY ? wrong->n - MA_WRONG_EARLY : 0;
    for (size_t i = wrong->n; wrong->n_ties < MA_WRONG_TIES && i > first; i--) {
        struct ma_wrong_free *one = &wrong->all[i - 1];
        if (one->process == process && one->address == address && one->thread != thread &&
            !one->tied && !one->good && ticks >= one->ticks && ticks - one->ticks <= window) {
            one->tied = ticks;
            wrong->ties[wrong->n_ties++] = (uint16_t)(i - 1);
            return;
        }
    }
}

struct ma_wrong_free *ma_wrong_tied(struct ma_wrong_frees *wrong, const struct ma_process *process,
                                    const struct ma_block *block, uint64_t window)
{
    for (unsigned i = 0; i < wrong->n_ties; i++) {
        struct ma_wrong_free *one = &wrong->all[wrong->ties[i]];
        /* The heap may have rounded its time. */
        if (!one->good && one->process == process && one->address == block->address &&
            block->time <= one->tied && one->tied - block->time <= window)
            return one;
    }
    return NULL;
}

void ma_wrong_tell(struct ma_wrong_frees *wrong, uint32_t stream, uint64_t call, uint32_t stack,
                   bool aborted)
{
    for (size_t i = wrong->n; i > 0; i--) {
        struct ma_wrong_free *one = &wrong->all[i - 1];
        if (one->stream != stream)
            continue;
        if (one->call != call || one->good)
            return;
        one->aborted |= aborted;
        if (!one->stack) {
            one->stack = stack;
            one->of_abort = aborted;
        }
        return;
    }
}

void ma_wrong_free_all(struct ma_wrong_frees *wrong)
{
    free(wrong->all);
}
