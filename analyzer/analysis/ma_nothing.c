/* SPDX-License-Identifier: MIT
 *
 * What a trace has that a filter could name, and why it has nothing; see ma_nothing.h. The filter
 * has resolved the frames of every stack that it judged: names are taken from there.
 */
#include "ma_nothing.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_gaps.h"
#include "ma_text.h"

#define SHOWN 8
#define NAME_SIZE 80 /* compared and shown of a name */

struct writer {
    FILE *out;
    unsigned n;
};

struct near {
    char name[NAME_SIZE];
    unsigned distance;
};

bool ma_nothing_matches(const struct ma_analysis *analysis)
{
    const struct ma_filter *filter = analysis->filter;
    if (!filter || filter->books.totals.events)
        return false;
    const struct ma_filter_options *spec = filter->spec;
    return spec->n_pids || spec->n_threads || spec->function.n || spec->module.n ||
           (spec->from.kind && filter->from >= analysis->duration) ||
           ((spec->from.kind || spec->to.kind) && analysis->request->n_conditions);
}

/* Start the next of a list. Returns whether it still has a place. */
static bool next(struct writer *list, const char *title)
{
    if (list->n == SHOWN)
        fputs(", …", list->out);
    if (++list->n <= SHOWN)
        fputs(list->n == 1 ? title : ", ", list->out);
    return list->n <= SHOWN;
}

static void write_processes(FILE *out, const struct ma_trace *trace)
{
    struct writer list = {out, 0};
    for (size_t i = 0; i < trace->n_processes && list.n <= SHOWN; i++) {
        const char *path = ma_process_text(trace->processes[i], MLF_TEXT_EXE);
        const char *slash = strrchr(path, '/');
        if (next(&list, "; processes: "))
            fprintf(out, "%llu (%.40s)", (unsigned long long)ma_process_pid(trace->processes[i]),
                    *path ? slash ? slash + 1 : path : "unknown");
    }
}

static void write_threads(FILE *out, const struct ma_trace *trace)
{
    struct writer list = {out, 0};
    for (size_t i = 0; i < trace->n_streams && list.n <= SHOWN; i++) {
        const struct ma_stream *stream = trace->streams[i];
        if (stream->thread != i || !next(&list, "; threads: "))
            continue;
        fprintf(out, "%llu", (unsigned long long)stream->tid);
        if (stream->name && *stream->name)
            fprintf(out, " (%.40s)", stream->name);
    }
}

/* Edits that make one text of another, upper and lower case alike; 0 if b holds a. */
static unsigned distance_of(const char *a, const char *b)
{
    unsigned row[NAME_SIZE + 1];
    const size_t n = strnlen(a, NAME_SIZE), m = strnlen(b, NAME_SIZE);
    if (n && strcasestr(b, a))
        return 0;
    for (size_t k = 0; k <= m; k++)
        row[k] = (unsigned)k;
    for (size_t i = 1; i <= n; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t k = 1; k <= m; k++) {
            unsigned change =
                corner + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[k - 1]));
            corner = row[k];
            unsigned shift = (row[k - 1] < row[k] ? row[k - 1] : row[k]) + 1;
            row[k] = change < shift ? change : shift;
        }
    }
    return row[m];
}

/* Keep a name among the nearest, once. */
static void offer(struct near *nearest, unsigned *n, const char *name,
                  const struct ma_patterns *patterns)
{
    struct near one = {.distance = ~0U};
    const char *slash = strrchr(name, '/');
    snprintf(one.name, sizeof one.name, "%s", *name == '/' && slash ? slash + 1 : name);
    for (unsigned i = 0; i < *n; i++) {
        if (strcmp(nearest[i].name, one.name) == 0)
            return;
    }
    for (size_t i = 0; i < patterns->n; i++) {
        unsigned distance = distance_of(patterns->all[i].text, one.name);
        one.distance = distance < one.distance ? distance : one.distance;
    }
    unsigned at = *n < SHOWN ? (*n)++ : SHOWN;
    for (; at > 0 && one.distance < nearest[at - 1].distance; at--) {
        if (at < SHOWN)
            nearest[at] = nearest[at - 1];
    }
    if (at < SHOWN)
        nearest[at] = one;
}

static void write_nearest(FILE *out, struct ma_filter *filter, bool modules)
{
    const struct ma_patterns *patterns = modules ? &filter->spec->module : &filter->spec->function;
    struct near nearest[SHOWN] = {0};
    struct writer list = {out, 0};
    unsigned n = 0;
    for (uint32_t pc = 0; patterns->n && pc < filter->n_pcs; pc++) {
        const struct ma_frame *frames;
        long depth = filter->pcs[pc] ? ma_stacks_pc(&filter->stacks, pc, &frames) : 0;
        for (long i = 0; i < depth; i++) {
            const char *name = modules ? frames[i].module : frames[i].function;
            if (name && *name)
                offer(nearest, &n, name, patterns);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        next(&list, modules ? "; modules: " : "; functions with the nearest names: ");
        fputs(nearest[i].name, out);
    }
}

const char *ma_nothing_sentence(struct ma_analysis *analysis, char *buffer, size_t size)
{
    struct ma_filter *filter = analysis->filter;
    const struct ma_filter_options *spec = filter->spec;
    char number[MA_HUMAN_SIZE];
    FILE *out = fmemopen(buffer, size, "w");
    buffer[0] = '\0';
    if (!out)
        return buffer;
    fputs("nothing in the trace matches the filter", out);
    if (spec->from.kind || spec->to.kind)
        fprintf(out, "; the trace lasts %s", ma_human_time(number, analysis->duration));
    if (spec->n_pids)
        write_processes(out, &analysis->trace);
    if (spec->n_threads)
        write_threads(out, &analysis->trace);
    write_nearest(out, filter, false);
    write_nearest(out, filter, true);
    fclose(out);
    buffer[size - 1] = '\0';
    return buffer;
}

/* Returns 1 if some stack has a frame of an executable, or is cut before it could show,
 * 0 if none has, or -ENOMEM. */
static int comes_from_executable(struct ma_analysis *analysis)
{
    struct ma_stacks *stacks = &analysis->stacks;
    for (size_t i = 0; i < analysis->n_rows; i++) {
        const uint32_t *pcs, id = analysis->rows[i].stack;
        if (id < MLF_FIRST_NODE || ma_stacks_root(stacks, id) != MLF_ROOT_WHOLE)
            return 1;
        long n = ma_stacks_pcs(stacks, id, &pcs);
        if (n < 0)
            return -ENOMEM;
        for (long k = n - 1; k >= 0; k--)
            if (stacks->objects[stacks->pcs[pcs[k]].object].executable)
                return 1;
    }
    return 0;
}

/* The program as it can be typed behind a command. */
static void quote(const char *path, char *buffer, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_./+-=:,@%";
    if (!*path || strchr(path, '\''))
        snprintf(buffer, size, "PROG");
    else if (strspn(path, plain) == strlen(path))
        snprintf(buffer, size, "%s", path);
    else
        snprintf(buffer, size, "'%s'", path);
}

int ma_nothing_check(struct ma_analysis *analysis, struct ma_error *error)
{
    char text[480];
    if (!ma_nothing_matches(analysis))
        return 0;
    return ma_fail(error, -ENOMSG, "%s: %s", ma_source_name(analysis->source),
                   ma_nothing_sentence(analysis, text, sizeof text));
}

bool ma_nothing_recorded(struct ma_analysis *analysis, char *buffer, size_t size)
{
    const struct ma_trace *trace = &analysis->trace;
    const bool none = !analysis->replay.totals.events;
    char damage[400];
    if (analysis->filter || ma_audit_is_damaged(&trace->audit, damage, sizeof damage) ||
        (!none && comes_from_executable(analysis) != 0))
        return false;
    char program[300];
    quote(trace->n_processes ? ma_process_text(trace->processes[0], MLF_TEXT_EXE) : "", program,
          sizeof program);
    if (none && ma_gaps_count(trace))
        snprintf(buffer, size,
                 "Nothing was recorded of %s: recording was paused, and did not go on. While it "
                 "runs: mlog ctl PID resume",
                 program);
    else if (none)
        snprintf(buffer, size,
                 "Nothing was recorded of %s: %s no call of malloc's family, or has an allocator "
                 "of its own. Which it is: mlog doctor %s",
                 program, analysis->ongoing ? "it has made" : "it made", program);
    else
        snprintf(buffer, size,
                 "No call came from %s itself, only from libraries and the loader: it has an "
                 "allocator of its own, or another language's heap. Which it is: mlog doctor %s",
                 program, program);
    return true;
}
