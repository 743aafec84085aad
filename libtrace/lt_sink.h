/* SPDX-License-Identifier: MIT
 *
 * Sinks, which take the chunks. Two kinds, each one file behind this table: a
 * mapped regular file (lt_sink_file.c), in which an event is recorded as soon as it
 * is written, and a stream (lt_sink_stream.c: pipe, FIFO, socket, character device,
 * or a file that is not to be mapped), which gets whole chunks by write. Every
 * function may run inside any hook: no errno, no malloc, no stdio.
 */
#ifndef LT_SINK_H
#define LT_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lt_sys.h"
#include "mlf_format.h"

struct lt_writer;
struct lt_context;

/* The number that users type. */
#define LT_TRACE_FD 1022
/* The reason why there is no room. After the first three, which are reasons of a
 * STOP record, tracing ends; after the others this event alone is lost. */
enum lt_refusal {
    LT_REFUSED_NOT = 0,
    LT_REFUSED_MEMORY = MLF_LOSS_MEMORY,
    LT_REFUSED_FULL = MLF_LOSS_SINK_FULL,
    LT_REFUSED_GONE = MLF_LOSS_SINK_GONE,
    LT_REFUSED_DROP = 254, /* by the user's choice */
    LT_REFUSED_BUSY = 255, /* a signal handler inside the sink's lock */
};
static inline bool lt_refusal_ends(enum lt_refusal refused)
{
    return refused && refused != LT_REFUSED_DROP && refused != LT_REFUSED_BUSY;
}

struct lt_sink {
    /* Begin a new chunk for the writer, with room for `need` bytes of payload,
     * after giving up the one it has. Sets chunk, size, position, limit,
     * base_time. */
    enum lt_refusal (*begin)(struct lt_writer *writer, size_t need);
    /* The context's thread ends: give up its chunks. Called by that thread. */
    void (*release)(struct lt_context *context);
    /* Deliver what all contexts have written; nothing to do for a mapped file.
     * `self` is the caller's context, not in the middle of an event. */
    void (*flush)(struct lt_context *self);
    /* The same at the end of the process: what was dropped and not yet said is said,
     * and how far the chunks of a mapped file are filled. NULL, of a sink that drops
     * only: make room for the records of the end, and say nothing yet. */
    void (*end)(struct lt_context *self);
    /* Once, in the library's constructor, the first moment at which libc may be
     * called for more than a system call. */
    void (*constructed)(void);
    /* In a fork's child: forget the parent's chunks. */
    void (*after_fork)(void);
    /* The writer, whose chunk is not NULL, was left in the middle of an item or of
     * `begin`, and will begin a new chunk: see that the numbers have no gap. */
    void (*recover)(struct lt_writer *writer);
    /* Tracing has ended for this reason (enum mlf_loss): see that the reader learns of
     * it. `told`: a STOP record of it stands in a writer of the process. */
    void (*stopped)(int reason, int error, bool told);
    /* Returns the descriptor that the trace is written to, or mapped by. */
    int (*descriptor)(void);
    /* Written bytes reach the reader by `flush` only. */
    bool buffers;
};
extern const struct lt_sink lt_sink_file, lt_sink_stream;
extern const struct lt_sink *lt_sink; /* the one in use */

/* Find where the trace goes and open its sink: 0, or a negative errno with the
 * reason said, or 1: nothing asked for. */
int lt_sink_choose(void);

/* Before another program is executed, in the process that will be it or that starts
 * it: see that descriptor 1022 is the trace and stays open. Does not touch a number
 * that is somebody else's. */
enum lt_put_back {
    LT_PUT_NOTHING, /* it is as it should be, or the trace did not come by it */
    LT_PUT_OPENED,
    LT_PUT_KEPT,   /* was close-on-exec */
    LT_PUT_FAILED, /* the number is taken, or there is no way to the trace any more */
};
enum lt_put_back lt_sink_put_back(void);
void lt_sink_take_away(enum lt_put_back changed);

#define LT_FILE_BEGUN_MAX (256u << 10) /* a mapped file is no larger before its header */
#define LT_ZSTD_MAGIC 0xfd2fb528u      /* the first four bytes of a zstd frame */

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
