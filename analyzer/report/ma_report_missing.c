/* SPDX-License-Identifier: MIT
 *
 * Programs that were executed and are not in the trace, with the reason as far as
 * their starter could tell it: a part of the audit.
 */
#include <errno.h>

#include "ma_identity.h"
#include "ma_report.h"
#include "ma_text.h"

#define SHOWN 5

/* The program image of each pid that began last. */
struct latest {
    struct ma_pids pids; /* to index */
    const struct ma_process **starts;
    size_t n, capacity;
};

static const struct ma_process_record *record_of(const void *context, uint32_t index)
{
    const struct latest *latest = context;
    return &latest->starts[index]->record;
}

static int note_start(struct latest *latest, const struct ma_process *process)
{
    const struct ma_process_record *record = &process->record;
    uint32_t at = ma_pids_find(&latest->pids, record, record->pid, record_of, latest);
    if (at != MA_NONE) {
        if (latest->starts[at]->record.start < process->record.start)
            latest->starts[at] = process;
        return ma_pids_set(&latest->pids, record, at);
    }
    if (!MA_RESERVE(latest->starts, latest->n, latest->capacity))
        return -ENOMEM;
    latest->starts[latest->n] = process;
    return ma_pids_set(&latest->pids, record, (uint32_t)latest->n++);
}

/* True if a program image with its pid began behind the execution. Other clocks
 * cannot be compared. */
static bool is_there(const struct latest *latest, const struct ma_exec *exec)
{
    const struct ma_process_record *by = &exec->starter->record;
    uint32_t at = ma_pids_find(&latest->pids, by, exec->pid, record_of, latest);
    if (at == MA_NONE)
        return false;
    const struct ma_process_record *of = &latest->starts[at]->record;
    return of->clock != by->clock || of->tick_shift != by->tick_shift || of->start >= exec->time;
}

/* True if it is not in the trace and will not be. While the trace is followed, what was
 * executed a moment ago may be about to begin, unless its starter knows that it cannot be. */
static bool is_missing(const struct ma_analysis *analysis, const struct latest *latest,
                       const struct ma_exec *exec)
{
    const bool certain = exec->state & (MLF_EXEC_NO_LIBRARY | MLF_EXEC_NO_TRACE);
    return (certain || !analysis->ongoing) && !is_there(latest, exec);
}

static const char *reason(const struct ma_exec *exec)
{
    if (exec->state & MLF_EXEC_NO_LIBRARY)
        return "LD_PRELOAD was not in its environment: have its starter keep it";
    if (exec->state & MLF_EXEC_NO_TRACE)
        return "its starter had closed descriptor 1022, and the trace could not be opened again: "
               "trace into a file";
    return "it is static or set-user-ID, has an allocator of its own, did not find the library "
           "by the path in LD_PRELOAD, or descriptor 1022 was closed as it began: see libmlog(7), "
           "\"Not every program\"";
}

static void add(struct ma_model *model, struct ma_value *array, struct ma_value *warnings,
                const struct ma_exec *exec, uint64_t n)
{
    struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_number(model, one, "pid", NULL, MA_PLAIN, exec->pid);
    ma_model_number(model, one, "starter_pid", NULL, MA_PLAIN, ma_process_pid(exec->starter));
    ma_model_text(model, one, "program", NULL, exec->path[0] ? exec->path : NULL);
    ma_model_text(model, one, "reason", NULL, reason(exec));
    if (n <= SHOWN)
        ma_model_format(model, warnings, NULL, NULL, "  %s, process %llu: %s.",
                        exec->path[0] ? exec->path : "a program", (unsigned long long)exec->pid,
                        reason(exec));
}

static int add_all(const struct ma_analysis *analysis, struct ma_model *model,
                   struct ma_value *audit, struct ma_value *warnings, const struct latest *latest)
{
    const struct ma_trace *trace = &analysis->trace;
    uint64_t n = 0;
    char text[MA_HUMAN_SIZE];
    for (size_t i = 0; i < trace->n_execs; i++)
        n += is_missing(analysis, latest, &trace->execs[i]);
    ma_model_number(model, audit, "missing_programs", NULL, MA_COUNT, n);
    struct ma_value *array = ma_model_array(model, audit, "missing", NULL, MA_TABLE);
    if (n)
        ma_model_format(model, warnings, NULL, NULL,
                        "%s program%s executed that %s not in the trace:", ma_human_count(text, n),
                        n == 1 ? " was" : "s were", n == 1 ? "is" : "are");
    uint64_t at = 0;
    for (size_t i = 0; i < trace->n_execs; i++)
        if (is_missing(analysis, latest, &trace->execs[i]))
            add(model, array, warnings, &trace->execs[i], ++at);
    if (n > SHOWN)
        ma_model_format(model, warnings, NULL, NULL, "  and %s more (see --json)",
                        ma_human_count(text, n - SHOWN));
    return 0;
}

int ma_report_missing(const struct ma_analysis *analysis, struct ma_model *model,
                      struct ma_value *audit, struct ma_value *warnings)
{
    const struct ma_trace *trace = &analysis->trace;
    struct latest latest = {0};
    int result = 0;
    for (size_t i = 0; i < trace->n_processes && result == 0; i++)
        if (trace->processes[i]->known && trace->processes[i]->record.how == MLF_HOW_START)
            result = note_start(&latest, trace->processes[i]);
    if (result == 0)
        result = add_all(analysis, model, audit, warnings, &latest);
    ma_pids_free(&latest.pids);
    free(latest.starts);
    return result;
}
