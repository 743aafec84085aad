/* SPDX-License-Identifier: MIT
 *
 * Ends of processes: a part of the audit.
 */
#ifndef MA_REPORT_ENDS_H
#define MA_REPORT_ENDS_H

#include "ma_analysis.h"
#include "ma_model.h"

/* Processes whose last events a stream may lack; that run, in a trace which is followed;
 * of whose end a mapped trace does not tell. */
uint64_t ma_ends_unended(const struct ma_analysis *analysis);
uint64_t ma_ends_running(const struct ma_analysis *analysis);
uint64_t ma_ends_silent(const struct ma_analysis *analysis);

/* Add what casts doubt on the numbers to the warnings; then what does not. */
void ma_ends_doubt(const struct ma_analysis *analysis, struct ma_model *model,
                   struct ma_value *warnings);
void ma_ends_say(const struct ma_analysis *analysis, struct ma_model *model,
                 struct ma_value *warnings);

#endif
