/* SPDX-License-Identifier: MIT
 *
 * Clock arithmetic in 128-bit integers; see ma_clock.h. A trace may claim any
 * time, shift and rate: shifts are bounded, so that nothing wraps, and results
 * saturate.
 */
#include "ma_clock.h"

#include <string.h>

#define NS 1000000000u /* a second; below 2^30 */

/* At most 32, so that counts are below 2^96, and NS times as many below 2^126. */
static unsigned shift_of(const struct ma_process *process)
{
    return process->record.tick_shift < 32 ? (unsigned)process->record.tick_shift : 32;
}

uint64_t ma_clock_rate(const struct ma_process *process, bool *guessed)
{
    const struct ma_process_record *record = &process->record;
    *guessed = false;
    if (record->clock == MLF_CLOCK_MONOTONIC && !record->counts_per_second)
        return NS;
    if (record->counts_per_second)
        return record->counts_per_second;
    if (process->clock_ticks > record->start && process->clock_ns > record->monotonic_ns) {
        unsigned __int128 counts = (unsigned __int128)(process->clock_ticks - record->start)
                                   << shift_of(process);
        unsigned __int128 rate = counts * NS / (process->clock_ns - record->monotonic_ns);
        if (rate && rate <= UINT64_MAX)
            return (uint64_t)rate;
    }
    *guessed = true;
    return NS;
}

static int64_t saturate(unsigned __int128 magnitude, bool negative)
{
    if (magnitude > INT64_MAX)
        magnitude = INT64_MAX;
    return negative ? -(int64_t)magnitude : (int64_t)magnitude;
}

int64_t ma_clock_since_start(const struct ma_process *process, uint64_t ticks)
{
    bool guessed;
    uint64_t start = process->record.start;
    uint64_t distance = ticks > start ? ticks - start : start - ticks;
    unsigned __int128 counts = (unsigned __int128)distance << shift_of(process);
    return saturate(counts * NS / ma_clock_rate(process, &guessed), ticks < start);
}

/* The process's start on the first one's time line. */
static int64_t origin(const struct ma_process *first, const struct ma_process *process)
{
    const struct ma_process_record *a = &first->record, *b = &process->record;
    if (a->clock == b->clock && a->tick_shift == b->tick_shift &&
        a->counts_per_second == b->counts_per_second && b->start >= a->start &&
        b->monotonic_ns >= a->monotonic_ns)
        return ma_clock_since_start(first, b->start);
    bool same_boot = strcmp(ma_process_text(first, MLF_TEXT_BOOT_ID),
                            ma_process_text(process, MLF_TEXT_BOOT_ID)) == 0;
    uint64_t from = same_boot ? a->monotonic_ns : a->realtime_ns;
    uint64_t to = same_boot ? b->monotonic_ns : b->realtime_ns;
    return saturate(to > from ? to - from : from - to, to < from);
}

uint64_t ma_clock_ns(const struct ma_trace *trace, const struct ma_process *process, uint64_t ticks)
{
    int64_t since = ma_clock_since_start(process, ticks), sum;
    const struct ma_process *first = trace->first_known;
    if (first && first != process && !__builtin_add_overflow(since, origin(first, process), &sum))
        since = sum;
    return since > 0 ? (uint64_t)since : 0;
}

uint64_t ma_clock_ticks(const struct ma_process *process, uint64_t ns)
{
    bool guessed;
    unsigned __int128 counts = (unsigned __int128)ns * ma_clock_rate(process, &guessed) / NS;
    counts >>= shift_of(process);
    return counts > UINT64_MAX ? UINT64_MAX : (uint64_t)counts;
}
