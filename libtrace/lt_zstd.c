/* SPDX-License-Identifier: MIT
 *
 * Frames; see lt_zstd.h. libzstd's functions for static contexts take their
 * memory from the caller and never call malloc. Each frame stands alone, so
 * that processes may share a stream and a cut costs no more than one frame.
 */
#include "lt_zstd.h"

#include <dlfcn.h>
#include <string.h>

#include "lt_sink.h"
#include "lt_trace.h"

#define BLOCK_MAX (128u << 10) /* of a stored block, by the zstd format */
#define HEADER 9               /* magic, descriptor, content size in 4 bytes */

/* Signatures of zstd.h: the library is looked for at run time alone. */
static struct {
    size_t (*estimate)(int level);
    void *(*init)(void *memory, size_t size);
    size_t (*compress)(void *context, void *to, size_t room, const void *from, size_t size,
                       int level);
    size_t (*bound)(size_t size);
    unsigned (*is_error)(size_t code);
    void *memory, *context;
    size_t size;
    int level;
} zstd;

bool lt_zstd_load(int level)
{
    void *library = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library) {
        zstd.estimate = (size_t(*)(int))dlsym(library, "ZSTD_estimateCCtxSize");
        zstd.init = (void *(*)(void *, size_t))dlsym(library, "ZSTD_initStaticCCtx");
        zstd.compress = (size_t(*)(void *, void *, size_t, const void *, size_t, int))dlsym(
            library, "ZSTD_compressCCtx");
        zstd.bound = (size_t(*)(size_t))dlsym(library, "ZSTD_compressBound");
        zstd.is_error = (unsigned (*)(size_t))dlsym(library, "ZSTD_isError");
    }
    dlerror(); /* the first call takes its text, the second frees it */
    dlerror();
    if (!zstd.estimate || !zstd.init || !zstd.compress || !zstd.bound || !zstd.is_error)
        return false;
    zstd.size = zstd.estimate(level);
    zstd.memory = lt_memory(zstd.size);
    zstd.level = level;
    void *context = zstd.memory ? zstd.init(zstd.memory, zstd.size) : NULL;
    __atomic_store_n(&zstd.context, context, __ATOMIC_RELEASE);
    return context != NULL;
}

void lt_zstd_after_fork(void)
{
    if (zstd.context)
        zstd.context = zstd.init(zstd.memory, zstd.size);
}

static size_t stored_bound(size_t size)
{
    return HEADER + size + 3 * (size / BLOCK_MAX + 1);
}

size_t lt_zstd_bound(size_t size)
{
    size_t bound = size + (size >> 8) + (size < BLOCK_MAX ? (BLOCK_MAX - size) >> 11 : 0);
    return bound > stored_bound(size) ? bound : stored_bound(size);
}

/* RFC 8878: one segment of known size, in raw blocks. */
static size_t store(unsigned char *to, const unsigned char *from, size_t size)
{
    unsigned char *p = to + HEADER;
    mlf_put_u32(to, LT_ZSTD_MAGIC);
    to[4] = 0xa0;
    mlf_put_u32(to + 5, (uint32_t)size);
    do {
        size_t n = size < BLOCK_MAX ? size : BLOCK_MAX;
        uint32_t block = (uint32_t)n << 3 | (n == size);
        p[0] = (unsigned char)block;
        p[1] = (unsigned char)(block >> 8);
        p[2] = (unsigned char)(block >> 16);
        memcpy(p + 3, from, n);
        p += 3 + n;
        from += n;
        size -= n;
    } while (size);
    return (size_t)(p - to);
}

size_t lt_zstd_frame(unsigned char *to, const unsigned char *from, size_t size)
{
    void *context = __atomic_load_n(&zstd.context, __ATOMIC_ACQUIRE);
    if (context && zstd.bound(size) <= lt_zstd_bound(size)) {
        size_t got = zstd.compress(context, to, lt_zstd_bound(size), from, size, zstd.level);
        if (!zstd.is_error(got))
            return got;
    }
    return store(to, from, size);
}
