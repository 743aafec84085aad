/* SPDX-License-Identifier: MIT
 *
 * liboracle.so: the plain counting library that mlog is measured against. It
 * is preloaded *under* libmlog.so,
 *
 *     LD_PRELOAD="libmlog.so liboracle.so" ORACLE_OUT=/tmp/oracle prog
 *
 * so that it sees just the calls that libmlog.so passes on. It shares no code
 * with mlog and is as dumb as can be: one lock held over every call, so that
 * its order is the true one, and one table of live blocks.
 *
 * Every process image writes a file of its own, $ORACLE_OUT.PID.N (N rises
 * with every exec). Its counters live in that file, mapped shared, so that
 * they are right at any instant and after any end: there is no exit hook.
 * tests/oracle.py reads it; struct oracle_file is the layout.
 *
 * Without ORACLE_OUT it counts into private memory. ORACLE_BLOCK_SIGNALS=1
 * blocks all signals over each call, for programs whose signal handlers
 * allocate: libc's own malloc does not survive those.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum function {
    FN_MALLOC,
    FN_CALLOC,
    FN_REALLOC,
    FN_REALLOCARRAY,
    FN_FREE,
    FN_MEMALIGN,
    FN_POSIX_MEMALIGN,
    FN_ALIGNED_ALLOC,
    FN_VALLOC,
    FN_PVALLOC,
    FN_FREE_SIZED,
    FN_FREE_ALIGNED_SIZED,
    FN_COUNT
};

struct oracle_file {
    char magic[8]; /* "oracle1" */
    uint64_t pid, ppid;
    uint64_t calls[FN_COUNT];  /* successful; frees of non-null pointers */
    uint64_t failed[FN_COUNT]; /* returned null with an error */
    uint64_t allocations, frees, reallocations;
    uint64_t allocated_bytes, freed_bytes;
    uint64_t live_bytes, live_blocks;           /* inherited ones included */
    uint64_t inherited_bytes, inherited_blocks; /* of those, from before the fork */
    uint64_t peak_bytes, blocks_at_peak;        /* at the first moment of most bytes */
    uint64_t most_blocks;
    uint64_t foreign_frees; /* of blocks never seen allocated */
    /* The same bytes as malloc_usable_size has them when the block begins. */
    uint64_t usable_allocated, usable_freed, usable_peak;
    char executable[256];
};

static struct oracle_file private_file;
static struct oracle_file *counts = &private_file;

/* The lock. Recursive, as libc's functions may call each other. */

#ifndef PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP /* musl's layout */
#define PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP                                                     \
    {                                                                                              \
        {                                                                                          \
            {                                                                                      \
                PTHREAD_MUTEX_RECURSIVE                                                            \
            }                                                                                      \
        }                                                                                          \
    }
#endif
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static bool block_signals;

static void enter(sigset_t *saved)
{
    if (block_signals) {
        sigset_t all;
        sigfillset(&all);
        syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, saved, 8);
    }
    pthread_mutex_lock(&lock);
}

static void leave(const sigset_t *saved)
{
    pthread_mutex_unlock(&lock);
    if (block_signals) {
        int error = errno;
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL, 8);
        errno = error;
    }
}

/* The real functions, and an arena for what dlsym asks for meanwhile. */

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void *(*real_reallocarray)(void *, size_t, size_t);
static void (*real_free)(void *);
static void *(*real_memalign)(size_t, size_t);
static int (*real_posix_memalign)(void **, size_t, size_t);
static void *(*real_aligned_alloc)(size_t, size_t);
static void *(*real_valloc)(size_t);
static void *(*real_pvalloc)(size_t);
static size_t (*real_usable)(void *);

static _Alignas(16) char arena[16384];
static size_t arena_used;

static bool in_arena(const void *p)
{
    return (const char *)p >= arena && (const char *)p < arena + sizeof arena;
}

static void *arena_get(size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (size > sizeof arena - arena_used)
        return NULL;
    arena_used += size;
    return arena + arena_used - size;
}

static bool resolving, resolved;

static void resolve(void)
{
    static const struct {
        const char *name;
        void *where;
    } table[] = {
        {"malloc", &real_malloc},
        {"calloc", &real_calloc},
        {"realloc", &real_realloc},
        {"reallocarray", &real_reallocarray},
        {"free", &real_free},
        {"memalign", &real_memalign},
        {"posix_memalign", &real_posix_memalign},
        {"aligned_alloc", &real_aligned_alloc},
        {"valloc", &real_valloc},
        {"pvalloc", &real_pvalloc},
        {"malloc_usable_size", &real_usable},
    };
    resolving = true;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        void *address = dlsym(RTLD_NEXT, table[i].name);
        memcpy(table[i].where, &address, sizeof address);
    }
    resolving = false;
    resolved = true;
}

/* The live blocks: open addressing, linear probing, backward-shift deletion.
 * Inherited blocks are those of a generation before the process's own. */

struct live {
    uintptr_t address; /* 0: free slot */
    uint64_t size, usable;
    uint32_t generation;
};

static struct live *table;
static size_t table_size, table_used;
static uint32_t generation = 1;

static size_t slot_of(uintptr_t address)
{
    return ((address >> 4) * 0x9e3779b97f4a7c15ull >> 20) & (table_size - 1);
}

static void die(const char *why)
{
    dprintf(2, "liboracle: %s\n", why);
    _exit(99);
}

static void table_insert(uintptr_t address, uint64_t size, uint64_t usable, uint32_t born)
{
    size_t i = slot_of(address);
    while (table[i].address && table[i].address != address)
        i = (i + 1) & (table_size - 1);
    if (table[i].address == address)
        die("an address was handed out twice");
    table[i] = (struct live){address, size, usable, born};
    table_used++;
}

static void table_grow(void)
{
    struct live *old = table;
    size_t old_size = table_size;
    table_size = old_size ? old_size * 2 : 1 << 16;
    table = mmap(NULL, table_size * sizeof *table, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (table == MAP_FAILED)
        die("out of memory");
    table_used = 0;
    for (size_t i = 0; i < old_size; i++)
        if (old[i].address)
            table_insert(old[i].address, old[i].size, old[i].usable, old[i].generation);
    if (old)
        munmap(old, old_size * sizeof *old);
}

static bool table_remove(uintptr_t address, struct live *removed)
{
    if (!table_size)
        return false;
    size_t i = slot_of(address), mask = table_size - 1;
    while (table[i].address != address) {
        if (!table[i].address)
            return false;
        i = (i + 1) & mask;
    }
    *removed = table[i];
    for (size_t j = (i + 1) & mask; table[j].address; j = (j + 1) & mask) {
        size_t home = slot_of(table[j].address);
        if (((j - home) & mask) >= ((j - i) & mask)) {
            table[i] = table[j];
            i = j;
        }
    }
    table[i].address = 0;
    table_used--;
    return true;
}

/* The accounts; the lock is held. */

static bool block_ends(void *p)
{
    struct live gone;
    if (!table_remove((uintptr_t)p, &gone)) {
        counts->foreign_frees++;
        return false;
    }
    counts->frees++;
    counts->freed_bytes += gone.size;
    counts->usable_freed += gone.usable;
    counts->live_blocks--;
    counts->live_bytes -= gone.size;
    if (gone.generation != generation) {
        counts->inherited_blocks--;
        counts->inherited_bytes -= gone.size;
    }
    return true;
}

static void block_begins(void *p, size_t size)
{
    if (table_used * 2 >= table_size)
        table_grow();
    size_t usable = real_usable(p);
    table_insert((uintptr_t)p, size, usable, generation);
    counts->allocations++;
    counts->allocated_bytes += size;
    counts->usable_allocated += usable;
    if (counts->usable_allocated - counts->usable_freed > counts->usable_peak)
        counts->usable_peak = counts->usable_allocated - counts->usable_freed;
    counts->live_blocks++;
    counts->live_bytes += size;
    if (counts->live_bytes > counts->peak_bytes) {
        counts->peak_bytes = counts->live_bytes;
        counts->blocks_at_peak = counts->live_blocks;
    }
    if (counts->live_blocks > counts->most_blocks)
        counts->most_blocks = counts->live_blocks;
}

static void *allocated(enum function fn, void *p, size_t size)
{
    if (!p) {
        counts->failed[fn]++;
        return NULL;
    }
    counts->calls[fn]++;
    block_begins(p, size);
    return p;
}

/* Beginning, and beginning again in a forked child. */

static void open_file(void)
{
    int error = errno;
    const char *prefix = getenv("ORACLE_OUT");
    char path[4096];
    int fd = -1;
    counts->pid = (uint64_t)getpid();
    counts->ppid = (uint64_t)getppid();
    memcpy(counts->magic, "oracle1", 8);
    ssize_t length = readlink("/proc/self/exe", counts->executable, sizeof counts->executable - 1);
    counts->executable[length > 0 ? length : 0] = '\0';
    for (int i = 0; prefix && fd < 0 && i < 1000; i++) {
        snprintf(path, sizeof path, "%s.%d.%d", prefix, (int)getpid(), i);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            die("cannot make its file");
    }
    if (fd >= 0) {
        struct oracle_file *shared = MAP_FAILED;
        if (ftruncate(fd, sizeof *shared) == 0)
            shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (shared == MAP_FAILED)
            die("cannot map its file");
        close(fd);
        *shared = *counts;
        counts = shared;
    }
    errno = error;
}

static bool begun;

static void begin(void)
{
    if (resolved && begun)
        return;
    if (!resolved)
        resolve();
    /* getenv is safe once libc is initialised; what came before counts too. */
    if (!begun && environ) {
        begun = true;
        const char *block = getenv("ORACLE_BLOCK_SIGNALS");
        block_signals = block && *block == '1';
        open_file();
    }
}

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    pthread_mutex_t fresh = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
    memcpy(&lock, &fresh, sizeof lock); /* its owner was the parent's thread */
    struct oracle_file inherited = *counts;
    if (counts != &private_file)
        munmap(counts, sizeof *counts);
    counts = &private_file;
    memset(counts, 0, sizeof *counts);
    counts->live_bytes = counts->inherited_bytes = counts->peak_bytes = inherited.live_bytes;
    counts->live_blocks = counts->inherited_blocks = inherited.live_blocks;
    counts->blocks_at_peak = counts->most_blocks = inherited.live_blocks;
    generation++;
    open_file();
}

/* Registered as early as a fork can happen. What the registering allocates
 * goes through libmlog.so like any other call. */
__attribute__((constructor)) static void at_load(void)
{
    sigset_t saved;
    enter(&saved);
    begin();
    leave(&saved);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* The hooks. */

EXPORT void *malloc(size_t size)
{
    if (resolving)
        return arena_get(size);
    sigset_t saved;
    enter(&saved);
    begin();
    void *p = allocated(FN_MALLOC, real_malloc(size), size);
    leave(&saved);
    return p;
}

EXPORT void *calloc(size_t count, size_t size)
{
    if (resolving)
        return arena_get(count * size);
    sigset_t saved;
    enter(&saved);
    begin();
    void *p = allocated(FN_CALLOC, real_calloc(count, size), count * size);
    leave(&saved);
    return p;
}

/* realloc and reallocarray once the product is known not to overflow. */
static void *resize(enum function fn, void *old, size_t size)
{
    if (!old)
        return allocated(fn, real_realloc(NULL, size), size);
    if (in_arena(old)) {
        void *p = allocated(fn, real_malloc(size), size);
        size_t most = (size_t)(arena + sizeof arena - (char *)old);
        return p ? memcpy(p, old, size < most ? size : most) : NULL;
    }
    void *p = real_realloc(old, size);
    if (!p && size) {
        counts->failed[fn]++;
        return NULL;
    }
    counts->calls[fn]++;
    bool known = block_ends(old);
    if (p) {
        block_begins(p, size);
        counts->reallocations += known;
    }
    return p;
}

EXPORT void *realloc(void *old, size_t size)
{
    if (resolving)
        return arena_get(size);
    sigset_t saved;
    enter(&saved);
    begin();
    void *p = resize(FN_REALLOC, old, size);
    leave(&saved);
    return p;
}

EXPORT void *reallocarray(void *old, size_t count, size_t size)
{
    sigset_t saved;
    enter(&saved);
    begin();
    size_t bytes;
    void *p;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        counts->failed[FN_REALLOCARRAY]++;
        p = real_reallocarray(old, count, size);
    } else {
        p = resize(FN_REALLOCARRAY, old, bytes);
    }
    leave(&saved);
    return p;
}

/* So that whoever calls through us need not guess. */
EXPORT size_t malloc_usable_size(void *p)
{
    begin();
    return in_arena(p) ? (size_t)(arena + sizeof arena - (char *)p) : real_usable(p);
}

static void release(enum function fn, void *p)
{
    if (!p || in_arena(p))
        return;
    sigset_t saved;
    enter(&saved);
    begin();
    counts->calls[fn]++;
    block_ends(p);
    real_free(p);
    leave(&saved);
}

EXPORT void free(void *p)
{
    release(FN_FREE, p);
}

void free_sized(void *p, size_t size);
EXPORT void free_sized(void *p, size_t size)
{
    (void)size;
    release(FN_FREE_SIZED, p);
}

void free_aligned_sized(void *p, size_t alignment, size_t size);
EXPORT void free_aligned_sized(void *p, size_t alignment, size_t size)
{
    (void)alignment;
    (void)size;
    release(FN_FREE_ALIGNED_SIZED, p);
}

EXPORT void *memalign(size_t alignment, size_t size)
{
    sigset_t saved;
    enter(&saved);
    begin();
    void *p = allocated(FN_MEMALIGN, real_memalign(alignment, size), size);
    leave(&saved);
    return p;
}

EXPORT int posix_memalign(void **where, size_t alignment, size_t size)
{
    sigset_t saved;
    enter(&saved);
    begin();
    int error = real_posix_memalign(where, alignment, size);
    allocated(FN_POSIX_MEMALIGN, error ? NULL : *where, size);
    leave(&saved);
    return error;
}

EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
    sigset_t saved;
    enter(&saved);
    begin();
    void *p = allocated(FN_ALIGNED_ALLOC, real_aligned_alloc(alignment, size), size);
    leave(&saved);
    return p;
}

EXPORT void *valloc(size_t size)
{
    sigset_t saved;
    enter(&saved);
    begin();
    void *p = allocated(FN_VALLOC, real_valloc(size), size);
    leave(&saved);
    return p;
}

EXPORT void *pvalloc(size_t size);
EXPORT void *pvalloc(size_t size)
{
    sigset_t saved;
    enter(&saved);
    begin();
    void *p = allocated(FN_PVALLOC, real_pvalloc(size), size);
    leave(&saved);
    return p;
}
