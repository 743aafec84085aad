/* SPDX-License-Identifier: MIT
 *
 * Beginnings of zstd frames (RFC 8878), in bytes that may be anything. For
 * ma_source.
 */
#ifndef MA_ZSTD_H
#define MA_ZSTD_H

#include <stdbool.h>
#include <stddef.h>

/* The largest window that is accepted, 128 MiB, as an exponent of 2. */
#define MA_ZSTD_WINDOW_LOG_MAX 27

extern const unsigned char ma_zstd_magic[4];

/* True if the bytes begin with the magic of a frame, or of one to be skipped. */
bool ma_zstd_begins(const unsigned char *data, size_t size);

/* The offset of the first frame of which at least one block is sound; `size` if
 * there is none. Work is bounded: of many places that look like one, not all are
 * tried. */
size_t ma_zstd_find(const unsigned char *data, size_t size);

#endif
