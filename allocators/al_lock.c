/* SPDX-License-Identifier: MIT
 *
 * The slow half of the lock; see al_lock.h. Where the kernel has no such futexes
 * (emulators, some sandboxes), waiters yield the processor until it is free.
 */
#include "al_lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

__thread uint32_t al_tid;

static volatile uint32_t never_wiped = 1; /* where the kernel has no such pages */
static volatile uint32_t *page = &never_wiped;
const volatile uint32_t *al_lock_page = &never_wiped;

void al_lock_begin(void)
{
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return;
    if (madvise(memory, size, MADV_WIPEONFORK) != 0) {
        munmap(memory, size);
        return;
    }
    page = memory;
    *page = 1;
    al_lock_page = page;
}

bool al_lock_slowly(struct al_lock *lock)
{
    if (!al_tid || !*page) {
        al_tid = (uint32_t)syscall(SYS_gettid);
        *page = 1;
    }
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
