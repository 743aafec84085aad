/* SPDX-License-Identifier: MIT
 *
 * The functions of the C library that a preloaded allocator replaces, in terms of one
 * struct mlog_allocator: what glibc does with every size, alignment and errno is done
 * here, so that no allocator has to. Nothing here takes a lock. Where glibc 2.38
 * changed aligned_alloc, the C library that runs decides.
 *
 * The allocator begins with the first call, which the loader may make before any
 * constructor ran. Calls that its init makes are served from a small buffer, whose
 * blocks are known by their address for ever after.
 */
#include "mlog_allocator.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <gnu/libc-version.h>
#endif

#define PUBLIC __attribute__((visibility("default")))
#define LEAST_ALIGNMENT 16
#define EARLY_SIZE 65536

static enum { NOT_READY, READY, BROKEN } phase;
static uintptr_t beginner; /* the thread that makes it ready; 0: none yet */
static pthread_key_t thread_key;
static bool has_thread_key;
static __thread bool is_registered __attribute__((tls_model("initial-exec")));
static bool aligned_alloc_is_strict;

/* The buffer for calls from within init: blocks behind a word with their size, never
 * used again. */
static char early[EARLY_SIZE] __attribute__((aligned(LEAST_ALIGNMENT)));
static size_t early_used;

static bool is_early(const void *block)
{
    return (uintptr_t)block - (uintptr_t)early < sizeof early;
}

static size_t early_usable(const void *block)
{
    size_t size;
    memcpy(&size, (const char *)block - LEAST_ALIGNMENT, sizeof size);
    return size;
}

static void *early_allocate(size_t alignment, size_t size)
{
    const uintptr_t base = (uintptr_t)early;
    if (size > sizeof early || alignment > sizeof early)
        return NULL;
    const size_t rounded = (size + LEAST_ALIGNMENT - 1) & ~(size_t)(LEAST_ALIGNMENT - 1);
    size_t used = __atomic_load_n(&early_used, __ATOMIC_RELAXED);
    uintptr_t at;
    do {
        at = (base + used + LEAST_ALIGNMENT + alignment - 1) & ~(uintptr_t)(alignment - 1);
        if (at + rounded > base + sizeof early)
            return NULL;
    } while (!__atomic_compare_exchange_n(&early_used, &used, at + rounded - base, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    memcpy((char *)at - LEAST_ALIGNMENT, &rounded, sizeof rounded);
    return (void *)at;
}

static void on_thread_exit(void *unused)
{
    (void)unused;
    mlog_allocator.thread_exit();
}

static void before_fork(void)
{
    if (mlog_allocator.fork_prepare)
        mlog_allocator.fork_prepare();
}

static void after_fork(void)
{
    if (mlog_allocator.fork_parent)
        mlog_allocator.fork_parent();
}

static void in_child(void)
{
    if (mlog_allocator.fork_child)
        mlog_allocator.fork_child();
}

static bool libc_is_strict(void)
{
#ifdef __GLIBC__
    const char *version = gnu_get_libc_version();
    return version[0] != '2' || atoi(version + 2) >= 38;
#else
    return false;
#endif
}

/* Handlers of fork that are registered first run last before it and first after it: then
 * all others may allocate. */
static void begin(void)
{
    aligned_alloc_is_strict = libc_is_strict();
    bool works = mlog_allocator.version == MLOG_ALLOCATOR_VERSION &&
                 (!mlog_allocator.init || mlog_allocator.init() == 0);
    if (mlog_allocator.fork_prepare || mlog_allocator.fork_parent || mlog_allocator.fork_child)
        pthread_atfork(before_fork, after_fork, in_child);
    if (mlog_allocator.thread_exit)
        has_thread_key = pthread_key_create(&thread_key, on_thread_exit) == 0;
    __atomic_store_n(&phase, works ? READY : BROKEN, __ATOMIC_RELEASE);
}

/* One step says who begins: a signal handler of that thread, too, is inside init. */
static __attribute__((noinline, cold)) bool is_ready_slowly(void)
{
    const uintptr_t me = (uintptr_t)pthread_self();
    uintptr_t by = 0;
    if (__atomic_compare_exchange_n(&beginner, &by, me, false, __ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE))
        begin();
    while (__atomic_load_n(&phase, __ATOMIC_ACQUIRE) == NOT_READY) {
        if (by == me)
            return false;
        sched_yield();
    }
    return __atomic_load_n(&phase, __ATOMIC_ACQUIRE) == READY;
}

__attribute__((constructor)) static void begin_at_load(void)
{
    if (__atomic_load_n(&phase, __ATOMIC_ACQUIRE) == NOT_READY)
        is_ready_slowly();
}

/* False: inside init, or init failed. */
static inline bool is_ready(void)
{
    return __builtin_expect(__atomic_load_n(&phase, __ATOMIC_ACQUIRE) == READY, 1) ||
           is_ready_slowly();
}

/* pthread_setspecific may allocate, for keys beyond the first 32: hence first the mark. */
static inline void note_thread(void)
{
    if (__builtin_expect(has_thread_key && !is_registered, 0)) {
        is_registered = true;
        pthread_setspecific(thread_key, &thread_key);
    }
}

static void *out_of_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

static void *early_or_none(size_t alignment, size_t size)
{
    return phase == NOT_READY ? early_allocate(alignment, size) : NULL;
}

/* alignment: a power of two. errno is the caller's unless the call fails. */
static void *allocate(size_t alignment, size_t size, bool zeroed)
{
    const int error = errno;
    void *block;
    if (size > PTRDIFF_MAX)
        return out_of_memory();
    if (alignment < LEAST_ALIGNMENT)
        alignment = LEAST_ALIGNMENT;
    if (!is_ready()) {
        block = early_or_none(alignment, size); /* zero: never used before */
    } else {
        note_thread();
        if (zeroed && mlog_allocator.allocate_zeroed) {
            block = mlog_allocator.allocate_zeroed(alignment, size);
        } else {
            block = mlog_allocator.allocate(alignment, size);
            if (block && zeroed)
                memset(block, 0, size);
        }
    }
    if (!block)
        return out_of_memory();
    errno = error;
    return block;
}

static size_t usable(const void *block)
{
    return is_early(block) ? early_usable(block) : mlog_allocator.usable_size(block);
}

static void deallocate(void *block)
{
    const int error = errno;
    if (!is_early(block) && is_ready()) {
        note_thread();
        mlog_allocator.deallocate(block);
    }
    errno = error;
}

static void *reallocate(void *block, size_t size)
{
    if (!block)
        return allocate(LEAST_ALIGNMENT, size, false);
    if (size == 0) { /* as glibc has it */
        deallocate(block);
        return NULL;
    }
    if (size > PTRDIFF_MAX)
        return out_of_memory();
    const int error = errno;
    if (mlog_allocator.reallocate && !is_early(block) && is_ready()) {
        note_thread();
        void *moved = mlog_allocator.reallocate(block, size);
        if (!moved)
            return out_of_memory();
        errno = error;
        return moved;
    }
    const size_t had = usable(block);
    if (size <= had && size >= had / 2)
        return block;
    void *moved = allocate(LEAST_ALIGNMENT, size, false);
    if (!moved && size > had)
        return NULL;
    if (moved) {
        memcpy(moved, block, size < had ? size : had);
        deallocate(block);
    }
    errno = error;
    return moved ? moved : block;
}

/* memalign as glibc has it: what is no power of two becomes the next one. */
static void *allocate_aligned(size_t alignment, size_t size)
{
    if (alignment > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    size_t power = LEAST_ALIGNMENT;
    while (power < alignment)
        power *= 2;
    if (size > PTRDIFF_MAX || size > SIZE_MAX - power)
        return out_of_memory();
    return allocate(power, size, false);
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

PUBLIC void *malloc(size_t size)
{
    return allocate(LEAST_ALIGNMENT, size, false);
}

PUBLIC void free(void *block)
{
    if (block)
        deallocate(block);
}

PUBLIC void *calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        return out_of_memory();
    return allocate(LEAST_ALIGNMENT, bytes, true);
}

PUBLIC void *realloc(void *block, size_t size)
{
    return reallocate(block, size);
}

PUBLIC void *reallocarray(void *block, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        return out_of_memory();
    return reallocate(block, bytes);
}

PUBLIC void *memalign(size_t alignment, size_t size)
{
    return allocate_aligned(alignment, size);
}

PUBLIC void *aligned_alloc(size_t alignment, size_t size)
{
    if (aligned_alloc_is_strict && (!alignment || alignment & (alignment - 1))) {
        errno = EINVAL;
        return NULL;
    }
    return allocate_aligned(alignment, size);
}

PUBLIC int posix_memalign(void **block, size_t alignment, size_t size)
{
    if (alignment % sizeof(void *) || !alignment || alignment & (alignment - 1))
        return EINVAL;
    void *found = allocate_aligned(alignment, size);
    if (!found)
        return ENOMEM;
    *block = found;
    return 0;
}

PUBLIC void *valloc(size_t size)
{
    return allocate_aligned(page_size(), size);
}

void *pvalloc(size_t size); /* which musl does not declare */

PUBLIC void *pvalloc(size_t size)
{
    const size_t page = page_size();
    size_t rounded;
    if (__builtin_add_overflow(size, page - 1, &rounded))
        return out_of_memory();
    return allocate_aligned(page, rounded & ~(page - 1));
}

PUBLIC size_t malloc_usable_size(void *block)
{
    return block ? usable(block) : 0;
}

/* Of C23; and of programs older than glibc 2.26. */
void free_sized(void *block, size_t size);
void free_aligned_sized(void *block, size_t alignment, size_t size);
void cfree(void *block);

PUBLIC void free_sized(void *block, size_t size)
{
    (void)size;
    free(block);
}

PUBLIC void free_aligned_sized(void *block, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    free(block);
}

PUBLIC void cfree(void *block)
{
    free(block);
}
