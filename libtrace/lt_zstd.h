/* SPDX-License-Identifier: MIT
 *
 * zstd frames without linking or allocating: libzstd is opened at run time, in
 * the library's constructor, and works in a mapping of our own. Before that, or
 * where there is no libzstd, frames hold their bytes as they are, which every
 * zstd reader takes. One frame at a time: the caller keeps threads apart.
 */
#ifndef LT_ZSTD_H
#define LT_ZSTD_H

#include <stdbool.h>
#include <stddef.h>

/* Open libzstd for this level, 1 to 19. Calls libc, which allocates: from the
 * constructor only. False if there is none that serves. */
bool lt_zstd_load(int level);
/* In a fork's child: another thread may have been at work. */
void lt_zstd_after_fork(void);
/* The largest frame that `size` bytes can make. */
size_t lt_zstd_bound(size_t size);
/* One whole frame of from[0, size) into `to`, which has room for its bound;
 * the frame's length. No system call, no errno; some 4 KiB of stack. */
size_t lt_zstd_frame(unsigned char *to, const unsigned char *from, size_t size);

#endif
