/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: the symbol data of a bundle, as a zstd frame, and then questions
 * about the objects and addresses that small data have. The mutator changes the
 * data inside the frame, seldom the frame.
 */
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "fuzz.h"

/* Those that the corpus has: by path and build-id, by path alone, generated code. */
static const unsigned char id[] = {0xab, 0xcd};
static const struct ma_object objects[] = {
    {.path = "/a.out", .build_id = id, .build_id_size = sizeof id},
    {.path = "/a.out"},
    {.process = 1, .pid = 1, .generated = true},
    {.path = "/vdso", .vdso = true},
};

static void ask(struct ma_symbols *symbols, const struct ma_object *object)
{
    const struct ma_symbol *out;
    for (uint64_t at = 0; at < 64; at++) {
        size_t n = ma_symbols_resolve(symbols, object, at * at, at % 2, &out);
        for (size_t i = 0; i < n; i++)
            fprintf(fuzz_nowhere(), "%s %s %u\n", out[i].function ? out[i].function : "",
                    out[i].file ? out[i].file : "", out[i].line);
    }
    const char *file = ma_symbols_object_file(symbols, object);
    fprintf(fuzz_nowhere(), "%s %d\n", file ? file : "", ma_symbols_object_state(symbols, object));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ma_symbol_options options = {
        .inlines = size % 2,
        .demangle = true,
        .full_names = size % 3,
    };
    struct ma_symbols *symbols = ma_symbols_open(&options);
    void *saved;
    size_t n;
    if (!symbols)
        abort();
    ma_symbols_load(symbols, data, size);
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
        ask(symbols, &objects[i]);
    if (ma_symbols_save(symbols, &saved, &n) == 0)
        free(saved);
    ma_symbols_close(symbols);
    return 0;
}

#ifdef FUZZING
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static uint8_t plain[1 << 16];
    size_t n = seed % 16 ? ZSTD_decompress(plain, sizeof plain / 2, data, size) : 0;
    if (seed % 16 == 0 || ZSTD_isError(n))
        return LLVMFuzzerMutate(data, size, max_size);
    n = LLVMFuzzerMutate(plain, n, sizeof plain);
    size_t packed = ZSTD_compress(data, max_size, plain, n, 1);
    return ZSTD_isError(packed) ? size : packed;
}
#endif
