/* SPDX-License-Identifier: MIT
 *
 * The smallest allocator for mlog_allocator.h: every block has pages of its own, which
 * are gone when it is freed, so that a use after that ends the program at once.
 *
 *     cc -shared -fPIC -O2 pages.c $(pkg-config --cflags --libs mlog-allocator) -o libpages.so
 *     mlog-allocator-test ./libpages.so
 *     LD_PRELOAD=./libpages.so python3 -c 'print("hello")'
 *     LD_PRELOAD="libmlog.so ./libpages.so" python3 -c 'print("hello")' 1022>/tmp/hello.mlog
 *
 * The first prints nothing, the second one "ok" for each promise of malloc, the other two
 * print hello.
 */
#include <mlog_allocator.h>

#include <stdint.h>
#include <sys/mman.h>

/* In front of each block. */
struct pages {
    void *mapping;
    size_t size;
};

static struct pages *pages_of(const void *block)
{
    return (struct pages *)block - 1;
}

static void *allocate(size_t alignment, size_t size)
{
    const size_t whole = sizeof(struct pages) + alignment + size;
    char *mapping = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return NULL;
    const uintptr_t at = (uintptr_t)mapping + sizeof(struct pages) + alignment - 1;
    void *block = (void *)(at & ~(uintptr_t)(alignment - 1));
    *pages_of(block) = (struct pages){mapping, whole};
    return block;
}

static void deallocate(void *block)
{
    munmap(pages_of(block)->mapping, pages_of(block)->size);
}

static size_t usable_size(const void *block)
{
    const struct pages *pages = pages_of(block);
    return (size_t)((char *)pages->mapping + pages->size - (const char *)block);
}

const struct mlog_allocator mlog_allocator = {
    .version = MLOG_ALLOCATOR_VERSION,
    .name = "pages",
    .allocate = allocate,
    .deallocate = deallocate,
    .usable_size = usable_size,
    .allocate_zeroed = allocate, /* a new mapping is zero */
};
