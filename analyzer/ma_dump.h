/* SPDX-License-Identifier: MIT
 *
 * Dumpers: write every event in merged order while the trace is read. One file
 * and one row in ma_dump.c each.
 */
#ifndef MA_DUMP_H
#define MA_DUMP_H

#include <stdio.h>

#include "ma_analysis.h"

struct ma_dumper {
    const char *name; /* after --dump= */
    struct ma_pass pass; /* its context is a FILE */
};

/* The dumper of this name, or NULL. */
const struct ma_dumper *ma_dumper_find(const char *name);

int ma_dump_json_event(void *out, struct ma_analysis *analysis, const struct ma_merged *merged);
int ma_dump_text_event(void *out, struct ma_analysis *analysis, const struct ma_merged *merged);
int ma_dump_text_end(void *out, struct ma_analysis *analysis);

/* Call visit for each frame of a stack, innermost first, waiting for
 * definitions that are still being written. */
typedef void ma_dump_frame(FILE *out, const struct ma_process *process,
                           const struct ma_node *node, size_t index);
int ma_dump_stack(struct ma_analysis *analysis, const struct ma_process *process, uint32_t stack,
                  ma_dump_frame *visit, FILE *out);

extern const char *const ma_function_names[MLF_FN_COUNT];

#endif
