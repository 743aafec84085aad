/* SPDX-License-Identifier: MIT
 *
 * See lt_count.h. Invariants: a line is written by the thread that has it, by
 * single instructions, so that a signal handler's call in between is not lost;
 * `published` and the lines' `pending` together are the bytes in use. A thread
 * publishes when it holds back more than SLACK bytes, and while it is the only one
 * also when there is a new peak: then the peak is exact, and later within SLACK a thread.
 */
#include "lt_count.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lt_config.h"
#include "lt_forward.h"
#include "lt_lock.h"
#include "lt_objects.h"
#include "lt_real.h"
#include "lt_sys.h"

#define SLACK 4096         /* bytes that a thread of several may hold back */
#define LINES_MADE 64      /* at a time */
#define KEY_ROUNDS 3       /* of our thread-specific destructor, behind those of others */
#define READS 64           /* attempts at a moment without a call */
#define NOTE_NAME "mlog"   /* mlog.h's note */
#define NOTE_WANTS_STATS 1 /* its type */

struct line {
    uint64_t allocations, allocated, frees, freed;
    int64_t pending; /* part of the bytes in use that is not published yet */
    uintptr_t busy;  /* calls in the middle of being counted */
    struct line *next, *next_free;
};

static struct lt_real base; /* that the counting functions call */
static bool nests;          /* they may call each other by name, which leads here again */
static bool on, refused, late, unsized, halved;
static struct line *lines;  /* all; never unlinked */
static struct line *pool;   /* without a thread */
static struct lt_lock lock; /* of the pool, the threads, a reset */
static struct line shared;  /* of threads whose destructors are over: atomic */
static int64_t published, peak_least, peak_most;
static int64_t threads, doubt; /* doubt: SLACK for each thread of several, else 0 */
static bool alone = true;      /* there has been one thread at most, since the last reset */
static struct lt_counts start; /* the counts at the last reset */
static uint32_t version;       /* odd during a reset */
static pthread_key_t key;
static bool key_made;

static __thread struct line *mine __attribute__((tls_model("initial-exec")));
static __thread uint8_t rounds __attribute__((tls_model("initial-exec")));
static __thread uint8_t inside __attribute__((tls_model("initial-exec")));

/* One instruction: a signal handler sees it done or not begun. Of another thread it
 * is seen before what is written later. */
#if defined(__x86_64__)
#define ADD(to, n) __asm__ volatile("addq %1, %0" : "+m"(*(to)) : "er"((uint64_t)(n)) : "cc")
#else
#define ADD(to, n) (void)__atomic_fetch_add(to, (__typeof__(*(to)))(n), __ATOMIC_RELEASE)
#endif
#define ADD_ATOMIC(to, n) (void)__atomic_fetch_add(to, (__typeof__(*(to)))(n), __ATOMIC_SEQ_CST)

static void raise_to(int64_t *most, int64_t value)
{
    int64_t seen = __atomic_load_n(most, __ATOMIC_RELAXED);
    while (value > seen && !__atomic_compare_exchange_n(most, &seen, value, 0, __ATOMIC_RELAXED,
                                                        __ATOMIC_RELAXED)) {
    }
}

static void note_peak(int64_t bytes, int64_t d)
{
    raise_to(&peak_least, bytes - d);
    raise_to(&peak_most, bytes + d);
}

/* A handler may come between any two of these: the sum stays. */
static void publish(struct line *line)
{
    int64_t bytes = __atomic_load_n(&line->pending, __ATOMIC_RELAXED);
    ADD(&line->pending, -bytes);
    int64_t sum = __atomic_add_fetch(&published, bytes, __ATOMIC_SEQ_CST);
    note_peak(sum, __atomic_load_n(&doubt, __ATOMIC_RELAXED));
}

static void set_threads(int64_t n)
{
    threads = n;
    if (n > 1)
        __atomic_store_n(&alone, false, __ATOMIC_RELAXED);
    if (alone)
        return;
    __atomic_store_n(&doubt, SLACK * n, __ATOMIC_RELAXED);
    note_peak(__atomic_load_n(&published, __ATOMIC_RELAXED), SLACK * n);
}

static void give_to_pool(struct line *line)
{
    line->next_free = pool;
    pool = line;
}

/* Under the lock. */
static bool make_lines(void)
{
    struct line *new = lt_memory(LINES_MADE * sizeof *new);
    for (int i = 0; new &&i < LINES_MADE; i++) {
        give_to_pool(&new[i]);
        new[i].next = lines;
        __atomic_store_n(&lines, &new[i], __ATOMIC_RELEASE);
    }
    return new;
}

/* The last round: the line goes to the next thread. */
static void thread_ended(void *memory)
{
    struct line *line = memory;
    if (line != mine)
        return;
    if (rounds++ < KEY_ROUNDS && pthread_setspecific(key, line) == 0)
        return;
    mine = &shared;
    LT_SIGNAL_FENCE();
    publish(line);
    if (!lt_lock_take(&lock))
        return; /* a signal handler inside: the line is not used again, and counts */
    give_to_pool(line);
    set_threads(threads - 1);
    lt_lock_release(&lock);
}

static struct line *LT_COLD begin_thread(void)
{
    int saved = errno;
    struct line *line = NULL;
    if (lt_lock_take(&lock)) {
        if (pool || make_lines()) {
            line = pool;
            pool = line->next_free;
            set_threads(threads + 1);
        }
        lt_lock_release(&lock);
    }
    if (!line) {
        mine = &shared;
    } else if (mine) { /* a signal handler was here first */
        if (lt_lock_take(&lock)) {
            give_to_pool(line);
            set_threads(threads - 1);
            lt_lock_release(&lock);
        }
    } else {
        mine = line;
        if (key_made)
            pthread_setspecific(key, line);
    }
    errno = saved;
    return mine;
}

struct change {
    uint32_t allocations, frees;
    uint64_t allocated, freed;
};

static void LT_COLD count_shared(const struct change *c)
{
    int64_t by = (int64_t)(c->allocated - c->freed);
    ADD_ATOMIC(&shared.busy, 1);
    ADD_ATOMIC(&shared.allocations, c->allocations);
    ADD_ATOMIC(&shared.allocated, c->allocated);
    ADD_ATOMIC(&shared.frees, c->frees);
    ADD_ATOMIC(&shared.freed, c->freed);
    int64_t sum = __atomic_add_fetch(&published, by, __ATOMIC_SEQ_CST);
    note_peak(sum, SLACK * (__atomic_load_n(&threads, __ATOMIC_RELAXED) + 1));
    ADD_ATOMIC(&shared.busy, -1);
}

static inline __attribute__((always_inline)) void count(struct change c)
{
    struct line *line = mine;
    if (LT_UNLIKELY(!line))
        line = begin_thread();
    if (LT_UNLIKELY(line == &shared)) {
        count_shared(&c);
        return;
    }
    ADD(&line->busy, 1);
    if (c.allocations) {
        ADD(&line->allocated, c.allocated);
        ADD(&line->allocations, c.allocations);
    }
    if (c.frees) {
        ADD(&line->freed, c.freed);
        ADD(&line->frees, c.frees);
    }
    ADD(&line->pending, c.allocated - c.freed);
    int64_t pending = __atomic_load_n(&line->pending, __ATOMIC_RELAXED);
    if (LT_UNLIKELY(pending > SLACK || pending < -SLACK) ||
        (__atomic_load_n(&alone, __ATOMIC_RELAXED) &&
         __atomic_load_n(&published, __ATOMIC_RELAXED) + pending >
             __atomic_load_n(&peak_least, __ATOMIC_RELAXED)))
        publish(line);
    ADD(&line->busy, -1);
}

static size_t size_of(void *block, size_t asked)
{
    size_t usable = base.malloc_usable_size(block);
    if (LT_UNLIKELY(usable < asked))
        unsized = true;
    return usable;
}

static inline void *allocated(void *block, size_t asked)
{
    if (LT_LIKELY(block && !inside))
        count((struct change){.allocations = 1, .allocated = size_of(block, asked)});
    return block;
}

/* The value of a call of the real function: what that calls by name is not counted. */
#ifdef __GLIBC__
#define ENTER(function) uint8_t was_ = nests
#define LEAVE() (void)0
#else /* and the hooks must know it for theirs (lt_forward.h) */
#define ENTER(function)                                                                            \
    uint8_t was_ = nests;                                                                          \
    uintptr_t was_inside_ = lt_inside;                                                             \
    lt_inside = (uintptr_t)(function)
#define LEAVE() lt_inside = was_inside_
#endif
#define CALL(function, ...)                                                                        \
    ({                                                                                             \
        ENTER(function);                                                                           \
        inside += was_;                                                                            \
        __typeof__((function)(__VA_ARGS__)) result_ = (function)(__VA_ARGS__);                     \
        inside -= was_;                                                                            \
        LEAVE();                                                                                   \
        result_;                                                                                   \
    })

static void *count_malloc(size_t size)
{
    return allocated(base.malloc(size), size);
}

static void *count_calloc(size_t n, size_t size)
{
    return allocated(CALL(base.calloc, n, size), n * size);
}

static void *count_memalign(size_t align, size_t size)
{
    return allocated(CALL(base.memalign, align, size), size);
}

static int count_posix_memalign(void **block, size_t align, size_t size)
{
    int error = CALL(base.posix_memalign, block, align, size);
    if (!error)
        allocated(*block, size);
    return error;
}

static void *count_aligned_alloc(size_t align, size_t size)
{
    return allocated(CALL(base.aligned_alloc, align, size), size);
}

static void *count_valloc(size_t size)
{
    return allocated(CALL(base.valloc, size), size);
}

static void *count_pvalloc(size_t size)
{
    return allocated(CALL(base.pvalloc, size), size);
}

void lt_count_freed(void *block)
{
    if (block && !inside)
        count((struct change){.frees = 1, .freed = size_of(block, 0)});
}

static void count_free(void *block)
{
    lt_count_freed(block);
    base.free(block);
}

/* One change of what is in use: the old block counts until there is the new one. */
static void *resized(void *old, size_t had, void *new, size_t size)
{
    if (inside || (!new &&size))
        return new;
    struct change c = {.frees = old != NULL, .freed = had};
    if (new) {
        c.allocations = 1;
        c.allocated = size_of(new, size);
    }
    count(c);
    return new;
}

static void *count_realloc(void *old, size_t size)
{
    size_t had = old && !inside ? size_of(old, 0) : 0;
    return resized(old, had, CALL(base.realloc, old, size), size);
}

static void *count_reallocarray(void *old, size_t n, size_t size)
{
    size_t had = old && !inside ? size_of(old, 0) : 0;
    inside++; /* it may call realloc by name, whatever the allocator */
    void *new = base.reallocarray(old, n, size);
    inside--;
    return resized(old, had, new, n * size);
}

static int find_note(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        const char *at = (const char *)(info->dlpi_addr + segment->p_vaddr);
        const char *end = at + segment->p_memsz;
        if (segment->p_type != PT_NOTE || segment->p_align > 4)
            continue; /* ours is aligned to 4 */
        while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
            const ElfW(Nhdr) *note = (const void *)at;
            size_t name = (note->n_namesz + 3) & ~(size_t)3;
            size_t text = (note->n_descsz + 3) & ~(size_t)3;
            if ((size_t)(end - at) - sizeof *note < name + text)
                break;
            if (note->n_type == NOTE_WANTS_STATS && note->n_namesz == sizeof NOTE_NAME &&
                !memcmp(note + 1, NOTE_NAME, sizeof NOTE_NAME))
                return 1;
            at += sizeof *note + name + text;
        }
    }
    return 0;
}

bool lt_count_is_wanted(void)
{
    int asked = lt_config_stats();
    refused = asked == 0;
    return asked < 0 ? lt_objects_each(find_note, NULL) == 1 : asked;
}

bool lt_count_is_refused(void)
{
    return refused;
}

static void lead(void *pointer, const void *function)
{
    __atomic_store_n((void **)pointer, (void *)(uintptr_t)function, __ATOMIC_RELEASE);
}

void lt_count_wrap(struct lt_real *real, unsigned flags)
{
    base = *real;
    late = flags & LT_COUNT_LATE;
    unsized = flags & LT_COUNT_UNSIZED;
    nests = flags & LT_COUNT_NESTS;
    key_made = pthread_key_create(&key, thread_ended) == 0;
    __atomic_store_n(&on, true, __ATOMIC_RELEASE);
#define LEAD(name)                                                                                 \
    if (real->name)                                                                                \
    lead(&real->name, (const void *)count_##name)
    LEAD(malloc);
    LEAD(calloc);
    LEAD(memalign);
    LEAD(posix_memalign);
    LEAD(aligned_alloc);
    LEAD(valloc);
    LEAD(pvalloc);
    LEAD(realloc);
    LEAD(reallocarray);
    LEAD(free);
#undef LEAD
}

bool lt_count_is_on(void)
{
    return __atomic_load_n(&on, __ATOMIC_ACQUIRE);
}

static void after_fork(void)
{
    lock.word = 0;
    pool = NULL;
    for (struct line *line = lines; line; line = line->next) {
        publish(line);
        if (line == mine)
            continue;
        if (line->busy)
            halved = true;
        line->busy = 0;
        give_to_pool(line);
    }
    if (shared.busy)
        halved = true;
    shared.busy = 0;
    threads = mine && mine != &shared;
    alone = true;
    doubt = 0;
}

void lt_count_watch_forks(void)
{
    static bool watched;
    if (lt_count_is_on() && !__atomic_exchange_n(&watched, true, __ATOMIC_RELAXED))
        pthread_atfork(NULL, NULL, after_fork);
}

#define READ(from) __atomic_load_n(from, __ATOMIC_ACQUIRE)

/* Deallocations first: what is in use is then never too little. True: in the middle
 * of nothing, as far as this has seen. */
static bool add_up(struct lt_counts *t)
{
    bool idle = true;
    *t = (struct lt_counts){0};
    for (const struct line *l = READ(&lines); l; l = l->next) {
        idle = idle && !READ(&l->busy);
        t->frees += READ(&l->frees);
        t->freed += READ(&l->freed);
    }
    t->frees += READ(&shared.frees);
    t->freed += READ(&shared.freed);
    for (const struct line *l = READ(&lines); l; l = l->next) {
        t->allocations += READ(&l->allocations);
        t->allocated += READ(&l->allocated);
    }
    t->allocations += READ(&shared.allocations);
    t->allocated += READ(&shared.allocated);
    return idle && !READ(&shared.busy);
}

/* Counts only rise: two sums that are the same are those of the moment between. */
static void take_totals(struct lt_counts *t)
{
    struct lt_counts again;
    bool idle = add_up(t), same = false;
    for (int i = 0; i < READS && !(idle && same); i++) {
        idle = add_up(&again);
        same = !memcmp(t, &again, sizeof again);
        *t = again;
    }
    t->moving = !(idle && same);
    t->blocks = (int64_t)(t->allocations - t->frees);
    t->bytes = (int64_t)(t->allocated - t->freed);
}

bool lt_count_read(struct lt_counts *t)
{
    if (!lt_count_is_on())
        return false;
    uint32_t before = 0, after = 1; /* no lock: that may take a system call */
    for (int i = 0; i < READS && (before != after || before & 1); i++) {
        before = READ(&version);
        take_totals(t);
        t->peak = READ(&peak_least);
        int64_t most = READ(&peak_most);
        if (!t->moving && t->peak < t->bytes)
            t->peak = t->bytes;
        t->peak_error = most > t->peak ? (uint64_t)(most - t->peak) : 0;
        t->allocations -= start.allocations;
        t->allocated -= start.allocated;
        t->frees -= start.frees;
        t->freed -= start.freed;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        after = READ(&version);
    }
    t->late = late;
    t->unsized = unsized;
    t->halved = halved;
    t->moving |= before != after || before & 1; /* also a handler inside a reset */
    return true;
}

void lt_count_reset(void)
{
    struct lt_counts t;
    if (!lt_count_is_on() || !lt_lock_take(&lock))
        return;
    __atomic_add_fetch(&version, 1, __ATOMIC_SEQ_CST);
    struct line *line = mine;
    if (line && line != &shared && threads == 1) { /* nobody else begins: the lock is ours */
        publish(line);
        alone = true;
        doubt = 0;
    }
    take_totals(&t);
    start = t;
    int64_t now = __atomic_load_n(&published, __ATOMIC_SEQ_CST);
    __atomic_store_n(&peak_most, now + doubt, __ATOMIC_SEQ_CST);
    __atomic_store_n(&peak_least, t.moving ? now - doubt : t.bytes, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&version, 1, __ATOMIC_SEQ_CST);
    lt_lock_release(&lock);
}
