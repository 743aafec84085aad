/* SPDX-License-Identifier: MIT
 *
 * Preloaded under the analyser: from its FAIL_FROM-th request for memory on,
 * FAIL_COUNT requests are refused (0: none is), and at its end the number of
 * requests is written to the file FAIL_TELL. Requests are malloc, calloc, realloc,
 * aligned_alloc and anonymous mmap and mremap; those from within libc's own calls
 * count too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static unsigned long first, count, requests;

static int refused(void)
{
    unsigned long number = __atomic_add_fetch(&requests, 1, __ATOMIC_RELAXED);
    if (!first || number < first || number - first >= count)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
    return refused() ? NULL : __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refused() ? NULL : __libc_memalign(alignment, size);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    static void *(*next)(void *, size_t, int, int, int, off_t);
    if (!next)
        next = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
    return (flags & MAP_ANONYMOUS) && refused() ? MAP_FAILED
                                                : next(at, size, protection, flags, fd, offset);
}

void *mremap(void *old, size_t old_size, size_t size, int flags, ...)
{
    static void *(*next)(void *, size_t, size_t, int, ...);
    va_list rest;
    va_start(rest, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(rest, void *) : NULL;
    va_end(rest);
    if (!next)
        next = (void *(*)(void *, size_t, size_t, int, ...))dlsym(RTLD_NEXT, "mremap");
    return refused() ? MAP_FAILED : next(old, old_size, size, flags, to);
}

__attribute__((constructor)) static void begin(void)
{
    const char *from = getenv("FAIL_FROM"), *many = getenv("FAIL_COUNT");
    count = many ? strtoul(many, NULL, 10) : 1;
    __atomic_store_n(&requests, 0, __ATOMIC_RELAXED);
    first = from ? strtoul(from, NULL, 10) : 0;
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("FAIL_TELL");
    unsigned long n = requests;
    first = 0;
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%lu\n", n);
        fclose(file);
    }
}
