/* SPDX-License-Identifier: MIT
 *
 * A preload library that takes every allocation's stack with our unwinder and
 * with another one in the same call, compares whole stacks, and appends the
 * totals to a file when the process ends. Or, without the other unwinder,
 * measures what ours costs inside the program. For tests and benchmarks only.
 *
 *   TRUTH_OUT=file     where the totals go (default: descriptor 2)
 *   TRUTH_MODE=check   compare with libunwind (default)
 *              gcc     compare with _Unwind_Backtrace
 *              time    measure lt_unwind
 *              full    measure it without the shadow
 *   TRUTH_NO_FLUSH=1   do not tell the unwinder of dlclose
 *   TRUTH_EVERY=n      compare with the other unwinder every n-th event of a
 *                      thread; with our own full unwind at every event
 *
 * Build: cc -shared -fPIC -O2 -fvisibility=hidden -Ilibtrace truth_preload.c
 *        libtrace/lt_cfi.c libtrace/lt_unwind_x86_64.c
 */
#include "unwind_start.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#else /* coarse, for the modes that compare */
static inline uint64_t __rdtsc(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
#define __rdtscp(aux) (*(aux) = 0, __rdtsc())
#define _mm_lfence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#endif

#define EXPORT __attribute__((visibility("default")))
#define TLS static __thread __attribute__((tls_model("initial-exec")))
#define MAX_FRAMES 20000
#define KEPT 6
#define KEPT_FRAMES 96
#define BUCKETS 12000

enum verdict { SAME, WE_LONGER, WE_SHORTER, DIFFERENT, NO_ORACLE, VERDICTS };
static const char *const verdict_name[] = {"same", "longer", "shorter", "different", "no-oracle"};
static const char *const stop_name[] = {"root", "no-rule", "limit", "bad-memory", "bad-rule"};

/* One thread's: two unwinders and the other unwinder's frames. */
struct thread_state {
    struct lt_unwinder *shadow, *full;
    unsigned long events;
    void *other[MAX_FRAMES];
    unsigned n_other;
};

TLS struct thread_state *self;
TLS bool busy;

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static void (*real_free)(void *);
static int (*other_backtrace)(void **, int);
static int (*gcc_backtrace)(int (*)(void *, void *), void *);
static uintptr_t (*gcc_get_ip)(void *);

static enum { MODE_OFF, MODE_CHECK, MODE_TIME, MODE_FULL } mode;
static unsigned long every = 1;
static char out_path[512];
static char arena[65536] __attribute__((aligned(16)));
static size_t arena_used;

static unsigned long total[VERDICTS], shadow_wrong, recalled, nested, depth_sum, events, compared;
static unsigned long by_stop[VERDICTS][LT_STOP_COUNT];
static struct lt_unwind_counters sums;
static unsigned long bucket[BUCKETS + 1];
static double cycles_per_ns, overhead, sum_cycles, sum_trimmed;
static unsigned long n_trimmed;

static struct kept {
    enum verdict verdict;
    enum lt_stop stop;
    unsigned n, m;
    uintptr_t ours[KEPT_FRAMES], theirs[KEPT_FRAMES];
} kept[KEPT];
static unsigned n_kept;

#define ADD(var, n) __atomic_fetch_add(&(var), (n), __ATOMIC_RELAXED)

static int gcc_frame(void *context, void *arg)
{
    struct thread_state *t = arg;
    if (t->n_other < MAX_FRAMES)
        t->other[t->n_other++] = (void *)gcc_get_ip(context);
    return 0;
}

static void compare(struct thread_state *t, const struct lt_unwinder *u,
                    const struct lt_frame_start *at)
{
    enum verdict v = SAME;
    unsigned n = u->n, skip, m;
    void **theirs;
    if (gcc_backtrace) {
        t->n_other = 0;
        gcc_backtrace(gcc_frame, t);
    } else {
        int got = other_backtrace(t->other, MAX_FRAMES);
        t->n_other = got < 0 ? 0 : (unsigned)got;
    }
    /* Both end with the program's frames; theirs begin with ours. */
    for (skip = 0; skip < t->n_other && skip < 8; skip++)
        if ((uintptr_t)t->other[skip] == at->pc)
            break;
    theirs = t->other + skip;
    m = t->n_other - skip;
    if (m && (uintptr_t)theirs[0] == at->pc) {
        if (m > 1 && theirs[m - 1] == NULL)
            m--;
        unsigned both = n < m ? n : m;
        for (unsigned i = 0; i < both; i++)
            if (lt_unwinder_pc(u, n - 1 - i) != (uintptr_t)theirs[i])
                v = DIFFERENT;
        if (v == SAME && n != m)
            v = n > m ? WE_LONGER : WE_SHORTER;
    } else {
        v = NO_ORACLE;
    }
    ADD(compared, 1);
    ADD(total[v], 1);
    ADD(by_stop[v][u->stop], 1);
    if (v == SAME || __atomic_load_n(&n_kept, __ATOMIC_RELAXED) >= KEPT)
        return;
    unsigned k = ADD(n_kept, 1);
    if (k >= KEPT)
        return;
    kept[k].verdict = v;
    kept[k].stop = (enum lt_stop)u->stop;
    kept[k].n = n;
    kept[k].m = m;
    for (unsigned i = 0; i < KEPT_FRAMES; i++) {
        kept[k].ours[i] = i < n ? lt_unwinder_pc(u, n - 1 - i) : 0;
        kept[k].theirs[i] = i < m ? (uintptr_t)theirs[i] : 0;
    }
}

static __attribute__((noinline)) void event(const struct lt_frame_start *at)
{
    if (busy) {
        ADD(nested, 1);
        return;
    }
    int saved = errno;
    busy = true;
    struct thread_state *t = self;
    if (!t) {
        t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (t == MAP_FAILED)
            abort();
        t->shadow = unwinder_new();
        t->full = unwinder_new();
        self = t;
    }
    if (mode == MODE_CHECK) {
        unsigned m = lt_unwind_nested(t->full, at);
        const uint64_t hash = m ? lt_unwinder_hash(t->full, m - 1) : 0;
        const uint32_t id = (uint32_t)(hash ^ hash >> 32) | 1,
                       known = lt_unwind_recall(t->shadow, at);
        if (known && known != id)
            ADD(shadow_wrong, 1);
        const struct lt_unwinder *result = t->full;
        if (known)
            ADD(recalled, 1);
        /* As in the library: a recalled stack leaves the shadow behind. */
        unsigned n = 0;
        if (!known || t->events % 4 == 0) {
            n = lt_unwind(t->shadow, at);
            lt_unwind_remember(t->shadow, id);
            result = t->shadow;
        }
        if (result == t->shadow && (n != m || t->shadow->stop != t->full->stop ||
                                    (n && lt_unwinder_hash(t->shadow, n - 1) != hash)))
            ADD(shadow_wrong, 1);
        if (t->events % every == 0)
            compare(t, result, at);
    } else {
        if (mode == MODE_FULL)
            t->shadow->n = 0;
        unsigned aux;
        _mm_lfence();
        uint64_t begin = __rdtsc();
        lt_unwind(t->shadow, at);
        uint64_t end = __rdtscp(&aux);
        double cycles = (double)(end - begin) - overhead;
        double ns = cycles / cycles_per_ns;
        bucket[ns < 0 ? 0 : ns >= BUCKETS ? BUCKETS : (unsigned)ns]++;
        sum_cycles += cycles;
        if (ns < BUCKETS) {
            sum_trimmed += ns;
            n_trimmed++;
        }
    }
    t->events++;
    ADD(events, 1);
    ADD(depth_sum, mode == MODE_CHECK ? t->full->n : t->shadow->n);
    busy = false;
    errno = saved;
}

static double now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void calibrate(void)
{
    unsigned aux;
    double t0 = now_ns();
    uint64_t c0 = __rdtsc();
    while (now_ns() - t0 < 5e6) {
    }
    cycles_per_ns = (double)(__rdtscp(&aux) - c0) / (now_ns() - t0);
    overhead = 1e9;
    for (int i = 0; i < 1000; i++) {
        _mm_lfence();
        uint64_t begin = __rdtsc();
        uint64_t end = __rdtscp(&aux);
        if ((double)(end - begin) < overhead)
            overhead = (double)(end - begin);
    }
}

static __attribute__((constructor)) void begin(void)
{
    const char *m = getenv("TRUTH_MODE"), *o = getenv("TRUTH_OUT"), *n = getenv("TRUTH_EVERY");
    void *lib;
    busy = true;
    if (o)
        snprintf(out_path, sizeof out_path, "%s", o);
    if (n)
        every = strtoul(n, NULL, 10);
    if (every == 0)
        every = 1;
    calibrate();
    if (m && strcmp(m, "time") == 0) {
        mode = MODE_TIME;
    } else if (m && strcmp(m, "full") == 0) {
        mode = MODE_FULL;
    } else if (m && strcmp(m, "gcc") == 0) {
        lib = dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_LOCAL);
        if (lib) {
            gcc_backtrace =
                (int (*)(int (*)(void *, void *), void *))dlsym(lib, "_Unwind_Backtrace");
            gcc_get_ip = (uintptr_t(*)(void *))dlsym(lib, "_Unwind_GetIP");
        }
        mode = gcc_backtrace && gcc_get_ip ? MODE_CHECK : MODE_OFF;
    } else {
        /* Not linked: libunwind would take over backtrace() and exceptions. */
        lib = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
        if (lib)
            other_backtrace = (int (*)(void **, int))dlsym(lib, "unw_backtrace");
        mode = other_backtrace ? MODE_CHECK : MODE_OFF;
    }
    busy = false;
}

static void put_frame(FILE *f, const char *who, unsigned i, uintptr_t pc)
{
    Dl_info info;
    if (!pc)
        return;
    if (dladdr((void *)(pc - 1), &info) == 0)
        memset(&info, 0, sizeof info);
    fprintf(f, "    %s %2u %#lx %s+%#lx (%s)\n", who, i, (unsigned long)pc,
            info.dli_fname ? info.dli_fname : "?",
            info.dli_fbase ? (unsigned long)(pc - (uintptr_t)info.dli_fbase) : 0,
            info.dli_sname ? info.dli_sname : "?");
}

static unsigned percentile(double q)
{
    unsigned long sum = 0, want = (unsigned long)((double)events * q);
    for (unsigned i = 0; i <= BUCKETS; i++)
        if ((sum += bucket[i]) > want)
            return i;
    return BUCKETS;
}

static __attribute__((destructor)) void finish(void)
{
    static char buffer[1 << 16];
    busy = true;
    if (mode == MODE_OFF || events == 0)
        return;
    int fd = out_path[0] ? open(out_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : dup(2);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "a");
    if (!f)
        return;
    setvbuf(f, buffer, _IOFBF, sizeof buffer);
    if (self)
        lt_unwind_counters(self->shadow, &sums);
    fprintf(f, "%s %d: events %lu depth %.1f nested %lu", program_invocation_short_name, getpid(),
            events, (double)depth_sum / (double)events, nested);
    if (mode == MODE_CHECK) {
        fprintf(f, " recalled %lu shadow-wrong %lu compared %lu", recalled, shadow_wrong, compared);
        for (int v = 0; v < VERDICTS; v++) {
            fprintf(f, " %s %lu", verdict_name[v], total[v]);
            if (v == SAME || total[v] == 0)
                continue;
            fprintf(f, " (");
            for (int s = 0; s < LT_STOP_COUNT; s++)
                if (by_stop[v][s])
                    fprintf(f, " %s %lu", stop_name[s], by_stop[v][s]);
            fprintf(f, " )");
        }
        fprintf(f, " agree %.4f%%",
                100.0 * (double)total[SAME] / (double)(compared ? compared : 1));
    } else {
        fprintf(f, " ns p25 %u p50 %u p90 %u p99 %u mean %.1f all %.1f", percentile(.25),
                percentile(.5), percentile(.9), percentile(.99), sum_trimmed / (double)n_trimmed,
                sum_cycles / cycles_per_ns / (double)events);
    }
    fprintf(f,
            " | main thread: fresh/event %.2f resumed %.3f l1-miss %.4f rules %lu full %lu guess "
            "%lu stops",
            (double)sums.fresh / (double)sums.events, (double)sums.resumed / (double)sums.events,
            (double)sums.cache_miss / (double)sums.events, (unsigned long)sums.rule_miss,
            (unsigned long)sums.full_steps, (unsigned long)sums.guesses);
    for (int s = 0; s < LT_STOP_COUNT; s++)
        fprintf(f, " %s %lu", stop_name[s], (unsigned long)sums.stops[s]);
    fprintf(f, "\n");
    for (unsigned k = 0; k < n_kept && k < KEPT; k++) {
        const struct kept *x = &kept[k];
        fprintf(f, "  %s: ours %u (%s), theirs %u\n", verdict_name[x->verdict], x->n,
                stop_name[x->stop], x->m);
        for (unsigned i = 0; i < KEPT_FRAMES && (x->ours[i] || x->theirs[i]); i++) {
            if (x->ours[i] == x->theirs[i]) {
                put_frame(f, "both  ", i, x->ours[i]);
            } else {
                put_frame(f, "ours  ", i, x->ours[i]);
                put_frame(f, "theirs", i, x->theirs[i]);
            }
        }
    }
    fclose(f);
}

static void *from_arena(size_t n)
{
    size_t at = ADD(arena_used, (n + 31) & ~(size_t)15);
    if (at + n + 16 > sizeof arena)
        abort();
    *(size_t *)(arena + at) = n;
    return arena + at + 16;
}
static bool in_arena(const void *p)
{
    return (const char *)p >= arena && (const char *)p < arena + sizeof arena;
}

static bool resolve(void)
{
    static int state;
    if (state == 2)
        return true;
    if (state == 1)
        return false; /* dlsym allocates */
    state = 1;
    real_calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
    real_realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
    real_free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
    real_malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
    state = 2;
    return true;
}

EXPORT void *malloc(size_t n)
{
    if (!real_malloc && !resolve())
        return from_arena(n);
    if (mode) {
        const struct lt_frame_start at = UNWIND_START;
        event(&at);
    }
    return real_malloc(n);
}

EXPORT void *calloc(size_t a, size_t b)
{
    if (!real_malloc && !resolve())
        return from_arena(a * b);
    if (mode) {
        const struct lt_frame_start at = UNWIND_START;
        event(&at);
    }
    return real_calloc(a, b);
}

EXPORT void *realloc(void *p, size_t n)
{
    if (!real_malloc && !resolve())
        return from_arena(n);
    if (in_arena(p)) {
        void *q = real_malloc(n);
        size_t old = *(size_t *)((char *)p - 16);
        return q ? memcpy(q, p, old < n ? old : n) : NULL;
    }
    if (mode) {
        const struct lt_frame_start at = UNWIND_START;
        event(&at);
    }
    return real_realloc(p, n);
}

EXPORT int dlclose(void *handle)
{
    int (*real)(void *) = (int (*)(void *))dlsym(RTLD_NEXT, "dlclose");
    int result = real(handle);
    if (!getenv("TRUTH_NO_FLUSH"))
        lt_unwind_flush();
    return result;
}

EXPORT void free(void *p)
{
    if (in_arena(p) || !real_free)
        return;
    real_free(p);
}
