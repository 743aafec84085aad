/* SPDX-License-Identifier: MIT
 *
 * Whether a program was killed for want of memory. The kernel says it to nobody, so it is
 * concluded: a process has no end in the trace, and was within a tenth of the limit that its
 * control group, or its machine, has (MLF_REC_LIMIT) when it was last heard of.
 */
#ifndef MA_KILLED_H
#define MA_KILLED_H

#include "ma_analysis.h"

struct ma_killed {
    const struct ma_account *account; /* the largest such process */
    uint64_t bytes;                   /* resident at the end, of all that had not ended */
    uint64_t limit, kind;             /* bytes; enum mlf_limit */
};

/* Requires: the pass is over. Returns false if nothing speaks for it. */
bool ma_killed_for_memory(const struct ma_analysis *analysis, struct ma_killed *killed);

#endif
