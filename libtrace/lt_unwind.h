/* SPDX-License-Identifier: MIT
 *
 * Call stacks of the running thread, taken inside the target. This header is
 * the whole contract between the unwinder and the hooks: the hooks give the
 * registers of their caller, the unwinder gives the frames, root first, each
 * with a 64-bit hash of the path from the root down to it.
 *
 * Invariant: what lt_unwind returns equals what a full unwind by the same rules
 * at the same moment would return, whatever happened on the stack since the
 * previous call (see lt_unwind_core_tmpl.h for the argument).
 *
 * Everything here is callable from any hook: no allocation, no lock, no call
 * that sets errno, no write outside the unwinder and our own stack frame. One
 * unwinder belongs to one thread and must not be entered twice: an event that
 * interrupted a running lt_unwind uses lt_unwind_nested with another unwinder.
 */
#ifndef LT_UNWIND_H
#define LT_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* Deepest stack kept whole. Deeper ones keep their innermost frames. */
#define LT_UNWIND_DEPTH 16384u

/* Registers of the caller of the hook, as they will be when the hook returns. */
struct lt_frame_start {
    uintptr_t pc; /* return address of the hook */
    uintptr_t sp; /* CFA of the hook's frame */
    uintptr_t fp; /* rbp or x29 */
};

enum lt_frame_flags {
    LT_FRAME_EXACT = 1u << 0, /* pc was interrupted by a signal: not a return address */
    LT_FRAME_GUESS = 1u << 1, /* found by frame pointer, or lies outside such a frame */
    /* The rest is the unwinder's own. */
    LT_FRAME_USES_FP = 1u << 2,  /* the step out of this frame read the frame pointer */
    LT_FRAME_FULL = 1u << 3,     /* ... or another register */
    LT_FRAME_NEED_FP = 1u << 4,  /* this step or an outer one depends on this state's fp */
    LT_FRAME_NO_MATCH = 1u << 5, /* the outer part is not a function of (pc, sp, fp) */
    LT_FRAME_ASYNC = 1u << 6,    /* interrupted, or lies outside an interrupted frame */
    LT_FRAME_ODD = 1u << 7       /* the words its step read are not told by its slot */
};

/* The reason why a stack ends. Order is part of the counters' layout. */
enum lt_stop {
    LT_STOP_ROOT,       /* whole: the outermost frame was reached */
    LT_STOP_NO_RULE,    /* code without unwind information, and no usable frame pointer */
    LT_STOP_LIMIT,      /* deeper than the unwinder's depth */
    LT_STOP_BAD_MEMORY, /* an address that cannot be a stack or code */
    LT_STOP_BAD_RULE,   /* unwind information that cannot be followed */
    LT_STOP_COUNT
};

/* The place of a frame's return address, and the word found there: part of the
 * frame's state and at once the check of the step that led to it. On x86, where
 * that word lies right below the CFA, `at` is the CFA, which is the state's sp;
 * elsewhere it is the word's own address. */
struct lt_point {
    uintptr_t at;
    uintptr_t word;
};

/* The other members of a frame. */
struct lt_frame {
    uint64_t hash; /* of the path root..this frame, salt and stop reason included */
    uintptr_t fp;
#if !defined(__x86_64__) && !defined(__i386__)
    uintptr_t sp, pc; /* on x86 they follow from the point */
#endif
    uint32_t bits; /* enum lt_frame_flags; from bit 8 the rule's slot, from 16 the checks */
    uint32_t id;   /* the caller's; 0 in a frame that is not kept */
};

enum lt_unwind_mode { LT_UNWIND_CFI, LT_UNWIND_FP };

/* Of one unwinder, written by its thread only; readers may see old values. */
struct lt_unwind_counters {
    uint64_t events;
    uint64_t recalled;   /* events without an unwind: lt_unwind_recall */
    uint64_t fresh;      /* frames stepped over, verified ones not counted */
    uint64_t resumed;    /* events in which a matched part failed verification */
    uint64_t cache_miss; /* rules not in the first-level cache */
    uint64_t rule_miss;  /* rules found by running DWARF */
    uint64_t full_steps; /* steps that needed all registers */
    uint64_t guesses;    /* steps by frame pointer for want of a rule */
    uint64_t stops[LT_STOP_COUNT];
};

/* The part of an unwinder that its inline readers need. */
struct lt_unwinder {
    struct lt_point *points; /* root first */
    struct lt_frame *frames; /* likewise */
    uint32_t n;
    uint32_t kept; /* frames [0 .. kept) are the very ones of the previous result */
    uint32_t stop; /* enum lt_stop */
    uint32_t usable;
};

/* Bytes of zeroed memory an unwinder takes. Reserve it (MAP_NORESERVE): a
 * shallow thread touches half a dozen pages. depth: LT_UNWIND_DEPTH at most. */
size_t lt_unwinder_size(uint32_t depth);
void lt_unwinder_init(struct lt_unwinder *u, uint32_t depth);

/* Take the stack that begins at `at`. Returns the number of frames, 0 if there
 * is none. The result stays valid until the next call on this unwinder. */
unsigned lt_unwind(struct lt_unwinder *u, const struct lt_frame_start *at);

/* The id that lt_unwind_remember was given for this very stack, a while ago, on
 * this unwinder; 0 if it is not known any more, or not worth a look. The result of
 * the last lt_unwind stays what it was. */
uint32_t lt_unwind_recall(struct lt_unwinder *u, const struct lt_frame_start *at);

/* The caller's id, not 0, for the stack that lt_unwind has just taken. */
void lt_unwind_remember(struct lt_unwinder *u, uint32_t id);

/* The same by a full unwind into another unwinder, for an event that interrupted
 * lt_unwind. Reads and writes nothing of the interrupted one. */
unsigned lt_unwind_nested(struct lt_unwinder *scratch, const struct lt_frame_start *at);

static inline unsigned lt_unwinder_depth(const struct lt_unwinder *u)
{
    return u->n;
}
static inline enum lt_stop lt_unwinder_stop(const struct lt_unwinder *u)
{
    return (enum lt_stop)u->stop;
}
/* Of frame number i, root first. */
static inline uintptr_t lt_unwinder_pc(const struct lt_unwinder *u, unsigned i)
{
#if defined(__x86_64__) || defined(__i386__)
    return u->points[i].word;
#else
    return u->frames[i].pc;
#endif
}
static inline uint64_t lt_unwinder_hash(const struct lt_unwinder *u, unsigned i)
{
    return u->frames[i].hash;
}
static inline uint32_t lt_unwinder_flags(const struct lt_unwinder *u, unsigned i)
{
    return u->frames[i].bits & (LT_FRAME_EXACT | LT_FRAME_GUESS);
}
/* A number of the caller's beside each frame: 0 until set, kept with the frame. */
static inline uint32_t *lt_unwinder_id(const struct lt_unwinder *u, unsigned i)
{
    return &u->frames[i].id;
}

/* Process-wide. Set the mode before the first event. */
void lt_unwind_set_mode(enum lt_unwind_mode mode);

/* Code was unmapped: no rule and no shadow from before this call is used by an
 * event that begins after it. Call after dlclose and after a JIT's frames were
 * registered or withdrawn. */
void lt_unwind_flush(void);
/* No stack will be taken any more: the whole pages in *from of *size bytes may be
 * unmapped by the caller, for good; false if not. */
bool lt_unwind_give_up(void **from, size_t *size, size_t page);

/* Code was mapped: known to the unwinder from now on. Nothing to do where libc
 * tells of its objects without a lock (glibc since 2.35). Takes the loader's lock,
 * so never inside an event of a thread that may be loading. `each` stands for
 * dl_iterate_phdr. */
struct dl_phdr_info;
void lt_unwind_refresh(int (*each)(int (*)(struct dl_phdr_info *, size_t, void *), void *));

/* Mixed into the hash of every path taken from now on. */
void lt_unwind_set_salt(uint64_t salt);

/* The stack the thread runs on, all of it mapped between the stack pointer and
 * `hi`. Frame pointers of code without rules are followed only inside it, and
 * what lies beyond a signal frame is held against it. Not needed for the main
 * thread's stack, nor for others' own (lt_unwind_set_stack_finder); on unknown
 * stacks no frame pointer is guessed at. (0, 0): forget it.
 *
 * Such a step is a guess: both words that it reads lie between the stack pointer and
 * `hi`, aligned, and each leads further out; what is read beyond it, by rules too,
 * is held against the same bounds. In the loader and in libc code without an FDE is
 * where stacks begin, and no guess is made; nor at an interrupted instruction of an
 * object whose other code has FDEs. Guesses are counted. */
void lt_unwind_register_stack(struct lt_unwinder *u, uintptr_t lo, uintptr_t hi);

/* Finds the bounds of the calling thread's own stack, of which sp is a part: false
 * if they are unknown. Called inside an event, a few times a thread at the most. Set before the
 * first event. */
typedef bool lt_stack_finder_function(uintptr_t sp, uintptr_t *lo, uintptr_t *hi);
void lt_unwind_set_stack_finder(lt_stack_finder_function *finder);

/* Frames of generated code, as given to __register_frame and
 * __deregister_frame: a zero-terminated .eh_frame. A full table ignores more. */
void lt_unwind_register_frames(const void *eh_frame);
void lt_unwind_deregister_frames(const void *eh_frame);

void lt_unwind_counters(const struct lt_unwinder *u, struct lt_unwind_counters *out);

#pragma GCC visibility pop

#endif
