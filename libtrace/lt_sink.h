/* SPDX-License-Identifier: MIT
 *
 * Where chunks go. Two kinds, each one file behind this table: a mapped
 * regular file (lt_sink_file.c), in which an event is recorded as soon as it
 * is written, and a stream (lt_sink_stream.c: pipe, FIFO, socket, character
 * device, or a file that is not to be mapped), which gets whole chunks by write.
 * Every function may run inside any hook: no errno, no malloc, no stdio.
 */
#ifndef LT_SINK_H
#define LT_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lt_writer;
struct lt_context;

/* The number that users type. */
#define LT_TRACE_FD 1022
/* Own descriptors are moved to this number or above. */
#define LT_LOWEST_FD 1000

/* A descriptor of ours, checked before use: programs close descriptors that
 * they do not know, and the number may by then be somebody else's file. */
struct lt_file {
    int fd;
    uint64_t device, inode;
};
bool lt_file_adopt(struct lt_file *file, int fd); /* remember what fd refers to now */
bool lt_file_is_ours(const struct lt_file *file);

struct lt_sink {
    /* Begin a new chunk for the writer, with room for `need` bytes of payload,
     * after giving up the one it has. Sets chunk, size, position, limit,
     * base_time. Returns 0, or an enum mlf_loss after which tracing stops; on
     * LT_SINK_BUSY (a signal handler inside the sink's lock) only this event is lost. */
    int (*begin)(struct lt_writer *writer, size_t need);
    /* The context's thread ends: give up its chunks. Called by that thread. */
    void (*release)(struct lt_context *context);
    /* Deliver what all contexts have written; nothing to do for a mapped file.
     * `self` is the caller's context, not in the middle of an event. */
    void (*flush)(struct lt_context *self);
    /* The same at the end of the process: what was dropped and not yet said is said,
     * and how far the chunks of a mapped file are filled. */
    void (*end)(struct lt_context *self);
    /* Once, in the library's constructor, the first moment at which libc may be
     * called for more than a system call. */
    void (*constructed)(void);
    /* In a fork's child: forget the parent's chunks. */
    void (*after_fork)(void);
};
#define LT_SINK_BUSY 255
#define LT_SINK_DROP 254 /* only this event is lost: by the user's choice */

extern const struct lt_sink lt_sink_file, lt_sink_stream;
extern const struct lt_sink *lt_sink; /* the one in use */

/* Find where the trace goes and open its sink: 0, or a negative errno with the
 * reason said, or 1: nothing asked for. */
int lt_sink_choose(void);

#define LT_ZSTD_MAGIC 0xfd2fb528u /* the first four bytes of a zstd frame */

/* Take over the trace; 0 or a negative errno. file: the descriptor of a
 * regular file open for reading and writing, path: its name or NULL. */
int lt_sink_file_open(int fd, const char *path);
int lt_sink_stream_open(int fd);

/* Fill a chunk header (FORMAT.md section 4) but its magic, which is written last. */
void lt_chunk_header(unsigned char *header, const struct lt_writer *writer, uint32_t stream,
                     uint32_t size, uint32_t position, bool has_crc, uint32_t crc);
void lt_trace_header(unsigned char *header, int layout, unsigned unit_log2);
uint32_t lt_crc(const void *data, size_t size, uint32_t crc);

#endif
