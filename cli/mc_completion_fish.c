/* SPDX-License-Identifier: MIT
 *
 * Completion for fish: a `complete` line for each verb and option.
 */
#include <stdio.h>

#include "mc_completion.h"

/* Print text within single quotes. */
static void put(const char *text)
{
    putchar('\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

static void begin(void)
{
    puts("# fish completion for mlog, made by the build from its tables of options\n"
         "complete -c mlog -f\n"
         "complete -c mlog -n __fish_use_subcommand -l version -d version");
    for (size_t i = 0; i < mc_verb_count; i++) {
        if (mc_verbs[i]->hidden)
            continue;
        printf("complete -c mlog -n __fish_use_subcommand -a %s -d ", mc_verbs[i]->name);
        put(mc_verbs[i]->summary);
        putchar('\n');
    }
}

static void verb(const struct mc_verb *verb)
{
    static const char *const operands[] = {
        [MC_COMPLETE_NOTHING] = NULL,
        [MC_COMPLETE_FILE] = "-F",
        [MC_COMPLETE_COMMAND] = "-a '(__fish_complete_subcommand --fcs-skip=2)'",
        [MC_COMPLETE_PROCESS] = "-F -a '(__fish_complete_pids) (__fish_complete_command)'",
        [MC_COMPLETE_VERB] = NULL,
        [MC_COMPLETE_WORDS] = NULL};
    if (operands[verb->operand])
        printf("complete -c mlog -n '__fish_seen_subcommand_from %s' %s\n", verb->name,
               operands[verb->operand]);
    if (verb->second)
        printf("complete -c mlog -n '__fish_seen_subcommand_from %s' -a '%s'\n", verb->name,
               verb->second);
    for (size_t i = 0; verb->operand == MC_COMPLETE_VERB && i < mc_verb_count; i++)
        if (!mc_verbs[i]->hidden)
            printf("complete -c mlog -n '__fish_seen_subcommand_from %s' -a %s\n", verb->name,
                   mc_verbs[i]->name);
}

static void option(const struct mc_verb *verb, const struct mc_option *option)
{
    printf("complete -c mlog -n '__fish_seen_subcommand_from %s' -l %s", verb->name, option->name);
    if (option->letter)
        printf(" -s %c", option->letter);
    if (option->value && option->value[0] != '[')
        fputs(option->complete == MC_COMPLETE_FILE ? " -r -F" : " -x", stdout);
    if (option->complete == MC_COMPLETE_WORDS) {
        fputs(" -a ", stdout);
        put(option->words);
    }
    if (option->help[0]) {
        fputs(" -d ", stdout);
        put(option->help);
    }
    putchar('\n');
}

static void verb_end(const struct mc_verb *verb)
{
    (void)verb;
}

static void end(void)
{
}

const struct mc_shell mc_shell_fish = {"fish", begin, verb, option, verb_end, end};
