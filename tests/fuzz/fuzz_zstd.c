/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: a trace compressed with zstd, as a file and from a pipe. The
 * mutator changes the trace inside, the compressed bytes, or both.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "fuzz.h"

static struct fuzz_command json = {.words = "--no-symbols --json --top 30"};
static struct fuzz_command dump = {.words = "--no-symbols --dump=json"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path;
    int fd;
    if (size > FUZZ_PIPE)
        return 0;
    fd = fuzz_file(data, size, &path);
    fuzz_analyse(path, &json, size % 2);
    close(fd);
    fd = fuzz_pipe(data, size, &path);
    fuzz_analyse(path, &dump, size / 2 % 2);
    close(fd);
    return 0;
}

#ifdef FUZZING
/* The trace in `data`, at most `room` bytes of it, or 0. */
static size_t unpack(const uint8_t *data, size_t size, uint8_t *to, size_t room)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    ZSTD_inBuffer in = {data, size, 0};
    ZSTD_outBuffer out = {to, room, 0};
    while (stream && in.pos < in.size && out.pos < out.size) {
        size_t before = in.pos + out.pos;
        if (ZSTD_isError(ZSTD_decompressStream(stream, &out, &in)) || in.pos + out.pos == before)
            break;
    }
    ZSTD_freeDStream(stream);
    return out.pos;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static uint8_t trace[1 << 18];
    if (seed % 2) {
        size_t n = unpack(data, size, trace, sizeof trace / 2);
        if (n) {
            n = LLVMFuzzerMutate(trace, n, sizeof trace);
            fuzz_mend_crcs(trace, n);
            size_t packed = ZSTD_compress(data, max_size, trace, n, 1);
            if (!ZSTD_isError(packed)) {
                size = packed;
                if (seed % 8 != 1)
                    return size;
            }
        }
    }
    return LLVMFuzzerMutate(data, size, max_size);
}
#endif
