/* SPDX-License-Identifier: MIT
 *
 * Who calls a hook, and with which stack. For functions that the program calls, or that
 * such a function jumps to, in files that are built with frame pointers.
 */
#ifndef LT_CALLER_H
#define LT_CALLER_H

#include "lt_stack.h"
#include "lt_trace.h"

static inline __attribute__((always_inline)) struct lt_frame_start lt_caller(void)
{
    /* The caller's frame pointer is saved where ours points. Its stack pointer
     * is a fixed step above that on x86; AArch64's frames leave it open. */
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
#if defined(__x86_64__) || defined(__i386__)
    uintptr_t sp = frame + 2 * sizeof(void *);
#else
    uintptr_t sp = (uintptr_t)__builtin_dwarf_cfa();
#endif
    return (struct lt_frame_start){(uintptr_t)__builtin_return_address(0), sp, *(uintptr_t *)frame};
}

/* The id of that stack, for an event of the context. */
static inline uint32_t lt_take_stack(struct lt_context *c, const struct lt_frame_start *at)
{
    struct lt_thread *self = lt_self;
    if (LT_LIKELY((uintptr_t)self > 1 && c == &self->main)) {
        uint32_t id = lt_unwind_recall(self->unwinder, at);
        if (id)
            return id;
        lt_unwind(self->unwinder, at);
        id = lt_stack_id_of_thread(self);
        lt_unwind_remember(self->unwinder, id);
        return id;
    }
    struct lt_unwinder *u =
        c->flags & MLF_STREAM_SHARED ? lt_process.shared_unwinder : self->nested_unwinder;
    lt_unwind_nested(u, at);
    return lt_stack_id(c, u);
}

#endif
