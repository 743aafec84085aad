/* SPDX-License-Identifier: MIT
 *
 * The library's own state: one page for the process, one block for a thread,
 * and the writers through which streams reach the sink (all in lt_state.c).
 * Included by whatever records or delivers; system calls, locks, the clock, the
 * configuration, the real functions and the unwinder stand below and do without.
 * The functions declared here are in the order in which their files depend on
 * each other: a thread's contexts and the writer know nothing of the process.
 *
 * Ownership: a context and its writers belong to one thread at one nesting level,
 * so they need no locks; only a stream sink's drain reads another context's writers
 * (position: acquire), under the sink's lock. The page is written by start, fork
 * and stop, stamp_owner and next_tick by events, too.
 */
#ifndef LT_TRACE_H
#define LT_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lt_clock.h"
#include "lt_encode.h"
#include "lt_lock.h"
#include "lt_sys.h"
#include "lt_unwind.h"
#include "mlf_codec.h"
#include "mlf_format.h"

/* A fork's child finds the page zeroed (MADV_WIPEONFORK): so LT_UNKNOWN sends
 * its first event to the slow path, however the fork was made. */
enum lt_active {
    LT_UNKNOWN = 0, /* not begun, or a fork's child */
    LT_ACTIVE = 1,
    LT_OFF = 2, /* nothing to do: forward only */
};
/* What a hook does: the first thing that it looks at. A wiped page says "record", and
 * then `active` that it is wiped. */
enum lt_forward {
    LT_FORWARD_NO = 1,     /* record, if tracing is active; so says 0, of a wiped page */
    LT_FORWARD_OFF = 2,    /* tracing is over, or never began */
    LT_FORWARD_PAUSED = 3, /* see what the bell says (lt_control.h), else forward */
};

struct lt_page {
    uint32_t forward; /* in front: an address without an offset takes one instruction less */
    uint32_t active;
    uint32_t clock_kind;
    uint32_t tick_shift;
    uint32_t write_through; /* stream sink, process ending: flush each event */
    uint32_t coarse_clock;  /* there is one that costs no system call */
    uintptr_t stamp_owner;  /* atomic; lt_clock.h: the context that shares stamps, or ... */
    uint64_t next_tick;     /* time at which an event does the periodic work */
    const uint32_t *bell;   /* number of the latest request to this process (lt_control.h) */
    uint32_t heard;         /* ... and of the latest one acted upon */
};
#define LT_OWNER_NONE ((uintptr_t)0) /* all stamps are fenced, for good */
#define LT_OWNER_NEXT ((uintptr_t)1) /* the first ordinary context to record takes it */
#if defined(__x86_64__) || defined(__i386__)
#define LT_PAGE_BYTES 4096
#else
#define LT_PAGE_BYTES 65536 /* the largest page there is */
#endif
extern union lt_page_memory {
    struct lt_page page;
    unsigned char bytes[LT_PAGE_BYTES];
} lt_page_memory;
#define lt_page (lt_page_memory.page)

/* glibc's malloc lays blocks out so: bytes of header, grain, smallest usable
 * size. The default usable size (FORMAT.md section 7) follows from them. */
#define LT_BLOCK_HEADER sizeof(size_t)
#if defined(__i386__)
#define LT_BLOCK_GRAIN 16u /* as its long double asks for */
#else
#define LT_BLOCK_GRAIN (2 * sizeof(size_t))
#endif
#define LT_BLOCK_SMALLEST (3 * sizeof(size_t))

/* Stamps of the owner are multiples of this: nothing depends on
 * their order within 64 ns, and the low bits are noise that does not compress. */
#define LT_COARSE_TICKS 8

static inline uint64_t lt_now(void)
{
    return lt_clock_count((int)lt_page.clock_kind) >> lt_page.tick_shift;
}

/* For events of the context that owns the stamps (lt_clock.h). */
static inline uint64_t lt_now_alone(void)
{
    return lt_clock_count_alone((int)lt_page.clock_kind) >> lt_page.tick_shift;
}

/* While one context alone records (lt_clock.h: the owner), the order of events is their
 * order in the stream, and a stamp says no more than when. So up to so many events may share one,
 * as long as the kernel's coarse clock (a read of memory, 1 to 4 ms a step) has not moved since it
 * was taken: an idle program's next event has a stamp of its own. Moments on which another stream's
 * order could hang ask for a new one (lt_stamp_anew): a fork, a mark, a nested event, a watermark.
 */
#define LT_STAMP_SHARE 16

/* One chunk being written: of events or of definitions. */
struct lt_writer {
    unsigned char *position; /* next free byte; stored last, release */
    unsigned char *limit;    /* an item may begin while position <= limit */
    unsigned char *chunk;    /* start of the chunk; mapped: its header */
    unsigned char *drained;  /* stream sink: delivered up to here */
    size_t size;             /* of the chunk, header included */
    uint64_t time;           /* of the last event; base time at first */
    uint64_t base_time;
    uint32_t sequence; /* of the next chunk */
    uint32_t stream;   /* mapped: of the chunk in hand, perhaps an ended thread's; atomic */
    uint32_t kind;     /* enum mlf_chunk_kind */
    struct lt_context *context;
};

/* Longest compact item with the slack that the codec may touch after it. */
#define LT_ITEM_MAX 112
/* Kept free behind the limit of every chunk, for a LOSS or STOP record. */
#define LT_CHUNK_SLACK 96
#define LT_STOP_MAX 52 /* longest STOP record, with its tag */

/* The writing state of one thread at one nesting level. */
struct lt_context {
    uintptr_t busy; /* stack address of the hook that is recording, 0 idle */
    uint32_t stream;
    uint32_t flags;        /* MLF_STREAM_* */
    uint32_t stamp_share;  /* events that may still take the last one's stamp */
    uint32_t stamp_anew;   /* ... but none may: also set by handlers inside a hook */
    uint64_t stamp_coarse; /* the coarse clock when it was taken */
    struct lt_writer events;
    struct lt_writer definitions;
    uint64_t recorded;       /* heap events, since this process began */
    uint64_t lost;           /* events not recorded, still to be said; atomic */
    uint64_t dropped;        /* the same, by MLOG_ON_FULL=drop; atomic */
    bool dropping;           /* the last room for an event was refused for that reason */
    uint64_t announced;      /* STREAM record written for this process key */
    struct lt_context *next; /* in lt_process.contexts; never unlinked */
    /* What follows is given back by lt_yield. */
    struct lt_encoder encoder;
    struct lt_node_encoder nodes;
    unsigned char scratch[1536];
};

#ifndef LT_ID_CACHE
#define LT_ID_CACHE 2048 /* recent stacks of a thread: path hash to id; tests have fewer */
#endif
struct lt_id_entry {
    uint64_t hash;
    uint64_t id;
};

struct lt_thread {
    struct lt_context main;
    struct lt_id_entry ids[LT_ID_CACHE]; /* given back by lt_yield, too */
    struct lt_thread *next_free;         /* pool of ended threads' blocks */
    uint32_t forwarding;                 /* inside a libc function that calls another hook */
    uint32_t key_rounds;
    uint32_t tid;
    uint32_t depth;            /* of the unwinder */
    struct lt_context *nested; /* made at the first nested event */
    struct lt_unwinder *nested_unwinder;
    struct lt_unwinder *unwinder;
};
/* Of a thread's block, and of a context with a block of its own, this much stays in
 * front, and what lies behind `ids`: what a thread looks at before it knows that tracing
 * is over. */
#define LT_KEPT_BYTES 4096
_Static_assert(offsetof(struct lt_context, encoder) <= LT_KEPT_BYTES, "it is in front");

/* The thread whose main context this is; flags are 0. */
static inline struct lt_thread *lt_thread_of(struct lt_context *context)
{
    return (struct lt_thread *)(void *)((char *)context - offsetof(struct lt_thread, main));
}

/* NULL: none yet. LT_THREAD_GONE: the thread's block has been given back. */
extern __thread struct lt_thread *lt_self __attribute__((tls_model("initial-exec")));
#define LT_THREAD_GONE ((struct lt_thread *)1)

/* The calling thread's next event takes a stamp of its own. */
static inline void lt_stamp_anew(void)
{
    if ((uintptr_t)lt_self > 1)
        lt_self->main.stamp_anew = 1;
}

/* Process-wide state that changes only at start, fork and exit. */
struct lt_process {
    uint64_t key;
    int pid;
    bool stopped;    /* tracing has ended, for forked children too */
    bool started;    /* this image has begun once; a fork's child inherits it */
    bool no_owner;   /* of stamps: a stream's watermark could not tell, without membarrier */
    int stopped_for; /* the reason, enum mlf_loss */
    struct lt_clock clock;
    struct lt_moment start;
    uint64_t fork_time; /* ticks, set by the parent just before fork */
    uint64_t page_size;
    const char *stream_reason;   /* a regular file is not mapped, unasked (FORMAT.md, TEXT) */
    struct lt_context *contexts; /* all, atomically pushed */
    struct lt_context *shared;   /* for threads without a block; under shared_lock */
    struct lt_unwinder *shared_unwinder;
    struct lt_lock shared_lock;
    uint32_t streams;          /* last stream number given, atomic */
    uint32_t finished;         /* PROCESS_END has been written */
    uint64_t lost;             /* events for which there was no context, still to be said; atomic */
    uint64_t nested;           /* events of signal handlers that interrupted another; atomic */
    uint64_t lost_said, bytes; /* losses said; of chunks that are over, bytes; atomic */
    bool paused;               /* also for forked children */
    struct mlf_control *control; /* the control page; NULL: none */
};
extern struct lt_process lt_process;

/* lt_thread.c: contexts. */
bool lt_thread_setup(void);      /* once a process image */
void lt_thread_after_fork(void); /* in the child: this thread is the only one */
/* The context for an event of the calling thread, marked busy, or NULL: the event
 * is counted as lost. There may be no room in it yet. */
struct lt_context *lt_context_choose(uintptr_t frame);
void lt_context_announce(struct lt_context *context); /* its STREAM record */
/* Say in the chunk of events that the context's last thread left, if it did, whose it is
 * from here on. Requires: the STREAM record is written. */
void lt_context_take_over(struct lt_context *context);
/* Of an idle context of a process whose tracing is over: give its memory back but for
 * the first LT_KEPT_BYTES, at most so many. */
void lt_context_give_back(struct lt_context *context);
/* No thread is in the middle of an event of it; wait for that, 0.1 s at most. */
bool lt_context_is_idle(const struct lt_context *context);
bool lt_context_await_idle(const struct lt_context *context);
/* Say in `context` what was lost of its own and where there was no context; with
 * `all` what any context of the process has lost and not said. */
void lt_context_say_losses(struct lt_context *context, uint64_t now, bool all);

/* lt_process.c: events. lt_begin returns the context in which the calling
 * thread records one event, with room for it and marked busy, or NULL: not
 * traced, or the event is counted as lost. lt_finish ends the event. */
struct lt_context *lt_begin_slow(uintptr_t frame);
/* In a paused process, somebody rang: true if it records again. */
bool lt_forward_look(uintptr_t frame);
void lt_finish_slow(struct lt_context *context, uint64_t now);

static inline struct lt_context *lt_begin(uintptr_t frame)
{
    struct lt_thread *self = lt_self;
    if (LT_UNLIKELY(lt_page.active != LT_ACTIVE || (uintptr_t)self <= 1 || self->main.busy))
        return lt_begin_slow(frame);
    self->main.busy = frame;
    LT_SIGNAL_FENCE(); /* room is seen when no signal handler can take it any more */
    if (LT_UNLIKELY(self->main.events.position > self->main.events.limit)) {
        self->main.busy = 0;
        return lt_begin_slow(frame);
    }
    return &self->main;
}

static inline void lt_release_shared(struct lt_context *context)
{
    if (LT_UNLIKELY(context->flags & MLF_STREAM_SHARED))
        lt_lock_release(&lt_process.shared_lock);
}

static inline void lt_finish(struct lt_context *context, uint64_t now)
{
    if (LT_UNLIKELY(now >= lt_page.next_tick || lt_page.write_through))
        lt_finish_slow(context, now);
    LT_SIGNAL_FENCE();
    context->busy = 0;
    lt_release_shared(context);
}

/* Make the item whose tag goes to writer->position and which ends at `end`
 * part of the stream; its other bytes are written. */
static inline void lt_commit(struct lt_writer *writer, unsigned char tag, unsigned char *end)
{
    __atomic_store_n(writer->position, tag, __ATOMIC_RELEASE);
    __atomic_store_n(&writer->position, end, __ATOMIC_RELEASE);
}

/* Bytes in the writer's chunk. Of another thread's, whose chunk may change, about. */
static inline uint64_t lt_writer_used(const struct lt_writer *writer)
{
    const unsigned char *chunk = writer->chunk, *position = writer->position;
    return chunk && position > chunk && position <= chunk + writer->size
               ? (uint64_t)(position - chunk)
               : 0;
}

/* lt_writer.c. lt_writer_room: make room for an item of `size` bytes by
 * beginning a new chunk if need be; false when tracing has ended. */
bool lt_writer_room(struct lt_writer *writer, size_t size);
bool lt_writer_record(struct lt_writer *writer, unsigned tag, const unsigned char *payload,
                      size_t size);
/* The same behind the limit, where no chunk is begun: if `room` bytes, at least those
 * of the record, are left before the chunk's end; else false and nothing is done. */
bool lt_writer_record_in_slack(struct lt_writer *writer, unsigned tag, const unsigned char *payload,
                               size_t size, size_t room);
/* Payload of a LOSS record; returns its end. `to` has room for LT_LOSS_MAX bytes. */
#define LT_LOSS_MAX (4 * MLF_VU_SLACK)
unsigned char *lt_put_loss(unsigned char *to, uint64_t now, uint32_t stream, uint64_t events,
                           int reason);
/* The same of a STOP record, and LT_STOP_MAX. */
unsigned char *lt_put_stop(unsigned char *to, uint64_t now, int reason, int error);
/* End tracing for good and say so in a STOP record of `context`, whose writers are
 * the caller's, or, where that is NULL or has no room, in the sink's own way; reason
 * is an enum mlf_loss. */
void lt_stop(struct lt_context *context, int reason, int error);
/* Append to a record's payload under construction. */
static inline unsigned char *lt_put_string(unsigned char *p, const void *text, size_t size)
{
    p = mlf_put_vu(p, size);
    memcpy(p, text, size);
    return p + size;
}

/* Called once tracing has begun, in the constructor, where it had not when this was set;
 * NULL: nothing. For what stands above lt_process.c. */
extern void (*lt_after_start)(void);
/* Begin to trace, into a descriptor of the program's, a process that is not and never was
 * traced. Returns 0 or an errno, as mlog_set_output. */
int lt_process_begin_late(int fd);

/* The image ends, by an enum mlf_end: say so and deliver what is buffered. */
void lt_process_end(int how, int status);

#endif
