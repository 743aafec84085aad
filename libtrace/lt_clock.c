/* SPDX-License-Identifier: MIT
 *
 * The choice of the event clock and its rate; see lt_clock.h. Called once a
 * program image, before tracing begins.
 */
#include "lt_clock.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <time.h>
#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#endif

#include "lt_libc.h"
#include "lt_sys.h"

#define RATE_ROUNDS (1 << 16)    /* a few ms: thousands are needed at most */
#define RATE_GUESSED 2000000000u /* counts a second */

/* True if clock_gettime is libc's: the program, or a library preloaded beside
 * ours, may have one of its own, which may stand still. Asked again in a fork's
 * child, which must not wait for the loader's lock. */
static bool clock_is_libcs(void)
{
    static int libcs = -1;
    if (libcs < 0) {
        Dl_info clock, libc;
        libcs = lt_in_libc && dladdr((const void *)clock_gettime, &clock) &&
                dladdr((const void *)lt_in_libc, &libc) && clock.dli_fbase == libc.dli_fbase;
    }
    return libcs;
}

/* The kernel's time, whatever the program makes of it. */
static uint64_t read_clock(clockid_t id)
{
    struct timespec now = {0, 0};
    if (LT_LIKELY(clock_is_libcs()))
        clock_gettime(id, &now); /* vdso; sets no errno for these ids */
    else
        lt_syscall2(SYS_clock_gettime, id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t lt_clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t lt_clock_coarse(void)
{
    struct timespec now = {0, 1};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec << 30 | (uint64_t)now.tv_nsec;
}

int lt_clock_coarse_is_cheap(void)
{
    return getauxval(AT_SYSINFO_EHDR) != 0 && clock_is_libcs();
}

/* The count is read between two readings of the clock that it is paired with;
 * the narrowest of a few tries is kept, so that a preemption does no harm. */
void lt_clock_moment(int kind, struct lt_moment *moment)
{
    uint64_t narrowest = UINT64_MAX;
    for (int i = 0; i < 4; i++) {
        uint64_t before = lt_clock_count(kind);
        uint64_t monotonic = lt_clock_monotonic();
        uint64_t after = lt_clock_count(kind);
        if (after - before >= narrowest)
            continue;
        narrowest = after - before;
        moment->count = before + (after - before) / 2;
        moment->monotonic_ns = monotonic;
    }
    moment->realtime_ns = read_clock(CLOCK_REALTIME);
}

#if defined(__x86_64__) || defined(__i386__)
static int tsc_is_invariant(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
}

/* The counter's rate as the processor or the hypervisor says it: exact, or
 * (*nominal) in whole megahertz of the base clock, which need not be the
 * counter's. 0: unknown. */
static uint64_t tsc_rate(uint64_t *nominal)
{
    unsigned a, b, c, d;
    *nominal = 0;
    if (__get_cpuid(0x15, &a, &b, &c, &d) && a && b && c)
        return (uint64_t)c * b / a;
    if (__get_cpuid(0x16, &a, &b, &c, &d))
        *nominal = (uint64_t)(a & 0xffff) * 1000000;
    return 0;
}
#endif

/* Measured over at least span_ns; its error is some 30 ns in that span. 0 if the
 * kernel's clock cannot be read or stands still, as it may where system calls are
 * filtered: a program is never kept waiting for a clock. */
static uint64_t measured_rate(int kind, uint64_t span_ns)
{
    struct lt_moment first, last;
    lt_clock_moment(kind, &first);
    last = first;
    for (int i = 0; i < RATE_ROUNDS && last.monotonic_ns - first.monotonic_ns < span_ns; i++)
        lt_clock_moment(kind, &last);
    if (last.monotonic_ns <= first.monotonic_ns)
        return 0;
    uint64_t counts = last.count - first.count, ns = last.monotonic_ns - first.monotonic_ns;
    for (; counts > UINT64_MAX / 1000000000u; counts >>= 1)
        ns >>= 1; /* stopped for seconds in between */
    return counts * 1000000000u / ns;
}

/* A short measurement that agrees with the nominal rate to 0.1 % confirms it. */
static uint64_t rate_near(int kind, uint64_t nominal)
{
    if (nominal) {
        uint64_t rough = measured_rate(kind, 60000);
        uint64_t off = rough > nominal ? rough - nominal : nominal - rough;
        if (off < nominal / 1000)
            return nominal;
    }
    return measured_rate(kind, 250000);
}

void lt_clock_choose(struct lt_clock *clock)
{
    clock->kind = MLF_CLOCK_MONOTONIC;
    clock->counts_per_second = 1000000000;
    uint64_t nominal = 0;
#if defined(__x86_64__) || defined(__i386__)
    if (tsc_is_invariant()) {
        clock->kind = MLF_CLOCK_TSC;
        clock->counts_per_second = tsc_rate(&nominal);
    }
#elif defined(__aarch64__)
    clock->kind = MLF_CLOCK_CNTVCT;
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(clock->counts_per_second));
#endif
    if (!clock->counts_per_second)
        clock->counts_per_second = rate_near(clock->kind, nominal);
    if (!clock->counts_per_second) /* the order stands, durations may be off by some factor */
        clock->counts_per_second = nominal ? nominal : RATE_GUESSED;
    /* A tick of some 8 ns: finer than the hand-over of a block between two
     * cores, coarse enough for most time deltas to take one byte. A function of
     * the kind of clock and of exact rates only: all processes of a trace must
     * come to the same result. */
    clock->tick_shift = 4;
    if (clock->kind != MLF_CLOCK_TSC)
        for (clock->tick_shift = 0;
             (2ull << clock->tick_shift) * 1000000000 <= 8 * clock->counts_per_second;)
            clock->tick_shift++;
}
