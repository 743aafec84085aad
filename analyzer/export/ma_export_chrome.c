/* SPDX-License-Identifier: MIT
 *
 * Chrome's trace events as JSON ("Trace Event Format", the JSON object form),
 * for ui.perfetto.dev and chrome://tracing: for each process a counter of its
 * bytes and one of its blocks over time, and the marks of the programs: points
 * as instant events, begin and end as asynchronous spans.
 *
 * A counter has a bounded number of points. Time is cut into slots; each keeps
 * its highest moment and its last; when there are too many, slots become twice
 * as wide. Times are in µs, with a fraction.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_export.h"
#include "ma_export_strings.h"
#include "ma_gaps.h"
#include "ma_identity.h"
#include "ma_observer.h"
#include "ma_text.h"
#include "mlog_version.h"

enum { SLOTS = 500, FIRST_WIDTH = 1024 /* ns */ };

struct moment {
    uint64_t ns, bytes, blocks;
};

struct slot {
    struct moment high, last;
};

struct series { /* of a process */
    struct slot *slots;
    size_t n, capacity;
    uint64_t width;
};

struct chrome {
    struct ma_observer observer;
    struct ma_analysis *analysis;
    FILE *out;
    struct series *series; /* by process index */
    size_t n_series;
    struct ma_strings marks;
    bool begun; /* an event was written */
};

static void halve(struct series *series)
{
    while (series->n > SLOTS / 2 && series->width < (uint64_t)1 << 62) {
        size_t kept = 0;
        series->width *= 2;
        for (size_t i = 0; i < series->n; i++) {
            const struct slot *slot = &series->slots[i];
            struct slot *to = kept ? &series->slots[kept - 1] : NULL;
            if (!to || to->last.ns / series->width != slot->last.ns / series->width) {
                series->slots[kept++] = *slot;
                continue;
            }
            if (slot->high.bytes > to->high.bytes)
                to->high = slot->high;
            to->last = slot->last;
        }
        series->n = kept;
    }
}

static int sample(struct chrome *to, const struct ma_seen *seen)
{
    uint32_t index = seen->process->index;
    if (!MA_HOLDS(to->series, index, to->n_series))
        return -ENOMEM;
    struct series *series = &to->series[index];
    const struct ma_account *account = ma_analysis_books(to->analysis)->accounts[index];
    struct moment now = {seen->ns, account->live_bytes, account->live_blocks};
    struct slot *last = series->n ? &series->slots[series->n - 1] : NULL;
    if (last && now.ns < last->last.ns)
        now.ns = last->last.ns;
    if (last && now.ns / series->width == last->last.ns / series->width) {
        if (now.bytes > last->high.bytes)
            last->high = now;
        last->last = now;
        return 0;
    }
    series->width = series->width ? series->width : FIRST_WIDTH;
    if (series->n == SLOTS)
        halve(series);
    if (series->n == SLOTS || !MA_RESERVE(series->slots, series->n, series->capacity))
        return series->n == SLOTS ? 0 : -ENOMEM;
    series->slots[series->n++] = (struct slot){now, now};
    return 0;
}

static int changed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    (void)block;
    return sample(context, seen);
}

static int chrome_resized(void *context, const struct ma_seen *seen,
                          const struct ma_seen_block *old, const struct ma_seen_block *block)
{
    (void)old;
    return changed(context, seen, block);
}

/* The beginning of an event: {"name":NAME,"ph":PHASE,"pid":N */
static void begin_event(struct chrome *to, const char *name, const char *phase, uint64_t pid)
{
    fputs(to->begun ? ",\n{\"name\":" : "\n{\"name\":", to->out);
    to->begun = true;
    ma_write_json_string(to->out, name);
    fprintf(to->out, ",\"ph\":\"%s\",\"pid\":%" PRIu64, phase, pid);
}

/* Tracks are told apart by this number alone. */
static uint64_t track_of(const struct ma_process *process)
{
    return process->elsewhere ? (uint64_t)1 << 31 | process->index : ma_process_pid(process);
}

static void write_time(struct chrome *to, uint64_t ns)
{
    fprintf(to->out, ",\"ts\":%" PRIu64 ".%03u", ns / 1000, (unsigned)(ns % 1000));
}

static int marked(void *context, const struct ma_seen *seen, const struct ma_mark *mark)
{
    struct chrome *to = context;
    const struct ma_replay *books = ma_analysis_books(to->analysis);
    const char *phase = mark->kind == MLF_MARK_BEGIN ? "b" : mark->kind == MLF_MARK_END ? "e" : "i";
    uint32_t id = ma_strings_add(&to->marks, mark->name);
    if (id == MA_NONE)
        return -ENOMEM;
    begin_event(to, mark->name, phase, track_of(seen->process));
    fprintf(to->out, ",\"tid\":%" PRIu64 ",\"cat\":\"mark\"",
            seen->stream && seen->stream->known ? seen->stream->tid
                                                : ma_process_pid(seen->process));
    write_time(to, seen->ns);
    if (phase[0] == 'i')
        fputs(",\"s\":\"p\"", to->out);
    else
        fprintf(to->out, ",\"id\":\"0x%" PRIx32 "\"", id + 1);
    fprintf(to->out, ",\"args\":{\"bytes\":%" PRIu64 ",\"blocks\":%" PRIu64 "}}", books->live_bytes,
            books->live_blocks);
    return 0;
}

static void write_moment(struct chrome *to, uint64_t pid, const struct moment *moment)
{
    begin_event(to, "heap", "C", pid);
    write_time(to, moment->ns);
    fprintf(to->out, ",\"args\":{\"bytes\":%" PRIu64 "}}", moment->bytes);
    begin_event(to, "blocks", "C", pid);
    write_time(to, moment->ns);
    fprintf(to->out, ",\"args\":{\"blocks\":%" PRIu64 "}}", moment->blocks);
}

/* The times in which the process did not record, as spans beside its marks. */
static void write_gaps(struct chrome *to, const struct ma_process *process)
{
    const struct ma_trace *trace = &to->analysis->trace;
    for (size_t i = 0; i < process->n_gaps; i++) {
        const struct ma_gap_ns ns = ma_gap_ns(trace, process, &process->gaps[i]);
        for (int end = 0; end < 2; end++) {
            begin_event(to, "not recorded", end ? "e" : "b", track_of(process));
            fprintf(to->out, ",\"tid\":%" PRIu64 ",\"cat\":\"pause\",\"id\":\"0x%zx\"",
                    ma_process_pid(process), i + 1);
            write_time(to, end ? ns.to : ns.from);
            fputc('}', to->out);
        }
    }
}

static void write_process(struct chrome *to, const struct ma_process *process)
{
    const struct series *series =
        process->index < to->n_series ? &to->series[process->index] : NULL;
    const struct ma_process *named = ma_process_program(process);
    const char *program = ma_process_text(named, MLF_TEXT_EXE), *slash = strrchr(program, '/');
    char name[128 + MA_PROCESS_NAME], where[MA_PROCESS_NAME];
    uint64_t pid = track_of(process);
    begin_event(to, "process_name", "M", pid);
    fputs(",\"args\":{\"name\":", to->out);
    program = slash && slash[1] ? slash + 1 : program;
    if (process->elsewhere)
        snprintf(name, sizeof name, "%.120s %s", program,
                 ma_process_name(&to->analysis->trace, process, where));
    ma_write_json_string(to->out, process->elsewhere ? name : program);
    fputs("}}", to->out);
    write_gaps(to, process);
    for (size_t i = 0; series && i < series->n; i++) {
        const struct slot *slot = &series->slots[i];
        write_moment(to, pid, &slot->high);
        if (slot->last.ns != slot->high.ns || slot->last.bytes != slot->high.bytes)
            write_moment(to, pid, &slot->last);
    }
    uint64_t end = ma_clock_ns(&to->analysis->trace, process, process->end_time);
    if (series && series->n && process->ended && end <= ma_analysis_window(to->analysis).to)
        write_moment(to, pid, &(struct moment){.ns = end});
}

static int begin_chrome(struct ma_analysis *analysis, FILE *out, void **state)
{
    struct chrome *to = calloc(1, sizeof *to);
    if (!to)
        return -ENOMEM;
    to->analysis = analysis;
    to->out = out;
    to->observer = (struct ma_observer){
        .context = to,
        .allocated = changed,
        .freed = changed,
        .resized = chrome_resized,
        .marked = marked,
    };
    *state = to;
    fputs("{\"traceEvents\":[", out);
    return ma_observers_add(&analysis->replay.observers, &to->observer);
}

static int write_chrome(struct ma_analysis *analysis, void *state, FILE *out)
{
    struct chrome *to = state;
    char *command = ma_export_command(analysis);
    if (!command)
        return -ENOMEM;
    for (size_t i = 0; i < analysis->trace.n_processes; i++)
        write_process(to, analysis->trace.processes[i]);
    fputs(
        "\n],\n\"displayTimeUnit\":\"ns\",\n\"otherData\":{\"writer\":\"mlog-analyze " MLOG_VERSION
        "\",\"command\":",
        out);
    ma_write_json_string(out, command);
    fputs("}}\n", out);
    free(command);
    return 0;
}

static void end_chrome(void *state)
{
    struct chrome *to = state;
    for (size_t i = 0; i < to->n_series; i++)
        free(to->series[i].slots);
    free(to->series);
    ma_strings_free(&to->marks);
    free(to);
}

const struct ma_exporter ma_exporter_chrome = {
    .name = "chrome",
    .help = "ui.perfetto.dev, chrome://tracing",
    .write = write_chrome,
    .begin = begin_chrome,
    .end = end_chrome,
};
