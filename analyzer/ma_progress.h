/* SPDX-License-Identifier: MIT
 *
 * A line of progress on standard error: only on a terminal that can redraw it
 * (TERM is set and not "dumb"), only for what takes longer than two seconds.
 */
#ifndef MA_PROGRESS_H
#define MA_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct ma_progress {
    bool on, shown;
    uint32_t until_due;
    uint64_t events;
    struct timespec start, last;
};

void ma_progress_begin(struct ma_progress *progress);
void ma_progress_show(struct ma_progress *progress, uint64_t done, uint64_t size);
void ma_progress_end(struct ma_progress *progress);

/* To be called for each event; true now and then. */
static inline bool ma_progress_due(struct ma_progress *progress)
{
    if (--progress->until_due)
        return false;
    progress->until_due = 1u << 16;
    progress->events += 1u << 16;
    return true;
}

#endif
