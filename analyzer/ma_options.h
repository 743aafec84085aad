/* SPDX-License-Identifier: MIT
 *
 * The command line of mlog-analyze: parsing it into a request, and its help.
 */
#ifndef MA_OPTIONS_H
#define MA_OPTIONS_H

#include "ma_request.h"

enum ma_options_result { MA_OPTIONS_RUN, MA_OPTIONS_DONE, MA_OPTIONS_WRONG };

/* Parse. DONE: help or version was printed. WRONG: a sentence was printed. The
 * request points into argv; free it in every case. */
enum ma_options_result ma_options_parse(struct ma_request *request, int argc, char **argv);
void ma_options_free(struct ma_request *request);

#endif
