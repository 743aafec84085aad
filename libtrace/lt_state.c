/* SPDX-License-Identifier: MIT
 *
 * The state that the library's parts share (lt_trace.h says who may touch what),
 * and nothing that works on it: so each part depends on this, and not on the
 * part that fills it in.
 */
#include "lt_sink.h"
#include "lt_trace.h"

#ifndef __GLIBC__
#include "lt_forward.h"
__thread uintptr_t lt_inside;
#endif
union lt_page_memory lt_page_memory __attribute__((aligned(LT_PAGE_BYTES)));
__thread struct lt_thread *lt_self __attribute__((tls_model("initial-exec")));
struct lt_process lt_process;
const struct lt_sink *lt_sink;
void (*lt_after_start)(void);

uint32_t lt_lock_owner(void)
{
    struct lt_thread *self = lt_self;
    if (LT_LIKELY((uintptr_t)self > 1 && self->tid))
        return self->tid;
    return (uint32_t)lt_gettid();
}
