/* SPDX-License-Identifier: MIT
 *
 * Programs that the traced one executes; see lt_exec.h. The record goes to the
 * calling thread's definitions, in a vfork's child to its parent's: that thread
 * is suspended meanwhile, so the context is still used by one at a time.
 */
#include "lt_exec.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "lt_config.h"
#include "lt_trace.h"

#define PATH_KEPT 400 /* bytes of a path, of its end */

static const char preload[] = "LD_PRELOAD=";
static const char *own_name; /* the library's file name, if LD_PRELOAD had it at the start */

static bool is_preloaded(char *const env[], const char *name)
{
    for (; env && *env; env++)
        if (!strncmp(*env, preload, sizeof preload - 1))
            return strstr(*env + sizeof preload - 1, name) != NULL;
    return false;
}

void lt_exec_setup(void)
{
    Dl_info info;
    if (!dladdr((const void *)lt_exec_setup, &info) || !info.dli_fname)
        return;
    const char *slash = strrchr(info.dli_fname, '/');
    const char *name = slash ? slash + 1 : info.dli_fname;
    own_name = is_preloaded(environ, name) ? name : NULL;
}

/* False where nothing is traced that a child could go on with, or where each process
 * has a file of its own. */
static bool concerns_us(void)
{
    return lt_process.started && lt_sink && !lt_process.stopped && !lt_config.out_per_process &&
           lt_page.active != LT_OFF;
}

void lt_exec_prepare(struct lt_exec *exec, char *const env[])
{
    *exec = (struct lt_exec){0, LT_PUT_NOTHING};
    if (!concerns_us())
        return;
    exec->changed = lt_sink_put_back();
    if (exec->changed == LT_PUT_FAILED)
        exec->state |= MLF_EXEC_NO_TRACE;
    if (own_name && !is_preloaded(env, own_name))
        exec->state |= MLF_EXEC_NO_LIBRARY;
}

void lt_exec_undo(const struct lt_exec *exec)
{
    lt_sink_take_away(exec->changed);
}

/* The context of the calling thread, marked busy, or NULL. */
static struct lt_context *begin(uintptr_t frame, bool is_ours)
{
    if (lt_page.active != LT_ACTIVE)
        return NULL;
    if (is_ours)
        return lt_begin(frame);
    struct lt_thread *self = lt_self;
    if ((uintptr_t)self <= 1 || self->main.busy || self->main.announced != lt_process.key)
        return NULL;
    self->main.busy = frame;
    LT_SIGNAL_FENCE();
    return &self->main;
}

/* A sink that finds no way to the trace ends the tracing, and that of a vfork's child
 * is its parent's. */
static bool has_room(const struct lt_writer *writer, size_t size)
{
    return writer->chunk && writer->position <= writer->limit &&
           size <= (size_t)(writer->limit - writer->position);
}

static void record(const struct lt_exec *exec, int pid, uint32_t state, const char *path,
                   uintptr_t frame)
{
    bool is_ours = lt_getpid() == lt_process.pid;
    struct lt_context *c = begin(frame, is_ours);
    if (!c)
        return;
    size_t size = strlen(path);
    if (size > PATH_KEPT) {
        path += size - PATH_KEPT;
        size = PATH_KEPT;
    }
    unsigned char *p = mlf_put_vu(c->scratch, lt_now());
    p = mlf_put_vu(p, (uint64_t)pid);
    p = mlf_put_vu(p, state);
    p = lt_put_string(p, path, size);
    size = (size_t)(p - c->scratch);
    if (is_ours || exec->changed != LT_PUT_FAILED || has_room(&c->definitions, size))
        lt_writer_record(&c->definitions, MLF_REC_EXEC, c->scratch, size);
    LT_SIGNAL_FENCE();
    c->busy = 0;
    lt_release_shared(c);
}

void lt_exec_record(const struct lt_exec *exec, int pid, const char *path)
{
    if (concerns_us())
        record(exec, pid, exec->state, path ? path : "", (uintptr_t)__builtin_frame_address(0));
}

void lt_exec_failed(const struct lt_exec *exec, int pid)
{
    if (concerns_us())
        record(exec, pid, MLF_EXEC_FAILED, "", (uintptr_t)__builtin_frame_address(0));
}
