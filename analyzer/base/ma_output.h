/* SPDX-License-Identifier: MIT
 *
 * Where results go: standard output, or a file that appears whole or not at
 * all (written beside its name, then renamed). What is no regular file, such
 * as a FIFO or /dev/full, is written straight. Every write error is noticed.
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
