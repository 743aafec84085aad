/* SPDX-License-Identifier: MIT
 *
 * The replay of a trace through TLSF; see ma_pool.h.
 */
#include "ma_pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* A thousand processes at a time have room for two of these. */
#define REGION ((size_t)(sizeof(size_t) == 8 ? (uint64_t)1 << 36 : (uint64_t)1 << 28))
#define REGION_LEAST ((size_t)1 << 20)
#define POOL_ALIGNMENT ((size_t)2 << 20) /* as in allocators/al_tlsf.c */
#define FIRST_SLOT_NS 1000000

/* Reserve what there is, up to REGION. */
static bool reserve(struct ma_pool_region *region)
{
    for (size_t size = REGION; size >= REGION_LEAST; size /= 2) {
        char *memory = mmap(NULL, size + POOL_ALIGNMENT, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED)
            continue;
        const size_t before = (size_t)(-(uintptr_t)memory & (POOL_ALIGNMENT - 1));
        if (before)
            munmap(memory, before);
        if (before < POOL_ALIGNMENT)
            munmap(memory + before + size, POOL_ALIGNMENT - before);
        *region = (struct ma_pool_region){memory + before, size};
        madvise(region->memory, size, MADV_NOHUGEPAGE); /* headers lie far apart */
        return true;
    }
    return false;
}

static void unreserve(struct ma_pool_region *region)
{
    if (region->memory)
        munmap(region->memory, region->size);
    region->memory = NULL;
}

/* A pool of the growing kind, behind the others. */
static bool add_growing(struct ma_pool_process *process, size_t size)
{
    const size_t at = process->growing_end;
    if (size > process->growing_region.size || at > process->growing_region.size - size ||
        !MA_RESERVE(process->pools, process->n_pools, process->pools_capacity) ||
        !mlog_tlsf_add_pool(process->growing, process->growing_region.memory + at, size, false))
        return false;
    process->pools[process->n_pools++] =
        (struct mlog_tlsf_pool){process->growing_region.memory + at, size};
    process->growing_end = (at + size + POOL_ALIGNMENT - 1) & ~(POOL_ALIGNMENT - 1);
    process->growing_total += size;
    return true;
}

static int begin_process(const struct ma_pool *pool, struct ma_pool_process *process)
{
    process->tlsf = malloc(sizeof *process->tlsf);
    process->growing = malloc(sizeof *process->growing);
    if (!process->tlsf || !process->growing)
        return -ENOMEM;
    mlog_tlsf_init(process->tlsf, 0);
    mlog_tlsf_init(process->growing, 0);
    if (!reserve(&process->region) || !reserve(&process->growing_region)) {
        process->refused = true;
        return 0;
    }
    mlog_tlsf_add_pool(process->tlsf, process->region.memory, process->region.size, false);
    if (pool->initial <= SIZE_MAX)
        add_growing(process, (size_t)pool->initial);
    return 0;
}

static struct ma_pool_process *process_of(struct ma_pool *pool, const struct ma_account *account)
{
    const uint32_t index = account->process->index;
    if (!MA_HOLDS(pool->processes, index, pool->n_processes))
        return NULL;
    struct ma_pool_process *process = pool->processes[index];
    if (process)
        return process;
    process = calloc(1, sizeof *process);
    if (!process)
        return NULL;
    const uint64_t page = account->process->record.page_size;
    process->account = account;
    process->thread = MA_NONE;
    process->page_size = page && !(page & (page - 1)) && page <= 1 << 20 ? page : 4096;
    pool->processes[index] = process;
    return begin_process(pool, process) < 0 ? NULL : process;
}

/* Blocks by address: open addressing, closed up when one ends. */

static size_t home_of(const struct ma_pool_process *process, uint64_t address)
{
    return (size_t)ma_mix(address) & (process->capacity - 1);
}

static struct ma_pool_entry *entry_at(const struct ma_pool_process *process, uint64_t address)
{
    size_t i = home_of(process, address);
    while (process->entries[i].address && process->entries[i].address != address)
        i = (i + 1) & (process->capacity - 1);
    return &process->entries[i];
}

static int make_room(struct ma_pool_process *process)
{
    if (process->n_entries < process->capacity / 2)
        return 0;
    struct ma_pool_process old = *process;
    const size_t capacity = old.capacity ? old.capacity * 2 : 64;
    struct ma_pool_entry *entries = calloc(capacity, sizeof *entries);
    if (!entries)
        return -ENOMEM;
    process->entries = entries;
    process->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.entries[i].address)
            *entry_at(process, old.entries[i].address) = old.entries[i];
    free(old.entries);
    return 0;
}

static void remove_entry(struct ma_pool_process *process, struct ma_pool_entry *entry)
{
    const size_t mask = process->capacity - 1;
    size_t hole = (size_t)(entry - process->entries);
    for (size_t i = (hole + 1) & mask; process->entries[i].address; i = (i + 1) & mask) {
        const size_t home = home_of(process, process->entries[i].address);
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        process->entries[hole] = process->entries[i];
        hole = i;
    }
    process->entries[hole].address = 0;
    process->n_entries--;
}

/* Bytes of its pool that a block takes. */
static uint64_t taken(const char *block)
{
    return mlog_tlsf_usable(block) + sizeof(size_t);
}

static int change_site(struct ma_pool_process *process, uint32_t index, int64_t bytes, int blocks)
{
    if (index == MA_NONE) /* inherited */
        return 0;
    if (!MA_HOLDS(process->sites, index, process->n_sites))
        return -ENOMEM;
    struct ma_pool_site *site = &process->sites[index];
    if (site->epoch != process->epoch) {
        site->held_bytes = site->bytes;
        site->held_blocks = site->blocks;
        site->epoch = process->epoch;
    }
    site->bytes += (uint64_t)bytes;
    site->blocks += (uint32_t)blocks;
    return 0;
}

void ma_pool_held(const struct ma_pool_process *process, size_t index, uint64_t *bytes,
                  uint64_t *blocks)
{
    const struct ma_pool_site *site = &process->sites[index];
    const bool changed = site->epoch == process->epoch;
    *bytes = changed ? site->held_bytes : site->bytes;
    *blocks = changed ? site->held_blocks : site->blocks;
}

static struct ma_pool_state state_of(const struct ma_pool_process *process, uint64_t ns)
{
    return (struct ma_pool_state){
        .ns = ns,
        .extent = mlog_tlsf_extent(process->tlsf),
        .used = process->tlsf->used,
        .requested = process->requested,
        .blocks = process->tlsf->blocks,
    };
}

/* Of a slot the moment counts at which the pool reached furthest. */
static void keep_larger(struct ma_pool_state *slot, const struct ma_pool_state *state)
{
    if (!slot->ns || state->extent >= slot->extent)
        *slot = *state;
}

static void note_curve(struct ma_pool_process *process, uint64_t ns)
{
    const struct ma_pool_state state = state_of(process, ns ? ns : 1);
    if (!process->slot_ns) {
        process->slot_ns = FIRST_SLOT_NS;
        process->first_ns = ns;
    }
    const uint64_t since = ns > process->first_ns ? ns - process->first_ns : 0;
    while (since / process->slot_ns >= MA_POOL_SLOTS) {
        for (size_t i = 0; i < MA_POOL_SLOTS / 2; i++) {
            struct ma_pool_state *two = &process->slots[2 * i];
            if (two[1].ns)
                keep_larger(&two[0], &two[1]);
            process->slots[i] = two[0];
        }
        memset(&process->slots[MA_POOL_SLOTS / 2], 0, sizeof process->slots / 2);
        process->slot_ns *= 2;
    }
    keep_larger(&process->slots[since / process->slot_ns], &state);
}

static void note_thread(struct ma_pool_process *process, uint32_t thread)
{
    process->threads |= process->thread != MA_NONE && process->thread != thread;
    process->thread = thread;
}

/* What the C library's function asks its allocator for. */
static struct ma_pool_call call_of(const struct ma_pool_process *process,
                                   const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct ma_pool_call call = {
        .ns = seen->ns,
        .size = block->size,
        .alignment = seen->alignment,
        .site = block->site,
        .thread = seen->thread,
        .function = seen->function,
    };
    if (seen->function == MLF_FN_valloc || seen->function == MLF_FN_pvalloc)
        call.alignment = process->page_size;
    if (seen->function == MLF_FN_pvalloc && call.size <= UINT64_MAX - process->page_size)
        call.size = (call.size + process->page_size - 1) & ~(process->page_size - 1);
    if (call.size > MLOG_TLSF_MAX || call.alignment > MLOG_TLSF_MAX)
        call.size = SIZE_MAX; /* which no pool holds */
    return call;
}

/* A call that may have made the pool reach further than ever. */
static void note_high(struct ma_pool_process *process, const struct ma_pool_call *call)
{
    const uint64_t high = mlog_tlsf_high(process->tlsf);
    if (high <= process->high)
        return;
    process->high = high;
    process->decided = state_of(process, call->ns);
    process->deciding = *call;
    process->epoch++;
}

static char *allocate_growing(const struct ma_pool *pool, struct ma_pool_process *process,
                              const struct ma_pool_call *call)
{
    char *block = mlog_tlsf_allocate(process->growing, call->alignment, call->size, NULL);
    if (block)
        return block;
    const size_t size = mlog_tlsf_growth((size_t)pool->additional, call->alignment, call->size);
    if (!size || !add_growing(process, size)) {
        process->failed++;
        return NULL;
    }
    if (process->n_growths < MA_POOL_GROWTHS)
        process->growths[process->n_growths] =
            (struct ma_pool_growth){*call, size, process->growing_total};
    process->n_growths++;
    return mlog_tlsf_allocate(process->growing, call->alignment, call->size, NULL);
}

/* Enter a block whose places in the two regions are known. */
static int enter(struct ma_pool_process *process, uint64_t address,
                 const struct ma_pool_entry *values)
{
    if (make_room(process) < 0)
        return -ENOMEM;
    struct ma_pool_entry *entry = entry_at(process, address);
    process->n_entries += !entry->address;
    *entry = *values;
    entry->address = address;
    process->refused |= !values->block;
    return 0;
}

/* A block is there: its size, its site's part, and how far that reaches. */
static int begin_block(struct ma_pool_process *process, const struct ma_pool_call *call,
                       const struct ma_pool_entry *entry)
{
    process->requested += entry->size;
    if (entry->block && change_site(process, call->site, (int64_t)taken(entry->block), 1) < 0)
        return -ENOMEM;
    note_high(process, call);
    return 0;
}

static int end_block(struct ma_pool_process *process, uint32_t site,
                     const struct ma_pool_entry *entry, uint64_t bytes)
{
    process->requested -= entry->size;
    return entry->block ? change_site(process, site, -(int64_t)bytes, -1) : 0;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct ma_pool *pool = context;
    struct ma_pool_process *process = process_of(pool, seen->account);
    if (!process)
        return -ENOMEM;
    if (process->refused || process->closed || !block->address)
        return 0;
    const struct ma_pool_call call = call_of(process, seen, block);
    note_thread(process, seen->thread);
    const struct ma_pool_entry entry = {
        .size = block->size,
        .block = mlog_tlsf_allocate(process->tlsf, call.alignment, call.size, NULL),
        .growing = allocate_growing(pool, process, &call),
    };
    if (begin_block(process, &call, &entry) < 0)
        return -ENOMEM;
    note_curve(process, call.ns);
    return enter(process, block->address, &entry);
}

/* The block's entry, out of the table; its places are still allocated. */
static bool take_entry(struct ma_pool_process *process, uint64_t address,
                       struct ma_pool_entry *taken_out)
{
    if (!process->capacity || !address)
        return false;
    struct ma_pool_entry *entry = entry_at(process, address);
    if (!entry->address)
        return false;
    *taken_out = *entry;
    remove_entry(process, entry);
    return true;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct ma_pool_process *process = process_of(context, seen->account);
    struct ma_pool_entry entry;
    if (!process)
        return -ENOMEM;
    if (process->refused || process->closed || !take_entry(process, block->address, &entry))
        return 0;
    note_thread(process, seen->thread);
    if (end_block(process, block->site, &entry, entry.block ? taken(entry.block) : 0) < 0)
        return -ENOMEM;
    if (entry.block)
        mlog_tlsf_free(process->tlsf, entry.block);
    if (entry.growing)
        mlog_tlsf_free(process->growing, entry.growing);
    note_curve(process, seen->ns);
    return 0;
}

/* As libmlog-tlsf.so: where it lies, else a new block before the old one is freed. */
static int on_resized(void *context, const struct ma_seen *seen, const struct ma_seen_block *old,
                      const struct ma_seen_block *block)
{
    struct ma_pool *pool = context;
    struct ma_pool_process *process = process_of(pool, seen->account);
    struct ma_pool_entry before, after;
    if (!process)
        return -ENOMEM;
    if (process->refused || process->closed)
        return 0;
    if (!old || !take_entry(process, old->address, &before))
        return on_allocated(context, seen, block);
    const struct ma_pool_call call = call_of(process, seen, block);
    const uint64_t had = before.block ? taken(before.block) : 0;
    note_thread(process, seen->thread);
    after = before;
    after.size = block->size;
    const bool moves = !before.block || !mlog_tlsf_resize(process->tlsf, before.block, call.size);
    if (moves)
        after.block = mlog_tlsf_allocate(process->tlsf, 0, call.size, NULL);
    else if (end_block(process, old->site, &before, had) < 0)
        return -ENOMEM;
    if (begin_block(process, &call, &after) < 0 ||
        (moves && end_block(process, old->site, &before, had) < 0))
        return -ENOMEM;
    if (moves && before.block)
        mlog_tlsf_free(process->tlsf, before.block);
    if (!before.growing || !mlog_tlsf_resize(process->growing, before.growing, call.size)) {
        after.growing = allocate_growing(pool, process, &call);
        if (before.growing)
            mlog_tlsf_free(process->growing, before.growing);
    }
    note_curve(process, call.ns);
    return enter(process, block->address, &after);
}

static char *moved(char *block, const struct ma_pool_region *from, const struct ma_pool_region *to)
{
    return block ? to->memory + (block - from->memory) : NULL;
}

/* The child's pools are copies. Where its region is smaller, it is not replayed. */
static int inherit(struct ma_pool *pool, const struct ma_account *account,
                   const struct ma_pool_process *parent)
{
    struct ma_pool_process *child = process_of(pool, account);
    if (!child)
        return -ENOMEM;
    if (child->refused || parent->refused || parent->closed || child->n_entries ||
        child->region.size != parent->region.size ||
        child->growing_region.size != parent->growing_region.size) {
        child->refused |= parent->refused || child->region.size != parent->region.size ||
                          child->growing_region.size != parent->growing_region.size;
        return 0;
    }
    child->entries = calloc(parent->capacity, sizeof *child->entries);
    child->pools = calloc(parent->n_pools + 1, sizeof *child->pools);
    if (!child->entries || !child->pools)
        return -ENOMEM;
    child->capacity = parent->capacity;
    child->n_entries = parent->n_entries;
    child->requested = parent->requested;
    const struct mlog_tlsf_pool whole = {parent->region.memory, parent->region.size};
    mlog_tlsf_copy(child->tlsf, parent->tlsf, &whole, 1, parent->region.memory,
                   child->region.memory);
    mlog_tlsf_copy(child->growing, parent->growing, parent->pools, parent->n_pools,
                   parent->growing_region.memory, child->growing_region.memory);
    for (size_t i = 0; i < parent->capacity; i++) {
        child->entries[i] = parent->entries[i];
        child->entries[i].block = moved(parent->entries[i].block, &parent->region, &child->region);
        child->entries[i].growing =
            moved(parent->entries[i].growing, &parent->growing_region, &child->growing_region);
    }
    for (size_t i = 0; i < parent->n_pools; i++)
        child->pools[i] = (struct mlog_tlsf_pool){
            moved(parent->pools[i].memory, &parent->growing_region, &child->growing_region),
            parent->pools[i].size};
    child->n_pools = parent->n_pools;
    child->pools_capacity = parent->n_pools + 1;
    child->growing_end = parent->growing_end;
    child->growing_total = parent->growing_total;
    child->high = parent->high;
    child->decided = parent->decided;
    child->deciding = (struct ma_pool_call){.site = MA_NONE};
    return 0;
}

static void close_process(struct ma_pool_process *process)
{
    process->closed = true;
    unreserve(&process->region);
    unreserve(&process->growing_region);
    free(process->entries);
    process->entries = NULL;
    process->capacity = process->n_entries = 0;
}

static int on_process(void *context, const struct ma_seen *seen, enum ma_process_change change)
{
    struct ma_pool *pool = context;
    const struct ma_process *parent = seen->account->process->parent;
    const uint32_t index = seen->account->process->index;
    if (change == MA_PROCESS_FORKED && parent && parent->index < pool->n_processes &&
        pool->processes[parent->index])
        return inherit(pool, seen->account, pool->processes[parent->index]);
    if (change == MA_PROCESS_LEFT && index < pool->n_processes && pool->processes[index])
        close_process(pool->processes[index]);
    return 0;
}

struct ma_pool *ma_pool_new(uint64_t initial, uint64_t additional)
{
    struct ma_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->observer = (struct ma_observer){
        .context = pool,
        .process = on_process,
        .allocated = on_allocated,
        .freed = on_freed,
        .resized = on_resized,
    };
    pool->initial = initial;
    pool->additional = additional;
    return pool;
}

void ma_pool_free(struct ma_pool *pool)
{
    for (size_t i = 0; i < pool->n_processes; i++) {
        struct ma_pool_process *process = pool->processes[i];
        if (!process)
            continue;
        close_process(process);
        free(process->sites);
        free(process->pools);
        free(process->tlsf);
        free(process->growing);
        free(process);
    }
    free(pool->processes);
    free(pool);
}

uint64_t ma_pool_needed(const struct ma_pool_process *process)
{
    const uint64_t page = process->page_size;
    return (process->high + page - 1) / page * page;
}

const struct ma_pool_process *ma_pool_largest(const struct ma_pool *pool)
{
    const struct ma_pool_process *largest = NULL;
    for (size_t i = 0; i < pool->n_processes; i++) {
        const struct ma_pool_process *process = pool->processes[i];
        if (process && !process->refused && (!largest || process->high > largest->high))
            largest = process;
    }
    return largest;
}
