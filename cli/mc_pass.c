/* SPDX-License-Identifier: MIT
 *
 * `mlog analyze`, `mlog diff` and `mlog plot`: the other commands, with their own options.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mc_commands.h"
#include "mc_verb.h"

static int analyze(int argc, char **argv)
{
    (void)argc;
    return mc_execute("mlog-analyze", argv);
}

static int diff(int argc, char **argv)
{
    char **more = calloc((size_t)argc + 2, sizeof *more);
    if (!more) {
        fputs("mlog: memory ran out\n", stderr);
        return 1;
    }
    more[1] = (char *)"--diff";
    for (int i = 1; i < argc; i++)
        more[i + 1] = argv[i];
    int status = mc_execute("mlog-analyze", more);
    free(more);
    return status;
}

static int plot(int argc, char **argv)
{
    (void)argc;
    return mc_execute("mlog-plot", argv);
}

const struct mc_verb mc_verb_analyze = {
    .name = "analyze",
    .summary = "tell what a trace holds: leaks, peak, who allocates",
    .usage = "[OPTION]... TRACE",
    .command = "mlog-analyze",
    .operand = MC_COMPLETE_FILE,
    .run = analyze,
};
const struct mc_verb mc_verb_diff = {
    .name = "diff",
    .summary = "what changed between two traces",
    .usage = "[OPTION]... OLD NEW",
    .command = "mlog-analyze",
    .operand = MC_COMPLETE_FILE,
    .run = diff,
};
const struct mc_verb mc_verb_plot = {
    .name = "plot",
    .summary = "draw the heap over time: PDF, PNG or SVG",
    .usage = "[OPTION]... TRACE -o FILE",
    .command = "mlog-plot",
    .operand = MC_COMPLETE_FILE,
    .run = plot,
};
