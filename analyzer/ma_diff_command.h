/* SPDX-License-Identifier: MIT
 *
 * --diff: one trace after the other is analysed, then what changed is reported or
 * drawn, and judged. Of the first only its stacks and numbers stay in memory.
 */
#ifndef MA_DIFF_COMMAND_H
#define MA_DIFF_COMMAND_H

#include "ma_error.h"
#include "ma_request.h"

/* Returns how many conditions of --fail-on hold, or a negative errno with a message
 * that names the trace. */
int ma_diff_command(const struct ma_request *request, struct ma_error *error);

#endif
