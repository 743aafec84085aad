/* SPDX-License-Identifier: MIT
 *
 * Reports on a trace that is being written: a fresh one every
 * request->interval ms, until the trace says that its last program has ended, or
 * SIGINT; then the last one.
 */
#ifndef MA_FOLLOW_H
#define MA_FOLLOW_H

#include <stdio.h>

#include "ma_analysis.h"

/* Write what the request asks for to out; `terminal` if that will be shown on
 * one. Returns 0 or a negative errno. */
typedef int ma_follow_write(struct ma_analysis *analysis, FILE *out, bool terminal,
                            struct ma_error *error);

/* Follow request->trace. Returns 0 or a negative errno with a message, -EILSEQ
 * if the trace turned out damaged. Takes SIGINT over while it runs. */
int ma_follow(const struct ma_request *request, ma_follow_write *write, struct ma_error *error);

#endif
