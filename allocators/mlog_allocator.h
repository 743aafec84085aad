/* SPDX-License-Identifier: MIT
 *
 * An allocator of your own, to be preloaded: define one constant mlog_allocator, link it with
 * libmlog-allocator.a (pkg-config mlog-allocator), and the shared object replaces malloc
 * and its kin in any program. libmlog-allocator does what the C library promises and
 * an allocator need not care for: errno, overflow, sizes above PTRDIFF_MAX, every form
 * of alignment, realloc's corners, fork, calls before anything has begun, and the
 * threads' ends. C++'s operators come by way of malloc. libmlog-allocator(7) tells more,
 * and `mlog-allocator-test libmine.so` says which promise is broken.
 *
 * All functions may be called by several threads at once, before any constructor ran, and
 * in the child of a fork; not by a signal handler (as the C library's). They must not
 * call malloc or what calls it (stdio, dlopen), except from init, where that is served
 * from a small buffer. They need not keep errno.
 *
 * From Rust: examples/allocators/pages.rs declares the same in 20 lines.
 */
#ifndef MLOG_ALLOCATOR_H
#define MLOG_ALLOCATOR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; a plug-in says for which one it was written. */
#define MLOG_ALLOCATOR_VERSION 1

struct mlog_allocator {
    unsigned version; /* MLOG_ALLOCATOR_VERSION */
    const char *name; /* in messages */

    /* Required. allocate returns a block of at least `size` bytes, at a multiple of
     * `alignment`, a power of two of at least 16; or NULL if memory is short. size may
     * be 0, and is never above PTRDIFF_MAX. */
    void *(*allocate)(size_t alignment, size_t size);
    void (*deallocate)(void *block); /* never NULL */
    /* Bytes that the owner of a block may use, all of them; at least what was asked for. */
    size_t (*usable_size)(const void *block);

    /* NULL: allocate, and zeros written. */
    void *(*allocate_zeroed)(size_t alignment, size_t size);
    /* A block of `size` bytes (not 0) with what the old one held; NULL with the old one
     * unchanged. The alignment is 16. NULL: the block stays where it is usable for the
     * new size and at most twice as large; else allocate, copy, deallocate. */
    void *(*reallocate)(void *block, size_t size);

    /* Once, before all others; other threads wait. Returns 0, or an errno: then every
     * allocation fails with ENOMEM. NULL: nothing to do. */
    int (*init)(void);

    /* Around fork: take what locks there are, so that the child finds none held by a
     * thread that it does not have; release them in the parent, and make them anew in
     * the child. Other handlers of pthread_atfork may allocate before fork_prepare and
     * after the other two. NULL: nothing to do. */
    void (*fork_prepare)(void);
    void (*fork_parent)(void);
    void (*fork_child)(void);

    /* The calling thread, which allocated or freed, ends. It may allocate again after
     * this, and then this is not called again for sure. NULL: nothing to do. */
    void (*thread_exit)(void);
};

/* Yours to define. */
extern const struct mlog_allocator mlog_allocator;

#ifdef __cplusplus
}
#endif

#endif
