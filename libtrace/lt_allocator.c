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
#include <stdlib.h>
#include <string.h>

#include "lt_sys.h"

void __asan_init(void) __attribute__((weak));
void __hwasan_init(void) __attribute__((weak));
void __lsan_init(void) __attribute__((weak));
void __msan_init(void) __attribute__((weak));
void __tsan_init(void) __attribute__((weak));

/* Valgrind's tools that replace malloc: whoever calls it, it never begins. */
void _vgr10010ZU_VgSoSynsomalloc_malloc(void) __attribute__((weak));

extern const char __ehdr_start[] __attribute__((visibility("hidden")));

static enum { REACHED, PROBING, UNREACHED } state;
static bool was_called;
static char owner[300];         /* the module whose function passes nothing on */

bool lt_allocator_is_first(const void *function)
{
    Dl_info info;
    return dladdr(function, &info) && info.dli_fbase == (const void *)__ehdr_start;
}

bool lt_allocator_probing(void)
{
    was_called = true;
    return state == PROBING;
}

/* Said as it is: inside a sanitizer's start few functions of libc may be called. */
static const char *sanitizer(void)
{
#define BUILT_WITH(name)                                                                          \
    name "'s allocator is in this program, not tracing; trace a build without the sanitizer"
    return __asan_init     ? BUILT_WITH("AddressSanitizer")
           : __hwasan_init ? BUILT_WITH("HWAddressSanitizer")
           : __msan_init   ? BUILT_WITH("MemorySanitizer")
           : __tsan_init   ? BUILT_WITH("ThreadSanitizer")
           : __lsan_init   ? BUILT_WITH("LeakSanitizer")
                           : NULL;
#undef BUILT_WITH
}

/* After a call of `function`, which others find elsewhere: did it come here? */
static void judge(const void *function)
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
    bool own_malloc = lt_allocator_is_first((const void *)malloc) &&
                      !_vgr10010ZU_VgSoSynsomalloc_malloc;
    bool own_free = lt_allocator_is_first((const void *)free);
    state = PROBING;
    if (!own_malloc || !own_free) {
        void *p = malloc(1);
        if (!own_malloc)
            judge((const void *)malloc);
        was_called = false;
        free(p);
        if (!own_free)
            judge((const void *)free);
    }
    if (!lt_allocator_is_first((const void *)calloc)) {
        was_called = false;
        void *p = calloc(1, 1);
        judge((const void *)calloc);
        free(p);
    }
    if (!lt_allocator_is_first((const void *)realloc)) {
        was_called = false;
        void *p = realloc(NULL, 1);
        judge((const void *)realloc);
        free(p);
    }
    state = owner[0] ? UNREACHED : REACHED;
}

bool lt_allocator_serves(bool asked)
{
    const char *reason = sanitizer(), *detail = NULL;
    if (!reason && state == UNREACHED) {
        reason = "another allocator comes first and passes nothing on, not tracing; preload "
                 "libmlog.so before it, or link the program without it:";
        detail = owner;
        if (_vgr10010ZU_VgSoSynsomalloc_malloc) {
            reason = "Valgrind's allocator is in this program, not tracing; give valgrind the "
                     "option";
            detail = "--soname-synonyms=somalloc=nouserintercepts";
        }
    }
    if (reason && asked)
        lt_say(reason, detail, 0);
    return !reason;
}

/* AddressSanitizer's shared library ends a program in which another library is
 * loaded before it, unless told otherwise; the program's own answer to this
 * question comes first. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
    return "verify_asan_link_order=0";
}
