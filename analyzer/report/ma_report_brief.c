/* SPDX-License-Identifier: MIT
 *
 * The conclusions in at most 3 KiB, of text or JSON, for a ticket, a chat or a script: it is
 * all of the output when it is asked for. What it says is taken from the other reports, so it
 * is what they say: the verdict's sentence, totals, whether the trace is whole, the first
 * stacks of leaks and peak with their numbers, and the command that shows the first one.
 * Texts are cut at bytes, counted as JSON would write them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ma_audit.h"
#include "ma_filter.h"
#include "ma_report.h"
#include "ma_text.h"

#define LEAKS 5
#define PEAKS 3
#define NAME_ROOM 100 /* bytes of a function's name in JSON */
#define PLACE_ROOM 60
#define SENTENCE_ROOM 260

/* Bytes that JSON writes for one of these. */
static size_t room_of(unsigned char byte)
{
    return byte < 0x20 || byte == 0x7f ? 6 : byte == '"' || byte == '\\' ? 2 : byte >= 0x80 ? 3 : 1;
}

/* As much of a text as fits, "…" where that is not all. Returns buffer. */
static const char *cut(const char *text, size_t room, char *buffer, size_t size)
{
    const size_t mark = 9; /* "…" */
    size_t used = 0, n = 0, fits = 0;
    for (; text[n] && n + 4 < size; n++) {
        used += room_of((unsigned char)text[n]);
        if (used > room)
            break;
        if (used + mark <= room && ((unsigned char)text[n + 1] & 0xc0) != 0x80)
            fits = n + 1; /* not inside a character */
    }
    const bool all = !text[n];
    snprintf(buffer, size, "%.*s%s", (int)(all ? n : fits), text, all ? "" : "…");
    return buffer;
}

static const char *text_of(const struct ma_value *object, const char *key)
{
    const struct ma_value *value = ma_model_find(object, key);
    return value && value->type == MA_TEXT ? value->text : NULL;
}

static uint64_t number_of(const struct ma_value *object, const char *key)
{
    const struct ma_value *value = ma_model_find(object, key);
    return value ? value->number : 0;
}

/* Add the first entries of a report of stacks as a table. */
static void add_stacks(struct ma_model *model, struct ma_value *brief,
                       const struct ma_value *entries, const char *key, const char *title,
                       size_t most)
{
    char buffer[512];
    struct ma_value *array = ma_model_array(model, brief, key, title, MA_TABLE);
    for (const struct ma_value *entry = entries ? entries->first : NULL; entry && array->n < most;
         entry = entry->next) {
        const struct ma_value *label = ma_model_find(entry, "label");
        const char *kind = text_of(entry, "kind");
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, row, "bytes", "bytes", MA_BYTES, number_of(entry, "bytes"));
        ma_model_number(model, row, "blocks", "blocks", MA_COUNT, number_of(entry, "blocks"));
        if (kind)
            ma_model_text(model, row, "kind", "kind", kind);
        ma_model_text(model, row, "stack_id", "stack", text_of(entry, "stack_id"));
        const char *name = label && label->text ? label->text : "";
        ma_model_text(model, row, "label", "where", cut(name, NAME_ROOM, buffer, sizeof buffer));
        ma_model_text(model, row, "at", "at",
                      label && label->note ? cut(label->note, PLACE_ROOM, buffer, sizeof buffer)
                                           : NULL);
    }
}

/* Of a run: which program, and how large it was. */
static void add_totals(const struct ma_analysis *analysis, struct ma_model *model,
                       struct ma_value *brief, const struct ma_value *summary)
{
    char command[MA_COMMAND_SIZE], buffer[512], blocks[MA_COUNTED_SIZE];
    char peak[MA_HUMAN_SIZE], after[MA_HUMAN_SIZE], lasted[MA_HUMAN_SIZE], left[MA_HUMAN_SIZE];
    const struct ma_trace *trace = &analysis->trace;
    const struct ma_process *first = trace->n_processes ? trace->processes[0] : NULL;
    const char *name = first ? ma_report_command(first, true, command) : "unknown";
    ma_model_text(model, brief, "program", NULL, cut(name, NAME_ROOM, buffer, sizeof buffer));
    ma_model_number(model, brief, "processes", NULL, MA_COUNT, trace->n_processes);
    static const struct {
        const char *key;
        enum ma_unit unit;
    } told[] = {{"duration_ns", MA_NANOSECONDS}, {"events", MA_COUNT},
                {"allocations", MA_COUNT},       {"allocated_bytes", MA_BYTES},
                {"peak_bytes", MA_BYTES},        {"peak_time_ns", MA_NANOSECONDS},
                {"leaked_bytes", MA_BYTES},      {"leaked_blocks", MA_COUNT}};
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        ma_model_number(model, brief, told[i].key, NULL, told[i].unit,
                        number_of(summary, told[i].key));
    ma_human_time(lasted, number_of(summary, "duration_ns"));
    if (trace->n_processes > 1)
        ma_model_format(model, brief, NULL, "program", "%s and %s, %s", buffer,
                        ma_human_counted(blocks, trace->n_processes - 1, "more process"), lasted);
    else
        ma_model_format(model, brief, NULL, "program", "%s, %s", buffer, lasted);
    ma_model_format(model, brief, NULL, "peak", "%s after %s",
                    ma_human_bytes(peak, number_of(summary, "peak_bytes")),
                    ma_human_time(after, number_of(summary, "peak_time_ns")));
    ma_model_format(model, brief, NULL, "never freed", "%s in %s",
                    ma_human_bytes(left, number_of(summary, "leaked_bytes")),
                    ma_human_counted(blocks, number_of(summary, "leaked_blocks"), "block"));
}

/* The sentence that the verdict leads with where a process was killed for memory. */
static void add_killed(struct ma_model *model, struct ma_value *brief,
                       const struct ma_value *verdict)
{
    const struct ma_value *killed = ma_model_find(verdict, "killed_for_memory");
    char buffer[512];
    const char *sentence = killed && killed->type == MA_OBJECT ? text_of(killed, "sentence") : NULL;
    ma_model_text(model, brief, "killed", sentence ? "" : NULL,
                  sentence ? cut(sentence, SENTENCE_ROOM, buffer, sizeof buffer) : NULL);
}

static int add_filter(const struct ma_analysis *analysis, struct ma_model *model,
                      struct ma_value *brief)
{
    char buffer[512];
    char *text = analysis->filter ? ma_filter_text(analysis->filter) : NULL;
    if (analysis->filter && !text)
        return -ENOMEM;
    ma_model_text(model, brief, "filter", text ? "" : NULL,
                  text ? cut(text, SENTENCE_ROOM, buffer, sizeof buffer) : NULL);
    free(text);
    return 0;
}

/* Whether the numbers can be relied on, and else the first reason why not. */
static void add_audit(struct ma_model *model, struct ma_value *brief, const struct ma_value *audit)
{
    char buffer[512], more[MA_COUNTED_SIZE];
    const struct ma_value *complete = ma_model_find(audit, "complete");
    const struct ma_value *warnings = ma_model_find(audit, "warnings");
    const bool whole = complete && complete->number;
    const char *why = whole || !warnings || !warnings->first ? NULL : warnings->first->text;
    ma_model_boolean(model, brief, "complete", NULL, whole);
    ma_model_text(model, brief, "doubt", NULL,
                  why ? cut(why, SENTENCE_ROOM, buffer, sizeof buffer) : NULL);
    ma_model_number(model, brief, "doubts", NULL, MA_COUNT, whole || !warnings ? 0 : warnings->n);
    if (!why)
        ma_model_text(model, brief, NULL, "trace", whole ? "complete" : "not complete");
    else if (warnings->n < 2)
        ma_model_format(model, brief, NULL, "trace", "NOT COMPLETE: %s", buffer);
    else
        ma_model_format(model, brief, NULL, "trace", "NOT COMPLETE: %s (and %s: --summary)", buffer,
                        ma_human_counted(more, warnings->n - 1, "more sentence"));
}

static void add_next(const struct ma_analysis *analysis, struct ma_model *model,
                     struct ma_value *brief, const struct ma_value *leaks,
                     const struct ma_value *peak)
{
    const struct ma_value *entry = leaks && leaks->first ? leaks->first
                                   : peak && peak->first ? peak->first
                                                         : NULL;
    const char *number = entry ? text_of(entry, "stack_id") : NULL;
    char buffer[512];
    if (number)
        ma_model_format(model, brief, "next", "next", "mlog-analyze %s --stack=%s",
                        cut(analysis->request->trace, SENTENCE_ROOM, buffer, sizeof buffer),
                        number);
    else
        ma_model_null(model, brief, "next");
}

static int build_brief(struct ma_analysis *analysis, struct ma_model *model)
{
    static const struct ma_report *const sources[] = {
        &ma_report_verdict, &ma_report_summary, &ma_report_leaks, &ma_report_peak, &ma_report_audit,
    };
    const struct ma_request *asked = analysis->request;
    struct ma_request machine = *asked; /* its entries are single stacks */
    struct ma_model source;
    int result = 0;
    machine.json = true;
    machine.top = LEAKS;
    analysis->request = &machine;
    ma_model_init(&source);
    for (size_t i = 0; i < sizeof sources / sizeof *sources && result == 0; i++)
        result = sources[i]->build(analysis, &source);
    analysis->request = asked;
    if (result == 0 && !source.failed) {
        char buffer[512];
        ma_model_text(model, &model->root, "schema", NULL, "mlog-brief/1");
        struct ma_value *brief = ma_model_object(model, &model->root, "brief", "Brief", MA_FIELDS);
        const struct ma_value *leaks = ma_model_find(&source.root, "leaks");
        const struct ma_value *peak = ma_model_find(&source.root, "peak");
        const char *sentence = text_of(ma_model_find(&source.root, "verdict"), "sentence");
        add_killed(model, brief, ma_model_find(&source.root, "verdict"));
        ma_model_text(model, brief, "verdict", "",
                      sentence ? cut(sentence, SENTENCE_ROOM, buffer, sizeof buffer) : NULL);
        result = add_filter(analysis, model, brief);
        add_totals(analysis, model, brief, ma_model_find(&source.root, "summary"));
        add_audit(model, brief, ma_model_find(&source.root, "audit"));
        add_next(analysis, model, brief, leaks, peak);
        add_stacks(model, brief, leaks, "leaks", "Leaks", LEAKS);
        add_stacks(model, brief, peak, "peak", "Peak", PEAKS);
    }
    result = source.failed ? -ENOMEM : result;
    ma_model_free(&source);
    return result;
}

const struct ma_report ma_report_brief = {
    .name = "brief",
    .help = "the conclusions in 3 KiB, and nothing else",
    .alone = true,
    .build = build_brief,
};
