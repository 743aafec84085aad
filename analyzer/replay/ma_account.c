/* SPDX-License-Identifier: MIT
 *
 * Accounts; see ma_account.h. A trace's stack ids are dense, so a plain array
 * leads from id to site; it grows only while a fair part of it is used, and a
 * map takes the ids of those who would blow it up (a child whose ids begin
 * behind its parent's, a trace that lies).
 */
#include "ma_account.h"

#include <errno.h>
#include <string.h>

#include "ma_pages.h"

#define IDS_PER_USE 32

struct ma_account *ma_account_new(struct ma_process *process)
{
    struct ma_account *account = calloc(1, sizeof *account);
    if (account)
        account->process = process;
    return account;
}

void ma_account_forget(struct ma_account *account)
{
    ma_heap_free(&account->heap);
    ma_inheritance_free(&account->inherits);
    account->inherits = (struct ma_inheritance){0};
    ma_history_free(&account->history);
    account->history = (struct ma_history){0};
    ma_map_free(&account->site_of);
    ma_map_free(&account->path_of);
    ma_pages_free(account->direct, account->n_direct * sizeof *account->direct);
    account->direct = NULL;
    account->n_direct = 0;
    ma_pages_free(account->stacks, account->stack_capacity * sizeof *account->stacks);
    account->stacks = NULL;
    ma_pages_free(account->sites, account->site_capacity * sizeof *account->sites);
    account->sites = NULL;
    ma_pages_free(account->most, account->most_capacity * sizeof *account->most);
    account->most = NULL;
    account->n_sites = account->site_capacity = account->stack_capacity = 0;
    account->most_capacity = 0;
}

void ma_account_free(struct ma_account *account)
{
    if (!account)
        return;
    ma_account_forget(account);
    free(account);
}

/* The array is to hold this id, and what the map had of the ids it gains. */
static int widen_direct(struct ma_account *account, uint32_t stack)
{
    const size_t before = account->n_direct;
    uint32_t *direct =
        ma_pages_more(account->direct, &account->n_direct, sizeof *direct, (size_t)stack + 1);
    if (!direct)
        return -ENOMEM;
    account->direct = direct;
    for (size_t i = 0; i < account->n_sites; i++) {
        if (account->stacks[i] >= before && account->stacks[i] < account->n_direct)
            direct[account->stacks[i]] = (uint32_t)i + 1;
    }
    return 0;
}

static bool grow_sites(struct ma_account *account)
{
    void *sites = ma_pages_more(account->sites, &account->site_capacity, sizeof *account->sites, 0);
    if (sites)
        account->sites = sites;
    return sites != NULL;
}

static bool grow_stacks(struct ma_account *account)
{
    void *stacks =
        ma_pages_more(account->stacks, &account->stack_capacity, sizeof *account->stacks, 0);
    if (stacks)
        account->stacks = stacks;
    return stacks != NULL;
}

static bool grow_most(struct ma_account *account)
{
    void *most = ma_pages_more(account->most, &account->most_capacity, sizeof *account->most, 0);
    if (most)
        account->most = most;
    return most != NULL;
}

uint32_t ma_account_add_site(struct ma_account *account, uint32_t stack)
{
    if (account->n_sites >= MA_NONE ||
        (account->n_sites == account->site_capacity && !grow_sites(account)) ||
        (account->n_sites == account->stack_capacity && !grow_stacks(account)) ||
        (account->n_sites == account->most_capacity && !grow_most(account)))
        return MA_NONE;
    account->stacks[account->n_sites] = stack;
    account->sites[account->n_sites].slot = account->history.slot;
    return (uint32_t)account->n_sites++;
}

/* The site of the path that a stack id is a new name of; made if the path is new, too.
 * MA_NONE if memory is short. */
static uint32_t find_by_path(struct ma_account *account, uint32_t stack)
{
    const struct ma_process *owner;
    const struct ma_node *node = ma_process_node(account->process, stack, &owner);
    uint32_t index = node ? ma_map_get(&account->path_of, node->path) : MA_NONE;
    if (index != MA_NONE)
        return index;
    index = ma_account_add_site(account, stack);
    if (node && index != MA_NONE && ma_map_set(&account->path_of, node->path, index) < 0)
        return MA_NONE;
    return index;
}

struct ma_alloc_site *ma_account_new_site(struct ma_account *account, uint32_t stack)
{
    if (stack >= account->n_direct) {
        uint32_t index = ma_map_get(&account->site_of, stack);
        if (index != MA_NONE)
            return &account->sites[index];
        if (stack < IDS_PER_USE * (account->n_sites + 8) && widen_direct(account, stack) < 0)
            return NULL;
    }
    uint32_t index = find_by_path(account, stack);
    if (index == MA_NONE)
        return NULL;
    if (stack < account->n_direct)
        account->direct[stack] = index + 1;
    else if (ma_map_set(&account->site_of, stack, index) < 0)
        return NULL;
    return &account->sites[index];
}
