/* SPDX-License-Identifier: MIT
 *
 * The parts of the unwinder that no machine changes: the words of rules, the
 * verified shadow, the path hash. Included by the one lt_unwind_<machine>.c that
 * is built, which supplies the steps; lt_unwind_rules_tmpl.h finds the rules,
 * lt_unwind_walk_tmpl.h goes on from here.
 *
 * The argument for the shadow. A state is (pc, sp, fp, mode), mode being whether
 * the pc was interrupted, and whether we are beyond a guessed or an interrupted
 * frame. What lies
 * outside a state is a function of the state, of the rules, of the bounds of
 * stacks, and of the words of memory those rules read. A step out of a state reads at most three
 * words: the outer pc, the outer sp (signal frames, realigned stacks) and a saved fp. The shadow
 * keeps, for each frame of the last result, its state and these words as checks "*address ==
 * value"; the address is itself a function of the state. Most steps have one check, of the outer
 * pc, and the outer frame's point is that check; where a step has others, a struct lt_checks
 * holds all of them.
 *
 * A new event is unwound until its state equals a kept one; then every check
 * further out is made, from the inside outwards, ending at the first that fails.
 * By induction each check that holds proves that the next outer state equals the
 * kept one, so that the next check's address is the very one a full unwind
 * would read now. So the result is that of a full unwind, and no word is read
 * that a full unwind would not read: the early exit is part of the argument,
 * since what lies behind a failed check may be unmapped by now.
 *
 * Equality of states includes fp only where an outer step reads this very value
 * (LT_FRAME_NEED_FP, found from the root inwards), and a saved fp is checked
 * only where it is needed: else most events in code without frame pointers would
 * differ in a register that nobody uses. A step that reads any other register
 * makes its frame and all inner ones unfit to be matched (LT_FRAME_NO_MATCH);
 * frames outside it stay fit.
 *
 * Hence slots below sp are never consulted; alloca, longjmp, exceptions,
 * coroutines, signal stacks and stacks that another thread used before cost a
 * longer unwind and cannot yield a wrong result: where all checks hold, the
 * memory spells the same path. How the walk ended belongs to the checks, too: a
 * zero return address is a check, an fp that ended it is needed, and a result
 * cut off at the depth limit is never matched.
 *
 * What is assumed: (1) A rule for a pc stays the same until lt_unwind_flush. A
 * module replaced behind our back (libc's internal dlclose) is noticed at the
 * first pc of it that misses the caches; until then stale rules serve such pcs
 * as are return addresses in both modules. (2) No other thread writes our stack
 * during the event. (3) The 8-bit generation of a cached rule may wrap while a
 * thread is inside a single event: the caches are emptied at the wrap, so that
 * thread would have to sleep there through 254 more flushes. (4) Rules are true:
 * where assembly lies about its frame, we follow it as exception handling would,
 * but read nothing by a register other than sp that is not known to be memory
 * (may_reach, lt_cfi_may_load), but within LT_FRAME_FAR above sp.
 * Beyond a signal frame they are not believed that far (may_read), since libgcc
 * itself falsifies its frame for some instructions before it enters a landing
 * pad; a stack taken there may end early or, within the stack, go astray.
 */
#ifndef LT_UNWIND_CORE_TMPL_H
#define LT_UNWIND_CORE_TMPL_H

#include "lt_cfi.h"
#include "lt_unwind.h"

#include <string.h>

/* The kinds of code without a rule: the offset of LT_KIND_NONE. */
enum {
    LT_NONE_END,    /* libc's, which keeps no frame pointers */
    LT_NONE_GUESS,  /* generated, or in an object without any rules */
    LT_NONE_WITHIN, /* in an object whose other code has rules */
    LT_NONE_BAD     /* the rule cannot be read */
};

#define LT_LIKELY(x) __builtin_expect(!!(x), 1)
#define LT_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Mutations for tests that must fail: see tests/unwind. */
#ifndef LT_MUTATE_NO_FP_CHECK
#define LT_MUTATE_NO_FP_CHECK 0
#endif
#ifndef LT_MUTATE_NO_MEMO_CHECK
#define LT_MUTATE_NO_MEMO_CHECK 0
#endif
#ifndef LT_MUTATE_NO_VERIFY
#define LT_MUTATE_NO_VERIFY 0
#endif
/* For a test that must pass: every step runs DWARF with all registers. */
#ifndef LT_TEST_ALL_FULL
#define LT_TEST_ALL_FULL 0
#endif

/* A rule in a word. The key is the address looked up: pc - 1 of a return
 * address, whose call may be the last instruction of its function; pc itself of
 * an interrupted instruction. The machine packs it into 47 bits (lt_arch_pack).
 *
 *   63  61 60    55 54        47 46        17 16        3 2        0
 *   | kind |  slot  | generation | key's bits | offset / 8 | key's bits |
 *
 * The bits of the key stand where they stand in the key; those missing follow
 * from the index, so a hit is exact. offset: from sp or fp to the CFA, in words
 * of the machine. slot: where fp is saved (x86-64) or where the return address is
 * (AArch64), in words below the CFA. */
enum lt_kind {
    LT_KIND_SP,     /* CFA = sp + offset */
    LT_KIND_FP,     /* CFA = fp + offset */
    LT_KIND_ODD,    /* what else the machine has in plenty */
    LT_KIND_SIGNAL, /* the frame the kernel made */
    LT_KIND_END,    /* outermost frame */
    LT_KIND_NONE,   /* no rule; offset says what the code lies in */
    LT_KIND_WIDE,   /* offset is an index into lt_wide */
    LT_KIND_FULL    /* run DWARF with all registers */
};

#define LT_KEY_BITS 47
#define LT_WORD_KIND(word) ((unsigned)((word) >> 61))
#define LT_WORD_SLOT(word) ((unsigned)((word) >> 55) & 63)
#define LT_WORD_OFF(word) ((unsigned)((word) >> 3) & LT_WORD_OFF_MAX)
#define LT_UNIT sizeof(uintptr_t) /* what offsets and slots are counted in */
#if UINTPTR_MAX > 0xffffffffu
#define LT_WORD_BYTES(word) ((uint32_t)(word)&LT_WORD_OFF_MAX << 3)
#else
#define LT_WORD_BYTES(word) (LT_WORD_OFF(word) * LT_UNIT)
#endif
#define LT_WORD_OFF_MAX ((1u << 14) - 1)
#define LT_WORD_GENERATION 47
/* All bits but kind, slot and offset. */
#define LT_WORD_TAG (~(uint64_t)0 >> 9 & ~((uint64_t)LT_WORD_OFF_MAX << 3))
#define LT_WORD(kind, slot, off)                                                                   \
    ((uint64_t)(kind) << 61 | (uint64_t)(slot) << 55 | (uint64_t)(off) << 3)
/* A frame larger than this, by fp, is looked at twice: fp may point elsewhere. */
#define LT_FRAME_FAR (1ul << 14)

/* Rules that fit no word: large frames, unusual slots. */
struct lt_wide {
    uint32_t base;   /* LT_KIND_SP, LT_KIND_FP */
    int32_t fp_slot; /* from the CFA, 0 if not saved */
    int32_t ra_slot; /* likewise, 0 if still in the link register */
    int64_t off;
};
#define LT_WIDE_COUNT 2048

#define LT_L1_BITS 14
#define LT_L1_COUNT (1u << LT_L1_BITS)
#define LT_L2_WAYS 8

/* A frame of the event in hand. */
struct lt_fresh {
    uintptr_t pc, sp, fp;
    uint32_t bits; /* of struct lt_frame, no checks yet */
    uint32_t odd;  /* with LT_FRAME_ODD: number of its struct lt_odd */
};

/* The words that an odd step read: addresses, 0 where it read nothing. They hold
 * the outer frame's pc, fp and sp. */
struct lt_odd {
    uintptr_t ra_slot, fp_slot, cfa_slot;
};

/* The checks of a step that has not just the one that its outer frame's point
 * is: made last to first. */
struct lt_checks {
    uint32_t frame;
    uint32_t n;
    struct {
        uintptr_t addr, val;
    } check[3];
};

/* See lt_unwind_memo_tmpl.h. */
#define LT_MEMO_BITS 8
#define LT_MEMO_CHECKS 11
struct lt_memo {
    uintptr_t pc, sp, fp; /* of the leaf */
    uint64_t base_hash;
    uintptr_t base_sp, base_fp;
    uint32_t base; /* number of the frame */
    uint32_t base_bits;
    uint32_t n; /* checks from the leaf to it */
    uint32_t id;
    uint32_t need_fp;
    uint32_t epoch;                        /* 0: none */
    struct lt_point check[LT_MEMO_CHECKS]; /* inside first; `at` is the word's address */
};

/* All of an unwinder. The arrays follow it in its memory. */
struct lt_unwinder_all {
    struct lt_unwinder pub;
    uint32_t epoch;
    uint32_t cap;
    uint64_t gen; /* as it stands in a rule word */
    uint64_t salt;
    struct lt_fresh *fresh; /* frames of the event in hand, leaf first */
    struct lt_fresh *fresh_end;
    struct lt_odd *odd;       /* of some of them */
    struct lt_checks *checks; /* of some frames, root first; frame 0 has one always */
    uint32_t odds;
    uint32_t checked; /* number of checks in use while a result is put together */
    uint32_t memo_on, memo_hits;
    int32_t memo_left; /* events until the share of hits is looked at */
    struct lt_memo *memos;
    uintptr_t stack_lo, stack_hi;
    bool stack_wanted; /* a walk came to where they matter, and they are unknown */
    uint8_t stack_tries;
    struct lt_unwind_counters counters;
    struct lt_cfi_regs regs; /* registers of state number regs_at, if regs_valid */
    uint32_t regs_at;
    uint32_t regs_valid;
    struct lt_cfi_scratch cfi;
};

/* The number of looks for a thread's own stack: a walk that asks may be on a
 * coroutine's. */
#define LT_STACK_TRIES 4

/* State of a walk. */
struct lt_state {
    uintptr_t pc, sp, fp;
    uint32_t mode; /* of LT_FRAME_MODE */
};
#define LT_FRAME_MODE (LT_FRAME_EXACT | LT_FRAME_GUESS | LT_FRAME_ASYNC)
#define LT_FRAME_CARRY (LT_FRAME_NEED_FP | LT_FRAME_NO_MATCH)
#define LT_FRAME_FLAGS 0xffu
#define LT_BITS_SLOT 8
#define LT_BITS_CHECKS 16
#define LT_SLOT_OF(bits) ((bits) >> LT_BITS_SLOT & 63)
_Static_assert(LT_UNWIND_DEPTH < 1u << (32 - LT_BITS_CHECKS), "checks are counted in the bits");

/* Bumped by a flush and by a new salt: shadows of older epochs are void. The low
 * bits give the generation of rules. */
static uint32_t lt_epoch = 1;
static uint32_t lt_generation = 1; /* 1..255 */
static uint64_t lt_salt;
static enum lt_unwind_mode lt_mode;
static lt_stack_finder_function *lt_stack_finder;

static uint32_t lt_flushing; /* threads inside lt_unwind_flush */
static bool lt_given_up;     /* lt_l2 is there no more */

#include "lt_unwind_rules_tmpl.h"

/* The words that a step by slot reads: see lt_unwind_walk_tmpl.h. */
static inline void lt_arch_slots(unsigned slot, uintptr_t cfa, uintptr_t *ra, uintptr_t *fp);

static inline uint64_t lt_fold(uint64_t parent, uint64_t pc)
{
    const uint64_t a = parent ^ 0x2d358dccaa6c78a5u, b = pc ^ 0x8bb84b93962eacc9u;
#ifdef __SIZEOF_INT128__
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
#else /* the same product, by halves */
    const uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    const uint64_t low = a0 * b0, mid = a1 * b0 + (low >> 32), cross = a0 * b1 + (uint32_t)mid;
    return (a * b) ^ (a1 * b1 + (mid >> 32) + (cross >> 32));
#endif
}

/* Check the steps out of frames `at`, at-1 .. 0, from the inside outwards. -1 if
 * all hold, else the frame whose step did not. Each comparison is a branch of its
 * own: no load may be made before the checks inside it have held. */
static __attribute__((noinline)) int32_t lt_verify(const struct lt_unwinder_all *u, uint32_t at)
{
#if LT_MUTATE_NO_VERIFY
    (void)u, (void)at;
    return -1;
#endif
    const struct lt_point *const first = u->pub.points, *p = first + at;
    const struct lt_checks *c = u->checks + (u->pub.frames[at].bits >> LT_BITS_CHECKS);
    for (;;) {
        const struct lt_point *const stop = first + (--c)->frame;
        while (p - stop >= 4) {
            if (LT_UNLIKELY(lt_load(LT_POINT_SLOT(p - 1)) != p[-1].word))
                return (int32_t)(p - first);
            if (LT_UNLIKELY(lt_load(LT_POINT_SLOT(p - 2)) != p[-2].word))
                return (int32_t)(p - first) - 1;
            if (LT_UNLIKELY(lt_load(LT_POINT_SLOT(p - 3)) != p[-3].word))
                return (int32_t)(p - first) - 2;
            if (LT_UNLIKELY(lt_load(LT_POINT_SLOT(p - 4)) != p[-4].word))
                return (int32_t)(p - first) - 3;
            p -= 4;
        }
        for (; p != stop; p--)
            if (LT_UNLIKELY(lt_load(LT_POINT_SLOT(p - 1)) != p[-1].word))
                return (int32_t)(p - first);
        for (uint32_t n = c->n; n > 0; n--)
            if (LT_UNLIKELY(lt_load(c->check[n - 1].addr) != c->check[n - 1].val))
                return (int32_t)c->frame;
        if (stop == first)
            return -1;
        p = stop - 1;
    }
}

#define LT_JOIN_ROOT (1u << 31) /* beside the carried flags: no frame outside this one */

/* A frame whose step has checks of its own, or through which fp matters, or the
 * outermost one. (pc, sp, fp) is the state its step led to. Returns the flags to
 * carry on. */
static __attribute__((noinline)) uint32_t lt_join_special(struct lt_unwinder_all *u,
                                                          const struct lt_fresh *f, uint32_t number,
                                                          uint32_t carry, uintptr_t pc,
                                                          uintptr_t sp, uintptr_t fp)
{
    struct lt_checks *c = &u->checks[u->checked];
    struct lt_odd step = {0, 0, 0};
    if (f->bits & LT_FRAME_ODD)
        step = u->odd[f->odd];
    else
        lt_arch_slots(LT_SLOT_OF(f->bits), sp, &step.ra_slot, &step.fp_slot);
    bool saved = step.fp_slot != 0, checked = step.fp_slot && (carry & LT_FRAME_NEED_FP);
    if (LT_MUTATE_NO_FP_CHECK)
        checked = false;
    if ((f->bits & LT_FRAME_ODD) || checked || (carry & LT_JOIN_ROOT)) {
        unsigned n = 0;
        /* Verified last to first: the word that places the others comes last. */
        if (step.ra_slot) {
            c->check[n].addr = step.ra_slot;
            c->check[n++].val = LT_RAW_PC(step.ra_slot, pc);
        }
        if (checked) {
            c->check[n].addr = step.fp_slot;
            c->check[n++].val = fp;
        }
        if (step.cfa_slot) {
            c->check[n].addr = step.cfa_slot;
            c->check[n++].val = sp;
        }
        c->frame = number;
        c->n = n;
        u->checked++;
    }
    carry &= LT_FRAME_CARRY;
    if (saved)
        carry &= ~(uint32_t)LT_FRAME_NEED_FP;
    if (f->bits & LT_FRAME_USES_FP)
        carry |= LT_FRAME_NEED_FP;
    if (f->bits & LT_FRAME_FULL)
        carry |= LT_FRAME_NO_MATCH;
    return carry;
}

/* Join frames [0, kept) of the shadow and the fresh ones (leaf first, `end`
 * behind the outermost) into the result. (pc, sp, fp) is the state that the
 * outermost fresh frame's step led to: frame kept-1's, or where the walk stopped.
 * The shadow is valid at every moment, for a signal handler may leave by
 * longjmp: frames are first cut off, then written, then counted. */
static __attribute__((always_inline)) inline unsigned
lt_join(struct lt_unwinder_all *u, unsigned kept, const struct lt_fresh *end, uintptr_t pc,
        uintptr_t sp, uintptr_t fp, enum lt_stop stop)
{
    const struct lt_fresh *const fresh = u->fresh;
    struct lt_frame *d = u->pub.frames + kept;
    struct lt_point *p = u->pub.points + kept;
    uint64_t h;
    uint32_t carry, checked = 0;
    if (LT_LIKELY(kept)) {
        h = d[-1].hash;
        carry = d[-1].bits & LT_FRAME_CARRY;
        checked = d[-1].bits >> LT_BITS_CHECKS;
    } else {
        h = lt_fold(u->salt, (uint64_t)stop + 1);
        carry = LT_JOIN_ROOT;
        u->pub.stop = stop;
        u->counters.stops[stop]++;
    }
    u->pub.kept = kept;
    u->pub.n = kept;
    u->checked = checked;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    u->counters.events++;
    u->counters.fresh += (uint64_t)(end - fresh);
    uint32_t high = checked << LT_BITS_CHECKS;
    while (end != fresh) {
        const struct lt_fresh *f = --end;
        const uint32_t own = f->bits;
        uint64_t exact = 0;
        if (LT_UNLIKELY((own & LT_FRAME_FLAGS) | carry)) {
            exact = (uint64_t)(own & LT_FRAME_EXACT) << 63;
            carry = lt_join_special(u, f, (uint32_t)(d - u->pub.frames), carry, pc, sp, fp);
            high = u->checked << LT_BITS_CHECKS;
        }
        LT_POINT_PLACE(p, own, pc, sp);
        pc = f->pc;
        sp = f->sp;
        fp = f->fp;
        h = lt_fold(h, pc ^ exact);
        LT_POINT_SET(p, d, pc, sp);
        p++;
        d->hash = h;
        d->fp = fp;
        d->bits = own | carry | high;
        d->id = 0;
        d++;
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    u->pub.usable = stop != LT_STOP_LIMIT;
    return u->pub.n = (uint32_t)(d - u->pub.frames);
}

/* The kept part from frame `from` outwards failed at the step out of `failed`.
 * The steps inside it are still right: take those frames over as fresh, as far as
 * their slot tells all, and return the number of the frame whose step must be
 * made anew. fp is *s's, the value in hand at frame `from`; kept values may be
 * stale where nobody needed them. Room for `from` more frames is the caller's
 * care. */
static __attribute__((noinline)) unsigned lt_resume(struct lt_unwinder_all *u, unsigned from,
                                                    unsigned failed, struct lt_fresh **fresh,
                                                    struct lt_state *s)
{
    struct lt_fresh *f = *fresh;
    uintptr_t pc = s->pc, sp = s->sp, fp = s->fp;
    unsigned k = from;
    u->counters.resumed++;
    for (; k > failed && !(u->pub.frames[k].bits & LT_FRAME_ODD); k--, f++) {
        uintptr_t ra_slot, fp_slot;
        f->pc = pc;
        f->sp = sp;
        f->fp = fp;
        f->bits = u->pub.frames[k].bits & ((1u << LT_BITS_CHECKS) - 1) & ~(uint32_t)LT_FRAME_CARRY;
        pc = LT_POINT_PC(u, &u->pub.points[k - 1]);
        sp = LT_POINT_SP(u, &u->pub.points[k - 1]);
        lt_arch_slots(LT_SLOT_OF(f->bits), sp, &ra_slot, &fp_slot);
        if (fp_slot)
            fp = lt_load(fp_slot);
    }
    *fresh = f;
    s->pc = pc;
    s->sp = sp;
    s->fp = fp;
    s->mode = u->pub.frames[k].bits & LT_FRAME_MODE;
    return k;
}

static __attribute__((noinline, cold)) void lt_sync(struct lt_unwinder_all *u, uint32_t epoch)
{
    u->epoch = epoch;
    u->gen = (uint64_t)__atomic_load_n(&lt_generation, __ATOMIC_ACQUIRE) << LT_WORD_GENERATION;
    u->salt = __atomic_load_n(&lt_salt, __ATOMIC_RELAXED) * 0x9e3779b97f4a7c15u;
    u->pub.n = 0;
}

void lt_unwind_flush(void)
{
    uint32_t old = __atomic_load_n(&lt_generation, __ATOMIC_RELAXED), next;
    do {
        next = old == 255 ? 1 : old + 1;
    } while (!__atomic_compare_exchange_n(&lt_generation, &old, next, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    __atomic_fetch_add(&lt_flushing, 1, __ATOMIC_SEQ_CST);
    if (next == 1 && !__atomic_load_n(&lt_given_up, __ATOMIC_SEQ_CST)) {
        for (unsigned i = 0; i < LT_L1_COUNT; i++) {
            __atomic_store_n(&lt_l1[i], 0, __ATOMIC_RELAXED);
            for (unsigned k = 0; k < LT_L2_WAYS; k++)
                __atomic_store_n(&lt_l2[i][k], 0, __ATOMIC_RELAXED);
        }
    }
    __atomic_fetch_sub(&lt_flushing, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&lt_seen_count, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&lt_seen_none, 0, __ATOMIC_RELEASE);
    __atomic_fetch_add(&lt_epoch, 1, __ATOMIC_RELEASE);
}

bool lt_unwind_give_up(void **from, size_t *size, size_t page)
{
    uintptr_t at = ((uintptr_t)lt_l2 + page - 1) & ~(uintptr_t)(page - 1);
    uintptr_t end = ((uintptr_t)lt_l2 + sizeof lt_l2) & ~(uintptr_t)(page - 1);
    *from = (void *)at;
    *size = end - at;
    __atomic_store_n(&lt_given_up, true, __ATOMIC_SEQ_CST);
    return end > at && __atomic_load_n(&lt_flushing, __ATOMIC_SEQ_CST) == 0;
}

void lt_unwind_refresh(int (*each)(int (*)(struct dl_phdr_info *, size_t, void *), void *))
{
    lt_cfi_refresh(each);
}

void lt_unwind_set_salt(uint64_t salt)
{
    __atomic_store_n(&lt_salt, salt, __ATOMIC_RELAXED);
    __atomic_fetch_add(&lt_epoch, 1, __ATOMIC_RELEASE);
}

/* Not flushed: set before the first event. */
void lt_unwind_set_mode(enum lt_unwind_mode mode)
{
    lt_mode = mode;
}

void lt_unwind_register_frames(const void *eh_frame)
{
    lt_cfi_register(eh_frame);
    lt_unwind_flush();
}

void lt_unwind_deregister_frames(const void *eh_frame)
{
    lt_cfi_deregister(eh_frame);
    lt_unwind_flush();
}

/* One more point and frame, before the first: the end of the search. */
size_t lt_unwinder_size(uint32_t depth)
{
    return sizeof(struct lt_unwinder_all) + 64 + (sizeof(struct lt_memo) << LT_MEMO_BITS) +
           ((size_t)depth + 1) *
               (sizeof(struct lt_point) + sizeof(struct lt_frame) + sizeof(struct lt_fresh) +
                sizeof(struct lt_odd) + sizeof(struct lt_checks));
}

void lt_unwinder_init(struct lt_unwinder *pub, uint32_t depth)
{
    struct lt_unwinder_all *u = (struct lt_unwinder_all *)pub;
    uintptr_t at = ((uintptr_t)(u + 1) + 63) & ~(uintptr_t)63;
    u->cap = depth;
    u->memos = (struct lt_memo *)at;
    u->pub.points = (struct lt_point *)(u->memos + (1u << LT_MEMO_BITS)) + 1;
    u->pub.frames = (struct lt_frame *)(u->pub.points + depth) + 1;
    u->fresh = (struct lt_fresh *)(u->pub.frames + depth);
    u->fresh_end = u->fresh + depth;
    u->odd = (struct lt_odd *)u->fresh_end;
    u->checks = (struct lt_checks *)(u->odd + depth);
    LT_POINT_SET(u->pub.points - 1, u->pub.frames - 1, 0, (uintptr_t)-1);
    u->epoch = 0; /* never current: the first event synchronises */
}

/* The shadow may have been checked against the old stack's bounds. */
void lt_unwind_register_stack(struct lt_unwinder *pub, uintptr_t lo, uintptr_t hi)
{
    struct lt_unwinder_all *u = (struct lt_unwinder_all *)pub;
    u->stack_lo = lo;
    u->stack_hi = hi;
    u->stack_wanted = false;
    u->stack_tries = 0;
    u->pub.n = 0;
}

void lt_unwind_set_stack_finder(lt_stack_finder_function *finder)
{
    lt_stack_finder = finder;
}

unsigned lt_unwind_nested(struct lt_unwinder *scratch, const struct lt_frame_start *at)
{
    scratch->n = 0;
    return lt_unwind(scratch, at);
}

void lt_unwind_counters(const struct lt_unwinder *pub, struct lt_unwind_counters *out)
{
    *out = ((const struct lt_unwinder_all *)pub)->counters;
}

#endif
