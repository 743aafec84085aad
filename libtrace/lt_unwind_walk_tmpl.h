/* SPDX-License-Identifier: MIT
 *
 * The walk itself: from the hook's registers outwards, by rules where the shadow
 * does not fit, by the shadow where it does. Included last by the one
 * lt_unwind_<machine>.c that is built, and uses from it:
 *
 *   LT_IS_CODE       may that address be one of code? not so for a return address of 0
 *   lt_arch_key      the address whose rule holds at a state
 *   lt_arch_pack     the same in LT_KEY_BITS bits
 *   lt_arch_classify_row, lt_arch_is_sigreturn, lt_arch_is_base
 *                    how rules are found: lt_unwind_rules_tmpl.h
 *   lt_arch_slots    the addresses that a step by a rule in a word reads
 *   lt_arch_step     that step: the outer pc and fp
 *   lt_arch_odd      a step of LT_KIND_ODD or LT_KIND_SIGNAL
 *   lt_arch_link     where a signal frame keeps the link register
 *   lt_arch_strip    a return address without its signature
 *   lt_capture_registers
 *
 * Invariant and argument: lt_unwind_core_tmpl.h. Budget: a step over a frame with a
 * known rule is a chain of about 16 cycles, a verified frame one independent
 * load; some 300 bytes of the target's stack on the common path.
 */
#ifndef LT_UNWIND_WALK_TMPL_H
#define LT_UNWIND_WALK_TMPL_H

#include "lt_unwind_core_tmpl.h"
#include "lt_unwind_memo_tmpl.h"

#include <sys/auxv.h>

/* Callee-saved registers of the calling function, as they are behind the call. */
void lt_capture_registers(struct lt_cfi_regs *regs) __attribute__((visibility("hidden")));

static uintptr_t lt_main_stack; /* its end; 1 if unknown */

#define RED_ZONE 128            /* bytes below sp that a function may use */
#define STACK_DOUBT (1ul << 20) /* what an unknown stack is taken to have above sp */

/* The end of the stack that holds sp, mapped up to there: a registered one or the
 * main thread's, below which the kernel leaves 128 MiB to no one else. 0 if
 * unknown, and then asked for when the walk that wants to know is over. */
static uintptr_t stack_end(struct lt_unwinder_all *u, uintptr_t sp)
{
    if (sp >= u->stack_lo && sp < u->stack_hi)
        return u->stack_hi;
    if (!lt_main_stack) {
        /* The program's name is the kernel's first push but for a few bytes. */
        uintptr_t name = getauxval(AT_EXECFN);
        lt_main_stack = name ? (name | 4095) + 1 : 1;
    }
    if (sp < lt_main_stack && lt_main_stack - sp < (128ul << 20))
        return lt_main_stack;
    u->stack_wanted = !u->stack_hi && u->stack_tries < LT_STACK_TRIES;
    return 0;
}

static __attribute__((noinline, cold)) bool find_stack(struct lt_unwinder_all *u, uintptr_t sp)
{
    uintptr_t lo, hi;
    u->stack_wanted = false;
    u->stack_tries++;
    if (!lt_stack_finder || !lt_stack_finder(sp, &lo, &hi))
        return false;
    u->stack_lo = lo;
    u->stack_hi = hi;
    return true;
}

static bool in_stack(uintptr_t end, uintptr_t lo, uintptr_t addr)
{
    return addr >= lo && addr < end && end - addr >= LT_UNIT && addr % LT_UNIT == 0;
}

/* May a step in an uncertain place read at addr? Beyond a guess only what is
 * known to be stack. Beyond a signal frame rules hold, but for windows such as
 * libgcc's, where it has put the registers of a landing pad into its own frame's
 * slots: an unknown stack (a coroutine's) gets the benefit of the doubt as long
 * as addresses only rise, not by much, and are memory. */
static bool may_read(struct lt_unwinder_all *u, uint32_t mode, uintptr_t end, uintptr_t lo,
                     uintptr_t addr)
{
    if (end)
        return in_stack(end, lo, addr);
    return !(mode & LT_FRAME_GUESS) && addr >= lo && addr - lo < STACK_DOUBT &&
           addr % LT_UNIT == 0 && lt_cfi_may_load(&u->cfi, addr);
}

/* May a step by fp read at addr? Some assembly uses it for something else, whatever
 * its unwind information says; where it leads to another stack, as in functions that
 * switch stacks, that must be memory. */
static bool may_reach(struct lt_unwinder_all *u, uintptr_t end, uintptr_t lo, uintptr_t addr)
{
    return in_stack(end, lo, addr) || in_stack(u->stack_hi, u->stack_lo, addr) ||
           (addr % LT_UNIT == 0 && lt_cfi_may_load(&u->cfi, addr));
}

static bool step_full(struct lt_unwinder_all *u, uintptr_t key)
{
    const uintptr_t sp = u->regs.r[LT_CFI_SP], end = stack_end(u, sp);
    u->counters.full_steps++;
    u->cfi.low = end ? sp - RED_ZONE : 0;
    u->cfi.high = end;
    if (lt_cfi_find(&u->cfi, key) != LT_CFI_FOUND || !lt_cfi_run(&u->cfi, key) ||
        u->cfi.row.reg[LT_CFI_RA].how == LT_CFI_UNDEFINED || !lt_cfi_apply(&u->cfi, &u->regs))
        return false;
    u->regs.r[LT_CFI_RA] = lt_arch_strip(u->regs.r[LT_CFI_RA]);
    return true;
}

/* Bring u->regs to the state of fresh frame number `target`. The hook told us
 * pc, sp and fp only; the registers that its prologue and ours have saved are
 * recovered by unwinding from here, through our own frames by our own unwind
 * information, until the state that the hook told is reached. So it does not
 * matter how the compiler laid out these frames. */
static __attribute__((noinline)) bool
full_registers(struct lt_unwinder_all *u, const struct lt_frame_start *at, uint32_t target)
{
    struct lt_cfi_regs *r = &u->regs;
    if (!u->regs_valid) {
        unsigned own = 0;
        memset(r, 0, sizeof *r);
        lt_capture_registers(r);
        while (r->r[LT_CFI_RA] != lt_arch_strip(at->pc) || r->r[LT_CFI_SP] != at->sp)
            if (++own > 64 || !step_full(u, lt_arch_key(r->r[LT_CFI_RA], 0)))
                return false;
        u->regs_at = 0;
        u->regs_valid = 1;
    }
    for (; u->regs_at < target; u->regs_at++) {
        const struct lt_fresh *f = &u->fresh[u->regs_at];
        if (r->r[LT_CFI_RA] != f->pc || r->r[LT_CFI_SP] != f->sp ||
            !step_full(u, lt_arch_key(f->pc, f->bits))) {
            u->regs_valid = 0;
            return false;
        }
    }
    return true;
}

/* Every step but the common two. True: *s is the outer state. False: the walk
 * ends, *stop says why. The words read, and if fp mattered, are noted in *f. */
static __attribute__((noinline)) bool step_slow(struct lt_unwinder_all *u,
                                                const struct lt_frame_start *at, uint64_t word,
                                                struct lt_fresh *f, struct lt_state *s,
                                                enum lt_stop *stop)
{
    struct lt_odd *const o = &u->odd[f->odd = u->odds++];
    const bool by_register =
        LT_WORD_KIND(word) == LT_KIND_FP || LT_WORD_KIND(word) == LT_KIND_ODD ||
        (LT_WORD_KIND(word) == LT_KIND_WIDE && lt_wide[LT_WORD_OFF(word)].base == LT_KIND_FP);
    const bool reaches = by_register && !(s->mode & LT_FRAME_GUESS);
    const bool guarded = !reaches && (s->mode & (LT_FRAME_GUESS | LT_FRAME_ASYNC));
    const uintptr_t end =
        guarded || reaches || LT_WORD_KIND(word) == LT_KIND_NONE ? stack_end(u, s->sp) : 0;
    /* Interrupted behind a pop, the row may name a slot that sp has passed. */
    const uintptr_t old_sp = s->sp, low = s->mode & LT_FRAME_EXACT ? old_sp - RED_ZONE : old_sp;
    uintptr_t cfa, ra_slot, fp_slot = 0;
    uint32_t mode = s->mode & (LT_FRAME_GUESS | LT_FRAME_ASYNC);
    f->bits = s->mode | LT_FRAME_ODD;
    o->ra_slot = o->fp_slot = o->cfa_slot = 0;
    if (f->odd == 0) /* what was memory in an earlier event */
        u->cfi.low = u->cfi.high = u->cfi.page = 0;

    /* Only rules by fp and further guesses hold after a guess that leaves sp unknown. */
    if (!LT_GUESS_KNOWS_SP && (s->mode & LT_FRAME_GUESS) &&
        (LT_WORD_KIND(word) == LT_KIND_SP ||
         (LT_WORD_KIND(word) == LT_KIND_WIDE && lt_wide[LT_WORD_OFF(word)].base == LT_KIND_SP)))
        word = LT_WORD(LT_KIND_NONE, 0, LT_NONE_GUESS);

    switch (LT_WORD_KIND(word)) {
    case LT_KIND_SP:
    case LT_KIND_FP:
        if (LT_WORD_KIND(word) == LT_KIND_FP)
            f->bits |= LT_FRAME_USES_FP;
        cfa = (LT_WORD_KIND(word) == LT_KIND_FP ? s->fp : s->sp) + LT_WORD_BYTES(word);
        lt_arch_slots(LT_WORD_SLOT(word), cfa, &ra_slot, &fp_slot);
        break;
    case LT_KIND_WIDE: {
        const struct lt_wide *w = &lt_wide[LT_WORD_OFF(word)];
        if (w->base == LT_KIND_FP)
            f->bits |= LT_FRAME_USES_FP;
        cfa = (w->base == LT_KIND_FP ? s->fp : s->sp) + (uint64_t)w->off;
        ra_slot = cfa + (uint64_t)(int64_t)w->ra_slot;
        if (!w->ra_slot) {
            /* A leaf function, interrupted: the signal frame holds the register. */
            if (!(s->mode & LT_FRAME_EXACT) || f == u->fresh) {
                *stop = LT_STOP_BAD_RULE;
                return false;
            }
            f->bits |= LT_FRAME_FULL;
            o->ra_slot = lt_arch_link(&u->odd[f[-1].odd]);
            s->pc = lt_arch_strip(lt_load(o->ra_slot));
            s->sp = cfa;
            s->mode = mode;
            return true;
        }
        if (w->fp_slot)
            fp_slot = cfa + (uint64_t)(int64_t)w->fp_slot;
        break;
    }
    case LT_KIND_ODD:
    case LT_KIND_SIGNAL:
        f->bits |= lt_arch_odd(word, o, s, &ra_slot, &fp_slot);
        if (guarded &&
            (!may_read(u, mode, end, low, o->cfa_slot) || !may_read(u, mode, end, low, fp_slot)))
            goto bad_memory;
        if (reaches && (!may_reach(u, end, low, o->cfa_slot) || !may_reach(u, end, low, fp_slot)))
            goto bad_memory;
        cfa = lt_load(o->cfa_slot);
        if (LT_WORD_KIND(word) == LT_KIND_ODD) {
            ra_slot += cfa;
            break;
        }
        if (guarded && !may_read(u, mode, end, low, ra_slot))
            goto bad_memory;
        o->ra_slot = ra_slot;
        o->fp_slot = fp_slot;
        s->pc = lt_load(ra_slot);
        s->fp = lt_load(fp_slot);
        s->sp = cfa; /* may be on any stack */
        s->mode = (mode & LT_FRAME_GUESS) | LT_FRAME_EXACT | LT_FRAME_ASYNC;
        return true;
    case LT_KIND_NONE:
        /* Code that keeps a frame pointer, we hope. The end of the walk here is a
         * function of fp and of the words noted in *f. */
        *stop = LT_WORD_OFF(word) == LT_NONE_BAD ? LT_STOP_BAD_RULE : LT_STOP_NO_RULE;
        /* What lies among rules and was interrupted is a linkage table or a prologue:
         * fp is the caller's yet, and the guess would leave the caller out. */
        if (LT_WORD_OFF(word) != LT_NONE_GUESS &&
            (LT_WORD_OFF(word) != LT_NONE_WITHIN || (s->mode & LT_FRAME_EXACT)))
            return false;
        f->bits |= LT_FRAME_USES_FP;
        if (s->fp == 0 && lt_mode == LT_UNWIND_FP)
            *stop = LT_STOP_ROOT;
        if (!in_stack(end, old_sp, s->fp) || !in_stack(end, old_sp, s->fp + LT_UNIT))
            return false;
        u->counters.guesses++;
        fp_slot = s->fp;
        ra_slot = s->fp + LT_UNIT;
        cfa = s->fp + 2 * LT_UNIT;
        mode |= LT_FRAME_GUESS;
        break;
    case LT_KIND_FULL:
        f->bits |= LT_FRAME_FULL;
        if ((mode & LT_FRAME_GUESS) || !full_registers(u, at, (uint32_t)(f - u->fresh))) {
            *stop = mode & LT_FRAME_GUESS ? LT_STOP_NO_RULE : LT_STOP_BAD_RULE;
            return false;
        }
        if (!step_full(u, lt_arch_key(s->pc, s->mode))) {
            u->regs_valid = 0;
            *stop = LT_STOP_BAD_RULE;
            return false;
        }
        u->regs_at++;
        s->pc = u->regs.r[LT_CFI_RA];
        s->sp = u->regs.r[LT_CFI_SP];
        s->fp = u->regs.r[LT_CFI_FP];
        /* What such a rule led to is believed as little as what was interrupted. */
        s->mode = mode | LT_FRAME_ASYNC | (u->cfi.fde.signal ? LT_FRAME_EXACT : 0);
        return true;
    default: *stop = LT_STOP_ROOT; return false;
    }

    if ((guarded || (mode & LT_FRAME_GUESS)) &&
        (cfa <= old_sp || !may_read(u, mode, end, low, ra_slot) ||
         (fp_slot && !may_read(u, mode, end, low, fp_slot))))
        goto bad_memory;
    if (cfa < 65536 || (uint64_t)cfa >> LT_ADDRESS_BITS || cfa % LT_UNIT)
        goto bad_memory;
    if (reaches &&
        (!may_reach(u, end, low, ra_slot) || (fp_slot && !may_reach(u, end, low, fp_slot))))
        goto bad_memory;
    o->ra_slot = ra_slot;
    o->fp_slot = fp_slot;
    s->pc = lt_arch_strip(lt_load(ra_slot));
    if (fp_slot)
        s->fp = lt_load(fp_slot);
    s->sp = cfa;
    s->mode = mode;
    return true;

bad_memory:
    o->cfa_slot = 0;
    f->bits |= LT_FRAME_USES_FP | LT_FRAME_FULL; /* too odd to be matched */
    *stop = LT_STOP_BAD_MEMORY;
    return false;
}

/* Why a walk ended at a return address of 0. Coroutines begin with one, and so do
 * the stacks of code without unwind information; a thread's stack and the main one
 * end at code whose rule says so, and a 0 there was read from a wrong slot. */
static __attribute__((noinline, cold)) enum lt_stop stop_of_zero(struct lt_unwinder_all *u,
                                                                 uintptr_t sp, uint32_t mode)
{
    const uintptr_t at = sp - LT_UNIT; /* in the frame */
    if (mode & LT_FRAME_GUESS)
        return LT_STOP_ROOT;
    const bool known =
        stack_end(u, at) || (u->stack_wanted && find_stack(u, at) && stack_end(u, at));
    return known ? LT_STOP_BAD_RULE : LT_STOP_ROOT;
}

/* The result. (pc, sp, fp) is the state that the outermost fresh frame's step
 * led to, kept the number of the shadow's frames outside it. */
#define LT_WALKED(kept_, stop_)                                                                    \
    do {                                                                                           \
        kept = (kept_);                                                                            \
        stop = (stop_);                                                                            \
        goto walked;                                                                               \
    } while (0)

unsigned lt_unwind(struct lt_unwinder *pub, const struct lt_frame_start *at)
{
    struct lt_unwinder_all *const u = (struct lt_unwinder_all *)pub;
    struct lt_point *p; /* p[-1]: next to compare with */
    struct lt_fresh *f = u->fresh;
    /* The state, in registers: its address must not be taken. */
    uintptr_t pc = lt_arch_strip(at->pc), sp = at->sp, fp = at->fp;
    uint32_t mode = 0;
    unsigned kept;
    enum lt_stop stop;

    uint32_t epoch = __atomic_load_n(&lt_epoch, __ATOMIC_ACQUIRE);
    if (LT_UNLIKELY(u->epoch != epoch))
        lt_sync(u, epoch);
    u->regs_valid = 0;
    u->odds = 0;
    p = u->pub.points + (u->pub.usable ? u->pub.n : 0);

    for (;;) {
        /* Frames of the shadow below sp have returned. */
        while (LT_POINT_SP(u, p - 1) < sp)
            p--;
        if (LT_POINT_SP(u, p - 1) == sp && LT_POINT_PC(u, p - 1) == pc) {
            const unsigned i = (unsigned)(p - u->pub.points);
            const uint32_t bits = u->pub.frames[i - 1].bits;
            if (LT_UNLIKELY((bits ^ mode) & (LT_FRAME_MODE | LT_FRAME_NO_MATCH)) ||
                (!LT_MUTATE_NO_FP_CHECK && LT_UNLIKELY(bits & LT_FRAME_NEED_FP) &&
                 u->pub.frames[i - 1].fp != fp))
                goto step;
            if (LT_UNLIKELY(i + (unsigned)(f - u->fresh) > u->cap))
                goto again; /* together they are too many */
            int32_t failed = lt_verify(u, i - 1);
            if (LT_LIKELY(failed < 0))
                LT_WALKED(i, LT_STOP_ROOT);
            struct lt_state s = {pc, sp, fp, mode};
            p = u->pub.points + lt_resume(u, i - 1, (unsigned)failed, &f, &s);
            pc = s.pc;
            sp = s.sp;
            fp = s.fp;
            mode = s.mode;
        }
    step:;
        const uintptr_t key = lt_arch_key(pc, mode);
        const uint64_t packed = lt_arch_pack(key);
        if (LT_UNLIKELY(!LT_IS_CODE(key) || f == u->fresh_end))
            LT_WALKED(0, LT_IS_CODE(key) ? LT_STOP_LIMIT
                         : pc == 0       ? stop_of_zero(u, sp, mode)
                                         : LT_STOP_BAD_MEMORY);
        uint64_t word = __atomic_load_n(&lt_l1[lt_l1_index(packed)], __ATOMIC_RELAXED);
        if (LT_UNLIKELY(((packed | u->gen) ^ word) & LT_WORD_TAG))
            word = lt_rule_miss(u, key);
        f->pc = pc;
        f->sp = sp;
        f->fp = fp;
        if (LT_LIKELY((LT_WORD_KIND(word) | mode) == 0)) {
            const unsigned slot = (unsigned)(word >> 55);
            sp += LT_WORD_BYTES(word);
            f->bits = slot << LT_BITS_SLOT;
            lt_arch_step(slot, sp, &pc, &fp);
        } else if (LT_WORD_KIND(word) == LT_KIND_FP && mode == 0 &&
                   fp + LT_WORD_BYTES(word) - sp < LT_FRAME_FAR) {
            sp = fp + LT_WORD_BYTES(word);
            f->bits = LT_WORD_SLOT(word) << LT_BITS_SLOT | LT_FRAME_USES_FP;
            lt_arch_step(LT_WORD_SLOT(word), sp, &pc, &fp);
        } else {
            struct lt_state s = {pc, sp, fp, mode};
            bool on = step_slow(u, at, word, f, &s, &stop);
            pc = s.pc;
            sp = s.sp;
            fp = s.fp;
            mode = s.mode;
            if (LT_UNLIKELY(u->stack_wanted) && find_stack(u, at->sp))
                goto again;
            if (!on) {
                kept = 0;
                f++;
                break;
            }
        }
        f++;
        continue;
    again: /* without the shadow */
        pc = lt_arch_strip(at->pc);
        sp = at->sp;
        fp = at->fp;
        mode = 0;
        f = u->fresh;
        u->odds = 0;
        u->regs_valid = 0;
        p = u->pub.points;
    }
walked:
    return lt_join(u, kept, f, pc, sp, fp, stop);
}

#endif
