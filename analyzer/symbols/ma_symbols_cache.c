/* SPDX-License-Identifier: MIT
 *
 * Answers kept from one run to the next in $XDG_CACHE_HOME/mlog, else
 * ~/.cache/mlog: a file for each object, named by its build-id and by what its
 * files are (place, size, time), so that another debug file begins another one.
 * Content is symbol data of FORMAT.md section 11, with that identity as the
 * name of the file read.
 *
 * Only regular files of the user's own are read, in a directory of the user's
 * own, and what is in them is checked like a bundle. Files appear whole by a
 * rename; of two runs at the same time one is remembered. All failures are
 * silent: without the cache a report is as it is with it, only later.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma_symbols_impl.h"

enum {
    MAX_FILE = 32 << 20,   /* bytes of one */
    MAX_ALL = 256 << 20,   /* of all; beyond it the oldest go */
    MAX_ANSWERS = 1 << 20, /* of one object */
    MAX_ID = 64,
    NAME_ROOM = 2 * MAX_ID + 32,
};

struct ma_cache {
    int directory;
};

struct ma_cache *ma_cache_new(void)
{
    const char *base = getenv("XDG_CACHE_HOME"), *below = "";
    if (!base || *base != '/') {
        base = getenv("HOME");
        below = "/.cache";
    }
    char *parent = NULL, *path = NULL;
    struct ma_cache *cache = NULL;
    if (!base || *base != '/' || asprintf(&parent, "%s%s", base, below) < 0)
        return NULL;
    if (asprintf(&path, "%s/mlog", parent) < 0) {
        free(parent);
        return NULL;
    }
    mkdir(parent, 0700);
    mkdir(path, 0700);
    struct stat status;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    /* Nobody else may put files there. */
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() &&
        !(status.st_mode & (S_IWGRP | S_IWOTH)))
        cache = malloc(sizeof(*cache));
    if (cache)
        cache->directory = fd;
    else if (fd >= 0)
        close(fd);
    free(path);
    free(parent);
    return cache;
}

void ma_cache_free(struct ma_cache *cache)
{
    if (!cache)
        return;
    close(cache->directory);
    free(cache);
}

/* Names an object's file; false for one that is not kept. */
static bool name_file(const struct ma_object *object, const char *identity, char name[NAME_ROOM])
{
    if (!object->build_id_size || object->build_id_size > MAX_ID)
        return false;
    char *at = name;
    for (size_t i = 0; i < object->build_id_size; i++)
        at += sprintf(at, "%02x", object->build_id[i]);
    sprintf(at, "-%016llx.syms",
            (unsigned long long)ma_hash_bytes(0xcbf29ce484222325u, identity, strlen(identity)));
    return true;
}

struct wanted {
    const struct ma_object *object;
    const char *identity;
    struct ma_answers *answers;
};

static int take_packed(void *wanted_, struct ma_packed *packed)
{
    struct wanted *wanted = wanted_;
    const struct ma_object *object = wanted->object;
    if (packed->key.build_id_size == object->build_id_size &&
        !memcmp(packed->key.build_id, object->build_id, object->build_id_size) && packed->file &&
        !strcmp(packed->file, wanted->identity) && !wanted->answers->n) {
        *wanted->answers = *packed->answers;
        *packed->answers = (struct ma_answers){0};
    }
    return 0;
}

/* All of a file, NULL if it is not to be trusted. */
static void *read_file(int fd, size_t *size)
{
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_uid != geteuid() ||
        status.st_size <= 0 || status.st_size > MAX_FILE)
        return NULL;
    char *data = malloc((size_t)status.st_size);
    size_t n = 0;
    while (data && n < (size_t)status.st_size) {
        ssize_t got = read(fd, data + n, (size_t)status.st_size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    *size = n;
    return data;
}

void *ma_cache_read(struct ma_cache *cache, const struct ma_object *object, const char *identity,
                    struct ma_answers *answers)
{
    char name[NAME_ROOM];
    void *strings = NULL;
    if (!cache || !name_file(object, identity, name))
        return NULL;
    int fd = openat(cache->directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t size = 0;
    void *data = read_file(fd, &size);
    struct ma_answers found = {0};
    struct wanted wanted = {object, identity, &found};
    if (data && ma_unpack(data, size, take_packed, &wanted, &strings) == 0 && found.n) {
        *answers = found;
        futimens(fd, NULL); /* the youngest stay */
    } else {
        ma_answers_free(&found);
        free(strings);
        strings = NULL;
    }
    free(data);
    close(fd);
    return strings;
}

static bool write_file(int fd, const void *data, size_t size)
{
    for (const char *at = data; size > 0;) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

struct kept {
    char name[NAME_ROOM];
    struct timespec used;
    off_t size;
};

static int by_age(const void *a_, const void *b_)
{
    const struct timespec *a = &((const struct kept *)a_)->used,
                          *b = &((const struct kept *)b_)->used;
    if (a->tv_sec != b->tv_sec)
        return a->tv_sec < b->tv_sec ? -1 : 1;
    return a->tv_nsec < b->tv_nsec ? -1 : a->tv_nsec > b->tv_nsec;
}

/* Removes the oldest files until three quarters of the bound are kept, if it is passed. */
static void trim(const struct ma_cache *cache)
{
    int fd = openat(cache->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
    struct kept *files = NULL;
    size_t n = 0, room = 0;
    off_t sum = 0;
    if (!directory && fd >= 0)
        close(fd);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct stat status;
        const char *dot = strrchr(entry->d_name, '.');
        if (!dot || (strcmp(dot, ".syms") && strcmp(dot, ".part")) ||
            strlen(entry->d_name) >= NAME_ROOM ||
            fstatat(cache->directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISREG(status.st_mode))
            continue;
        if (n == room) {
            struct kept *more = reallocarray(files, room = 2 * room + 64, sizeof(*files));
            if (!more)
                break;
            files = more;
        }
        strcpy(files[n].name, entry->d_name);
        files[n].used = status.st_mtim;
        files[n++].size = status.st_size;
        sum += status.st_size;
    }
    if (directory)
        closedir(directory);
    if (sum > MAX_ALL)
        qsort(files, n, sizeof(*files), by_age);
    for (size_t i = 0; sum > MAX_ALL || (i > 0 && sum > MAX_ALL / 4 * 3); i++) {
        if (i == n)
            break;
        unlinkat(cache->directory, files[i].name, 0);
        sum -= files[i].size;
    }
    free(files);
}

void ma_cache_write(struct ma_cache *cache, const struct ma_object *object, const char *identity,
                    struct ma_answers *answers)
{
    char name[NAME_ROOM], part[64];
    void *data = NULL;
    size_t size = 0;
    if (!cache || !answers->n || answers->n > MAX_ANSWERS || !name_file(object, identity, name))
        return;
    struct ma_pack *pack = ma_pack_new();
    if (!pack)
        return;
    struct ma_packed packed = {
        .key = *object, .state = MA_OBJECT_DEBUG, .file = identity, .answers = answers};
    ma_pack_add(pack, &packed);
    int result = ma_pack_finish(pack, &data, &size);
    ma_pack_free(pack);
    if (result < 0)
        return;
    snprintf(part, sizeof(part), "%ld-%.16s.part", (long)getpid(), name);
    unlinkat(cache->directory, part, 0); /* of a process that had the pid before and was killed */
    int fd = size <= MAX_FILE
                 ? openat(cache->directory, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)
                 : -1;
    if (fd >= 0) {
        bool written = write_file(fd, data, size);
        written &= close(fd) == 0;
        if (!written || renameat(cache->directory, part, cache->directory, name) != 0)
            unlinkat(cache->directory, part, 0);
        trim(cache);
    }
    free(data);
}
