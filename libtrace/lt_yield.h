/* SPDX-License-Identifier: MIT
 *
 * Making way for the program. Where a limit of memory (RLIMIT_AS, RLIMIT_DATA) refuses
 * the program a request that it would grant without the library's own mappings, tracing
 * ends, these are given back, and the request is made again.
 */
#ifndef LT_YIELD_H
#define LT_YIELD_H

#include <stdbool.h>
#include <stddef.h>

/* A request of the calling thread for `size` bytes was refused. Returns true if it is
 * worth another try; tracing is over then. Keeps errno. */
bool lt_yield(size_t size);

#endif
