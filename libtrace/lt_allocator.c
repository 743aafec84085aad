/* SPDX-License-Identifier: MIT
 *
 * See lt_allocator.h. Two ways to know: the entry points of the sanitizers, as
 * weak references, which are bound when we are loaded and need no look-up; and
 * the addresses of malloc, calloc, realloc and free as all others see them. An
 * address that is not ours may still lead here (a program that counts its
 * calls and passes them on; the linkage table of one that was linked to a fixed
 * address), so it is called to find out.
 */
#include "lt_allocator.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "lt_libc.h"
#include "lt_objects.h"
#include "lt_real.h"
#include "lt_sys.h"

void __asan_init(void) __attribute__((weak));
void __hwasan_init(void) __attribute__((weak));
void __lsan_init(void) __attribute__((weak));
void __msan_init(void) __attribute__((weak));
void __tsan_init(void) __attribute__((weak));

/* Valgrind's tools that replace malloc: whoever calls it, it never begins. */
void _vgr10010ZU_VgSoSynsomalloc_malloc(void) __attribute__((weak));

/* Our own first byte. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static enum { REACHED, PROBING, UNREACHED } state;
static bool was_called;
static char owner[300]; /* the module whose function passes nothing on */

bool lt_allocator_probing(void)
{
    was_called = true;
    return state == PROBING;
}

/* Said as it is: inside a sanitizer's start few functions of libc may be called. */
static const char *sanitizer(void)
{
#define BUILT_WITH(name)                                                                           \
    name "'s allocator is in this program, not tracing; trace a build without the sanitizer"
    return __asan_init     ? BUILT_WITH("AddressSanitizer")
           : __hwasan_init ? BUILT_WITH("HWAddressSanitizer")
           : __msan_init   ? BUILT_WITH("MemorySanitizer")
           : __tsan_init   ? BUILT_WITH("ThreadSanitizer")
           : __lsan_init   ? BUILT_WITH("LeakSanitizer")
                           : NULL;
#undef BUILT_WITH
}

static int find_second(struct dl_phdr_info *info, size_t size, void *data)
{
    unsigned *seen = data;
    (void)size;
    if (++*seen == 1 || !strncmp(info->dlpi_name, "linux-vdso", 10))
        return 0;
    return (const char *)info->dlpi_addr == __ehdr_start ? 1 : -1; /* ours is linked to 0 */
}

/* A program linked to a fixed address that takes malloc's address makes that the
 * one of its own linkage table, an undefined symbol with a value. It leads to us
 * if no other library comes before. */
static bool leads_here(const void *function)
{
    unsigned seen = 0;
    return lt_real_is_hook(function) ||
           (lt_libc_says_linkage(function) && lt_objects_each(find_second, &seen) == 1);
}

/* After a call of `function`, which others find elsewhere: did it come here? */
static void judge_call(const void *function)
{
    Dl_info info;
    if (!was_called && !owner[0] && dladdr(function, &info) && info.dli_fname)
        strncpy(owner, info.dli_fname, sizeof owner - 1);
    was_called = false;
}

/* Calls only what is not ours by its address, and only as every program may: a
 * program can have a malloc and a free of its own, and libc's realloc. */
void lt_allocator_probe(void)
{
    if (was_called || sanitizer())
        return;
    bool own_malloc = leads_here((const void *)malloc) && !_vgr10010ZU_VgSoSynsomalloc_malloc;
    bool own_free = leads_here((const void *)free);
    state = PROBING;
    if (!own_malloc || !own_free) {
        void *p = malloc(1);
        if (!own_malloc)
            judge_call((const void *)malloc);
        was_called = false;
        free(p);
        if (!own_free)
            judge_call((const void *)free);
    }
    if (!leads_here((const void *)calloc)) {
        was_called = false;
        void *p = calloc(1, 1);
        judge_call((const void *)calloc);
        free(p);
    }
    if (!leads_here((const void *)realloc)) {
        was_called = false;
        void *p = realloc(NULL, 1);
        judge_call((const void *)realloc);
        free(p);
    }
    state = owner[0] ? UNREACHED : REACHED;
}

/* In the order of loading: libc before us? Then dlopen brought us. */
static int find_libc_first(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t from = info->dlpi_addr + segment->p_vaddr, to = from + segment->p_memsz;
        if (segment->p_type != PT_LOAD)
            continue;
        if ((uintptr_t)__ehdr_start >= from && (uintptr_t)__ehdr_start < to)
            return -1;
        if ((uintptr_t)lt_in_libc >= from && (uintptr_t)lt_in_libc < to)
            return 1;
    }
    return 0;
}

bool lt_allocator_serves(bool asked)
{
    const char *reason = sanitizer(), *detail = NULL;
    if (!reason && state == UNREACHED) {
        reason = "another allocator comes first and passes nothing on, not tracing; preload "
                 "libmlog.so before it, or link the program without it:";
        detail = owner;
        unsigned seen = 0;
        if (lt_objects_each(find_libc_first, &seen) == 1) {
            reason = "loaded when the program had already started, not tracing; preload it";
            detail = NULL;
        } else if (_vgr10010ZU_VgSoSynsomalloc_malloc) {
            reason = "Valgrind's allocator is in this program, not tracing; give valgrind the "
                     "option";
            detail = "--soname-synonyms=somalloc=nouserintercepts";
        }
    }
    if (reason && asked)
        lt_say(reason, detail, 0);
    else if (asked)
        lt_real_settle();
    return !reason;
}

/* operator new, as others find it; its name tells what size_t is. */
#if __SIZEOF_SIZE_T__ == __SIZEOF_INT__
#define NEW "_Znwj"
#else
#define NEW "_Znwm"
#endif
extern char operator_new[] __asm__(NEW) __attribute__((weak));

struct cpp_search {
    const void *allocator; /* which needs the C++ library for itself */
    bool found;
};

static int needs_cpp(struct dl_phdr_info *info, size_t size, void *data)
{
    struct cpp_search *search = data;
    const ElfW(Dyn) *dynamic = NULL;
    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        const char *at = (const char *)(info->dlpi_addr + h->p_vaddr);
        if (h->p_type == PT_DYNAMIC)
            dynamic = (const void *)at;
        if (h->p_type == PT_LOAD && h->p_offset == 0 && at == search->allocator)
            return 0;
    }
    const char *strings = NULL;
    for (const ElfW(Dyn) *d = dynamic; d && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_STRTAB) /* relocated by glibc, not by musl nor in the vdso */
            strings = (const char *)(d->d_un.d_ptr < info->dlpi_addr ? info->dlpi_addr : 0) +
                      d->d_un.d_ptr;
    for (const ElfW(Dyn) *d = dynamic; strings && d && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_NEEDED && (!strncmp(strings + d->d_un.d_val, "libstdc++.", 10) ||
                                      !strncmp(strings + d->d_un.d_val, "libc++.", 7)))
            search->found = true;
    return search->found;
}

void lt_allocator_check_operators(void)
{
    Dl_info new, beneath;
    if (!operator_new || !lt_real_ready() || !dladdr(operator_new, &new) ||
        !dladdr(lt_real_allocator(), &beneath) || new.dli_fbase != beneath.dli_fbase)
        return;
    struct cpp_search search = {beneath.dli_fbase, false};
    lt_objects_each(needs_cpp, &search);
    if (search.found)
        lt_say("C++'s new and delete are not in this trace: preload libstdc++.so.6 right after "
               "libmlog.so, before the operators of",
               new.dli_fname, 0);
}

/* AddressSanitizer's shared library ends a program in which another library is
 * loaded before it, unless told otherwise; the program's own answer to this
 * question comes first. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "verify_asan_link_order=0";
}
