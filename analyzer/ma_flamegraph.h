/* SPDX-License-Identifier: MIT
 *
 * --flamegraph: stacks with a cost, as folded lines or SVG by the name of the
 * output. Costs are rows of a table in ma_flamegraph.c.
 */
#ifndef MA_FLAMEGRAPH_H
#define MA_FLAMEGRAPH_H

#include <stdio.h>

#include "ma_analysis.h"

/* Whether there is a cost of this name; and all names, for messages. */
bool ma_flamegraph_known(const char *cost);
const char *ma_flamegraph_names(void);

/* Write the graph the options ask for, as SVG or folded. */
int ma_flamegraph_write(struct ma_analysis *analysis, bool svg, FILE *out,
                        struct ma_error *error);

#endif
