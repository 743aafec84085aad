/* SPDX-License-Identifier: MIT
 *
 * The slow half of the lock; see al_lock.h. Where the kernel has no such futexes
 * (emulators, some sandboxes), waiters yield the processor until it is free.
 */
#include "al_lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread uint32_t al_tid;

bool al_lock_slowly(struct al_lock *lock)
{
    if (!al_tid)
        al_tid = (uint32_t)syscall(SYS_gettid);
    for (;;) {
        uint32_t held = 0;
        if (__atomic_compare_exchange_n(&lock->word, &held, al_tid, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return true;
        if ((held & FUTEX_TID_MASK) == al_tid)
            return false;
        if (syscall(SYS_futex, &lock->word, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL) == 0)
            return true;
        if (errno != EINTR && errno != EAGAIN)
            sched_yield();
    }
}

void al_unlock_slowly(struct al_lock *lock)
{
    while (syscall(SYS_futex, &lock->word, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG) != 0 &&
           (errno == EINTR || errno == EAGAIN))
        ;
}
