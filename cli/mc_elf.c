/* SPDX-License-Identifier: MIT
 *
 * Reading ELF headers, sections and symbols; see mc_elf.h. Fields are fetched by their
 * place in either class, through one bounded reader with a sticky error.
 */
#include "mc_elf.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mlf_allocators.h"

#define SECTIONS_MAX 65536
#define SEGMENTS_MAX 4096

struct reader {
    const unsigned char *map;
    size_t size;
    bool wide, swapped, failed;
};

/* The integer of n bytes at an offset; 0, and failed, if it is not in the file. */
static uint64_t get(struct reader *file, uint64_t at, unsigned n)
{
    uint64_t value = 0;
    if (at > file->size || file->size - at < n) {
        file->failed = true;
        return 0;
    }
    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)file->map[at + i] << 8 * (file->swapped ? n - 1 - i : i);
    return value;
}

/* The member of a structure that begins at `at`, in the file's class. */
#define FIELD(file, at, type, member)                                                              \
    ((file)->wide                                                                                  \
         ? get(file, (at) + offsetof(Elf64_##type, member), sizeof((Elf64_##type *)0)->member)     \
         : get(file, (at) + offsetof(Elf32_##type, member), sizeof((Elf32_##type *)0)->member))
#define SIZE(file, type) ((file)->wide ? sizeof(Elf64_##type) : sizeof(Elf32_##type))

/* The text at an offset, which ends within the file; "" if it does not. */
static const char *text_at(const struct reader *file, uint64_t at)
{
    if (at >= file->size || !memchr(file->map + at, 0, file->size - at))
        return "";
    return (const char *)file->map + at;
}

struct section {
    const char *name;
    uint64_t type, offset, size, link;
};

static bool section_at(struct reader *file, uint64_t i, struct section *section)
{
    const uint64_t table = FIELD(file, 0, Ehdr, e_shoff), step = FIELD(file, 0, Ehdr, e_shentsize);
    uint64_t at = table + i * step;
    if (!table || step < SIZE(file, Shdr) || at < table)
        return false;
    *section = (struct section){
        .name = "",
        .type = FIELD(file, at, Shdr, sh_type),
        .offset = FIELD(file, at, Shdr, sh_offset),
        .size = FIELD(file, at, Shdr, sh_size),
        .link = FIELD(file, at, Shdr, sh_link),
    };
    if (section->type != SHT_NOBITS &&
        (section->offset > file->size || section->size > file->size - section->offset))
        return false;
    return !file->failed;
}

static void note_symbol(struct mc_elf *elf, const char *name, bool defined)
{
    static const struct {
        const char *symbol, *name;
    } sanitizers[] = {{"__asan_init", "AddressSanitizer"},
                      {"__hwasan_init", "HWAddressSanitizer"},
                      {"__tsan_init", "ThreadSanitizer"},
                      {"__msan_init", "MemorySanitizer"},
                      {"__lsan_init", "LeakSanitizer"}};
    for (size_t i = 0; i < sizeof sanitizers / sizeof *sanitizers; i++)
        if (strcmp(name, sanitizers[i].symbol) == 0)
            elf->sanitizer = sanitizers[i].name;
    if (strcmp(name, "Py_BytesMain") == 0 || strcmp(name, "Py_Main") == 0)
        elf->is_python = true;
    if (!defined)
        return;
    const bool is_go = strcmp(name, "runtime.mallocgc") == 0;
    const struct mlf_allocator_sign *sign = is_go ? NULL : mlf_allocator_sign(name);
    if (sign)
        elf->allocator = sign->name;
    elf->own_malloc |= strcmp(name, "malloc") == 0;
    elf->is_go |= is_go;
    elf->is_rust |= strcmp(name, "rust_panic") == 0 || strcmp(name, "rust_eh_personality") == 0;
}

static void read_symbols(struct reader *file, const struct section *symbols,
                         const struct section *names, struct mc_elf *elf)
{
    const uint64_t step = SIZE(file, Sym);
    for (uint64_t i = 0; i < symbols->size / step && !file->failed; i++) {
        uint64_t at = symbols->offset + i * step, name = FIELD(file, at, Sym, st_name);
        if (name < names->size)
            note_symbol(elf, text_at(file, names->offset + name),
                        FIELD(file, at, Sym, st_shndx) != SHN_UNDEF);
    }
}

static void read_build_id(struct reader *file, const struct section *notes, struct mc_elf *elf)
{
    uint64_t at = notes->offset, end = at + notes->size;
    while (end - at >= 12 && !file->failed && !elf->build_id[0]) {
        uint64_t name = (get(file, at, 4) + 3) & ~(uint64_t)3, size = get(file, at + 4, 4);
        uint64_t type = get(file, at + 8, 4), from = at + 12 + name,
                 padded = (size + 3) & ~(uint64_t)3;
        if (name > end - at - 12 || padded > end - from)
            return;
        for (uint64_t i = 0; type == NT_GNU_BUILD_ID && i < size && i < 64; i++)
            snprintf(elf->build_id + 2 * i, 3, "%02x", file->map[from + i]);
        at = from + padded;
    }
}

static void read_sections(struct reader *file, struct mc_elf *elf)
{
    const uint64_t n = FIELD(file, 0, Ehdr, e_shnum), names_at = FIELD(file, 0, Ehdr, e_shstrndx);
    struct section names, section, linked;
    if (n > SECTIONS_MAX || !section_at(file, names_at, &names))
        return;
    for (uint64_t i = 0; i < n && section_at(file, i, &section); i++) {
        const uint64_t table = FIELD(file, 0, Ehdr, e_shoff);
        uint64_t name = FIELD(file, table + i * FIELD(file, 0, Ehdr, e_shentsize), Shdr, sh_name);
        section.name = name < names.size ? text_at(file, names.offset + name) : "";
        elf->has_debug |=
            strcmp(section.name, ".debug_info") == 0 || strcmp(section.name, ".zdebug_info") == 0;
        elf->has_symbols |= section.type == SHT_SYMTAB;
        elf->is_go |= strcmp(section.name, ".go.buildinfo") == 0;
        if ((section.type == SHT_SYMTAB || section.type == SHT_DYNSYM) &&
            section_at(file, section.link, &linked))
            read_symbols(file, &section, &linked, elf);
        if (section.type == SHT_NOTE)
            read_build_id(file, &section, elf);
    }
}

static void read_segments(struct reader *file, struct mc_elf *elf)
{
    const uint64_t n = FIELD(file, 0, Ehdr, e_phnum), table = FIELD(file, 0, Ehdr, e_phoff);
    const uint64_t step = FIELD(file, 0, Ehdr, e_phentsize);
    for (uint64_t i = 0; i < n && n <= SEGMENTS_MAX && !file->failed; i++) {
        uint64_t at = table + i * step;
        if (FIELD(file, at, Phdr, p_type) == PT_INTERP)
            snprintf(elf->interpreter, sizeof elf->interpreter, "%s",
                     text_at(file, FIELD(file, at, Phdr, p_offset)));
    }
}

int mc_elf_read(const char *path, struct mc_elf *elf)
{
    struct stat st;
    *elf = (struct mc_elf){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    void *map = MAP_FAILED;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= EI_NIDENT)
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return 0;
    struct reader file = {.map = map, .size = (size_t)st.st_size};
    if (memcmp(file.map, ELFMAG, SELFMAG) == 0) {
        file.swapped = file.map[EI_DATA] != ELFDATA2LSB;
        file.wide = file.map[EI_CLASS] == ELFCLASS64;
        elf->bits = file.wide ? 64 : 32;
        elf->machine = (unsigned)FIELD(&file, 0, Ehdr, e_machine);
        const uint64_t type = FIELD(&file, 0, Ehdr, e_type);
        elf->executable = type == ET_EXEC || type == ET_DYN;
        elf->is_elf = !file.failed;
        read_segments(&file, elf);
        file.failed = false;
        read_sections(&file, elf);
    }
    munmap(map, (size_t)st.st_size);
    return 0;
}

const char *mc_elf_machine(unsigned machine, unsigned bits)
{
    switch (machine) {
    case EM_X86_64: return bits == 64 ? "x86-64" : "x32";
    case EM_386: return "32-bit x86";
    case EM_AARCH64: return "AArch64";
    case EM_ARM: return "32-bit ARM";
    case EM_RISCV: return "RISC-V";
    case EM_PPC64: return "PowerPC";
    case EM_S390: return "s390";
    default: return "another processor";
    }
}
