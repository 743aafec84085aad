/* SPDX-License-Identifier: MIT
 *
 * Progress; see ma_progress.h.
 */
#include "ma_progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "ma_error.h"

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

/* Columns of the terminal; many, if it does not tell. */
static size_t columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : SIZE_MAX;
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
    char part[32] = "", amount[64], left[32] = "";
    if (size && done <= size)
        snprintf(part, sizeof part, "%.0f %%, ", 100.0 * (double)done / (double)size);
    if (progress->doing && !progress->events)
        snprintf(amount, sizeof amount, "%.0f MiB, %.0f MiB a second", bytes, bytes / elapsed);
    else
        snprintf(amount, sizeof amount, "%.1f million events, %.1f million a second", millions,
                 millions / elapsed);
    if (size && done && done < size)
        snprintf(left, sizeof left, ", %.0f s left",
                 elapsed * (double)(size - done) / (double)done);
    /* A line that wraps could not be redrawn: where all has no room, the amount goes. */
    char line[160];
    const size_t room = columns();
    int n = -1;
    for (int all = 1; all >= 0 && (n < 0 || (size_t)n >= room); all--)
        n = snprintf(line, sizeof line, "%s: %s%s%s%s%s", ma_command,
                     progress->doing ? progress->doing : "", progress->doing ? ": " : "", part,
                     all || !left[0] ? amount : "", all || !left[0] ? left : left + 2);
    if ((size_t)n >= room)
        line[room - 1] = '\0';
    fprintf(stderr, "\r\033[K%s", line); /* one write: it has no buffer */
}

void ma_progress_end(struct ma_progress *progress)
{
    if (progress->shown)
        fprintf(stderr, "\r\033[K");
    progress->on = progress->shown = false;
}
