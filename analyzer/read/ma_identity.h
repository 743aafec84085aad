/* SPDX-License-Identifier: MIT
 *
 * Which processes of a trace may be the same one: a pid means something within one pid
 * namespace of one machine, its place. Containers that trace into one file, and traces
 * that were put together, have one pid for several processes at once.
 */
#ifndef MA_IDENTITY_H
#define MA_IDENTITY_H

#include "ma_trace.h"

/* The latest of the processes with a pid: of those of one place, and of any. Begins as
 * zeros. Its values are the caller's, but not MA_NONE. */
struct ma_pids {
    struct ma_map in_place, anywhere;
};

/* The value of the process that may have had this process's pid before it, or have it
 * still; MA_NONE: there is none. `record_of` tells of which process a value is. */
typedef const struct ma_process_record *ma_record_of(const void *context, uint32_t value);
uint32_t ma_pids_find(const struct ma_pids *pids, const struct ma_process_record *of, uint64_t pid,
                      ma_record_of *record_of, const void *context);
/* Returns 0 or -ENOMEM. */
int ma_pids_set(struct ma_pids *pids, const struct ma_process_record *of, uint32_t value);
void ma_pids_free(struct ma_pids *pids);

/* The process as a person names it: its pid and, if the trace has that pid of several
 * places, the place. Writes to buffer. */
#define MA_PROCESS_NAME 80
const char *ma_process_name(const struct ma_trace *trace, const struct ma_process *process,
                            char buffer[MA_PROCESS_NAME]);

#endif
