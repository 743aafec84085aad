/* SPDX-License-Identifier: MIT
 *
 * The hooked functions. Each forwards to the real one and records what it did:
 * a free just before the call, an allocation just after it, a realloc at both
 * moments as one event (a free's stamp thus never lies after the reuse of its
 * address). With tracing off a hook is a forward and one test.
 *
 * Built with frame pointers: a hook's own frame gives its caller's registers.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "lt_caller.h"
#include "lt_control.h"
#include "lt_count.h"
#include "lt_forward.h"
#include "lt_frees.h"
#include "lt_real.h"
#include "lt_trace.h"
#include "lt_yield.h"

/* Tracing is over, or paused: true if it was, and goes on now. Out of line, so that a hook
 * that records pays a comparison with memory and no more. */
static LT_NOINLINE bool goes_on(void)
{
    if (LT_LIKELY(lt_page.forward == LT_FORWARD_OFF || !lt_control_rings()))
        return false;
    return lt_forward_look((uintptr_t)__builtin_frame_address(0));
}

static inline bool tracing(void)
{
    return LT_LIKELY(lt_page.forward <= LT_FORWARD_NO) || goes_on();
}

/* A heap event's item is whole. */
static inline void commit(struct lt_context *c, unsigned char tag, unsigned char *end)
{
    lt_commit(&c->events, tag, end);
#if defined(__x86_64__)
    __asm__("addq $1, %0" : "+m"(c->recorded) : : "cc"); /* gcc makes three of it */
#else
    c->recorded++;
#endif
}

static inline uint64_t time_delta(struct lt_writer *w, uint64_t now)
{
    uint64_t delta = now > w->time ? now - w->time : 0;
    w->time += delta;
    return delta;
}

static inline uint64_t stamp(struct lt_context *c)
{
    if (LT_UNLIKELY(__atomic_load_n(&lt_page.stamp_owner, __ATOMIC_ACQUIRE) != (uintptr_t)c)) {
        c->stamp_share = 0;
        return lt_now();
    }
    uint64_t coarse = LT_LIKELY(lt_page.coarse_clock) ? lt_clock_coarse() : 0;
    if (c->stamp_share && LT_LIKELY(coarse == c->stamp_coarse && !c->stamp_anew)) {
        c->stamp_share--;
        return c->events.time;
    }
    c->stamp_anew = 0; /* before the clock is read: a handler in between may set it again */
    LT_SIGNAL_FENCE();
    c->stamp_coarse = coarse;
    c->stamp_share = coarse && !c->flags ? LT_STAMP_SHARE - 1 : 0;
    return lt_now_alone() & ~(uint64_t)(LT_COARSE_TICKS - 1);
}

static unsigned log2_ceil(size_t align)
{
    return align <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(align - 1);
}

static inline struct lt_alloc alloc_describe(uint64_t address, size_t size, unsigned function,
                                             size_t align)
{
    struct lt_alloc a = {
        .address = address,
        .size = size,
        .usable = lt_real.malloc_usable_size((void *)(uintptr_t)address),
        .block_header = LT_BLOCK_HEADER,
        .function = function,
        .align_log2 = log2_ceil(align),
    };
    a.default_usable = mlf_default_usable(size, LT_BLOCK_HEADER, LT_BLOCK_GRAIN, LT_BLOCK_SMALLEST);
    if (LT_UNLIKELY(a.usable < size))
        a.usable = size; /* an allocator that does not tell */
    return a;
}

static inline __attribute__((always_inline)) void
record(const struct lt_frame_start *at, void *address, size_t size, unsigned function, size_t align)
{
    struct lt_context *c = lt_begin(at->sp);
    if (!c)
        return;
    uint64_t now = stamp(c);
    struct lt_alloc a = alloc_describe((uintptr_t)address, size, function, align);
    a.plain = MLF_FN_malloc;
    a.stack = lt_take_stack(c, at);
    struct lt_writer *w = &c->events;
    unsigned flags;
    unsigned char *p = lt_put_alloc(&c->encoder, w->position + 1, &a, &flags);
    p = mlf_put_vu(p, time_delta(w, now));
    commit(c, (unsigned char)(MLF_EV_ALLOC | flags), p);
    lt_finish(c, now);
}

static LT_NOINLINE void record_malloc(const struct lt_frame_start *at, void *address, size_t size)
{
    record(at, address, size, MLF_FN_malloc, 0);
}

static LT_NOINLINE void record_alloc(const struct lt_frame_start *at, void *address, size_t size,
                                     unsigned function, size_t align)
{
    record(at, address, size, function, align);
}

static LT_NOINLINE void record_free(uintptr_t frame, void *address, unsigned function)
{
    struct lt_context *c = lt_begin(frame);
    if (!c)
        return;
    uint64_t now = stamp(c);
    struct lt_writer *w = &c->events;
    unsigned code;
    bool plain = function == MLF_FN_free;
    unsigned char *from = w->position + (plain ? 1 : 3);
    unsigned char *p = lt_put_address(&c->encoder, from, (uintptr_t)address, &code);
    p = mlf_put_vu(p, time_delta(w, now));
    lt_push_address(&c->encoder, (uintptr_t)address);
    if (LT_LIKELY(plain)) {
        commit(c, (unsigned char)(MLF_EV_FREE | code), p);
    } else {
        from[-2] = (unsigned char)function;
        from[-1] = (unsigned char)code;
        commit(c, MLF_EV_FREE_BY, p);
    }
    lt_finish(c, now);
}

static LT_COLD void record_failed(const struct lt_frame_start *at, size_t size, unsigned function)
{
    int saved = errno;
    struct lt_context *c = lt_begin(at->sp);
    if (c) {
        uint64_t now = stamp(c);
        uint32_t stack = lt_take_stack(c, at);
        struct lt_writer *w = &c->events;
        unsigned char *p = w->position + 1;
        *p++ = (unsigned char)function;
        p = mlf_put_vu(p, size);
        p = mlf_put_vu(p, mlf_zigzag((int64_t)stack - (int64_t)c->encoder.last_explicit_stack));
        c->encoder.last_explicit_stack = stack;
        p = mlf_put_vu(p, time_delta(w, now));
        commit(c, MLF_EV_FAILED, p);
        lt_finish(c, now);
    }
    errno = saved;
}

/* The outcome of an allocating call: an event, or a failure. */
static inline void *record_outcome(const struct lt_frame_start *at, void *address, size_t size,
                                   unsigned function, size_t align)
{
    if (LT_LIKELY(address != NULL))
        record_alloc(at, address, size, function, align);
    else
        record_failed(at, size, function);
    return address;
}

/* Once more where the library has made way, which ends the tracing: the program is granted
 * what it would be granted without us. */
#define GRANTED(makes_way, call)                                                                   \
    ({                                                                                             \
        void *granted_ = (call);                                                                   \
        if (LT_UNLIKELY(!granted_) && (makes_way))                                                 \
            granted_ = (call);                                                                     \
        granted_;                                                                                  \
    })

/* A block that grows in its place needs the difference alone; one that moves, all. A
 * realloc to no bytes has freed the block, and was refused nothing. */
static LT_COLD bool makes_way_for_growth(void *old, size_t size)
{
    if (!size)
        return false;
    size_t has = old ? lt_real.malloc_usable_size(old) : 0;
    return lt_yield(size) || (size > has && lt_yield(size - has));
}

static LT_COLD void *malloc_refused(const struct lt_frame_start *at, size_t size)
{
    if (lt_yield(size))
        return lt_real.malloc(size);
    if (at)
        record_failed(at, size, MLF_FN_malloc);
    return NULL;
}

LT_EXPORT void *malloc(size_t size)
{
    void *p = lt_real.malloc(size);
    if (!tracing() || LT_CALLED_BY_REAL())
        return LT_LIKELY(p != NULL) ? p : malloc_refused(NULL, size);
    struct lt_frame_start at = lt_caller();
    if (LT_LIKELY(p != NULL))
        record_malloc(&at, p, size);
    else
        p = malloc_refused(&at, size);
    return p;
}

LT_EXPORT void *calloc(size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        bytes = SIZE_MAX;
    void *p = GRANTED(lt_yield(bytes), LT_FORWARD_TO(lt_real.calloc, lt_real.calloc(n, size)));
    if (!tracing())
        return p;
    struct lt_frame_start at = lt_caller();
    return record_outcome(&at, p, bytes, MLF_FN_calloc, 0);
}

LT_EXPORT void free(void *p)
{
    if (p && tracing())
        record_free((uintptr_t)__builtin_frame_address(0), p, MLF_FN_free);
    lt_real.free(p);
}

LT_EXPORT void *memalign(size_t align, size_t size)
{
    void *p =
        GRANTED(lt_yield(size), LT_FORWARD_TO(lt_real.memalign, lt_real.memalign(align, size)));
    if (!tracing() || LT_CALLED_BY_REAL())
        return p;
    struct lt_frame_start at = lt_caller();
    return record_outcome(&at, p, size, MLF_FN_memalign, align);
}

LT_EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    int error = LT_FORWARD_TO(lt_real.posix_memalign, lt_real.posix_memalign(out, align, size));
    if (LT_UNLIKELY(error == ENOMEM) && lt_yield(size))
        return LT_FORWARD_TO(lt_real.posix_memalign, lt_real.posix_memalign(out, align, size));
    if (!tracing())
        return error;
    struct lt_frame_start at = lt_caller();
    if (!error && *out)
        record_alloc(&at, *out, size, MLF_FN_posix_memalign, align);
    else if (error)
        record_failed(&at, size, MLF_FN_posix_memalign);
    return error;
}

LT_EXPORT void *aligned_alloc(size_t align, size_t size)
{
    void *p = GRANTED(lt_yield(size), lt_real.aligned_alloc(align, size));
    if (!tracing() || LT_CALLED_BY_REAL())
        return p;
    struct lt_frame_start at = lt_caller();
    return record_outcome(&at, p, size, MLF_FN_aligned_alloc, align);
}

LT_EXPORT void *valloc(size_t size)
{
    void *p = GRANTED(lt_yield(size), LT_FORWARD_TO(lt_real.valloc, lt_real.valloc(size)));
    if (!tracing())
        return p;
    struct lt_frame_start at = lt_caller();
    return record_outcome(&at, p, size, MLF_FN_valloc, 0);
}

LT_EXPORT void *pvalloc(size_t size); /* which musl does not declare */
LT_EXPORT void *pvalloc(size_t size)
{
    void *p = GRANTED(lt_yield(size), lt_real.pvalloc(size));
    if (!tracing())
        return p;
    struct lt_frame_start at = lt_caller();
    return record_outcome(&at, p, size, MLF_FN_pvalloc, 0);
}

/* A realloc between its two moments: the context stays busy over the real
 * call, so that nothing else can come between them in this stream. */
struct resize {
    struct lt_context *context;
    uint64_t first;
};

static inline struct resize resize_begin(const struct lt_frame_start *at)
{
    struct resize r = {lt_begin(at->sp), 0};
    r.first = r.context ? stamp(r.context) : 0;
    return r;
}

static LT_NOINLINE void resize_end(const struct resize *r, const struct lt_frame_start *at,
                                   void *old, void *new, size_t size, unsigned function)
{
    struct lt_context *c = r->context;
    uint64_t now = stamp(c);
    struct lt_alloc a = alloc_describe((uintptr_t) new, size, function, 0);
    a.plain = MLF_FN_realloc;
    a.stack = lt_take_stack(c, at);
    struct lt_writer *w = &c->events;
    struct lt_encoder *e = &c->encoder;
    unsigned flags, code;
    unsigned char *from = w->position;
    unsigned char *p = lt_put_address(e, from + 3, (uintptr_t)old, &code);
    p = mlf_put_vu(p, time_delta(w, r->first));
    lt_push_address(e, (uintptr_t)old);
    p = lt_put_alloc(e, p, &a, &flags);
    p = mlf_put_vu(p, time_delta(w, now));
    from[1] = (unsigned char)flags;
    from[2] = (unsigned char)code;
    commit(c, MLF_EV_REALLOC, p);
    lt_finish(c, now);
}

/* realloc to size 0 that returned null: glibc has freed the block. */
static LT_COLD void resize_to_nothing(const struct resize *r, const struct lt_frame_start *at,
                                      void *old, unsigned function)
{
    struct lt_context *c = r->context;
    struct lt_writer *w = &c->events;
    unsigned code;
    unsigned char *from = w->position;
    unsigned char *p = lt_put_address(&c->encoder, from + 3, (uintptr_t)old, &code);
    p = mlf_put_vu(p, time_delta(w, r->first));
    lt_push_address(&c->encoder, (uintptr_t)old);
    from[1] = (unsigned char)function;
    from[2] = (unsigned char)code;
    commit(c, MLF_EV_FREE_BY, p);
    lt_frees_tell(c, at);
    lt_finish(c, r->first);
}

static inline __attribute__((always_inline)) void *resized(const struct lt_frame_start *at,
                                                           struct resize *r, void *old, void *new,
                                                           size_t size, unsigned function)
{
    if (!r->context)
        return new;
    if (LT_LIKELY(new != NULL)) {
        resize_end(r, at, old, new, size, function);
    } else if (size == 0) {
        resize_to_nothing(r, at, old, function);
    } else {
        int saved = errno;
        lt_finish(r->context, 0);
        record_failed(at, size, function);
        errno = saved;
    }
    return new;
}

LT_EXPORT void *realloc(void *old, size_t size)
{
    struct lt_thread *self = lt_self;
    if (!tracing() || ((uintptr_t)self > 1 && self->forwarding))
        return GRANTED(makes_way_for_growth(old, size), lt_real.realloc(old, size));
    struct lt_frame_start at = lt_caller();
    if (!old)
        return record_outcome(
            &at, GRANTED(makes_way_for_growth(NULL, size), lt_real.realloc(NULL, size)), size,
            MLF_FN_realloc, 0);
    struct resize r = resize_begin(&at);
    void *new = resized(&at, &r, old, lt_real.realloc(old, size), size, MLF_FN_realloc);
    if (LT_UNLIKELY(!new) && makes_way_for_growth(old, size))
        new = lt_real.realloc(old, size);
    return new;
}

static void *real_reallocarray(void *old, size_t n, size_t size, size_t bytes)
{
    if (!lt_real.reallocarray)
        return lt_real.realloc(old, bytes);
    /* An implementation that calls realloc by name comes back to our hook. */
    struct lt_thread *self = lt_self;
    if ((uintptr_t)self > 1)
        self->forwarding++;
    void *new = lt_real.reallocarray(old, n, size);
    if ((uintptr_t)self > 1)
        self->forwarding--;
    return new;
}

LT_EXPORT void *reallocarray(void *old, size_t n, size_t size)
{
    size_t bytes;
    lt_real_ready();
    bool overflow = __builtin_mul_overflow(n, size, &bytes);
    if (overflow && !lt_real.reallocarray) {
        bytes = SIZE_MAX;
        errno = ENOMEM;
    }
    struct lt_frame_start at = lt_caller();
    if (overflow) {
        void *new = lt_real.reallocarray ? lt_real.reallocarray(old, n, size) : NULL;
        if (tracing())
            record_failed(&at, SIZE_MAX, MLF_FN_reallocarray);
        return new;
    }
    if (!tracing())
        return GRANTED(makes_way_for_growth(old, bytes), real_reallocarray(old, n, size, bytes));
    if (!old)
        return record_outcome(
            &at,
            GRANTED(makes_way_for_growth(NULL, bytes), real_reallocarray(NULL, n, size, bytes)),
            bytes, MLF_FN_reallocarray, 0);
    struct resize r = resize_begin(&at);
    void *new =
        resized(&at, &r, old, real_reallocarray(old, n, size, bytes), bytes, MLF_FN_reallocarray);
    if (LT_UNLIKELY(!new) && makes_way_for_growth(old, bytes))
        new = real_reallocarray(old, n, size, bytes);
    return new;
}

/* C23. Declared here: Debian 12's headers do not. Looked for when first called,
 * since libc may lack them, and dlsym allocates where it finds nothing. */
LT_EXPORT void free_sized(void *p, size_t size);
LT_EXPORT void free_aligned_sized(void *p, size_t align, size_t size);

struct late {
    const char *name;
    void *function;
    bool looked;
};

static LT_NOINLINE void *late_free(struct late *late, void *p, unsigned function)
{
    if (!late->looked) {
        late->function = lt_real_symbol(late->name);
        late->looked = true;
    }
    if (p && tracing())
        record_free((uintptr_t)__builtin_frame_address(0), p, function);
    if (late->function && lt_count_is_on())
        lt_count_freed(p);
    return late->function;
}

LT_EXPORT void free_sized(void *p, size_t size)
{
    static struct late late = {.name = "free_sized"};
    void (*next)(void *, size_t) = (void (*)(void *, size_t))late_free(&late, p, MLF_FN_free_sized);
    if (next) {
        struct lt_frame_start at = lt_caller();
        if (p)
            lt_frees_tell_thread(&at);
        next(p, size);
    } else {
        lt_real.free(p);
    }
}

LT_EXPORT void free_aligned_sized(void *p, size_t align, size_t size)
{
    static struct late late = {.name = "free_aligned_sized"};
    void (*next)(void *, size_t, size_t) =
        (void (*)(void *, size_t, size_t))late_free(&late, p, MLF_FN_free_aligned_sized);
    if (next) {
        struct lt_frame_start at = lt_caller();
        if (p)
            lt_frees_tell_thread(&at);
        next(p, align, size);
    } else {
        lt_real.free(p);
    }
}
