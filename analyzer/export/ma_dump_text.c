/* SPDX-License-Identifier: MIT
 *
 * --dump=text: the log grammar of malloc-stat. Entries begin with '+', name,
 * size and address, then the frames of the stack, and end with '-'. Lines with
 * '#' say what that grammar has no words for: a "# PID" wherever the process of
 * the entries changes, "# MARK", "# BEGIN", "# END", "# PRINT", "# SAVEPOINT" and
 * "# ASSERT" with the text of a mark, of what was printed, or a savepoint's name,
 * "# PAUSE" and "# RESUME" with who asked. INIT has the two numbers of any entry: in
 * malloc-stat what its own start took, here none. A realloc that moves its block is two
 * entries, realloc-free for the old and realloc-realloc for the new.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_dump.h"
#include "ma_text.h"

static void header_line(FILE *out, const char *name, const char *text)
{
    fprintf(out, "# %s ", name);
    ma_write_text(out, text, SIZE_MAX);
    putc('\n', out);
}

static void begin_process(FILE *out, const struct ma_process *process)
{
    const struct ma_process *named = ma_process_program(process);
    header_line(out, "EXE", ma_process_text(named, MLF_TEXT_EXE));
    header_line(out, "CWD", ma_process_text(named, MLF_TEXT_CWD));
    fputs("# MAPS\n", out);
    const char *maps = ma_process_text(named, MLF_TEXT_MAPS);
    while (*maps) {
        size_t length = strcspn(maps, "\n");
        char *line = strndup(maps, length);
        ma_write_text(out, line ? line : "", SIZE_MAX);
        putc('\n', out);
        free(line);
        maps += length + (maps[length] == '\n');
    }
    fputs("+ INIT 0 0x0\n-\n", out);
}

/* The end of the latest process, if it has ended, and in the window. */
static void end_process(const struct ma_dump *dump)
{
    const struct ma_process *process = dump->current;
    const struct ma_analysis *analysis = dump->analysis;
    if (process && process->ended &&
        (!analysis->filter ||
         ma_filter_has(analysis->filter, process,
                       ma_clock_ns(&analysis->trace, process, process->end_time))))
        fputs("+ FINI\n-\n", dump->out);
}

/* True if the process has its header; a filter keeps back those that have no entries. */
static bool header_written(const struct ma_dump *dump, const struct ma_process *process)
{
    return process->index < dump->n_has_header && dump->has_header[process->index];
}

static int write_header(struct ma_dump *dump, const struct ma_process *process)
{
    if (!MA_HOLDS(dump->has_header, process->index, dump->n_has_header))
        return -ENOMEM;
    dump->has_header[process->index] = 1;
    begin_process(dump->out, process);
    return 0;
}

/* Switch to this process: the entries that follow are its own. */
static int enter(struct ma_dump *dump, const struct ma_process *process)
{
    if (process != dump->current) {
        end_process(dump);
        fprintf(dump->out, "# PID %" PRIu64 "\n", ma_process_pid(process));
        if (dump->analysis->trace.places && process->record.pid_namespace)
            fprintf(dump->out, "# NAMESPACE %" PRIu64 "\n", process->record.pid_namespace);
        dump->current = process;
    }
    return dump->analysis->filter && process->known && !header_written(dump, process)
               ? write_header(dump, process)
               : 0;
}

static void frame(FILE *out, const struct ma_process *process, const struct ma_node *node,
                  size_t index)
{
    const struct ma_module *module = ma_process_module(process, node->module);
    (void)index;
    if (module)
        ma_write_text(out, module->path, SIZE_MAX);
    fprintf(out, "(+0x%" PRIx64 ")[0x%" PRIx64 "]\n", node->offset,
            ma_process_address(process, node));
}

static void entry(FILE *out, const char *name, uint64_t size, uint64_t address)
{
    fprintf(out, "+ %s %" PRIu64 " 0x%" PRIx64 "\n", name, size, address);
}

static int allocation(const struct ma_dump *dump, const struct ma_merged *merged, const char *name)
{
    const struct ma_event *event = merged->event;
    entry(dump->out, name, event->size, event->address);
    int result = ma_dump_stack(dump->analysis, merged->process, event->stack, frame, dump->out);
    fputs("-\n", dump->out);
    return result;
}

static int write_event(const struct ma_dump *dump, const struct ma_merged *merged)
{
    const struct ma_event *event = merged->event;
    const uint64_t size = dump->sight.ended_size;
    switch (event->type) {
    case MA_EVENT_ALLOC:
        return allocation(dump, merged,
                          event->function == MLF_FN_realloc ? "realloc-alloc"
                                                            : ma_function_names[event->function]);
    case MA_EVENT_FREE:
        entry(dump->out, event->function == MLF_FN_realloc ? "realloc-free" : "free", size,
              event->address);
        fputs("-\n", dump->out);
        return 0;
    default: /* a realloc */
        if (event->address == event->old_address)
            return allocation(dump, merged, "realloc-inplace");
        entry(dump->out, "realloc-free", size, event->old_address);
        fputs("-\n", dump->out);
        return allocation(dump, merged, "realloc-realloc");
    }
}

/* The word for what a program said, or of a pause of the recording, and its text; NULL:
 * it is something else. */
static const char *word_of(const struct ma_record *record, struct ma_bytes *text)
{
    static const char *const names[] = {
        [MLF_MARK_POINT] = "MARK",
        [MLF_MARK_BEGIN] = "BEGIN",
        [MLF_MARK_END] = "END",
    };
    const struct ma_short_record *brief = &record->brief;
    switch (record->tag) {
    case MLF_REC_MARK:
        *text = brief->mark.name;
        return brief->mark.kind < sizeof names / sizeof *names && names[brief->mark.kind]
                   ? names[brief->mark.kind]
                   : "MARK";
    case MLF_REC_PRINT: *text = brief->print.text; return "PRINT";
    case MLF_REC_SAVEPOINT:
        *text = brief->savepoint.name;
        return brief->savepoint.flags & MLF_SAVEPOINT_ASSERTED ? "ASSERT" : "SAVEPOINT";
    case MLF_REC_WINDOW: {
        const char *by = ma_window_by_name(brief->window.by);
        *text = (struct ma_bytes){(const unsigned char *)by, strlen(by)};
        return brief->window.what == MLF_WINDOW_RESUME ? "RESUME" : "PAUSE";
    }
    default: return NULL;
    }
}

/* What a program said, at its place among the entries of its process: with a filter of
 * one that has an entry. */
static int write_said(struct ma_dump *dump, const struct ma_merged *merged)
{
    struct ma_bytes text;
    const char *word;
    const struct ma_analysis *analysis = dump->analysis;
    struct ma_record record;
    const char *problem;
    if (ma_record_decode(&record, merged->event->function, MLF_EVENTS, merged->event->record,
                         (size_t)merged->event->size, &problem) <= 0 ||
        !(word = word_of(&record, &text)))
        return 0;
    if (analysis->filter &&
        (!header_written(dump, merged->process) ||
         !ma_filter_has(analysis->filter, merged->process,
                        ma_clock_ns(&analysis->trace, merged->process, merged->event->time))))
        return 0;
    char *copy = strndup((const char *)text.data, text.size);
    int result = copy ? enter(dump, merged->process) : -ENOMEM;
    if (result == 0)
        header_line(dump->out, word, copy);
    free(copy);
    return result;
}

static int begin_text(struct ma_dump *dump)
{
    const struct ma_filter *filter = dump->analysis->filter;
    char *text = filter ? ma_filter_text(filter) : NULL;
    if (filter && !text)
        return -ENOMEM;
    if (filter)
        header_line(dump->out, "FILTER", text);
    free(text);
    return 0;
}

static int event_text(struct ma_dump *dump, const struct ma_merged *merged)
{
    struct ma_event part;
    struct ma_merged shown = *merged;
    int result = 0;
    switch (merged->event->type) {
    case MA_EVENT_FORK:
    case MA_EVENT_START:
        if (dump->analysis->filter)
            break;
        if ((result = enter(dump, merged->process)) == 0)
            begin_process(dump->out, merged->process);
        break;
    case MA_EVENT_ALLOC:
    case MA_EVENT_FREE:
    case MA_EVENT_REALLOC: {
        enum ma_dump_extent extent = ma_dump_extent(dump, merged, &part);
        if (extent == MA_DUMP_NOTHING)
            break;
        if (extent == MA_DUMP_PART)
            shown.event = &part;
        if ((result = enter(dump, merged->process)) == 0)
            result = write_event(dump, &shown);
        break;
    }
    case MA_EVENT_RECORD:
        if (merged->event->function == MLF_REC_MARK || merged->event->function == MLF_REC_PRINT ||
            merged->event->function == MLF_REC_SAVEPOINT ||
            merged->event->function == MLF_REC_WINDOW)
            result = write_said(dump, merged);
        break;
    default: break;
    }
    return result < 0 ? result : ferror(dump->out) ? -EIO : 0;
}

static int end_text(struct ma_dump *dump)
{
    end_process(dump);
    return 0;
}

const struct ma_dumper ma_dumper_text = {
    .name = "text",
    .begin = begin_text,
    .event = event_text,
    .end = end_text,
    .replays = true,
};
