/* SPDX-License-Identifier: MIT
 *
 * The time stamp of an event: one read of a counter that all cores share
 * (invariant TSC, CNTVCT), CLOCK_MONOTONIC elsewhere. A count shifted right by
 * lt_page.tick_shift is a tick. lt_clock.c chooses.
 *
 * Order. A processor may read its counter before the instructions in front of
 * the read are done. What must hold: the free of a block is stamped no later
 * than the allocation by another thread that gets the same address.
 * - The free is stamped, then the allocator makes the block available by a
 *   store. x86: a store is seen by others only after all instructions before it
 *   are done, the read of the counter among them; a fence behind the read adds
 *   nothing. AArch64: a load whose address hangs on the count comes before the
 *   store, because the allocator's store is a release.
 * - The allocation is stamped after the allocator's load saw that store. Without
 *   a fence the counter is read while the load still waits for the other core's
 *   cache line: up to 100 ns early. LFENCE (ISB) lets no later instruction begin
 *   before the load is done.
 * So free's count <= store <= load <= allocation's count: no count goes backwards
 * along a hand-over, and equal ticks the reader resolves. The claim of room for a
 * chunk is such a hand-over too: its base time comes before the claim, the stamps
 * of chunks behind it after theirs.
 *
 * The owner. One thread's events are in the order of their stream whatever they are
 * stamped with. So as long as one context alone has recorded, whatever other threads
 * there are, its stamps do without a fence (lt_clock_count_alone) and several events
 * share one (LT_STAMP_SHARE): a stamp may then be too early by a few ms, never too
 * late. lt_page.stamp_owner names that context. Another thread's first event clears it
 * (settle_stamps of lt_process.c) before it makes room, stamps or does its real free,
 * and from then on all are fenced, for good: to give it back would need proof that no
 * thread is between its look at the word and the end of its event.
 * Early stamps of the owner, O, could do harm in four ways:
 * - O's allocation before B's free of the block: B cleared the word before that free,
 *   the allocator handed the address over by a store that O's allocation has seen, and
 *   O looks at the word after it: x86 stores and loads are seen in order, elsewhere the
 *   allocator releases and acquires. So O sees it cleared, and its stamp is fenced.
 * - O's free before B's allocation of the block: B cleared the word before its malloc
 *   returned, and O has the block from B by the program's own synchronisation.
 *   O's free before B's reuse, and O's allocation before B's free: early is right.
 * - An event of O before the base time of a chunk of B's at a lower file offset: B
 *   cleared the word before its claim, O's later claim reads the counter that B's wrote,
 *   and O looks at the word after it.
 * - An event of O before B's watermark (stream sinks): B clears, then has a membarrier
 *   run, then looks who is busy. O, seen idle, looks at the word in its next event after
 *   that barrier; seen busy, it bounds the watermark by its last stamp, than which none
 *   of its stamps is earlier. Without membarrier there is no owner (no_owner).
 * A nested context of O's own thread clears nothing: its events are stamped anew, and so
 * is O's next. A context that goes from an ended thread to a new one may still be the
 * owner: its events follow each other, and the ended one's last ones go to the shared
 * context, whose every event passes settle_stamps.
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
/* True if that is but a read of memory. */
int lt_clock_coarse_is_cheap(void);
void lt_clock_moment(int kind, struct lt_moment *moment);
/* Choose the clock; takes some 100 us where the rate must be measured. */
void lt_clock_choose(struct lt_clock *clock);

/* Nanoseconds, less than a minute, in ticks. */
static inline uint64_t lt_clock_ticks(const struct lt_clock *clock, uint64_t ns)
{
    return ns * (clock->counts_per_second >> clock->tick_shift) / 1000000000u;
}

/* Not ordered against what other threads do: for the owner of the stamps. */
static inline uint64_t lt_clock_count_alone(int kind)
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
    return lt_clock_monotonic(); /* which the vdso or the kernel orders */
}

/* The count at this place: after all loads before it, before all stores behind it. */
static inline uint64_t lt_clock_count(int kind)
{
#if defined(__x86_64__) || defined(__i386__)
    if (LT_LIKELY(kind == MLF_CLOCK_TSC)) { /* invariant: newer than LFENCE */
        __asm__ volatile("lfence" ::: "memory");
        return __builtin_ia32_rdtsc();
    }
#elif defined(__aarch64__)
    if (LT_LIKELY(kind == MLF_CLOCK_CNTVCT)) {
        uint64_t count, zero;
        __asm__ volatile("isb\n\t"
                         "mrs %0, cntvct_el0\n\t"
                         "eor %1, %0, %0\n\t"
                         "ldr xzr, [sp, %1]"
                         : "=r"(count), "=r"(zero)
                         :
                         : "memory");
        return count;
    }
#endif
    return lt_clock_count_alone(kind);
}

#endif
