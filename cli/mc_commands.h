/* SPDX-License-Identifier: MIT
 *
 * Where the parts of mlog are: in the build tree, or as installed, beside the running
 * command, else where the system looks. And running the other commands.
 */
#ifndef MC_COMMANDS_H
#define MC_COMMANDS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mc_elf;

/* Find the library, the first one for the program's processor, else the first one; program
 * may be NULL. Returns false, with the first place where it was looked for in `path`, if
 * there is none beside the command, in LD_LIBRARY_PATH and the system's folders. */
bool mc_find_library(const struct mc_elf *program, char path[PATH_MAX]);

/* Find mlog-analyze or mlog-plot. Returns false if there is none: then `path` is the bare
 * name. */
bool mc_find_command(const char *name, char path[PATH_MAX]);

/* Find a program as a shell would: by PATH unless its name has a slash. Returns false if
 * there is none. */
bool mc_find_program(const char *name, char path[PATH_MAX]);

/* Replace this process by the command, given `option` (NULL: none), then argv[1] and on.
 * Returns the exit status, with a sentence printed, if that fails. */
int mc_execute(const char *name, const char *option, char **argv);

/* Run argv, its standard input being `in`, output `out`, error `error` (-1: /dev/null), in
 * the signal mask `mask` and with SIGINT and SIGQUIT ignored if `shielded`. Returns its pid
 * or a negative errno. */
pid_t mc_start(char *const argv[], int in, int out, int error, const void *mask, bool shielded);

/* Wait for it, whatever signals come. Returns its exit status, 128 + n for a signal. */
int mc_wait(pid_t pid);

/* Run argv and read its standard output, at most `max` bytes. Owned by the caller, with a
 * NUL behind it; NULL if it cannot be run. *status is its exit status. */
char *mc_capture(char *const argv[], size_t max, const void *mask, int *status);

/* Move a descriptor above those of the standard streams, close-on-exec. Returns the new
 * one, or a negative errno; the old one is closed in either case. */
int mc_move_up(int fd);

#endif
