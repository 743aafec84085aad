/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: a trace through the whole analyser, once as a mapped file with
 * all reports as JSON, once from a pipe as a dump, a text report and a flame
 * graph; half of them on two cores. The mutator sets CRCs right nearly always.
 */
#include <unistd.h>

#include "fuzz.h"

static const struct ma_options all_json = {
    .reports = UINT32_MAX, .json = true, .top = 30, .frames = 32,
};
static const struct ma_options texts[] = {
    { .reports = UINT32_MAX, .top = 10, .frames = 16 },
    { .dump = "text", .top = 10, .frames = 16 },
    { .dump = "json", .top = 10, .frames = 16 },
    { .flamegraph = "leaks", .top = 10, .frames = 16 },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path;
    int fd;
    unsigned choice = fuzz_choice(data, size);
    if (size > FUZZ_PIPE)
        return 0;
    fd = fuzz_file(data, size, &path);
    fuzz_analyse(path, &all_json, choice % 2);
    close(fd);
    fd = fuzz_pipe(data, size, &path);
    fuzz_analyse(path, &texts[choice / 2 % (sizeof texts / sizeof *texts)], choice / 8 % 2);
    close(fd);
    return 0;
}

#ifdef FUZZING
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 16)
        fuzz_mend_crcs(data, size);
    return size;
}
#endif
