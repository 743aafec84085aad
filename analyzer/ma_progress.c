/* SPDX-License-Identifier: MIT
 *
 * Progress; see ma_progress.h.
 */
#include "ma_progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void ma_progress_begin(struct ma_progress *progress, const char *doing)
{
    const char *terminal = getenv("TERM");
    *progress = (struct ma_progress){
        .on = isatty(STDERR_FILENO) && terminal && strcmp(terminal, "dumb") != 0,
        .doing = doing,
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
    if (!progress->on)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double elapsed = since(&progress->start, &now);
    if (elapsed < 2 || since(&progress->last, &now) < 0.2)
        return;
    progress->last = now;
    progress->shown = true;
    double millions = (double)progress->events / 1e6, bytes = (double)done / (1 << 20);
    char part[32] = "", amount[64], left[32] = "", line[160];
    if (size && done <= size)
        snprintf(part, sizeof part, "%.0f %%, ", 100.0 * (double)done / (double)size);
    if (progress->doing && !progress->events)
        snprintf(amount, sizeof amount, "%.0f MiB, %.0f MiB a second", bytes, bytes / elapsed);
    else
        snprintf(amount, sizeof amount, "%.1f million events, %.1f million a second", millions,
                 millions / elapsed);
    if (size && done && done < size)
        snprintf(left, sizeof left, ", %.0f s left", elapsed * (double)(size - done) / (double)done);
    /* One write: standard error has no buffer. */
    int n = snprintf(line, sizeof line,
                     "\r\033[Kmlog-analyze: %s%s%s%s%s",
                     progress->doing ? progress->doing : "", progress->doing ? ": " : "", part,
                     amount, left);
    fwrite(line, 1, n < (int)sizeof line ? (size_t)n : sizeof line - 1, stderr);
}

void ma_progress_end(struct ma_progress *progress)
{
    if (progress->shown)
        fprintf(stderr, "\r\033[K");
    progress->on = progress->shown = false;
}
