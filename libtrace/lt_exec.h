/* SPDX-License-Identifier: MIT
 *
 * Programs that the traced one executes: the trace's descriptor is put back for
 * them where their starter closed it, and an EXEC record tells of each, so that a
 * reader knows which ones are missing. May run in a vfork's child, which shares
 * our memory and not our descriptors: there the sink is called only if the trace can
 * be reached from it.
 */
#ifndef LT_EXEC_H
#define LT_EXEC_H

#include <stdint.h>

#include "lt_sink.h"

/* An execution under way. */
struct lt_exec {
    uint32_t state;           /* MLF_EXEC_* as far as known before the call */
    enum lt_put_back changed; /* what was done to descriptor 1022 */
};

/* Once, in the constructor: whether it is LD_PRELOAD that loads this library. */
void lt_exec_setup(void);

/* A program is going to be executed with the environment `env`: put descriptor 1022
 * back. errno is kept. */
void lt_exec_prepare(struct lt_exec *exec, char *const env[]);
/* Write the record: `pid` executes, or executed, `path`. */
void lt_exec_record(const struct lt_exec *exec, int pid, const char *path);
/* The call returned, so it failed: take the record of this pid back. errno is kept. */
void lt_exec_failed(const struct lt_exec *exec, int pid);
/* Have descriptor 1022 as it was before lt_exec_prepare. errno is kept. */
void lt_exec_undo(const struct lt_exec *exec);

#endif
