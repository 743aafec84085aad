/* SPDX-License-Identifier: MIT
 *
 * The executable's symbol tables; see ma_executable.h. The suppressions are read
 * only from the code that compilers make of `return "text";`: load an address,
 * return. Everything else is left alone.
 */
#include "ma_executable.h"

#include <errno.h>
#include <gelf.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mlf_allocators.h"

#define SUPPRESSIONS "__lsan_default_suppressions"
#define TEXT_MAX ((size_t)1 << 20)

static void note_symbol(struct ma_executable *executable, const char *name)
{
    const struct mlf_allocator_sign *sign = mlf_allocator_sign(name);
    if (!sign)
        return;
    for (size_t i = 0; i < executable->n_allocators; i++) {
        if (strcmp(executable->allocators[i].name, sign->name) == 0)
            return;
    }
    if (executable->n_allocators < MA_ALLOCATORS)
        executable->allocators[executable->n_allocators++] =
            (struct ma_executable_allocator){sign->name, sign->symbol};
}

/* The bytes of the file that are loaded at an address, and how many follow. */
static const unsigned char *bytes_at(Elf *elf, uint64_t address, size_t *n)
{
    size_t headers = 0, size = 0;
    const char *raw = elf_rawfile(elf, &size);
    if (!raw || elf_getphdrnum(elf, &headers) != 0)
        return NULL;
    for (size_t i = 0; i < headers && i < 4096; i++) {
        GElf_Phdr header;
        if (!gelf_getphdr(elf, (int)i, &header) || header.p_type != PT_LOAD ||
            address < header.p_vaddr || address - header.p_vaddr >= header.p_filesz)
            continue;
        uint64_t within = address - header.p_vaddr;
        if (header.p_offset > size || within >= size - header.p_offset)
            return NULL;
        uint64_t left = header.p_filesz - within;
        uint64_t room = size - header.p_offset - within;
        *n = (size_t)(left < room ? left : room);
        return (const unsigned char *)raw + header.p_offset + within;
    }
    return NULL;
}

static uint32_t word(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static bool skip(const unsigned char **at, const unsigned char *end, const void *what, size_t n)
{
    if ((size_t)(end - *at) < n || memcmp(*at, what, n) != 0)
        return false;
    *at += n;
    return true;
}

/* [endbr64] [push %rbp; mov %rsp,%rbp] lea or mov to %rax [pop %rbp] ret */
static bool decode_x86_64(const unsigned char *code, size_t n, uint64_t address, uint64_t *text)
{
    const unsigned char *at = code, *end = code + n;
    skip(&at, end, "\xf3\x0f\x1e\xfa", 4);
    bool framed = skip(&at, end, "\x55\x48\x89\xe5", 4);
    if (skip(&at, end, "\x48\x8d\x05", 3) && end - at >= 4) {
        int32_t distance = (int32_t)word(at);
        at += 4;
        *text = address + (uint64_t)(at - code) + (uint64_t)(int64_t)distance;
    } else if (skip(&at, end, "\xb8", 1) && end - at >= 4) {
        *text = word(at);
        at += 4;
    } else if (skip(&at, end, "\x48\xc7\xc0", 3) && end - at >= 4) {
        *text = (uint64_t)(int64_t)(int32_t)word(at);
        at += 4;
    } else {
        return false;
    }
    if (framed && !skip(&at, end, "\x5d", 1))
        return false;
    return skip(&at, end, "\xc3", 1) || skip(&at, end, "\xf3\xc3", 2);
}

/* [bti c] adr x0, text; ret  or  adrp x0, page; add x0, x0, #rest; ret */
static bool decode_aarch64(const unsigned char *code, size_t n, uint64_t address, uint64_t *text)
{
    size_t at = n >= 4 && word(code) == 0xd503245f ? 4 : 0;
    if (n < at + 8)
        return false;
    uint32_t first = word(code + at);
    if ((first & 0x1f) != 0 || (first & 0x1f000000) != 0x10000000)
        return false;
    uint64_t distance = (uint64_t)(first >> 5 & 0x7ffff) << 2 | (first >> 29 & 3);
    distance = (distance ^ (uint64_t)1 << 20) - ((uint64_t)1 << 20);
    if (first >> 31) {
        uint32_t second = word(code + at + 4);
        if ((second & 0xff8003ff) != 0x91000000 || n < at + 12)
            return false;
        *text = ((address + at) & ~(uint64_t)0xfff) + (distance << 12);
        *text += (uint64_t)(second >> 10 & 0xfff) << (second >> 22 & 1 ? 12 : 0);
        at += 4;
    } else {
        *text = address + at + distance;
    }
    return word(code + at + 4) == 0xd65f03c0;
}

static int read_suppressions(struct ma_executable *executable, Elf *elf, const GElf_Sym *symbol)
{
    GElf_Ehdr header;
    size_t n = 0;
    uint64_t text = 0;
    const unsigned char *code = bytes_at(elf, symbol->st_value, &n);
    if (!code || !gelf_getehdr(elf, &header))
        return 0;
    if (symbol->st_size && symbol->st_size < n)
        n = (size_t)symbol->st_size;
    bool known =
        header.e_ident[EI_DATA] == ELFDATA2LSB &&
        (header.e_machine == EM_X86_64    ? decode_x86_64(code, n, symbol->st_value, &text)
         : header.e_machine == EM_AARCH64 ? decode_aarch64(code, n, symbol->st_value, &text)
                                          : false);
    const unsigned char *from = known ? bytes_at(elf, text, &n) : NULL;
    if (!from || !memchr(from, '\0', n < TEXT_MAX ? n : TEXT_MAX))
        return 0;
    executable->suppressions = strdup((const char *)from);
    return executable->suppressions ? 0 : -ENOMEM;
}

static int scan_table(struct ma_executable *executable, Elf *elf, Elf_Scn *section,
                      const GElf_Shdr *header)
{
    Elf_Data *data = elf_getdata(section, NULL);
    size_t n = data && header->sh_entsize ? data->d_size / header->sh_entsize : 0;
    for (size_t i = 1; i < n && i <= INT32_MAX; i++) {
        GElf_Sym symbol;
        if (!gelf_getsym(data, (int)i, &symbol))
            break;
        if (symbol.st_shndx == SHN_UNDEF)
            continue;
        const char *name = elf_strptr(elf, header->sh_link, symbol.st_name);
        if (!name)
            continue;
        note_symbol(executable, name);
        if (executable->has_suppressions || strcmp(name, SUPPRESSIONS) != 0)
            continue;
        executable->has_suppressions = true;
        if (read_suppressions(executable, elf, &symbol) < 0)
            return -ENOMEM;
    }
    return 0;
}

int ma_executable_read(struct ma_executable *executable, Elf *elf)
{
    int result = 0;
    *executable = (struct ma_executable){0};
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section && result == 0;
         section = elf_nextscn(elf, section)) {
        GElf_Shdr header;
        if (gelf_getshdr(section, &header) &&
            (header.sh_type == SHT_SYMTAB || header.sh_type == SHT_DYNSYM))
            result = scan_table(executable, elf, section, &header);
    }
    return result;
}

void ma_executable_free(struct ma_executable *executable)
{
    free(executable->suppressions);
}
