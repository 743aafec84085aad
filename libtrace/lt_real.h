/* SPDX-License-Identifier: MIT
 *
 * The functions that the hooks forward to: the next definition after ours in
 * the search order (another preloaded allocator, the program's library, libc).
 * The pointers resolve themselves at their first call; while they are being
 * resolved, allocations of the loader come from a small arena whose blocks
 * free, realloc and malloc_usable_size recognise.
 */
#ifndef LT_REAL_H
#define LT_REAL_H

#include <stdbool.h>
#include <stddef.h>

struct lt_real {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void (*free)(void *);
    size_t (*malloc_usable_size)(void *);
    void *(*memalign)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    void *(*reallocarray)(void *, size_t, size_t); /* NULL: realloc of the product serves */
};
extern struct lt_real lt_real;

/* False inside the resolution: what is allocated then is the loader's, comes
 * from the arena and is no event. */
bool lt_real_ready(void);

/* Before the first event: malloc_usable_size does now what it may do when first
 * called, which can be to allocate (tcmalloc's makes an object of its own). */
void lt_real_settle(void);

/* The next definition of any other symbol; errno is kept. NULL if none. */
void *lt_real_symbol(const char *name);

/* The malloc that the hooks' calls end in, where lt_real.malloc may be one of ours. */
const void *lt_real_allocator(void);

/* From now on lt_count.h counts, if it does not yet. */
void lt_real_count(void);

/* True if this function, as others find it, is one of ours. */
bool lt_real_is_hook(const void *function);

#endif
