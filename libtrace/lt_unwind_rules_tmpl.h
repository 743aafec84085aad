/* SPDX-License-Identifier: MIT
 *
 * The rule that holds at an address: the two caches of rules, and how what call frame
 * information says, or does not say, comes down to one word. Included by
 * lt_unwind_core_tmpl.h, which lays out the words; the machine supplies what a row
 * comes down to. Owns the caches, the rules that fit no word, and the list of the
 * objects seen.
 */
#ifndef LT_UNWIND_RULES_TMPL_H
#define LT_UNWIND_RULES_TMPL_H

#include "lt_libc.h"

static uint64_t lt_l1[LT_L1_COUNT] __attribute__((aligned(64)));
static uint64_t lt_l2[LT_L1_COUNT][LT_L2_WAYS] __attribute__((aligned(64)));
static struct lt_wide lt_wide[LT_WIDE_COUNT];
static uint32_t lt_wide_next;

/* Call sites of one function share cache lines. The index and the bits that a
 * word keeps of the key hold every bit that a key can have. */
static inline unsigned lt_l1_index(uint64_t key)
{
    return (unsigned)((key >> 3) ^ (key >> (3 + LT_L1_BITS))) & (LT_L1_COUNT - 1);
}
_Static_assert(LT_WORD_OFF_MAX == LT_L1_COUNT - 1, "the offset takes the place of the index");

/* Any function of the tag may be mixed into the index: it stays exact. */
static inline unsigned lt_l2_index(unsigned l1_index, uint64_t tag)
{
    return (l1_index ^ (unsigned)((tag * 0x9e3779b97f4a7c15u) >> 50)) & (LT_L1_COUNT - 1);
}

/* Index of a wide rule, LT_WIDE_COUNT if there is no room. */
static unsigned lt_wide_put(const struct lt_wide *w)
{
    unsigned n = __atomic_load_n(&lt_wide_next, __ATOMIC_ACQUIRE);
    if (n > LT_WIDE_COUNT)
        n = LT_WIDE_COUNT;
    for (unsigned i = 0; i < n; i++) {
        /* A slot being written by another thread compares unequal or equal: both
         * are right, for a rule never changes once its word can be seen. */
        if (memcmp(&lt_wide[i], w, sizeof *w) == 0)
            return i;
    }
    if (n == LT_WIDE_COUNT)
        return n;
    n = __atomic_fetch_add(&lt_wide_next, 1, __ATOMIC_ACQ_REL);
    if (n >= LT_WIDE_COUNT)
        return LT_WIDE_COUNT;
    lt_wide[n] = *w;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    return n;
}

/* Objects seen so far, to notice one that took another's place. Slots are only
 * added; a flush empties the list. */
#define LT_SEEN 1024
static struct lt_cfi_object lt_seen[LT_SEEN];
static uint32_t lt_seen_count;
static uint32_t lt_seen_none; /* "no rule here" was cached for a pc in no object */

/* The object in which a rule was looked up. A new one in an old one's place, or
 * any new one after rules for no object were kept, makes cached rules void. */
static void lt_object_seen(const struct lt_cfi_object *o)
{
    uint32_t n = __atomic_load_n(&lt_seen_count, __ATOMIC_ACQUIRE);
    bool flush = false;
    if (n > LT_SEEN)
        n = LT_SEEN;
    for (uint32_t i = 0; i < n; i++) {
        struct lt_cfi_object *s = &lt_seen[i];
        if (o->end <= s->start || o->start >= s->end)
            continue;
        if (memcmp(s, o, sizeof *o) == 0)
            return;
        flush = true;
        break;
    }
    if (!flush && n == LT_SEEN)
        return; /* full: only replacements are noticed */
    if (flush || __atomic_load_n(&lt_seen_none, __ATOMIC_RELAXED))
        lt_unwind_flush();
    n = __atomic_fetch_add(&lt_seen_count, 1, __ATOMIC_ACQ_REL);
    if (n < LT_SEEN)
        lt_seen[n] = *o;
}

/* Supplied by the machine: the key as it stands in a word. */
static inline uint64_t lt_arch_pack(uintptr_t key);
/* What a row comes down to, as kind, slot and offset; no tag, no generation. */
static uint64_t lt_arch_classify_row(const struct lt_cfi_fde *fde, const struct lt_cfi_row *row,
                                     uintptr_t key);
/* True if the code at key is the trampoline of signals, whose frame the machine knows. */
static bool lt_arch_is_sigreturn(enum lt_cfi_found found, const struct lt_cfi_object *o,
                                 uintptr_t key);
#ifdef LT_ARCH_HAS_BASE
static bool lt_arch_is_base(const struct lt_cfi_object *o, uintptr_t key);
#endif

#if defined(__GLIBC__)
/* Lies in the loader, where _dl_find_object does not. */
extern char lt_in_loader[] __asm__("__tls_get_addr") __attribute__((weak));

#endif

/* True for libc and its loader. */
static bool lt_is_libc(const struct lt_cfi_object *o)
{
    const uintptr_t libc = (uintptr_t)lt_in_libc;
#if defined(__GLIBC__)
    const uintptr_t loader = (uintptr_t)lt_in_loader;
    if (loader >= o->start && loader < o->end)
        return true;
#endif
    return libc >= o->start && libc < o->end;
}

/* True if stacks begin at the code at key, for which nothing was found. */
static bool lt_is_base(enum lt_cfi_found found, const struct lt_cfi_object *o, uintptr_t key)
{
#if defined(__GLIBC__)
    (void)key;
    return found == LT_CFI_NO_FDE && lt_is_libc(o); /* _dl_start_user, __start_context */
#elif defined(LT_ARCH_HAS_BASE)
    (void)found;
    return lt_arch_is_base(o, key);
#else
    (void)found, (void)o, (void)key; /* nothing of musl has an FDE: stacks need not begin there */
    return false;
#endif
}

/* What holds at key, likewise. */
static uint64_t lt_classify(struct lt_unwinder_all *u, uintptr_t key)
{
    const uint64_t guess = LT_WORD(LT_KIND_NONE, 0, LT_NONE_GUESS);
    const uint64_t bad = LT_WORD(LT_KIND_NONE, 0, LT_NONE_BAD);
    if (lt_mode == LT_UNWIND_FP)
        return guess;
    const enum lt_cfi_found found = lt_cfi_find(&u->cfi, key);
    const struct lt_cfi_object *const o = &u->cfi.object;
    if (o->end)
        lt_object_seen(o);
    if (found == LT_CFI_NO_OBJECT)
        __atomic_store_n(&lt_seen_none, 1, __ATOMIC_RELAXED);
    if (lt_arch_is_sigreturn(found, o, key))
        return LT_WORD(LT_KIND_SIGNAL, 0, 0);
    switch (found) {
    case LT_CFI_FOUND:
        return lt_cfi_run(&u->cfi, key) ? lt_arch_classify_row(&u->cfi.fde, &u->cfi.row, key) : bad;
    case LT_CFI_NO_FDE:
    case LT_CFI_NO_TABLE:
        if (lt_is_base(found, o, key))
            return LT_WORD(LT_KIND_END, 0, 0);
        if (found == LT_CFI_NO_TABLE)
            return guess;
        /* musl keeps neither FDEs nor frame pointers. */
        return LT_WORD(LT_KIND_NONE, 0, lt_is_libc(o) ? LT_NONE_END : LT_NONE_WITHIN);
    case LT_CFI_NO_OBJECT: return guess;
    default: return bad;
    }
}

static __attribute__((noinline, cold)) uint64_t lt_rule_miss(struct lt_unwinder_all *u,
                                                             uintptr_t key)
{
    const uint64_t packed = lt_arch_pack(key), tag = packed & LT_WORD_TAG;
    unsigned index = lt_l1_index(packed);
    uint64_t want = tag | u->gen, word;
    uint64_t *set = lt_l2[lt_l2_index(index, tag)];
    u->counters.cache_miss++;
    for (unsigned i = 0; i < LT_L2_WAYS; i++) {
        word = __atomic_load_n(&set[i], __ATOMIC_RELAXED);
        if ((word & LT_WORD_TAG) != want)
            continue;
        __atomic_store_n(&lt_l1[index], word, __ATOMIC_RELAXED);
        return word;
    }
    u->counters.rule_miss++;
    word = lt_classify(u, key) | want;
    /* An empty or outdated way, else the one that the key's low bits name. */
    unsigned way = (unsigned)(key ^ key >> 5) & (LT_L2_WAYS - 1);
    for (unsigned i = 0; i < LT_L2_WAYS; i++) {
        uint64_t old = __atomic_load_n(&set[i], __ATOMIC_RELAXED);
        if (((old ^ u->gen) >> LT_WORD_GENERATION & 0xff) == 0)
            continue;
        way = i;
        break;
    }
    __atomic_store_n(&set[way], word, __ATOMIC_RELAXED);
    __atomic_store_n(&lt_l1[index], word, __ATOMIC_RELAXED);
    return word;
}

#endif
