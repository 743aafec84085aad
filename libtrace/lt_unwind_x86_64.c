/* SPDX-License-Identifier: MIT
 *
 * The unwinder for x86-64: what a row of call frame information comes down to in
 * one word, and how to step by such a word. Owns nothing beyond what
 * lt_unwind_core_tmpl.h declares, which also argues why results are right; the walk
 * is lt_unwind_walk_tmpl.h's. Called by the hooks through lt_unwind.h.
 *
 * Slot of a word: n for "rbp saved at CFA - 8n", 1, the return address's own
 * slot, for "not saved". LT_KIND_ODD: the CFA is kept in a realigned frame, at
 * rbp + offset - 64 KiB, and rbp's old value where rbp points to.
 */
#define LT_ADDRESS_BITS 47
#define LT_IS_CODE(key) ((key) >> LT_ADDRESS_BITS == 0)

#include <stdint.h> /* tells which libc this is */

#if !defined(__GLIBC__)
#define LT_ARCH_HAS_BASE
#endif
#include "lt_unwind_x86_tmpl.h"

/* Offsets of registers in the kernel's signal frame, from the sp at which the
 * return trampoline starts. */
#define SIGNAL_RBP 120
#define SIGNAL_RSP 160
#define SIGNAL_RIP 168

#if !defined(__GLIBC__)
extern char lt_exit[] __asm__("exit") __attribute__((weak));
extern char lt_pthread_exit[] __asm__("pthread_exit") __attribute__((weak));
#endif

/* mov $15, %rax; syscall: rt_sigreturn, in a libc that describes it nowhere. */
static bool is_sigreturn(const struct lt_cfi_object *o, uintptr_t pc)
{
    static const char code[] = "\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05";
    return pc >= o->start && pc + sizeof code <= o->end &&
           memcmp((const void *)pc, code, sizeof code - 1) == 0;
}

#if !defined(__GLIBC__)
/* musl is built without FDEs. The caller of main or of a thread's function
 * hands its result to exit or pthread_exit: mov %rax or %eax, %rdi; call. */
static bool lt_arch_is_base(const struct lt_cfi_object *o, uintptr_t key)
{
    const uintptr_t pc = key + 1;
    const uint8_t *code = (const uint8_t *)pc;
    int32_t by;
    if (pc < o->start || pc + 16 > o->end)
        return false;
    code += code[0] == 0x48;
    code += (code[0] == 0x89 && code[1] == 0xc7) || (code[0] == 0x63 && code[1] == 0xf8) ? 2 : 0;
    memcpy(&by, code + 1, 4);
    const uintptr_t called = (uintptr_t)code + 5 + (uintptr_t)(intptr_t)by;
    return code[0] == 0xe8 &&
           (called == (uintptr_t)lt_exit || called == (uintptr_t)lt_pthread_exit);
}
#endif

static uint64_t classify_wide(uint32_t base, int64_t off, int64_t ra, int64_t fp)
{
    struct lt_wide w = {base, (int32_t)fp, (int32_t)ra, off};
    if (w.fp_slot != fp || w.ra_slot != ra)
        return LT_WORD(LT_KIND_FULL, 1, 0);
    unsigned i = lt_wide_put(&w);
    return i == LT_WIDE_COUNT ? LT_WORD(LT_KIND_FULL, 1, 0) : LT_WORD(LT_KIND_WIDE, 1, i);
}

static uint64_t lt_arch_classify_row(const struct lt_cfi_fde *fde, const struct lt_cfi_row *row,
                                     uintptr_t key)
{
    const uint64_t full = LT_WORD(LT_KIND_FULL, 1, 0);
    const struct lt_cfi_rule *ra = &row->reg[LT_CFI_RA], *fp = &row->reg[LT_CFI_FP];
    const struct lt_cfi_rule *cfa = &row->cfa;
    if (fde->ra != LT_CFI_RA)
        return LT_WORD(LT_KIND_NONE, 1, LT_NONE_BAD);
    if (ra->how == LT_CFI_UNDEFINED)
        return LT_WORD(LT_KIND_END, 1, 0);
    if (ra->how == LT_CFI_UNSPECIFIED)
        return LT_WORD(LT_KIND_NONE, 1, LT_NONE_BAD);
    if (LT_TEST_ALL_FULL)
        return full;
    if (fde->signal) {
        /* breg7 160 deref; breg7 168; breg7 120: what glibc writes for __restore_rt */
        bool kernel = expr_is(cfa, LT_CFI_VAL_EXPR, "\x77\xa0\x01\x06", 4) &&
                      expr_is(ra, LT_CFI_EXPR, "\x77\xa8\x01", 3) &&
                      expr_is(fp, LT_CFI_EXPR, "\x77\xf8\x00", 3);
        return kernel ? LT_WORD(LT_KIND_SIGNAL, 1, 0) : full;
    }
    if (ra->how != LT_CFI_OFFSET || ra->off == 0 || row->reg[LT_CFI_SP].how != LT_CFI_UNSPECIFIED)
        return full;

    int64_t off = row->cfa_off, fp_off = 0;
    uint32_t base = LT_KIND_SP;
    if (cfa->how == LT_CFI_REGISTER) {
        if (cfa->reg != LT_CFI_SP && cfa->reg != LT_CFI_FP)
            return full;
        if (cfa->reg == LT_CFI_FP)
            base = LT_KIND_FP;
    } else if (cfa->expr_len == 11 && memcmp(cfa->expr, "\x77\x08\x80\x00\x3f\x1a", 6) == 0 &&
               memcmp(cfa->expr + 7, "\x2a\x33\x24\x22", 4) == 0 && (cfa->expr[6] & 0xf0) == 0x30) {
        /* A PLT: sp + 8, 8 more from some byte of the 16-byte entry on. Only ever
         * interrupted, never returned to: the key is the pc. */
        off = 8 + ((key & 15) >= (cfa->expr[6] & 15u) ? 8 : 0);
    } else if (cfa->expr_len >= 3 && cfa->expr_len <= 5 && cfa->expr[0] == 0x76 &&
               cfa->expr[cfa->expr_len - 1] == 0x06) {
        /* breg6 n deref: the CFA kept in a realigned frame, and rbp saved where it
         * points to. */
        uint64_t v = 0;
        unsigned shift = 0;
        for (const uint8_t *p = cfa->expr + 1; shift < 21; p++, shift += 7) {
            v |= (uint64_t)(*p & 0x7f) << shift;
            if (*p & 0x80)
                continue;
            if (p + 2 != cfa->expr + cfa->expr_len)
                return full;
            off = (int64_t)(v << (57 - shift)) >> (57 - shift);
            break;
        }
        if (shift >= 21 || off % 8 || off / 8 < -DEREF_BIAS || off / 8 >= DEREF_BIAS)
            return full;
        if (ra->off != -8 || !expr_is(fp, LT_CFI_EXPR, "\x76\x00", 2))
            return full;
        return LT_WORD(LT_KIND_ODD, 1, (uint64_t)(off / 8 + DEREF_BIAS));
    } else {
        return full;
    }

    switch (fp->how) {
    case LT_CFI_OFFSET: fp_off = fp->off; break;
    case LT_CFI_UNSPECIFIED:
    case LT_CFI_UNDEFINED:
    case LT_CFI_SAME: break;
    default: return full;
    }
    if (off >= 0 && off % 8 == 0 && off / 8 <= LT_WORD_OFF_MAX && ra->off == -8 &&
        fp_off % 8 == 0 && (fp_off == 0 || (fp_off <= -16 && fp_off >= -63 * 8)))
        return LT_WORD(base, fp_off ? (uint64_t)(-fp_off / 8) : 1, (uint64_t)(off / 8));
    return classify_wide(base, off, ra->off, fp_off);
}

static bool lt_arch_is_sigreturn(enum lt_cfi_found found, const struct lt_cfi_object *o,
                                 uintptr_t key)
{
    return (found == LT_CFI_NO_FDE || found == LT_CFI_NO_TABLE) && is_sigreturn(o, key + 1);
}

static inline uint32_t lt_arch_odd(uint64_t word, struct lt_odd *o, const struct lt_state *s,
                                   uintptr_t *ra, uintptr_t *fp)
{
    if (LT_WORD_KIND(word) == LT_KIND_ODD)
        return lt_arch_realigned(word, o, s, ra, fp);
    o->cfa_slot = s->sp + SIGNAL_RSP;
    *ra = s->sp + SIGNAL_RIP;
    *fp = s->sp + SIGNAL_RBP;
    return 0;
}

#include "lt_unwind_walk_tmpl.h"

__asm__(".text\n.p2align 4\n.hidden lt_capture_registers\n.globl lt_capture_registers\n"
        ".type lt_capture_registers, @function\n"
        "lt_capture_registers:\n.cfi_startproc\n"
        "endbr64\n"
        "movq %rbx, 24(%rdi)\nmovq %rbp, 48(%rdi)\n"
        "leaq 8(%rsp), %rax\nmovq %rax, 56(%rdi)\n"
        "movq %r12, 96(%rdi)\nmovq %r13, 104(%rdi)\nmovq %r14, 112(%rdi)\nmovq %r15, 120(%rdi)\n"
        "movq (%rsp), %rax\nmovq %rax, 128(%rdi)\n"
        "ret\n.cfi_endproc\n.size lt_capture_registers, .-lt_capture_registers\n");
