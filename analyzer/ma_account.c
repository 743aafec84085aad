/* SPDX-License-Identifier: MIT
 *
 * Accounts; see ma_account.h.
 */
#include "ma_account.h"

#include <errno.h>

struct ma_account *ma_account_new(struct ma_process *process)
{
    struct ma_account *account = calloc(1, sizeof *account);
    if (account)
        account->process = process;
    return account;
}

void ma_account_free(struct ma_account *account)
{
    if (!account)
        return;
    ma_heap_free(&account->heap);
    ma_map_free(&account->use_of);
    free(account->uses);
    free(account);
}

struct ma_use *ma_account_use(struct ma_account *account, uint32_t stack)
{
    uint32_t index = ma_map_get(&account->use_of, stack);
    if (index != MA_NONE)
        return &account->uses[index];
    if (!MA_RESERVE(account->uses, account->n_uses, account->use_capacity) ||
        ma_map_set(&account->use_of, stack, (uint32_t)account->n_uses) < 0)
        return NULL;
    struct ma_use *use = &account->uses[account->n_uses++];
    *use = (struct ma_use){ .stack = stack, .candidate = MA_NONE };
    return use;
}

int ma_account_inherit(struct ma_account *child, const struct ma_account *parent,
                       uint64_t fork_time)
{
    child->inherits_loosely = parent->inherits_loosely;
    if (!parent->heap.count)
        return 0;
    if (ma_heap_reserve(&child->heap, parent->heap.count) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < parent->heap.capacity; i++) {
        struct ma_block block = parent->heap.blocks[i], former;
        if (!block.address || block.time > fork_time)
            continue;
        block.use = MA_NONE;
        child->inherited++;
        if (ma_heap_put(&child->heap, &block, &former) < 0)
            return -ENOMEM;
    }
    return 0;
}

int ma_account_disinherit(struct ma_account *account)
{
    struct ma_heap own = { 0 };
    if (ma_heap_reserve(&own, account->heap.count) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < account->heap.capacity; i++) {
        struct ma_block former;
        if (account->heap.blocks[i].address && account->heap.blocks[i].use != MA_NONE &&
            ma_heap_put(&own, &account->heap.blocks[i], &former) < 0) {
            ma_heap_free(&own);
            return -ENOMEM;
        }
    }
    ma_heap_free(&account->heap);
    account->heap = own;
    account->inherited = 0;
    account->inherits_loosely = true;
    return 0;
}
