/* SPDX-License-Identifier: MIT
 *
 * Inputs of ma_source.h. A regular file without compression is mapped; all
 * else goes through one sliding buffer that `fill` extends, either straight
 * from read or by way of a zstd stream. Only a zstd window of up to 128 MiB is
 * accepted, and of a stream only so much as a trace may shrink, so that a
 * hostile file cannot ask for more.
 */
#include "ma_source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "ma_zstd.h"
#include "mlf_codec.h"
#include "mlf_format.h"

#define WAIT_MS 200
#define READ_SIZE ((size_t)1 << 17)
#define FRAME_KEPT_MAX ((size_t)1 << 19) /* bytes of a frame kept to be searched again */
#define SEARCH_MAX FRAME_KEPT_MAX        /* bytes in which a damaged beginning is looked for */
#define FRAME_START 5 /* bytes that tell how much more of a frame's header there is */
/* A compressed trace yields so many times its size, beside the first bytes: even a
 * mapped one full of chunks that are hardly begun. More is a bomb. */
#define YIELD_MAX 1000
#define YIELD_FREE ((uint64_t)16 << 30)
#define FORGET_SIZE ((uint64_t)16 << 20)

struct ma_source {
    char *name;
    int fd;
    const unsigned char *map; /* of the whole file, or NULL */
    uint64_t size;            /* of the file, 0 if unknown */
    uint64_t forgotten;       /* bytes of the map given back */

    unsigned char *buffer; /* bytes from `base` on */
    size_t length, capacity;
    uint64_t base;
    uint64_t consumed; /* read from fd */
    bool ended;
    bool (*wait)(void *); /* may be NULL */
    uint64_t waited;      /* ms: when it was called last */
    void *wait_context;

    ZSTD_DStream *zstd;   /* NULL: the input is not compressed */
    unsigned char *input; /* compressed bytes, from input_at on not yet decoded */
    size_t input_at, input_length;
    bool in_frame;      /* input_at lies within a frame */
    size_t block;       /* bytes to the end of its next block, or of what tells its size */
    size_t frame_begin; /* where in input that frame begins, or the one that is to follow */
    bool frame_kept;    /* all from frame_at on is still in input: */
    size_t frame_at;    /* frame_begin, or, until there is a magic there, where the frame
                         * before begins (see find_frame) */

    unsigned char *symbols; /* of a bundle, or NULL */
    size_t n_symbols;
    char problem[160];
};

/* A mapped trace may be cut short by someone else while we read it. */
static void lost_mapping(int signal_number)
{
    static const char message[] =
        ": the trace became shorter while it was read, or its disk failed\n";
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, ma_command, strlen(ma_command));
    written += write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    _exit(1);
}

static bool has_input(const struct ma_source *source)
{
    struct pollfd one = {.fd = source->fd, .events = POLLIN};
    return poll(&one, 1, WAIT_MS) > 0; /* the end of the input counts */
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* read() until something comes. Returns the count, 0 at the end or on an error
 * (then with a problem). */
static size_t read_some(struct ma_source *source, unsigned char *to, size_t size)
{
    ssize_t n;
    do {
        /* Called all the same while the input trickles and never pauses. */
        while (source->wait && (now_ms() - source->waited >= WAIT_MS || !has_input(source))) {
            if (source->wait(source->wait_context))
                return 0;
            source->waited = now_ms();
        }
        n = read(source->fd, to, size);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0) {
        snprintf(source->problem, sizeof source->problem, "reading failed after %llu bytes: %s",
                 (unsigned long long)source->consumed, strerror(errno));
        return 0;
    }
    source->consumed += (uint64_t)n;
    return (size_t)n;
}

static void fill_plain(struct ma_source *source)
{
    size_t n =
        read_some(source, source->buffer + source->length, source->capacity - source->length);
    source->length += n;
    source->ended = n == 0;
}

/* Read more input, of which nothing is left but, in front of it, the beginning
 * of the frame, if that is kept. Returns the bytes read. */
static size_t refill(struct ma_source *source)
{
    size_t kept = source->frame_kept ? source->input_length - source->frame_at : 0;
    source->frame_begin -= source->frame_at;
    if (kept > FRAME_KEPT_MAX) {
        kept = 0;
        source->frame_kept = false;
    }
    memmove(source->input, source->input + source->input_length - kept, kept);
    source->frame_at = 0;
    source->input_at = kept;
    size_t n = read_some(source, source->input + kept, READ_SIZE);
    source->input_length = kept + n;
    return n;
}

/* After damage: move the input to the next magic, where another frame may begin.
 * False if there is none.
 *
 * The bytes that the damaged frame has taken are searched again, if they are kept.
 * For a process that was killed leaves a cut frame, and others of its trace write
 * on behind it: the decoder took their bytes for the rest of that frame. It may
 * even do so without complaint, and then the only sign is that no magic stands
 * where the frame ends; so a frame is kept until the one behind it has its magic. */
static bool find_frame(struct ma_source *source)
{
    if (source->frame_kept)
        source->input_at = source->frame_at + 1;
    source->in_frame = false;
    source->frame_kept = true;
    source->block = FRAME_START;
    ZSTD_DCtx_reset(source->zstd, ZSTD_reset_session_only);
    for (;;) {
        size_t left = source->input_length - source->input_at;
        unsigned char *found =
            memmem(source->input + source->input_at, left, ma_zstd_magic, sizeof ma_zstd_magic);
        if (found) {
            source->input_at = source->frame_at = (size_t)(found - source->input);
            return true;
        }
        size_t tail = left < sizeof ma_zstd_magic - 1 ? left : sizeof ma_zstd_magic - 1;
        memmove(source->input, source->input + source->input_length - tail, tail);
        source->input_at = 0;
        source->input_length = tail;
        size_t n = read_some(source, source->input + tail, READ_SIZE);
        if (n == 0)
            return false;
        source->input_length += n;
    }
}

/* True, with a problem, if the input yields more than any trace does. */
static bool is_bomb(struct ma_source *source)
{
    uint64_t yield = source->base + source->length;
    if (yield < YIELD_FREE || (yield - YIELD_FREE) / YIELD_MAX < source->consumed)
        return false;
    snprintf(source->problem, sizeof source->problem,
             "%llu compressed bytes yield more than %d times as many and %llu GiB",
             (unsigned long long)source->consumed, YIELD_MAX,
             (unsigned long long)(YIELD_FREE >> 30));
    return true;
}

/* Have input for the decoder. False at its end, with a problem if that lies within
 * a frame. */
static bool have_input(struct ma_source *source)
{
    if (source->input_at < source->input_length || refill(source) > 0)
        return true;
    if (!source->in_frame)
        return false;
    if (!source->problem[0])
        snprintf(source->problem, sizeof source->problem,
                 "the zstd stream is cut after %llu compressed bytes",
                 (unsigned long long)source->consumed);
    return source->frame_kept && find_frame(source);
}

/* Decode no more than one block: of a call that fails the decoder hands out nothing,
 * and so nothing is lost but the block that is damaged. Returns what is left of the
 * frame, 0 at its end, or zstd's error. */
static size_t decode_block(struct ma_source *source)
{
    size_t left = source->input_length - source->input_at;
    size_t given = source->block < left ? source->block : left;
    ZSTD_inBuffer in = {source->input, source->input_at + given, source->input_at};
    ZSTD_outBuffer out = {source->buffer, source->capacity, source->length};
    size_t result = ZSTD_decompressStream(source->zstd, &out, &in);
    source->input_at = in.pos;
    source->length = out.pos;
    return result;
}

static void fill_zstd(struct ma_source *source)
{
    const size_t length = source->length;
    source->ended |= is_bomb(source);
    while (!source->ended && source->length == length) {
        if (!have_input(source)) {
            source->ended = true;
            return;
        }
        if (!source->in_frame)
            source->frame_begin = source->input_at;
        if (!source->in_frame && !source->frame_kept) {
            source->frame_at = source->frame_begin;
            source->frame_kept = true;
        }
        size_t result = decode_block(source);
        if (ZSTD_isError(result)) {
            if (!source->problem[0])
                snprintf(source->problem, sizeof source->problem,
                         "the zstd stream is damaged near compressed byte %llu: %s",
                         (unsigned long long)(source->consumed - source->input_length +
                                              source->input_at),
                         ZSTD_getErrorName(result));
            source->ended = !find_frame(source);
            continue;
        }
        source->in_frame = result != 0;
        source->block = source->in_frame ? result : FRAME_START;
        if (source->frame_kept && source->input_at - source->frame_begin >= FRAME_START)
            source->frame_at = source->frame_begin; /* its magic was right */
    }
}

/* Append at least one byte to the buffer, which has room for READ_SIZE, or set
 * `ended`. */
static void fill(struct ma_source *source)
{
    if (source->zstd)
        fill_zstd(source);
    else
        fill_plain(source);
}

/* Room for `want` bytes, and READ_SIZE behind them. */
static bool make_room(struct ma_source *source, size_t want)
{
    if (want > SIZE_MAX / 2 - READ_SIZE)
        return false;
    if (source->capacity >= want + READ_SIZE)
        return true;
    unsigned char *buffer = realloc(source->buffer, want + READ_SIZE);
    if (!buffer)
        return false;
    source->buffer = buffer;
    source->capacity = want + READ_SIZE;
    return true;
}

size_t ma_source_window(struct ma_source *source, uint64_t offset, size_t want,
                        const unsigned char **data)
{
    if (source->map) {
        *data = source->map + (offset < source->size ? offset : source->size);
        return offset < source->size ? (size_t)(source->size - offset) : 0;
    }
    while (offset > source->base + source->length && !source->ended) {
        source->base += source->length; /* skip what nobody asked for */
        source->length = 0;
        fill(source);
    }
    if (offset < source->base)
        return 0; /* forgotten: against the contract */
    uint64_t drop = offset - source->base;
    if (drop > source->length)
        drop = source->length;
    if (drop && (source->length - drop < want || drop > source->capacity / 2)) {
        memmove(source->buffer, source->buffer + drop, source->length - drop);
        source->base += drop;
        source->length -= drop;
        drop = 0;
    }
    if (source->length - drop < want && !make_room(source, want)) {
        snprintf(source->problem, sizeof source->problem, "memory ran out");
        source->ended = true;
    }
    while (source->length - drop < want && !source->ended)
        fill(source);
    *data = source->buffer + drop;
    return source->length - drop;
}

/* Opens path, unless fd is there to be read from its beginning. */
static int open_file(struct ma_source *source, const char *path, int fd, struct stat *status,
                     struct ma_error *error)
{
    if (fd >= 0) {
        source->fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        if (source->fd < 0 || lseek(source->fd, 0, SEEK_SET) != 0)
            return ma_fail(error, -errno, "%s: cannot read the trace again: %s", source->name,
                           strerror(errno));
    } else if (strcmp(path, "-") == 0) {
        source->fd = STDIN_FILENO;
    } else {
        source->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (source->fd < 0)
            return ma_fail(error, -errno, "%s: cannot open the trace: %s", source->name,
                           strerror(errno));
    }
    if (fstat(source->fd, status) < 0)
        return ma_fail(error, -errno, "%s: %s", source->name, strerror(errno));
    if (S_ISDIR(status->st_mode))
        return ma_fail(error, -EISDIR, "%s: is a directory, expected an mlog trace", source->name);
    return 0;
}

/* Fill the buffer up to `want` bytes as they come, so that a size that a file
 * merely claims asks for no memory. False if the input ends before. */
static bool fill_up_to(struct ma_source *source, size_t want)
{
    while (source->length < want && !source->ended) {
        size_t step = 2 * source->length;
        if (!make_room(source, step < want ? step : want))
            return false;
        fill_plain(source);
    }
    return source->length >= want;
}

/* Drop what the buffer begins with: it is damaged. */
static void drop_damaged(struct ma_source *source, size_t n)
{
    source->length -= n;
    memmove(source->buffer, source->buffer + n, source->length);
    snprintf(source->problem, sizeof source->problem,
             "the zstd stream is damaged near compressed byte 0: it begins %zu bytes later", n);
}

static bool begins_plain(const unsigned char *data, size_t size)
{
    return size >= MLF_MAGIC_SIZE && memcmp(data, MLF_MAGIC, MLF_MAGIC_SIZE) == 0;
}

/* True if a file whose first bytes these are is compressed, though its beginning may
 * be damaged or something else. */
static bool holds_zstd(const unsigned char *data, size_t size)
{
    if (size > SEARCH_MAX)
        size = SEARCH_MAX;
    if (ma_zstd_begins(data, size))
        return true;
    return !begins_plain(data, size) && ma_zstd_find(data, size) < size;
}

/* Said once, while the search for a beginning waits for more. */
static bool say_searching(void *context)
{
    struct ma_source *source = context;
    fprintf(stderr,
            "%s: %s: begins with neither a trace nor zstd data; looking for them in its "
            "first %zu KiB\n",
            ma_command, source->name, SEARCH_MAX >> 10);
    source->wait = NULL;
    return false;
}

/* The same of the buffer, which is filled as far as that needs, and then begins
 * where the frame does. */
static bool find_beginning(struct ma_source *source)
{
    if (ma_zstd_begins(source->buffer, source->length))
        return true;
    if (begins_plain(source->buffer, source->length))
        return false;
    source->wait = say_searching;
    source->wait_context = source;
    source->waited = now_ms();
    fill_up_to(source, SEARCH_MAX);
    source->wait = NULL;
    size_t found = ma_zstd_find(source->buffer, source->length);
    if (found == source->length)
        return false;
    drop_damaged(source, found);
    return true;
}

/* True if the frame that ends at `end` is the last or followed by one. */
static bool is_followed(struct ma_source *source, size_t end)
{
    return !fill_up_to(source, end + 4) || ma_zstd_begins(source->buffer + end, 4);
}

/* Keep the symbols that a bundle begins with. Another's frame stays for the
 * decoder, which skips it; so does the trace behind symbols whose size is wrong. */
static void take_symbols(struct ma_source *source)
{
    if (!fill_up_to(source, MA_BUNDLE_HEADER) || mlf_get_u32(source->buffer) != MA_BUNDLE_MAGIC ||
        memcmp(source->buffer + 8, MA_BUNDLE_ID, MA_BUNDLE_HEADER - 8) != 0)
        return;
    size_t end = (size_t)mlf_get_u32(source->buffer + 4) + 8;
    if (end < MA_BUNDLE_HEADER || end - MA_BUNDLE_HEADER > MA_BUNDLE_SYMBOLS_MAX ||
        !fill_up_to(source, end) || !is_followed(source, end)) {
        drop_damaged(source, MA_BUNDLE_HEADER);
        return;
    }
    size_t size = end - MA_BUNDLE_HEADER;
    source->symbols = malloc(size + 1);
    if (!source->symbols)
        return;
    memcpy(source->symbols, source->buffer + MA_BUNDLE_HEADER, size);
    source->n_symbols = size;
    source->length -= end;
    memmove(source->buffer, source->buffer + end, source->length);
}

const void *ma_source_symbols(const struct ma_source *source, size_t *size)
{
    *size = source->n_symbols;
    return source->symbols;
}

static int start_zstd(struct ma_source *source, struct ma_error *error)
{
    source->zstd = ZSTD_createDStream();
    size_t room = FRAME_KEPT_MAX + READ_SIZE;
    source->input = malloc(source->length > room ? source->length : room);
    source->block = FRAME_START;
    if (!source->zstd || !source->input)
        return ma_fail_memory(error);
    ZSTD_DCtx_setParameter(source->zstd, ZSTD_d_windowLogMax, MA_ZSTD_WINDOW_LOG_MAX);
    /* The bytes read to find the magic are the first input. */
    memcpy(source->input, source->buffer, source->length);
    source->input_length = source->length;
    source->length = 0;
    return 0;
}

/* Map a regular file, unless it is compressed, or is standard input and was read
 * from already. */
static void map_file(struct ma_source *source, size_t size)
{
    if (lseek(source->fd, 0, SEEK_CUR) != 0)
        return;
    void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, source->fd, 0);
    if (map == MAP_FAILED)
        return;
    if (holds_zstd(map, size)) {
        munmap(map, size);
        return;
    }
    struct sigaction action = {.sa_handler = lost_mapping};
    sigaction(SIGBUS, &action, NULL);
    source->map = map;
}

/* Read the beginning of an input that is not mapped, and with that find out whether
 * it is compressed. */
static int start_buffer(struct ma_source *source, struct ma_error *error)
{
    if (!make_room(source, READ_SIZE))
        return ma_fail_memory(error);
    while (source->length < MLF_MAGIC_SIZE && !source->ended)
        fill_plain(source);
    if (source->problem[0])
        return ma_fail(error, -ENODATA, "%s: %s", source->name, source->problem);
    if (source->length == 0)
        return ma_fail_at(error, -ENODATA, 0,
                          "%s: is empty, expected an mlog trace; 1022>FILE works in bash and fish, "
                          "mlog run PROG in every shell; mlog doctor PROG tells whether it can "
                          "be traced",
                          source->name);
    if (!find_beginning(source))
        return 0;
    take_symbols(source);
    source->ended = false; /* there may be compressed bytes yet to be decoded */
    return start_zstd(source, error);
}

static int open_source(const char *path, int fd, struct ma_source **out, struct ma_error *error)
{
    struct stat status;
    struct ma_source *source = calloc(1, sizeof *source);
    if (!source)
        return ma_fail_memory(error);
    source->fd = -1;
    source->name = strdup(strcmp(path, "-") == 0 ? "standard input" : path);
    int result = source->name ? open_file(source, path, fd, &status, error) : ma_fail_memory(error);
    if (result == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        source->size = (uint64_t)status.st_size;
        map_file(source, (size_t)status.st_size);
    }
    if (result == 0 && !source->map)
        result = start_buffer(source, error);
    if (result < 0)
        ma_source_close(source);
    else
        *out = source;
    return result;
}

int ma_source_open(const char *path, struct ma_source **out, struct ma_error *error)
{
    return open_source(path, -1, out, error);
}

int ma_source_open_fd(int fd, const char *name, struct ma_source **out, struct ma_error *error)
{
    return open_source(name, fd, out, error);
}

void ma_source_close(struct ma_source *source)
{
    if (!source)
        return;
    if (source->map)
        munmap((void *)(uintptr_t)source->map, (size_t)source->size);
    if (source->fd > STDIN_FILENO)
        close(source->fd);
    ZSTD_freeDStream(source->zstd);
    free(source->input);
    free(source->symbols);
    free(source->buffer);
    free(source->name);
    free(source);
}

bool ma_source_stable(const struct ma_source *source)
{
    return source->map != NULL;
}

void ma_source_forget(struct ma_source *source, uint64_t offset)
{
    if (!source->map || offset < source->forgotten + FORGET_SIZE || offset > source->size)
        return;
    offset -= offset % FORGET_SIZE;
    madvise((void *)(uintptr_t)(source->map + source->forgotten),
            (size_t)(offset - source->forgotten), MADV_DONTNEED);
    source->forgotten = offset;
}

void ma_source_on_wait(struct ma_source *source, bool (*wait)(void *), void *context)
{
    source->wait = source->map ? NULL : wait;
    source->wait_context = context;
}

bool ma_source_is_ready(struct ma_source *source, uint64_t offset)
{
    return source->map || source->ended || offset < source->base + source->length ||
           source->input_at < source->input_length || has_input(source);
}

uint64_t ma_source_next_data(const struct ma_source *source, uint64_t offset)
{
    if (!source->map || offset >= source->size)
        return offset;
    off_t data = lseek(source->fd, (off_t)offset, SEEK_DATA);
    if (data < 0) /* ENXIO: nothing but a hole is left */
        return errno == ENXIO ? source->size : offset;
    return (uint64_t)data < source->size ? (uint64_t)data : source->size;
}

bool ma_source_grew(const struct ma_source *source)
{
    struct stat status;
    return source->map && fstat(source->fd, &status) == 0 &&
           (uint64_t)status.st_size > source->size;
}

const char *ma_source_problem(const struct ma_source *source)
{
    return source->problem[0] ? source->problem : NULL;
}

const char *ma_source_name(const struct ma_source *source)
{
    return source->name;
}

bool ma_source_compressed(const struct ma_source *source)
{
    return source->zstd != NULL;
}

void ma_source_progress(const struct ma_source *source, uint64_t offset, uint64_t *done,
                        uint64_t *size)
{
    *done = source->map ? offset : source->consumed;
    *size = source->size;
}
