/* SPDX-License-Identifier: MIT
 *
 * Functions of generated code, from the perf-PID.map files that just-in-time
 * compilers write: lines of start, size (both hexadecimal) and a name. Anybody
 * may write to /tmp, and pids come round again: a map is used only if it is a
 * regular file of the user's or root's own, was written after its process
 * began, and, in the usual place, if the trace is from this machine. Of
 * functions that lie over each other the later line counts, since code is
 * replaced at the same place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma_symbols_impl.h"

enum {
    MAX_FILE = 512 << 20, /* bytes */
    MAX_NAME = 4096,      /* a longer one is cut */
    SLACK = 1000000000,   /* ns that time stamps of files may be behind the clock */
};

struct function {
    uint64_t low, high;
    size_t line; /* order in the file */
    const char *name;
};

struct ma_perfmap {
    char *text;                 /* the file; names are cut out of it */
    struct function *functions; /* by address; none overlap */
    size_t n, room;
};

static int by_line(const void *a_, const void *b_)
{
    const struct function *a = a_, *b = b_;
    return a->line > b->line ? -1 : a->line < b->line;
}

static int by_address(const void *a_, const void *b_)
{
    const struct function *a = a_, *b = b_;
    if (a->low != b->low)
        return a->low < b->low ? -1 : 1;
    return by_line(a, b);
}

static bool add_function(struct ma_perfmap *map, char *line, size_t number)
{
    char *rest;
    struct function function = {.line = number};
    errno = 0;
    function.low = strtoull(line, &rest, 16);
    if (rest == line || *rest != ' ')
        return true;
    char *size_at = rest + 1;
    uint64_t size = strtoull(size_at, &rest, 16);
    if (rest == size_at || *rest != ' ' || !rest[1] || !size || errno ||
        __builtin_add_overflow(function.low, size, &function.high))
        return true;
    function.name = rest + 1;
    if (strnlen(function.name, MAX_NAME) == MAX_NAME)
        rest[MAX_NAME] = 0;
    if (map->n == map->room) {
        size_t room = map->room ? 2 * map->room : 1024;
        struct function *functions = reallocarray(map->functions, room, sizeof(*functions));
        if (!functions)
            return false;
        map->functions = functions;
        map->room = room;
    }
    map->functions[map->n++] = function;
    return true;
}

/*
 * Sorts, and cuts what a later line covers: what is left of an earlier function
 * before a later one stays, what would come behind it is given up.
 */
static void settle(struct ma_perfmap *map)
{
    if (!map->n)
        return;
    qsort(map->functions, map->n, sizeof(*map->functions), by_address);
    size_t kept = 0;
    for (size_t i = 0; i < map->n; i++) {
        struct function next = map->functions[i];
        while (kept && map->functions[kept - 1].high > next.low) {
            struct function *last = &map->functions[kept - 1];
            if (last->line > next.line) {
                next.low = last->high; /* the later one reaches over its start */
                break;
            }
            last->high = next.low;
            if (last->high > last->low)
                break;
            kept--;
        }
        if (next.low < next.high)
            map->functions[kept++] = next;
    }
    map->n = kept;
}

static struct ma_perfmap *parse_map(char *text, size_t size)
{
    struct ma_perfmap *map = calloc(1, sizeof(*map));
    if (!map)
        return NULL;
    map->text = text;
    text[size] = 0;
    size_t number = 0;
    for (char *line = text, *end = text + size; line < end; number++) {
        char *next = memchr(line, '\n', (size_t)(end - line));
        if (next)
            *next = 0;
        else
            next = end;
        /* Without memory the functions found so far will do. */
        if (!add_function(map, line, number))
            break;
        line = next + 1;
    }
    settle(map);
    return map;
}

/* May the file be used for this process? */
static bool is_trusted(const struct stat *status, const struct ma_object *object)
{
    uint64_t written =
        (uint64_t)status->st_mtim.tv_sec * 1000000000u + (uint64_t)status->st_mtim.tv_nsec;
    return S_ISREG(status->st_mode) && (status->st_uid == geteuid() || status->st_uid == 0) &&
           status->st_size < MAX_FILE && (!object->since || written + SLACK >= object->since);
}

static char *read_file(int fd, size_t size, size_t *n)
{
    char *text = malloc(size + 1);
    *n = 0;
    for (ssize_t got = 1; text && *n < size && got > 0; *n += got > 0 ? (size_t)got : 0) {
        do
            got = read(fd, text + *n, size - *n);
        while (got < 0 && errno == EINTR);
    }
    return text;
}

struct ma_perfmap *ma_perfmap_open(const struct ma_symbol_options *options,
                                   const struct ma_object *object, enum ma_object_state *state,
                                   char **path)
{
    *state = MA_OBJECT_GENERATED;
    *path = NULL;
    if (!object->pid || (!options->perf_map_dir && !options->sysroot && !object->here))
        return NULL;
    if (asprintf(path, "%s%s/perf-%llu.map",
                 options->perf_map_dir || !options->sysroot ? "" : options->sysroot,
                 options->perf_map_dir ? options->perf_map_dir : "/tmp",
                 (unsigned long long)object->pid) < 0) {
        *path = NULL;
        *state = MA_OBJECT_NO_MEMORY;
        return NULL;
    }
    int fd = open(*path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        if (errno != ENOENT)
            *state = MA_OBJECT_MAP_REFUSED;
        return NULL;
    }
    struct stat status;
    struct ma_perfmap *map = NULL;
    if (fstat(fd, &status) != 0 || !is_trusted(&status, object)) {
        *state = MA_OBJECT_MAP_REFUSED;
    } else {
        size_t n;
        char *text = read_file(fd, (size_t)status.st_size, &n);
        map = text ? parse_map(text, n) : NULL;
        if (!map)
            free(text);
        *state = map ? MA_OBJECT_PERF_MAP : MA_OBJECT_NO_MEMORY;
    }
    close(fd);
    return map;
}

const char *ma_perfmap_find(const struct ma_perfmap *map, uint64_t address)
{
    size_t low = 0, high = map ? map->n : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (map->functions[middle].high <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return map && low < map->n && map->functions[low].low <= address ? map->functions[low].name
                                                                     : NULL;
}

void ma_perfmap_close(struct ma_perfmap *map)
{
    if (!map)
        return;
    free(map->functions);
    free(map->text);
    free(map);
}
