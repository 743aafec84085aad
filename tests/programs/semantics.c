/* SPDX-License-Identifier: MIT
 *
 * Exercises all that a program can see of the allocation functions: return
 * values, errno, alignment, usable sizes, contents. Prints one line a check;
 * the lines must be the same with and without the library under test. Addresses
 * are not printed.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHOW(what, format, ...) printf("%s: " format "\n", what, __VA_ARGS__)

static volatile size_t zero, half = SIZE_MAX / 2, third = SIZE_MAX / 3, all = SIZE_MAX;

static int is_zero(const unsigned char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i])
            return 0;
    return 1;
}

static void *dirty(size_t size)
{
    void *p = malloc(size);
    memset(p, 0xa5, size);
    return p;
}

static void check_malloc(void)
{
    errno = 77;
    void *p = malloc(zero);
    SHOW("malloc 0", "%d errno %d usable %zu", p != NULL, errno, malloc_usable_size(p));
    free(p);
    for (size_t size = 1; size < 3000000; size = size * 3 + 1) {
        p = malloc(size);
        SHOW("malloc", "%zu usable %zu aligned %d", size, malloc_usable_size(p),
             (uintptr_t)p % 16 == 0);
        free(p);
    }
    errno = 0;
    p = malloc(all);
    SHOW("malloc max", "%d errno %d", p == NULL, errno);
    errno = 0;
    p = malloc(half + 1);
    SHOW("malloc half", "%d errno %d", p == NULL, errno);
    errno = 78;
    free(NULL);
    free(malloc(10));
    free(malloc(10000000));
    SHOW("free keeps errno", "%d", errno);
}

static void check_calloc(void)
{
    for (size_t size = 8; size < 2000000; size *= 5) {
        free(dirty(size * 3));
        unsigned char *p = calloc(3, size);
        SHOW("calloc", "%zu zero %d", size * 3, is_zero(p, size * 3));
        free(p);
    }
    errno = 0;
    void *p = calloc(third, 4);
    SHOW("calloc overflow", "%d errno %d", p == NULL, errno);
    errno = 0;
    p = calloc(half, 3);
    SHOW("calloc overflow 2", "%d errno %d", p == NULL, errno);
    p = calloc(zero, 10);
    SHOW("calloc 0", "%d", p != NULL);
    free(p);
}

static void check_realloc(void)
{
    unsigned char *p = dirty(1000);
    p = realloc(p, 100000);
    SHOW("realloc grows", "%d usable %zu", p[0] == 0xa5 && p[999] == 0xa5, malloc_usable_size(p));
    p = realloc(p, 10);
    SHOW("realloc shrinks", "%d usable %zu", p[0] == 0xa5 && p[9] == 0xa5, malloc_usable_size(p));
    errno = 0;
    void *q = realloc(p, half + 1);
    SHOW("realloc fails", "%d errno %d kept %d", q == NULL, errno, p[0] == 0xa5);
    errno = 79;
    q = realloc(p, zero);
    SHOW("realloc to 0", "%d errno %d", q == NULL, errno);
    p = realloc(NULL, 20);
    SHOW("realloc of null", "%d", p != NULL);
    void *volatile same = p; /* still ours after the failure */
    errno = 0;
    q = reallocarray(p, third, 4);
    SHOW("reallocarray overflow", "%d errno %d", q == NULL, errno);
    p = reallocarray(same, 30, 40);
    SHOW("reallocarray", "%d", malloc_usable_size(p) >= 1200);
    for (size_t size = 1000; size < 30000000; size *= 4) {
        p[size - 1000] = 0x5a;
        p = realloc(p, size * 4);
        SHOW("realloc mapped", "%zu kept %d", size, p[size - 1000] == 0x5a);
    }
    free(p);
}

static void check_aligned(void)
{
    static const size_t alignments[] = {0, 1, 2, 3, 4, 8, 16, 24, 32, 64, 4096, 1 << 20};
    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++) {
        size_t alignment = alignments[i];
        void *p = (void *)0x1230;
        errno = 80;
        int error = posix_memalign(&p, alignment, 1234);
        SHOW("posix_memalign", "%zu error %d errno %d untouched %d aligned %d", alignment, error,
             errno, p == (void *)0x1230, error || (uintptr_t)p % alignment == 0);
        if (!error)
            free(p);
        errno = 0;
        p = memalign(alignment, 1234);
        SHOW("memalign", "%zu ok %d errno %d aligned %d", alignment, p != NULL, errno,
             !p || !alignment || alignment & (alignment - 1) || (uintptr_t)p % alignment == 0);
        free(p);
        errno = 0;
        p = aligned_alloc(alignment, 1234);
        SHOW("aligned_alloc", "%zu ok %d errno %d aligned %d", alignment, p != NULL, errno,
             !p || !alignment || alignment & (alignment - 1) || (uintptr_t)p % alignment == 0);
        p = p ? realloc(p, 5000) : NULL;
        free(p);
    }
    void *p = NULL;
    errno = 81;
    int error = posix_memalign(&p, 64, half + 1);
    SHOW("posix_memalign huge", "%d errno %d null %d", error, errno, p == NULL);
    errno = 0;
    p = memalign(64, half + 1);
    SHOW("memalign huge", "%d errno %d", p == NULL, errno);
    errno = 0;
    p = aligned_alloc(64, all - 10);
    SHOW("aligned_alloc huge", "%d errno %d", p == NULL, errno);
    p = valloc(10);
    SHOW("valloc", "%d", (uintptr_t)p % (uintptr_t)sysconf(_SC_PAGESIZE) == 0);
    free(p);
    p = pvalloc(10);
    SHOW("pvalloc", "%d usable %d", (uintptr_t)p % (uintptr_t)sysconf(_SC_PAGESIZE) == 0,
         malloc_usable_size(p) >= (size_t)sysconf(_SC_PAGESIZE));
    free(p);
    errno = 0;
    p = pvalloc(all - 10);
    SHOW("pvalloc huge", "%d errno %d", p == NULL, errno);
}

static void check_layout(void)
{
    /* The distance of blocks is libc's own: nothing is added to them. */
    char *a = malloc(24), *b = malloc(24), *c = malloc(24);
    SHOW("layout", "%td %td", b - a, c - b);
    free(b);
    char *d = malloc(24);
    SHOW("reuse", "%d", d == b);
    free(a);
    free(c);
    free(d);
    struct mallinfo2 before = mallinfo2();
    void *p = malloc(123 * 8);
    struct mallinfo2 after = mallinfo2();
    SHOW("mallinfo2", "%zu", after.uordblks - before.uordblks);
    free(p);
    SHOW("mallopt", "%d", mallopt(M_MXFAST, 0));
    malloc_trim(0);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    check_malloc();
    check_calloc();
    check_realloc();
    check_aligned();
    check_layout();
    return 0;
}
