/* SPDX-License-Identifier: MIT
 *
 * The books of the replay: for each process its live set and, for each stack
 * that allocated, a struct ma_alloc_site with counts, live bytes and what it held at
 * the peak. Values at the peak are kept by copy-on-write: each peak is an
 * epoch; a site saves its value the first time it changes after that moment, so
 * one that did not change since still holds it.
 */
#ifndef MA_ACCOUNT_H
#define MA_ACCOUNT_H

#include "ma_heap.h"
#include "ma_history.h"
#include "ma_inherit.h"
#include "ma_trace.h"

struct ma_alloc_site { /* one cache line */
    uint64_t live_bytes, allocations, allocated_bytes, temporary;
    uint64_t peak_bytes;
    uint64_t floor;                    /* the least live bytes since its slot began */
    uint32_t live_blocks, peak_blocks; /* a live set has fewer than 2^32 (ma_heap.h) */
    uint64_t slot : 8;                 /* of its history, as it last changed */
    uint64_t peak_epoch : 56;
} __attribute__((aligned(64)));

/* The most that a site held at once: bytes, and when that was; blocks. Beside the sites,
 * which stay one cache line. */
struct ma_site_most {
    uint64_t bytes, ticks;
    uint32_t blocks;
};

/* Memory samples of a process against its heap: growth of its private memory
 * (resident less shared) since the first sample, less what the heap held at its
 * largest so far, with room for the allocator's own needs. */
struct ma_unseen {
    bool sampled;
    uint64_t first_private, first_heap; /* bytes, at the first sample */
    uint64_t bytes;                     /* the most that nothing in the trace explains */
    uint64_t grown, heap;               /* at that moment: of private memory; of the heap's most */
};

struct ma_account {
    struct ma_process *process;
    struct ma_heap heap; /* its own blocks */
    struct ma_alloc_site *sites;
    uint32_t *stacks; /* of the sites, as the next: the first id that each had */
    struct ma_site_most *most;
    size_t n_sites, site_capacity, stack_capacity, most_capacity;
    uint32_t *direct; /* stack id to 1 + index, for ids below n_direct; 0: none */
    size_t n_direct;
    struct ma_map site_of;            /* stack id to index, for the others */
    struct ma_map path_of;            /* path of a stack (struct ma_node) to index: a writer
                                       * that forgot a path defines it under another id */
    uint64_t live_bytes, live_blocks; /* without inherited blocks */
    uint64_t resident;                /* latest sample, bytes */
    uint64_t virtual_bytes, shared;   /* of the same */
    uint64_t sampled_live;            /* live_bytes when that was taken */
    uint64_t last_resident;           /* when the process left */
    uint64_t limit_kind, limit_bytes; /* enum mlf_limit; 0: not told */
    struct ma_unseen unseen;
    /* its end, step by step (ma_replay_process.c) */
    bool ending;     /* it was told: the process leaves when another has an event */
    bool gone;       /* it left: it counts in nothing joint */
    uint8_t returns; /* how often it came back after that, to allocate */
    bool is_wrong;   /* it has wrong frees that are kept: it is never retired, for their stacks */
    bool waits;      /* to be retired, if it does not come back for a while */
    bool followed;   /* its pid is that of a later image or process of the same place */
    bool retired;    /* heap, sites and history are empty, or of after that (ma_retire.h) */
    bool revived;    /* it came back after it was retired */
    uint64_t retired_bytes, retired_blocks; /* of live_bytes and live_blocks: what was retired */
    uint64_t unsure_bytes, unsure_blocks;   /* ... and of that what may be freed (ma_unsure.h) */

    bool inherits_loosely; /* inherited blocks are not known exactly */
    struct ma_inheritance inherits;
    struct ma_history history;
    uint64_t allocations, frees, allocated_bytes, freed_bytes;
};

struct ma_account *ma_account_new(struct ma_process *process);
void ma_account_free(struct ma_account *account);

/* Forget blocks, sites and their history; the sums stay. */
void ma_account_forget(struct ma_account *account);

/* One more site, of a stack that has none: its index, or MA_NONE if memory is
 * short. Moves sites. */
uint32_t ma_account_add_site(struct ma_account *account, uint32_t stack);

/* The slow half of ma_account_site. */
struct ma_alloc_site *ma_account_new_site(struct ma_account *account, uint32_t stack);

/* The site of a stack, made if it is new; NULL if memory is short. Moves sites. */
static inline struct ma_alloc_site *ma_account_site(struct ma_account *account, uint32_t stack)
{
    if (__builtin_expect(stack < account->n_direct && account->direct[stack], 1))
        return &account->sites[account->direct[stack] - 1];
    return ma_account_new_site(account, stack);
}

/* A site has gained a block. */
static inline void ma_account_note_most(struct ma_account *account, uint32_t index, uint64_t ticks)
{
    const struct ma_alloc_site *site = &account->sites[index];
    struct ma_site_most *most = &account->most[index];
    if (site->live_bytes > most->bytes || !most->blocks) {
        most->bytes = site->live_bytes;
        most->ticks = ticks;
    }
    if (site->live_blocks > most->blocks)
        most->blocks = site->live_blocks;
}

/* Prefetch the lookup of a stack's site; and, a few events before it is needed,
 * the site's index, 0 if there is none yet. */
static inline void ma_account_prefetch(const struct ma_account *account, uint32_t stack)
{
    if (stack < account->n_direct)
        ma_prefetch(&account->direct[stack]);
}

static inline uint32_t ma_account_likely(const struct ma_account *account, uint32_t stack)
{
    uint32_t index = stack < account->n_direct ? account->direct[stack] : 0;
    return index - !!index;
}

#endif
