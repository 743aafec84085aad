/* SPDX-License-Identifier: MIT
 *
 * The replay of a trace's calls through the allocator of libmlog-tlsf.so (mlog_tlsf.h): for each
 * process the pool that it would have needed, the moment that decides it, and what a pool
 * of a given size would have grown to. Blocks have headers only: the pools are address
 * space that is reserved, and touched where a header lies.
 *
 * A forked child begins with a copy of its parent's pools, an executed program with a pool
 * of its own, as in life. Calls are taken in the order of the trace: of a process with
 * several threads another run may take them in another order, and need another pool.
 *
 * Memory: for each live block 32 bytes and what its headers touch, for each stack of a
 * process 40 bytes, and 8 KiB a process.
 */
#ifndef MA_POOL_H
#define MA_POOL_H

#include "ma_analysis.h"
#include "mlog_tlsf.h"

#define MA_POOL_SLOTS 128
#define MA_POOL_GROWTHS 32
#define MA_POOL_DEFAULT ((uint64_t)100 << 20) /* of INITIAL_ and ADDITIONAL_MEMPOOL_SIZE */

/* How full the pool was at a moment: where its last block ended, and what blocks took of that
 * with headers and rounding; what was asked for. */
struct ma_pool_state {
    uint64_t ns, extent, used, requested, blocks;
};

/* A call, and where it was made. */
struct ma_pool_call {
    uint64_t ns, size, alignment;
    uint32_t site, thread;
    uint8_t function;
};

struct ma_pool_growth {
    struct ma_pool_call call;
    uint64_t size, total;
};

struct ma_pool_region {
    char *memory; /* NULL: there is none, or not any more */
    size_t size;
};

/* Its part of a pool, now and when the pool was fullest. */
struct ma_pool_site {
    uint64_t bytes, held_bytes;
    uint32_t blocks, held_blocks;
    uint64_t epoch;
};

struct ma_pool_entry {
    uint64_t address; /* in the program; 0: empty */
    uint64_t size;
    char *block, *growing; /* in the two regions; NULL: did not fit */
};

struct ma_pool_process {
    const struct ma_account *account;
    bool refused; /* no address space was to be had for it, or not enough */
    bool closed;  /* it left; what it does after that is not looked at */
    uint32_t thread;
    bool threads; /* several made calls */
    struct ma_pool_entry *entries;
    size_t n_entries, capacity; /* a power of two, or 0 */
    uint64_t requested;

    /* one pool, as large as need be */
    struct mlog_tlsf *tlsf;
    struct ma_pool_region region;
    uint64_t high; /* bytes of the smallest pool */
    struct ma_pool_state decided;
    struct ma_pool_call deciding;
    uint64_t epoch;
    struct ma_pool_site *sites;
    size_t n_sites;
    uint64_t page_size;

    /* pools as the two sizes have them */
    struct mlog_tlsf *growing;
    struct ma_pool_region growing_region;
    size_t growing_end; /* where the next pool begins */
    struct mlog_tlsf_pool *pools;
    size_t n_pools, pools_capacity;
    uint64_t growing_total, n_growths, failed; /* failed: allocations that had no room */
    struct ma_pool_growth growths[MA_POOL_GROWTHS];

    uint64_t slot_ns, first_ns;                /* the width of a slot */
    struct ma_pool_state slots[MA_POOL_SLOTS]; /* ns 0: nothing happened in it */
};

struct ma_pool {
    struct ma_observer observer;
    uint64_t initial, additional;
    struct ma_pool_process **processes; /* by process index; NULL: nothing happened */
    size_t n_processes;
};

/* initial and additional: of the pools that grow, multiples of 16. NULL if memory is short. */
struct ma_pool *ma_pool_new(uint64_t initial, uint64_t additional);
void ma_pool_free(struct ma_pool *pool);

/* What a site held when the pool of its process was fullest. */
void ma_pool_held(const struct ma_pool_process *process, size_t site, uint64_t *bytes,
                  uint64_t *blocks);

/* The process that needs the largest pool, or NULL. */
const struct ma_pool_process *ma_pool_largest(const struct ma_pool *pool);

/* The smallest INITIAL_MEMPOOL_SIZE without growth: whole pages. */
uint64_t ma_pool_needed(const struct ma_pool_process *process);

#endif
