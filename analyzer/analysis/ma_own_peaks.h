/* SPDX-License-Identifier: MIT
 *
 * The peak of each process by itself: the first moment at which its own blocks
 * had the most bytes, and what each of its stacks held then. An observer of the
 * replay (ma_observer.h); values at the peak are kept by copy-on-write, as for
 * the joint peak (ma_account.h).
 */
#ifndef MA_OWN_PEAKS_H
#define MA_OWN_PEAKS_H

#include "ma_account.h"
#include "ma_observer.h"

struct ma_own_use { /* one stack of one process */
    uint64_t bytes, blocks;
    uint64_t peak_bytes, peak_blocks, peak_epoch;
};

struct ma_own_peak { /* one process */
    uint64_t bytes, blocks; /* live now */
    uint64_t peak_bytes, peak_blocks, peak_ns, epoch;
    struct ma_own_use *uses; /* by number of the use */
    size_t n_uses;
};

struct ma_own_peaks {
    struct ma_observer observer;
    struct ma_own_peak *processes; /* by process index */
    size_t n_processes;
};

/* Peaks whose `observer` is to be registered; NULL if memory is short. */
struct ma_own_peaks *ma_own_peaks_new(void);
void ma_own_peaks_free(struct ma_own_peaks *peaks);

/* What a stack of the process held at the process's peak. */
void ma_own_peaks_at(const struct ma_own_peak *peak, size_t use, uint64_t *bytes,
                     uint64_t *blocks);

#endif
