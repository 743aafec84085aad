/* SPDX-License-Identifier: MIT
 *
 * --dump=json: one object a line for each event and each record that has a
 * moment, in merged order. analyzer/REPORT.md lists the members.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_dump.h"
#include "ma_text.h"

static void frame(FILE *out, const struct ma_process *process, const struct ma_node *node,
                  size_t index)
{
    fprintf(out, "%s\"0x%" PRIx64 "\"", index ? "," : "", ma_process_address(process, node));
}

static int write_stack(FILE *out, struct ma_analysis *analysis, const struct ma_merged *merged)
{
    fprintf(out, ",\"stack_id\":%" PRIu32 ",\"stack\":[", merged->event->stack);
    int result = ma_dump_stack(analysis, merged->process, merged->event->stack, frame, out);
    putc(']', out);
    return result;
}

static int begin_json(struct ma_dump *dump)
{
    const struct ma_filter *filter = dump->analysis->filter;
    if (!filter)
        return 0;
    char *text = ma_filter_text(filter);
    if (!text)
        return -ENOMEM;
    fputs("{\"type\":\"filter\",\"text\":", dump->out);
    ma_write_json_string(dump->out, text);
    fprintf(dump->out, ",\"from_ns\":%" PRIu64, filter->from);
    if (filter->to != UINT64_MAX)
        fprintf(dump->out, ",\"to_ns\":%" PRIu64, filter->to);
    fputs("}\n", dump->out);
    free(text);
    return 0;
}

/* began: the event has a moment of its beginning, too. */
static void write_head(FILE *out, const struct ma_analysis *analysis, const char *type,
                       const struct ma_merged *merged, bool began)
{
    const struct ma_event *event = merged->event;
    fprintf(out, "{\"type\":\"%s\",\"ticks\":%" PRIu64, type, event->time);
    if (began)
        fprintf(out, ",\"begin_ticks\":%" PRIu64, event->begin);
    fprintf(out, ",\"time_ns\":%" PRIu64 ",\"pid\":%" PRIu64,
            ma_clock_ns(&analysis->trace, merged->process, event->time),
            ma_process_pid(merged->process));
    if (merged->process->elsewhere)
        fprintf(out, ",\"process\":%" PRIu32, merged->process->index);
    if (merged->stream && merged->stream->known)
        fprintf(out, ",\"tid\":%" PRIu64, merged->stream->tid);
    fprintf(out, ",\"stream\":%" PRIu32, merged->number);
}

static void write_string(FILE *out, const char *key, struct ma_bytes bytes)
{
    char *text = strndup((const char *)bytes.data, bytes.size);
    fprintf(out, ",\"%s\":", key);
    ma_write_json_string(out, text ? text : "");
    free(text);
}

static void write_counters(FILE *out, struct ma_bytes pairs)
{
    struct ma_cursor cursor = {pairs.data, pairs.data + pairs.size, false};
    const char *separator = "";
    fputs(",\"counters\":{", out);
    while (cursor.at < cursor.end) {
        uint64_t counter = ma_cursor_vu(&cursor), value = ma_cursor_vu(&cursor);
        if (cursor.failed)
            break;
        fprintf(out, "%s\"%" PRIu64 "\":%" PRIu64, separator, counter, value);
        separator = ",";
    }
    putc('}', out);
}

static int write_record(FILE *out, struct ma_analysis *analysis, const struct ma_merged *merged)
{
    int result = 0;
    const struct ma_event *event = merged->event;
    struct ma_record record;
    const char *problem;
    unsigned kind = merged->stream ? MLF_EVENTS : MLF_DEFINITIONS;
    if (ma_record_decode(&record, event->function, kind, event->record, (size_t)event->size,
                         &problem) <= 0)
        return 0; /* was checked when it was read */
    const struct ma_short_record *brief = &record.brief;
    static const char *const types[] = {
        [MLF_REC_CLOCK] = "clock",         [MLF_REC_PROCESS_END] = "process_end",
        [MLF_REC_LOSS] = "loss",           [MLF_REC_STOP] = "stop",
        [MLF_REC_MEMORY] = "memory",       [MLF_REC_MARK] = "mark",
        [MLF_REC_COUNTERS] = "counters",   [MLF_REC_EXEC] = "exec",
        [MLF_REC_BYPASS] = "bypass",       [MLF_REC_WINDOW] = "window",
        [MLF_REC_CHILD_END] = "child_end", [MLF_REC_STACK] = "stack",
        [MLF_REC_SAVEPOINT] = "savepoint", [MLF_REC_PRINT] = "print",
        [MLF_REC_LIMIT] = "limit",
    };
    write_head(out, analysis, types[record.tag], merged, false);
    switch (record.tag) {
    case MLF_REC_CLOCK:
        fprintf(out, ",\"monotonic_ns\":%" PRIu64 ",\"realtime_ns\":%" PRIu64,
                brief->clock.monotonic_ns, brief->clock.realtime_ns);
        break;
    case MLF_REC_PROCESS_END:
        fprintf(out, ",\"how\":\"%s\",\"status\":%" PRIu64, ma_end_name(brief->process_end.how),
                brief->process_end.status);
        break;
    case MLF_REC_LOSS:
        fprintf(out, ",\"of_stream\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"reason\":\"%s\"",
                brief->loss.stream, brief->loss.lost, ma_loss_name(brief->loss.reason));
        break;
    case MLF_REC_STOP:
        fprintf(out, ",\"reason\":\"%s\",\"errno\":%" PRIu64, ma_loss_name(brief->stop.reason),
                brief->stop.error);
        if (brief->stop.met.what)
            fprintf(out,
                    ",\"limit\":\"%s\",\"limit_bytes\":%" PRIu64 ",\"held_bytes\":%" PRIu64
                    ",\"asked_bytes\":%" PRIu64,
                    ma_met_name(brief->stop.met.what), brief->stop.met.limit, brief->stop.met.held,
                    brief->stop.met.asked);
        break;
    case MLF_REC_MEMORY:
        fprintf(out, ",\"virtual\":%" PRIu64 ",\"resident\":%" PRIu64 ",\"shared\":%" PRIu64,
                brief->memory.virtual_bytes, brief->memory.resident, brief->memory.shared);
        break;
    case MLF_REC_MARK:
        fprintf(out, ",\"kind\":\"%s\"", ma_mark_name(brief->mark.kind));
        write_string(out, "name", brief->mark.name);
        break;
    case MLF_REC_WINDOW:
        fprintf(out, ",\"what\":\"%s\",\"by\":\"%s\"", ma_window_name(brief->window.what),
                ma_window_by_name(brief->window.by));
        break;
    case MLF_REC_EXEC:
        fprintf(out, ",\"executing_pid\":%" PRIu64 ",\"state\":%" PRIu64, brief->exec.pid,
                brief->exec.state);
        write_string(out, "path", brief->exec.path);
        break;
    case MLF_REC_CHILD_END:
        fprintf(
            out,
            ",\"child_pid\":%" PRIu64 ",\"how\":\"%s\",\"status\":%" PRIu64 ",\"core_dumped\":%s",
            brief->child_end.pid, ma_child_end_name(brief->child_end.how), brief->child_end.status,
            brief->child_end.flags & MLF_CHILD_CORE ? "true" : "false");
        break;
    case MLF_REC_LIMIT:
        fprintf(out, ",\"kind\":%" PRIu64 ",\"bytes\":%" PRIu64, brief->limit.kind,
                brief->limit.bytes);
        break;
    case MLF_REC_BYPASS:
        fprintf(out, ",\"why\":%" PRIu64, brief->bypass.why);
        write_string(out, "path", brief->bypass.path);
        write_string(out, "target", brief->bypass.target);
        break;
    case MLF_REC_STACK: {
        struct ma_event of = *event;
        struct ma_merged told = *merged;
        of.stack = (uint32_t)brief->stack.stack;
        told.event = &of;
        fprintf(out, ",\"of\":\"%s\"", ma_stack_of_name(brief->stack.what));
        result = write_stack(out, analysis, &told);
        break;
    }
    case MLF_REC_SAVEPOINT:
        fprintf(out, ",\"number\":%" PRIu64 ",\"asserted\":%s", brief->savepoint.number,
                brief->savepoint.flags & MLF_SAVEPOINT_ASSERTED ? "true" : "false");
        if (brief->savepoint.flags & MLF_SAVEPOINT_COUNTED)
            fprintf(out, ",\"growth\":%" PRId64, brief->savepoint.growth);
        write_string(out, "name", brief->savepoint.name);
        write_string(out, "place", brief->savepoint.place);
        break;
    case MLF_REC_PRINT: write_string(out, "text", brief->print.text); break;
    default: write_counters(out, brief->counters.pairs); break;
    }
    fputs("}\n", out);
    return result;
}

static int write_event(FILE *out, struct ma_analysis *analysis, const struct ma_merged *merged,
                       bool began)
{
    static const char *const types[] = {
        [MA_EVENT_ALLOC] = "alloc",
        [MA_EVENT_FREE] = "free",
        [MA_EVENT_REALLOC] = "realloc",
        [MA_EVENT_FAILED] = "failed",
    };
    const struct ma_event *event = merged->event;
    int result = 0;
    write_head(out, analysis, types[event->type], merged, began);
    fprintf(out, ",\"function\":\"%s\"", ma_function_names[event->function]);
    if (event->type != MA_EVENT_FAILED)
        fprintf(out, ",\"address\":\"0x%" PRIx64 "\"", event->address);
    if (event->type == MA_EVENT_REALLOC)
        fprintf(out, ",\"old_address\":\"0x%" PRIx64 "\"", event->old_address);
    if (event->type != MA_EVENT_FREE)
        fprintf(out, ",\"size\":%" PRIu64, event->size);
    if (event->type == MA_EVENT_ALLOC || event->type == MA_EVENT_REALLOC)
        fprintf(out, ",\"usable\":%" PRIu64, event->usable);
    if ((event->type == MA_EVENT_ALLOC || event->type == MA_EVENT_REALLOC) && event->aligned)
        fprintf(out, ",\"alignment\":%" PRIu64, (uint64_t)1 << (event->aligned - 1));
    if (event->type != MA_EVENT_FREE)
        result = write_stack(out, analysis, merged);
    fputs("}\n", out);
    return result;
}

static int event_json(struct ma_dump *dump, const struct ma_merged *merged)
{
    const unsigned type = merged->event->type;
    struct ma_event part;
    struct ma_merged shown = *merged;
    int result = 0;
    if (type < MA_EVENT_FREE || type == MA_EVENT_REALLOC_BEGIN)
        return 0;
    enum ma_dump_extent extent = ma_dump_extent(dump, merged, &part);
    if (extent == MA_DUMP_NOTHING)
        return 0;
    if (extent == MA_DUMP_PART)
        shown.event = &part;
    if (type == MA_EVENT_RECORD)
        result = write_record(dump->out, dump->analysis, merged);
    else
        result = write_event(dump->out, dump->analysis, &shown,
                             type == MA_EVENT_REALLOC && shown.event->type != MA_EVENT_ALLOC);
    return result < 0 ? result : ferror(dump->out) ? -EIO : 0;
}

const struct ma_dumper ma_dumper_json = {
    .name = "json",
    .begin = begin_json,
    .event = event_json,
    .prompt = true,
};
