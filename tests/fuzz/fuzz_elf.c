/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: symbols of a hostile ELF file whose build-id is the recorded
 * one. The input is the file. Addresses are those where small objects have their
 * code, and numbers out of the file itself.
 */
#include <elfutils/libdwelf.h>
#include <gelf.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"
#include "mlf_codec.h"

/* The build-id as the analyser will read it; none is an id, too. */
static size_t build_id(int fd, unsigned char id[64])
{
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
    const void *found;
    ssize_t size = elf ? dwelf_elf_gnu_build_id(elf, &found) : 0;
    if (size > 0 && size <= 64)
        memcpy(id, found, (size_t)size);
    elf_end(elf);
    return size > 0 && size <= 64 ? (size_t)size : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path;
    unsigned char id[64];
    const struct ma_symbol_options options = {
        .inlines = true,
        .demangle = true,
        .full_names = size % 2,
    };
    int fd = fuzz_file(data, size, &path);
    struct ma_object object = {.path = path, .build_id = id};
    object.build_id_size = build_id(fd, id);
    struct ma_symbols *symbols = ma_symbols_open(&options);
    const struct ma_symbol *out;
    for (uint64_t at = 0; symbols && at < 64; at++)
        ma_symbols_resolve(symbols, &object, 0x180 + at * 23, at % 3 == 0, &out);
    for (size_t i = 0; symbols && size >= 8 && i < 32; i++) {
        uint64_t at = mlf_get_u64(data + (size - 8) * i / 32);
        ma_symbols_resolve(symbols, &object, i % 2 ? at : at & 0xffffff, false, &out);
    }
    if (symbols) {
        ma_symbols_object_state(symbols, &object);
        ma_symbols_object_unverified(symbols, &object);
        ma_symbols_object_file(symbols, &object);
    }
    ma_symbols_close(symbols);
    close(fd);
    return 0;
}
