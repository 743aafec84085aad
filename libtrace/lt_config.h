/* SPDX-License-Identifier: MIT
 *
 * The configuration: the user's wishes in the environment. Read once a program
 * image, and by raw means: the first event may come before libc has set up
 * `environ`.
 */
#ifndef LT_CONFIG_H
#define LT_CONFIG_H

#include <stdbool.h>

#include "lt_unwind.h"

struct lt_config {
    char out[1024];             /* MLOG_OUT as it was given; "" not given */
    bool out_per_process;       /* it has a %p or %c: each program image has a file */
    bool out_numbered;          /* it has a %n */
    bool debug;                 /* MLOG_DEBUG set and not "" or "0" */
    enum lt_unwind_mode unwind; /* MLOG_UNWIND=cfi|fp */
    uint32_t depth;             /* MLOG_DEPTH: the most frames of a stack; 0: not given */
    bool drop;                  /* MLOG_ON_FULL=drop: lose events rather than wait */
    bool write_file;            /* MLOG_FILE=write: never map a regular file */
    bool start_paused;          /* MLOG_START=paused: record nothing until asked to */
    bool drop_deepbind;         /* MLOG_DEEPBIND=drop: dlopen without RTLD_DEEPBIND */
    bool totals;                /* MLOG_TOTALS set and not "" or "0" */
    bool free_stacks;           /* MLOG_FREE_STACKS set and not "" or "0" */
    int zstd_level;             /* MLOG_COMPRESS=zstd[:LEVEL]; 0: not compressed */
};
extern struct lt_config lt_config;

void lt_config_read(void);
/* MLOG_STATS by itself, which is asked for before the rest: 1, 0, or -1, not given. */
int lt_config_stats(void);
/* The name that MLOG_OUT stands for, %n being `number`, with ".suffix" behind it
 * unless that is 0. False: it is too long. */
bool lt_config_out_name(char *to, size_t size, unsigned number, unsigned suffix);

#endif
