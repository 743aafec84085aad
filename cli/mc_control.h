/* SPDX-License-Identifier: MIT
 *
 * The control page of a traced process (mlf_control.h) from outside: found through
 * /proc/PID/fd, where the kernel asks who may. What stands in it is the process's word,
 * and bounded before it is used.
 */
#ifndef MC_CONTROL_H
#define MC_CONTROL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mlf_control.h"

enum mc_control_problem {
    MC_CONTROL_FOUND,
    MC_CONTROL_NO_PROCESS,
    MC_CONTROL_DENIED,
    MC_CONTROL_UNTRACED, /* libmlog.so is not in it */
    MC_CONTROL_CLOSED,   /* it is, but no descriptor leads to the page */
    MC_CONTROL_PARENTS,  /* a fork's child that made no event: the page is its parent's */
    MC_CONTROL_OVER,     /* such a child of a process whose recording was over */
    MC_CONTROL_FOREIGN,  /* of a version that this command does not know, or damaged */
};

struct mc_control {
    pid_t pid;
    int fd;
    struct mlf_control *page;
    char name[32]; /* comm */
};

/* What the page says, at one moment. */
struct mc_control_state {
    uint32_t state, stop_reason, stop_errno, layout, paused_by;
    uint64_t sampling, events, bytes, lost, pauses, paused_ns, since_ns, taken_ns, started_ns;
    char writer[sizeof((struct mlf_control *)0)->writer + 1];
    char target[MLF_CONTROL_TARGET + 1];
};

/* Open the page of a process; to be closed if it is found. */
enum mc_control_problem mc_control_open(struct mc_control *control, pid_t pid);
void mc_control_close(struct mc_control *control);
/* What is in the way, as a sentence behind "process N". */
const char *mc_control_problem_text(enum mc_control_problem problem);

void mc_control_read(const struct mc_control *control, struct mc_control_state *state);

/* What came of a request. */
enum mc_control_outcome {
    MC_CONTROL_ANSWERED,
    MC_CONTROL_WAITS, /* in the page, for the process's next event */
    MC_CONTROL_BUSY,  /* too many wait, or somebody else asks without end */
    MC_CONTROL_ENDED, /* the recording is over */
};

/* Ask: MC_CONTROL_WAITS with the request's *number, or another outcome. */
enum mc_control_outcome mc_control_ask(const struct mc_control *control, unsigned command,
                                       const char *text, uint32_t *number);
/* Wait for the answer until a moment of mc_control_now; *result is the page's. */
enum mc_control_outcome mc_control_await(const struct mc_control *control, uint32_t number,
                                         uint64_t until, int *result);

const char *mc_control_state_name(uint32_t state);
/* Why recording stopped, enum mlf_loss. */
const char *mc_control_stop_name(uint32_t reason);
uint64_t mc_control_now(void);

#endif
