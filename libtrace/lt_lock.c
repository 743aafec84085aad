/* SPDX-License-Identifier: MIT
 *
 * The locks; see lt_lock.h. Nothing here keeps state but the list of those that
 * were ever taken, by which a thread finds what it has left behind.
 */
#include "lt_lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <time.h>

#include "lt_sys.h"

/* All locks that have ever been taken: they are few, and static. */
#define LOCKS_MAX 16
static struct lt_lock *locks[LOCKS_MAX];
/* The wait before a waiter looks if the holder is still there. */
#define OWNER_CHECK_NS 50000000

static void list_lock(struct lt_lock *lock)
{
    for (int i = 0; i < LOCKS_MAX; i++) {
        struct lt_lock *other = __atomic_load_n(&locks[i], __ATOMIC_RELAXED);
        if (other == lock)
            return;
        if (!other && __atomic_compare_exchange_n(&locks[i], &other, lock, 0, __ATOMIC_RELAXED,
                                                  __ATOMIC_RELAXED))
            return;
        if (other == lock)
            return;
    }
}

void lt_lock_abandon(void)
{
    uint32_t self = lt_lock_owner();
    for (int i = 0; i < LOCKS_MAX; i++) {
        struct lt_lock *lock = __atomic_load_n(&locks[i], __ATOMIC_RELAXED);
        if (lock && (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & ~LT_LOCK_WAITERS) == self)
            lt_lock_release(lock);
    }
}

int lt_lock_try(struct lt_lock *lock)
{
    uint32_t expected = 0;
    list_lock(lock);
    return __atomic_compare_exchange_n(&lock->word, &expected, lt_lock_owner(), 0, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

int lt_lock_take(struct lt_lock *lock)
{
    uint32_t self = lt_lock_owner(), seen = 0;
    list_lock(lock);
    if (__atomic_compare_exchange_n(&lock->word, &seen, self, 0, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED))
        return 1;
    for (;;) {
        if ((seen & ~LT_LOCK_WAITERS) == self)
            return 0;
        if (seen == 0) {
            if (__atomic_compare_exchange_n(&lock->word, &seen, self | LT_LOCK_WAITERS, 0,
                                            __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
                return 1;
            continue;
        }
        if (!(seen & LT_LOCK_WAITERS) &&
            !__atomic_compare_exchange_n(&lock->word, &seen, seen | LT_LOCK_WAITERS, 0,
                                         __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            continue;
        uint32_t held = seen | LT_LOCK_WAITERS;
        struct timespec patience = {0, OWNER_CHECK_NS};
        long woken = lt_syscall4(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, held, &patience);
        /* By thread id alone: a vfork's child shares the lock, not the process. */
        if (woken == -ETIMEDOUT && lt_syscall2(SYS_tkill, held & ~LT_LOCK_WAITERS, 0) == -ESRCH &&
            __atomic_compare_exchange_n(&lock->word, &held, self | LT_LOCK_WAITERS, 0,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return 1;
        seen = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
    }
}

void lt_lock_release(struct lt_lock *lock)
{
    uint32_t was = __atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE);
    if (was & LT_LOCK_WAITERS)
        lt_syscall3(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1);
}
