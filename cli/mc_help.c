/* SPDX-License-Identifier: MIT
 *
 * `mlog help [VERB]`.
 */
#include <string.h>

#include "mc_commands.h"
#include "mc_options.h"

static const struct mc_option options[] = {{0}};

static int help(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        mc_help_all(stdout);
        return mc_flush();
    }
    if (argc > 2)
        return mc_wrong(&mc_verb_help, "expected one verb");
    const struct mc_verb *verb = mc_verb_find(argv[1]);
    if (!verb)
        return mc_wrong(&mc_verb_help, "%s: not a verb; mlog help lists them", argv[1]);
    if (!verb->options) { /* those of the command, which has its own words for them */
        char *ask[] = {argv[1], (char *)"--help", NULL};
        return verb->run(2, ask);
    }
    mc_help_verb(stdout, verb);
    return mc_flush();
}

const struct mc_verb mc_verb_help = {
    .name = "help",
    .summary = "what a verb does, and its options",
    .usage = "[VERB]",
    .options = options,
    .operand = MC_COMPLETE_VERB,
    .run = help,
};
