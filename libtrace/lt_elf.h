/* SPDX-License-Identifier: MIT
 *
 * What the dynamic section of a mapped ELF object says: its symbols, and the places
 * where the loader puts the addresses of those that it looks up. Read in the memory
 * of the process, without the loader and its lock. By system calls and without
 * memory of its own, so in any context.
 */
#ifndef LT_ELF_H
#define LT_ELF_H

#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define LT_ELF_TABLES 3
#define LT_ELF_BATCH 64
#define LT_ELF_RELOCATIONS 170 /* 4 KiB of them */

/* Owned by the caller; too big for the stack of a hook. */
struct lt_elf {
    int pid; /* 0: its memory is surely there, and read as such */
    uintptr_t end, bias;
    uintptr_t symbols, names, gnu_hash, hash; /* tables; 0: none */
    size_t names_size;
    bool is_relocated; /* glibc's loader has been here: it is no file mapped to be read */
    bool is_symbolic;  /* DF_SYMBOLIC: its own definitions come first */
    struct {
        uintptr_t at;
        size_t size, entry;
    } relocations[LT_ELF_TABLES];
    ElfW(Dyn) dynamic[LT_ELF_BATCH]; /* the rest is scratch */
    ElfW(Sym) batch[LT_ELF_BATCH];
    char batch_names[LT_ELF_BATCH][16];
    struct iovec parts[2][LT_ELF_BATCH];
    uintptr_t relocation[3 * LT_ELF_RELOCATIONS];
};

/* Read what lies at `header`. False if that is no object as the loader maps it, or
 * cannot be read. `is_safe`: it is mapped, and stays so while `elf` is used; otherwise
 * all is read by a system call that fails where memory is gone. */
bool lt_elf_open(struct lt_elf *elf, uintptr_t header, bool is_safe);
/* The symbol that the object defines by this name, and its number; false if none. */
bool lt_elf_find(struct lt_elf *elf, const char *name, ElfW(Sym) * symbol, uint32_t *number);
/* Find those symbols among names[n] that the object has others define: numbers[i] is
 * set, where names[i] is one. A name has less than 16 bytes. */
void lt_elf_find_undefined(struct lt_elf *elf, const char *const names[], size_t n,
                           uint32_t numbers[]);
/* Addresses of words that hold the address of one of these symbols, once it is looked
 * up: at most `room` of them go to `slots`, and which of the numbers to `which`, with
 * LT_ELF_DATA where the word is no part of the linkage, so that the program may have
 * changed it since. Returns how many. Numbers of 0 are no symbol. */
#define LT_ELF_DATA 0x80
size_t lt_elf_find_slots(struct lt_elf *elf, const uint32_t numbers[], size_t n, uintptr_t slots[],
                         unsigned char which[], size_t room);
/* Read memory of the object, or any other; false if that is not there. */
bool lt_elf_read(const struct lt_elf *elf, void *to, uintptr_t from, size_t size);

#endif
