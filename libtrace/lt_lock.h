/* SPDX-License-Identifier: MIT
 *
 * Locks between the threads of a process, for what is not on the path of an
 * event: chunks that begin, modules that are met, threads that come and go.
 * All may be called inside any hook and in a signal handler.
 */
#ifndef LT_LOCK_H
#define LT_LOCK_H

#include <stdint.h>

/* Futex lock that a thread which already holds it can recognise: 0 free,
 * otherwise the owner's tid, with LT_LOCK_WAITERS set when others sleep. */
struct lt_lock {
    uint32_t word;
};
#define LT_LOCK_WAITERS 0x80000000u
/* The calling thread's id, by a system call only while it has no block (lt_state.c). */
uint32_t lt_lock_owner(void);
/* False if this thread holds the lock already (a signal handler inside). A lock
 * whose holder is no more (cancelled while it held it) is taken from it. */
int lt_lock_take(struct lt_lock *lock);
int lt_lock_try(struct lt_lock *lock);
void lt_lock_release(struct lt_lock *lock);
/* Release whatever the calling thread still holds: only where it is known to be
 * inside none of the code that took it (left by longjmp or a cancellation). */
void lt_lock_abandon(void);

#endif
