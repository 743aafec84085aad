/* SPDX-License-Identifier: MIT
 *
 * Writers of completions, one for each shell: called for every verb that is not hidden, and
 * for each of its options, in order. They write to standard output.
 */
#ifndef MC_COMPLETION_H
#define MC_COMPLETION_H

#include "mc_verb.h"

struct mc_shell {
    const char *name;
    void (*begin)(void);
    void (*verb)(const struct mc_verb *verb);
    void (*option)(const struct mc_verb *verb, const struct mc_option *option);
    void (*verb_end)(const struct mc_verb *verb);
    void (*end)(void);
};

extern const struct mc_shell mc_shell_bash, mc_shell_zsh, mc_shell_fish;

#endif
