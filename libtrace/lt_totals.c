/* SPDX-License-Identifier: MIT
 *
 * The allocator's own totals; see lt_totals.h.
 */
#include "lt_totals.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>

#include "lt_caller.h"
#include "lt_config.h"
#include "lt_real.h"

/* As glibc's since 2.33; declared here, since other libcs do not. */
struct info {
    size_t arena, ordblks, smblks, hblks, hblkhd, usmblks, fsmblks, uordblks, fordblks, keepcost;
};
static struct info (*ask)(void); /* of the allocator that the hooks forward to */
static int sure_pid;             /* of a process in which its locks are whole */

__attribute__((constructor)) static void resolve(void)
{
    void *found = lt_real_symbol("mallinfo2");
    Dl_info of, beneath;
    sure_pid = lt_getpid();
    if (found && lt_real_ready() && dladdr(found, &of) &&
        dladdr((const void *)lt_real.malloc, &beneath) && of.dli_fbase == beneath.dli_fbase)
        ask = (struct info(*)(void))found;
}

/* No frame was interrupted, as far as all of them are known. */
static LT_NOINLINE bool is_in_no_handler(struct lt_unwinder *u)
{
    struct lt_frame_start at = lt_caller();
    unsigned n = lt_unwind(u, &at);
    for (unsigned i = 0; i < n; i++)
        if (lt_unwinder_flags(u, i) & LT_FRAME_EXACT)
            return false;
    return n && lt_unwinder_stop(u) == LT_STOP_ROOT;
}

bool lt_totals_take(const struct lt_context *context, struct lt_totals *totals)
{
    struct lt_thread *self = lt_self;
    if (!lt_config.totals || !ask || sure_pid != lt_getpid() || (uintptr_t)self <= 1 ||
        context != &self->main || !is_in_no_handler(self->unwinder))
        return false;
    int saved = errno;
    struct info info = ask();
    totals->mapped = info.arena + info.hblkhd;
    totals->in_use = info.uordblks + info.hblkhd;
    totals->free = info.fordblks;
    errno = saved;
    return true;
}

void lt_totals_after_fork(void)
{
    sure_pid = lt_getpid();
}
