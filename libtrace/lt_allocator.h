/* SPDX-License-Identifier: MIT
 *
 * The test if the program's calls of malloc come to the hooks at all. They do
 * not where another definition comes first in the search order and passes
 * nothing on: a sanitizer's run-time library, an allocator preloaded before us,
 * one in the executable. A trace would then be empty or, worse, hold the few
 * calls that the other lacks: so there is none, and one line says why.
 */
#ifndef LT_ALLOCATOR_H
#define LT_ALLOCATOR_H

#include <stdbool.h>

/* In the constructor, if nothing has come to a hook yet: tries whether calls
 * do. Calls the program's allocator. */
void lt_allocator_probe(void);

/* When tracing starts: true if a hook was called by the probe, which is no event. */
bool lt_allocator_probing(void);

/* False if nothing can be traced; says so if a trace is asked for. */
bool lt_allocator_serves(bool asked);

/* Once tracing has begun, outside any hook: an allocator whose operator new is
 * its own, and does not call malloc, allocates unseen: says so and what helps. */
void lt_allocator_check_operators(void);

#endif
