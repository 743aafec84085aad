/* SPDX-License-Identifier: MIT
 *
 * Peaks of single processes; see ma_own_peaks.h.
 */
#include "ma_own_peaks.h"

#include <errno.h>

/* The process, made if it is new, with room for all its uses; NULL if memory is
 * short. */
static struct ma_own_peak *peak_of(struct ma_own_peaks *peaks, const struct ma_account *account)
{
    size_t index = account->process->index;
    if (!MA_HOLDS(peaks->processes, index, peaks->n_processes))
        return NULL;
    struct ma_own_peak *peak = &peaks->processes[index];
    return MA_HOLDS(peak->uses, account->n_uses, peak->n_uses) ? peak : NULL;
}

/* A block begins (sign 1) or ends (-1). */
static void change(struct ma_own_peak *peak, const struct ma_seen_block *block, int sign)
{
    struct ma_own_use *use = &peak->uses[block->use];
    uint64_t bytes = sign < 0 ? -block->size : block->size;
    if (use->peak_epoch != peak->epoch) {
        use->peak_epoch = peak->epoch;
        use->peak_bytes = use->bytes;
        use->peak_blocks = use->blocks;
    }
    use->bytes += bytes;
    use->blocks += (uint64_t)sign;
    peak->bytes += bytes;
    peak->blocks += (uint64_t)sign;
}

static int resized(void *context, const struct ma_seen *seen, const struct ma_seen_block *old,
                   const struct ma_seen_block *block)
{
    struct ma_own_peak *peak = peak_of(context, seen->account);
    if (!peak)
        return -ENOMEM;
    if (old && old->use != MA_NONE)
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

static int allocated(void *context, const struct ma_seen *seen,
                     const struct ma_seen_block *block)
{
    return resized(context, seen, NULL, block);
}

static int freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    return resized(context, seen, block, NULL);
}

struct ma_own_peaks *ma_own_peaks_new(void)
{
    struct ma_own_peaks *peaks = calloc(1, sizeof *peaks);
    if (peaks)
        peaks->observer = (struct ma_observer){
            .context = peaks, .allocated = allocated, .freed = freed, .resized = resized,
        };
    return peaks;
}

void ma_own_peaks_free(struct ma_own_peaks *peaks)
{
    if (!peaks)
        return;
    for (size_t i = 0; i < peaks->n_processes; i++)
        free(peaks->processes[i].uses);
    free(peaks->processes);
    free(peaks);
}

void ma_own_peaks_at(const struct ma_own_peak *peak, size_t use, uint64_t *bytes,
                     uint64_t *blocks)
{
    const struct ma_own_use *one = &peak->uses[use];
    bool changed = one->peak_epoch == peak->epoch;
    *bytes = changed ? one->peak_bytes : one->bytes;
    *blocks = changed ? one->peak_blocks : one->blocks;
}
