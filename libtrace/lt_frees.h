/* SPDX-License-Identifier: MIT
 *
 * The stacks of frees. By default a free has none. With MLOG_FREE_STACKS=1 a function of
 * ours stands between the hooks and the real free, and records the stack of each: the
 * hooks themselves know nothing of it. Without that, one free tells its stack: that in
 * which the C library finds a mistake and aborts, by a guard of SIGABRT (lt_guard.h),
 * which records where the program was.
 */
#ifndef LT_FREES_H
#define LT_FREES_H

#include "lt_unwind.h"

struct lt_context;

/* Record the stack of the free that was the last event of the context, if asked for; the
 * context is the caller's, and busy. */
void lt_frees_tell(struct lt_context *context, const struct lt_frame_start *at);

/* The same of the calling thread, outside any event. */
void lt_frees_tell_thread(const struct lt_frame_start *at);

#endif
