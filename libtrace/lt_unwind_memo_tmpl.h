/* SPDX-License-Identifier: MIT
 *
 * Stacks seen a while ago: a small table, per unwinder, of the innermost parts
 * of recent stacks with the ids their caller gave them. A program that goes to
 * and fro between a few paths has none of them in the shadow, which holds the
 * last one only; here it finds them without a step by rule, without a hash, and
 * without touching the shadow. Included by the one lt_unwind_<machine>.c that is
 * built, through lt_unwind_walk_tmpl.h; the hooks call it before and after lt_unwind.
 *
 * Why a recalled id is right. A memo holds the leaf's state (pc, sp, and fp where
 * an outer step needs it), the checks of every step from there to a base frame,
 * and the base's state and path hash. An event whose leaf has the same state makes
 * these checks from the inside outwards, ending at the first that fails: those
 * that hold prove each next state in turn, as in lt_unwind_core_tmpl.h, up to the base.
 * The base must then stand in the shadow, with its state and hash, and all checks
 * of the shadow outside it must hold. So a full unwind would end in the same
 * frames, and the path hash of the leaf, a function of the base's and of the
 * memo's frames, would have got the same id. Frames that are guessed, interrupted
 * or not fit to be matched are in no memo. A flush or a new salt makes another
 * epoch, and memos of another are void.
 *
 * It pays where paths recur and costs where they do not: so the share of hits is
 * looked at every so many events, and a program that has few is left alone for
 * thirty times as many.
 */
#ifndef LT_UNWIND_MEMO_TMPL_H
#define LT_UNWIND_MEMO_TMPL_H

#include "lt_unwind_core_tmpl.h"

/* Below this share of hits, in 256ths, looking costs more than it saves. Tests
 * set it to 0: always look. */
#ifndef LT_MEMO_WORTH
#define LT_MEMO_WORTH 48
#endif
#define LT_MEMO_TRIAL 512
#define LT_MEMO_PAUSE (30 * LT_MEMO_TRIAL)

static inline struct lt_memo *lt_memo_of(struct lt_unwinder_all *u, uintptr_t pc, uintptr_t sp)
{
    const uint64_t mixed = ((uint64_t)pc ^ (uint64_t)sp << 17) * 0x9e3779b97f4a7c15u;
    return &u->memos[mixed >> (64 - LT_MEMO_BITS)];
}

/* After a trial: is it worth going on? After a pause: try again. */
static __attribute__((noinline)) void lt_memo_judge(struct lt_unwinder_all *u)
{
    u->memo_on = !u->memo_on || u->memo_hits * 256 + 1 > LT_MEMO_WORTH * LT_MEMO_TRIAL;
    u->memo_left = u->memo_on ? LT_MEMO_TRIAL : LT_MEMO_PAUSE;
    u->memo_hits = 0;
}

uint32_t lt_unwind_recall(struct lt_unwinder *pub, const struct lt_frame_start *at)
{
    struct lt_unwinder_all *const u = (struct lt_unwinder_all *)pub;
    if (LT_UNLIKELY(--u->memo_left < 0))
        lt_memo_judge(u);
    if (!u->memo_on)
        return 0;
    const uintptr_t pc = lt_arch_strip(at->pc), sp = at->sp;
    const struct lt_memo *m = lt_memo_of(u, pc, sp);
    if (m->sp != sp || m->pc != pc || (LT_UNLIKELY(m->need_fp) && m->fp != at->fp) ||
        LT_UNLIKELY(m->epoch != __atomic_load_n(&lt_epoch, __ATOMIC_ACQUIRE) ||
                    u->epoch != m->epoch))
        return 0;
#if !LT_MUTATE_NO_VERIFY && !LT_MUTATE_NO_MEMO_CHECK
    const struct lt_point *const end = m->check + m->n;
    for (const struct lt_point *p = m->check; p != end; p++)
        if (lt_load(p->at) != p->word)
            return 0;
#endif
    const uint32_t base = m->base;
    const struct lt_frame *const e = &u->pub.frames[base];
    if (base >= u->pub.n || !u->pub.usable || e->hash != m->base_hash ||
        LT_POINT_SP(u, &u->pub.points[base]) != m->base_sp ||
        ((e->bits ^ m->base_bits) & LT_FRAME_FLAGS) ||
        (LT_UNLIKELY(e->bits & LT_FRAME_NEED_FP) && e->fp != m->base_fp))
        return 0;
    if (lt_verify(u, base) >= 0)
        return 0;
    u->memo_hits++;
    u->counters.events++;
    u->counters.recalled++;
    return m->id;
}

void lt_unwind_remember(struct lt_unwinder *pub, uint32_t id)
{
    struct lt_unwinder_all *const u = (struct lt_unwinder_all *)pub;
    const uint32_t kept = u->pub.kept, unfit = LT_FRAME_MODE | LT_FRAME_FULL | LT_FRAME_NO_MATCH;
    uint32_t at = u->pub.n, n = 0;
    if (!u->memo_on || kept == 0 || at < kept + 2 || at > kept + LT_MEMO_CHECKS || !id)
        return;
    at--;
    const struct lt_point *p = &u->pub.points[at];
    const struct lt_frame *e = &u->pub.frames[at];
    const struct lt_checks *c = u->checks + (e->bits >> LT_BITS_CHECKS);
    struct lt_memo *m = lt_memo_of(u, LT_POINT_PC(u, p), LT_POINT_SP(u, p));
    m->epoch = 0;
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* never half a memo, should a handler leave */
    m->pc = LT_POINT_PC(u, p);
    m->sp = LT_POINT_SP(u, p);
    m->fp = e->fp;
    m->need_fp = !LT_MUTATE_NO_FP_CHECK && (e->bits & LT_FRAME_NEED_FP);
    for (; at >= kept; at--, e--) {
        if (e->bits & unfit)
            return;
        p--;
        if (e->bits >> LT_BITS_CHECKS == e[-1].bits >> LT_BITS_CHECKS) {
            if (n == LT_MEMO_CHECKS)
                return;
            m->check[n++] = (struct lt_point){LT_POINT_SLOT(p), p->word};
            continue;
        }
        c--;
        if (n + c->n > LT_MEMO_CHECKS)
            return;
        for (uint32_t i = c->n; i > 0; i--)
            m->check[n++] = (struct lt_point){c->check[i - 1].addr, c->check[i - 1].val};
    }
    if (e->bits & unfit)
        return;
    m->n = n;
    m->base = at;
    m->base_hash = e->hash;
    m->base_sp = LT_POINT_SP(u, p);
    m->base_fp = e->fp;
    m->base_bits = e->bits;
    m->id = id;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    m->epoch = u->epoch;
}

#endif
