/* SPDX-License-Identifier: MIT
 *
 * mlog_stats against a program that counts its own calls: `stats one` makes every
 * call there is, `stats threads` has eight threads that free each other's blocks, end,
 * and allocate in destructors; `stats fork` forks while others allocate; `stats late`
 * asks by the plain function, which nothing announces; `stats reading` reads while
 * others allocate. Prints what was counted and what it expects; the last
 * reading is the last thing that it does.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef LATE /* no mlog_stats: no note */
int mlog_api_stats(void *stats, size_t size) __attribute__((weak));
#include <stdint.h>
#include <stdio.h>
#include <string.h>
struct mlog_stats {
    uint64_t flags, allocations, allocated, deallocations, deallocated;
    int64_t in_use_blocks, in_use, peak;
    uint64_t peak_error, resets;
};
static int mlog_stats(struct mlog_stats *stats)
{
    memset(stats, 0, sizeof *stats);
    return mlog_api_stats ? mlog_api_stats(stats, sizeof *stats) : 0;
}
#define mlog_stats_reset() (void)0
static struct mlog_stats mlog_stats_diff(struct mlog_stats *before, struct mlog_stats *after)
{
    struct mlog_stats d = *after;
    d.allocations -= before->allocations, d.allocated -= before->allocated;
    d.deallocations -= before->deallocations, d.deallocated -= before->deallocated;
    d.in_use_blocks -= before->in_use_blocks, d.in_use -= before->in_use;
    return d;
}
#else
#include "mlog.h"
#endif

void free_sized(void *block, size_t size) __attribute__((weak)); /* libmlog.so's, of C23 */

#define THREADS 8
#define ROUNDS 20000
#define SLOTS 64

static __thread struct mlog_stats own; /* as this thread expects them */
static struct mlog_stats all;          /* of threads that have ended */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *slots[SLOTS];
static pthread_key_t key;

static void say(const char *what, const struct mlog_stats *s)
{
    printf("%s %llu %llu %llu %llu %llu %lld %lld %lld %llu\n", what, (unsigned long long)s->flags,
           (unsigned long long)s->allocations, (unsigned long long)s->allocated,
           (unsigned long long)s->deallocations, (unsigned long long)s->deallocated,
           (long long)s->in_use_blocks, (long long)s->in_use, (long long)s->peak,
           (unsigned long long)s->peak_error);
}

static void add(struct mlog_stats *to, const struct mlog_stats *from)
{
    to->allocations += from->allocations;
    to->allocated += from->allocated;
    to->deallocations += from->deallocations;
    to->deallocated += from->deallocated;
    to->in_use_blocks += from->in_use_blocks;
    to->in_use += from->in_use;
}

static void *got(void *p)
{
    if (p) {
        own.allocations++;
        own.allocated += malloc_usable_size(p);
        own.in_use_blocks++;
        own.in_use += (int64_t)malloc_usable_size(p);
        if (own.in_use > own.peak)
            own.peak = own.in_use;
    }
    return p;
}

static void gone(size_t size)
{
    own.deallocations++;
    own.deallocated += size;
    own.in_use_blocks--;
    own.in_use -= (int64_t)size;
}

static void drop(void *p)
{
    if (p)
        gone(malloc_usable_size(p));
    free(p);
}

static void *resize(void *p, size_t size)
{
    size_t had = malloc_usable_size(p);
    void *new = realloc(p, size);
    if (new || !size) {
        if (p)
            gone(had);
        got(new);
    }
    return new ? new : size ? p : NULL;
}

static void every_call(void)
{
    void *p[16] = {NULL};
    volatile size_t huge = SIZE_MAX / 4; /* unknown to the compiler */
    p[0] = got(malloc(123 * 8));
    p[1] = got(calloc(11, 17));
    p[2] = resize(NULL, 19 * 8);
    p[2] = resize(p[2], 20 * 8);
    p[2] = resize(p[2], 3000000);
    p[2] = resize(p[2], 5000000);
    p[2] = resize(p[2], 5);
    p[3] = resize(resize(NULL, 29 * 8), 0);
    p[4] = resize(got(malloc(31 * 8)), huge);
    p[5] = got(malloc(huge));
    p[6] = got(memalign(64, 37 * 8));
    if (posix_memalign(&p[7], 256, 41 * 8) == 0)
        got(p[7]);
    p[8] = got(aligned_alloc(64, 64 * 9));
    p[9] = got(valloc(43 * 8));
    p[10] = got(pvalloc(47 * 8));
    p[11] = got(reallocarray(NULL, 53, 8));
    size_t had = malloc_usable_size(p[11]);
    p[11] = reallocarray(p[11], 59, 800);
    gone(had);
    got(p[11]);
    p[12] = got(calloc(huge, 8));
    p[13] = got(malloc(0));
    p[14] = got(malloc(79 * 8));
    if (free_sized) {
        gone(malloc_usable_size(p[14]));
        free_sized(p[14], 79 * 8);
        p[14] = NULL;
    }
    drop(NULL);
    for (int i = 0; i < 16; i += 2)
        drop(p[i]);
}

static void one(void)
{
    struct mlog_stats before, after, change;
    got(malloc(61 * 8));
    if (free_sized) /* libc looks for its own, in vain, and keeps what it made for that */
        free_sized(malloc(7), 7);
    mlog_stats_reset();
    mlog_stats(&before);
    memset(&own, 0, sizeof own);
    int64_t at = before.in_use;
    every_call();
    mlog_stats(&after);
    change = mlog_stats_diff(&before, &after);
    change.peak = after.peak - at;
    say("counted", &change);
    own.flags = change.flags;
    say("expected", &own);
    mlog_stats_reset();
    mlog_stats(&after);
    say("reset", &after);
    printf("kept %lld %lld\n", (long long)(before.in_use_blocks + own.in_use_blocks),
           (long long)(at + own.in_use));
}

static void at_thread_end(void *left)
{
    drop(got(malloc(67 * 8)));
    if (left != (void *)7) /* once more, and so behind the destructors of others */
        pthread_setspecific(key, (char *)left + 1);
    pthread_mutex_lock(&lock);
    add(&all, &own);
    memset(&own, 0, sizeof own);
    pthread_mutex_unlock(&lock);
}

static void *work(void *seed)
{
    unsigned random = (unsigned)(uintptr_t)seed * 2654435761u + 1;
    pthread_setspecific(key, (void *)1);
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1103515245 + 12345;
        void *p = got(malloc(random >> 16 & 2047));
        if (random >> 8 & 1)
            p = resize(p, 1 + (random >> 20));
        drop(__atomic_exchange_n(&slots[random >> 26 & (SLOTS - 1)], p, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void threads(void)
{
    struct mlog_stats before, after, change;
    pthread_key_create(&key, at_thread_end);
    run_threads(); /* what libc makes for threads is made */
    memset(&all, 0, sizeof all);
    memset(&own, 0, sizeof own);
    mlog_stats_reset();
    mlog_stats(&before);
    say("before", &before);
    run_threads();
    mlog_stats(&after);
    change = mlog_stats_diff(&before, &after);
    say("counted", &change);
    all.flags = change.flags;
    say("expected", &all);
    say("peak", &after);
}

static volatile int stop;

static void *until_stopped(void *unused)
{
    while (!stop)
        free(malloc(71 * 8));
    return unused;
}

static void forks(void)
{
    pthread_t thread;
    struct mlog_stats before, after, change;
    pthread_create(&thread, NULL, until_stopped, NULL);
    for (int i = 0; i < 200; i++) {
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            mlog_stats(&before);
            memset(&own, 0, sizeof own);
            got(malloc(123 * 8));
            drop(got(malloc(73 * 8)));
            mlog_stats(&after);
            change = mlog_stats_diff(&before, &after);
            _exit(change.allocations == own.allocations && change.allocated == own.allocated &&
                          change.in_use == own.in_use && change.deallocations == 1 &&
                          before.allocations > 0
                      ? 0
                      : 1);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (status)
            printf("child %d: status %d\n", i, status);
    }
    stop = 1;
    pthread_join(thread, NULL);
}

static void reading(void)
{
    pthread_t thread[4];
    struct mlog_stats s, last = {0};
    int settled = 0, bad = 0;
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, until_stopped, NULL);
    for (int i = 0; i < 20000; i++) {
        mlog_stats(&s);
        int64_t blocks = (int64_t)(s.allocations - s.deallocations);
        /* One block of each thread at a time, whatever libc has; sizes with their blocks. */
        bad += s.in_use < 0 || blocks < 0 || s.allocations < last.allocations;
        if (!(s.flags & 4)) {
            settled++;
            bad += s.in_use > s.peak || blocks != s.in_use_blocks ||
                   (int64_t)(s.allocated - s.deallocated) != s.in_use;
        }
        last = s;
    }
    stop = 1;
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    printf("bad %d of %s\n", bad, settled ? "some" : "none");
}

int main(int argc, char **argv)
{
    struct mlog_stats last;
    setvbuf(stdout, NULL, _IONBF, 0);
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "one") || !strcmp(mode, "late"))
        one();
    else if (!strcmp(mode, "threads"))
        threads();
    else if (!strcmp(mode, "fork"))
        forks();
    else if (!strcmp(mode, "reading"))
        reading();
    errno = 71;
    int counted = mlog_stats(&last);
    printf("errno %d counted %d\n", errno, counted);
    say("last", &last);
    return 0;
}
