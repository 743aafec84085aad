/* SPDX-License-Identifier: MIT
 *
 * Contexts: which one an event of the calling thread is recorded in, how a
 * thread gets its block and what becomes of it. A thread has one context for
 * its ordinary events and one, made when first needed, for events of a signal
 * handler that interrupted the recording of another. A thread whose block has
 * been given back (its thread-specific destructors are over) records in one
 * context that all such threads share under a lock.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "lt_config.h"
#include "lt_maps.h"
#include "lt_sink.h"
#include "lt_trace.h"

/* Frames of a nested event or of a thread without a block, and where memory is limited. */
#define NESTED_DEPTH 1024
/* How long a thread in the middle of an event is waited for: 0.1 s. */
#define PATIENCE 200
#define MOMENT_NS 500000
/* The number of times that our thread-specific destructor asks to be called
 * again, so that other destructors, which may allocate, run before it gives up
 * the block. */
#define KEY_ROUNDS 3

static pthread_key_t thread_key;
static bool thread_key_made;
static struct lt_thread *pool;
static struct lt_lock pool_lock;

static void context_init(struct lt_context *c, uint32_t flags)
{
    c->flags = flags;
    c->events.kind = MLF_EVENTS;
    c->definitions.kind = MLF_DEFINITIONS;
    c->events.context = c->definitions.context = c;
    c->events.position = c->definitions.position = (unsigned char *)1; /* no room yet */
    struct lt_context *first = __atomic_load_n(&lt_process.contexts, __ATOMIC_RELAXED);
    do
        c->next = first;
    while (!__atomic_compare_exchange_n(&lt_process.contexts, &first, c, 0, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED));
}

/* The chunk of a thread that ended stays with its context, for the next one. */
static bool is_handed_on(const struct lt_writer *writer)
{
    return writer->chunk && !lt_sink->buffers;
}

/* Begin a stream: a number of its own, chunks from the first size on. */
static void context_begin_stream(struct lt_context *c)
{
    c->stream = __atomic_add_fetch(&lt_process.streams, 1, __ATOMIC_RELAXED);
    if (!is_handed_on(&c->events)) { /* else both go on where they were */
        c->events.sequence = 0;
        __atomic_store_n(&c->events.time, lt_now(), __ATOMIC_RELAXED);
    }
    if (!c->definitions.chunk)
        c->definitions.sequence = 0;
    c->announced = 0;
    c->stamp_share = 0;
}

void lt_context_announce(struct lt_context *c)
{
    char name[17] = "";
    int tid = 0;
    if (!(c->flags & MLF_STREAM_SHARED)) {
        tid = lt_gettid();
        lt_syscall2(SYS_prctl, PR_GET_NAME, name);
    }
    unsigned char *p = mlf_put_vu(c->scratch, c->stream);
    p = mlf_put_vu(p, (uint64_t)tid);
    p = mlf_put_vu(p, lt_now());
    p = mlf_put_vu(p, c->flags);
    p = lt_put_string(p, name, strlen(name));
    lt_writer_record(&c->definitions, MLF_REC_STREAM, c->scratch, (size_t)(p - c->scratch));
}

void lt_context_take_over(struct lt_context *c)
{
    struct lt_writer *w = &c->events;
    unsigned char payload[MLF_VU_SLACK];
    if (!is_handed_on(w) || w->stream == c->stream || !lt_writer_room(w, LT_ITEM_MAX) ||
        w->stream == c->stream) /* by then in a chunk of its own */
        return;
    size_t size = (size_t)(mlf_put_vu(payload, c->stream) - payload);
    lt_writer_record(w, MLF_REC_TAKEN_OVER, payload, size);
}

static void say_stream_end(struct lt_context *c)
{
    if (c->announced != lt_process.key)
        return;
    char name[17] = "";
    lt_syscall2(SYS_prctl, PR_GET_NAME, name);
    unsigned char *p = mlf_put_vu(c->scratch, c->stream);
    p = mlf_put_vu(p, lt_now());
    p = lt_put_string(p, name, strlen(name));
    lt_writer_record(&c->definitions, MLF_REC_STREAM_END, c->scratch, (size_t)(p - c->scratch));
}

/* A signal handler may add to the count meanwhile: only what was said is taken off. */
static void say_loss(struct lt_context *c, uint64_t now, uint32_t stream, uint64_t *lost,
                     int reason)
{
    uint64_t count = __atomic_load_n(lost, __ATOMIC_RELAXED);
    if (!count)
        return;
    unsigned char *p = lt_put_loss(c->scratch, now, stream, count, reason);
    if (lt_writer_record(&c->events, MLF_REC_LOSS, c->scratch, (size_t)(p - c->scratch))) {
        __atomic_fetch_sub(lost, count, __ATOMIC_RELAXED);
        __atomic_fetch_add(&lt_process.lost_said, count, __ATOMIC_RELAXED);
    }
}

void lt_context_say_losses(struct lt_context *c, uint64_t now, bool all)
{
    say_loss(c, now, c->stream, &c->lost, MLF_LOSS_SIGNAL);
    say_loss(c, now, c->stream, &c->dropped, MLF_LOSS_CHOICE);
    say_loss(c, now, c->stream, &lt_process.lost, MLF_LOSS_SIGNAL);
    for (struct lt_context *o = all ? lt_process.contexts : NULL; o; o = o->next) {
        uint32_t stream = o->announced == lt_process.key ? o->stream : c->stream;
        say_loss(c, now, stream, &o->lost, MLF_LOSS_SIGNAL);
        say_loss(c, now, stream, &o->dropped, MLF_LOSS_CHOICE);
    }
}

/* The depth of an unwinder that MLOG_DEPTH may cap. */
static uint32_t capped(uint32_t depth)
{
    return lt_config.depth && lt_config.depth < depth ? lt_config.depth : depth;
}

static struct lt_unwinder *new_unwinder(uint32_t depth)
{
    depth = capped(depth);
    struct lt_unwinder *u = lt_memory(lt_unwinder_size(depth));
    if (u)
        lt_unwinder_init(u, depth);
    return u;
}

static void free_unwinder(struct lt_unwinder **u, uint32_t depth)
{
    lt_memory_free(*u, lt_unwinder_size(capped(depth)));
    *u = NULL;
}

bool lt_context_is_idle(const struct lt_context *c)
{
    return !__atomic_load_n(&c->busy, __ATOMIC_ACQUIRE);
}

bool lt_context_await_idle(const struct lt_context *c)
{
    for (int i = 0; i < PATIENCE && !lt_context_is_idle(c); i++) {
        struct timespec moment = {0, MOMENT_NS};
        lt_syscall2(SYS_nanosleep, &moment, 0);
    }
    return lt_context_is_idle(c);
}

void lt_context_give_back(struct lt_context *c)
{
    size_t page = (size_t)lt_process.page_size;
    lt_sink->release(c);
    if (c->flags & MLF_STREAM_SHARED) {
        free_unwinder(&lt_process.shared_unwinder, NESTED_DEPTH);
        lt_memory_trim(c, LT_KEPT_BYTES, sizeof *c, page);
    } else if (c->flags & MLF_STREAM_NESTED) {
        lt_memory_trim(c, LT_KEPT_BYTES, sizeof *c, page);
    } else {
        struct lt_thread *t = lt_thread_of(c);
        free_unwinder(&t->unwinder, t->depth);
        free_unwinder(&t->nested_unwinder, NESTED_DEPTH);
        lt_memory_trim(t, LT_KEPT_BYTES, offsetof(struct lt_thread, next_free), page);
    }
}

static void push_to_pool(struct lt_thread *t)
{
    if (!lt_lock_take(&pool_lock))
        return; /* a signal handler inside the pool: the block is forgotten */
    t->next_free = pool;
    pool = t;
    lt_lock_release(&pool_lock);
}

static struct lt_thread *new_thread(void)
{
    struct lt_thread *t = NULL;
    if (pool && lt_lock_take(&pool_lock)) {
        t = pool;
        if (t) {
            t->main.busy = 1; /* until it is ready: what comes in between is nested */
            pool = t->next_free;
        }
        lt_lock_release(&pool_lock);
    }
    if (!t) {
        t = lt_memory(sizeof *t);
        if (!t)
            return NULL;
        /* Where memory is limited, stacks of more frames are cut, and the trace says so. */
        t->depth = lt_memory_is_limited() ? NESTED_DEPTH : LT_UNWIND_DEPTH;
        t->unwinder = new_unwinder(t->depth);
        if (!t->unwinder) {
            lt_memory_free(t, sizeof *t);
            return NULL;
        }
        t->main.busy = 1;
        context_init(&t->main, 0);
    }
    LT_SIGNAL_FENCE();
    if (lt_page.active != LT_ACTIVE) { /* lt_yield may have given back what it holds */
        t->main.busy = 0;
        return NULL;
    }
    t->key_rounds = 0;
    t->forwarding = 0;
    lt_unwind_register_stack(t->unwinder, 0, 0); /* what its last thread said of another stack */
    context_begin_stream(&t->main);
    if (t->nested)
        context_begin_stream(t->nested);
    return t;
}

/* The context left in the middle of an item by a longjmp: what it was writing
 * is not part of the stream; delta state is half changed, so a new chunk. */
static void recover(struct lt_context *c)
{
    struct lt_writer *writers[] = {&c->events, &c->definitions};
    for (int i = 0; i < 2; i++) {
        struct lt_writer *w = writers[i];
        w->limit = NULL;
        if (w->chunk)
            lt_sink->recover(w);
    }
    c->busy = 0;
}

/* The last round: the block goes to the next thread, its streams end. */
static void thread_ended(void *memory)
{
    struct lt_thread *t = memory;
    if (t != lt_self)
        return; /* replaced after a fork, or given up already */
    if (t->key_rounds++ < KEY_ROUNDS && pthread_setspecific(thread_key, t) == 0)
        return;
    /* From here on a signal handler's events go to the shared context. */
    lt_self = LT_THREAD_GONE;
    LT_SIGNAL_FENCE();
    bool active = __atomic_load_n(&lt_page.active, __ATOMIC_ACQUIRE) == LT_ACTIVE;
    if (active && t->main.busy) { /* cancelled inside a hook */
        lt_lock_abandon();
        recover(&t->main);
        if (t->nested)
            recover(t->nested);
    }
    t->main.busy = (uintptr_t)__builtin_frame_address(0);
    LT_SIGNAL_FENCE(); /* lt_yield: seen before what is looked at now */
    if (__atomic_load_n(&lt_page.active, __ATOMIC_ACQUIRE) == LT_ACTIVE) {
        if (t->nested && t->main.announced == lt_process.key)
            say_loss(&t->main, lt_now(), t->nested->stream, &t->nested->lost, MLF_LOSS_SIGNAL);
        if (t->main.announced == lt_process.key)
            lt_context_say_losses(&t->main, lt_now(), false);
        say_stream_end(&t->main);
        if (t->nested)
            say_stream_end(t->nested);
        __atomic_fetch_add(&lt_process.bytes, lt_writer_used(&t->main.events), __ATOMIC_RELAXED);
        lt_sink->release(&t->main);
        if (t->nested && t->nested->announced == lt_process.key) /* this thread used it */
            lt_sink->release(t->nested);
    }
    t->main.busy = 0;
    push_to_pool(t);
}

static bool in_one_mapping(uintptr_t low, uintptr_t high)
{
    struct lt_mapping mapping;
    return lt_maps_find(low, &mapping, NULL, 0) && mapping.end > high;
}

static uintptr_t thread_pointer(void)
{
    uintptr_t at;
#if defined(__x86_64__)
    __asm__("mov %%fs:0, %0" : "=r"(at));
#elif defined(__i386__)
    __asm__("mov %%gs:0, %0" : "=r"(at));
#else
    at = (uintptr_t)__builtin_thread_pointer();
#endif
    return at;
}

/* A thread that libc made has its control block on top of its stack, in the same
 * mapping (glibc and musl). */
static bool find_own_stack(uintptr_t sp, uintptr_t *lo, uintptr_t *hi)
{
    uintptr_t top = thread_pointer();
    struct lt_mapping mapping;
    if (sp >= top || !lt_maps_find(sp, &mapping, NULL, 0) || mapping.end <= top)
        return false;
    *lo = mapping.start;
    *hi = top;
    return true;
}

bool lt_thread_setup(void)
{
    lt_unwind_set_stack_finder(find_own_stack);
    thread_key_made = pthread_key_create(&thread_key, thread_ended) == 0;
    struct lt_context *c = lt_memory(sizeof *c);
    if (!c)
        return false;
    context_init(c, MLF_STREAM_SHARED);
    lt_process.shared = c;
    return true;
}

void lt_thread_after_fork(void)
{
    struct lt_thread *self = lt_self;
    if ((uintptr_t)self > 1)
        self->tid = (uint32_t)lt_gettid();
    pool = NULL;
    pool_lock.word = 0;
    lt_process.shared_lock.word = 0;
    lt_process.streams = 0;
    lt_process.nested = 0;
    lt_process.lost_said = lt_process.bytes = 0;
    for (struct lt_context *c = lt_process.contexts; c; c = c->next) {
        context_begin_stream(c);
        c->events.sequence = c->definitions.sequence = 0;
        c->lost = 0; /* the parent says it */
        c->recorded = 0;
    }
    /* A context whose thread is not this one: its block is free, unless it is
     * the nested or the shared one. */
    for (struct lt_context *c = lt_process.contexts; c; c = c->next) {
        if (c->flags || ((uintptr_t)self > 1 && c == &self->main))
            continue;
        c->busy = 0;
        push_to_pool(lt_thread_of(c));
    }
}

/* The calling thread's block, made now. Its main context is left busy. */
static struct lt_thread *LT_COLD begin_thread(uintptr_t frame)
{
    struct lt_thread *t = new_thread();
    if (!t)
        return NULL;
    if (lt_self) { /* a signal handler was here first */
        t->main.busy = 0;
        push_to_pool(t);
        return lt_self;
    }
    t->tid = (uint32_t)lt_gettid();
    lt_self = t;
    if (thread_key_made)
        pthread_setspecific(thread_key, t);
    t->main.busy = frame;
    return t;
}

/* True if the hook that marked the context busy has been left by a longjmp. On
 * a signal stack we are inside it still; on its own stack it is gone if our
 * frame lies further out than its own. The kernel does not always say that we
 * are on another stack (SS_AUTODISARM, a handler that switched contexts), so it
 * must be the same piece of memory too. A wrong "no" costs time: events go to
 * the nested context. A wrong "yes" would pull the chunk away from under the
 * interrupted hook. */
static bool is_stale(const struct lt_context *c, uintptr_t frame)
{
    if (frame <= c->busy || c->busy == 1)
        return false;
    stack_t stack = {0};
    return lt_syscall2(SYS_sigaltstack, 0, &stack) == 0 && !(stack.ss_flags & SS_ONSTACK) &&
           in_one_mapping(c->busy, frame);
}

static struct lt_context *nested_context(struct lt_thread *t, uintptr_t frame)
{
    if (!t->nested) {
        struct lt_context *c = lt_memory(sizeof *c);
        t->nested_unwinder = c ? new_unwinder(NESTED_DEPTH) : NULL;
        if (!t->nested_unwinder)
            return NULL;
        context_init(c, MLF_STREAM_NESTED);
        context_begin_stream(c);
        t->nested = c;
    }
    if (t->nested->busy && !is_stale(t->nested, frame))
        return NULL;
    return t->nested;
}

static void lose(void)
{
    __atomic_fetch_add(&lt_process.lost, 1, __ATOMIC_RELAXED);
}

static struct lt_context *shared_context(void)
{
    if (!lt_lock_take(&lt_process.shared_lock)) {
        lose();
        return NULL;
    }
    struct lt_context *c = lt_process.shared;
    if (lt_page.active != LT_ACTIVE) {
        lt_lock_release(&lt_process.shared_lock);
        return NULL;
    }
    if (!lt_process.shared_unwinder)
        lt_process.shared_unwinder = new_unwinder(NESTED_DEPTH);
    if (lt_process.shared_unwinder) {
        if (!c->stream)
            context_begin_stream(c);
        return c;
    }
    lt_lock_release(&lt_process.shared_lock);
    lose();
    lt_stop(NULL, LT_REFUSED_MEMORY, ENOMEM); /* nobody is left to say what is lost */
    return NULL;
}

struct lt_context *LT_COLD lt_context_choose(uintptr_t frame)
{
    if (lt_self == LT_THREAD_GONE)
        return shared_context();
    struct lt_thread *t = lt_self;
    if (!t) {
        t = begin_thread(frame);
        if (!t) { /* no memory for a block of its own: not asked for again at every event */
            lt_self = LT_THREAD_GONE;
            return shared_context();
        }
        if (t->main.busy == frame)
            return &t->main;
    }
    if (t->main.busy && is_stale(&t->main, frame)) {
        lt_lock_abandon();
        recover(&t->main);
    }
    struct lt_context *c = &t->main;
    if (c->busy) {
        c = nested_context(t, frame);
        lt_stamp_anew();
        if (!c) {
            __atomic_fetch_add(&t->main.lost, 1, __ATOMIC_RELAXED);
            return NULL;
        }
        __atomic_fetch_add(&lt_process.nested, 1, __ATOMIC_RELAXED);
        if (c->busy)
            recover(c);
    }
    c->busy = frame;
    return c;
}
