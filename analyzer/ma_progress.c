/* SPDX-License-Identifier: MIT
 *
 * Progress; see ma_progress.h.
 */
#include "ma_progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void ma_progress_begin(struct ma_progress *progress)
{
    const char *terminal = getenv("TERM");
    *progress = (struct ma_progress){
        .on = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0,
        .due_at = 1u << 18,
    };
    clock_gettime(CLOCK_MONOTONIC, &progress->start);
    progress->last = progress->start;
}

static double since(const struct timespec *then, const struct timespec *now)
{
    return (double)(now->tv_sec - then->tv_sec) + 1e-9 * (double)(now->tv_nsec - then->tv_nsec);
}

void ma_progress_show(struct ma_progress *progress, uint64_t done, uint64_t size)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double elapsed = since(&progress->start, &now);
    if (elapsed < 2 || since(&progress->last, &now) < 0.2)
        return;
    progress->last = now;
    progress->shown = true;
    double millions = (double)progress->events / 1e6;
    char part[32] = "", left[32] = "", line[160];
    if (size && done <= size)
        snprintf(part, sizeof part, "%.0f %%, ", 100.0 * (double)done / (double)size);
    if (size && done && done < size)
        snprintf(left, sizeof left, ", %.0f s left", elapsed * (double)(size - done) / (double)done);
    /* One write: standard error has no buffer. */
    int n = snprintf(line, sizeof line,
                     "\r\033[Kmlog-analyze: %s%.1f million events, %.1f a second%s", part, millions,
                     millions / elapsed, left);
    fwrite(line, 1, n < (int)sizeof line ? (size_t)n : sizeof line - 1, stderr);
}

void ma_progress_end(struct ma_progress *progress)
{
    if (progress->shown)
        fprintf(stderr, "\r\033[K");
}
