/* SPDX-License-Identifier: MIT
 *
 * The unwinder for AArch64: what a row of call frame information comes down to in
 * one word, and how to step by such a word. Owns nothing beyond what
 * lt_unwind_core_tmpl.h declares, which also argues why results are right; the walk
 * is lt_unwind_walk_tmpl.h's. Called by the hooks through lt_unwind.h.
 *
 * Slot of a word: n for "return address at CFA - 8n", x29 in the word below it.
 * A frame record at the bottom of a large frame is a wide rule, so is a frame that
 * saves x30 and not x29. LT_KIND_ODD does not occur.
 *
 * Return addresses may be signed (pointer authentication). Checks compare the
 * raw word; keys, frames and hashes have the signature removed.
 */
#define LT_ADDRESS_BITS 48
#define LT_RAW_PC(slot, pc) ((void)(pc), lt_load(slot))
#define LT_IS_CODE(key) ((key) >> LT_ADDRESS_BITS == 0)
#define LT_GUESS_KNOWS_SP 0 /* the frame record may be anywhere in the frame */

/* A return address may lie anywhere in the inner frame and be signed: a point
 * tells only where it is, and is known when the inner frame's step is. */
#define LT_POINT_SLOT(p) ((p)->at)
#define LT_POINT_SP(u, p) ((u)->pub.frames[(p) - (u)->pub.points].sp)
#define LT_POINT_PC(u, p) ((u)->pub.frames[(p) - (u)->pub.points].pc)
#define LT_POINT_SET(p, frame, pc_, sp_) ((frame)->pc = (pc_), (frame)->sp = (sp_))
#define LT_POINT_PLACE(p, bits, pc, sp)                                                            \
    do {                                                                                           \
        uintptr_t slot_, fp_slot_;                                                                 \
        lt_arch_slots(LT_SLOT_OF(bits), sp, &slot_, &fp_slot_);                                    \
        if (!((bits)&LT_FRAME_ODD))                                                                \
            (p)[-1] = (struct lt_point){slot_, lt_load(slot_)};                                    \
    } while (0)

#include "lt_unwind_core_tmpl.h"

/* Offsets of registers in the kernel's signal frame, from the sp at which
 * rt_sigreturn is called: behind siginfo_t (128 bytes) and the head of
 * ucontext_t (176) come the fault address, x0..x30, sp, pc. */
#define SIGNAL_X29 (128 + 176 + 8 + 29 * 8)
#define SIGNAL_X30 (SIGNAL_X29 + 8)
#define SIGNAL_SP (SIGNAL_X29 + 16)
#define SIGNAL_PC (SIGNAL_X29 + 24)

/* mov x8, #139; svc #0: rt_sigreturn. The vdso describes it by a frame record
 * that not every kernel writes, so the code is asked first. */
static bool is_sigreturn(uintptr_t pc)
{
    const uint32_t *code = (const uint32_t *)pc;
    return code[0] == 0xd2801168u && code[1] == 0xd4000001u;
}

static bool is_sigreturn_in(const struct lt_cfi_object *o, uintptr_t pc)
{
    return pc % 4 == 0 && pc >= o->start && pc + 8 <= o->end && is_sigreturn(pc);
}

/* Emulators put the trampoline on a page of no object. An address that is no code
 * may be no memory either, so the kernel is asked: once a pc, for the answer is cached. */
static bool is_sigreturn_nowhere(uintptr_t pc)
{
    return pc % 4 == 0 && lt_cfi_readable(pc) && is_sigreturn(pc);
}

static uint64_t lt_arch_classify_row(const struct lt_cfi_fde *fde, const struct lt_cfi_row *row,
                                     uintptr_t key)
{
    (void)key;
    const uint64_t full = LT_WORD(LT_KIND_FULL, 0, 0);
    const struct lt_cfi_rule *ra = &row->reg[LT_CFI_RA], *fp = &row->reg[LT_CFI_FP];
    const bool link = ra->how == LT_CFI_UNSPECIFIED || ra->how == LT_CFI_SAME;
    if (fde->ra != LT_CFI_RA)
        return LT_WORD(LT_KIND_NONE, 0, LT_NONE_BAD);
    if (ra->how == LT_CFI_UNDEFINED)
        return LT_WORD(LT_KIND_END, 0, 0);
    if (LT_TEST_ALL_FULL || fde->signal)
        return full;
    if (row->cfa.how != LT_CFI_REGISTER || row->reg[LT_CFI_SP].how != LT_CFI_UNSPECIFIED ||
        (row->cfa.reg != LT_CFI_SP && row->cfa.reg != LT_CFI_FP))
        return full;
    if (!link && (ra->how != LT_CFI_OFFSET || ra->off == 0))
        return full;
    const bool saved = fp->how == LT_CFI_OFFSET;
    if (!saved && fp->how != LT_CFI_UNSPECIFIED && fp->how != LT_CFI_SAME &&
        fp->how != LT_CFI_UNDEFINED)
        return full;

    const int64_t off = row->cfa_off, ra_off = link ? 0 : ra->off, fp_off = saved ? fp->off : 0;
    const uint32_t base = row->cfa.reg == LT_CFI_FP ? LT_KIND_FP : LT_KIND_SP;
    if (off >= 0 && off % 8 == 0 && off / 8 <= LT_WORD_OFF_MAX && ra_off % 8 == 0 && ra_off < 0 &&
        ra_off >= -63 * 8) {
        if (saved && fp_off == ra_off - 8)
            return LT_WORD(base, (uint64_t)(-ra_off / 8), (uint64_t)(off / 8));
    }
    struct lt_wide w = {base, (int32_t)fp_off, (int32_t)ra_off, off};
    unsigned i = w.fp_slot != fp_off || w.ra_slot != ra_off ? LT_WIDE_COUNT : lt_wide_put(&w);
    return i == LT_WIDE_COUNT ? full : LT_WORD(LT_KIND_WIDE, 0, i);
}

static bool lt_arch_is_sigreturn(enum lt_cfi_found found, const struct lt_cfi_object *o,
                                 uintptr_t key)
{
    if (o->end && is_sigreturn_in(o, key + 4))
        return true;
    return found == LT_CFI_NO_OBJECT && is_sigreturn_nowhere(key + 4);
}

/* The call before a return address may be its function's last instruction. */
static inline uintptr_t lt_arch_key(uintptr_t pc, uint32_t mode)
{
    return mode & LT_FRAME_EXACT ? pc : pc - 4;
}

/* Instructions are words of 4 bytes. */
static inline uint64_t lt_arch_pack(uintptr_t key)
{
    return key >> 2;
}

/* xpaclri: a nop where there is no pointer authentication. */
static inline uintptr_t lt_arch_strip(uintptr_t pc)
{
    register uintptr_t x30 __asm__("x30") = pc;
    __asm__("hint #7" : "+r"(x30));
    return x30;
}

static inline void lt_arch_slots(unsigned slot, uintptr_t cfa, uintptr_t *ra, uintptr_t *fp)
{
    *ra = cfa - slot * 8ul;
    *fp = *ra - 8;
}

static inline void lt_arch_step(unsigned slot, uintptr_t cfa, uintptr_t *pc, uintptr_t *fp)
{
    *pc = lt_arch_strip(lt_load(cfa - slot * 8ul));
    *fp = lt_load(cfa - slot * 8ul - 8);
}

static inline uint32_t lt_arch_odd(uint64_t word, struct lt_odd *o, const struct lt_state *s,
                                   uintptr_t *ra, uintptr_t *fp)
{
    (void)word;
    o->cfa_slot = s->sp + SIGNAL_SP;
    *ra = s->sp + SIGNAL_PC;
    *fp = s->sp + SIGNAL_X29;
    return 0;
}

/* x30 in the frame whose pc slot is signal's. */
static inline uintptr_t lt_arch_link(const struct lt_odd *signal)
{
    return signal->cfa_slot - (SIGNAL_SP - SIGNAL_X30);
}

#include "lt_unwind_walk_tmpl.h"

__asm__(".text\n.p2align 4\n.hidden lt_capture_registers\n.globl lt_capture_registers\n"
        ".type lt_capture_registers, @function\n"
        "lt_capture_registers:\n.cfi_startproc\n"
        "hint #34\n" /* bti c */
        "stp x19, x20, [x0, #152]\nstp x21, x22, [x0, #168]\nstp x23, x24, [x0, #184]\n"
        "stp x25, x26, [x0, #200]\nstp x27, x28, [x0, #216]\nstp x29, x30, [x0, #232]\n"
        "mov x1, sp\nstr x1, [x0, #248]\n"
        "ret\n.cfi_endproc\n.size lt_capture_registers, .-lt_capture_registers\n");
