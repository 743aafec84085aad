/* SPDX-License-Identifier: MIT
 *
 * Allocators that break one promise each, for the test of mlog-allocator-test: lists by
 * power of two behind a lock, with a defect that -DBREAK=… chooses; with 0 there is none.
 */
#include <mlog_allocator.h>

#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NOTHING, ALIGNMENT, ZEROES, SMALL_USABLE, LARGE_USABLE, REUSE, COPY, TWICE, FORK, CRASH };

#define BUCKETS 64
#define PIECE ((size_t)1 << 20)

struct head {
    void *place;
    size_t bucket;
};

static void *lists[BUCKETS];
static char *cut, *cut_end;
static int holder; /* the process of the thread that has the lock; 0: nobody */

static void lock(void)
{
    const int me = getpid();
    for (int none = 0;
         !__atomic_compare_exchange_n(&holder, &none, me, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
         none = 0) {
        if (none && none != me)
            abort(); /* held by a thread that this process does not have */
        sched_yield();
    }
    if (BREAK == FORK)
        usleep(200); /* so that a fork finds it held */
}

static void unlock(void)
{
    __atomic_store_n(&holder, 0, __ATOMIC_RELEASE);
}

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void *take(size_t bucket)
{
    const size_t size = (size_t)1 << bucket;
    void *place = lists[bucket];
    if (place) {
        if (BREAK != TWICE || bucket != 10)
            memcpy(&lists[bucket], place, sizeof place);
        return place;
    }
    if (size >= PIECE)
        return map(size);
    if (!cut || size > (size_t)(cut_end - cut)) {
        cut = map(PIECE);
        cut_end = cut + PIECE;
    }
    place = cut;
    if (place)
        cut += size;
    return place;
}

static struct head *head_of(const void *block)
{
    return (struct head *)block - 1;
}

static void *allocate(size_t alignment, size_t size)
{
    size_t bucket = 6;
    if (BREAK == ALIGNMENT && alignment > 64)
        alignment = 64;
    while (((size_t)1 << bucket) < sizeof(struct head) + alignment + size)
        if (++bucket == 47)
            return NULL;
    lock();
    void *place = take(bucket);
    unlock();
    if (!place)
        return NULL;
    const uintptr_t at = (uintptr_t)place + sizeof(struct head) + alignment - 1;
    void *block = (void *)(at & ~(uintptr_t)(alignment - 1));
    *head_of(block) = (struct head){place, bucket};
    return block;
}

static void deallocate(void *block)
{
    const struct head head = *head_of(block);
    if (BREAK == CRASH)
        abort();
    if (BREAK == REUSE)
        return;
    lock();
    memcpy(head.place, &lists[head.bucket], sizeof(void *));
    lists[head.bucket] = head.place;
    unlock();
}

static size_t usable_size(const void *block)
{
    const struct head *head = head_of(block);
    const char *end = (char *)head->place + ((size_t)1 << head->bucket);
    const size_t usable = (size_t)(end - (const char *)block);
    return BREAK == SMALL_USABLE ? usable / 3 : BREAK == LARGE_USABLE ? usable + 40 : usable;
}

static void *reallocate(void *block, size_t size)
{
    void *moved = allocate(16, size);
    if (moved)
        deallocate(block);
    return moved;
}

const struct mlog_allocator mlog_allocator = {
    .version = MLOG_ALLOCATOR_VERSION,
    .name = "broken",
    .allocate = allocate,
    .deallocate = deallocate,
    .usable_size = usable_size,
    .allocate_zeroed = BREAK == ZEROES ? allocate : NULL,
    .reallocate = BREAK == COPY ? reallocate : NULL,
    .fork_prepare = BREAK == FORK ? NULL : lock,
    .fork_parent = BREAK == FORK ? NULL : unlock,
    .fork_child = BREAK == FORK ? NULL : unlock,
};
