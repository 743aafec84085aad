/* SPDX-License-Identifier: MIT
 *
 * Calls every allocation function a number of times that names it, with sizes
 * that name it too, and leaks a known part. The test holds what mlog must
 * report, worked out by hand: no other tool is asked.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

static void *volatile keep;
static volatile int five = 5, three = 3; /* no loop is to be unrolled */

static __attribute__((noinline)) void leak_malloc(void)
{
    for (int i = 0; i < five; i++)
        keep = malloc(123 * 8);
}

static __attribute__((noinline)) void leak_calloc(void)
{
    for (int i = 0; i < three; i++)
        keep = calloc(7, 41);
}

static __attribute__((noinline)) void *grown(void)
{
    void *p = realloc(NULL, 10);
    for (size_t size = 100; size <= 100000; size *= 10)
        p = realloc(p, size);
    return p;
}

/* Opaque sizes: not to be refused at compile time. */
static volatile size_t huge = SIZE_MAX / 2, zero, half = SIZE_MAX / 3;

int main(void)
{
    void *p = NULL;
    leak_malloc();                          /* 5 malloc */
    leak_calloc();                          /* 3 calloc */
    free(grown());                          /* 5 realloc, 1 free */
    keep = reallocarray(NULL, 11, 13);      /* 1 reallocarray, leaked: 143 */
    free(reallocarray(malloc(17), 19, 23)); /* 1 malloc, 1 reallocarray, 1 free */
    for (int i = 0; i < 2; i++)
        free(memalign(64, 1001)); /* 2 memalign, 2 free */
    for (int i = 0; i < 3; i++)
        if (posix_memalign(&p, 4096, 1003) == 0)
            free(p); /* 3 posix_memalign, 3 free */
    for (int i = 0; i < 4; i++)
        free(aligned_alloc(32, 1024)); /* 4 aligned_alloc, 4 free */
    free(valloc(1009));                /* 1 valloc, 1 free */
    free(pvalloc(1013));               /* 1 pvalloc, 1 free */
    free(NULL);                        /* nothing */
    free(malloc(zero));                /* 1 malloc, 1 free */
    p = realloc(malloc(29), zero);     /* 1 malloc, 1 realloc that ends it */
    if (p)
        return 1;
    /* Failures change nothing. */
    p = malloc(31); /* 1 malloc */
    if (realloc(p, huge) || malloc(huge) || calloc(half, 4) || reallocarray(p, half, 4) ||
        posix_memalign(&p, 3, 8) == 0)
        return 1;
    free(p); /* 1 free */
    return 0;
}
