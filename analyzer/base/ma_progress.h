/* SPDX-License-Identifier: MIT
 *
 * A line of progress on standard error: only on a terminal that can redraw it
 * (TERM is set and not "dumb"), no wider than it, only for what takes longer than two
 * seconds.
 * Begun anew for each part of the work.
 */
#ifndef MA_PROGRESS_H
#define MA_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct ma_progress {
    bool on, shown;
    const char *doing; /* what other than the analysis: "writing"; or NULL */
    uint64_t events, due_at;
    struct timespec start, last;
};

void ma_progress_begin(struct ma_progress *progress, const char *doing);

/* Bytes of how many; size 0: unknown. */
void ma_progress_show(struct ma_progress *progress, uint64_t done, uint64_t size);
void ma_progress_end(struct ma_progress *progress);

/* To be called after n events; true now and then. */
static inline bool ma_progress_due(struct ma_progress *progress, size_t n)
{
    progress->events += n;
    if (progress->events < progress->due_at)
        return false;
    progress->due_at = progress->events + (1u << 18);
    return true;
}

#endif
