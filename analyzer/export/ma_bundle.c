/* SPDX-License-Identifier: MIT
 *
 * Writing of bundles; see ma_bundle.h. The symbols come first, in a frame that
 * every zstd decoder skips, so that a bundle can be read from a pipe and
 * `zstd -d` makes the trace of it again, byte for byte.
 */
#include "ma_bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "ma_progress.h"
#include "mlf_codec.h"

enum { LEVEL = 6, COPY = 1 << 18 };

static int copy(int from, FILE *to, const char *name, struct ma_error *error)
{
    static char bytes[COPY];
    struct ma_progress progress;
    uint64_t done = 0;
    ssize_t n;
    ma_progress_begin(&progress, "copying the trace");
    while ((n = read(from, bytes, sizeof bytes)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ma_fail(error, -errno, "%s: reading failed: %s", name, strerror(errno));
        if (fwrite(bytes, 1, (size_t)n, to) != (size_t)n)
            return ma_fail(error, -EIO, "no room for a temporary copy of the trace: %s",
                           strerror(errno));
        ma_progress_show(&progress, done += (uint64_t)n, 0);
    }
    ma_progress_end(&progress);
    if (fflush(to) != 0)
        return ma_fail(error, -EIO, "no room for a temporary copy of the trace: %s",
                       strerror(errno));
    return 0;
}

int ma_bundle_spool(const char *trace, FILE **file, char **path, struct ma_error *error)
{
    struct stat status;
    bool standard = strcmp(trace, "-") == 0;
    const char *name = standard ? "standard input" : trace;
    *file = NULL;
    *path = NULL;
    /* A missing file and a directory are refused elsewhere. */
    if (!standard &&
        (stat(trace, &status) != 0 || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
        return 0;
    int fd = standard ? STDIN_FILENO : open(trace, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ma_fail(error, -errno, "%s: cannot open the trace: %s", name, strerror(errno));
    int result;
    *file = tmpfile();
    if (!*file)
        result = ma_fail(error, -errno, "cannot make a temporary copy of the trace: %s",
                         strerror(errno));
    else
        result = copy(fd, *file, name, error);
    if (!standard)
        close(fd);
    if (result == 0 && asprintf(path, "/proc/self/fd/%d", fileno(*file)) < 0) {
        *path = NULL;
        result = ma_fail_memory(error);
    }
    return result;
}

static int write_symbols(struct ma_analysis *analysis, FILE *out, struct ma_error *error)
{
    unsigned char header[MA_BUNDLE_HEADER];
    void *data;
    size_t size;
    int result = ma_stacks_resolve_all(&analysis->stacks);
    if (result == 0)
        result = ma_symbols_save(analysis->symbols, &data, &size);
    if (result == 0 && size > MA_BUNDLE_SYMBOLS_MAX) {
        free(data);
        result = -EFBIG;
    }
    if (result == -EFBIG)
        return ma_fail(error, result, "%s: there are too many symbols for a bundle",
                       analysis->request->trace);
    if (result < 0)
        return ma_fail_memory(error);
    mlf_put_u32(header, MA_BUNDLE_MAGIC);
    mlf_put_u32(header + 4, (uint32_t)(size + MA_BUNDLE_HEADER - 8));
    memcpy(header + 8, MA_BUNDLE_ID, MA_BUNDLE_HEADER - 8);
    fwrite(header, 1, sizeof header, out);
    fwrite(data, 1, size, out);
    free(data);
    return 0;
}

/* Compresses n bytes and writes what comes of them. */
static int compress(ZSTD_CCtx *context, const unsigned char *data, size_t n, bool last, FILE *out)
{
    static char bytes[COPY];
    ZSTD_inBuffer in = {data, n, 0};
    size_t left;
    do {
        ZSTD_outBuffer to = {bytes, sizeof bytes, 0};
        left = ZSTD_compressStream2(context, &to, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return -ENOMEM;
        if (fwrite(bytes, 1, to.pos, out) != to.pos)
            return 0; /* the commit says why */
    } while (in.pos < in.size || (last && left));
    return 0;
}

static int write_trace(const char *path, FILE *out, struct ma_error *error)
{
    struct ma_source *source = NULL;
    struct ma_progress progress;
    const unsigned char *data;
    int result = ma_source_open(path, &source, error);
    if (result < 0)
        return result;
    ZSTD_CCtx *context = ZSTD_createCCtx();
    if (!context)
        result = -ENOMEM;
    else
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, LEVEL);
    if (context)
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    ma_progress_begin(&progress, "writing");
    for (uint64_t at = 0; result == 0 && !ferror(out);) {
        size_t n = ma_source_window(source, at, COPY, &data);
        n = n < COPY ? n : COPY;
        result = compress(context, data, n, n == 0, out);
        if (n == 0)
            break;
        at += n;
        ma_source_forget(source, at);
        uint64_t done, size;
        ma_source_progress(source, at, &done, &size);
        ma_progress_show(&progress, done, size);
    }
    ma_progress_end(&progress);
    ZSTD_freeCCtx(context);
    ma_source_close(source);
    return result == -ENOMEM ? ma_fail_memory(error) : result;
}

int ma_bundle_write(struct ma_analysis *analysis, FILE *out, struct ma_error *error)
{
    int result = write_symbols(analysis, out, error);
    return result < 0 ? result : write_trace(analysis->request->trace, out, error);
}
