/* SPDX-License-Identifier: MIT
 *
 * mlog_pause and mlog_resume of mlog.h: the program's own way to what `mlog ctl` asks for.
 */
#include <errno.h>

#include "lt_control.h"
#include "mlog.h"

static int pause_or_resume(bool pause, uintptr_t frame)
{
    int saved = errno, result = -ESHUTDOWN;
    struct lt_context *c = lt_page.active == LT_OFF ? NULL : lt_begin(frame);
    if (!c && lt_page.active == LT_ACTIVE)
        c = lt_begin(frame); /* the first event of a process that begins paused is none */
    if (c) {
        result = lt_control_pause(c, pause, MLF_WINDOW_API);
        lt_finish(c, 0);
    }
    errno = saved;
    return result < 0 ? -1 : result;
}

LT_EXPORT int mlog_api_pause(void)
{
    return pause_or_resume(true, (uintptr_t)__builtin_frame_address(0));
}

LT_EXPORT int mlog_api_resume(void)
{
    return pause_or_resume(false, (uintptr_t)__builtin_frame_address(0));
}
