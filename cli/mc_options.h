/* SPDX-License-Identifier: MIT
 *
 * What is made of a verb's table of options: its help, and what getopt_long takes.
 */
#ifndef MC_OPTIONS_H
#define MC_OPTIONS_H

#include <stdio.h>

#include "mc_verb.h"

#define MC_OPTIONS_MAX 64

/* Print `mlog help`. */
void mc_help_all(FILE *out);
/* Print `mlog help NAME`. */
void mc_help_verb(FILE *out, const struct mc_verb *verb);
/* Flush standard output. Returns the exit status: 1, with a sentence, if that fails. */
int mc_flush(void);

/* Returns the index of the next option in the verb's table, its value in optarg; -1 at the
 * end of the options, which is the first operand; -2 if one is wrong, of which a sentence
 * was printed. --help, -h: prints the help and returns -3. */
int mc_option_next(const struct mc_verb *verb, int argc, char **argv);

/* Print "mlog VERB: " and the sentence. Returns 2, the exit status of wrong use. */
int mc_wrong(const struct mc_verb *verb, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
