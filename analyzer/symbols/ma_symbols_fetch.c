/* SPDX-License-Identifier: MIT
 *
 * Debug files from debuginfod servers, if the user names some in
 * DEBUGINFOD_URLS; else nobody is ever asked. libdebuginfod is opened at run
 * time, as libcurl behind it brings half a system along. Fetched files lie in
 * libdebuginfod's own cache, and are held against the build-id as any file.
 *
 * A server that does not answer must not hold up a report: after the first one
 * that fails in another way than by not having a file, none is asked again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ma_error.h"
#include "ma_symbols_impl.h"

#ifdef MA_HAVE_DEBUGINFOD
#include <dlfcn.h>
#include <elfutils/debuginfod.h>

enum {
    PATIENCE = 10,  /* s without a byte; DEBUGINFOD_TIMEOUT is another choice */
    TOTAL = 300,    /* s for all downloads */
    SHOW_AFTER = 1, /* s until progress is shown */
};

struct ma_fetch {
    void *library;
    debuginfod_client *client;
    __typeof__(&debuginfod_find_debuginfo) find;
    __typeof__(&debuginfod_get_url) url;
    __typeof__(&debuginfod_end) end;
    unsigned patience;
    bool given_up, cancelled, shown, terminal;
    double began, moved, last_shown, spent; /* s; of the download at hand, and all before */
    long bytes;
    char problem[256];
};

/* The progress function is told the client alone, whose user data this finds. */
static __typeof__(&debuginfod_get_user_data) the_user_data;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void show(struct ma_fetch *fetch, double at, long size)
{
    if (!fetch->terminal || at - fetch->began < SHOW_AFTER || at - fetch->last_shown < 0.2)
        return;
    fetch->last_shown = at;
    fetch->shown = true;
    fprintf(stderr, "\r\033[K%s: fetching debug information", ma_command);
    if (fetch->bytes)
        fprintf(stderr, ", %.1f", (double)fetch->bytes / (1 << 20));
    if (fetch->bytes && size > 0)
        fprintf(stderr, " of %.1f", (double)size / (1 << 20));
    fprintf(stderr, fetch->bytes ? " MiB" : ": no answer yet");
    fflush(stderr);
}

/* Called again and again; not 0 ends the download. Before a server has answered `done` counts
 * the calls, afterwards bytes. */
static int progress(debuginfod_client *client, long done, long size)
{
    /* libdebuginfod keeps the pointer for whoever set it. */
    struct ma_fetch *fetch = the_user_data(client);
    double at = now();
    if (fetch->url(client) && done > fetch->bytes) {
        fetch->bytes = done;
        fetch->moved = at;
    }
    show(fetch, at, size);
    fetch->cancelled =
        at - fetch->moved > fetch->patience || fetch->spent + at - fetch->began > TOTAL;
    return fetch->cancelled;
}

static bool bind(struct ma_fetch *fetch)
{
    __typeof__(&debuginfod_begin) begin;
    __typeof__(&debuginfod_set_progressfn) set_progress;
    __typeof__(&debuginfod_set_user_data) set_user_data;
    fetch->library = dlopen(DEBUGINFOD_SONAME, RTLD_NOW | RTLD_LOCAL);
    if (!fetch->library)
        return false;
    begin = (__typeof__(begin))dlsym(fetch->library, "debuginfod_begin");
    set_progress = (__typeof__(set_progress))dlsym(fetch->library, "debuginfod_set_progressfn");
    set_user_data = (__typeof__(set_user_data))dlsym(fetch->library, "debuginfod_set_user_data");
    the_user_data = (__typeof__(the_user_data))dlsym(fetch->library, "debuginfod_get_user_data");
    fetch->find = (__typeof__(fetch->find))dlsym(fetch->library, "debuginfod_find_debuginfo");
    fetch->url = (__typeof__(fetch->url))dlsym(fetch->library, "debuginfod_get_url");
    fetch->end = (__typeof__(fetch->end))dlsym(fetch->library, "debuginfod_end");
    if (!begin || !set_progress || !set_user_data || !the_user_data || !fetch->find ||
        !fetch->url || !fetch->end || !(fetch->client = begin()))
        return false;
    set_user_data(fetch->client, fetch);
    set_progress(fetch->client, progress);
    return true;
}

struct ma_fetch *ma_fetch_new(void)
{
    const char *urls = getenv("DEBUGINFOD_URLS"), *timeout = getenv("DEBUGINFOD_TIMEOUT");
    if (!urls || !urls[strspn(urls, " ")])
        return NULL;
    struct ma_fetch *fetch = calloc(1, sizeof(*fetch));
    if (!fetch)
        return NULL;
    long patience = timeout ? atol(timeout) : 0;
    fetch->patience = patience > 0 && patience < TOTAL ? (unsigned)patience : PATIENCE;
    fetch->terminal = isatty(STDERR_FILENO);
    return fetch;
}

char *ma_fetch_debug(struct ma_fetch *fetch, const unsigned char *id, size_t size)
{
    char *path = NULL;
    if (!fetch || fetch->given_up || !id || !size)
        return NULL;
    if (!fetch->client && !bind(fetch)) {
        fetch->given_up = true;
        snprintf(fetch->problem, sizeof(fetch->problem),
                 "DEBUGINFOD_URLS is set, but %s cannot be opened (package libdebuginfod1)",
                 DEBUGINFOD_SONAME);
        return NULL;
    }
    fetch->bytes = 0;
    fetch->began = fetch->moved = now();
    int fd = fetch->find(fetch->client, id, (int)size, &path);
    double at = now();
    fetch->spent += at - fetch->began;
    if (fetch->shown)
        fprintf(stderr, "\r\033[K");
    fetch->shown = false;
    if (fd >= 0) {
        close(fd);
        return path;
    }
    /* Of a download that we end it says the same as of a file that nobody has. */
    if (fd == -ENOENT && !fetch->cancelled)
        return NULL;
    fetch->given_up = true;
    if (at - fetch->moved > fetch->patience)
        snprintf(fetch->problem, sizeof(fetch->problem),
                 "no debuginfod server answered within %u s (DEBUGINFOD_TIMEOUT), none was asked "
                 "again",
                 fetch->patience);
    else if (fetch->spent > TOTAL)
        snprintf(fetch->problem, sizeof(fetch->problem),
                 "fetching debug information took more than %d s, the rest was left out", TOTAL);
    else
        snprintf(fetch->problem, sizeof(fetch->problem),
                 "debuginfod servers (DEBUGINFOD_URLS) failed: %s, none was asked again",
                 strerror(-fd));
    return NULL;
}

const char *ma_fetch_problem(const struct ma_fetch *fetch)
{
    return fetch && fetch->problem[0] ? fetch->problem : NULL;
}

void ma_fetch_free(struct ma_fetch *fetch)
{
    if (!fetch)
        return;
    if (fetch->client)
        fetch->end(fetch->client);
    /* The library stays: libcurl cannot be unloaded safely. */
    free(fetch);
}

#else

struct ma_fetch *ma_fetch_new(void)
{
    return NULL;
}

char *ma_fetch_debug(struct ma_fetch *fetch, const unsigned char *id, size_t size)
{
    (void)fetch, (void)id, (void)size;
    return NULL;
}

const char *ma_fetch_problem(const struct ma_fetch *fetch)
{
    (void)fetch;
    return NULL;
}

void ma_fetch_free(struct ma_fetch *fetch)
{
    (void)fetch;
}

#endif
