/* SPDX-License-Identifier: MIT
 *
 * The system calls that need more than one line; see lt_sys.h. Nothing here
 * keeps state but the count of memory held and the list of locks.
 */
#include "lt_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

static size_t memory_held;

/* All locks that have ever been taken: they are few, and static. */
#define LOCKS_MAX 16
static struct lt_lock *locks[LOCKS_MAX];
/* How long one waits before one looks whether the holder is still there. */
#define OWNER_CHECK_NS 50000000

void *lt_memory(size_t size)
{
    long at = lt_mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at < 0 && at > -4096)
        return NULL;
    if (size >= (2u << 20)) /* a huge page costs more to clear than these tables save by it */
        lt_syscall3(SYS_madvise, at, size, MADV_NOHUGEPAGE);
    __atomic_fetch_add(&memory_held, size, __ATOMIC_RELAXED);
    return (void *)at;
}

void lt_memory_free(void *memory, size_t size)
{
    if (!memory)
        return;
    lt_unmap(memory, size);
    __atomic_fetch_sub(&memory_held, size, __ATOMIC_RELAXED);
}

size_t lt_memory_held(void)
{
    return __atomic_load_n(&memory_held, __ATOMIC_RELAXED);
}

void *lt_map_file(int fd, uint64_t offset, size_t size)
{
    long at = lt_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    return at < 0 && at > -4096 ? NULL : (void *)at;
}

void lt_unmap(void *memory, size_t size)
{
    lt_syscall2(SYS_munmap, memory, size);
}

int lt_open(const char *path, int flags, int mode)
{
    long fd;
    do
        fd = lt_syscall4(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode);
    while (fd == -EINTR);
    return (int)fd;
}

void lt_close(int fd)
{
    lt_syscall1(SYS_close, fd);
}

int lt_move_fd(int fd, int lowest)
{
    long moved;
    do { /* lower where the limit of descriptors is */
        moved = lt_syscall3(LT_SYS_FCNTL, fd, F_DUPFD_CLOEXEC, lowest);
        lowest /= 2;
    } while ((moved == -EINVAL || moved == -EMFILE) && lowest > 2);
    lt_close(fd);
    return (int)moved;
}

char *lt_read_file(const char *path, size_t *size, size_t *capacity)
{
    int fd = lt_open(path, O_RDONLY, 0);
    if (fd < 0)
        return NULL;
    size_t room = 64 << 10, length = 0;
    char *text = lt_memory(room);
    while (text) {
        long got = lt_syscall3(SYS_read, fd, text + length, room - 1 - length);
        if (got == -EINTR)
            continue;
        if (got <= 0)
            break;
        length += (size_t)got;
        if (length + 1 < room)
            continue;
        char *larger = lt_memory(room * 4);
        if (larger)
            memcpy(larger, text, length);
        lt_memory_free(text, room);
        text = larger;
        room *= 4;
    }
    lt_close(fd);
    *size = length;
    *capacity = room;
    return text;
}

int lt_fstat(int fd, struct stat *st)
{
    return (int)lt_syscall2(LT_SYS_FSTAT, fd, st); /* the kernel's layout is libc's */
}

int lt_getpid(void)
{
    return (int)lt_syscall1(SYS_getpid, 0);
}

int lt_getppid(void)
{
    return (int)lt_syscall1(SYS_getppid, 0);
}

int lt_gettid(void)
{
    return (int)lt_syscall1(SYS_gettid, 0);
}

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

void lt_say(const char *text, const char *detail, long number)
{
    char line[400];
    size_t at = 0;
    const char *parts[] = {"mlog: ", text, detail ? " " : NULL, detail};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        for (const char *p = parts[i]; p && *p && at < sizeof line - 32; p++)
            line[at++] = *p >= ' ' && *p != 0x7f ? *p : '?';
    if (number) {
        static const char open[] = " (errno ";
        memcpy(line + at, open, sizeof open - 1);
        at += sizeof open - 1;
        char digits[20];
        size_t n = 0;
        for (long v = number < 0 ? -number : number; v; v /= 10)
            digits[n++] = (char)('0' + v % 10);
        while (n)
            line[at++] = digits[--n];
        line[at++] = ')';
    }
    line[at++] = '\n';
    lt_syscall3(SYS_write, 2, line, at);
}
