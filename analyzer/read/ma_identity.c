/* SPDX-License-Identifier: MIT
 *
 * Pids and their places; see ma_identity.h. A trace before 1.3, and a process without
 * /proc, tell no place: that may be any.
 */
#include "ma_identity.h"

#include <stdio.h>

static bool may_be(uint64_t a, uint64_t b)
{
    return !a || !b || a == b;
}

/* True unless the pids of the two are known to be those of two places. */
static bool shares_place(const struct ma_process_record *a, const struct ma_process_record *b)
{
    return may_be(a->pid_namespace, b->pid_namespace) && may_be(a->machine, b->machine);
}

static bool has_place(const struct ma_process_record *record)
{
    return record->pid_namespace && record->machine;
}

/* Two that collide were taken for one; so were all of a pid before there were places. */
static uint64_t key_of(const struct ma_process_record *record, uint64_t pid)
{
    return ma_mix(ma_mix(record->machine) ^ record->pid_namespace) ^ pid;
}

uint32_t ma_pids_find(const struct ma_pids *pids, const struct ma_process_record *of, uint64_t pid,
                      ma_record_of *record_of, const void *context)
{
    uint32_t latest = ma_map_get(&pids->anywhere, pid);
    if (latest == MA_NONE || shares_place(record_of(context, latest), of))
        return latest;
    return has_place(of) ? ma_map_get(&pids->in_place, key_of(of, pid)) : MA_NONE;
}

int ma_pids_set(struct ma_pids *pids, const struct ma_process_record *of, uint32_t value)
{
    int result = has_place(of) ? ma_map_set(&pids->in_place, key_of(of, of->pid), value) : 0;
    return result < 0 ? result : ma_map_set(&pids->anywhere, of->pid, value);
}

void ma_pids_free(struct ma_pids *pids)
{
    ma_map_free(&pids->in_place);
    ma_map_free(&pids->anywhere);
}

const char *ma_process_name(const struct ma_trace *trace, const struct ma_process *process,
                            char buffer[MA_PROCESS_NAME])
{
    const struct ma_process_record *record = &process->record;
    const unsigned long long pid = ma_process_pid(process);
    const uint32_t first = process->known ? ma_map_get(&trace->first_of_pid, record->pid) : MA_NONE;
    const struct ma_process *other = first == MA_NONE ? process : trace->processes[first];
    int n = snprintf(buffer, MA_PROCESS_NAME, "%llu", pid);
    if (other->namespaces && record->pid_namespace)
        n += snprintf(buffer + n, MA_PROCESS_NAME - (size_t)n, " in pid namespace %llu",
                      (unsigned long long)record->pid_namespace);
    if (other->machines && record->machine)
        snprintf(buffer + n, MA_PROCESS_NAME - (size_t)n, " of boot %08llx",
                 (unsigned long long)(record->machine >> 32));
    return buffer;
}
