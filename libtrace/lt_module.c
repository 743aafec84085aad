/* SPDX-License-Identifier: MIT
 *
 * The module registry. Its lock is taken to read it, which happens once a
 * distinct frame of a chunk; nothing is called under it that could call the
 * loader or allocate, so neither a loader's lock nor a signal handler can meet
 * it held by its own thread except inside lt_module_place itself, where the
 * second taker answers "in no module".
 */
#include "lt_module.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>

#include "lt_bypass.h"
#include "lt_maps.h"
#include "lt_objects.h"

struct module {
    uintptr_t start, end, bias;
    uint64_t identity; /* of the file, by its name and build-id */
    uint32_t id;       /* 0: gone */
    uint32_t seen;     /* value of `checks` when it was last known to be loaded */
};

#define PATH_KEPT 400 /* bytes of a module's name */
#define MODULES_MAX 8192
static struct module *modules; /* MODULES_MAX of them, touched as needed */
static uint32_t module_count;  /* entries in use */
static uint32_t next_id = 1;
static uint32_t checks;            /* walks of the loader's list so far */
static unsigned long long unloads; /* dlpi_subs when last looked */
static struct lt_lock lock;

/* From the moment at which dlclose unmaps an object until it has returned to us,
 * another thread may load a second one there and run it, and what is known of
 * these addresses is wrong. So while a dlclose is under way paths are hashed under
 * a generation of its own, and before one is defined its modules are held against
 * the loader's. If nothing was unloaded, the generation before holds again. */
static uint64_t generation; /* that holds */
static uint64_t settled;    /* that holds while no dlclose is under way */
static uint64_t last_generation;
static unsigned closing; /* calls of dlclose under way; atomic */

/* glibc 2.35: lock-free, safe in a signal handler. Other C libraries have nothing
 * like it: there lt_module_record_loaded looks after a dlopen. */
#ifdef DLFO_STRUCT_HAS_EH_DBASE
int _dl_find_object(void *pc, struct dl_find_object *result) __attribute__((weak));
#endif

uint64_t lt_module_generation(void)
{
    return __atomic_load_n(&generation, __ATOMIC_RELAXED);
}

uint32_t lt_module_count(void)
{
    return next_id;
}

void lt_module_after_fork(void)
{
    lock.word = 0;
    closing = 0; /* by threads that the child has not */
    settled = generation;
}

static struct module *module_find(uintptr_t pc)
{
    for (uint32_t i = module_count; i-- > 0;)
        if (modules[i].id && pc >= modules[i].start && pc < modules[i].end)
            return &modules[i];
    return NULL;
}

struct description {
    uintptr_t bias;
    const char *path; /* the loader's name of it, unless it is the program */
    const ElfW(Phdr) * headers;
    unsigned count;
    unsigned flags;
};

static unsigned build_id_of(const struct description *d, const unsigned char **id)
{
    for (unsigned i = 0; i < d->count; i++) {
        if (d->headers[i].p_type != PT_NOTE)
            continue;
        const unsigned char *p = (const unsigned char *)(d->bias + d->headers[i].p_vaddr);
        const unsigned char *end = p + d->headers[i].p_memsz;
        while (end - p >= (ptrdiff_t)sizeof(ElfW(Nhdr))) {
            const ElfW(Nhdr) *note = (const void *)p;
            size_t name = (note->n_namesz + 3u) & ~3u, content = (note->n_descsz + 3u) & ~3u;
            if (name + content > (size_t)(end - p) - sizeof *note)
                break;
            p += sizeof *note;
            if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && !memcmp(p, "GNU", 4) &&
                note->n_descsz <= MLF_BUILD_ID_MAX) {
                *id = p + name;
                return note->n_descsz;
            }
            p += name + content;
        }
    }
    *id = NULL;
    return 0;
}

/* A hash of build-id and of the loader's name; the address is no part of it. */
static uint64_t identity_of(const struct description *d)
{
    const unsigned char *id;
    unsigned size = build_id_of(d, &id);
    return mlf_checksum(id, size) * 3 +
           mlf_checksum((const unsigned char *)d->path, strlen(d->path));
}

static bool span_of(const struct description *d, uintptr_t *start, uintptr_t *end)
{
    *start = UINTPTR_MAX;
    *end = 0;
    for (unsigned i = 0; i < d->count; i++)
        if (d->headers[i].p_type == PT_LOAD) {
            uintptr_t from = d->bias + d->headers[i].p_vaddr, to = from + d->headers[i].p_memsz;
            *start = from < *start ? from : *start;
            *end = to > *end ? to : *end;
        }
    return *start < *end;
}

/* The loader's name of a module may be relative to the folder that was the current one
 * when it was opened, which may be another by now: the kernel knows better. What it
 * says is written to the end of the scratch, which a MODULE record never needs. */
static const char *absolute_path(struct lt_context *c, const struct description *d)
{
    static const char deleted[] = " (deleted)"; /* the kernel's word behind a name */
    struct lt_mapping mapping;
    char *found = (char *)c->scratch + sizeof c->scratch - PATH_KEPT;
    if (d->path[0] == '/' || !d->path[0] || (d->flags & MLF_MODULE_VDSO) ||
        !lt_maps_find((uintptr_t)d->headers, &mapping, found, PATH_KEPT) || !*found)
        return d->path;
    size_t size = strlen(found), cut = sizeof deleted - 1;
    if (size > cut && !strcmp(found + size - cut, deleted))
        found[size - cut] = 0;
    return found;
}

static void write_module(struct lt_context *c, uint32_t id, const struct description *d)
{
    unsigned char *p = c->scratch;
    const unsigned char *build_id;
    unsigned build_id_size = build_id_of(d, &build_id);
    const char *path = absolute_path(c, d);
    size_t path_size = strnlen(path, PATH_KEPT);
    p = mlf_put_vu(p, id);
    p = mlf_put_vu(p, lt_now());
    mlf_put_u64(p, d->bias);
    p = mlf_put_vu(p + 8, d->flags);
    p = lt_put_string(p, build_id, build_id_size);
    p = lt_put_string(p, path, path_size);
    unsigned segments = 0;
    for (unsigned i = 0; i < d->count; i++)
        segments += d->headers[i].p_type == PT_LOAD;
    if (segments > 16) /* what the scratch surely holds */
        segments = 16;
    p = mlf_put_vu(p, segments);
    for (unsigned i = 0; i < d->count && segments; i++) {
        const ElfW(Phdr) *h = &d->headers[i];
        if (h->p_type != PT_LOAD)
            continue;
        segments--;
        p = mlf_put_vu(p, h->p_vaddr);
        p = mlf_put_vu(p, h->p_memsz);
        p = mlf_put_vu(p, h->p_offset);
        p = mlf_put_vu(p, h->p_flags);
    }
    lt_writer_record(&c->definitions, MLF_REC_MODULE, c->scratch, (size_t)(p - c->scratch));
}

static void write_module_end(struct lt_context *c, uint32_t id)
{
    unsigned char *p = mlf_put_vu(c->scratch, id);
    p = mlf_put_vu(p, lt_now());
    lt_writer_record(&c->definitions, MLF_REC_MODULE_END, c->scratch, (size_t)(p - c->scratch));
}

static void set_generation(uint64_t number)
{
    __atomic_store_n(&generation, number, __ATOMIC_RELAXED);
    lt_unwind_set_salt(number);
}

/* A module is gone: rules and paths through it must not be used again, since
 * another may be mapped at its addresses. The lock is held. */
static void forget(struct lt_context *c, struct module *module)
{
    write_module_end(c, module->id);
    module->id = 0;
    set_generation(settled = ++last_generation);
    lt_unwind_flush();
}

static struct module *module_add(struct lt_context *c, const struct description *d,
                                 uint64_t identity)
{
    uintptr_t start, end;
    if (!span_of(d, &start, &end))
        return NULL;
    struct module *free_entry = NULL;
    for (uint32_t i = 0; i < module_count; i++) {
        struct module *m = &modules[i];
        if (m->id && m->start < end && start < m->end) {
            if (m->bias == d->bias && m->start == start && m->end == end && m->identity == identity)
                return m; /* known */
            forget(c, m);
        }
        if (!m->id)
            free_entry = m;
    }
    if (!free_entry) {
        if (module_count == MODULES_MAX)
            return NULL;
        free_entry = &modules[module_count];
    }
    uint32_t id = next_id++;
    write_module(c, id, d);
    *free_entry = (struct module){start, end, d->bias, identity, id, checks};
    if (free_entry == &modules[module_count])
        module_count++;
    return free_entry;
}

/* The object that contains pc, as the loader knows it, without its lock. */
static bool describe_at(uintptr_t pc, struct description *d)
{
#ifndef DLFO_STRUCT_HAS_EH_DBASE
    (void)pc, (void)d;
    return false;
#else
    struct dl_find_object found;
    if (!_dl_find_object || _dl_find_object((void *)pc, &found) != 0)
        return false;
    const ElfW(Ehdr) *elf = found.dlfo_map_start;
    if (memcmp(elf->e_ident, ELFMAG, SELFMAG) || elf->e_phentsize != sizeof(ElfW(Phdr)))
        return false;
    d->bias = found.dlfo_link_map->l_addr;
    d->path = found.dlfo_link_map->l_name;
    d->headers = (const void *)((const char *)elf + elf->e_phoff);
    d->count = elf->e_phnum;
    d->flags = 0;
    return true;
#endif
}

/* While a dlclose is under way: whether this is still what lies there. */
static bool is_still(const struct module *module, uintptr_t pc)
{
    struct description d;
    return !describe_at(pc, &d) || (d.bias == module->bias && identity_of(&d) == module->identity);
}

struct lt_module_place lt_module_place(struct lt_context *c, uintptr_t pc, bool exact)
{
    struct lt_module_place place = {0, pc};
    uintptr_t at = exact ? pc : pc - 1;
    if (!modules || !lt_lock_take(&lock))
        return place;
    struct module *module = module_find(at);
    struct description d;
    if (module && LT_UNLIKELY(__atomic_load_n(&closing, __ATOMIC_RELAXED)) &&
        !is_still(module, at)) {
        forget(c, module);
        module = NULL;
    }
    if (!module && describe_at(at, &d))
        module = module_add(c, &d, identity_of(&d));
    if (module) {
        place.module = module->id;
        place.offset = pc - module->bias;
    }
    lt_lock_release(&lock);
    return place;
}

struct walk {
    struct lt_context *context;
    uint32_t seen;
    bool is_start;
    char main_path[PATH_KEPT];
};

/* The path of the executable, which the loader does not tell: that of the file
 * mapped where its headers lie. /proc/self/exe names the loader where that was
 * started by name (ld.so program), and serves where the mapping has no file. */
static void find_main_path(char *path, size_t room, uintptr_t headers)
{
    struct lt_mapping mapping;
    if (lt_maps_find(headers, &mapping, path, room) && *path)
        return;
    long n = lt_syscall4(SYS_readlinkat, -100 /* AT_FDCWD */, "/proc/self/exe", path, room - 1);
    path[n > 0 ? n : 0] = 0;
}

static int visit(struct dl_phdr_info *info, size_t size, void *data)
{
    struct walk *walk = data;
    (void)size;
    unloads = info->dlpi_subs;
    struct description d = {info->dlpi_addr, info->dlpi_name, info->dlpi_phdr, info->dlpi_phnum, 0};
    uint64_t identity = identity_of(&d);
    if (walk->seen++ == 0) {
        find_main_path(walk->main_path, sizeof walk->main_path, (uintptr_t)d.headers);
        d.flags = MLF_MODULE_MAIN;
        d.path = walk->main_path;
    } else if (!strncmp(d.path, "linux-vdso", 10) || !strncmp(d.path, "linux-gate", 10)) {
        d.flags = MLF_MODULE_VDSO;
    }
    if (lt_lock_take(&lock)) {
        module_add(walk->context, &d, identity);
        lt_lock_release(&lock);
    }
    uintptr_t start, end;
    if (walk->is_start && !(d.flags & MLF_MODULE_VDSO) && span_of(&d, &start, &end))
        lt_bypass_look_at(walk->context, start, d.path);
    return 0;
}

static void record(struct lt_context *context, bool is_start)
{
    struct walk walk = {context, 0, is_start, ""};
    lt_objects_each(visit, &walk);
    lt_unwind_refresh(lt_objects_each);
}

void lt_module_record_all(struct lt_context *context)
{
    modules = lt_memory(MODULES_MAX * sizeof *modules);
    if (modules)
        record(context, true);
}

void lt_module_record_loaded(struct lt_context *context)
{
    uint32_t known = next_id;
    if (modules)
        record(context, false);
    if (next_id == known)
        return;
    /* Paths through the new code, if any are known, lead through no module. */
    if (lt_lock_take(&lock)) {
        set_generation(settled = ++last_generation);
        lt_lock_release(&lock);
    }
    lt_unwind_flush();
}

extern char __libc_single_threaded __attribute__((weak));

bool lt_module_closing(void)
{
    if ((&__libc_single_threaded && __libc_single_threaded) || !modules || !lt_lock_take(&lock))
        return false;
    __atomic_fetch_add(&closing, 1, __ATOMIC_RELAXED);
    set_generation(++last_generation);
    lt_lock_release(&lock);
    return true;
}

void lt_module_closed(void)
{
    if (!lt_lock_take(&lock))
        return;
    if (closing && __atomic_sub_fetch(&closing, 1, __ATOMIC_RELAXED) == 0 && generation != settled)
        set_generation(settled);
    lt_lock_release(&lock);
}

struct check {
    uint32_t round;
    unsigned long long subs;
};

static int note_present(struct dl_phdr_info *info, size_t size, void *data)
{
    struct check *check = data;
    (void)size;
    check->subs = info->dlpi_subs;
    if (check->subs == unloads)
        return 1; /* nothing was unloaded */
    struct description d = {info->dlpi_addr, info->dlpi_name, info->dlpi_phdr, info->dlpi_phnum, 0};
    uint64_t identity = identity_of(&d);
    if (!lt_lock_take(&lock))
        return 0;
    for (uint32_t i = 0; i < module_count; i++)
        if (modules[i].id && modules[i].bias == d.bias && modules[i].identity == identity &&
            modules[i].seen < check->round)
            modules[i].seen = check->round;
    lt_lock_release(&lock);
    return 0;
}

/* The loader's lock may be taken before ours, never after: so the list is
 * walked with ours free, and what it did not name is forgotten afterwards. */
void lt_module_check_unloaded(struct lt_context *c)
{
    struct check check = {__atomic_add_fetch(&checks, 1, __ATOMIC_RELAXED), unloads};
    lt_objects_each(note_present, &check);
    if (check.subs == unloads || !lt_lock_take(&lock))
        return;
    unloads = check.subs;
    for (uint32_t i = 0; i < module_count; i++)
        if (modules[i].id && modules[i].seen < check.round)
            forget(c, &modules[i]);
    lt_lock_release(&lock);
}
