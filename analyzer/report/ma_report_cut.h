/* SPDX-License-Identifier: MIT
 *
 * The part of the audit on stacks whose outer end is not in the trace, and on what the
 * user chose for the recording: that is told as a choice.
 */
#ifndef MA_REPORT_CUT_H
#define MA_REPORT_CUT_H

#include "ma_report.h"

struct ma_cut {
    uint64_t stacks, by_root[MLF_FIRST_NODE]; /* that allocated; those cut, by enum mlf_root */
    uint64_t depth;                           /* MLOG_DEPTH, 0: no cap was chosen */
    bool fp;                                  /* MLOG_UNWIND=fp */
    uint64_t allocated, all_allocated;        /* bytes under cut stacks, under all */
    uint64_t peak, all_peak;
    uint64_t leaked, all_leaked;
};

void ma_cut_count(struct ma_analysis *analysis, struct ma_cut *cut);
void ma_cut_add(struct ma_model *model, struct ma_value *audit, const struct ma_cut *cut);
void ma_cut_say(struct ma_model *model, struct ma_value *warnings, const struct ma_cut *cut);

/* The last part of the closing sentence, without its full stop. Writes to buffer. */
#define MA_CUT_CLOSE 160
const char *ma_cut_close(const struct ma_cut *cut, char buffer[MA_CUT_CLOSE]);

/* Say that a file was written as a stream unasked, and what to do. */
void ma_report_say_streams(const struct ma_analysis *analysis, struct ma_model *model,
                           struct ma_value *warnings);

#endif
