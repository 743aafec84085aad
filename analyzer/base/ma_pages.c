/* SPDX-License-Identifier: MIT
 *
 * Mappings for large tables; see ma_pages.h.
 */
#include "ma_pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define HUGE_FROM ((size_t)1 << 20)
#define ALIGNMENT 64

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) & ~(page - 1);
}

/* A mapping that begins at a huge page, or NULL. */
static void *map(size_t size, int protection)
{
    unsigned char *start = mmap(NULL, size + HUGE_PAGE, protection,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)start & (HUGE_PAGE - 1);
    if (before)
        munmap(start, before);
    if (before < HUGE_PAGE)
        munmap(start + before + size, HUGE_PAGE - before);
    return start + before;
}

/* Larger where it is, if nothing is behind it, else elsewhere: whole huge pages
 * move with their page tables. */
static void *remap(void *memory, size_t old_size, size_t size)
{
    if (mremap(memory, old_size, size, 0) != MAP_FAILED)
        return memory;
    void *to = map(size, PROT_NONE);
    if (!to) { /* a limit on addresses: it takes fewer of them anywhere */
        to = mremap(memory, old_size, size, MREMAP_MAYMOVE);
        return to == MAP_FAILED ? NULL : to;
    }
    if (mremap(memory, old_size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED) {
        munmap(to, size);
        return NULL;
    }
    return to;
}

void *ma_pages_new(size_t size)
{
    if (size > PTRDIFF_MAX - HUGE_PAGE)
        return NULL;
    if (size >= MA_PAGES_LEAST) {
        size = whole_pages(size);
        void *memory = map(size, PROT_READ | PROT_WRITE);
        if (memory)
            madvise(memory, size, MADV_HUGEPAGE);
        return memory;
    }
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    void *memory = aligned_alloc(ALIGNMENT, size);
    return memory ? memset(memory, 0, size) : NULL;
}

void *ma_pages_grow(void *memory, size_t old_size, size_t size)
{
    if (old_size >= MA_PAGES_LEAST) {
        if (size > PTRDIFF_MAX - HUGE_PAGE)
            return NULL;
        return remap(memory, whole_pages(old_size), whole_pages(size));
    }
    void *grown = ma_pages_new(size);
    if (!grown)
        return NULL;
    if (old_size)
        memcpy(grown, memory, old_size);
    free(memory);
    return grown;
}

void *ma_pages_more(void *array, size_t *capacity, size_t element_size, size_t least)
{
    size_t more = *capacity + *capacity / 2 + 8, size;
    if (more < least)
        more = least;
    if (__builtin_mul_overflow(more, element_size, &size) || size > PTRDIFF_MAX - HUGE_PAGE)
        return NULL;
    if (size >= HUGE_FROM)
        more = ((size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1)) / element_size;
    void *grown = ma_pages_grow(array, *capacity * element_size, more * element_size);
    if (grown)
        *capacity = more;
    return grown;
}

void ma_pages_free(void *memory, size_t size)
{
    if (size >= MA_PAGES_LEAST)
        munmap(memory, whole_pages(size));
    else
        free(memory);
}
