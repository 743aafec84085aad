/* SPDX-License-Identifier: MIT
 *
 * `mlog completion SHELL`: the completion of a shell, made of the verbs' tables and, for a
 * verb that is another command, of that one's help. The build calls it; people have no need to.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mc_commands.h"
#include "mc_completion.h"
#include "mc_options.h"

#define HELP_MAX ((size_t)1 << 20)

static const struct mc_option options[] = {{0}};
static const struct mc_option help_option = {.name = "help", .letter = 'h', .help = "this text"};

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || c == '-';
}

/* The next option of a help text: two dashes and a name at the begin of a line or behind a
 * comma. Returns what follows it, or NULL. */
static const char *next_option(const char *at, char *name, size_t size, bool *valued)
{
    for (const char *p = at; (p = strstr(p, "--")) != NULL; p += 2) {
        const char *line = p;
        while (line > at && line[-1] == ' ')
            line--;
        if (line > at && line[-1] != '\n' && line[-1] != ',')
            continue;
        size_t n = 0;
        while (is_name(p[2 + n]))
            n++;
        if (n < 2 || n >= size)
            continue;
        memcpy(name, p + 2, n);
        name[n] = 0;
        const char *after = p + 2 + n;
        *valued = (*after == ' ' && after[1] >= 'A' && after[1] <= 'Z') || *after == '=';
        return after;
    }
    return NULL;
}

/* Make a table of the options that a command's help lists. Never freed: the process ends. */
static const struct mc_option *options_of(const char *command)
{
    char path[PATH_MAX], name[64];
    int status = 1;
    sigset_t none;
    bool valued;
    size_t n = 0;
    sigemptyset(&none);
    struct mc_option *all = calloc(MC_OPTIONS_MAX * 2, sizeof *all);
    char *argv[] = {path, (char *)"--help", NULL};
    char *text =
        all && mc_find_command(command, path) ? mc_capture(argv, HELP_MAX, &none, &status) : NULL;
    if (!text || status != 0)
        return NULL;
    for (const char *at = text; n < MC_OPTIONS_MAX * 2 - 1 &&
                                (at = next_option(at, name, sizeof name, &valued)) != NULL;) {
        bool known = strcmp(name, "help") == 0;
        for (size_t i = 0; i < n; i++)
            known |= strcmp(all[i].name, name) == 0;
        if (!known)
            all[n++] = (struct mc_option){
                .name = strdup(name),
                .letter = strcmp(name, "output") == 0 ? 'o' : 0,
                .value = valued ? "VALUE" : NULL,
                .complete = valued ? MC_COMPLETE_FILE : MC_COMPLETE_NOTHING,
                .help = "",
            };
    }
    return all;
}

static int complete(int argc, char **argv)
{
    const struct mc_shell *shells[] = {&mc_shell_bash, &mc_shell_zsh, &mc_shell_fish};
    const struct mc_shell *shell = NULL;
    for (size_t i = 0; argc == 2 && i < 3; i++)
        if (strcmp(argv[1], shells[i]->name) == 0)
            shell = shells[i];
    if (!shell)
        return mc_wrong(&mc_verb_completion, "expected one of bash, zsh, fish");
    shell->begin();
    for (size_t i = 0; i < mc_verb_count; i++) {
        const struct mc_verb *verb = mc_verbs[i];
        if (verb->hidden)
            continue;
        const struct mc_option *table = verb->options ? verb->options : options_of(verb->command);
        if (!table) {
            fprintf(stderr, "mlog completion: %s --help fails, from which it is made\n",
                    verb->command);
            return 1;
        }
        shell->verb(verb);
        for (const struct mc_option *option = table; option->name; option++)
            shell->option(verb, option);
        shell->option(verb, &help_option);
        shell->verb_end(verb);
    }
    shell->end();
    return mc_flush();
}

const struct mc_verb mc_verb_completion = {
    .name = "completion",
    .summary = "completion for a shell",
    .usage = "bash | zsh | fish",
    .options = options,
    .hidden = true,
    .run = complete,
};
