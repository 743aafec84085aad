/* SPDX-License-Identifier: MIT
 *
 * The time stamp of an event: one unserialised read of a counter that all
 * cores share (invariant TSC, CNTVCT), CLOCK_MONOTONIC elsewhere. A count
 * shifted right by lt_page.tick_shift is a tick. lt_clock.c chooses.
 */
#ifndef LT_CLOCK_H
#define LT_CLOCK_H

#include <stdint.h>

#include "lt_sys.h"
#include "mlf_format.h"

struct lt_clock {
    int kind; /* enum mlf_clock */
    unsigned tick_shift;
    uint64_t counts_per_second; /* of the unshifted counter */
};

/* One moment on three clocks; count is unshifted. */
struct lt_moment {
    uint64_t count;
    uint64_t monotonic_ns;
    uint64_t realtime_ns;
};

uint64_t lt_clock_monotonic(void);
/* The time of the kernel's last tick, in ns; never 0. */
uint64_t lt_clock_coarse(void);
/* Whether that is but a read of memory. */
int lt_clock_coarse_is_cheap(void);
void lt_clock_moment(int kind, struct lt_moment *moment);
/* Choose the clock; takes some 100 us where the rate must be measured. */
void lt_clock_choose(struct lt_clock *clock);

/* Nanoseconds, less than a minute, in ticks. */
static inline uint64_t lt_clock_ticks(const struct lt_clock *clock, uint64_t ns)
{
    return ns * (clock->counts_per_second >> clock->tick_shift) / 1000000000u;
}

static inline uint64_t lt_clock_count(int kind)
{
#if defined(__x86_64__) || defined(__i386__)
    if (LT_LIKELY(kind == MLF_CLOCK_TSC))
        return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    if (LT_LIKELY(kind == MLF_CLOCK_CNTVCT)) {
        uint64_t count;
        __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
        return count;
    }
#endif
    return lt_clock_monotonic();
}

#endif
