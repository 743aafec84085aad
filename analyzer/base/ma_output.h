/* SPDX-License-Identifier: MIT
 *
 * The destination of results: standard output, or a file that appears whole or
 * not at all (written beside its name, then renamed). FIFOs, devices and all
 * else that is no regular file are written straight. Every write error is
 * noticed.
 */
#ifndef MA_OUTPUT_H
#define MA_OUTPUT_H

#include <stdio.h>

#include "ma_error.h"

struct ma_output {
    FILE *file;
    char *path;      /* NULL: standard output */
    char *temporary; /* NULL: written straight */
};

/* path NULL or "-": standard output. */
int ma_output_open(struct ma_output *output, const char *path, struct ma_error *error);

/* Finish: 0, or a negative errno with a message and the file gone. */
int ma_output_commit(struct ma_output *output, struct ma_error *error);

/* Give up; harmless after a commit. */
void ma_output_discard(struct ma_output *output);

#endif
