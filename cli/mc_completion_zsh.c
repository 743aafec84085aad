/* SPDX-License-Identifier: MIT
 *
 * Completion for zsh: the specifications of _arguments, a case for each verb.
 */
#include <stdio.h>
#include <string.h>

#include "mc_completion.h"

/* Print text within single quotes; what _arguments gives a meaning is escaped. */
static void put(const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", stdout);
        else if (strchr("[]:\\", *text))
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void begin(void)
{
    puts("#compdef mlog\n"
         "# Completion for mlog, made by the build from its tables of options.\n"
         "_mlog() {\n"
         "    local -a verbs\n"
         "    verbs=(");
    for (size_t i = 0; i < mc_verb_count; i++) {
        if (mc_verbs[i]->hidden)
            continue;
        printf("        '%s:", mc_verbs[i]->name);
        put(mc_verbs[i]->summary);
        puts("'");
    }
    puts("    )\n"
         "    if (( CURRENT == 2 )); then\n"
         "        _describe verb verbs\n"
         "        return\n"
         "    fi\n"
         "    local verb=$words[2]\n"
         "    shift words\n"
         "    (( CURRENT-- ))\n"
         "    case $verb in");
}

static void verb(const struct mc_verb *verb)
{
    printf("    %s) _arguments -S%s", verb->name,
           verb->operand == MC_COMPLETE_COMMAND ? " -A '-*'" : "");
}

static void option(const struct mc_verb *verb, const struct mc_option *option)
{
    (void)verb;
    const bool maybe = option->value && option->value[0] == '[';
    fputs(" \\\n        ", stdout);
    if (option->letter)
        printf("'*'{-%c%s,--%s%s}'[", option->letter, option->value && !maybe ? "+" : "",
               option->name,
               !option->value ? ""
               : maybe        ? "=-"
                              : "=");
    else
        printf("'*--%s%s[", option->name, !option->value ? "" : maybe ? "=-" : "=");
    put(option->help);
    putchar(']');
    if (option->value) {
        fputs(maybe ? "::" : ":", stdout);
        fputs("value:", stdout);
        if (option->complete == MC_COMPLETE_FILE)
            fputs("_files", stdout);
        else if (option->complete == MC_COMPLETE_WORDS)
            printf("_sequence compadd - %s", option->words);
        else
            putchar(' ');
    }
    putchar('\'');
}

static void verb_end(const struct mc_verb *verb)
{
    static const char *const operands[] = {
        [MC_COMPLETE_NOTHING] = "",
        [MC_COMPLETE_FILE] = " \\\n        '*:file:_files'",
        [MC_COMPLETE_COMMAND] =
            " \\\n        '(-)1:program:_command_names -e' '*::argument:_normal'",
        [MC_COMPLETE_PROCESS] = " \\\n        '1:program or process:{ _command_names -e; _pids }'",
        [MC_COMPLETE_VERB] = " \\\n        '1:verb:{ _describe verb verbs }'",
        [MC_COMPLETE_WORDS] = ""};
    fputs(operands[verb->operand], stdout);
    if (verb->second)
        printf(" \\\n        '2:command:(%s)'", verb->second);
    puts(" ;;");
}

static void end(void)
{
    puts("    esac\n"
         "}\n"
         "if [[ $funcstack[1] == _mlog ]]; then _mlog \"$@\"; else compdef _mlog mlog; fi");
}

const struct mc_shell mc_shell_zsh = {"zsh", begin, verb, option, verb_end, end};
