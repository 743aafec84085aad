/* SPDX-License-Identifier: MIT
 *
 * The peak of each process by itself: the first moment at which its own blocks
 * had the most bytes, and what each of its stacks held then. An observer of the
 * replay (ma_observer.h); values at the peak are kept by copy-on-write, as for
 * the joint peak (ma_account.h).
 */
#ifndef MA_PROCESS_PEAKS_H
#define MA_PROCESS_PEAKS_H

#include "ma_account.h"
#include "ma_observer.h"

struct ma_process_peak_site { /* one stack of one process */
    uint64_t bytes, blocks;
    uint64_t peak_bytes, peak_blocks, peak_epoch;
};

struct ma_process_peak {    /* one process */
    uint64_t bytes, blocks; /* live now */
    uint64_t peak_bytes, peak_blocks, peak_ns, epoch;
    struct ma_process_peak_site *sites; /* by number of the site */
    size_t n_sites;
};

struct ma_process_peaks {
    struct ma_observer observer;
    struct ma_process_peak *processes; /* by process index */
    size_t n_processes;
};

/* Peaks whose `observer` is to be registered; NULL if memory is short. */
struct ma_process_peaks *ma_process_peaks_new(void);
void ma_process_peaks_free(struct ma_process_peaks *peaks);

/* The live bytes and blocks of a site of the process at the process's own peak. */
void ma_process_peaks_at(const struct ma_process_peak *peak, size_t site, uint64_t *bytes,
                         uint64_t *blocks);

#endif
