/* SPDX-License-Identifier: MIT
 *
 * The public interface of libmlog.so, for programs that want to say something
 * to the trace they are recorded in, or to know how much they have allocated.
 * Nothing need be linked: the functions are weak, and the inline wrappers do
 * nothing, for the price of a comparison, where the library is not preloaded.
 *
 *     #include <mlog.h>
 *     mlog_mark("request accepted");
 *
 * Every function but the two that print may be called from any thread and from a
 * signal handler; none allocates, blocks (but for a stream trace whose reader is
 * slow) or changes errno. C99 and C++11; mlog_api_* are for other languages.
 */
#ifndef MLOG_H
#define MLOG_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MLOG_API_VERSION 2

/* Version of the preloaded library's interface; the weak symbol is null if
 * the library is not there. */
int mlog_api_version(void) __attribute__((weak));

/* 1 while the process is being traced. */
int mlog_api_tracing(void) __attribute__((weak));

/* A named moment in this thread's events, for 60 ns. kind: 1 a point, 2 the beginning and
 * 3 the end of a span of that name. name: at most 255 bytes are kept; null: empty. */
void mlog_api_mark(int kind, const char *name) __attribute__((weak));

/* The calling thread now runs on the stack [low, high), all of it mapped above
 * the stack pointer: coroutines, fibres, threads with generated code. Only
 * frame pointers need it: where code has no unwind information, they are
 * followed inside these bounds and never outside. Stays until called again. */
void mlog_api_register_stack(const void *low, const void *high) __attribute__((weak));

/* Record no more, or record again; the same as `mlog ctl PID pause` and `resume`. What is
 * allocated meanwhile is not in the trace, and what was allocated before has an end that
 * is not known. Not counted: one resume ends any number of pauses. Returns 0, 1 if it
 * was so already, -1 if it cannot be done (tracing is over, or the trace has no room). */
int mlog_api_pause(void) __attribute__((weak));
int mlog_api_resume(void) __attribute__((weak));

static inline int mlog_pause(void)
{
    return mlog_api_pause ? mlog_api_pause() : -1;
}

static inline int mlog_resume(void)
{
    return mlog_api_resume ? mlog_api_resume() : -1;
}

/* The functions behind those of the same names below. size: of the caller's struct. */
struct mlog_stats;
int mlog_api_stats(struct mlog_stats *stats, size_t size) __attribute__((weak));
void mlog_api_stats_reset(void) __attribute__((weak));
int mlog_api_set_output(int fd) __attribute__((weak));
void mlog_api_print(const char *text, size_t size) __attribute__((weak));
/* of: 0, a new savepoint, or the one that is asserted, with what grew since. */
uint64_t mlog_api_savepoint(uint64_t of, const char *name, const char *place, int64_t growth,
                            int counted) __attribute__((weak));

/* 1: the preloaded library has all that this header declares; 0: no library is
 * preloaded; -1: an older one is, and what it lacks does nothing. */
static inline int mlog_check_version(void)
{
    return !mlog_api_version ? 0 : mlog_api_version() >= MLOG_API_VERSION ? 1 : -1;
}

static inline int mlog_tracing(void)
{
    return mlog_api_tracing ? mlog_api_tracing() : 0;
}

static inline void mlog_mark(const char *name)
{
    if (mlog_api_mark)
        mlog_api_mark(1, name);
}

static inline void mlog_begin(const char *name)
{
    if (mlog_api_mark)
        mlog_api_mark(2, name);
}

static inline void mlog_end(const char *name)
{
    if (mlog_api_mark)
        mlog_api_mark(3, name);
}

static inline void mlog_register_stack(const void *low, const void *high)
{
    if (mlog_api_register_stack)
        mlog_api_register_stack(low, high);
}

/* A line of text in this thread's events, at this moment, for 140 ns: at most
 * MLOG_PRINT_MAX bytes of it are kept. Formatted on the stack, and only while the process is
 * traced. Returns the bytes recorded. (libc's formatting may allocate by itself for widths and
 * precisions of hundreds: such a block is an event as any other.) */
#define MLOG_PRINT_MAX 1000

static inline int mlog_vprintf(const char *format, va_list arguments)
    __attribute__((format(printf, 1, 0)));
static inline int mlog_vprintf(const char *format, va_list arguments)
{
    char text[MLOG_PRINT_MAX + 1];
    int saved = errno;
    int size = vsnprintf(text, sizeof text, format, arguments);
    if (size > MLOG_PRINT_MAX)
        size = MLOG_PRINT_MAX;
    if (size > 0)
        mlog_api_print(text, (size_t)size);
    errno = saved;
    return size > 0 ? size : 0;
}

static inline int mlog_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int mlog_printf(const char *format, ...)
{
    if (!mlog_api_print || !mlog_tracing())
        return 0;
    va_list arguments;
    va_start(arguments, format);
    int size = mlog_vprintf(format, arguments);
    va_end(arguments);
    return size;
}

/* The trace goes to this descriptor from now on, if the process is not traced yet: a
 * file, a pipe or a socket, opened for writing, of which the library takes a copy. What
 * was allocated before is not in the trace. 0, or -1 and errno: EBUSY, the process is
 * or was traced already, and goes on as it was (a trace begins with all its stacks
 * and modules and cannot be torn in two), or its descriptor 1022 is something else;
 * EBADF; EINVAL, it cannot be traced into that, and standard error has the reason; EIO,
 * the trace ended where it began; ENOSYS, no library that can. Costs as a start of
 * the program traced. */
static inline int mlog_set_output(int fd)
{
    if (mlog_api_set_output)
        return mlog_api_set_output(fd);
    errno = ENOSYS;
    return -1;
}

/* The calls of the allocator and their bytes, of all threads, traced or not. A size
 * is what malloc_usable_size says of the block, so that what is freed is what was
 * allocated: with glibc 0 to 15 bytes more than was asked for, at least 24, and of large
 * blocks up to a page more. A realloc is a
 * deallocation and an allocation at one moment. A fork's child goes on counting from
 * the numbers of its parent; an execution begins anew. */
struct mlog_stats {
    uint64_t flags;                      /* MLOG_STATS_*; 0: not counted, all is 0 */
    uint64_t allocations, allocated;     /* calls that gave a block, and bytes, ... */
    uint64_t deallocations, deallocated; /* ... since the last reset */
    int64_t in_use_blocks, in_use;       /* whatever was reset */
    int64_t peak;        /* most bytes in use since the last reset: at least this, ... */
    uint64_t peak_error; /* ... and at most so many more; 0: exact */
    uint64_t resets;
};
enum {
    MLOG_STATS_COUNTED = 1,
    /* The rest says what is not as it should be. Counting began in a running program:
     * what is in use, and the peak, are relative to then, and may be negative. */
    MLOG_STATS_LATE = 2,
    /* Other threads' calls came in between: the numbers are not of one moment. */
    MLOG_STATS_MOVING = 4,
    /* The allocator does not tell the size of a block: bytes are wrong, calls are right. */
    MLOG_STATS_UNSIZED = 8,
    /* A fork came while another thread's call was half counted: off by that call. */
    MLOG_STATS_HALVED = 16
};

/* In a function of the program, anywhere: count from the program's first call on.
 * mlog_stats says it by itself: an ELF note of 24 bytes, which the library looks for
 * in the objects that are loaded at start. */
#if defined(__ELF__) && (defined(__GNUC__) || defined(__clang__))
#define MLOG_COUNT_FROM_START()                                                                    \
    __asm__ volatile(".pushsection .note.mlog,\"a\",%note\n\t.balign 4\n\t.long 5, 4, 1\n\t"       \
                     ".asciz \"mlog\"\n\t.balign 4\n\t.long 1\n\t.popsection")
#else
#define MLOG_COUNT_FROM_START() (void)0
#endif

/* 1 and the numbers, or 0 and zeros: no library is preloaded, MLOG_STATS=0, or the
 * program's allocator cannot be counted (a sanitizer's). Counting is on from the
 * program's first call if an object that is loaded at start calls this function, or by
 * MLOG_STATS=1 in the environment; else from the first call of this function on
 * (MLOG_STATS_LATE): so for a plug-in, and where mlog_api_stats is looked up by dlsym.
 * The numbers are exact, also after a reset and from several threads, but for what a
 * flag says. The peak is exact while the program has had one thread (or had one
 * at the last reset, and since), and later within 4 KiB for each thread.
 * A program that does not ask pays nothing: not one instruction of a call. Counting costs
 * 3.3 ns a call of the allocator (whose own malloc or free takes 2.8 ns) and 64 bytes a
 * thread; a reading 0.3 us, and as much more for each 64 threads that lived at one time. */
static inline int mlog_stats(struct mlog_stats *stats)
{
    MLOG_COUNT_FROM_START();
    memset(stats, 0, sizeof *stats);
    return mlog_api_stats ? mlog_api_stats(stats, sizeof *stats) : 0;
}

/* Counts begin at 0 again, the peak at what is in use. */
static inline void mlog_stats_reset(void)
{
    if (mlog_api_stats_reset)
        mlog_api_stats_reset();
}

/* What came to `before` until `after`: in use and peak are changes. If there was a
 * reset between them, the counts are those since. */
static inline struct mlog_stats mlog_stats_diff(const struct mlog_stats *before,
                                                const struct mlog_stats *after)
{
    struct mlog_stats change = *after;
    change.flags |= before->flags;
    if (after->resets == before->resets) {
        change.allocations -= before->allocations;
        change.allocated -= before->allocated;
        change.deallocations -= before->deallocations;
        change.deallocated -= before->deallocated;
    }
    change.in_use_blocks -= before->in_use_blocks;
    change.in_use -= before->in_use;
    change.peak -= before->peak;
    change.peak_error += before->peak_error;
    change.resets -= before->resets;
    return change;
}

/* A table to a stream of the caller's, below a title of at most 20 bytes. */
static inline void mlog_stats_print(FILE *to, const char *title, const struct mlog_stats *stats)
{
    static const char line[] =
        "+----------------------+----------------------+----------------------+";
    fprintf(to, "%s\n| %-20.20s | %20s | %20s |\n%s\n", line, title ? title : "", "blocks",
            "usable bytes", line);
    fprintf(to, "| %-20s | %20llu | %20llu |\n", "allocated",
            (unsigned long long)stats->allocations, (unsigned long long)stats->allocated);
    fprintf(to, "| %-20s | %20llu | %20llu |\n", "deallocated",
            (unsigned long long)stats->deallocations, (unsigned long long)stats->deallocated);
    fprintf(to, "| %-20s | %20lld | %20lld |\n", "in use", (long long)stats->in_use_blocks,
            (long long)stats->in_use);
    fprintf(to, "| %-20s | %20s | %20lld |\n", stats->peak_error ? "peak, at least" : "peak", "",
            (long long)stats->peak);
    if (stats->peak_error)
        fprintf(to, "| %-20s | %20s | %20llu |\n", "  and at most more", "",
                (unsigned long long)stats->peak_error);
    fprintf(to, "%s\n", line);
    if (!(stats->flags & MLOG_STATS_COUNTED))
        fprintf(to, "Not counted: preload libmlog.so, without MLOG_STATS=0.\n");
    if (stats->flags & MLOG_STATS_LATE)
        fprintf(to, "Counted since the program was running: in use and peak are relative to then; "
                    "MLOG_STATS=1 counts from the start.\n");
    if (stats->flags & MLOG_STATS_MOVING)
        fprintf(to, "Other threads called meanwhile: not the numbers of one moment.\n");
    if (stats->flags & MLOG_STATS_UNSIZED)
        fprintf(to, "The allocator does not tell the size of a block: the bytes are wrong.\n");
    if (stats->flags & MLOG_STATS_HALVED)
        fprintf(to, "A fork came while a thread's call was half counted: off by that call.\n");
}

/* Between a savepoint and an assertion in the same scope the program should not have
 * grown, whatever it allocated and freed meanwhile:
 *
 *     MLOG_SAVEPOINT(request);
 *     serve(request);
 *     MLOG_ASSERT_NO_GROWTH(request);
 *
 * The assertion is the number of bytes by which all threads' usable bytes in use have
 * grown, 0 if they have not; it says so on standard error. It asserts nothing where
 * mlog_stats does not count. In a trace both are recorded, and mlog-analyze --savepoints
 * names the stacks that grew. Costs two readings of mlog_stats and two marks. In scopes
 * of their own the functions do the same. */
struct mlog_savepoint {
    uint64_t number; /* in the trace; 0: none */
    int64_t in_use;
    int counted;
};

static inline struct mlog_savepoint mlog_savepoint(const char *name)
{
    struct mlog_savepoint point = {0, 0, 0};
    struct mlog_stats stats;
    if (mlog_api_savepoint)
        point.number = mlog_api_savepoint(0, name, "", 0, 0);
    point.counted = mlog_stats(&stats);
    point.in_use = stats.in_use;
    return point;
}

static inline int64_t mlog_assert_no_growth(const struct mlog_savepoint *point, const char *name,
                                            const char *place)
{
    struct mlog_stats stats;
    int counted = mlog_stats(&stats) && point->counted;
    int64_t growth = counted ? stats.in_use - point->in_use : 0;
    if (mlog_api_savepoint && point->number)
        mlog_api_savepoint(point->number, name, place, growth, counted);
    if (growth <= 0)
        return 0;
    int saved = errno;
    fprintf(stderr, "mlog: %s: %lld bytes more in use than at savepoint %s%s\n", place,
            (long long)growth, name,
            mlog_tracing() ? "; mlog-analyze --savepoints names the stacks" : "");
    errno = saved;
    return growth;
}

#define MLOG_STRING_OF(text) #text
#define MLOG_STRING(text) MLOG_STRING_OF(text)
#define MLOG_SAVEPOINT(name) struct mlog_savepoint mlog_savepoint_##name = mlog_savepoint(#name)
#define MLOG_ASSERT_NO_GROWTH(name)                                                                \
    mlog_assert_no_growth(&mlog_savepoint_##name, #name, __FILE__ ":" MLOG_STRING(__LINE__))

#ifdef __cplusplus
}
#endif

#endif
