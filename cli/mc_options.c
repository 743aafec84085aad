/* SPDX-License-Identifier: MIT
 *
 * Help and parsing from tables of options; see mc_options.h.
 */
#include "mc_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <string.h>

#define COLUMN 28 /* where the help of an option begins */
#define WIDTH 86

/* Print text from column `column` on, broken at blanks. */
static void print_wrapped(FILE *out, const char *text, size_t column)
{
    size_t at = column;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (at > column && at + 1 + n > WIDTH) {
            fprintf(out, "\n%*s", (int)column, "");
            at = column;
        } else if (at > column) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, n, out);
        at += n;
        text += n;
        text += *text == ' ';
    }
    fputc('\n', out);
}

static void print_option(FILE *out, const struct mc_option *option)
{
    char head[80];
    const char *value = option->value ? option->value : "";
    snprintf(head, sizeof head, "  %c%c%s--%s%s%s", option->letter ? '-' : ' ',
             option->letter ? option->letter : ' ', option->letter ? ", " : "  ", option->name,
             !*value         ? ""
             : *value == '[' ? "[="
                             : " ",
             *value == '[' ? value + 1 : value);
    size_t n = strlen(head);
    if (n + 2 > COLUMN)
        fprintf(out, "%s\n%*s", head, COLUMN, "");
    else
        fprintf(out, "%-*s", COLUMN, head);
    print_wrapped(out, option->help, COLUMN);
}

void mc_help_all(FILE *out)
{
    fputs("Usage: mlog VERB [OPTION]... [ARGUMENT]...\n"
          "Record every heap event of a program, and explain its heap.\n\n",
          out);
    for (size_t i = 0; i < mc_verb_count; i++)
        if (!mc_verbs[i]->hidden)
            fprintf(out, "  %-10s %s\n", mc_verbs[i]->name, mc_verbs[i]->summary);
    fputs("\nThe beginning:  mlog run ./prog\n"
          "mlog help VERB tells all of one. Manual pages: mlog(1), libmlog(7).\n",
          out);
}

void mc_help_verb(FILE *out, const struct mc_verb *verb)
{
    fprintf(out, "Usage: mlog %s %s\n", verb->name, verb->usage);
    if (verb->text)
        fprintf(out, "%s\n", verb->text);
    fputc('\n', out);
    for (const struct mc_option *option = verb->options; option && option->name; option++)
        print_option(out, option);
    static const struct mc_option help = {.name = "help", .letter = 'h', .help = "this text"};
    print_option(out, &help);
    if (verb->after)
        fprintf(out, "\n%s\n", verb->after);
}

int mc_flush(void)
{
    if (fflush(stdout) == 0)
        return 0;
    fprintf(stderr, "mlog: standard output: %s\n", strerror(errno));
    return 1;
}

int mc_wrong(const struct mc_verb *verb, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "mlog %s: ", verb->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return 2;
}

int mc_option_next(const struct mc_verb *verb, int argc, char **argv)
{
    struct option all[MC_OPTIONS_MAX + 2] = {{0}};
    char letters[2 * MC_OPTIONS_MAX + 8] = "+:h";
    size_t n = 0, at = strlen(letters);
    for (; verb->options[n].name && n < MC_OPTIONS_MAX; n++) {
        const struct mc_option *option = &verb->options[n];
        int has = !option->value            ? no_argument
                  : option->value[0] == '[' ? optional_argument
                                            : required_argument;
        all[n] = (struct option){option->name, has, NULL, (int)(256 + n)};
        if (option->letter) {
            letters[at++] = (char)option->letter;
            if (has == required_argument)
                letters[at++] = ':';
        }
    }
    all[n] = (struct option){"help", no_argument, NULL, 'h'};
    opterr = 0;
    int found = getopt_long(argc, argv, letters, all, NULL);
    if (found == -1)
        return -1;
    if (found == 'h') {
        mc_help_verb(stdout, verb);
        return -3;
    }
    if (found >= 256)
        return found - 256;
    for (size_t i = 0; i < n && found != '?' && found != ':'; i++)
        if (verb->options[i].letter == found)
            return (int)i;
    const char *given = optind > 1 ? argv[optind - 1] : "";
    if (found == ':')
        mc_wrong(verb, "%s needs a value (mlog help %s)", given, verb->name);
    else if (optopt && optopt < 256)
        mc_wrong(verb, "-%c: no such option (mlog help %s)", optopt, verb->name);
    else if (optopt)
        mc_wrong(verb, "%s: this option takes no value (mlog help %s)", given, verb->name);
    else
        mc_wrong(verb, "%s: no such option, or the beginning of several (mlog help %s)", given,
                 verb->name);
    return -2;
}
