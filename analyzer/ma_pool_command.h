/* SPDX-License-Identifier: MIT
 *
 * The run of --pool over several traces: the pool that holds each of them, and so all.
 */
#ifndef MA_POOL_COMMAND_H
#define MA_POOL_COMMAND_H

#include "ma_error.h"
#include "ma_request.h"

/* Returns 0 or a negative errno with a message. */
int ma_pool_command(const struct ma_request *request, struct ma_error *error);

#endif
