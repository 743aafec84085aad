/* SPDX-License-Identifier: MIT
 *
 * mlog: the command. Finds the verb in the table and calls it; knows nothing of any.
 */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "mc_options.h"
#include "mc_verb.h"
#include "mlog_version.h"

#define MC_VERB_ROW(name) &mc_verb_##name,
const struct mc_verb *const mc_verbs[] = {MC_VERBS(MC_VERB_ROW)};
#undef MC_VERB_ROW
const size_t mc_verb_count = sizeof mc_verbs / sizeof *mc_verbs;

const struct mc_verb *mc_verb_find(const char *name)
{
    for (size_t i = 0; i < mc_verb_count; i++)
        if (strcmp(mc_verbs[i]->name, name) == 0)
            return mc_verbs[i];
    return NULL;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    if (argc < 2) {
        mc_help_all(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("mlog %s\n", MLOG_VERSION);
        return mc_flush();
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        mc_help_all(stdout);
        return mc_flush();
    }
    const struct mc_verb *verb = mc_verb_find(argv[1]);
    if (!verb) {
        fprintf(stderr,
                "mlog: %s: not a verb; mlog help lists them, and a program is traced by: "
                "mlog run %s\n",
                argv[1], argv[1]);
        return 2;
    }
    return verb->run(argc - 1, argv + 1);
}
