/* SPDX-License-Identifier: MIT
 *
 * The output of conform.c and conform_new.cc: a line a case on standard output
 * (without addresses: it must be the same with and without the library under
 * test), and a line for each call in the file that the environment names as
 * CONFORM_LOG, in the order of the calls:
 *
 *     alloc FUNCTION ADDRESS SIZE USABLE ALIGNMENT
 *     realloc FUNCTION OLD NEW SIZE USABLE
 *     free FUNCTION ADDRESS
 *     failed FUNCTION SIZE
 *     live ADDRESS SIZE             what the program holds at its end
 *
 * Neither allocates. Marks "conform" in the trace enclose what is accounted.
 */
#ifndef CONFORM_H
#define CONFORM_H

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mlog.h"

static int conform_log = -1;

__attribute__((format(printf, 2, 3))) static inline void conform_write(int fd, const char *format,
                                                                       ...)
{
    char line[400];
    int saved = errno;
    va_list list;
    va_start(list, format);
    int size = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (fd >= 0 && write(fd, line, (size_t)size) != size)
        _exit(99);
    errno = saved;
}

#define SHOW(...) conform_write(1, __VA_ARGS__)
#define LOG(...) conform_write(conform_log, __VA_ARGS__)

/* Values that the compiler cannot know. */
static volatile size_t zero = 0, half = SIZE_MAX / 2, third = SIZE_MAX / 3, all = SIZE_MAX;

struct conform_block {
    void *address;
    size_t size;
};
static struct conform_block conform_live[256];

static inline void conform_hold(void *address, size_t size)
{
    for (size_t i = 0; i < sizeof conform_live / sizeof *conform_live; i++)
        if (!conform_live[i].address) {
            conform_live[i].address = address;
            conform_live[i].size = size;
            return;
        }
    _exit(98);
}

static inline void conform_drop(void *address)
{
    for (size_t i = 0; i < sizeof conform_live / sizeof *conform_live; i++)
        if (conform_live[i].address == address) {
            conform_live[i].address = NULL;
            return;
        }
    _exit(97);
}

static inline size_t conform_alignment(const void *p)
{
    size_t alignment = (uintptr_t)p & -(uintptr_t)p;
    return alignment > 1 << 20 ? 1 << 20 : alignment;
}

/* The outcome of an allocating call, errno as it left it. The usable size of a
 * mapped block depends, beyond a page's alignment, on where it was mapped. */
static inline void *conform_allocated(const char *function, void *p, size_t size, size_t alignment)
{
    size_t at_least = alignment ? alignment : size < 16 ? 8 : 16;
    SHOW("%s(%zu, %zu): %s errno %d usable %zu aligned %d\n", function, size, alignment,
         p ? "block" : "null", errno, p && alignment <= 4096 ? malloc_usable_size(p) : 0,
         !p || at_least & (at_least - 1) || conform_alignment(p) >= at_least);
    if (!p) {
        LOG("failed %s %zu\n", function, size);
        return NULL;
    }
    LOG("alloc %s %p %zu %zu %zu\n", function, p, size, malloc_usable_size(p), alignment);
    memset(p, 0xa5, size);
    conform_hold(p, size);
    return p;
}

static inline void *conform_resized(const char *function, void *old, void *p, size_t size)
{
    SHOW("%s(block, %zu): %s errno %d usable %zu\n", function, size, p ? "block" : "null", errno,
         p ? malloc_usable_size(p) : 0);
    if (p) {
        LOG("realloc %s %p %p %zu %zu\n", function, old, p, size, malloc_usable_size(p));
        conform_drop(old);
        conform_hold(p, size);
    } else if (size) {
        LOG("failed %s %zu\n", function, size);
    } else {
        LOG("free %s %p\n", function, old);
        conform_drop(old);
    }
    return p;
}

static inline void conform_begin(void)
{
    const char *path = getenv("CONFORM_LOG");
    if (path)
        conform_log = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    mlog_begin("conform");
}

static inline void conform_end(void)
{
    mlog_end("conform");
    for (size_t i = 0; i < sizeof conform_live / sizeof *conform_live; i++)
        if (conform_live[i].address)
            LOG("live %p %zu\n", conform_live[i].address, conform_live[i].size);
}

#endif
