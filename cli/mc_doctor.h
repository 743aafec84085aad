/* SPDX-License-Identifier: MIT
 *
 * What would stand in the way of a trace, and what to do about it: findings, a line each.
 * `mlog doctor` shows all of them, `mlog run` those that say no.
 */
#ifndef MC_DOCTOR_H
#define MC_DOCTOR_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

enum mc_level { MC_OK, MC_WARN, MC_FAIL };

struct mc_findings {
    FILE *out;
    enum mc_level least; /* that is shown */
    const char *prefix;  /* of a line; NULL: the level's word */
    enum mc_level worst; /* so far */
    unsigned shown;
    bool bars; /* a preloaded library would keep the program from starting, or be refused */
};

/* Add a finding. */
void mc_find(struct mc_findings *findings, enum mc_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Of a program, found by PATH; of what it is a script for. */
void mc_doctor_program(struct mc_findings *findings, const char *name);
/* Of debug information, which takes longer to find out. */
void mc_doctor_debug(struct mc_findings *findings, const char *path);
/* Of this machine, folder and shell. */
void mc_doctor_place(struct mc_findings *findings);
/* Of a running process. */
void mc_doctor_process(struct mc_findings *findings, pid_t pid);

#endif
