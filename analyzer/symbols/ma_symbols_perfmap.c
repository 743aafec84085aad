/* SPDX-License-Identifier: MIT
 *
 * Functions of generated code, from the files that just-in-time compilers write
 * for perf: perf-PID.map, lines of start, size (both hexadecimal) and a name, and
 * jit-PID.dump (ma_symbols_jitdump.c). Anybody
 * may write to /tmp, and pids come round again: a map is used only if it is a
 * regular file of the user's or root's own, was written after its process
 * began, and, in the usual places, if the trace is from this machine. Of
 * functions that lie over each other the later line counts, since code is
 * replaced at the same place; in a dump, whose times it tells, the later time.
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
    uint64_t line; /* order in the map; of a dump AFTER_MAP and the time */
    const char *name;
};

#define AFTER_MAP ((uint64_t)1 << 63)

struct ma_perfmap {
    char *map, *dump;           /* the files, or NULL; names are cut out of them */
    struct function *functions; /* by address; none overlap */
    size_t n, room;
};

static int by_line(const void *a_, const void *b_)
{
    const struct function *a = a_, *b = b_;
    if (a->line != b->line)
        return a->line > b->line ? -1 : 1;
    return a->name > b->name ? -1 : a->name < b->name;
}

static int by_address(const void *a_, const void *b_)
{
    const struct function *a = a_, *b = b_;
    if (a->low != b->low)
        return a->low < b->low ? -1 : 1;
    return by_line(a, b);
}

static bool add_function(struct ma_perfmap *map, struct function function)
{
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

/* Behind the blanks at `at`; NULL if there is none. */
static char *skip_blanks(char *at)
{
    size_t n = strspn(at, " \t");
    return n ? at + n : NULL;
}

/* Adds what a line tells, if it is one of a map. Blanks may be several or tabs, and the line
 * end as on other systems. False if memory is short. */
static bool add_line(struct ma_perfmap *map, char *line, uint64_t number)
{
    char *rest;
    struct function function = {.line = number};
    line += strspn(line, " \t");
    errno = 0;
    function.low = strtoull(line, &rest, 16);
    char *size_at = rest == line || *line == '-' ? NULL : skip_blanks(rest);
    if (!size_at || *size_at == '-')
        return true;
    uint64_t size = strtoull(size_at, &rest, 16);
    char *name = rest == size_at ? NULL : skip_blanks(rest);
    if (!name || !size || errno || __builtin_add_overflow(function.low, size, &function.high))
        return true;
    size_t n = strnlen(name, MAX_NAME);
    while (n > 0 && strchr(" \t\r", name[n - 1]))
        n--;
    if (!n)
        return true;
    name[n] = 0;
    function.name = name;
    return add_function(map, function);
}

static bool add_dumped(void *map, uint64_t low, uint64_t size, uint64_t time, const char *name)
{
    struct function function = {.low = low, .line = AFTER_MAP | time, .name = name};
    if (!*name || !size || __builtin_add_overflow(low, size, &function.high))
        return true;
    return add_function(map, function);
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

/* Without memory the functions found so far will do, here and below. */
static void parse_map(struct ma_perfmap *map, char *text, size_t size)
{
    uint64_t number = 0;
    text[size] = 0;
    for (char *line = text, *end = text + size; line < end; number++) {
        char *next = memchr(line, '\n', (size_t)(end - line));
        if (next)
            *next = 0;
        else
            next = end;
        if (!add_line(map, line, number))
            break;
        line = next + 1;
    }
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

/* Reads a file that is to be trusted; NULL if there is none, and *state may say why. */
static char *read_trusted(const char *path, const struct ma_object *object, size_t *size,
                          enum ma_object_state *state)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) {
        if (errno != ENOENT && errno != ENOTDIR)
            *state = MA_OBJECT_MAP_REFUSED;
        return NULL;
    }
    struct stat status;
    char *text = NULL;
    if (fstat(fd, &status) != 0 || !is_trusted(&status, object)) {
        *state = MA_OBJECT_MAP_REFUSED;
    } else {
        text = read_file(fd, (size_t)status.st_size, size);
        if (!text)
            *state = MA_OBJECT_NO_MEMORY;
    }
    close(fd);
    return text;
}

/* As above, of the process's map or dump in a folder below `root`. The first file that is there is
 * *path. */
static char *read_of_process(const char *root, const char *directory, bool dump,
                             const struct ma_object *object, size_t *size,
                             enum ma_object_state *state, char **path)
{
    char *whole = NULL;
    if (asprintf(&whole, "%s%s/%s-%llu.%s", root, directory, dump ? "jit" : "perf",
                 (unsigned long long)object->pid, dump ? "dump" : "map") < 0) {
        *state = MA_OBJECT_NO_MEMORY;
        return NULL;
    }
    enum ma_object_state before = *state;
    char *text = read_trusted(whole, object, size, state);
    if (!*path || ((text || *state != before) && access(*path, F_OK) != 0)) {
        free(*path);
        *path = whole;
    } else {
        free(whole);
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
    struct ma_perfmap *map = calloc(1, sizeof(*map));
    if (!map) {
        *state = MA_OBJECT_NO_MEMORY;
        return NULL;
    }
    const char *own = options->perf_map_dir, *directory = own ? own : "/tmp";
    const char *root = own || !options->sysroot ? "" : options->sysroot;
    size_t size;
    map->map = read_of_process(root, directory, false, object, &size, state, path);
    if (map->map)
        parse_map(map, map->map, size);
    map->dump = read_of_process(root, directory, true, object, &size, state, path);
    if (!map->dump && !own && object->directory && object->directory[0] == '/')
        map->dump = read_of_process(root, object->directory, true, object, &size, state, path);
    bool dumped = map->dump && ma_jitdump_read(map->dump, size, add_dumped, map);
    if (map->map || dumped) {
        *state = MA_OBJECT_PERF_MAP;
        settle(map);
        return map;
    }
    ma_perfmap_close(map);
    return NULL;
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
    free(map->map);
    free(map->dump);
    free(map);
}
