/* SPDX-License-Identifier: MIT
 *
 * What the C library's allocator says of itself: bytes that it has from the system, in
 * blocks in use, and free. With MLOG_TOTALS=1 only, and at exit: mallinfo2 takes the lock
 * of every arena, and walks through the lists of free blocks, where a program that has
 * written into freed memory would crash by our doing.
 */
#ifndef LT_TOTALS_H
#define LT_TOTALS_H

#include <stdbool.h>
#include <stddef.h>

struct lt_context;

struct lt_totals {
    size_t mapped, in_use, free;
};

/* In an event of the context, which exit() led to. False: not asked for, not to be had from
 * this allocator, or not safe here: in a handler, which may have interrupted it; in a child
 * that was not made by fork(), where its locks are as other threads left them. */
bool lt_totals_take(const struct lt_context *context, struct lt_totals *totals);

/* In the child that fork() made. */
void lt_totals_after_fork(void);

#endif
