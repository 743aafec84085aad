/* SPDX-License-Identifier: MIT
 *
 * libmlog-tlsf.so: pools (mlog_tlsf.h) for a program. An arena is an allocator with its
 * lock; there is one, or one for each thread that runs (MLOG_TLSF_POOLS). A block goes
 * back to the arena that its tag names, whichever thread frees it. The memory of
 * pools is never given back: a call makes no system call but where a pool grows.
 *
 * A signal handler that allocates while its thread holds the lock gets its block
 * from an arena of its own, and what it frees waits in a list until the lock is
 * next taken.
 */
#include "mlog_allocator.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "al_lock.h"
#include "al_settings.h"
#include "mlog_tlsf.h"

/* Pools begin at a multiple of this: so blocks lie in them as in a replay (ma_pool.h). */
#define POOL_ALIGNMENT ((size_t)2 << 20)
#define ARENAS (MLOG_TLSF_TAGS > 1 ? 128 : 1)
#define NESTED (ARENAS - 1) /* for signal handlers, where there are several */
#define OF_THREADS (ARENAS > 1 ? NESTED : 1)
#define TAG_BASE (MLOG_TLSF_TAGS > 1 ? 0x5a00u : 0)

struct deferred {
    struct deferred *next;
};

struct arena {
    struct al_lock lock;
    bool has_begun; /* has had a pool */
    bool taken;     /* by a fork that is under way */
    unsigned threads;
    struct deferred *deferred; /* blocks that are to be freed */
    struct mlog_tlsf tlsf;
};

static struct al_settings settings;
static struct arena arenas[ARENAS];
static struct al_lock arenas_lock; /* for n_arenas and arenas[].threads; before any other */
static bool arenas_taken;          /* as arenas[].taken */
static unsigned n_arenas = 1, next_shared;
static size_t total;                   /* bytes of all pools; atomic */
static size_t exhausted_at = SIZE_MAX; /* the total of which it was said last; atomic */
static __thread struct arena *mine __attribute__((tls_model("initial-exec")));

static void add_process(struct al_text *text)
{
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    al_text_add(text, " (");
    al_text_add(text, name);
    al_text_add(text, ")");
}

static void say_growth(size_t size, size_t growth)
{
    struct al_text text = {.size = 0};
    if (settings.quiet)
        return;
    al_text_add(&text, "mlog-tlsf: the pool has no room for ");
    al_text_add_size(&text, size);
    al_text_add(&text, ": grown by ");
    al_text_add_size(&text, growth);
    al_text_add(&text, ", total ");
    al_text_add_size(&text, __atomic_load_n(&total, __ATOMIC_RELAXED));
    add_process(&text);
    al_text_say(&text);
}

/* Said once for each total: programs try what cannot be had, and go on. */
static void say_exhausted(size_t size)
{
    struct al_text text = {.size = 0};
    const size_t now = __atomic_load_n(&total, __ATOMIC_RELAXED);
    if (settings.quiet || __atomic_exchange_n(&exhausted_at, now, __ATOMIC_RELAXED) == now)
        return;
    al_text_add(&text, "mlog-tlsf: exhausted: no room for ");
    al_text_add_size(&text, size);
    al_text_add(&text, ", and no pool for it can be had; total ");
    al_text_add_size(&text, now);
    add_process(&text);
    al_text_say(&text);
}

static void lock_pool(char *pool, size_t size)
{
    static bool refused;
    if (mlock(pool, size) == 0 || __atomic_exchange_n(&refused, true, __ATOMIC_RELAXED))
        return;
    struct al_text text = {.size = 0};
    al_text_add(&text, "mlog-tlsf: MLOG_TLSF_LOCK: the system refuses to lock ");
    al_text_add_size(&text, size);
    al_text_add(&text, ", not locked; raise the limit (ulimit -l)");
    add_process(&text);
    al_text_say(&text);
}

/* Memory for a pool, zeroed; NULL: there is none. */
static void *pool_memory(size_t size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, size + POOL_ALIGNMENT, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    const size_t before = (size_t)(-(uintptr_t)memory & (POOL_ALIGNMENT - 1));
    char *pool = memory + before;
    if (before)
        munmap(memory, before);
    if (before < POOL_ALIGNMENT)
        munmap(pool + size, POOL_ALIGNMENT - before);
    if (settings.prefault)
        for (size_t at = 0; at < size; at += page)
            *(volatile char *)(pool + at) = 0;
    if (settings.lock)
        lock_pool(pool, size);
    return pool;
}

static bool add_pool(struct arena *arena, size_t size)
{
    void *memory = size ? pool_memory(size) : NULL;
    if (!memory)
        return false;
    mlog_tlsf_add_pool(&arena->tlsf, memory, size, true);
    arena->has_begun = true;
    __atomic_fetch_add(&total, size, __ATOMIC_RELAXED);
    return true;
}

/* The first pool of an arena is no growth of one. */
static bool grow(struct arena *arena, size_t alignment, size_t size)
{
    const bool had_begun = arena->has_begun;
    const size_t growth = mlog_tlsf_growth(settings.additional, alignment, size);
    if (!add_pool(arena, growth)) {
        if (growth) /* else no pool would do, however much memory there was */
            say_exhausted(size);
        return false;
    }
    if (had_begun)
        say_growth(size, growth);
    return true;
}

static unsigned tag_of(const struct arena *arena)
{
    return TAG_BASE + (unsigned)(arena - arenas);
}

/* Give the calling thread an arena that no running thread has; or, if there are that
 * many threads, one that others have as well. */
static struct arena *attach(void)
{
    struct arena *arena = &arenas[0];
    if (settings.per_thread && al_lock_take(&arenas_lock)) {
        unsigned i = 0;
        while (i < n_arenas && arenas[i].threads)
            i++;
        if (i == n_arenas && i < OF_THREADS)
            n_arenas++;
        else if (i == n_arenas)
            i = next_shared++ % OF_THREADS;
        arena = &arenas[i];
        arena->threads++;
        mine = arena;
        al_lock_release(&arenas_lock);
    } else if (!settings.per_thread) {
        mine = arena;
    }
    return arena;
}

static void free_deferred(struct arena *arena)
{
    struct deferred *block = __atomic_exchange_n(&arena->deferred, NULL, __ATOMIC_ACQUIRE);
    while (block) {
        struct deferred *next = block->next;
        mlog_tlsf_free(&arena->tlsf, block);
        block = next;
    }
}

/* Returns false if the calling thread holds it. */
static bool take(struct arena *arena)
{
    if (!al_lock_take(&arena->lock))
        return false;
    if (__builtin_expect(__atomic_load_n(&arena->deferred, __ATOMIC_RELAXED) != NULL, 0))
        free_deferred(arena);
    return true;
}

static void *allocate_dirty(size_t alignment, size_t size, size_t *dirty)
{
    struct arena *arena = mine ? mine : attach();
    if (!take(arena)) {
        arena = &arenas[NESTED];
        if (!take(arena))
            return NULL;
    }
    void *block = mlog_tlsf_allocate(&arena->tlsf, alignment, size, dirty);
    if (__builtin_expect(!block, 0) && grow(arena, alignment, size))
        block = mlog_tlsf_allocate(&arena->tlsf, alignment, size, dirty);
    al_lock_release(&arena->lock);
    return block;
}

static void *tlsf_allocate(size_t alignment, size_t size)
{
    return allocate_dirty(alignment, size, NULL);
}

static void *tlsf_allocate_zeroed(size_t alignment, size_t size)
{
    size_t dirty;
    void *block = allocate_dirty(alignment, size, &dirty);
    return block ? memset(block, 0, dirty) : NULL;
}

/* As glibc does where a pointer is no block's, or one's that was freed. */
static __attribute__((noreturn, cold)) void refuse(const char *function, const void *block)
{
    struct al_text text = {.size = 0};
    al_text_add(&text, "mlog-tlsf: ");
    al_text_add(&text, function);
    al_text_add(&text, (uintptr_t)block % MLOG_TLSF_ALIGNMENT ? "invalid pointer"
                                                              : "double free or invalid pointer");
    add_process(&text);
    al_text_say(&text);
    abort();
}

static struct arena *arena_of(const void *block, const char *function)
{
    if (!mlog_tlsf_plausible(block))
        refuse(function, block);
    const unsigned index = mlog_tlsf_tag(block) - TAG_BASE;
    if (index >= ARENAS || !arenas[index].has_begun)
        refuse(function, block);
    return &arenas[index];
}

static void tlsf_deallocate(void *block)
{
    struct arena *arena = arena_of(block, "free(): ");
    if (take(arena)) {
        mlog_tlsf_free(&arena->tlsf, block);
        al_lock_release(&arena->lock);
        return;
    }
    struct deferred *deferred = block;
    deferred->next = __atomic_load_n(&arena->deferred, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&arena->deferred, &deferred->next, deferred, true,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
}

static void *tlsf_reallocate(void *block, size_t size)
{
    struct arena *arena = arena_of(block, "realloc(): ");
    if (take(arena)) {
        const bool resized = mlog_tlsf_resize(&arena->tlsf, block, size);
        al_lock_release(&arena->lock);
        if (resized)
            return block;
    }
    void *moved = tlsf_allocate(MLOG_TLSF_ALIGNMENT, size);
    if (!moved)
        return NULL;
    const size_t had = mlog_tlsf_usable(block);
    memcpy(moved, block, size < had ? size : had);
    tlsf_deallocate(block);
    return moved;
}

static int tlsf_init(void)
{
    al_settings_read(&settings);
    al_lock_begin();
    for (unsigned i = 0; i < ARENAS; i++)
        mlog_tlsf_init(&arenas[i].tlsf, tag_of(&arenas[i]));
    if (!add_pool(&arenas[0], settings.initial)) {
        struct al_text text = {.size = 0};
        al_text_add(&text, "mlog-tlsf: the system has no room for INITIAL_MEMPOOL_SIZE, ");
        al_text_add_size(&text, settings.initial);
        al_text_add(&text, "; beginning without a pool");
        add_process(&text);
        al_text_say(&text);
    }
    return 0;
}

/* A signal handler that forks may hold a lock already: then it keeps it. */
static void tlsf_fork_prepare(void)
{
    const bool taken = al_lock_take(&arenas_lock);
    arenas_taken = taken;
    for (unsigned i = 0; i < ARENAS; i++)
        arenas[i].taken = al_lock_take(&arenas[i].lock);
}

static void tlsf_fork_parent(void)
{
    for (unsigned i = 0; i < ARENAS; i++)
        if (arenas[i].taken)
            al_lock_release(&arenas[i].lock);
    if (arenas_taken)
        al_lock_release(&arenas_lock);
}

/* The other threads are gone: their arenas are for new ones. */
static void tlsf_fork_child(void)
{
    for (unsigned i = 0; i < ARENAS; i++) {
        al_lock_renew(&arenas[i].lock);
        arenas[i].threads = settings.per_thread && mine == &arenas[i];
    }
    al_lock_renew(&arenas_lock);
}

/* What it still does on its way out, it does in the first arena. */
static void tlsf_thread_exit(void)
{
    if (settings.per_thread && mine && al_lock_take(&arenas_lock)) {
        mine->threads -= mine->threads > 0;
        mine = &arenas[0];
        al_lock_release(&arenas_lock);
    }
}

const struct mlog_allocator mlog_allocator = {
    .version = MLOG_ALLOCATOR_VERSION,
    .name = "mlog-tlsf",
    .allocate = tlsf_allocate,
    .deallocate = tlsf_deallocate,
    .usable_size = mlog_tlsf_usable,
    .allocate_zeroed = tlsf_allocate_zeroed,
    .reallocate = tlsf_reallocate,
    .init = tlsf_init,
    .fork_prepare = tlsf_fork_prepare,
    .fork_parent = tlsf_fork_parent,
    .fork_child = tlsf_fork_child,
    .thread_exit = tlsf_thread_exit,
};
