/* SPDX-License-Identifier: MIT
 *
 * The reader; see lt_elf.h. What it reads is what the loader trusts, so lengths are
 * only bounded as far as they decide how long a loop runs.
 */
#include "lt_elf.h"

#include <string.h>

#include "lt_sys.h"

#define SEGMENTS_MAX 64
#define DYNAMIC_MAX 512
#define CHAIN_MAX 65536
#define UNDEFINED_MAX (1u << 20)

bool lt_elf_read(const struct lt_elf *elf, void *to, uintptr_t from, size_t size)
{
    if (!elf->pid) {
        memcpy(to, (const void *)from, size);
        return true;
    }
    struct iovec here = {to, size}, there = {(void *)from, size};
    return lt_syscall6(SYS_process_vm_readv, elf->pid, (long)&here, 1, (long)&there, 1, 0) ==
           (long)size;
}

static bool is_object(const ElfW(Ehdr) * header)
{
    return !memcmp(header->e_ident, ELFMAG, SELFMAG) &&
           header->e_ident[EI_CLASS] == (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) &&
           (header->e_type == ET_DYN || header->e_type == ET_EXEC) &&
           header->e_phentsize == sizeof(ElfW(Phdr)) && header->e_phnum <= SEGMENTS_MAX;
}

/* glibc replaces these addresses by those in memory, musl does not, and no one in the vdso. */
static uintptr_t address_of(const struct lt_elf *elf, const ElfW(Dyn) * d)
{
    return d->d_un.d_ptr < elf->bias ? elf->bias + d->d_un.d_ptr : d->d_un.d_ptr;
}

enum { PLT, RELA, REL }; /* of lt_elf.relocations */

static void take_dynamic(struct lt_elf *elf, const ElfW(Dyn) * d)
{
    switch (d->d_tag) {
    case DT_SYMTAB: elf->symbols = address_of(elf, d); break;
    case DT_STRTAB:
        elf->names = address_of(elf, d);
        elf->is_relocated = d->d_un.d_ptr >= elf->bias;
        break;
    case DT_STRSZ: elf->names_size = d->d_un.d_val; break;
    case DT_GNU_HASH: elf->gnu_hash = address_of(elf, d); break;
    case DT_HASH: elf->hash = address_of(elf, d); break;
    case DT_SYMBOLIC: elf->is_symbolic = true; break;
    case DT_FLAGS: elf->is_symbolic |= (d->d_un.d_val & DF_SYMBOLIC) != 0; break;
    case DT_PLTREL:
        elf->relocations[PLT].entry =
            d->d_un.d_val == DT_RELA ? sizeof(ElfW(Rela)) : sizeof(ElfW(Rel));
        break;
    case DT_JMPREL: elf->relocations[PLT].at = address_of(elf, d); break;
    case DT_PLTRELSZ: elf->relocations[PLT].size = d->d_un.d_val; break;
    case DT_RELA: elf->relocations[RELA].at = address_of(elf, d); break;
    case DT_RELASZ: elf->relocations[RELA].size = d->d_un.d_val; break;
    case DT_REL: elf->relocations[REL].at = address_of(elf, d); break;
    case DT_RELSZ: elf->relocations[REL].size = d->d_un.d_val; break;
    }
}

static bool read_dynamic(struct lt_elf *elf, uintptr_t at, size_t size)
{
    size_t n = size / sizeof(ElfW(Dyn));
    elf->relocations[RELA].entry = sizeof(ElfW(Rela));
    elf->relocations[PLT].entry = elf->relocations[REL].entry = sizeof(ElfW(Rel));
    for (size_t i = 0; i < n && i < DYNAMIC_MAX; i++) {
        size_t in_batch = i % LT_ELF_BATCH, left = n - i;
        if (!in_batch &&
            !lt_elf_read(elf, elf->dynamic, at + i * sizeof *elf->dynamic,
                         (left < LT_ELF_BATCH ? left : LT_ELF_BATCH) * sizeof *elf->dynamic))
            return false;
        if (elf->dynamic[in_batch].d_tag == DT_NULL)
            break;
        take_dynamic(elf, &elf->dynamic[in_batch]);
    }
    return elf->symbols && elf->names;
}

bool lt_elf_open(struct lt_elf *elf, uintptr_t at, bool is_safe)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segment;
    ElfW(Addr) dynamic = 0;
    size_t dynamic_size = 0;
    bool has_bias = false;
    memset(elf, 0, sizeof *elf);
    elf->pid = is_safe ? 0 : lt_getpid();
    if (!lt_elf_read(elf, &header, at, sizeof header) || !is_object(&header))
        return false;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        if (!lt_elf_read(elf, &segment, at + header.e_phoff + i * sizeof segment, sizeof segment))
            return false;
        if (segment.p_type == PT_DYNAMIC) {
            dynamic = segment.p_vaddr;
            dynamic_size = segment.p_memsz;
        }
        if (segment.p_type != PT_LOAD)
            continue;
        if (!has_bias)
            elf->bias = at - (segment.p_vaddr - segment.p_offset);
        has_bias = true;
        uintptr_t to = elf->bias + segment.p_vaddr + segment.p_memsz;
        elf->end = to > elf->end ? to : elf->end;
    }
    return has_bias && dynamic && read_dynamic(elf, elf->bias + dynamic, dynamic_size);
}

static bool is_name(const struct lt_elf *elf, const ElfW(Sym) * symbol, const char *name)
{
    char found[64];
    size_t size = strlen(name) + 1;
    return size <= sizeof found && symbol->st_name < elf->names_size &&
           size <= elf->names_size - symbol->st_name &&
           lt_elf_read(elf, found, elf->names + symbol->st_name, size) &&
           !memcmp(found, name, size);
}

static bool read_symbol(const struct lt_elf *elf, uint32_t number, ElfW(Sym) * symbol)
{
    return lt_elf_read(elf, symbol, elf->symbols + number * sizeof *symbol, sizeof *symbol);
}

static bool is_defined(const struct lt_elf *elf, uint32_t number, const char *name,
                       ElfW(Sym) * symbol)
{
    return read_symbol(elf, number, symbol) && symbol->st_shndx != SHN_UNDEF &&
           is_name(elf, symbol, name);
}

static bool find_by_gnu_hash(const struct lt_elf *elf, const char *name, ElfW(Sym) * symbol,
                             uint32_t *number)
{
    uint32_t table[4], hash = 5381, at, found; /* buckets, first symbol, words of the filter */
    for (const char *p = name; *p; p++)
        hash = hash * 33 + (unsigned char)*p;
    if (!lt_elf_read(elf, table, elf->gnu_hash, sizeof table) || !table[0])
        return false;
    uintptr_t buckets = elf->gnu_hash + sizeof table + table[2] * sizeof(ElfW(Addr));
    if (!lt_elf_read(elf, &at, buckets + hash % table[0] * sizeof at, sizeof at) || at < table[1])
        return false;
    uintptr_t chains = buckets + table[0] * sizeof at;
    for (uint32_t i = 0; i < CHAIN_MAX; i++, at++) {
        if (!lt_elf_read(elf, &found, chains + (at - table[1]) * sizeof found, sizeof found))
            return false;
        if ((found | 1) == (hash | 1) && is_defined(elf, at, name, symbol)) {
            *number = at;
            return true;
        }
        if (found & 1)
            return false;
    }
    return false;
}

static bool find_by_hash(const struct lt_elf *elf, const char *name, ElfW(Sym) * symbol,
                         uint32_t *number)
{
    uint32_t table[2], hash = 0, at; /* buckets, symbols */
    for (const char *p = name; *p; p++) {
        hash = (hash << 4) + (unsigned char)*p;
        hash = (hash ^ (hash & 0xf0000000u) >> 24) & 0x0fffffffu;
    }
    if (!lt_elf_read(elf, table, elf->hash, sizeof table) || !table[0])
        return false;
    uintptr_t buckets = elf->hash + sizeof table, chains = buckets + table[0] * sizeof at;
    uintptr_t next = buckets + hash % table[0] * sizeof at;
    for (uint32_t i = 0; i < CHAIN_MAX && lt_elf_read(elf, &at, next, sizeof at) && at; i++) {
        if (is_defined(elf, at, name, symbol)) {
            *number = at;
            return true;
        }
        next = chains + at * sizeof at;
    }
    return false;
}

bool lt_elf_find(struct lt_elf *elf, const char *name, ElfW(Sym) * symbol, uint32_t *number)
{
    return elf->gnu_hash ? find_by_gnu_hash(elf, name, symbol, number)
                         : elf->hash && find_by_hash(elf, name, symbol, number);
}

/* Undefined symbols are the first of the table, as the GNU hash has it; its linker puts
 * the names right behind the symbols. */
static uint32_t count_undefined(const struct lt_elf *elf)
{
    uint32_t word[2] = {0, 0};
    uintptr_t table = elf->gnu_hash ? elf->gnu_hash : elf->hash;
    if (table && !lt_elf_read(elf, word, table, sizeof word))
        return 0;
    if (word[1] <= 1 && elf->names > elf->symbols)
        word[1] = (uint32_t)((elf->names - elf->symbols) / sizeof(ElfW(Sym)));
    return word[1] < UNDEFINED_MAX ? word[1] : UNDEFINED_MAX;
}

/* The names of elf->batch[n], "" where there is none. */
static void read_names(struct lt_elf *elf, size_t n)
{
    struct iovec *here = elf->parts[0], *there = elf->parts[1];
    size_t parts = 0, sum = 0;
    memset(elf->batch_names, 0, sizeof elf->batch_names);
    for (size_t i = 0; i < n; i++) {
        const ElfW(Sym) *symbol = &elf->batch[i];
        if (symbol->st_shndx != SHN_UNDEF || !symbol->st_name || symbol->st_name >= elf->names_size)
            continue;
        size_t left = elf->names_size - symbol->st_name, size = sizeof *elf->batch_names;
        size = left < size ? left : size;
        if (!elf->pid) {
            memcpy(elf->batch_names[i], (const void *)(elf->names + symbol->st_name), size);
            continue;
        }
        here[parts] = (struct iovec){elf->batch_names[i], size};
        there[parts++] = (struct iovec){(void *)(elf->names + symbol->st_name), size};
        sum += size;
    }
    if (parts && lt_syscall6(SYS_process_vm_readv, elf->pid, (long)here, (long)parts, (long)there,
                             (long)parts, 0) != (long)sum)
        memset(elf->batch_names, 0, sizeof elf->batch_names);
}

void lt_elf_find_undefined(struct lt_elf *elf, const char *const names[], size_t n,
                           uint32_t numbers[])
{
    uint32_t count = count_undefined(elf);
    for (uint32_t i = 0; i < count; i += LT_ELF_BATCH) {
        size_t batch = count - i < LT_ELF_BATCH ? count - i : LT_ELF_BATCH;
        if (!lt_elf_read(elf, elf->batch, elf->symbols + i * sizeof *elf->batch,
                         batch * sizeof *elf->batch))
            return;
        read_names(elf, batch);
        for (size_t k = 0; k < batch; k++)
            for (size_t j = 0; *elf->batch_names[k] && j < n; j++)
                if (!strncmp(elf->batch_names[k], names[j], sizeof elf->batch_names[k]))
                    numbers[j] = i + (uint32_t)k;
    }
}

static uint32_t symbol_of(uintptr_t info)
{
    return (uint32_t)(sizeof info == 8 ? (uint64_t)info >> 32 : info >> 8);
}

/* A word through which code calls, or takes an address. */
static bool is_linkage(uintptr_t info)
{
    uint32_t type = (uint32_t)(sizeof info == 8 ? info : info & 0xff);
#if defined(__aarch64__)
    return type == R_AARCH64_GLOB_DAT || type == R_AARCH64_JUMP_SLOT;
#elif defined(__x86_64__)
    return type == R_X86_64_GLOB_DAT || type == R_X86_64_JUMP_SLOT;
#else
    return type == R_386_GLOB_DAT || type == R_386_JMP_SLOT;
#endif
}

size_t lt_elf_find_slots(struct lt_elf *elf, const uint32_t numbers[], size_t n, uintptr_t slots[],
                         unsigned char which[], size_t room)
{
    size_t found = 0;
    for (size_t t = 0; t < LT_ELF_TABLES; t++) {
        size_t entry = elf->relocations[t].entry, words = entry / sizeof(uintptr_t);
        size_t count = elf->relocations[t].at ? elf->relocations[t].size / entry : 0;
        for (size_t i = 0; i < count && found < room; i++) {
            size_t in_batch = i % LT_ELF_RELOCATIONS, left = count - i;
            left = left < LT_ELF_RELOCATIONS ? left : LT_ELF_RELOCATIONS;
            if (!in_batch && !lt_elf_read(elf, elf->relocation, elf->relocations[t].at + i * entry,
                                          left * entry))
                break;
            const uintptr_t *relocation = elf->relocation + in_batch * words; /* place, what */
            uint32_t symbol = symbol_of(relocation[1]);
            for (size_t k = 0; symbol && k < n; k++)
                if (numbers[k] == symbol) {
                    slots[found] = elf->bias + relocation[0];
                    which[found++] =
                        (unsigned char)(k | (is_linkage(relocation[1]) ? 0 : LT_ELF_DATA));
                    break;
                }
        }
    }
    return found;
}
