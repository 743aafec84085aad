/* SPDX-License-Identifier: MIT
 *
 * A lock that hands its waiters' priority to its holder (futex(2), FUTEX_LOCK_PI), for
 * pools that real-time threads share. Unlike a mutex of libc it tells a thread that
 * holds it already: a signal handler that allocates inside an allocation.
 */
#ifndef AL_LOCK_H
#define AL_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct al_lock {
    uint32_t word; /* 0, or the holder's thread id, with FUTEX_WAITERS */
};

extern __thread uint32_t al_tid __attribute__((tls_model("initial-exec"))); /* 0: not asked yet */

/* Zero in the child of a fork, however that was made: the thread has another id there. */
extern const volatile uint32_t *al_lock_page;

/* Before any lock is taken. */
void al_lock_begin(void);

bool al_lock_slowly(struct al_lock *lock);
void al_unlock_slowly(struct al_lock *lock);

/* Returns false if the calling thread holds it. */
static inline bool al_lock_take(struct al_lock *lock)
{
    uint32_t expected = 0;
    return (al_tid && *al_lock_page &&
            __atomic_compare_exchange_n(&lock->word, &expected, al_tid, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) ||
           al_lock_slowly(lock);
}

static inline void al_lock_release(struct al_lock *lock)
{
    uint32_t expected = al_tid;
    if (!__atomic_compare_exchange_n(&lock->word, &expected, 0, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        al_unlock_slowly(lock);
}

/* In the child of a fork, by its one thread, which held it: nobody does. */
static inline void al_lock_renew(struct al_lock *lock)
{
    lock->word = 0;
    al_tid = 0;
}

#endif
