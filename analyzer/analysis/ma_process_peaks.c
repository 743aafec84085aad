/* SPDX-License-Identifier: MIT
 *
 * Peaks of single processes; see ma_process_peaks.h.
 */
#include "ma_process_peaks.h"

#include <errno.h>

/* The process, made if it is new, with room for all its sites; NULL if memory is
 * short. */
static struct ma_process_peak *peak_of(struct ma_process_peaks *peaks,
                                       const struct ma_account *account)
{
    size_t index = account->process->index;
    if (!MA_HOLDS(peaks->processes, index, peaks->n_processes))
        return NULL;
    struct ma_process_peak *peak = &peaks->processes[index];
    return MA_HOLDS(peak->sites, account->n_sites, peak->n_sites) ? peak : NULL;
}

/* A block begins (sign 1) or ends (-1). */
static void change(struct ma_process_peak *peak, const struct ma_seen_block *block, int sign)
{
    struct ma_process_peak_site *site = &peak->sites[block->site];
    uint64_t bytes = sign < 0 ? -block->size : block->size;
    if (site->peak_epoch != peak->epoch) {
        site->peak_epoch = peak->epoch;
        site->peak_bytes = site->bytes;
        site->peak_blocks = site->blocks;
    }
    site->bytes += bytes;
    site->blocks += (uint64_t)sign;
    peak->bytes += bytes;
    peak->blocks += (uint64_t)sign;
}

static int peak_resized(void *context, const struct ma_seen *seen, const struct ma_seen_block *old,
                        const struct ma_seen_block *block)
{
    struct ma_process_peak *peak = peak_of(context, seen->account);
    if (!peak)
        return -ENOMEM;
    if (old && old->site != MA_NONE)
        change(peak, old, -1);
    if (block)
        change(peak, block, 1);
    if (peak->bytes > peak->peak_bytes) {
        peak->peak_bytes = peak->bytes;
        peak->peak_blocks = peak->blocks;
        peak->peak_ns = seen->ns;
        peak->epoch++;
    }
    return 0;
}

static int peak_allocated(void *context, const struct ma_seen *seen,
                          const struct ma_seen_block *block)
{
    return peak_resized(context, seen, NULL, block);
}

static int peak_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    return peak_resized(context, seen, block, NULL);
}

struct ma_process_peaks *ma_process_peaks_new(void)
{
    struct ma_process_peaks *peaks = calloc(1, sizeof *peaks);
    if (peaks)
        peaks->observer = (struct ma_observer){
            .context = peaks,
            .allocated = peak_allocated,
            .freed = peak_freed,
            .resized = peak_resized,
        };
    return peaks;
}

void ma_process_peaks_free(struct ma_process_peaks *peaks)
{
    if (!peaks)
        return;
    for (size_t i = 0; i < peaks->n_processes; i++)
        free(peaks->processes[i].sites);
    free(peaks->processes);
    free(peaks);
}

void ma_process_peaks_at(const struct ma_process_peak *peak, size_t site, uint64_t *bytes,
                         uint64_t *blocks)
{
    const struct ma_process_peak_site *one = &peak->sites[site];
    bool changed = one->peak_epoch == peak->epoch;
    *bytes = changed ? one->peak_bytes : one->bytes;
    *blocks = changed ? one->peak_blocks : one->blocks;
}
