/* SPDX-License-Identifier: MIT
 *
 * Times without recording; see ma_gaps.h.
 */
#include "ma_gaps.h"

#include <stdio.h>

#include "ma_clock.h"
#include "ma_text.h"

uint64_t ma_gaps_count(const struct ma_trace *trace)
{
    uint64_t n = 0;
    for (size_t i = 0; i < trace->n_processes; i++)
        n += trace->processes[i]->gap_count;
    return n;
}

struct ma_gap_ns ma_gap_ns(const struct ma_trace *trace, const struct ma_process *process,
                           const struct ma_gap *gap)
{
    uint64_t end = gap->to;
    if (end == UINT64_MAX)
        end = process->ended ? process->end_time : process->last_time;
    struct ma_gap_ns ns = {ma_clock_ns(trace, process, gap->from),
                           ma_clock_ns(trace, process, end)};
    ns.to = ns.to > ns.from ? ns.to : ns.from;
    return ns;
}

uint64_t ma_gaps_ns(const struct ma_trace *trace)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < trace->n_processes; i++) {
        const struct ma_process *process = trace->processes[i];
        for (size_t k = 0; k < process->n_gaps; k++) {
            const struct ma_gap_ns ns = ma_gap_ns(trace, process, &process->gaps[k]);
            sum += ns.to - ns.from;
        }
    }
    return sum;
}

const char *ma_gaps_words(const struct ma_trace *trace, char buffer[MA_GAPS_WORDS])
{
    char time[MA_HUMAN_SIZE];
    buffer[0] = 0;
    if (ma_gaps_count(trace))
        snprintf(buffer, MA_GAPS_WORDS, "recording was paused for %s",
                 ma_human_time(time, ma_gaps_ns(trace)));
    return buffer;
}
