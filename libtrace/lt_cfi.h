/* SPDX-License-Identifier: MIT
 *
 * Unwind information of the code mapped in this process: from a program counter
 * to the row of DWARF call frame information that holds there, and from a row
 * and a set of registers to the caller's registers.
 *
 * Invariant: all working memory is the caller's lt_cfi_scratch; the target's
 * stack holds a few words. Nothing is cached here. Only the unwinder calls this.
 *
 * Unwind information is trusted as far as the code it belongs to: lengths are
 * bounded and loops end, but a row that names a wrong address is followed.
 */
#ifndef LT_CFI_H
#define LT_CFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

#if defined(__x86_64__)
#define LT_CFI_REGS 17 /* rax rdx rcx rbx rsi rdi rbp rsp r8..r15 rip */
#define LT_CFI_SP 7
#define LT_CFI_FP 6
#define LT_CFI_RA 16
#elif defined(__i386__)
#define LT_CFI_REGS 9 /* eax ecx edx ebx esp ebp esi edi eip */
#define LT_CFI_SP 4
#define LT_CFI_FP 5
#define LT_CFI_RA 8
#elif defined(__aarch64__)
#define LT_CFI_REGS 35 /* x0..x30 sp - - ra_sign_state */
#define LT_CFI_SP 31
#define LT_CFI_FP 29
#define LT_CFI_RA 30
#define LT_CFI_SIGN_STATE 34
#else
#error "no unwinder for this architecture"
#endif

enum lt_cfi_how {
    LT_CFI_UNSPECIFIED,
    LT_CFI_UNDEFINED,
    LT_CFI_SAME,
    LT_CFI_OFFSET,     /* saved at CFA + off */
    LT_CFI_VAL_OFFSET, /* is CFA + off */
    LT_CFI_REGISTER,   /* is register reg */
    LT_CFI_EXPR,       /* saved at the address the expression yields */
    LT_CFI_VAL_EXPR    /* is what the expression yields */
};

struct lt_cfi_rule {
    uint8_t how;
    uint8_t reg;
    uint16_t expr_len;
    union {
        int64_t off;
        const uint8_t *expr;
    };
};

/* The CFA is LT_CFI_REGISTER (reg + off, kept in cfa_off) or LT_CFI_VAL_EXPR. */
struct lt_cfi_row {
    struct lt_cfi_rule cfa;
    int64_t cfa_off;
    struct lt_cfi_rule reg[LT_CFI_REGS];
};

struct lt_cfi_regs {
    uint64_t r[LT_CFI_REGS];
};

struct lt_cfi_object {
    uintptr_t start, end; /* of the mapping; 0 when the code is in no object */
    const void *link_map;
    const uint8_t *hdr; /* .eh_frame_hdr, NULL without one */
};

struct lt_cfi_fde {
    uintptr_t begin, end;
    const uint8_t *insn, *insn_end;
    const uint8_t *cie_insn, *cie_insn_end;
    uint64_t code_align;
    int64_t data_align;
    uint8_t ra;
    bool signal;
};

/* Layout of glibc's struct dl_find_object, of which only a prefix is read. */
struct lt_dl_find_object {
    unsigned long long flags;
    void *map_start, *map_end;
    void *link_map;
    void *eh_frame;
    unsigned long long reserved[11];
};

#define LT_CFI_REMEMBER 8
#define LT_CFI_STACK 32

struct lt_cfi_scratch {
    uintptr_t low, high; /* known to be readable: [low, high) */
    uintptr_t page;      /* likewise, as the kernel said; 0: none */
    struct lt_dl_find_object found;
    struct lt_cfi_object object;
    struct lt_cfi_fde fde;
    struct lt_cfi_regs next;
    uint64_t stack[LT_CFI_STACK];
    struct lt_cfi_row row;
    struct lt_cfi_row initial;
    struct lt_cfi_row remembered[LT_CFI_REMEMBER];
};

enum lt_cfi_found {
    LT_CFI_FOUND,
    LT_CFI_NO_FDE,    /* the object has unwind information, none for this pc */
    LT_CFI_NO_TABLE,  /* the object has none at all */
    LT_CFI_NO_OBJECT, /* no object here: generated code, or no code */
    LT_CFI_BAD        /* unwind information that cannot be read */
};

/* Find the FDE that covers pc; fills s->object and s->fde. */
enum lt_cfi_found lt_cfi_find(struct lt_cfi_scratch *s, uintptr_t pc);

/* Run s->fde up to pc; fills s->row. */
bool lt_cfi_run(struct lt_cfi_scratch *s, uintptr_t pc);

/* Replace the registers by the caller's, as s->row says. False where a rule cannot be
 * followed, or names a word that cannot be read: unwind information may lie. The
 * registers are then untouched. */
bool lt_cfi_apply(struct lt_cfi_scratch *s, struct lt_cfi_regs *regs);

/* True if the word at addr can be read: it lies in [s->low, s->high) or on s->page, or
 * the kernel says so, whose answer becomes s->page. */
bool lt_cfi_may_load(struct lt_cfi_scratch *s, uint64_t addr);

/* The kernel's answer: a system call. */
bool lt_cfi_readable(uintptr_t addr);

/* Frames of generated code. */
void lt_cfi_register(const void *eh_frame);
void lt_cfi_deregister(const void *eh_frame);

/* Where libc has no _dl_find_object: take the list of objects anew. Takes the
 * loader's lock, so never in a hook. Does nothing where it is not needed. `each`
 * stands for dl_iterate_phdr. */
struct dl_phdr_info;
void lt_cfi_refresh(int (*each)(int (*)(struct dl_phdr_info *, size_t, void *), void *));

/* One word of the target's memory. Not instrumented by sanitizers: the words
 * that an unwinder reads include what they call out of bounds. */
static inline uint64_t lt_load(uintptr_t addr)
{
#if defined(__SANITIZE_ADDRESS__) && defined(__x86_64__)
    uint64_t v;
    __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(addr) : "memory");
    return v;
#else
    return *(const volatile uintptr_t *)addr;
#endif
}

#pragma GCC visibility pop

#endif
