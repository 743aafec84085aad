/* SPDX-License-Identifier: MIT
 *
 * `mlog analyze`, `mlog diff`, `mlog html`, `mlog plot` and `mlog sql`: the other commands, with
 * their own options.
 */
#include "mc_commands.h"
#include "mc_verb.h"

static int pass(int argc, char **argv)
{
    (void)argc;
    return mc_execute(mc_verb_find(argv[0])->command, NULL, argv);
}

static int diff(int argc, char **argv)
{
    (void)argc;
    return mc_execute(mc_verb_diff.command, "--diff", argv);
}

static int html(int argc, char **argv)
{
    (void)argc;
    return mc_execute(mc_verb_html.command, "--html-beside", argv);
}

const struct mc_verb mc_verb_analyze = {
    .name = "analyze",
    .summary = "tell what a trace holds: leaks, peak, who allocates",
    .usage = "[OPTION]... TRACE",
    .command = "mlog-analyze",
    .operand = MC_COMPLETE_FILE,
    .run = pass,
};
const struct mc_verb mc_verb_diff = {
    .name = "diff",
    .summary = "what changed between two traces",
    .usage = "[OPTION]... OLD NEW",
    .command = "mlog-analyze",
    .operand = MC_COMPLETE_FILE,
    .run = diff,
};
const struct mc_verb mc_verb_html = {
    .name = "html",
    .summary = "one interactive page for the browser, beside the trace",
    .usage = "[OPTION]... TRACE [-o FILE]",
    .command = "mlog-analyze",
    .operand = MC_COMPLETE_FILE,
    .run = html,
};
const struct mc_verb mc_verb_plot = {
    .name = "plot",
    .summary = "draw the heap over time: PDF, PNG or SVG",
    .usage = "[OPTION]... TRACE -o FILE",
    .command = "mlog-plot",
    .operand = MC_COMPLETE_FILE,
    .run = pass,
};
const struct mc_verb mc_verb_sql = {
    .name = "sql",
    .summary = "ask a trace by SQL, or make a database of it",
    .usage = "[OPTION]... TRACE|DATABASE [-o FILE] [QUESTION]",
    .command = "mlog-sql",
    .operand = MC_COMPLETE_FILE,
    .run = pass,
};
