/* SPDX-License-Identifier: MIT
 *
 * Making way for the program; see lt_yield.h. Stands in front of pthread_create and
 * mmap, the requests for memory beside those of malloc (lt_hooks.c).
 *
 * No thread may be inside the library where its memory is taken away. A thread marks its
 * context busy before it looks for room or at `active`; here room and `active` are taken
 * away first, then, behind a barrier of all threads (membarrier), the mark is looked at.
 * So a thread is seen busy, and is waited for, or it sees that there is nothing. Of each
 * context the first LT_KEPT_BYTES stay, which is what it looks at till then.
 */
#include "lt_yield.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "lt_real.h"
#include "lt_sink.h"
#include "lt_stack.h"
#include "lt_trace.h"

/* Of the library's mappings that are not of lt_memory, at most: rules and chunks. */
#define BESIDE (2u << 20)

typedef int (*create_function)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
typedef void *(*mmap_function)(void *, size_t, int, int, int, off_t);
static create_function real_create;
static mmap_function real_mmap;
static struct lt_lock yielding;
static bool yielded, given_back;

/* In the constructor: an allocator below us may call mmap before it can be looked up. */
__attribute__((constructor)) static void resolve(void)
{
    real_create = (create_function)lt_real_symbol("pthread_create");
    real_mmap = (mmap_function)lt_real_symbol("mmap");
}

static bool barrier(void)
{
    return lt_syscall2(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0) == 0;
}

static void take_room(struct lt_writer *writer)
{
    __atomic_store_n(&writer->limit, NULL, __ATOMIC_RELAXED);
}

/* Once this is true all threads are outside, for good. Leaves the shared lock taken. */
static bool all_leave(void)
{
    lt_lock_take(&lt_process.shared_lock); /* in place of its context's mark */
    for (int round = 0; round < 3; round++) {
        bool idle = true;
        for (struct lt_context *c = lt_process.contexts; c; c = c->next) {
            if (!lt_context_await_idle(c))
                return false;
            take_room(&c->events);
            take_room(&c->definitions);
        }
        if (!barrier())
            return false;
        for (const struct lt_context *c = lt_process.contexts; c; c = c->next)
            idle = idle && lt_context_is_idle(c);
        if (idle)
            return true;
    }
    return false;
}

static void give_back(void)
{
    void *rules;
    size_t size;
    for (struct lt_context *c = lt_process.contexts, *next; c; c = next) {
        next = c->next;
        lt_context_give_back(c);
    }
    lt_stack_give_back();
    if (lt_unwind_give_up(&rules, &size, (size_t)lt_process.page_size))
        lt_syscall2(SYS_munmap, rules, size);
}

/* Tracing is over for want of memory, if it was not before for that reason. */
static bool stop(void)
{
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    if (c) {
        lt_stop(c, MLF_LOSS_MEMORY, ENOMEM);
        lt_finish(c, 0);
    }
    return lt_page.active == LT_OFF && lt_process.stopped_for == MLF_LOSS_MEMORY;
}

bool lt_yield(size_t size)
{
    int saved = errno;
    bool back = false;
    struct lt_thread *self = lt_self;
    bool outside = (uintptr_t)self <= 1 || !self->main.busy;
    if (outside && lt_sink &&
        (lt_page.active == LT_ACTIVE || lt_process.stopped_for == MLF_LOSS_MEMORY) &&
        lt_getpid() == lt_process.pid && lt_lock_take(&yielding)) {
        if (!yielded && lt_memory_is_short(size, lt_memory_held() + BESIDE) && stop()) {
            lt_syscall2(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0);
            yielded = true;
            if ((given_back = all_leave()))
                give_back();
            lt_lock_release(&lt_process.shared_lock);
        }
        back = given_back; /* perhaps by another thread, since this one was refused */
        lt_lock_release(&yielding);
    }
    errno = saved;
    return back;
}

static size_t stack_size(const pthread_attr_t *attributes)
{
    const uint64_t limit = lt_soft_limit(RLIMIT_STACK);
    size_t size = 0;
    if (attributes && pthread_attr_getstacksize(attributes, &size) == 0 && size)
        return size;
    return limit > 64u << 20 ? 8u << 20 : (size_t)limit;
}

LT_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                             void *(*start)(void *), void *argument)
{
    create_function next =
        real_create ? real_create : (create_function)lt_real_symbol("pthread_create");
    int error = next(thread, attributes, start, argument);
    if (LT_UNLIKELY(error == EAGAIN) && lt_yield(stack_size(attributes)))
        error = next(thread, attributes, start, argument);
    return error;
}

#if UINTPTR_MAX > 0xffffffffu
static void *forward_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (LT_LIKELY(real_mmap != NULL))
        return real_mmap(at, size, protection, flags, fd, offset);
    long result = lt_mmap(at, size, protection, flags, fd, (uint64_t)offset);
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return MAP_FAILED;
    }
    return (void *)result;
}

/* Under both names, whichever <sys/mman.h> makes of the one. */
LT_EXPORT void *lt_mmap_hook(void *at, size_t size, int protection, int flags, int fd,
                             off_t offset) __asm__("mmap");
LT_EXPORT void *lt_mmap_hook(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *memory = forward_mmap(at, size, protection, flags, fd, offset);
    if (LT_UNLIKELY(memory == MAP_FAILED && errno == ENOMEM) && lt_yield(size))
        memory = forward_mmap(at, size, protection, flags, fd, offset);
    return memory;
}

LT_EXPORT void *lt_mmap64_hook(void *at, size_t size, int protection, int flags, int fd,
                               off_t offset) __asm__("mmap64");
LT_EXPORT void *lt_mmap64_hook(void *at, size_t size, int protection, int flags, int fd,
                               off_t offset)
{
    return lt_mmap_hook(at, size, protection, flags, fd, offset);
}
#endif
