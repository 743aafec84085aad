/* SPDX-License-Identifier: MIT
 *
 * The common part of the unwinders of both x86: the return address lies right below
 * the CFA, and a rule's slot says where the frame pointer is saved, or, by being
 * the return address's own, that it is not. Included by the one
 * lt_unwind_<machine>.c that is built, if it is one of these, after LT_ADDRESS_BITS
 * and LT_IS_CODE; brings lt_unwind_core_tmpl.h.
 */
#ifndef LT_UNWIND_X86_TMPL_H
#define LT_UNWIND_X86_TMPL_H

#define LT_RAW_PC(slot, pc) (pc)
#define LT_GUESS_KNOWS_SP 1

/* A point is a state. */
#define LT_POINT_SLOT(p) ((p)->at - LT_UNIT)
#define LT_POINT_SP(u, p) ((p)->at)
#define LT_POINT_PC(u, p) ((p)->word)
#define LT_POINT_SET(p, frame, pc, sp) (*(p) = (struct lt_point){(sp), (pc)})
#define LT_POINT_PLACE(p, bits, pc, sp) ((void)0)

#include "lt_unwind_core_tmpl.h"

#define DEREF_BIAS 8192 /* in words, of the offset of LT_KIND_ODD */

/* The call before a return address may be its function's last instruction. */
static inline uintptr_t lt_arch_key(uintptr_t pc, uint32_t mode)
{
    return pc - 1 + (mode & LT_FRAME_EXACT);
}

static inline uint64_t lt_arch_pack(uintptr_t key)
{
    return key;
}

static inline uintptr_t lt_arch_strip(uintptr_t pc)
{
    return pc;
}

static inline void lt_arch_slots(unsigned slot, uintptr_t cfa, uintptr_t *ra, uintptr_t *fp)
{
    *ra = cfa - LT_UNIT;
    *fp = slot == 1 ? 0 : cfa - slot * LT_UNIT;
}

/* Without a branch: where fp is not saved, the return address is read again. */
static inline void lt_arch_step(unsigned slot, uintptr_t cfa, uintptr_t *pc, uintptr_t *fp)
{
    const uintptr_t saved = lt_load(cfa - slot * LT_UNIT);
    *pc = lt_load(cfa - LT_UNIT);
    *fp = __builtin_expect_with_probability(slot != 1, 1, 0.5) ? saved : *fp;
}

/* LT_KIND_ODD, a realigned frame; *ra is relative to the CFA, which is yet to be
 * read. Returns flags. */
static inline uint32_t lt_arch_realigned(uint64_t word, struct lt_odd *o, const struct lt_state *s,
                                         uintptr_t *ra, uintptr_t *fp)
{
    o->cfa_slot = s->fp + LT_WORD_BYTES(word) - DEREF_BIAS * LT_UNIT;
    *ra = (uintptr_t)0 - LT_UNIT;
    *fp = s->fp;
    return LT_FRAME_USES_FP;
}

static bool expr_is(const struct lt_cfi_rule *r, enum lt_cfi_how how, const char *bytes, size_t n)
{
    return r->how == how && r->expr_len == n && memcmp(r->expr, bytes, n) == 0;
}

/* There is none, and no rule that says so. */
static inline uintptr_t lt_arch_link(const struct lt_odd *signal)
{
    return signal->ra_slot;
}

#endif
