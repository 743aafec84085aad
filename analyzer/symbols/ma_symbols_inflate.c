/* SPDX-License-Identifier: MIT
 *
 * Debug sections that are compressed with zstd, which libelf before 0.189 cannot
 * unpack: a copy of the file in memory, with these sections plain behind its end
 * and their headers changed to say so. Sizes are the file's word: they are
 * bounded, and must be those that zstd gives, before memory is asked for.
 */
#include <elf.h>
#include <endian.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "ma_symbols_impl.h"

#ifndef ELFCOMPRESS_ZSTD
#define ELFCOMPRESS_ZSTD 2
#endif

#define MAX_INFLATED ((uint64_t)4 << 30) /* bytes of all sections */

struct packed {
    const unsigned char *data;
    size_t size;
    uint64_t plain, align;
};

/* True if section `i` of a 64-bit file of this machine's byte order is one. */
static bool find_packed(const unsigned char *raw, size_t size, const Elf64_Shdr *header,
                        struct packed *out)
{
    Elf64_Chdr packed;
    if (!(header->sh_flags & SHF_COMPRESSED) || header->sh_type == SHT_NOBITS ||
        header->sh_offset > size || header->sh_size > size - header->sh_offset ||
        header->sh_size < sizeof(packed))
        return false;
    memcpy(&packed, raw + header->sh_offset, sizeof(packed));
    *out = (struct packed){
        .data = raw + header->sh_offset + sizeof(packed),
        .size = (size_t)header->sh_size - sizeof(packed),
        .plain = packed.ch_size,
        .align = packed.ch_addralign,
    };
    return packed.ch_type == ELFCOMPRESS_ZSTD && packed.ch_size <= MAX_INFLATED &&
           ZSTD_getFrameContentSize(out->data, out->size) == packed.ch_size;
}

/* The size that a section says it unpacks to; 0 if it is not compressed. */
static uint64_t unpacked_size(Elf_Scn *section, const GElf_Shdr *header, const char *name)
{
    GElf_Chdr packed;
    if (header->sh_type == SHT_NOBITS)
        return 0;
    if (header->sh_flags & SHF_COMPRESSED)
        return gelf_getchdr(section, &packed) ? packed.ch_size : 0;
    if (!name || strncmp(name, ".zdebug", 7) != 0)
        return 0;
    /* The older form: "ZLIB" and the size, the highest byte first. */
    Elf_Data *data = elf_rawdata(section, NULL);
    uint64_t size = 0;
    if (data && data->d_buf && data->d_size >= 12)
        memcpy(&size, (const char *)data->d_buf + 4, sizeof(size));
    return be64toh(size);
}

bool ma_elf_is_bounded(Elf *elf)
{
    size_t names;
    uint64_t sum = 0;
    GElf_Shdr header;
    if (elf_getshdrstrndx(elf, &names) != 0)
        return true; /* no sections */
    /* Names that are compressed themselves would be unpacked to be read. */
    if (gelf_getshdr(elf_getscn(elf, names), &header) && header.sh_flags & SHF_COMPRESSED)
        return false;
    for (Elf_Scn *section = elf_nextscn(elf, NULL); section; section = elf_nextscn(elf, section)) {
        if (!gelf_getshdr(section, &header))
            continue;
        const char *name = elf_strptr(elf, names, header.sh_name);
        if (__builtin_add_overflow(sum, unpacked_size(section, &header, name), &sum) ||
            sum > MAX_INFLATED)
            return false;
    }
    return true;
}

bool ma_elf_inflate(const struct ma_elf *file, struct ma_elf *out)
{
    *out = (struct ma_elf){0};
    size_t size;
    const unsigned char *raw = (const unsigned char *)elf_rawfile(file->elf, &size);
    Elf64_Ehdr ehdr;
    if (!raw || size < sizeof(ehdr) || raw[EI_CLASS] != ELFCLASS64 ||
        raw[EI_DATA] != (BYTE_ORDER == LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB))
        return false;
    memcpy(&ehdr, raw, sizeof(ehdr));
    size_t n;
    if (elf_getshdrnum(file->elf, &n) != 0 || ehdr.e_shentsize != sizeof(Elf64_Shdr) ||
        ehdr.e_shoff > size || n > (size - ehdr.e_shoff) / sizeof(Elf64_Shdr))
        return false;
    const unsigned char *headers = raw + ehdr.e_shoff;
    struct packed packed;
    Elf64_Shdr header;
    uint64_t room = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(&header, headers + i * sizeof(header), sizeof(header));
        if (find_packed(raw, size, &header, &packed))
            room += packed.plain + 16;
    }
    if (!room || room > MAX_INFLATED || !(out->memory = malloc(size + room)))
        return false;
    memcpy(out->memory, raw, size);
    size_t end = size;
    for (size_t i = 0; i < n; i++) {
        memcpy(&header, headers + i * sizeof(header), sizeof(header));
        if (!find_packed(raw, size, &header, &packed))
            continue;
        end = (end + 15) & ~(size_t)15;
        if (ZSTD_decompress(out->memory + end, (size_t)packed.plain, packed.data, packed.size) !=
            packed.plain)
            continue;
        header.sh_offset = end;
        header.sh_size = packed.plain;
        header.sh_flags &= ~(Elf64_Xword)SHF_COMPRESSED;
        header.sh_addralign = packed.align;
        memcpy(out->memory + ehdr.e_shoff + i * sizeof(header), &header, sizeof(header));
        end += (size_t)packed.plain;
    }
    out->elf = elf_memory(out->memory, end);
    if (!out->elf)
        ma_elf_close(out);
    return out->elf;
}
