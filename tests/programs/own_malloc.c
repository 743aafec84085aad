/* SPDX-License-Identifier: MIT
 *
 * A program with functions of allocation of its own, which libraries then use
 * too: ALL of them (a bump allocator), those that COUNT and pass on, or just
 * malloc and free, PARTLY, with calloc left to libc. Leaks 123 * 8 bytes.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned calls;
#ifdef COUNT
static void *(*next_malloc)(size_t);

void *malloc(size_t size)
{
    if (!next_malloc)
        next_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    calls++;
    void *p = next_malloc(size);
    __asm__ volatile("");
    return p;
}
#else
static _Alignas(64) char room[1 << 20];
static size_t used;

static int is_own(const void *p)
{
    return (uintptr_t)p - (uintptr_t)room < sizeof room;
}

void *malloc(size_t size)
{
    calls++;
    char *p = room + used + 64;
    used += (size + 127) / 64 * 64;
    memcpy(p - 8, &size, 8);
    return used < sizeof room ? p : NULL;
}

void free(void *p)
{
    if (p && !is_own(p))
        _exit(88);
}
#ifdef ALL
void *calloc(size_t n, size_t size)
{
    return malloc(n * size);
}

void *realloc(void *p, size_t size)
{
    size_t old = 0;
    void *new = malloc(size);
    if (p)
        memcpy(&old, (char *)p - 8, 8);
    return p ? memcpy(new, p, old < size ? old : size) : new;
}
#endif
#endif

static void *volatile keep;

int main(void)
{
    char *text = strdup("of libc");
    keep = malloc(123 * 8);
    free(text);
#ifndef COUNT
    text = calloc(3, 41);
    keep = text;
    dprintf(1, "calloc own %d\n", is_own(text));
    dprintf(1, "malloc own %d\n", is_own(malloc(10)));
#endif
    dprintf(1, "called %d\n", calls > 1);
    return 0;
}
