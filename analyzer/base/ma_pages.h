/* SPDX-License-Identifier: MIT
 *
 * Memory for large tables: zeroed, grown without copying, given back to the
 * system at once. Small ones come from malloc; from MA_PAGES_LEAST on a table
 * has mappings of its own that begin at a huge page, so that one walked at
 * random costs few translations, and growing moves page tables instead of
 * bytes. Pages that were never touched take no memory, so room in advance is
 * free.
 *
 * Sizes are in bytes and the caller's to remember: what was asked for last.
 */
#ifndef MA_PAGES_H
#define MA_PAGES_H

#include <stddef.h>

#define MA_PAGES_LEAST ((size_t)512 << 10)

/* Zeroed memory, aligned to 64 bytes at least; NULL if there is none. */
void *ma_pages_new(size_t size);

/* Make it larger: what is new is zero. Moved perhaps; NULL if there is no
 * memory, with everything unchanged. memory may be NULL and old_size 0. */
void *ma_pages_grow(void *memory, size_t old_size, size_t size);

void ma_pages_free(void *memory, size_t size);

/* Room for half as many elements again, and for `least` at the least, in an array
 * of *capacity elements: the array (moved perhaps), or NULL with everything
 * unchanged. A large one ends with a huge page: its elements are written one after
 * the other, and a page that is not whole would be had 4 KiB at a time. */
void *ma_pages_more(void *array, size_t *capacity, size_t element_size, size_t least);

#endif
