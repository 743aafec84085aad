/* SPDX-License-Identifier: MIT
 *
 * The public functions of mlog.h, and those by which a code generator gives the
 * unwind information of its code to the run-time library: we want it too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "lt_real.h"
#include "lt_trace.h"
#include "mlog.h"

LT_EXPORT int mlog_api_version(void)
{
    return MLOG_API_VERSION;
}

LT_EXPORT int mlog_api_tracing(void)
{
    return lt_page.active == LT_ACTIVE;
}

LT_EXPORT void mlog_api_mark(int kind, const char *name)
{
    if (lt_page.active == LT_OFF || kind < MLF_MARK_POINT || kind > MLF_MARK_END)
        return;
    int saved = errno;
    name = name ? name : "";
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    /* The record may need more room than an event: made before the stamp. */
    if (c && lt_writer_room(&c->events, 300)) {
        uint64_t now = lt_now();
        unsigned char *p = mlf_put_vu(c->scratch, now);
        p = mlf_put_vu(p, (uint64_t)kind);
        p = lt_put_string(p, name, strnlen(name, 255));
        lt_writer_record(&c->events, MLF_REC_MARK, c->scratch, (size_t)(p - c->scratch));
        lt_stamp_anew();
        lt_finish(c, now);
    } else if (c) {
        lt_finish(c, 0);
    }
    errno = saved;
}

LT_EXPORT void mlog_api_register_stack(const void *low, const void *high)
{
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    if (!c)
        return;
    struct lt_thread *self = lt_self;
    if ((uintptr_t)self > 1 && c == &self->main)
        lt_unwind_register_stack(self->unwinder, (uintptr_t)low, (uintptr_t)high);
    lt_finish(c, 0);
}

typedef void (*register_function)(void *);

LT_EXPORT void __register_frame(void *eh_frame);
LT_EXPORT void __deregister_frame(void *eh_frame);

static void *symbol_of(const char *library, const char *name)
{
    void *handle = library ? dlopen(library, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    void *symbol = handle ? dlsym(handle, name) : NULL;
    if (handle)
        dlclose(handle);
    return symbol;
}

/* The run-time library's function: the next one behind ours or, if a plug-in
 * brought that library into its own scope alone, the one that the caller would
 * have found by itself. */
static register_function registrar_find(const char *name, const void *caller)
{
    int saved = errno;
    void *next = lt_real_symbol(name);
    Dl_info info;
    if (!next && dladdr(caller, &info))
        next = symbol_of(info.dli_fname, name);
    if (!next)
        next = symbol_of("libgcc_s.so.1", name);
    errno = saved;
    return (register_function)next;
}

LT_EXPORT void __register_frame(void *eh_frame)
{
    register_function next = registrar_find("__register_frame", __builtin_return_address(0));
    lt_unwind_register_frames(eh_frame);
    if (next)
        next(eh_frame);
}

LT_EXPORT void __deregister_frame(void *eh_frame)
{
    register_function next = registrar_find("__deregister_frame", __builtin_return_address(0));
    lt_unwind_deregister_frames(eh_frame);
    if (next)
        next(eh_frame);
}
