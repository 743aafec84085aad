/* SPDX-License-Identifier: MIT
 *
 * The guard against SIGBUS. A store into a mapped chunk whose file somebody has cut
 * raises it, and no reservation, lock or lease keeps the file's owner from that: the
 * shell of a second `1022>FILE` has cut it before anything of ours runs. Where such a
 * fault is in the trace, memory of no file takes the page's place and the store is
 * made again; every other SIGBUS is the program's, which sees it, and its own action
 * for it, as without us (lt_guard.h).
 */
#ifndef LT_BUS_H
#define LT_BUS_H

#include <stdbool.h>
#include <stddef.h>

/* Guard the mapped chunks of all contexts and `size` bytes at `header`. To be called in
 * the constructor. Nothing is done where the program ignores the signal already, or has
 * a handler that came before ours. */
void lt_bus_guard(void *header, size_t size);

/* True once a page of the trace was found cut off: what has been stored in it since is
 * not in the trace. */
bool lt_bus_struck(void);

#endif
