/* SPDX-License-Identifier: MIT
 *
 * What mlog-allocator-test tries; see al_test.h. A case is a function and a row of
 * the table at the end, and its name says what it finds broken.
 */
#include "al_test.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(condition, ...)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            return al_problem(__VA_ARGS__);                                                        \
    } while (0)

#define SLOTS 500

/* Sizes that the compiler does not know. */
static volatile size_t most = SIZE_MAX, half = SIZE_MAX / 2, hundred = 100, none = 0;

struct slots {
    unsigned char *blocks[SLOTS];
    size_t sizes[SLOTS];
    uint64_t state;
};

static size_t any(struct slots *slots, size_t below)
{
    slots->state = slots->state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(slots->state >> 33) % below;
}

static unsigned char sign(const struct slots *slots, size_t i)
{
    return (unsigned char)((uintptr_t)slots / 64 + i * 7 + 1);
}

static bool keeps(const unsigned char *block, size_t size, unsigned char value)
{
    for (size_t k = 0; k < size; k++)
        if (block[k] != value)
            return false;
    return true;
}

/* Random calls; every block holds a byte of its own, looked at when it ends. */
static const char *exercise(struct slots *slots, unsigned calls)
{
    for (unsigned n = 0; n < calls; n++) {
        const size_t i = any(slots, SLOTS);
        const size_t size = any(slots, any(slots, 20) ? 700 : 20000);
        unsigned char *block = slots->blocks[i];
        if (block) {
            MUST(keeps(block, slots->sizes[i], sign(slots, i)),
                 "a block of %zu bytes was overwritten", slots->sizes[i]);
            const size_t kept = size < slots->sizes[i] ? size : slots->sizes[i];
            if (size && any(slots, 3) == 0) {
                block = realloc(block, size);
                MUST(block, "realloc to %zu bytes failed", size);
                MUST(keeps(block, kept, sign(slots, i)), "realloc to %zu bytes lost some", size);
            } else {
                free(block);
                block = NULL;
            }
        } else if (any(slots, 4) == 0) {
            const size_t alignment = (size_t)8 << any(slots, 10);
            MUST(posix_memalign((void **)&block, alignment, size) == 0, "posix_memalign failed");
            MUST((uintptr_t)block % alignment == 0, "%p is not aligned to %zu", (void *)block,
                 alignment);
        } else {
            block = malloc(size);
            MUST(block, "malloc of %zu bytes failed", size);
            MUST((uintptr_t)block % 16 == 0, "%p is not aligned to 16", (void *)block);
        }
        slots->blocks[i] = block;
        slots->sizes[i] = block ? size : 0;
        if (block)
            memset(block, sign(slots, i), size);
    }
    return NULL;
}

static void release(struct slots *slots)
{
    for (size_t i = 0; i < SLOTS; i++)
        free(slots->blocks[i]);
    memset(slots->blocks, 0, sizeof slots->blocks);
}

static const char *blocks_do_not_overlap(void)
{
    static struct slots slots = {.state = 4711};
    const char *problem = exercise(&slots, 20000);
    release(&slots);
    return problem;
}

static const char *malloc_of_nothing(void)
{
    void *a = malloc(none), *b = malloc(none);
    MUST(a && b, "malloc(0) returned NULL");
    MUST(a != b, "malloc(0) returned the same block twice");
    free(a);
    free(b);
    free(NULL);
    return NULL;
}

static const char *large_blocks(void)
{
    for (size_t size = 1 << 20; size <= (size_t)64 << 20; size *= 2) {
        char *block = malloc(size);
        MUST(block, "malloc of %zu bytes failed", size);
        block[0] = block[size - 1] = 1;
        free(block);
    }
    return NULL;
}

static const char *too_large(void)
{
    const size_t sizes[] = {most, most - 4096, half + 1};
    void *kept = malloc(123 * 8);
    for (size_t i = 0; i < 3; i++) {
        errno = 0;
        MUST(!malloc(sizes[i]) && errno == ENOMEM, "malloc(%zu): errno %d", sizes[i], errno);
        errno = 0;
        MUST(!calloc(sizes[i], 1) && errno == ENOMEM, "calloc(%zu, 1): errno %d", sizes[i], errno);
        errno = 0;
        MUST(!realloc(kept, sizes[i]) && errno == ENOMEM, "realloc to %zu: errno %d", sizes[i],
             errno);
        errno = 0;
        MUST(!memalign(64, sizes[i]) && errno == ENOMEM, "memalign(64, %zu): errno %d", sizes[i],
             errno);
    }
    errno = 0;
    MUST(!pvalloc(most - 10) && errno == ENOMEM, "pvalloc: errno %d", errno);
    errno = 0;
    MUST(!calloc(half, 3) && errno == ENOMEM, "calloc whose product overflows: errno %d", errno);
    errno = 0;
    MUST(!reallocarray(kept, half, 4) && errno == ENOMEM, "reallocarray that overflows: errno %d",
         errno);
    free(kept);
    return NULL;
}

static const char *errno_is_kept(void)
{
    errno = 77;
    void *block = malloc(100);
    MUST(errno == 77, "malloc that succeeds set errno to %d", errno);
    block = realloc(block, 100000);
    MUST(errno == 77, "realloc that succeeds set errno to %d", errno);
    free(block);
    MUST(errno == 77, "free set errno to %d", errno);
    free(calloc(10, 10));
    free(aligned_alloc(256, 256));
    MUST(errno == 77, "calloc or aligned_alloc set errno to %d", errno);
    return NULL;
}

static const char *calloc_zeroes(void)
{
    for (size_t size = 1; size < 400000; size = size * 3 + 1) {
        unsigned char *blocks[8];
        for (int turn = 0; turn < 2; turn++) {
            for (size_t i = 0; i < 8; i++) {
                blocks[i] = calloc(1, size);
                MUST(blocks[i] && keeps(blocks[i], size, 0), "calloc of %zu bytes is not zero",
                     size);
                memset(blocks[i], 0xa5, size);
            }
            for (size_t i = 0; i < 8; i++)
                free(blocks[i]);
        }
    }
    return NULL;
}

static const char *realloc_corners(void)
{
    unsigned char *block = realloc(NULL, 321);
    MUST(block, "realloc(NULL, 321) failed");
    memset(block, 7, 321);
    for (size_t size = 321; size < 40000000; size = size * 5 + 1) {
        block = realloc(block, size);
        MUST(block && keeps(block, 321, 7), "realloc to %zu bytes lost what was there", size);
    }
    block = realloc(block, 100);
    MUST(block && keeps(block, 100, 7), "realloc to 100 bytes lost what was there");
    MUST(!realloc(block, most) && keeps(block, 100, 7), "realloc that failed changed its block");
    MUST(!realloc(block, none), "realloc(block, 0) is to free it and return NULL");
    block = reallocarray(NULL, 30, 41);
    MUST(block, "reallocarray(NULL, 30, 41) failed");
    free(block);
    return NULL;
}

static const char *alignments(void)
{
    for (size_t alignment = 1; alignment <= 1 << 20; alignment *= 2) {
        void *blocks[] = {memalign(alignment, 123 * 8), aligned_alloc(alignment, 2 * alignment),
                          NULL};
        MUST(alignment < sizeof(void *) || posix_memalign(&blocks[2], alignment, 1) == 0,
             "posix_memalign to %zu failed", alignment);
        for (size_t i = 0; i < 3; i++) {
            MUST(blocks[i] || (i == 2 && alignment < sizeof(void *)), "nothing aligned to %zu",
                 alignment);
            MUST((uintptr_t)blocks[i] % alignment == 0, "%p is not aligned to %zu", blocks[i],
                 alignment);
            if (blocks[i])
                memset(blocks[i], 1, malloc_usable_size(blocks[i]));
            free(blocks[i]);
        }
    }
    void *block = memalign(hundred, 10); /* the next power of two, as glibc has it */
    MUST(block && (uintptr_t)block % 128 == 0, "memalign(100, 10): %p", block);
    free(block);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *v = valloc(10), *p = pvalloc(page + 1);
    MUST(v && p && (uintptr_t)v % page == 0 && (uintptr_t)p % page == 0,
         "valloc or pvalloc is not aligned to a page");
    MUST(malloc_usable_size(p) >= 2 * page, "pvalloc does not give whole pages");
    free(v);
    free(p);
    return NULL;
}

static const char *wrong_alignments(void)
{
    const size_t wrong[] = {0, 1, 2, 3, 24, 100};
    for (size_t i = 0; i < 6; i++) {
        void *block = &block;
        errno = 77;
        const int error = posix_memalign(&block, wrong[i], 64);
        MUST(error == EINVAL && block == &block && errno == 77,
             "posix_memalign to %zu: %d, errno %d", wrong[i], error, errno);
    }
    void *block = &block;
    const int error = posix_memalign(&block, 64, most - 64);
    MUST(error == ENOMEM && block == &block, "posix_memalign of too much: %d", error);
    errno = 0;
    MUST(!memalign(half + 2, 64) && errno == EINVAL, "memalign to too much: errno %d", errno);
    return NULL;
}

static const char *usable_size(void)
{
    enum { N = 300 };
    unsigned char *blocks[N];
    MUST(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL) is not 0");
    for (size_t i = 0; i < N; i++) {
        blocks[i] = malloc(i * 5);
        MUST(malloc_usable_size(blocks[i]) >= i * 5, "a block of %zu bytes, %zu of them usable",
             i * 5, malloc_usable_size(blocks[i]));
        memset(blocks[i], (int)(i % 251), malloc_usable_size(blocks[i]));
    }
    for (size_t i = 0; i < N; i++) {
        MUST(keeps(blocks[i], malloc_usable_size(blocks[i]), (unsigned char)(i % 251)),
             "usable bytes of a block of %zu belong to another", i * 5);
        free(blocks[i]);
    }
    return NULL;
}

static size_t resident(void)
{
    size_t all = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%zu %zu", &all, &pages) != 2)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static const char *memory_is_used_again(void)
{
    size_t before = 0;
    for (unsigned turn = 0; turn < 2000; turn++) {
        const size_t size = turn % 3 ? 40000 : 300000;
        char *block = turn % 2 ? malloc(size) : memalign(4096, size);
        MUST(block, "malloc failed after %u blocks were freed", turn);
        memset(block, 1, size);
        free(block);
        if (turn == 500)
            before = resident();
    }
    MUST(resident() < before + (100 << 20), "1500 blocks, each freed, took %zu MB",
         (resident() - before) >> 20);
    return NULL;
}

static const char *memory_runs_out(void)
{
    enum { N = 4000 };
    static void *blocks[N];
    const struct rlimit limit = {(rlim_t)600 << 20, (rlim_t)600 << 20};
    size_t n = 0;
    setrlimit(RLIMIT_AS, &limit);
    errno = 0;
    while (n < N && (blocks[n] = malloc(1 << 20)) != NULL)
        n++;
    MUST(n < N, "4 GB of blocks below a limit of 600 MB");
    MUST(errno == ENOMEM, "malloc that failed set errno to %d", errno);
    for (size_t i = 0; i < n; i++)
        free(blocks[i]);
    void *block = malloc(1 << 20);
    MUST(n == 0 || block, "nothing to be had after all was freed");
    free(block);
    return NULL;
}

static void *exercise_in_thread(void *slots)
{
    const char *problem = exercise(slots, 20000);
    release(slots);
    return (void *)problem;
}

static const char *threads(void)
{
    static struct slots slots[6];
    pthread_t ids[5];
    for (size_t i = 0; i < 5; i++) {
        slots[i].state = i + 1;
        pthread_create(&ids[i], NULL, exercise_in_thread, &slots[i]);
    }
    slots[5].state = 6;
    void *problem = exercise_in_thread(&slots[5]);
    for (size_t i = 0; i < 5; i++) {
        void *one;
        pthread_join(ids[i], &one);
        problem = problem ? problem : one;
    }
    return problem;
}

/* Blocks that the thread's maker frees, after the thread has ended. */
static void *make_blocks(void *to)
{
    void **blocks = to;
    for (size_t i = 0; i < 50; i++) {
        free(blocks[i]);
        blocks[i] = malloc(10 + i * 30);
    }
    return NULL;
}

static const char *threads_that_end(void)
{
    void *blocks[50] = {NULL};
    for (unsigned turn = 0; turn < 200; turn++) {
        pthread_t id;
        MUST(pthread_create(&id, NULL, make_blocks, blocks) == 0, "the %uth thread cannot begin",
             turn);
        pthread_join(id, NULL);
    }
    for (size_t i = 0; i < 50; i++)
        free(blocks[i]);
    return NULL;
}

static volatile bool is_over;

static void *allocate_until_over(void *unused)
{
    (void)unused;
    while (!is_over)
        free(realloc(malloc(40), 4000));
    return NULL;
}

/* In a child: allocate, also in a thread. */
static void be_child(void)
{
    pthread_t id;
    void *blocks[50] = {NULL};
    alarm(20);
    free(malloc(100000));
    if (pthread_create(&id, NULL, make_blocks, blocks) != 0)
        _exit(1);
    pthread_join(id, NULL);
    make_blocks(blocks);
    _exit(0);
}

static const char *fork_with_threads(void)
{
    pthread_t ids[3];
    for (size_t i = 0; i < 3; i++)
        pthread_create(&ids[i], NULL, allocate_until_over, NULL);
    for (unsigned turn = 0; turn < 25; turn++) {
        int status;
        const pid_t child = fork();
        if (child == 0)
            be_child();
        MUST(child > 0 && waitpid(child, &status, 0) == child, "the %uth fork failed", turn);
        MUST(status == 0,
             WIFSIGNALED(status) ? "a forked child hangs, or ends by signal %d"
                                 : "a forked child ends with %d",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        free(malloc(100));
    }
    is_over = true;
    for (size_t i = 0; i < 3; i++)
        pthread_join(ids[i], NULL);
    return NULL;
}

/* GIVEN a child whose fork nobody was told of WHEN it has threads THEN they wait for each other
 * only. */
static const char *fork_by_system_call(void)
{
    int status = 0;
    free(malloc(100));
    const pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        alarm(20);
        _exit(threads() != NULL);
    }
    MUST(child > 0 && waitpid(child, &status, 0) == child, "fork failed");
    MUST(status == 0, "the child hangs, or ends with %d", status);
    return NULL;
}

/* Blocks that libc allocates and the program frees. */
static const char *blocks_of_libc(void)
{
    char *text = strdup("distinct"), *line = NULL;
    size_t size = 0;
    MUST(text && strcmp(text, "distinct") == 0, "strdup");
    free(text);
    MUST(asprintf(&text, "%d %s", 4711, "words") == 10, "asprintf");
    free(text);
    FILE *file = open_memstream(&text, &size);
    MUST(file && fprintf(file, "%*d", 50000, 7) == 50000 && fclose(file) == 0, "open_memstream");
    file = fmemopen(text, size, "r");
    MUST(file && getline(&line, &size, file) == 50000, "getline");
    fclose(file);
    free(line);
    free(text);
    text = realpath("/proc/../proc", NULL);
    MUST(text && strcmp(text, "/proc") == 0, "realpath");
    free(text);
    return NULL;
}

const struct al_case al_cases[] = {
    {"blocks-do-not-overlap", blocks_do_not_overlap},
    {"malloc-of-nothing", malloc_of_nothing},
    {"large-blocks", large_blocks},
    {"too-large", too_large},
    {"errno-is-kept", errno_is_kept},
    {"calloc-zeroes", calloc_zeroes},
    {"realloc-corners", realloc_corners},
    {"alignments", alignments},
    {"wrong-alignments", wrong_alignments},
    {"usable-size", usable_size},
    {"memory-is-used-again", memory_is_used_again},
    {"memory-runs-out", memory_runs_out},
    {"threads", threads},
    {"threads-that-end", threads_that_end},
    {"fork-with-threads", fork_with_threads},
    {"fork-by-system-call", fork_by_system_call},
    {"blocks-of-libc", blocks_of_libc},
};
const size_t al_case_count = sizeof al_cases / sizeof *al_cases;
