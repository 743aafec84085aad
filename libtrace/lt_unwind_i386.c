/* SPDX-License-Identifier: MIT
 *
 * The unwinder for 32-bit x86: what a row of call frame information comes down
 * to in one word, and how to step by such a word. Owns nothing beyond what
 * lt_unwind_core_tmpl.h declares, which also argues why results are right; the walk
 * is lt_unwind_walk_tmpl.h's. Called by the hooks through lt_unwind.h.
 *
 * Slot of a word: n for "ebp saved at CFA - 4n", 1, the return address's own
 * slot, for "not saved". LT_KIND_ODD: the CFA is kept in a realigned frame (every
 * main, and what uses vectors), at ebp + offset - 32 KiB, and ebp's old value where
 * ebp points to. Signal frames, which the kernel describes in its vdso, are taken
 * with all registers.
 */
#define LT_ADDRESS_BITS 32
#define LT_IS_CODE(key) ((key) < 0xfffff000u)

#include "lt_unwind_x86_tmpl.h"

/* breg5 n deref, ebp saved where it points to: the CFA kept in a realigned frame. */
static uint64_t classify_realigned(const struct lt_cfi_row *row)
{
    const struct lt_cfi_rule *cfa = &row->cfa;
    const uint64_t full = LT_WORD(LT_KIND_FULL, 1, 0);
    int64_t off = 0;
    unsigned shift = 0;
    uint8_t byte;
    const uint8_t *p = cfa->expr + 1;
    if (cfa->expr_len < 3 || cfa->expr_len > 5 || cfa->expr[0] != 0x75 ||
        cfa->expr[cfa->expr_len - 1] != 0x06 ||
        !expr_is(&row->reg[LT_CFI_FP], LT_CFI_EXPR, "\x75\x00", 2))
        return full;
    do {
        byte = *p++;
        off |= (int64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80 && shift < 21);
    if (p + 1 != cfa->expr + cfa->expr_len)
        return full;
    if (byte & 0x40)
        off -= (int64_t)1 << shift;
    off /= 4;
    if (off < -DEREF_BIAS || off >= DEREF_BIAS)
        return full;
    return LT_WORD(LT_KIND_ODD, 1, (uint64_t)(off + DEREF_BIAS));
}

static uint64_t lt_arch_classify_row(const struct lt_cfi_fde *fde, const struct lt_cfi_row *row,
                                     uintptr_t key)
{
    (void)key;
    const uint64_t full = LT_WORD(LT_KIND_FULL, 1, 0);
    const struct lt_cfi_rule *ra = &row->reg[LT_CFI_RA], *fp = &row->reg[LT_CFI_FP];
    const struct lt_cfi_rule *cfa = &row->cfa;
    if (fde->ra != LT_CFI_RA)
        return LT_WORD(LT_KIND_NONE, 1, LT_NONE_BAD);
    if (ra->how == LT_CFI_UNDEFINED)
        return LT_WORD(LT_KIND_END, 1, 0);
    if (ra->how == LT_CFI_UNSPECIFIED)
        return LT_WORD(LT_KIND_NONE, 1, LT_NONE_BAD);
    if (LT_TEST_ALL_FULL || fde->signal)
        return full;
    if (ra->how != LT_CFI_OFFSET || ra->off != -4 || row->reg[LT_CFI_SP].how != LT_CFI_UNSPECIFIED)
        return full;
    if (cfa->how != LT_CFI_REGISTER)
        return classify_realigned(row);
    if (cfa->reg != LT_CFI_SP && cfa->reg != LT_CFI_FP)
        return full;

    const int64_t off = row->cfa_off, fp_off = fp->how == LT_CFI_OFFSET ? fp->off : 0;
    const uint32_t base = cfa->reg == LT_CFI_FP ? LT_KIND_FP : LT_KIND_SP;
    switch (fp->how) {
    case LT_CFI_OFFSET:
    case LT_CFI_UNSPECIFIED:
    case LT_CFI_UNDEFINED:
    case LT_CFI_SAME: break;
    default: return full;
    }
    if (off >= 0 && off % 4 == 0 && off / 4 <= LT_WORD_OFF_MAX && fp_off % 4 == 0 &&
        (fp_off == 0 || (fp_off <= -8 && fp_off >= -63 * 4)))
        return LT_WORD(base, fp_off ? (uint64_t)(-fp_off / 4) : 1, (uint64_t)(off / 4));
    struct lt_wide w = {base, (int32_t)fp_off, -4, off};
    unsigned i = w.fp_slot != fp_off ? LT_WIDE_COUNT : lt_wide_put(&w);
    return i == LT_WIDE_COUNT ? full : LT_WORD(LT_KIND_WIDE, 1, i);
}

static bool lt_arch_is_sigreturn(enum lt_cfi_found found, const struct lt_cfi_object *o,
                                 uintptr_t key)
{
    (void)found, (void)o, (void)key; /* rules describe it, if anything does */
    return false;
}

static inline uint32_t lt_arch_odd(uint64_t word, struct lt_odd *o, const struct lt_state *s,
                                   uintptr_t *ra, uintptr_t *fp)
{
    return lt_arch_realigned(word, o, s, ra, fp);
}

#include "lt_unwind_walk_tmpl.h"

__asm__(".text\n.p2align 4\n.hidden lt_capture_registers\n.globl lt_capture_registers\n"
        ".type lt_capture_registers, @function\n"
        "lt_capture_registers:\n.cfi_startproc\n"
        "endbr32\n"
        "movl 4(%esp), %eax\n"
        "movl %ebx, 24(%eax)\nmovl %ebp, 40(%eax)\nmovl %esi, 48(%eax)\nmovl %edi, 56(%eax)\n"
        "leal 4(%esp), %ecx\nmovl %ecx, 32(%eax)\n"
        "movl (%esp), %ecx\nmovl %ecx, 64(%eax)\n"
        "ret\n.cfi_endproc\n.size lt_capture_registers, .-lt_capture_registers\n");
