/* SPDX-License-Identifier: MIT
 *
 * Shared by the fuzz targets; see fuzz.h.
 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "books.h"
#include "ma_bundle.h"
#include "ma_dump.h"
#include "ma_export.h"
#include "ma_flamegraph.h"
#include "ma_render.h"
#include "ma_report.h"
#include "mlf_codec.h"

/* The reader waits a moment for what may be being written; nothing is here. */
int nanosleep(const struct timespec *wanted, struct timespec *left);
int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    (void)wanted;
    (void)left;
    return 0;
}

static const char *name_of(int fd)
{
    static char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static void put_all(int fd, const uint8_t *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n <= 0)
            abort();
        data += n;
        size -= (size_t)n;
    }
}

int fuzz_file(const uint8_t *data, size_t size, const char **path)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0)
        abort();
    put_all(fd, data, size);
    *path = name_of(fd);
    return fd;
}

int fuzz_pipe(const uint8_t *data, size_t size, const char **path)
{
    int fd[2];
    if (size > FUZZ_PIPE || pipe2(fd, O_CLOEXEC) < 0 ||
        (size > 65536 && fcntl(fd[1], F_SETPIPE_SZ, FUZZ_PIPE) < 0))
        abort();
    put_all(fd[1], data, size);
    /* A FIFO that is opened again has a writer as long as we keep one. */
    static char name[64];
    int again;
    snprintf(name, sizeof name, "%s", name_of(fd[0]));
    again = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (again < 0)
        abort();
    close(fd[1]);
    close(fd[0]);
    *path = name_of(again);
    return again;
}

FILE *fuzz_nowhere(void)
{
    static FILE *file;
    if (!file && !(file = fopen("/dev/null", "w")))
        abort();
    return file;
}

static void report(struct ma_analysis *analysis, struct ma_error *error)
{
    struct ma_render_options look = {.frames = analysis->request->frames};
    struct ma_model model;
    ma_model_init(&model);
    if (ma_report_build(analysis, &model, error) == 0)
        (analysis->request->json ? ma_render_json : ma_render_text)(&model, &analysis->stacks,
                                                                    &look, fuzz_nowhere());
    ma_model_free(&model);
}

unsigned fuzz_choice(const uint8_t *data, size_t size)
{
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = sum * 31 + data[i];
    return sum >> 8;
}

/* Whatever a trace claims, what the replay sums up goes together. */
static void check_books(const struct ma_analysis *analysis)
{
    const char *problem = books_problem(&analysis->replay, true);
    if (!problem)
        return;
    fprintf(stderr, "fuzz: %s\n", problem);
    abort();
}

static int open_analysis(struct ma_analysis *analysis, const struct ma_request *request, bool lanes,
                         struct ma_error *error)
{
    int result = ma_analysis_open(analysis, request, error);
    if (lanes) {
        analysis->merge.lanes_from = 0;
        analysis->merge.decoding.lane_least = 1;
    }
    return result;
}

static const struct ma_request *parsed(struct fuzz_command *command)
{
    char *words[48], *place;
    int n = 0;
    if (command->split)
        return &command->request;
    if (asprintf(&command->split, "mlog-analyze %s TRACE", command->words) < 0)
        abort();
    for (char *word = strtok_r(command->split, " ", &place); word;
         word = strtok_r(NULL, " ", &place))
        words[n++] = word;
    optind = 0; /* of a new command */
    if (ma_options_parse(&command->request, n, words) != MA_OPTIONS_RUN)
        abort();
    return &command->request;
}

static int write_main(struct ma_analysis *analysis, struct ma_error *error)
{
    const struct ma_request *request = analysis->request;
    if (request->bundle)
        return ma_bundle_write(analysis, fuzz_nowhere(), error);
    if (request->flamegraph)
        return ma_flamegraph_write(analysis, NULL, true, fuzz_nowhere(), error);
    if (!request->exports_only)
        report(analysis, error);
    return 0;
}

/* What is to be done before the pass: work() of ma_main.c. */
static int prepare(struct ma_analysis *analysis, struct ma_exports *exports, struct ma_error *error)
{
    const struct ma_request *request = analysis->request;
    if (request->dump)
        return 0;
    if (!request->flamegraph && !request->exports_only && ma_report_observe(analysis, error) < 0)
        return -ENOMEM;
    int result = ma_exports_open(exports, analysis, error);
    if (result == 0 && !request->bundle && !exports->n)
        result = ma_analysis_retire(analysis);
    return result;
}

void fuzz_analyse(const char *path, struct fuzz_command *command, bool lanes)
{
    struct ma_request request = *parsed(command);
    struct ma_analysis analysis;
    struct ma_error error = {0};
    struct ma_dump dump = {0};
    struct ma_exports exports = {0};
    char sentence[400];
    request.trace = path;
    const struct ma_dumper *dumper = request.dump;
    if (open_analysis(&analysis, &request, lanes, &error) == 0 &&
        (!dumper || ma_dump_begin(&dump, dumper, &analysis, fuzz_nowhere()) == 0) &&
        prepare(&analysis, &exports, &error) == 0 &&
        ma_analysis_run(&analysis, dumper ? &dump.pass : NULL, &error) == 0 && !dumper &&
        ma_analysis_rows(&analysis, &error) == 0) {
        check_books(&analysis);
        if (ma_exports_write(&exports, &analysis, &error) == 0)
            write_main(&analysis, &error);
        ma_audit_is_damaged(&analysis.trace.audit, sentence, sizeof sentence);
    }
    ma_exports_close(&exports);
    ma_dump_free(&dump);
    ma_analysis_free(&analysis);
}

static void mend_chunk(const struct mlf_crc_table *table, uint8_t *p, size_t size)
{
    size_t header = mlf_get_u16(p + MLF_CHUNK_HEADER_SIZE);
    size_t whole = mlf_get_u32(p + MLF_CHUNK_SIZE_AT);
    if (p[MLF_CHUNK_FLAGS] & MLF_CHUNK_HAS_CRC && header <= whole && whole <= size)
        mlf_put_u32(p + MLF_CHUNK_PAYLOAD_CRC, mlf_crc32(table, 0, p + header, whole - header));
    mlf_put_u32(p + MLF_CHUNK_CRC, mlf_crc32(table, 0, p, MLF_CHUNK_CRC));
}

void fuzz_mend_crcs(uint8_t *data, size_t size)
{
    static struct mlf_crc_table table;
    static bool filled;
    if (!filled)
        mlf_crc_table_fill(&table);
    filled = true;
    for (size_t i = 0; i + MLF_CHUNK_HEADER <= size; i++) {
        if (memcmp(data + i, "mlck", 4) == 0)
            mend_chunk(&table, data + i, size - i);
        else if (i + MLF_HDR_SIZE <= size && memcmp(data + i, MLF_MAGIC, MLF_MAGIC_SIZE) == 0)
            mlf_put_u32(data + i + MLF_HDR_CRC, mlf_crc32(&table, 0, data + i, MLF_HDR_CRC));
    }
}
