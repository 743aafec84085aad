/* SPDX-License-Identifier: MIT
 *
 * Decoding of records: straight reads through a sticky cursor, one check at
 * the end. Trailing bytes are those of a later minor version: ignored.
 */
#include "ma_record.h"

#include "ma_cursor.h"

enum { IN_DEFINITIONS = 1, IN_EVENTS = 2 };

static const unsigned char allowed_in[MLF_REC_LAST + 1] = {
    [MLF_REC_PROCESS] = IN_DEFINITIONS,
    [MLF_REC_TEXT] = IN_DEFINITIONS,
    [MLF_REC_MODULE] = IN_DEFINITIONS,
    [MLF_REC_MODULE_END] = IN_DEFINITIONS,
    [MLF_REC_STREAM] = IN_DEFINITIONS,
    [MLF_REC_STREAM_END] = IN_DEFINITIONS,
    [MLF_REC_CLOCK] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_PROCESS_END] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_LOSS] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_SYNC] = IN_DEFINITIONS,
    [MLF_REC_SAMPLING] = IN_DEFINITIONS,
    [MLF_REC_STOP] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_TAKEN_OVER] = IN_EVENTS,
    [MLF_REC_MEMORY] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_MARK] = IN_EVENTS,
    [MLF_REC_COUNTERS] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_FILLED] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_EXEC] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_BYPASS] = IN_DEFINITIONS,
    [MLF_REC_WINDOW] = IN_EVENTS,
    [MLF_REC_CHILD_END] = IN_DEFINITIONS | IN_EVENTS,
    [MLF_REC_STACK] = IN_EVENTS,
    [MLF_REC_SAVEPOINT] = IN_EVENTS,
    [MLF_REC_PRINT] = IN_EVENTS,
    [MLF_REC_LIMIT] = IN_DEFINITIONS,
};

static struct ma_bytes read_string(struct ma_cursor *cursor)
{
    struct ma_bytes bytes;
    bytes.size = ma_cursor_string(cursor, &bytes.data);
    return bytes;
}

static struct ma_bytes rest(struct ma_cursor *cursor)
{
    struct ma_bytes bytes = {cursor->at, (size_t)(cursor->end - cursor->at)};
    cursor->at = cursor->end;
    return bytes;
}

static void decode_process(struct ma_process_record *process, struct ma_cursor *cursor)
{
    process->pid = ma_cursor_vu(cursor);
    process->parent_pid = ma_cursor_vu(cursor);
    process->parent_key = ma_cursor_u64(cursor);
    process->how = ma_cursor_vu(cursor);
    process->start = ma_cursor_vu(cursor);
    process->fork_time = ma_cursor_vu(cursor);
    process->inherited_nodes = ma_cursor_vu(cursor);
    process->inherited_modules = ma_cursor_vu(cursor);
    process->clock = ma_cursor_vu(cursor);
    process->tick_shift = ma_cursor_vu(cursor);
    process->counts_per_second = ma_cursor_vu(cursor);
    process->monotonic_ns = ma_cursor_vu(cursor);
    process->realtime_ns = ma_cursor_vu(cursor);
    process->block_header = ma_cursor_vu(cursor);
    process->block_grain = ma_cursor_vu(cursor);
    process->smallest_usable = ma_cursor_vu(cursor);
    process->page_size = ma_cursor_vu(cursor);
    process->pointer_bytes = ma_cursor_vu(cursor);
    process->pid_namespace = process->birth = process->machine = 0;
    if (cursor->failed || cursor->at == cursor->end)
        return; /* before 1.3 */
    process->pid_namespace = ma_cursor_vu(cursor);
    process->birth = ma_cursor_vu(cursor);
    process->machine = ma_cursor_u64(cursor);
}

static bool decode_module(struct ma_module_record *module, struct ma_cursor *cursor)
{
    module->id = ma_cursor_vu(cursor);
    module->time = ma_cursor_vu(cursor);
    module->bias = ma_cursor_u64(cursor);
    module->flags = ma_cursor_vu(cursor);
    module->build_id = read_string(cursor);
    module->path = read_string(cursor);
    uint64_t n = ma_cursor_vu(cursor);
    if (module->build_id.size > MLF_BUILD_ID_MAX || n > MLF_SEGMENTS_MAX)
        return false;
    module->n_segments = (size_t)n;
    for (size_t i = 0; i < n; i++) {
        struct ma_segment *segment = &module->segments[i];
        segment->address = ma_cursor_vu(cursor);
        segment->size = ma_cursor_vu(cursor);
        segment->offset = ma_cursor_vu(cursor);
        segment->flags = ma_cursor_vu(cursor);
    }
    return true;
}

static void decode_brief(struct ma_short_record *brief, unsigned tag, struct ma_cursor *cursor)
{
    switch (tag) {
    case MLF_REC_TEXT:
        brief->text.what = ma_cursor_vu(cursor);
        brief->text.bytes = rest(cursor);
        return;
    case MLF_REC_MODULE_END:
        brief->module_end.id = ma_cursor_vu(cursor);
        brief->time = ma_cursor_vu(cursor);
        return;
    case MLF_REC_TAKEN_OVER: brief->taken_over.stream = ma_cursor_vu(cursor); return;
    case MLF_REC_SAMPLING: brief->sampling.interval = ma_cursor_vu(cursor); return;
    case MLF_REC_FILLED:
        brief->filled.stream = ma_cursor_vu(cursor);
        brief->filled.kind = ma_cursor_vu(cursor);
        brief->filled.sequence = ma_cursor_vu(cursor);
        brief->filled.bytes = ma_cursor_vu(cursor);
        brief->filled.summed = cursor->at != cursor->end;
        brief->filled.checksum = brief->filled.summed ? ma_cursor_u64(cursor) : 0;
        return;
    case MLF_REC_STACK:
        brief->stack.what = ma_cursor_vu(cursor);
        brief->stack.stack = ma_cursor_vu(cursor);
        if (brief->stack.stack > UINT32_MAX)
            brief->stack.stack = 0;
        return;
    default: break;
    }
    brief->time = ma_cursor_vu(cursor);
    switch (tag) {
    case MLF_REC_CLOCK:
        brief->clock.monotonic_ns = ma_cursor_vu(cursor);
        brief->clock.realtime_ns = ma_cursor_vu(cursor);
        break;
    case MLF_REC_PROCESS_END:
        brief->process_end.how = ma_cursor_vu(cursor);
        brief->process_end.status = ma_cursor_vu(cursor);
        break;
    case MLF_REC_LOSS:
        brief->loss.stream = ma_cursor_vu(cursor);
        brief->loss.lost = ma_cursor_vu(cursor);
        brief->loss.reason = ma_cursor_vu(cursor);
        break;
    case MLF_REC_STOP:
        brief->stop.reason = ma_cursor_vu(cursor);
        brief->stop.error = ma_cursor_vu(cursor);
        if (cursor->failed || cursor->at == cursor->end)
            break; /* before 1.3, or no limit was met */
        brief->stop.met.what = ma_cursor_vu(cursor);
        brief->stop.met.limit = ma_cursor_vu(cursor);
        brief->stop.met.held = ma_cursor_vu(cursor);
        brief->stop.met.asked = ma_cursor_vu(cursor);
        break;
    case MLF_REC_MEMORY:
        brief->memory.virtual_bytes = ma_cursor_vu(cursor);
        brief->memory.resident = ma_cursor_vu(cursor);
        brief->memory.shared = ma_cursor_vu(cursor);
        break;
    case MLF_REC_MARK:
        brief->mark.kind = ma_cursor_vu(cursor);
        brief->mark.name = read_string(cursor);
        break;
    case MLF_REC_WINDOW:
        brief->window.what = ma_cursor_vu(cursor);
        brief->window.by = ma_cursor_vu(cursor);
        break;
    case MLF_REC_COUNTERS: brief->counters.pairs = rest(cursor); break;
    case MLF_REC_EXEC:
        brief->exec.pid = ma_cursor_vu(cursor);
        brief->exec.state = ma_cursor_vu(cursor);
        brief->exec.path = read_string(cursor);
        break;
    case MLF_REC_CHILD_END:
        brief->child_end.pid = ma_cursor_vu(cursor);
        brief->child_end.how = ma_cursor_vu(cursor);
        brief->child_end.status = ma_cursor_vu(cursor);
        brief->child_end.flags = ma_cursor_vu(cursor);
        break;
    case MLF_REC_LIMIT:
        brief->limit.kind = ma_cursor_vu(cursor);
        brief->limit.bytes = ma_cursor_vu(cursor);
        break;
    case MLF_REC_BYPASS:
        brief->bypass.why = ma_cursor_vu(cursor);
        brief->bypass.path = read_string(cursor);
        brief->bypass.target = read_string(cursor);
        break;
    case MLF_REC_SAVEPOINT:
        brief->savepoint.number = ma_cursor_vu(cursor);
        brief->savepoint.flags = ma_cursor_vu(cursor);
        brief->savepoint.growth = mlf_unzigzag(ma_cursor_vu(cursor));
        brief->savepoint.name = read_string(cursor);
        brief->savepoint.place = read_string(cursor);
        break;
    case MLF_REC_PRINT: brief->print.text = read_string(cursor); break;
    default: /* SYNC: nothing but its time */ break;
    }
}

int ma_record_decode(struct ma_record *record, unsigned tag, unsigned kind,
                     const unsigned char *payload, size_t size, const char **problem)
{
    unsigned here = kind == MLF_DEFINITIONS ? IN_DEFINITIONS : IN_EVENTS;
    if (tag > MLF_REC_LAST || !(allowed_in[tag] & here)) {
        if (tag >= MLF_REC_OPTIONAL)
            return 0;
        *problem = "a required record that this version does not know";
        return -1;
    }
    struct ma_cursor cursor = {payload, payload + size, false};
    record->tag = tag;
    switch (tag) {
    case MLF_REC_PROCESS: decode_process(&record->process, &cursor); break;
    case MLF_REC_MODULE:
        if (!decode_module(&record->module, &cursor)) {
            *problem = "a module record beyond the limits";
            return -1;
        }
        break;
    case MLF_REC_STREAM:
    case MLF_REC_STREAM_END:
        record->stream = (struct ma_stream_record){.stream = ma_cursor_vu(&cursor)};
        if (tag == MLF_REC_STREAM)
            record->stream.tid = ma_cursor_vu(&cursor);
        record->stream.time = ma_cursor_vu(&cursor);
        if (tag == MLF_REC_STREAM)
            record->stream.flags = ma_cursor_vu(&cursor);
        record->stream.name = read_string(&cursor);
        break;
    default:
        record->brief = (struct ma_short_record){0};
        decode_brief(&record->brief, tag, &cursor);
        break;
    }
    if (cursor.failed) {
        *problem = "a record that is too short";
        return -1;
    }
    return 1;
}

static const char *name_of(const char *const *names, size_t n, uint64_t value)
{
    return value < n && names[value] ? names[value] : "unknown";
}

#define NAME_OF(names, value) name_of(names, sizeof(names) / sizeof *(names), value)

const char *ma_loss_name(uint64_t reason)
{
    static const char *const names[] = {
        [MLF_LOSS_MEMORY] = "no memory",    [MLF_LOSS_SINK_FULL] = "sink full",
        [MLF_LOSS_SINK_GONE] = "sink gone", [MLF_LOSS_SIGNAL] = "signal nesting",
        [MLF_LOSS_CHOICE] = "choice",       [MLF_LOSS_SANDBOX] = "sandboxed",
        [MLF_LOSS_ASKED] = "asked",
    };
    return NAME_OF(names, reason);
}

const char *ma_end_name(uint64_t how)
{
    static const char *const names[] = {
        [MLF_END_EXIT] = "exit",   [MLF_END__EXIT] = "_exit",           [MLF_END_EXEC] = "exec",
        [MLF_END_ABORT] = "abort", [MLF_END_QUICK_EXIT] = "quick_exit",
    };
    return NAME_OF(names, how);
}

const char *ma_child_end_name(uint64_t how)
{
    static const char *const names[] = {
        [MLF_CHILD_EXITED] = "exited",
        [MLF_CHILD_KILLED] = "killed",
    };
    return NAME_OF(names, how);
}

const char *ma_met_name(uint64_t what)
{
    static const char *const names[] = {
        [MLF_MET_AS] = "RLIMIT_AS",       [MLF_MET_DATA] = "RLIMIT_DATA",
        [MLF_MET_FSIZE] = "RLIMIT_FSIZE", [MLF_MET_MEMLOCK] = "RLIMIT_MEMLOCK",
        [MLF_MET_SPACE] = "space",        [MLF_MET_QUOTA] = "quota",
    };
    return NAME_OF(names, what);
}

const char *ma_mark_name(uint64_t kind)
{
    static const char *const names[] = {
        [MLF_MARK_POINT] = "point",
        [MLF_MARK_BEGIN] = "begin",
        [MLF_MARK_END] = "end",
    };
    return NAME_OF(names, kind);
}

const char *ma_window_name(uint64_t what)
{
    static const char *const names[] = {
        [MLF_WINDOW_PAUSE] = "pause",
        [MLF_WINDOW_RESUME] = "resume",
    };
    return NAME_OF(names, what);
}

const char *ma_window_by_name(uint64_t by)
{
    static const char *const names[] = {
        [MLF_WINDOW_START] = "start",
        [MLF_WINDOW_FORK] = "fork",
        [MLF_WINDOW_CTL] = "ctl",
        [MLF_WINDOW_API] = "api",
    };
    return NAME_OF(names, by);
}

const char *ma_stack_of_name(uint64_t what)
{
    static const char *const names[] = {[MLF_STACK_FREE] = "free", [MLF_STACK_ABORT] = "abort"};
    return NAME_OF(names, what);
}

const char *ma_clock_name(uint64_t clock)
{
    static const char *const names[] = {
        [MLF_CLOCK_TSC] = "TSC",
        [MLF_CLOCK_CNTVCT] = "CNTVCT",
        [MLF_CLOCK_MONOTONIC] = "CLOCK_MONOTONIC",
    };
    return NAME_OF(names, clock);
}
