/* SPDX-License-Identifier: MIT
 *
 * --bundle: a trace and the symbol data it needs in one file (FORMAT.md section
 * 11), which tells the same on any machine. Reading is ma_source's part.
 */
#ifndef MA_BUNDLE_H
#define MA_BUNDLE_H

#include <stdio.h>

#include "ma_analysis.h"

/*
 * The trace is read twice. If it cannot be (a pipe, standard input), copies it
 * to an unnamed temporary file and sets *path to a name for that, which is
 * good as long as *file is open; else leaves both NULL. Returns 0 or a negative
 * errno with a message.
 */
int ma_bundle_spool(const char *trace, FILE **file, char **path, struct ma_error *error);

/* Writes the bundle of an analysis that has been run, with all its names, to
 * `out`, whose errors the caller notices. Returns 0 or a negative errno with a
 * message. */
int ma_bundle_write(struct ma_analysis *analysis, FILE *out, struct ma_error *error);

#endif
