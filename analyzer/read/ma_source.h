/* SPDX-License-Identifier: MIT
 *
 * The source of a trace: a regular file (mapped), standard input, a pipe or
 * FIFO, each of them plain or compressed with zstd (told by its magic). To the
 * reader all are one: a window of bytes at a rising offset. Memory is bounded
 * by the widest window asked for, whatever the input.
 */
#ifndef MA_SOURCE_H
#define MA_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ma_error.h"

struct ma_source;

/* Open path, "-" being standard input. A directory, a missing or an empty file
 * is refused. Returns 0 or a negative errno with a message. */
int ma_source_open(const char *path, struct ma_source **source, struct ma_error *error);

/* The file behind fd, which stays the caller's, from its beginning; whatever has
 * its name by now. */
int ma_source_open_fd(int fd, const char *name, struct ma_source **source, struct ma_error *error);
void ma_source_close(struct ma_source *source); /* NULL is allowed */

/* Point *data at the bytes from offset on and return how many there are: at
 * least `want`, or fewer at the end of the input. Offsets are those of the
 * uncompressed trace; unless the source is stable, none is less than that of the
 * call before, and *data is valid until the next call only. */
size_t ma_source_window(struct ma_source *source, uint64_t offset, size_t want,
                        const unsigned char **data);

/* True if data stays valid, and up to date, until ma_source_close. */
bool ma_source_stable(const struct ma_source *source);

/* Bytes before offset are not needed for now: a stable source then gives back
 * their memory, and gets them again if they are looked at all the same. */
void ma_source_forget(struct ma_source *source, uint64_t offset);

/* Call wait(context) five times a second while the input, a pipe or the like, makes
 * us wait or trickles, from within what reads it. It returns true to end the input there. */
void ma_source_on_wait(struct ma_source *source, bool (*wait)(void *), void *context);

/* False if bytes behind `offset` have yet to come and none came for 0.2 s. */
bool ma_source_is_ready(struct ma_source *source, uint64_t offset);

/* The first offset from `offset` on that may hold anything but zeros: where a
 * hole of a stable source's file ends; else `offset` itself. */
uint64_t ma_source_next_data(const struct ma_source *source, uint64_t offset);

/* True if the source is stable and its file is longer now than when it was
 * opened: it is being written, and what we see is a part. */
bool ma_source_grew(const struct ma_source *source);

/* The reason why the input ended before its time (a read error, a damaged
 * compression), or NULL. Known once a window came back short. */
const char *ma_source_problem(const struct ma_source *source);

/*
 * The symbol data that a bundle (FORMAT.md section 11) begins with, or NULL;
 * lives until ma_source_close. The window shows the trace alone.
 */
#define MA_BUNDLE_MAGIC 0x184d2a5bu /* of a zstd frame to skip */
#define MA_BUNDLE_ID "mlogsyms"
#define MA_BUNDLE_HEADER 16                       /* magic, size and id */
#define MA_BUNDLE_SYMBOLS_MAX ((size_t)256 << 20) /* bytes of the frame within that one */
const void *ma_source_symbols(const struct ma_source *source, size_t *size);

const char *ma_source_name(const struct ma_source *source);
bool ma_source_compressed(const struct ma_source *source);

/* Bytes of the file read so far (compressed ones, if it is) and its size, 0 if
 * unknown: for progress only. */
void ma_source_progress(const struct ma_source *source, uint64_t offset, uint64_t *done,
                        uint64_t *size);

#endif
