/* SPDX-License-Identifier: MIT
 *
 * The public functions of mlog.h, and those by which a code generator gives the
 * unwind information of its code to the run-time library: we want it too.
 */
#include <errno.h>
#include <string.h>

#include "lt_real.h"
#include "lt_trace.h"
#include "mlog.h"

#define LT_EXPORT __attribute__((visibility("default")))

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

LT_EXPORT void __register_frame(void *eh_frame)
{
    register_function next = (register_function)lt_real_symbol("__register_frame");
    lt_unwind_register_frames(eh_frame);
    if (next)
        next(eh_frame);
}

LT_EXPORT void __deregister_frame(void *eh_frame)
{
    register_function next = (register_function)lt_real_symbol("__deregister_frame");
    lt_unwind_deregister_frames(eh_frame);
    if (next)
        next(eh_frame);
}
