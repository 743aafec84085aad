/* SPDX-License-Identifier: MIT
 *
 * Fuzz target: a trace through the whole analyser, once as a mapped file, once
 * from a pipe, each with one of the commands below; half of them on two cores.
 * The mutator sets CRCs right nearly always.
 */
#include <unistd.h>

#include "fuzz.h"

#define NOTHING_FOUND "--sysroot /nowhere --perf-map /nowhere --no-cache "
/* With --summary processes are retired, with reports that observe events none is. */
#define USUAL "--no-symbols --json --top 30 --summary --leaks --peak --allocations"
#define OBSERVED                                                                                   \
    "--timeline --per-process --temporary=3 --churn --sizes --lifetimes --threads --reallocs "     \
    "--tree --callers . --callees . "

static struct fuzz_command of_file[] = {
    {.words = USUAL},
    {.words = "--no-symbols"},
    {.words = USUAL " " OBSERVED "--snapshots=marks"},
    {.words = NOTHING_FOUND OBSERVED "--snapshots=churn:1K --sort calls,blocks"},
    {.words = USUAL " --from 20% --to 80% --min-size 16 --churn --threads --timeline"},
    {.words = NOTHING_FOUND "--function a --module [lb] --exclude x --min-age 1us --leaks"},
    {.words = "--no-symbols --tid * --to 5s --max-size 1M --export=chrome=/dev/null"},
    {.words = "--no-symbols --export=pprof=/dev/null --export=callgrind=/dev/../dev/null"},
    {.words = "--no-symbols --export=massif=/dev/null --export=csv=/dev/../dev/null"},
    {.words = NOTHING_FOUND "--bundle /dev/null"},
};
static struct fuzz_command of_pipe[] = {
    {.words = USUAL},
    {.words = "--no-symbols --per-process --snapshots=time:0.001 --tree=bottom-up,peak"},
    {.words = "--no-symbols --dump=text"},
    {.words = "--no-symbols --dump=json"},
    {.words = "--no-symbols --dump=json --from 0.1ms --to 1s --pid 4242"},
    {.words = "--no-symbols --flamegraph=leaks"},
    {.words = "--no-symbols --flamegraph=temporary --invert --min-size 10 --icicle"},
    {.words = "--no-symbols --export=heaptrack=/dev/null --export=chrome=/dev/../dev/null"},
    {.words = "--no-symbols --export=speedscope=/dev/null --export=csv-timeline=/dev/../dev/null"},
};
#define OF(commands, choice) (&(commands)[(choice) % (sizeof(commands) / sizeof *(commands))])

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path;
    int fd;
    unsigned choice = fuzz_choice(data, size);
    if (size > FUZZ_PIPE)
        return 0;
    fd = fuzz_file(data, size, &path);
    fuzz_analyse(path, OF(of_file, choice / 4), choice % 2);
    close(fd);
    fd = fuzz_pipe(data, size, &path);
    fuzz_analyse(path, OF(of_pipe, choice / 64), choice / 2 % 2);
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
