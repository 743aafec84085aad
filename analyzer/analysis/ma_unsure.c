/* SPDX-License-Identifier: MIT
 *
 * Blocks whose end may not have been seen; see ma_unsure.h.
 */
#include "ma_unsure.h"

#include <errno.h>

int ma_unsure_count(struct ma_unsure *unsure, const struct ma_account *account)
{
    *unsure = (struct ma_unsure){.all = {account->unsure_bytes, account->unsure_blocks}};
    if (!account->process->unseen_before || !account->n_sites || !account->live_blocks)
        return 0;
    unsure->of_site = calloc(account->n_sites, sizeof *unsure->of_site);
    if (!unsure->of_site)
        return -ENOMEM;
    const size_t places = ma_heap_places(&account->heap);
    for (size_t i = 0; i < places; i++) {
        struct ma_block block;
        if (!ma_heap_at(&account->heap, i, &block) || block.site >= account->n_sites ||
            !ma_unsure_is(account->process, &block))
            continue;
        unsure->of_site[block.site].bytes += block.size;
        unsure->of_site[block.site].blocks++;
        unsure->all.bytes += block.size;
        unsure->all.blocks++;
    }
    return 0;
}

int ma_unsure_leaked(const struct ma_account *account, struct ma_sum *leaked)
{
    struct ma_unsure unsure;
    int result = ma_unsure_count(&unsure, account);
    leaked->bytes = account->live_bytes - unsure.all.bytes;
    leaked->blocks = account->live_blocks - unsure.all.blocks;
    ma_unsure_free(&unsure);
    return result;
}

void ma_unsure_free(struct ma_unsure *unsure)
{
    free(unsure->of_site);
    *unsure = (struct ma_unsure){0};
}
