/* SPDX-License-Identifier: MIT
 *
 * What the unwinder's tests share: the registers of the caller as a hook takes
 * them, and an unwinder in fresh memory. A macro, since it must expand in the
 * hook itself: asking for the frame address makes that function keep one.
 */
#ifndef UNWIND_START_H
#define UNWIND_START_H

#include "lt_unwind.h"

#include <sys/mman.h>

#define UNWIND_START                                                                               \
    {                                                                                              \
        .pc = (uintptr_t)__builtin_return_address(0), .sp = UNWIND_START_CFA,                      \
        .fp = *(const volatile uintptr_t *)__builtin_frame_address(0)                              \
    }
#if defined(__x86_64__) || defined(__i386__)
#define UNWIND_START_CFA ((uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *))
#else
#define UNWIND_START_CFA ((uintptr_t)__builtin_dwarf_cfa())
#endif

static inline struct lt_unwinder *unwinder_new(void)
{
    void *p = mmap(NULL, lt_unwinder_size(LT_UNWIND_DEPTH), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    lt_unwinder_init(p, LT_UNWIND_DEPTH);
    return p;
}

#endif
