/* SPDX-License-Identifier: MIT
 *
 * The name a stack goes by: that of the innermost frame which is not there
 * merely to allocate for others.
 */
#ifndef MA_LABEL_H
#define MA_LABEL_H

#include "ma_stacks.h"

/* Index of that frame among n > 0; 0 if all are wrappers or unknown. */
size_t ma_label_frame(const struct ma_frame *frames, size_t n);

/* Whether a function of this name only wraps the allocator. */
bool ma_label_is_wrapper(const char *function);

#endif
