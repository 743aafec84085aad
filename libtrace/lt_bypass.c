/* SPDX-License-Identifier: MIT
 *
 * See lt_bypass.h. All words of a module are looked up in the same order, so one
 * of its linkage that leads to us speaks for all. A word that still leads into the module's own
 * linkage table was never used, and nothing is missing as long as that is so: it is
 * looked at again, at the end too.
 */
#include "lt_bypass.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "lt_elf.h"
#include "lt_libc.h"
#include "lt_maps.h"
#include "lt_real.h"

#define SLOTS_MAX 8
#define MODULES_MAX 2048
#define TOLD_MAX 256
#define PAGES_NEVER_MAPPED 65536 /* what lies below is an offset */
#define LOOK_TICKS 25            /* ticks (of 10 ms and an event) from one look to the next */
#define RECALL_TICKS 100         /* ... at words that were empty */
#define PATH_KEPT 400

static const char *const names[] = {"malloc", "free", "calloc", "realloc", "posix_memalign"};
#define NAMES (sizeof names / sizeof *names)

struct module {
    uintptr_t start, end;
    uint64_t name;                      /* hash of its path; 0: there from the start */
    uintptr_t own_malloc;               /* its own definition; 0: none */
    uint32_t n_slots;                   /* 0: known, or nothing to know */
    unsigned char functions[SLOTS_MAX]; /* as lt_elf_find_slots tells them */
    uintptr_t slots[SLOTS_MAX];
};

static struct work {
    struct lt_elf elf;
    struct lt_maps_buffer maps;
    char libc_path[PATH_KEPT], target_path[PATH_KEPT];
    uintptr_t libc_start, libc_end;
    uintptr_t of_libc[NAMES]; /* its definitions */
    uint32_t n_modules, n_initial;
    struct module modules[MODULES_MAX];
    uint64_t told[TOLD_MAX]; /* hashes of what was recorded */
    uint32_t n_told;
} * work;
static struct lt_lock lock;
static uint32_t opened;                            /* calls of dlopen and dlmopen; atomic */
static uint32_t looked_at, looked_once, inherited; /* values of it */
static uint32_t namespaces, deepbinds;
static uint32_t special_at; /* of `opened`, of the last one that asks for a look */
static uint32_t pending;    /* modules with empty words */
static uint32_t ticks;
static bool closed; /* since the last look: modules may have gone, and others come there */

void lt_bypass_note_opened(enum lt_opened how)
{
    uint32_t number = __atomic_add_fetch(&opened, 1, __ATOMIC_RELAXED);
    if (how == LT_OPENED)
        return;
    __atomic_store_n(&special_at, number, __ATOMIC_RELAXED);
    __atomic_add_fetch(how == LT_OPENED_NAMESPACE ? &namespaces : &deepbinds, 1, __ATOMIC_RELAXED);
}

void lt_bypass_after_fork(void)
{
    lock.word = 0;
    inherited = opened;
}

void lt_bypass_note_closed(void)
{
    __atomic_store_n(&closed, true, __ATOMIC_RELAXED);
}

static uint64_t hash_of(const char *text) /* never 0 */
{
    return mlf_checksum((const unsigned char *)text, strlen(text));
}

/* As everybody else finds them: ours, or one that passes calls on to ours. */
static bool leads_here(size_t function, uintptr_t address)
{
    const void *const found[NAMES] = {(const void *)malloc, (const void *)free,
                                      (const void *)calloc, (const void *)realloc,
                                      (const void *)posix_memalign};
    return lt_real_is_hook((const void *)address) || (uintptr_t)found[function] == address;
}

static void tell(struct lt_context *c, const char *path, enum mlf_bypass why, const char *target)
{
    uint64_t key = hash_of(path) ^ (uint64_t)why << 56;
    for (uint32_t i = 0; i < work->n_told; i++)
        if (work->told[i] == key)
            return;
    if (work->n_told == TOLD_MAX)
        return;
    work->told[work->n_told++] = key;
    unsigned char *p = mlf_put_vu(c->scratch, lt_now());
    p = mlf_put_vu(p, (uint64_t)why);
    p = lt_put_string(p, path, strnlen(path, PATH_KEPT));
    p = lt_put_string(p, target, strnlen(target, PATH_KEPT));
    lt_writer_record(&c->definitions, MLF_REC_BYPASS, c->scratch, (size_t)(p - c->scratch));
}

/* What the word of a module says of it: 0 not yet, or nothing that counts. */
enum verdict { OPEN, OURS, BYPASSES };

static enum verdict judge(struct lt_context *c, const struct module *m, unsigned function,
                          uintptr_t address, const char *path)
{
    bool is_data = function & LT_ELF_DATA;
    function &= ~(unsigned)LT_ELF_DATA;
    struct lt_mapping mapping;
    if (address && leads_here(function, address))
        return is_data ? OPEN : OURS;
    if (address && address == m->own_malloc) {
        tell(c, path, MLF_BYPASS_OWN, path);
        return BYPASSES;
    }
    if (address >= m->start && address < m->end)
        return OPEN;
    if (is_data ? address && address == work->of_libc[function]
                : address >= work->libc_start && address < work->libc_end) {
        tell(c, path, MLF_BYPASS_DEEPBIND, work->libc_path);
        return BYPASSES;
    }
    if (address < m->start && address < PAGES_NEVER_MAPPED)
        return OPEN; /* not relocated yet */
    if (!lt_maps_find(address, &mapping, work->target_path, PATH_KEPT) || !work->target_path[0])
        return OPEN;
    bool in_libc = !strcmp(work->target_path, work->libc_path);
    if (in_libc ? !namespaces : is_data)
        return is_data ? OPEN : OURS; /* LD_AUDIT's; a function of the program's choice */
    tell(c, path, in_libc ? MLF_BYPASS_NAMESPACE : MLF_BYPASS_OTHER, work->target_path);
    return BYPASSES;
}

/* Judge a module by those of its words that are filled. */
static void judge_module(struct lt_context *c, struct module *m, const char *path)
{
    for (uint32_t i = 0; i < m->n_slots; i++) {
        uintptr_t address = 0;
        if (!lt_elf_read(&work->elf, &address, m->slots[i], sizeof address))
            break; /* gone */
        if (judge(c, m, m->functions[i], address, path) != OPEN) {
            m->n_slots = 0;
            return;
        }
    }
}

/* A malloc of its own that its own calls may reach without any word. */
static bool has_hidden_malloc(const struct module *m, bool is_initial)
{
    if (!m->own_malloc || (is_initial && !work->elf.is_symbolic))
        return false;
    const void *const serving[] = {lt_real_allocator(), (const void *)malloc};
    for (size_t i = 0; i < sizeof serving / sizeof *serving; i++)
        if ((uintptr_t)serving[i] >= m->start && (uintptr_t)serving[i] < m->end)
            return false;
    return true;
}

/* False: no object that is loaded, so far. */
static bool look_at(struct lt_context *c, struct module *m, const char *path, bool is_initial)
{
    uint32_t numbers[NAMES] = {0}, number;
    ElfW(Sym) symbol;
    if (lt_real_is_hook((const void *)m->start) || m->start == getauxval(AT_BASE) ||
        !lt_elf_open(&work->elf, m->start, is_initial))
        return true;
#ifdef __GLIBC__
    if (!is_initial && !work->elf.is_relocated)
        return false;
#endif
    m->end = work->elf.end;
    if (!is_initial && m->start != work->libc_start && !strcmp(path, work->libc_path)) {
        if (namespaces)
            tell(c, path, MLF_BYPASS_NAMESPACE, path);
        return true;
    }
    lt_elf_find_undefined(&work->elf, names, NAMES, numbers);
    for (size_t i = 0; i < NAMES; i++)
        if (lt_elf_find(&work->elf, names[i], &symbol, &number)) {
            numbers[i] = number;
            if (i == 0)
                m->own_malloc = work->elf.bias + symbol.st_value;
        }
    size_t n = lt_elf_find_slots(&work->elf, numbers, NAMES, m->slots, m->functions, SLOTS_MAX);
    bool calls_malloc = false;
    for (size_t i = 0; i < n; i++)
        calls_malloc |= (m->functions[i] & ~LT_ELF_DATA) == 0;
    m->n_slots = (uint32_t)n;
    if (!calls_malloc && m->start != work->libc_start && has_hidden_malloc(m, is_initial))
        tell(c, path, MLF_BYPASS_OWN, path);
    judge_module(c, m, path);
    if (is_initial) /* a word that is empty yet will be filled as for all others */
        m->n_slots = 0;
    else
        pending += m->n_slots != 0;
    return true;
}

static struct module *add_module(uintptr_t start, uint64_t name)
{
    if (work->n_modules == MODULES_MAX)
        return NULL;
    struct module *m = &work->modules[work->n_modules++];
    *m = (struct module){.start = start, .name = name};
    return m;
}

static void find_libc(struct work *new)
{
    struct lt_mapping mapping;
    ElfW(Sym) symbol;
    Dl_info libc;
    uint32_t number;
    if (!lt_in_libc || !dladdr((const void *)lt_in_libc, &libc) ||
        !lt_elf_open(&new->elf, (uintptr_t)libc.dli_fbase, true))
        return;
    new->libc_start = (uintptr_t)libc.dli_fbase;
    new->libc_end = new->elf.end;
    lt_maps_find(new->libc_start, &mapping, new->libc_path, PATH_KEPT);
    for (size_t i = 0; i < NAMES; i++)
        if (lt_elf_find(&new->elf, names[i], &symbol, &number))
            new->of_libc[i] = new->elf.bias + symbol.st_value;
}

static bool set_up(void)
{
    if (work)
        return true;
    struct work *new = lt_memory(sizeof *new);
    if (new)
        find_libc(new);
    work = new;
    return work;
}

void lt_bypass_look_at(struct lt_context *c, uintptr_t start, const char *path)
{
    if (!lt_lock_take(&lock))
        return;
    struct module *m = set_up() ? add_module(start, 0) : NULL;
    if (m) {
        work->n_initial = work->n_modules;
        look_at(c, m, path, true);
    }
    lt_lock_release(&lock);
}

static void visit(const struct lt_mapping *mapping, const char *path, void *data)
{
    char magic[SELFMAG];
    if (!*path)
        return;
    uint64_t name = hash_of(path);
    struct module *m = NULL;
    for (uint32_t i = 0; i < work->n_modules && !m; i++) {
        struct module *known = &work->modules[i];
        bool is_start = mapping->start == known->start;
        if (is_start && known->name && known->name != name)
            m = known; /* is gone, unloaded by libc itself */
        else if (is_start || (mapping->start > known->start && mapping->start < known->end))
            return;
    }
    if (!lt_elf_read(&work->elf, magic, mapping->start, sizeof magic) ||
        memcmp(magic, ELFMAG, SELFMAG))
        return;
    if (m)
        *m = (struct module){.start = mapping->start, .name = name};
    else
        m = add_module(mapping->start, name);
    if (m && !look_at(data, m, path, false) && m == &work->modules[work->n_modules - 1])
        work->n_modules--;
}

static void recall(struct lt_context *c)
{
    struct lt_mapping mapping;
    pending = 0;
    for (uint32_t i = work->n_initial; i < work->n_modules; i++) {
        struct module *m = &work->modules[i];
        uintptr_t word;
        if (!m->n_slots)
            continue;
        /* The name costs a read of the maps: only where a word has changed. */
        for (uint32_t k = 0; k < m->n_slots; k++)
            if (lt_elf_read(&work->elf, &word, m->slots[k], sizeof word) &&
                (word < m->start || word >= m->end || word == m->own_malloc)) {
                if (lt_maps_find(m->start, &mapping, work->maps.path, sizeof work->maps.path))
                    judge_module(c, m, work->maps.path);
                break;
            }
        pending += m->n_slots != 0;
    }
}

void lt_bypass_check(struct lt_context *c, enum lt_bypass_when when)
{
    uint32_t now = __atomic_load_n(&opened, __ATOMIC_RELAXED);
    if (!now)
        return;
    uint32_t tick = when == LT_BYPASS_TICK ? ++ticks : 0;
    bool is_special = (int32_t)(special_at - looked_at) > 0;
    bool looks = when == LT_BYPASS_END
                     ? now != inherited
                     : now != looked_at && (when == LT_BYPASS_CLOSE  ? is_special
                                            : when == LT_BYPASS_TICK ? tick % LOOK_TICKS == 0
                                                                     : true);
    bool recalls = pending && (when != LT_BYPASS_TICK || tick % RECALL_TICKS == 0);
    if ((!looks && !recalls) || !lt_lock_take(&lock))
        return;
    if (set_up()) {
        unsigned char byte;
        work->elf.pid = lt_getpid();
        bool can_read = lt_elf_read(&work->elf, &byte, (uintptr_t)&now, 1);
        if (looks && !can_read && (namespaces || deepbinds))
            tell(c, "", namespaces ? MLF_BYPASS_NAMESPACE : MLF_BYPASS_DEEPBIND, "");
        if (looks && can_read) {
            if (__atomic_exchange_n(&closed, false, __ATOMIC_RELAXED)) {
                work->n_modules = work->n_initial;
                pending = 0;
            }
            lt_maps_each(visit, c, &work->maps);
        }
        if (recalls && can_read && !closed)
            recall(c);
        /* At the second look what was being opened at the first is there. */
        if (looks && (looked_once == now || when == LT_BYPASS_CLOSE))
            looked_at = now;
        looked_once = looks ? now : looked_once;
    }
    lt_lock_release(&lock);
}
