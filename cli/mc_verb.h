/* SPDX-License-Identifier: MIT
 *
 * The verbs of `mlog` and their options. A verb is one file that exports one constant,
 * and one row of MC_VERBS. Its options are a table of which everything is made: what
 * getopt parses, the help, and the completion of three shells.
 */
#ifndef MC_VERB_H
#define MC_VERB_H

#include <stdbool.h>
#include <stddef.h>

/* What a shell completes a value or an operand with. */
enum mc_complete {
    MC_COMPLETE_NOTHING,
    MC_COMPLETE_FILE,
    MC_COMPLETE_COMMAND, /* and behind it whatever completes that command */
    MC_COMPLETE_PROCESS, /* a program or the number of a process */
    MC_COMPLETE_VERB,
    MC_COMPLETE_WORDS, /* the words of the option, apart by blanks */
};

struct mc_option {
    const char *name;  /* NULL ends a table */
    int letter;        /* the short form, or 0 */
    const char *value; /* as the help calls it; in brackets if it may be left out; NULL: none */
    enum mc_complete complete;
    const char *words; /* of MC_COMPLETE_WORDS */
    const char *help;  /* one sentence, without a stop */
};

struct mc_verb {
    const char *name;
    const char *summary;             /* a line of `mlog help` */
    const char *usage;               /* behind "mlog NAME " */
    const char *text;                /* between usage and options, or NULL */
    const char *after;               /* behind the options, or NULL */
    const struct mc_option *options; /* NULL: those of `command` */
    const char *command;             /* the command that the verb executes, or NULL */
    enum mc_complete operand;
    const char *second; /* what a second operand may be, apart by blanks, or NULL */
    bool hidden;        /* not in the help */
    /* Do it. argv[0] is the verb. Returns the exit status. */
    int (*run)(int argc, char **argv);
};

/* The table: the verb `run` is mc_verb_run of mc_run.c. */
#define MC_VERBS(ROW)                                                                              \
    ROW(run)                                                                                       \
    ROW(ctl)                                                                                       \
    ROW(doctor)                                                                                    \
    ROW(analyze)                                                                                   \
    ROW(diff)                                                                                      \
    ROW(html)                                                                                      \
    ROW(plot)                                                                                      \
    ROW(sql)                                                                                       \
    ROW(help)                                                                                      \
    ROW(completion)

#define MC_VERB_DECLARE(name) extern const struct mc_verb mc_verb_##name;
MC_VERBS(MC_VERB_DECLARE)
#undef MC_VERB_DECLARE

extern const struct mc_verb *const mc_verbs[];
extern const size_t mc_verb_count;

/* Returns the verb of this name, or NULL. */
const struct mc_verb *mc_verb_find(const char *name);

#endif
