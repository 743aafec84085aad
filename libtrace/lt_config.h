/* SPDX-License-Identifier: MIT
 *
 * What the user asked for in the environment. Read once a program image, and
 * by raw means: the first event may come before libc has set up `environ`.
 */
#ifndef LT_CONFIG_H
#define LT_CONFIG_H

#include <stdbool.h>

#include "lt_unwind.h"

struct lt_config {
    char out[1024];             /* MLOG_OUT with %p and %% replaced; "" not given */
    bool out_per_process;       /* it had a %p */
    bool debug;                 /* MLOG_DEBUG set and not "" or "0" */
    enum lt_unwind_mode unwind; /* MLOG_UNWIND=cfi|fp */
};
extern struct lt_config lt_config;

void lt_config_read(int pid);

#endif
