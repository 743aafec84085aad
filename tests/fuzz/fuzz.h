/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share. A target is one file fuzz_NAME.c with the
 * entry of libFuzzer; linked with libFuzzer it searches, linked with
 * replay.c it runs a corpus once, as the test suite does.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ma_options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* A file in memory that holds data; *path is the name to open it by, valid
 * until the next call. Aborts if there is none to be had. Returns what to
 * close. */
int fuzz_file(const uint8_t *data, size_t size, const char **path);

/* The same as a pipe, whose writer has gone; size up to FUZZ_PIPE. */
#define FUZZ_PIPE ((size_t)1 << 20)
int fuzz_pipe(const uint8_t *data, size_t size, const char **path);

/* A command line of mlog-analyze without the trace, words between single blanks;
 * the rest is of fuzz_analyse. Its outputs are in vain: a main one goes nowhere,
 * exports name /dev/null. */
struct fuzz_command {
    const char *words;
    char *split; /* the words, which the request points into; NULL: not parsed yet */
    struct ma_request request;
};

/* Do what the command says with the trace at path, whatever comes of it, as
 * mlog-analyze does. `lanes`: with every piece decoded ahead on the second core,
 * though small traces are not worth it. */
void fuzz_analyse(const char *path, struct fuzz_command *command, bool lanes);

/* A number of the input, the same for the same input: to choose by. */
unsigned fuzz_choice(const uint8_t *data, size_t size);

/* /dev/null, where all outputs go. */
FILE *fuzz_nowhere(void);

/* Set the CRCs of all headers and chunks in a trace right, so that a mutation
 * is not refused before it is looked at. */
void fuzz_mend_crcs(uint8_t *data, size_t size);

#endif
