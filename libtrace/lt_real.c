/* SPDX-License-Identifier: MIT
 *
 * Resolution of the real functions and the bootstrap arena; see lt_real.h.
 * The arena is used by the thread that resolves and, rarely, by others that
 * allocate at that moment, so it is claimed by an atomic addition.
 */
#include "lt_real.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "lt_count.h"
#include "lt_libc.h"
#include "lt_lock.h"
#include "lt_sys.h"

#define ARENA_BYTES 16384
static unsigned char arena[ARENA_BYTES] __attribute__((aligned(64)));
static size_t arena_used;
static struct lt_lock resolving;
static struct lt_real next;   /* what was found; lt_real may wrap it */
static const void *allocator; /* its malloc */
static unsigned count_flags;  /* LT_COUNT_* of it */

static bool in_arena(const void *p)
{
    return (uintptr_t)p - (uintptr_t)arena < ARENA_BYTES;
}

/* A block of the arena begins 16 bytes after its size. Zeroed, never reused. */
static void *arena_alloc(size_t size, size_t align)
{
    if (size > ARENA_BYTES || align > ARENA_BYTES)
        return NULL;
    align = align < 16 ? 16 : align;
    size_t span = ((size + 15) & ~(size_t)15) + 16 + align;
    size_t at = __atomic_fetch_add(&arena_used, span, __ATOMIC_RELAXED);
    if (at + span > ARENA_BYTES) {
        errno = ENOMEM;
        return NULL;
    }
    uintptr_t p = ((uintptr_t)arena + at + 16 + align - 1) & ~(uintptr_t)(align - 1);
    memcpy((void *)(p - 16), &size, sizeof size);
    return (void *)p;
}

static size_t arena_size(const void *p)
{
    size_t size;
    memcpy(&size, (const char *)p - 16, sizeof size);
    return size;
}

static bool resolve(void);

static void *first_malloc(size_t size)
{
    return resolve() ? lt_real.malloc(size) : arena_alloc(size, 16);
}

static void *first_calloc(size_t n, size_t size)
{
    if (resolve())
        return lt_real.calloc(n, size);
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? NULL : arena_alloc(bytes, 16);
}

/* These three stay in use after the resolution if the arena was used. */
static void wary_free(void *p)
{
    if (p && !in_arena(p) && resolve())
        next.free(p);
}

static void *wary_realloc(void *p, size_t size)
{
    if (!in_arena(p))
        return resolve() ? next.realloc(p, size) : p ? NULL : arena_alloc(size, 16);
    void *moved = resolve() ? next.malloc(size) : arena_alloc(size, 16);
    size_t old = arena_size(p);
    if (moved)
        memcpy(moved, p, old < size ? old : size);
    return moved;
}

/* Functions that the allocator lacks are libc's, and so are their blocks: the
 * allocator must not be asked for their sizes. The last one is remembered
 * until the hook has asked. */
static __thread const void *of_libc __attribute__((tls_model("initial-exec")));

static size_t wary_usable_size(void *p)
{
    if (in_arena(p))
        return arena_size(p);
    return resolve() && p && p != of_libc ? next.malloc_usable_size(p) : 0;
}

static void *first_memalign(size_t align, size_t size)
{
    return resolve() ? lt_real.memalign(align, size) : arena_alloc(size, align);
}

static int first_posix_memalign(void **p, size_t align, size_t size)
{
    if (resolve())
        return lt_real.posix_memalign(p, align, size);
    *p = arena_alloc(size, align);
    return *p ? 0 : ENOMEM;
}

static void *first_aligned_alloc(size_t align, size_t size)
{
    return resolve() ? lt_real.aligned_alloc(align, size) : arena_alloc(size, align);
}

static size_t page_size(void)
{
    return getauxval(AT_PAGESZ);
}

static void *first_valloc(size_t size)
{
    return resolve() ? lt_real.valloc(size) : arena_alloc(size, page_size());
}

static void *first_pvalloc(size_t size)
{
    return resolve() ? lt_real.pvalloc(size)
                     : arena_alloc((size + page_size() - 1) & ~(page_size() - 1), page_size());
}

static size_t usable_unless_of_libc(void *p)
{
    return p == of_libc ? 0 : next.malloc_usable_size(p);
}

static void *libc_memalign(size_t align, size_t size)
{
    void *p = next.memalign(align, size);
    of_libc = p;
    return p;
}

static int libc_posix_memalign(void **p, size_t align, size_t size)
{
    int error = next.posix_memalign(p, align, size);
    if (!error)
        of_libc = *p;
    return error;
}

static void *libc_aligned_alloc(size_t align, size_t size)
{
    void *p = next.aligned_alloc(align, size);
    of_libc = p;
    return p;
}

static void *libc_valloc(size_t size)
{
    void *p = next.valloc(size);
    of_libc = p;
    return p;
}

static void *libc_pvalloc(size_t size)
{
    void *p = next.pvalloc(size);
    of_libc = p;
    return p;
}

/* The other way round: libc's malloc_usable_size, and malloc of another. That
 * passes on to libc, or its blocks have no header of libc's and libc's function
 * would follow whatever lies before them. So the header is read and judged
 * here, where it surely is in the block's page; 0: not known. */
static size_t usable_by_header(void *p)
{
    size_t header, grain = 2 * sizeof(size_t);
    if (!LT_LIBC_HAS_HEADERS || (uintptr_t)p % 4096 < sizeof header || (uintptr_t)p % grain)
        return 0;
    memcpy(&header, (const char *)p - sizeof header, sizeof header);
    size_t size = header & ~(size_t)7, mapped = header & 2 ? grain : sizeof header;
    return size % grain || size < 2 * grain || size > SIZE_MAX / 4 ? 0 : size - mapped;
}

static void *refuse_size(size_t size)
{
    (void)size;
    errno = ENOMEM;
    return NULL;
}

static void *refuse_aligned(size_t align, size_t size)
{
    (void)align;
    return refuse_size(size);
}

static int refuse_posix(void **p, size_t align, size_t size)
{
    (void)p, (void)align, (void)size;
    return ENOMEM;
}

static size_t unknown_size(void *p)
{
    (void)p;
    return 0;
}

struct lt_real lt_real = {
    .malloc = first_malloc,
    .calloc = first_calloc,
    .realloc = wary_realloc,
    .free = wary_free,
    .malloc_usable_size = wary_usable_size,
    .memalign = first_memalign,
    .posix_memalign = first_posix_memalign,
    .aligned_alloc = first_aligned_alloc,
    .valloc = first_valloc,
    .pvalloc = first_pvalloc,
};

void *lt_real_symbol(const char *name)
{
    int saved = errno;
    void *symbol = dlsym(RTLD_NEXT, name);
    errno = saved;
    return symbol;
}

/* Our own first byte, and the one after our last. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

bool lt_real_is_hook(const void *function)
{
    return (const char *)function >= __ehdr_start && (const char *)function < _end;
}

/* True if a definition is libc's own: lies between its first and last byte. */
static bool is_libc(const void *function)
{
    static uintptr_t start, end;
    Dl_info libc;
    void *known = start ? NULL : lt_real_symbol(LT_LIBC_SYMBOL);
    if (known && dladdr(known, &libc)) {
        const ElfW(Ehdr) *elf = libc.dli_fbase;
        const ElfW(Phdr) *headers = (const void *)((const char *)elf + elf->e_phoff);
        start = (uintptr_t)elf;
        for (unsigned i = 0; i < elf->e_phnum; i++)
            if (headers[i].p_type == PT_LOAD)
                end = start + headers[i].p_vaddr + headers[i].p_memsz;
    }
    return (uintptr_t)function >= start && (uintptr_t)function < end;
}

/* Complete `found`: functions that it lacks are refused or made of those it
 * has; libc's own, in place of an allocator that brings the rest, are kept
 * apart. Hooks use next but for these. */
static void complete(struct lt_real *found)
{
    /* libc's reallocarray calls realloc through the symbol table. If that leads
     * to us, we know the next one; if not, it finds the right one. */
    if (found->reallocarray && is_libc((const void *)found->reallocarray) &&
        lt_real_is_hook((const void *)realloc))
        found->reallocarray = NULL;
    if (!found->memalign)
        found->memalign = refuse_aligned;
    if (!found->posix_memalign)
        found->posix_memalign = refuse_posix;
    if (!found->aligned_alloc)
        found->aligned_alloc = found->memalign;
    if (!found->valloc)
        found->valloc = refuse_size;
    if (!found->pvalloc)
        found->pvalloc = refuse_size;
    if (!found->malloc_usable_size)
        found->malloc_usable_size = unknown_size;
    next = *found;
    allocator = (const void *)found->malloc;
#ifdef __GLIBC__
    if (is_libc(allocator))
        return;
#endif
    count_flags = LT_COUNT_NESTS;
    if (is_libc(allocator))
        return;
    if (found->malloc_usable_size == unknown_size)
        count_flags |= LT_COUNT_UNSIZED;
    if (is_libc((const void *)found->malloc_usable_size)) {
        found->malloc_usable_size = next.malloc_usable_size = usable_by_header;
        count_flags |= LT_COUNT_UNSIZED;
        return;
    }
    found->malloc_usable_size = usable_unless_of_libc;
#define LT_APART(name)                                                                             \
    if (is_libc((const void *)found->name))                                                        \
    found->name = libc_##name
    LT_APART(memalign);
    LT_APART(posix_memalign);
    LT_APART(aligned_alloc);
    LT_APART(valloc);
    LT_APART(pvalloc);
#undef LT_APART
}

/* Under the lock of the resolution. What the wary ones call is counted behind them:
 * the arena's blocks are none of the program's. */
static void count_from_now_on(struct lt_real *real, unsigned flags)
{
    if (lt_count_is_on())
        return;
    bool wary = real->free == wary_free;
    struct lt_real counted = *real;
    if (wary) {
        counted.free = next.free;
        counted.realloc = next.realloc;
        counted.malloc_usable_size = usable_unless_of_libc;
    }
    lt_count_wrap(&counted, flags);
    if (wary) {
        next.malloc = counted.malloc;
        __atomic_store_n(&next.realloc, counted.realloc, __ATOMIC_RELEASE);
        __atomic_store_n(&next.free, counted.free, __ATOMIC_RELEASE);
        counted.free = wary_free;
        counted.realloc = wary_realloc;
        counted.malloc_usable_size = wary_usable_size;
    }
    /* Each by itself: other threads call them meanwhile. */
    void **to = (void **)(void *)real;
    void *const *from = (void *const *)(void *)&counted;
    for (size_t i = 0; i < sizeof *real / sizeof *to; i++)
        __atomic_store_n(&to[i], from[i], __ATOMIC_RELEASE);
}

void lt_real_count(void)
{
    if (!resolve() || !lt_lock_take(&resolving))
        return;
    next.malloc_usable_size(NULL);
    count_from_now_on(&lt_real, count_flags | LT_COUNT_LATE);
    lt_lock_release(&resolving);
}

const void *lt_real_allocator(void)
{
    return resolve() ? allocator : NULL;
}

/* The next definition of a function that libc has. */
static void *next_of(const char *name)
{
    void *symbol = lt_real_symbol(name);
    if (!symbol || !is_libc(symbol))
        return symbol;
    int saved = errno;
    void *bound = lt_libc_bound(name);
    errno = saved;
    return bound ? bound : symbol;
}

bool lt_real_ready(void)
{
    return resolve();
}

void lt_real_settle(void)
{
    if (resolve())
        next.malloc_usable_size(NULL);
}

/* True if the real functions are known. False inside their resolution. A
 * symbol that may be missing is not looked for here: dlsym allocates then. */
static bool resolve(void)
{
    static uint32_t done;
    if (__atomic_load_n(&done, __ATOMIC_ACQUIRE))
        return true;
    if (!lt_lock_take(&resolving))
        return false;
    if (!done) {
        int saved = errno;
        struct lt_real found = {0};
        found.malloc = next_of("malloc");
        found.calloc = next_of("calloc");
        found.realloc = next_of("realloc");
        found.free = next_of("free");
        found.malloc_usable_size = next_of("malloc_usable_size");
        found.memalign = next_of("memalign");
        found.posix_memalign = next_of("posix_memalign");
        found.aligned_alloc = next_of("aligned_alloc");
        found.valloc = next_of("valloc");
        found.pvalloc = next_of("pvalloc");
        found.reallocarray = lt_real_symbol("reallocarray");
        complete(&found);
        bool counts = lt_count_is_wanted();
        if (counts)
            next.malloc_usable_size(NULL); /* as lt_real_settle: may allocate, from the arena */
        if (__atomic_load_n(&arena_used, __ATOMIC_RELAXED)) {
            found.free = wary_free;
            found.realloc = wary_realloc;
            found.malloc_usable_size = wary_usable_size;
        }
        if (counts)
            count_from_now_on(&found, count_flags);
        lt_real = found;
        __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
        errno = saved;
    }
    lt_lock_release(&resolving);
    return true;
}
