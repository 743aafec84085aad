/* SPDX-License-Identifier: MIT
 *
 * The probe of the unwinder's tests: takes one stack with the shadow, with a
 * full unwind, with libgcc and with libunwind, and notes where they differ.
 * Included by test_unwind.c only, after the headers that both use.
 */
#ifndef PROBER_H
#define PROBER_H

/* One thread's unwinders and what the others saw. */
struct prober {
    struct lt_unwinder *shadow, *full;
    uintptr_t other[MAX_FRAMES];
    unsigned n_other;
    /* copy of the previous result, to test what is kept */
    struct before {
        uintptr_t pc;
        uint64_t hash;
        uint32_t id;
    } * before;
    unsigned n_before;
    uint32_t ids;
};

static __thread struct prober *self;
static unsigned recalls;
static __thread volatile sig_atomic_t handling;  /* a signal */
static __thread volatile sig_atomic_t unwinding; /* inside the shadow's lt_unwind */
/* ... which came at any moment, where libgcc cannot follow libc's assembly: on
 * i386 its memcpy says nothing of what it pushes, and libgcc faults. */
static volatile sig_atomic_t stray;
static unsigned long probes, failures;
static int tests, failed;
static int (*libunwind)(void **, int);
static bool prefix_only;        /* the stack holds code that nobody can describe */
static __thread bool unsettled; /* the last lt_unwind was not let finish */
static bool gcc_only;           /* ... that libunwind has not been told of */

static void bad(const char *what, const struct lt_unwinder *u, const struct prober *p)
{
    if (__atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED) > 3)
        return;
    printf("# %s: ours %u frames (stop %u), other %u\n", what, u->n, u->stop, p->n_other);
    for (unsigned i = 0; i < 12 && (i < u->n || i < p->n_other); i++)
        printf("#   %#lx %#lx\n", i < u->n ? (unsigned long)lt_unwinder_pc(u, u->n - 1 - i) : 0,
               i < p->n_other ? (unsigned long)p->other[i] : 0);
}

static _Unwind_Reason_Code gcc_frame(struct _Unwind_Context *c, void *arg)
{
    struct prober *p = arg;
    if (p->n_other < MAX_FRAMES)
        p->other[p->n_other++] = _Unwind_GetIP(c);
    return _URC_NO_REASON;
}

/* `other` begins with frames of the test itself, ours with at->pc. */
static void compare(const char *who, const struct lt_unwinder *u, struct prober *p,
                    const struct lt_frame_start *at)
{
    unsigned skip = 0, both;
    while (skip < p->n_other && p->other[skip] != at->pc)
        skip++;
    p->n_other -= skip;
    memmove(p->other, p->other + skip, p->n_other * sizeof p->other[0]);
    if (p->n_other && p->other[p->n_other - 1] == 0)
        p->n_other--;
    both = u->n < p->n_other ? u->n : p->n_other;
    for (unsigned i = 0; i < both; i++)
        if (lt_unwinder_pc(u, u->n - 1 - i) != p->other[i]) {
            bad(who, u, p);
            return;
        }
    if (both == 0 || (!prefix_only && u->n != p->n_other))
        bad(who, u, p);
}

/* hash -> path and path -> hash, both ways one to one. */
static bool one_to_one(uint64_t hash, uint64_t path)
{
    enum { SLOTS = 1 << 18 };
    static struct {
        uint64_t key, val;
    } map[2][SLOTS];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    bool good = true;
    pthread_mutex_lock(&lock);
    for (int way = 0; way < 2; way++) {
        uint64_t key = way ? path : hash, val = way ? hash : path;
        unsigned i = (unsigned)(key % SLOTS);
        while (map[way][i].key && map[way][i].key != key)
            i = (i + 1) % SLOTS;
        if (map[way][i].key && map[way][i].val != val)
            good = false;
        map[way][i].key = key;
        map[way][i].val = val;
    }
    pthread_mutex_unlock(&lock);
    return good;
}

static struct prober *prober_new(void)
{
    struct prober *p =
        mmap(NULL, sizeof *p + MAX_FRAMES * sizeof *p->before, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    p->before = (struct before *)(p + 1);
    p->shadow = unwinder_new();
    p->full = unwinder_new();
    return p;
}

/* What the stack table would call it. */
static uint32_t id_of(uint64_t hash)
{
    return (uint32_t)(hash ^ hash >> 32) | 1;
}

static void probe_with(struct prober *p, const struct lt_frame_start *at)
{
    errno = 4711;
    if (!handling)
        unwinding = 1;
    const uint32_t recalled = lt_unwind_recall(p->shadow, at);
    if (!handling)
        unwinding = 0;
    unsigned m = lt_unwind_nested(p->full, at);
    const uint32_t known = id_of(lt_unwinder_hash(p->full, m - 1));
    if (recalled) {
        __atomic_fetch_add(&recalls, 1, __ATOMIC_RELAXED);
        if (recalled != known)
            bad("recalled stack", p->full, p);
        if (recalls % 4) { /* as the hooks do: the shadow stays behind */
            if (errno != 4711)
                bad("errno", p->full, p);
            __atomic_fetch_add(&probes, 1, __ATOMIC_RELAXED);
            return;
        }
    }
    if (!handling)
        unwinding = 1;
    unsigned n = lt_unwind(p->shadow, at);
    if (!handling)
        unwinding = 0;
    lt_unwind_remember(p->shadow, known);
    if (errno != 4711)
        bad("errno", p->shadow, p);
    p->n_other = 0;
    if (n != m || n == 0 || p->shadow->stop != p->full->stop ||
        lt_unwinder_hash(p->shadow, n - 1) != lt_unwinder_hash(p->full, n - 1))
        bad("shadow and full unwind", p->shadow, p);
    uint64_t path = p->shadow->stop;
    for (unsigned i = 0; i < n; i++) {
        const uintptr_t pc = lt_unwinder_pc(p->shadow, i);
        const uint64_t hash = lt_unwinder_hash(p->shadow, i);
        const uint32_t id = *lt_unwinder_id(p->shadow, i);
        if (pc != lt_unwinder_pc(p->full, i) || hash != lt_unwinder_hash(p->full, i)) {
            bad("frame of shadow and full unwind", p->shadow, p);
            break;
        }
        if (i >= p->shadow->kept
                ? id != 0
                : !unsettled && (i >= p->n_before || p->before[i].pc != pc ||
                                 p->before[i].hash != hash || p->before[i].id != id)) {
            bad("kept frame", p->shadow, p);
            break;
        }
        path = (path ^ pc ^ (uint64_t)(lt_unwinder_flags(p->shadow, i) & LT_FRAME_EXACT) << 60) *
               0x100000001b3u;
        path ^= path >> 29;
    }
    /* What was kept of an unwind that was left is not what was there before it. */
    for (unsigned i = !unsettled && p->shadow->kept < p->n_before ? p->shadow->kept : 0; i < n;
         i++) {
        uint32_t *id = lt_unwinder_id(p->shadow, i);
        if (!*id)
            *id = ++p->ids;
        p->before[i] =
            (struct before){lt_unwinder_pc(p->shadow, i), lt_unwinder_hash(p->shadow, i), *id};
    }
    p->n_before = n;
    unsettled = false;
    if (!handling || !stray) {
        _Unwind_Backtrace(gcc_frame, p);
        compare("_Unwind_Backtrace", p->shadow, p, at);
    }
    if (!handling && !one_to_one(lt_unwinder_hash(p->shadow, n - 1), path | 1))
        bad("hash and path", p->shadow, p);
    if (libunwind && !gcc_only && !handling) {
        int got = libunwind((void **)p->other, MAX_FRAMES);
        p->n_other = got < 0 ? 0 : (unsigned)got;
        compare("libunwind", p->shadow, p, at);
    }
    __atomic_fetch_add(&probes, 1, __ATOMIC_RELAXED);
}

NOINLINE static void probe(void)
{
    const struct lt_frame_start at = UNWIND_START;
    if (!self)
        self = prober_new();
    probe_with(self, &at);
    KEEP;
}

/* In a signal handler that may have interrupted lt_unwind: another prober, and
 * nothing that takes a lock. */
static struct prober *nested_prober;
NOINLINE static void probe_nested(void)
{
    const struct lt_frame_start at = UNWIND_START;
    handling = 1;
    probe_with(nested_prober, &at);
    handling = 0;
}

static void ok(const char *name, unsigned long least)
{
    bool good = failures == 0 && probes >= least;
    printf("%s %d - %s (%lu probes)\n", good ? "ok" : "not ok", ++tests, name, probes);
    if (!good)
        failed++;
    fflush(stdout);
    failures = probes = 0;
}

#endif
