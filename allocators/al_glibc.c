/* SPDX-License-Identifier: MIT
 *
 * libmlog-glibc.so: glibc's own allocator behind the plug-in interface, as the
 * shortest example of one and as what others are measured against. glibc looks after
 * fork, threads and signals itself.
 */
#include "mlog_allocator.h"

#include <dlfcn.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

static void *glibc_allocate(size_t alignment, size_t size)
{
    return alignment <= 16 ? __libc_malloc(size) : __libc_memalign(alignment, size);
}

static void *glibc_allocate_zeroed(size_t alignment, size_t size)
{
    (void)alignment; /* is calloc's, 16 */
    return __libc_calloc(1, size);
}

/* glibc has no other name for it than the one that is ours here. */
static size_t glibc_usable_size(const void *block)
{
    static size_t (*usable_size)(const void *);
    if (!__atomic_load_n(&usable_size, __ATOMIC_ACQUIRE)) {
        size_t (*found)(const void *);
        *(void **)&found = dlsym(RTLD_NEXT, "malloc_usable_size");
        __atomic_store_n(&usable_size, found, __ATOMIC_RELEASE);
    }
    return usable_size(block);
}

const struct mlog_allocator mlog_allocator = {
    .version = MLOG_ALLOCATOR_VERSION,
    .name = "mlog-glibc",
    .allocate = glibc_allocate,
    .deallocate = __libc_free,
    .usable_size = glibc_usable_size,
    .allocate_zeroed = glibc_allocate_zeroed,
    .reallocate = __libc_realloc,
};
