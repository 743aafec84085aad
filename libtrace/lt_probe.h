/* SPDX-License-Identifier: MIT
 *
 * Filters of system calls (seccomp) that were set before this program was executed, by
 * one that was not traced: containers and services have one that lets all of the
 * library's calls through or refuses some; others end the program at the first.
 */
#ifndef LT_PROBE_H
#define LT_PROBE_H

#include <stdbool.h>

/* True if a filter ends a process that makes the library's system calls. Tried by a
 * process of its own, and only where /proc/self/status tells of a filter. */
bool lt_probe_is_deadly(void);
/* The same of the calls that the control page alone needs. */
bool lt_probe_page_is_deadly(void);

#endif
