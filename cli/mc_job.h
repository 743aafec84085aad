/* SPDX-License-Identifier: MIT
 *
 * The program that is run, as if it had been typed: in our process group and on our
 * terminal, with the signals, descriptors and limits that we got. What the terminal sends
 * (Ctrl-C, Ctrl-Z) comes to both: we leave it to the program and do as it does, stop when
 * it stops and end when it ends. What somebody sends to us alone is passed on.
 */
#ifndef MC_JOB_H
#define MC_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "mc_trace.h"

struct mc_job {
    char **argv;            /* the program; found by PATH */
    struct mc_trace *trace; /* placed in the program's process; its path comes back */
    const char *library;    /* to be preloaded; NULL: none can be */
    const char *compress;   /* for MLOG_COMPRESS, or NULL */
    bool paused;            /* MLOG_START=paused */
    pid_t pid;              /* once it has started */
    int status;             /* as of waitid: si_status, and: */
    bool killed, core;      /* by that signal */
    sigset_t mask;          /* what was blocked before mc_job_begin */
    /* Called for SIGUSR1, SIGUSR2 and SIGQUIT that were sent to us. */
    void (*asked)(void *context, int number);
    void *context;
};

/* Take over the signals: from here on until the end of this process. */
void mc_job_begin(struct mc_job *job);

/* Become the program. Returns only if that fails, the exit status, with a sentence on
 * standard error. */
int mc_job_become(struct mc_job *job);

/* Start it. Returns 0, or the exit status with a sentence printed. */
int mc_job_start(struct mc_job *job);

/* Do as the program does until it ends. */
void mc_job_wait(struct mc_job *job);

/* The exit status that says how it ended: 128 + n for a signal. */
int mc_job_exit_status(const struct mc_job *job);

#endif
