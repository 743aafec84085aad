/* SPDX-License-Identifier: MIT
 *
 * The stacks of frees; see lt_frees.h. A STACK record stands behind its free, which it
 * needs not name: what follows a thread's event in its stream is about that event.
 */
#include "lt_frees.h"

#include <signal.h>

#include "lt_caller.h"
#include "lt_config.h"
#include "lt_guard.h"
#include "lt_real.h"

static void (*next_free)(void *);

static void record(struct lt_context *c, const struct lt_frame_start *at, unsigned what)
{
    unsigned char payload[2 * MLF_VU_SLACK];
    uint32_t stack = lt_take_stack(c, at);
    unsigned char *p = mlf_put_vu(payload, what);
    p = mlf_put_vu(p, stack);
    lt_writer_record(&c->events, MLF_REC_STACK, payload, (size_t)(p - payload));
}

void lt_frees_tell(struct lt_context *context, const struct lt_frame_start *at)
{
    if (lt_config.free_stacks)
        record(context, at, MLF_STACK_FREE);
}

static LT_NOINLINE void record_of_thread(const struct lt_frame_start *at, unsigned what)
{
    struct lt_context *c = lt_begin(at->sp);
    if (!c)
        return;
    record(c, at, what);
    lt_finish(c, 0);
}

void lt_frees_tell_thread(const struct lt_frame_start *at)
{
    if (lt_config.free_stacks && lt_page.active == LT_ACTIVE && lt_page.forward <= LT_FORWARD_NO)
        record_of_thread(at, MLF_STACK_FREE);
}

/* The hook jumps here, so that the caller is the hook's. */
static void told_free(void *p)
{
    if (p && lt_page.active == LT_ACTIVE && lt_page.forward <= LT_FORWARD_NO) {
        struct lt_frame_start at = lt_caller();
        record_of_thread(&at, MLF_STACK_FREE);
    }
    next_free(p);
}

/* Only what the thread did to itself: the stack of another's signal tells nothing. */
static bool on_abort(siginfo_t *info, const struct lt_frame_start *at, bool dies)
{
    if (info->si_code != SI_TKILL || info->si_pid != lt_process.pid ||
        lt_getpid() != lt_process.pid || lt_page.active != LT_ACTIVE || lt_process.finished)
        return false;
    if (lt_page.forward <= LT_FORWARD_NO)
        record_of_thread(at, MLF_STACK_ABORT);
    if (dies)
        lt_process_end(MLF_END_ABORT, 0);
    return false;
}

static void set_up(void)
{
    lt_guard(SIGABRT, on_abort);
    if (!lt_config.free_stacks || !lt_real_ready())
        return;
    next_free = lt_real.free;
    lt_real.free = told_free;
}

/* Tracing may have begun by now, or begins in a constructor that comes after this. */
__attribute__((constructor)) static void begin(void)
{
    if (lt_page.active == LT_ACTIVE)
        set_up();
    else
        lt_after_start = set_up;
}
