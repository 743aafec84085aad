/* SPDX-License-Identifier: MIT
 *
 * What `mlog run` tells of a trace, by asking mlog-analyze: the live tables while the
 * program runs, and the verdict, reports and files when it has ended. All of it goes to
 * standard error: standard output is the program's.
 */
#ifndef MC_VIEW_H
#define MC_VIEW_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

#define MC_VIEW_MANY 32 /* of one option */

struct mc_view {
    const char *trace;    /* the file */
    const sigset_t *mask; /* what mlog-analyze is to run with */
    const char *top;      /* NULL: as mlog-analyze has it */
    const char *sort;     /* keys with commas between, or NULL */
    const char *reports;  /* names with commas between, or NULL */
    const char *fail_on[MC_VIEW_MANY];
    const char *suppressions[MC_VIEW_MANY];
    char *ignore[MC_VIEW_MANY]; /* regular expressions of what is left out */
    size_t n_fail_on, n_suppressions, n_ignore;
    bool flame_graph; /* and where: NULL, as folded text among the reports */
    const char *flame_file;
    const char *outfile; /* a report FILE.PID.COMM of each process, or NULL */
    bool quiet;
    bool growing;  /* the program left a process that still writes */
    char from[48]; /* where the window begins; "" at the start */
};

/* Take a list of keys as --sort has it: heaptrace's words, too. Returns NULL, or the end
 * of a sentence. */
const char *mc_view_check_sort(const char *keys);

/* The reports of mlog-analyze that need no value, but --brief, which stands alone. */
#define MC_REPORTS                                                                                 \
    "summary leaks peak allocations timeline per-process temporary churn sizes lifetimes threads " \
    "reallocs savepoints tree wrong-frees footer pool"

/* Returns NULL, or the end of a sentence that says which reports there are. */
const char *mc_view_check_reports(const char *names);

/* Read a file of names to leave out, one a line. Returns NULL or the end of a sentence. */
const char *mc_view_read_ignore(struct mc_view *view, const char *path);

/* Answer SIGUSR1 (by bytes), SIGUSR2 (by blocks), SIGQUIT (a new window). */
void mc_view_asked(struct mc_view *view, int number);

/* Tell all that was asked for when the program has ended. Returns 0, 3 if a condition
 * holds, or 1 if something could not be told. */
int mc_view_end(struct mc_view *view);

/* Start mlog-analyze on a pipe. Returns its pid or a negative errno. */
int mc_view_start_pipe(struct mc_view *view, int reader);

#endif
