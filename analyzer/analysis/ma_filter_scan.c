/* SPDX-License-Identifier: MIT
 *
 * The facts that a filter needs before the replay: the trace's end, the moments
 * of marks, the last names of threads. One pass over the trace that counts
 * nothing; it needs a file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma_clock.h"
#include "ma_filter.h"
#include "ma_progress.h"
#include "ma_text.h"

#define NAMES_TOLD 8 /* marks that a message lists */

struct mark {
    const struct ma_process *process;
    uint64_t ticks, kind;
    bool from, to; /* its name is that of --from, of --to */
};

struct scan {
    struct ma_filter *filter;
    struct ma_trace trace;
    struct ma_merge merge;
    struct ma_source *source;
    const struct ma_process *end_process; /* of the latest event */
    uint64_t end_ticks, duration;
    struct mark *marks;
    size_t n_marks, capacity;
    char *names[NAMES_TOLD];
    size_t n_names;
};

static bool is_called(struct ma_bytes name, const struct ma_moment *moment)
{
    return moment->kind == MA_MOMENT_MARK && strlen(moment->mark) == name.size &&
           memcmp(moment->mark, name.data, name.size) == 0;
}

static int add_mark(struct scan *scan, const struct ma_process *process,
                    const struct ma_short_record *brief)
{
    const struct ma_filter_options *spec = scan->filter->spec;
    struct ma_bytes name = brief->mark.name;
    struct mark mark = {
        .process = process,
        .ticks = brief->time,
        .kind = brief->mark.kind,
        .from = is_called(name, &spec->from),
        .to = is_called(name, &spec->to),
    };
    bool told = scan->n_names == NAMES_TOLD;
    for (size_t i = 0; i < scan->n_names; i++)
        told |= strlen(scan->names[i]) == name.size &&
                memcmp(scan->names[i], name.data, name.size) == 0;
    if (!told) {
        scan->names[scan->n_names] = strndup((const char *)name.data, name.size);
        if (!scan->names[scan->n_names++])
            return -ENOMEM;
    }
    if (!mark.from && !mark.to)
        return 0;
    if (!MA_RESERVE(scan->marks, scan->n_marks, scan->capacity))
        return -ENOMEM;
    scan->marks[scan->n_marks++] = mark;
    return 0;
}

static int on_record(struct scan *scan, const struct ma_run *run, const struct ma_event *event)
{
    struct ma_process *process = run->process;
    struct ma_record record;
    const char *problem;
    if (ma_record_decode(&record, event->function, run->stream ? MLF_EVENTS : MLF_DEFINITIONS,
                         event->record, (size_t)event->size, &problem) <= 0)
        return 0;
    switch (record.tag) {
    case MLF_REC_PROCESS_END:
        process->ended = true;
        process->end_time = record.brief.time;
        return 0;
    case MLF_REC_CLOCK:
        process->clock_ticks = record.brief.time;
        process->clock_ns = record.brief.clock.monotonic_ns;
        return 0;
    case MLF_REC_MARK: return add_mark(scan, process, &record.brief);
    default: return 0;
    }
}

static int read_all(struct scan *scan)
{
    struct ma_run run;
    struct ma_progress progress;
    int result;
    ma_progress_begin(&progress, "looking ahead");
    while ((result = ma_merge_next(&scan->merge, SIZE_MAX, &run)) > 0) {
        const struct ma_event *last = &run.events[run.n - 1];
        if (last->type == MA_EVENT_RECORD) {
            if (on_record(scan, &run, last) < 0)
                return -ENOMEM;
            last -= run.n > 1;
        }
        if (run.stream && last->type != MA_EVENT_RECORD) {
            scan->end_process = run.process;
            scan->end_ticks = last->time;
        }
        if (ma_progress_due(&progress, run.n)) {
            uint64_t size, done = ma_merge_progress(&scan->merge, &size);
            ma_progress_show(&progress, done, size);
        }
    }
    ma_progress_end(&progress);
    return result;
}

static void scan_window(struct scan *scan)
{
    if (scan->end_process)
        scan->duration = ma_clock_ns(&scan->trace, scan->end_process, scan->end_ticks);
    for (size_t i = 0; i < scan->trace.n_processes; i++) {
        const struct ma_process *process = scan->trace.processes[i];
        uint64_t end = process->ended ? ma_clock_ns(&scan->trace, process, process->end_time) : 0;
        scan->duration = end > scan->duration ? end : scan->duration;
    }
}

/* The first mark of this name: for --from one that begins something or a point,
 * for --to one that ends something, if there is any, and behind `least`. */
static int find_mark(const struct scan *scan, const char *option, const struct ma_moment *moment,
                     bool to, uint64_t least, uint64_t *ns, struct ma_error *error)
{
    bool found = false, seen = false;
    for (size_t i = 0; i < scan->n_marks; i++) {
        const struct mark *mark = &scan->marks[i];
        bool ends = mark->kind == MLF_MARK_END;
        if (!(to ? mark->to : mark->from) || (!to && ends))
            continue;
        uint64_t at = ma_clock_ns(&scan->trace, mark->process, mark->ticks);
        seen = true;
        if ((to && at <= least) || (found && !ends))
            continue;
        *ns = at;
        found = true;
        if (!to || ends)
            return 0;
    }
    if (found)
        return 0;
    char *names = NULL;
    size_t size;
    FILE *list = open_memstream(&names, &size);
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < scan->n_names; i++) {
        fputs(i ? ", \"" : "\"", list);
        ma_write_text(list, scan->names[i], 60);
        putc('"', list);
    }
    int result = fclose(list) ? -ENOMEM : -EINVAL;
    if (result == -ENOMEM)
        ma_fail_memory(error);
    else if (seen)
        ma_fail(error, -EINVAL,
                "%s: no mark \"%s\" lies behind the window's beginning; name a later moment",
                option, moment->mark);
    else
        ma_fail(error, -EINVAL,
                "%s: expected a moment or a mark, and the trace has no mark \"%s\"%s%s%s", option,
                moment->mark, scan->n_names ? "; it has " : ", nor any other", names,
                scan->n_names == NAMES_TOLD ? " …" : "");
    free(names);
    return result;
}

static uint64_t part(const struct scan *scan, const struct ma_moment *moment)
{
    return (uint64_t)((long double)scan->duration * (long double)moment->percent / 100);
}

static int place_window(struct scan *scan, struct ma_error *error)
{
    struct ma_filter *filter = scan->filter;
    const struct ma_moment *from = &filter->spec->from, *to = &filter->spec->to;
    int result = 0;
    if (from->kind == MA_MOMENT_PERCENT)
        filter->from = part(scan, from);
    else if (from->kind == MA_MOMENT_MARK)
        result = find_mark(scan, "--from", from, false, 0, &filter->from, error);
    if (result < 0)
        return result;
    if (to->kind == MA_MOMENT_PERCENT && to->percent < 100)
        filter->to = part(scan, to);
    else if (to->kind == MA_MOMENT_MARK)
        result = find_mark(scan, "--to", to, true, filter->from, &filter->to, error);
    if (result < 0)
        return result;
    filter->end = filter->to < scan->duration ? filter->to : scan->duration;
    return from->kind && filter->from >= filter->to
               ? ma_fail(error, -EINVAL,
                         "--from and --to: the window ends at %.9g s, but begins at "
                         "%.9g s; expected a beginning before the end",
                         (double)filter->to / 1e9, (double)filter->from / 1e9)
               : 0;
}

static int name_threads(struct scan *scan)
{
    struct ma_filter *filter = scan->filter;
    for (size_t i = 0; i < scan->trace.n_streams; i++) {
        const struct ma_stream *stream = scan->trace.streams[i];
        uint64_t key = (uint64_t)stream->process->index << 32 | stream->number;
        if (stream->known &&
            ma_map_set(&filter->named, key,
                       ma_filter_options_thread(filter->spec, stream->tid, stream->name)) < 0)
            return -ENOMEM;
    }
    return 0;
}

int ma_filter_scan(struct ma_filter *filter, const char *path, struct ma_error *error)
{
    struct scan scan = {.filter = filter};
    struct stat status;
    bool standard = strcmp(path, "-") == 0;
    if ((standard ? fstat(STDIN_FILENO, &status) : stat(path, &status)) == 0 &&
        !S_ISREG(status.st_mode))
        return ma_fail(error, -ESPIPE,
                       "%s: percent, marks, --min-age and names of threads need the end of the "
                       "trace first, which a pipe does not tell; save the trace in a file, or "
                       "give --from and --to in seconds and --tid as a number",
                       standard ? "standard input" : path);
    ma_trace_init(&scan.trace);
    int result = ma_source_open(standard ? "/dev/stdin" : path, &scan.source, error);
    if (result == 0)
        result = ma_merge_init(&scan.merge, &scan.trace, scan.source, error);
    if (result == 0) {
        result = read_all(&scan);
        if (result == 0 && filter->spec->n_threads)
            result = name_threads(&scan);
        if (result == -ENOMEM)
            ma_fail_memory(error);
    }
    if (result == 0) {
        scan_window(&scan);
        result = place_window(&scan, error);
    }
    for (size_t i = 0; i < scan.n_names; i++)
        free(scan.names[i]);
    free(scan.marks);
    ma_merge_free(&scan.merge);
    ma_source_close(scan.source);
    ma_trace_free(&scan.trace);
    return result;
}
