/* SPDX-License-Identifier: MIT
 *
 * Call frame information: the search of .eh_frame_hdr, the interpreter of
 * .eh_frame, the DWARF expressions in it. Owns nothing but the list of frames
 * that generated code registered and, where libc offers no _dl_find_object, a
 * snapshot of the loaded objects.
 *
 * Invariant: callable from any hook and any signal handler; reads mapped unwind
 * information, writes only the caller's scratch. Called on a rule cache miss and
 * for frames that need all registers.
 */
#include "lt_cfi.h"
#include "lt_cfi_expr.h"
#include "lt_cfi_read.h"
#include "lt_sys.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>

/* Since glibc 2.35: lock-free and signal-safe, unlike dl_iterate_phdr, which
 * waits for a lock that dlclose holds while it calls free. */
extern int lt_find_object(void *addr, struct lt_dl_find_object *out) __asm__("_dl_find_object")
    __attribute__((weak));

/* Enter the record at p: body and its end. False at the terminator. */
static bool enter_record(const uint8_t *p, struct lt_reader *r)
{
    uint32_t len;
    memcpy(&len, p, 4);
    if (len == 0)
        return false;
    r->p = p + 4;
    r->bad = false;
    if (len == 0xffffffffu) {
        uint64_t wide;
        memcpy(&wide, r->p, 8);
        r->p += 8;
        r->end = r->p + wide;
    } else {
        r->end = r->p + len;
    }
    return true;
}

static bool parse_cie(const uint8_t *p, struct lt_cfi_fde *f, uint8_t *enc, bool *sized)
{
    struct lt_reader r;
    if (!enter_record(p, &r) || lt_take(&r, 4) != 0)
        return false;
    uint8_t version = (uint8_t)lt_take(&r, 1);
    const char *aug = (const char *)r.p;
    while (!r.bad && lt_take(&r, 1) != 0) {
    }
    if (r.bad || (version != 1 && version != 3 && version != 4))
        return false;
    if (version == 4)
        lt_skip(&r, 2); /* address and segment size */
    f->code_align = lt_take_uleb(&r);
    f->data_align = lt_take_sleb(&r);
    uint64_t ra = version == 1 ? lt_take(&r, 1) : lt_take_uleb(&r);
    if (ra >= LT_CFI_REGS)
        return false;
    f->ra = (uint8_t)ra;
    f->signal = false;
    *enc = 0;
    *sized = false;
    if (*aug == 'z') {
        uint64_t len = lt_take_uleb(&r);
        const uint8_t *body = r.p;
        *sized = true;
        for (aug++; *aug && !r.bad; aug++) {
            if (*aug == 'R') {
                *enc = (uint8_t)lt_take(&r, 1);
            } else if (*aug == 'P') {
                uint8_t penc = (uint8_t)lt_take(&r, 1);
                lt_take_encoded(&r, penc & 0x7f, 0);
            } else if (*aug == 'L') {
                lt_take(&r, 1);
            } else if (*aug == 'S') {
                f->signal = true;
            } else if (*aug != 'B') {
                break; /* unknown, but its size is not */
            }
        }
        r.p = body;
        lt_skip(&r, len);
    } else if (*aug) {
        return false;
    }
    f->cie_insn = r.p;
    f->cie_insn_end = r.end;
    return !r.bad;
}

/* Parse the FDE at p. False if it is a CIE or cannot be read. */
static bool parse_fde(const uint8_t *p, struct lt_cfi_fde *f)
{
    struct lt_reader r;
    uint8_t enc;
    bool sized;
    if (!enter_record(p, &r))
        return false;
    const uint8_t *id = r.p;
    uint32_t delta = (uint32_t)lt_take(&r, 4);
    if (r.bad || delta == 0 || !parse_cie(id - delta, f, &enc, &sized))
        return false;
    f->begin = lt_take_encoded(&r, enc & 0x7f, 0);
    f->end = f->begin + lt_take_encoded(&r, enc & 0x0f, 0);
    if (sized)
        lt_skip(&r, lt_take_uleb(&r));
    f->insn = r.p;
    f->insn_end = r.end;
    return !r.bad;
}

static enum lt_cfi_found scan_section(const uint8_t *p, uintptr_t pc, struct lt_cfi_fde *f)
{
    struct lt_reader r;
    while (enter_record(p, &r)) {
        if (parse_fde(p, f) && pc >= f->begin && pc < f->end)
            return LT_CFI_FOUND;
        p = r.end;
    }
    return LT_CFI_NO_FDE;
}

/* The sorted table of .eh_frame_hdr: pairs of (begin of function, FDE), both
 * relative to the header. */
static enum lt_cfi_found search_hdr(const uint8_t *hdr, uintptr_t pc, struct lt_cfi_fde *f)
{
    struct lt_reader r = {hdr, hdr + 64, false};
    uint8_t version = (uint8_t)lt_take(&r, 1);
    uint8_t frame_enc = (uint8_t)lt_take(&r, 1);
    uint8_t count_enc = (uint8_t)lt_take(&r, 1);
    uint8_t table_enc = (uint8_t)lt_take(&r, 1);
    if (version != 1)
        return LT_CFI_BAD;
    uintptr_t section = lt_take_encoded(&r, frame_enc, (uintptr_t)hdr);
    if (count_enc == LT_PE_OMIT || table_enc != LT_PE_TABLE)
        return section && !r.bad ? scan_section((const uint8_t *)section, pc, f) : LT_CFI_BAD;
    uint64_t count = lt_take_encoded(&r, count_enc, (uintptr_t)hdr);
    if (r.bad || count == 0)
        return LT_CFI_NO_FDE;
    int64_t want = (intptr_t)(pc - (uintptr_t)hdr);
    if (want != (int32_t)want)
        return LT_CFI_NO_FDE;
    const int32_t *table = (const int32_t *)(const void *)r.p;
    uint64_t lo = 0, hi = count; /* table[lo].begin <= want, if any is */
    while (hi - lo > 1) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (table[mid * 2] <= want) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    if (!parse_fde(hdr + table[lo * 2 + 1], f))
        return LT_CFI_BAD;
    return pc >= f->begin && pc < f->end ? LT_CFI_FOUND : LT_CFI_NO_FDE;
}

/* Registered frames. A slot is taken by writing its section last and freed by
 * clearing it; readers see either nothing or a whole slot. */
#define REGISTERED 512
static struct {
    const uint8_t *section;
    uintptr_t begin, end;
} registered[REGISTERED];
static unsigned registered_top;

void lt_cfi_register(const void *eh_frame)
{
    struct lt_cfi_fde f;
    struct lt_reader r;
    uintptr_t begin = UINTPTR_MAX, end = 0;
    const uint8_t *p = eh_frame;
    for (; enter_record(p, &r); p = r.end) {
        if (!parse_fde(p, &f))
            continue;
        if (f.begin < begin)
            begin = f.begin;
        if (f.end > end)
            end = f.end;
    }
    if (begin >= end)
        return;
    for (unsigned i = 0; i < REGISTERED; i++) {
        const uint8_t *none = NULL, *busy = (const uint8_t *)1;
        if (!__atomic_compare_exchange_n(&registered[i].section, &none, busy, false,
                                         __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            continue;
        registered[i].begin = begin;
        registered[i].end = end;
        unsigned top = __atomic_load_n(&registered_top, __ATOMIC_RELAXED);
        while (top < i + 1 && !__atomic_compare_exchange_n(&registered_top, &top, i + 1, false,
                                                           __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
        }
        __atomic_store_n(&registered[i].section, (const uint8_t *)eh_frame, __ATOMIC_RELEASE);
        return;
    }
}

void lt_cfi_deregister(const void *eh_frame)
{
    for (unsigned i = 0; i < REGISTERED; i++) {
        if (__atomic_load_n(&registered[i].section, __ATOMIC_RELAXED) != eh_frame)
            continue;
        __atomic_store_n(&registered[i].section, NULL, __ATOMIC_RELEASE);
        return;
    }
}

static enum lt_cfi_found search_registered(uintptr_t pc, struct lt_cfi_fde *f)
{
    unsigned top = __atomic_load_n(&registered_top, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < top; i++) {
        const uint8_t *section = __atomic_load_n(&registered[i].section, __ATOMIC_ACQUIRE);
        if ((uintptr_t)section <= 1 || pc < registered[i].begin || pc >= registered[i].end)
            continue;
        if (scan_section(section, pc, f) == LT_CFI_FOUND)
            return LT_CFI_FOUND;
    }
    return LT_CFI_NO_OBJECT;
}

/* Two snapshots, so that a reader never sees one being written. */
#define OBJECTS 512
static struct lt_cfi_object objects[2][OBJECTS];
static unsigned object_count[2];
static unsigned object_side;

static int note_object(struct dl_phdr_info *info, size_t size, void *data)
{
    unsigned side = *(unsigned *)data;
    (void)size;
    if (object_count[side] == OBJECTS)
        return 1;
    struct lt_cfi_object *o = &objects[side][object_count[side]];
    o->start = UINTPTR_MAX;
    o->end = 0;
    o->hdr = NULL;
    o->link_map = info->dlpi_name;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uintptr_t at = info->dlpi_addr + ph->p_vaddr;
        if (ph->p_type == PT_GNU_EH_FRAME)
            o->hdr = (const uint8_t *)at;
        if (ph->p_type != PT_LOAD)
            continue;
        if (at < o->start)
            o->start = at;
        if (at + ph->p_memsz > o->end)
            o->end = at + ph->p_memsz;
    }
    if (o->start < o->end)
        object_count[side]++;
    return 0;
}

void lt_cfi_refresh(int (*each)(int (*)(struct dl_phdr_info *, size_t, void *), void *))
{
    if (lt_find_object)
        return;
    unsigned side = !__atomic_load_n(&object_side, __ATOMIC_RELAXED);
    object_count[side] = 0;
    each(note_object, &side);
    __atomic_store_n(&object_side, side, __ATOMIC_RELEASE);
}

static bool find_object(struct lt_cfi_scratch *s, uintptr_t pc)
{
    if (lt_find_object) {
        if (lt_find_object((void *)pc, &s->found) != 0)
            return false;
        s->object.start = (uintptr_t)s->found.map_start;
        s->object.end = (uintptr_t)s->found.map_end;
        s->object.link_map = s->found.link_map;
        s->object.hdr = s->found.eh_frame;
        return true;
    }
    unsigned side = __atomic_load_n(&object_side, __ATOMIC_ACQUIRE);
    for (unsigned i = 0; i < object_count[side]; i++) {
        if (pc < objects[side][i].start || pc >= objects[side][i].end)
            continue;
        s->object = objects[side][i];
        return true;
    }
    return false;
}

enum lt_cfi_found lt_cfi_find(struct lt_cfi_scratch *s, uintptr_t pc)
{
    if (!find_object(s, pc)) {
        s->object.start = s->object.end = 0;
        return search_registered(pc, &s->fde);
    }
    if (!s->object.hdr)
        return LT_CFI_NO_TABLE;
    return search_hdr(s->object.hdr, pc, &s->fde);
}

static bool set_rule(struct lt_cfi_row *row, uint64_t reg, enum lt_cfi_how how, int64_t off)
{
    /* Vector and other registers beyond ours never matter to an outer frame. */
    if (reg >= LT_CFI_REGS)
        return true;
    row->reg[reg].how = (uint8_t)how;
    row->reg[reg].off = off;
    return true;
}

static void take_expr(struct lt_reader *r, struct lt_cfi_rule *rule, enum lt_cfi_how how)
{
    uint64_t len = lt_take_uleb(r);
    rule->how = (uint8_t)how;
    rule->expr = r->p;
    rule->expr_len = (uint16_t)len;
    if (len > UINT16_MAX)
        r->bad = true;
    lt_skip(r, len);
}

/* Interpret until the location passes pc. `initial` is the CIE's row, NULL while
 * it is being built. */
static bool run_program(struct lt_cfi_scratch *s, const uint8_t *p, const uint8_t *end,
                        uintptr_t pc, const struct lt_cfi_row *initial)
{
    struct lt_reader r = {p, end, false};
    struct lt_cfi_row *row = &s->row;
    const struct lt_cfi_fde *f = &s->fde;
    uintptr_t loc = f->begin;
    unsigned depth = 0;
    struct lt_cfi_rule unused;
    uint64_t reg;

    while (r.p < r.end && !r.bad) {
        uint8_t op = (uint8_t)lt_take(&r, 1);
        uint8_t low = op & 0x3f;
        switch (op & 0xc0) {
        case 0x40: loc += low * f->code_align; goto moved;
        case 0x80:
            set_rule(row, low, LT_CFI_OFFSET, (int64_t)lt_take_uleb(&r) * f->data_align);
            continue;
        case 0xc0: reg = low; goto restore;
        }
        switch (op) {
        case 0x00: continue; /* nop */
        case 0x01: loc = lt_take_encoded(&r, LT_PE_PCREL, 0); goto moved;
        case 0x02: loc += lt_take(&r, 1) * f->code_align; goto moved;
        case 0x03: loc += lt_take(&r, 2) * f->code_align; goto moved;
        case 0x04: loc += lt_take(&r, 4) * f->code_align; goto moved;
        case 0x05: /* offset_extended */
            reg = lt_take_uleb(&r);
            set_rule(row, reg, LT_CFI_OFFSET, (int64_t)lt_take_uleb(&r) * f->data_align);
            continue;
        case 0x06: reg = lt_take_uleb(&r); goto restore;
        case 0x07: set_rule(row, lt_take_uleb(&r), LT_CFI_UNDEFINED, 0); continue;
        case 0x08: set_rule(row, lt_take_uleb(&r), LT_CFI_SAME, 0); continue;
        case 0x09: { /* register */
            reg = lt_take_uleb(&r);
            uint64_t from = lt_take_uleb(&r);
            set_rule(row, reg, LT_CFI_REGISTER, 0);
            if (from >= LT_CFI_REGS)
                return false;
            if (reg < LT_CFI_REGS)
                row->reg[reg].reg = (uint8_t)from;
            continue;
        }
        case 0x0a: /* remember_state */
            if (depth == LT_CFI_REMEMBER)
                return false;
            s->remembered[depth++] = *row;
            continue;
        case 0x0b: /* restore_state */
            if (depth == 0)
                return false;
            *row = s->remembered[--depth];
            continue;
        case 0x0c:
        case 0x12: { /* def_cfa, def_cfa_sf */
            reg = lt_take_uleb(&r);
            row->cfa_off =
                op == 0x0c ? (int64_t)lt_take_uleb(&r) : lt_take_sleb(&r) * f->data_align;
            row->cfa.how = LT_CFI_REGISTER;
            row->cfa.reg = (uint8_t)reg;
            if (reg >= LT_CFI_REGS)
                return false;
            continue;
        }
        case 0x0d: /* def_cfa_register */
            reg = lt_take_uleb(&r);
            row->cfa.how = LT_CFI_REGISTER;
            row->cfa.reg = (uint8_t)reg;
            if (reg >= LT_CFI_REGS)
                return false;
            continue;
        case 0x0e: row->cfa_off = (int64_t)lt_take_uleb(&r); continue;
        case 0x13: row->cfa_off = lt_take_sleb(&r) * f->data_align; continue;
        case 0x0f: take_expr(&r, &row->cfa, LT_CFI_VAL_EXPR); continue;
        case 0x10:
        case 0x16: /* expression, val_expression */
            reg = lt_take_uleb(&r);
            take_expr(&r, reg < LT_CFI_REGS ? &row->reg[reg] : &unused,
                      op == 0x10 ? LT_CFI_EXPR : LT_CFI_VAL_EXPR);
            continue;
        case 0x11: /* offset_extended_sf */
            reg = lt_take_uleb(&r);
            set_rule(row, reg, LT_CFI_OFFSET, lt_take_sleb(&r) * f->data_align);
            continue;
        case 0x14: /* val_offset */
            reg = lt_take_uleb(&r);
            set_rule(row, reg, LT_CFI_VAL_OFFSET, (int64_t)lt_take_uleb(&r) * f->data_align);
            continue;
        case 0x15: /* val_offset_sf */
            reg = lt_take_uleb(&r);
            set_rule(row, reg, LT_CFI_VAL_OFFSET, lt_take_sleb(&r) * f->data_align);
            continue;
#if defined(__aarch64__)
        case 0x2d: /* negate_ra_state */ row->reg[LT_CFI_SIGN_STATE].off ^= 1; continue;
#endif
        case 0x2e: lt_take_uleb(&r); continue; /* GNU_args_size */
        case 0x2f:                             /* GNU_negative_offset_extended */
            reg = lt_take_uleb(&r);
            set_rule(row, reg, LT_CFI_OFFSET, -(int64_t)lt_take_uleb(&r) * f->data_align);
            continue;
        default: return false;
        }
    restore:
        if (reg < LT_CFI_REGS && initial)
            row->reg[reg] = initial->reg[reg];
        continue;
    moved:
        if (initial && loc > pc)
            return !r.bad;
    }
    return !r.bad;
}

bool lt_cfi_run(struct lt_cfi_scratch *s, uintptr_t pc)
{
    memset(&s->row, 0, sizeof s->row);
    if (!run_program(s, s->fde.cie_insn, s->fde.cie_insn_end, pc, NULL))
        return false;
    s->initial = s->row;
    return run_program(s, s->fde.insn, s->fde.insn_end, pc, &s->initial) && s->row.cfa.how;
}

/* The kernel copies a set of signals from there before it looks at `how`, which is
 * none. */
bool lt_cfi_readable(uintptr_t addr)
{
    return lt_syscall4(SYS_rt_sigprocmask, -1, addr, 0, 8) == -EINVAL;
}

bool lt_cfi_may_load(struct lt_cfi_scratch *s, uint64_t at)
{
    const uintptr_t addr = (uintptr_t)at, page = addr & ~(uintptr_t)4095;
    const size_t size = sizeof(uint64_t);
    if (addr >= s->low && addr < s->high && s->high - addr >= size)
        return true;
    if (addr - page > 4096 - size)
        return lt_cfi_readable(addr);
    if (page == s->page)
        return page != 0;
    if (!lt_cfi_readable(addr))
        return false;
    s->page = page;
    return true;
}

bool lt_cfi_apply(struct lt_cfi_scratch *s, struct lt_cfi_regs *regs)
{
    const struct lt_cfi_row *row = &s->row;
    uint64_t cfa, addr;
    if (row->cfa.how == LT_CFI_REGISTER) {
        cfa = regs->r[row->cfa.reg] + (uint64_t)row->cfa_off;
    } else if (!lt_expr_eval(s, &row->cfa, regs, NULL, &cfa)) {
        return false;
    }
    s->next = *regs;
    s->next.r[LT_CFI_SP] = cfa;
    for (unsigned i = 0; i < LT_CFI_REGS; i++) {
        const struct lt_cfi_rule *rule = &row->reg[i];
        switch (rule->how) {
        case LT_CFI_OFFSET:
            addr = cfa + (uint64_t)rule->off;
            if (!lt_cfi_may_load(s, addr))
                return false;
            s->next.r[i] = lt_load(addr);
            break;
        case LT_CFI_VAL_OFFSET: s->next.r[i] = cfa + (uint64_t)rule->off; break;
        case LT_CFI_REGISTER: s->next.r[i] = regs->r[rule->reg]; break;
        case LT_CFI_EXPR:
            if (!lt_expr_eval(s, rule, regs, &cfa, &addr) || !lt_cfi_may_load(s, addr))
                return false;
            s->next.r[i] = lt_load(addr);
            break;
        case LT_CFI_VAL_EXPR:
            if (!lt_expr_eval(s, rule, regs, &cfa, &s->next.r[i]))
                return false;
            break;
        default: break;
        }
    }
    *regs = s->next;
    return true;
}
