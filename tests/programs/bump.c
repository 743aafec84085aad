/* SPDX-License-Identifier: MIT
 *
 * An allocator that may be interrupted at any instruction and left by longjmp:
 * it takes its blocks from one large array by an atomic addition and never
 * reuses any. Preloaded under libmlog.so it lets a test put signals everywhere
 * in a hook, where libc's malloc would not survive its own handler.
 */
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define ROOM ((size_t)512 << 20)

static char room[ROOM] __attribute__((aligned(4096)));
static size_t used;

static void *take(size_t align, size_t size)
{
    align = align < 16 ? 16 : align;
    size_t span = ((size + 15) & ~(size_t)15) + align + 16;
    size_t at = __atomic_fetch_add(&used, span, __ATOMIC_RELAXED);
    if (size > ROOM || at + span > ROOM) {
        errno = ENOMEM;
        return NULL;
    }
    uintptr_t p = ((uintptr_t)room + at + 16 + align - 1) & ~(uintptr_t)(align - 1);
    ((size_t *)p)[-1] = size;
    return (void *)p;
}

EXPORT void *malloc(size_t size)
{
    return take(16, size);
}

EXPORT void *calloc(size_t n, size_t size)
{
    return take(16, n * size); /* never used before: zero */
}

EXPORT void free(void *p)
{
    (void)p;
}

EXPORT size_t malloc_usable_size(void *p)
{
    return p ? ((size_t *)p)[-1] : 0;
}

EXPORT void *realloc(void *old, size_t size)
{
    void *p = take(16, size);
    if (p && old)
        memcpy(p, old, malloc_usable_size(old) < size ? malloc_usable_size(old) : size);
    return p;
}

EXPORT void *memalign(size_t align, size_t size)
{
    return take(align, size);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
    return take(align, size);
}

EXPORT int posix_memalign(void **p, size_t align, size_t size)
{
    *p = take(align, size);
    return *p ? 0 : ENOMEM;
}
