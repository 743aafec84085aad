/* SPDX-License-Identifier: MIT
 *
 * Calls of the real functions, in front of a libc whose functions call each
 * other by name: musl's calloc calls malloc, its memalign and posix_memalign
 * call aligned_alloc, and so come back to our hooks. One call of the program is
 * one event: what the real function itself asks for is passed on unrecorded. A
 * signal handler that interrupts it is somebody else and is recorded.
 * Used by lt_hooks.c and lt_process.c. Costs nothing in front of glibc.
 */
#ifndef LT_FORWARD_H
#define LT_FORWARD_H

#include <features.h>
#include <stdbool.h>
#include <stdint.h>

#include "lt_real.h"

#if defined(__GLIBC__)
#define LT_FORWARD_TO(function, call) (call)
#define LT_CALLED_BY_REAL() false
#else

/* Longer than any of these functions is. */
#define LT_FUNCTION_BYTES 512

/* The real function that this thread is in, 0 for none. */
extern __thread uintptr_t lt_inside __attribute__((tls_model("initial-exec")));

/* The value of `call`, which calls `function`. */
#define LT_FORWARD_TO(function, call)                                                              \
    ({                                                                                             \
        uintptr_t was_ = lt_inside;                                                                \
        lt_real_ready();                                                                           \
        lt_inside = (uintptr_t)(function);                                                         \
        __typeof__(call) result_ = (call);                                                         \
        lt_inside = was_;                                                                          \
        result_;                                                                                   \
    })

/* True if a hook was called by that function, or jumped to from it: then it
 * returns to the hook which forwarded, in our own code. */
extern char lt_begin_of_us[] __asm__("__ehdr_start") __attribute__((visibility("hidden")));
extern char lt_end_of_us[] __asm__("etext") __attribute__((visibility("hidden")));
#define LT_CALLED_BY_REAL() lt_called_by_real((uintptr_t)__builtin_return_address(0))
static inline bool lt_called_by_real(uintptr_t pc)
{
    return lt_inside &&
           (pc - lt_inside < LT_FUNCTION_BYTES ||
            pc - (uintptr_t)lt_begin_of_us < (uintptr_t)lt_end_of_us - (uintptr_t)lt_begin_of_us);
}
#endif

#endif
