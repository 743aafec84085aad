/* SPDX-License-Identifier: MIT
 *
 * The public interface of libmlog.so, for programs that want to say something
 * to the trace they are recorded in. Nothing need be linked: the functions are
 * weak, and the inline wrappers do nothing where the library is not preloaded.
 *
 *     #include <mlog.h>
 *     mlog_mark("request accepted");
 *
 * Every function may be called from any thread and from a signal handler; none
 * allocates, blocks (but for a stream trace whose reader is slow) or changes
 * errno.
 */
#ifndef MLOG_H
#define MLOG_H

#ifdef __cplusplus
extern "C" {
#endif

#define MLOG_API_VERSION 1

/* Version of the preloaded library's interface; the weak symbol is null if
 * the library is not there. */
int mlog_api_version(void) __attribute__((weak));

/* 1 while the process is being traced. */
int mlog_api_tracing(void) __attribute__((weak));

/* A named moment in this thread's events. kind: 1 a point, 2 the beginning and
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

#ifdef __cplusplus
}
#endif

#endif
