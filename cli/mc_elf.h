/* SPDX-License-Identifier: MIT
 *
 * What an ELF file says of itself, as far as it matters to a preloaded library. A file is
 * hostile: no offset or length of it is used unbounded.
 */
#ifndef MC_ELF_H
#define MC_ELF_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mc_elf {
    bool is_elf;
    unsigned bits;              /* 32 or 64 */
    unsigned machine;           /* EM_* */
    bool executable;            /* ET_EXEC or ET_DYN */
    char interpreter[PATH_MAX]; /* "": none, so it is static */
    bool has_debug;             /* a section .debug_info */
    bool has_symbols;           /* a section .symtab */
    char build_id[136];         /* in hexadecimal, or "" */
    bool is_go;
    /* Found among its symbols: the sanitizer, the allocator, and a malloc of its own. */
    const char *sanitizer, *allocator;
    bool own_malloc, is_rust, is_python;
};

/* Read it. Returns 0 or a negative errno; is_elf is false for any other file. */
int mc_elf_read(const char *path, struct mc_elf *elf);

/* The name of a machine, as people call it. */
const char *mc_elf_machine(unsigned machine, unsigned bits);

#endif
