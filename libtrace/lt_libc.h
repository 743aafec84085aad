/* SPDX-License-Identifier: MIT
 *
 * The differences between the C libraries (glibc, musl) that the rest of libtrace
 * need not know: libc's own addresses, the layout of its blocks, the abilities of
 * its loader. lt_real.c, lt_allocator.c and the unwinders ask; lt_forward.h holds
 * how its functions call each other.
 */
#ifndef LT_LIBC_H
#define LT_LIBC_H

#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* A symbol that lies in libc and that nobody else defines. */
#if defined(__GLIBC__)
#define LT_LIBC_SYMBOL "gnu_get_libc_version"
#else
#define LT_LIBC_SYMBOL "__libc_start_main"
#endif
extern char lt_in_libc[] __asm__(LT_LIBC_SYMBOL) __attribute__((weak));

/* True if this address is the linkage table's place for a function that a program
 * linked to a fixed address does not define. False where libc cannot tell. */
static inline bool lt_libc_says_linkage(const void *function)
{
#if defined(__GLIBC__)
    Dl_info info;
    ElfW(Sym) *symbol = NULL;
    return dladdr1(function, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol &&
           symbol->st_shndx == SHN_UNDEF;
#else
    (void)function;
    return false;
#endif
}

/* 1 if the size of a block lies in the word before it. */
#if defined(__GLIBC__)
#define LT_LIBC_HAS_HEADERS 1
#else
#define LT_LIBC_HAS_HEADERS 0
#endif

/* The next definition, in libc's version, of a function of the malloc family; NULL
 * if symbols have no versions. A library may define it in this version alone
 * (libc_malloc_debug.so does): programs are bound to that, dlsym is not.
 * Changes errno. */
static inline void *lt_libc_bound(const char *name)
{
#if !defined(__GLIBC__)
    (void)name;
    return NULL;
#elif defined(__aarch64__)
    return dlvsym(RTLD_NEXT, name, "GLIBC_2.17");
#else
    if (!strcmp(name, "aligned_alloc"))
        return dlvsym(RTLD_NEXT, name, "GLIBC_2.16");
#if defined(__x86_64__)
    return dlvsym(RTLD_NEXT, name, "GLIBC_2.2.5");
#else
    return dlvsym(RTLD_NEXT, name, strcmp(name, "posix_memalign") ? "GLIBC_2.0" : "GLIBC_2.2");
#endif
#endif
}

#endif
