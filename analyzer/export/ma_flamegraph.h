/* SPDX-License-Identifier: MIT
 *
 * --flamegraph: stacks with a cost, as folded lines or SVG by the name of the
 * output. Costs are rows of a table in ma_flamegraph.c.
 */
#ifndef MA_FLAMEGRAPH_H
#define MA_FLAMEGRAPH_H

#include <stdio.h>

#include "ma_analysis.h"

/* True if there is a cost of this name; and all names, for messages. */
bool ma_flamegraph_known(const char *cost);
const char *ma_flamegraph_names(void);

/*
 * Write the graph that the options ask for, as SVG or folded. With `old`, the
 * analysis of an earlier trace, it is a differential graph: frames as wide as
 * in `analysis`, coloured by how they changed; folded lines have both values.
 */
int ma_flamegraph_write(struct ma_analysis *analysis, struct ma_analysis *old, bool svg, FILE *out,
                        struct ma_error *error);

#endif
