/* SPDX-License-Identifier: MIT
 *
 * Completion for bash: one function, with the lists of each verb in a case. It uses
 * bash-completion where that is loaded, and does without.
 */
#include <stdio.h>
#include <string.h>

#include "mc_completion.h"

static void begin(void)
{
    printf("# bash completion for mlog, made by the build from its tables of options\n"
           "_mlog() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i word\n"
           "    local opts= valued= files= operand= second= words= verbs='");
    const char *blank = "";
    for (size_t i = 0; i < mc_verb_count; i++) {
        if (mc_verbs[i]->hidden)
            continue;
        printf("%s%s", blank, mc_verbs[i]->name);
        blank = " ";
    }
    printf("'\n"
           "    local equals=\n"
           "    COMPREPLY=()\n"
           "    if [[ $cur == = ]]; then equals=1 cur=\n"
           "    elif [[ $prev == = ]]; then equals=1 prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
           "    if ((COMP_CWORD == 1)); then\n"
           "        COMPREPLY=($(compgen -W \"$verbs --help --version\" -- \"$cur\"))\n"
           "        return\n"
           "    fi\n"
           "    case ${COMP_WORDS[1]} in\n");
}

static void verb(const struct mc_verb *verb)
{
    static const char *const operands[] = {
        [MC_COMPLETE_NOTHING] = "nothing", [MC_COMPLETE_FILE] = "file",
        [MC_COMPLETE_COMMAND] = "command", [MC_COMPLETE_PROCESS] = "process",
        [MC_COMPLETE_VERB] = "verb",       [MC_COMPLETE_WORDS] = "nothing"};
    printf("    %s)\n        operand=%s\n", verb->name, operands[verb->operand]);
    if (verb->second)
        printf("        second='%s'\n", verb->second);
}

static void option(const struct mc_verb *verb, const struct mc_option *option)
{
    (void)verb;
    const bool valued = option->value && option->value[0] != '[';
    printf("        opts+=' --%s'\n", option->name);
    if (valued)
        printf("        valued+=' --%s '\n", option->name);
    if (valued && option->letter)
        printf("        valued+=' -%c '\n", option->letter);
    if (option->complete == MC_COMPLETE_FILE)
        printf("        files+=' --%s '\n", option->name);
    if (option->complete == MC_COMPLETE_FILE && option->letter)
        printf("        files+=' -%c '\n", option->letter);
    if (option->complete == MC_COMPLETE_WORDS)
        printf("        [[ $prev == --%s ]] && words='%s'\n", option->name, option->words);
    if (option->complete == MC_COMPLETE_WORDS && option->letter)
        printf("        [[ $prev == -%c ]] && words='%s'\n", option->letter, option->words);
}

static void verb_end(const struct mc_verb *verb)
{
    (void)verb;
    puts("        ;;");
}

static void end(void)
{
    puts("    *) return ;;\n"
         "    esac\n"
         "    # The first operand; behind a program everything is the program's.\n"
         "    for ((i = 2; i < COMP_CWORD; i++)); do\n"
         "        word=${COMP_WORDS[i]}\n"
         "        if [[ $word == -- ]]; then i=$((i + 1)); break; fi\n"
         "        if [[ $word == = ]]; then i=$((i + 1)); continue; fi\n"
         "        [[ $word == -?* ]] || break\n"
         "        [[ $valued == *\" $word \"* && ${COMP_WORDS[i+1]} != = ]] && i=$((i + 1))\n"
         "    done\n"
         "    if ((i < COMP_CWORD)) && [[ $operand == command ]]; then\n"
         "        if declare -F _command_offset >/dev/null; then _command_offset \"$i\"\n"
         "        else COMPREPLY=($(compgen -f -- \"$cur\")); fi\n"
         "        return\n"
         "    fi\n"
         "    if ((i + 1 == COMP_CWORD)) && [[ -n $second && $cur != -* ]]; then\n"
         "        COMPREPLY=($(compgen -W \"$second\" -- \"$cur\"))\n"
         "        return\n"
         "    fi\n"
         "    if [[ -n $words ]]; then\n"
         "        COMPREPLY=($(compgen -P \"${cur%\"${cur##*,}\"}\" -W \"$words\" -- "
         "\"${cur##*,}\"))\n"
         "    elif [[ $files == *\" $prev \"* &&\n"
         "        (-n $equals || $valued == *\" $prev \"*) ]]; then\n"
         "        compopt -o filenames 2>/dev/null\n"
         "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
         "    elif [[ $valued == *\" $prev \"* ]]; then\n"
         "        return\n"
         "    elif [[ $cur == -* ]]; then\n"
         "        COMPREPLY=($(compgen -W \"$opts\" -- \"$cur\"))\n"
         "    else\n"
         "        case $operand in\n"
         "        verb) COMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\")) ;;\n"
         "        nothing) ;;\n"
         "        *)\n"
         "            compopt -o filenames 2>/dev/null\n"
         "            COMPREPLY=($(compgen -f -- \"$cur\"))\n"
         "            [[ $operand == file || $cur == */* ]] || "
         "COMPREPLY+=($(compgen -c -- \"$cur\"))\n"
         "            ;;\n"
         "        esac\n"
         "    fi\n"
         "}\n"
         "complete -F _mlog mlog");
}

const struct mc_shell mc_shell_bash = {"bash", begin, verb, option, verb_end, end};
