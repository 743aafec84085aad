/* SPDX-License-Identifier: MIT
 *
 * DWARF expressions as they occur in call frame information. Owns nothing; the
 * operand stack is the caller's. Invariant: ends, whatever the bytes, and never
 * leaves the operand stack. Included by lt_cfi.c alone.
 */
#ifndef LT_CFI_EXPR_H
#define LT_CFI_EXPR_H

#include "lt_cfi.h"
#include "lt_cfi_read.h"

/* A branch may go backwards; no compiler writes a loop into unwind rows. */
#define LT_EXPR_STEPS 256

static inline uint64_t lt_expr_binary(uint8_t op, uint64_t a, uint64_t b, bool *bad)
{
    switch (op) {
    case 0x1a: return a & b;
    case 0x1b:
        if (b == 0 || ((int64_t)b == -1 && (int64_t)a == INT64_MIN)) {
            *bad = true;
            return 0;
        }
        return (uint64_t)((int64_t)a / (int64_t)b);
    case 0x1c: return a - b;
    case 0x1d:
        if (b == 0) {
            *bad = true;
            return 0;
        }
        return a % b;
    case 0x1e: return a * b;
    case 0x21: return a | b;
    case 0x22: return a + b;
    case 0x24: return b < 64 ? a << b : 0;
    case 0x25: return b < 64 ? a >> b : 0;
    case 0x26: return (uint64_t)((int64_t)a >> (b < 64 ? b : 63));
    case 0x27: return a ^ b;
    case 0x29: return a == b;
    case 0x2a: return (int64_t)a >= (int64_t)b;
    case 0x2b: return (int64_t)a > (int64_t)b;
    case 0x2c: return (int64_t)a <= (int64_t)b;
    case 0x2d: return (int64_t)a < (int64_t)b;
    case 0x2e: return a != b;
    default: *bad = true; return 0;
    }
}

/* Evaluate with `first` on the stack, if there is one. */
static bool lt_expr_eval(struct lt_cfi_scratch *s, const struct lt_cfi_rule *rule,
                         const struct lt_cfi_regs *regs, const uint64_t *first, uint64_t *out)
{
    uint64_t *const stack = s->stack;
    const uint8_t *const begin = rule->expr;
    struct lt_reader r = {begin, begin + rule->expr_len, false};
    unsigned n = 0, steps = 0;

    if (first)
        stack[n++] = *first;
    while (r.p < r.end && !r.bad) {
        uint8_t op = (uint8_t)lt_take(&r, 1);
        uint64_t v, reg;
        if (++steps > LT_EXPR_STEPS)
            return false;
        if (op == 0x96)
            continue; /* nop */

        /* Operators that change or drop what is there. */
        if (op == 0x06 || op == 0x94 || op == 0x19 || op == 0x1f || op == 0x20 || op == 0x23) {
            if (n < 1)
                return false;
            v = stack[n - 1];
            if ((op == 0x06 || op == 0x94) && !lt_cfi_may_load(s, v))
                return false;
            if (op == 0x06) {
                v = lt_load(v);
            } else if (op == 0x94) {
                uint64_t size = lt_take(&r, 1);
                if (size == 0 || size > 8)
                    return false;
                uint64_t got = 0;
                memcpy(&got, (const void *)(uintptr_t)v, size);
                v = got;
            } else if (op == 0x19) {
                v = (int64_t)v < 0 ? 0 - v : v;
            } else if (op == 0x1f) {
                v = 0 - v;
            } else if (op == 0x20) {
                v = ~v;
            } else {
                v += lt_take_uleb(&r);
            }
            stack[n - 1] = v;
            continue;
        }
        if (op == 0x13) { /* drop */
            if (n-- < 1)
                return false;
            continue;
        }
        if (op == 0x16 || op == 0x17) { /* swap, rot */
            unsigned k = op == 0x16 ? 2 : 3;
            if (n < k)
                return false;
            v = stack[n - 1];
            for (unsigned i = n - 1; i > n - k; i--)
                stack[i] = stack[i - 1];
            stack[n - k] = v;
            continue;
        }
        if (op == 0x28 || op == 0x2f) { /* bra, skip */
            int64_t by = (int16_t)lt_take(&r, 2);
            if (op == 0x28) {
                if (n-- < 1)
                    return false;
                if (stack[n] == 0)
                    continue;
            }
            if (by < begin - r.p || by > r.end - r.p)
                return false;
            r.p += by;
            continue;
        }
        if ((op >= 0x1a && op <= 0x1e) || op == 0x21 || op == 0x22 || (op >= 0x24 && op <= 0x2e)) {
            if (n < 2)
                return false;
            n--;
            stack[n - 1] = lt_expr_binary(op, stack[n - 1], stack[n], &r.bad);
            continue;
        }

        /* Operators that push. */
        if (n == LT_CFI_STACK)
            return false;
        if (op == 0x03) {
            v = lt_take(&r, sizeof(uintptr_t));
        } else if (op >= 0x08 && op <= 0x0f) { /* const1u const1s .. const8s */
            unsigned size = 1u << ((op - 0x08) / 2), unused = 64 - size * 8;
            v = lt_take(&r, size);
            if (op & 1)
                v = (uint64_t)((int64_t)(v << unused) >> unused);
        } else if (op == 0x10 || op == 0x11) {
            v = op & 1 ? (uint64_t)lt_take_sleb(&r) : lt_take_uleb(&r);
        } else if (op == 0x12 || op == 0x14 || op == 0x15) { /* dup over pick */
            uint64_t k = op == 0x12 ? 0 : op == 0x14 ? 1 : lt_take(&r, 1);
            if (k >= n)
                return false;
            v = stack[n - 1 - k];
        } else if (op >= 0x30 && op <= 0x4f) {
            v = op - 0x30u;
        } else if (op >= 0x50 && op <= 0x6f) {
            if (op - 0x50 >= LT_CFI_REGS)
                return false;
            v = regs->r[op - 0x50];
        } else if ((op >= 0x70 && op <= 0x8f) || op == 0x92) {
            reg = op == 0x92 ? lt_take_uleb(&r) : op - 0x70u;
            if (reg >= LT_CFI_REGS)
                return false;
            v = regs->r[reg] + (uint64_t)lt_take_sleb(&r);
        } else {
            return false;
        }
        stack[n++] = v;
    }
    if (r.bad || n == 0)
        return false;
    *out = stack[n - 1];
    return true;
}

#endif
