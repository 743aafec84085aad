/* SPDX-License-Identifier: MIT
 *
 * The trace and its processes: "schema", "trace" and "processes" of the JSON.
 */
#include <stdio.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_ending.h"
#include "ma_report.h"

#define BRIEFLY 60 /* bytes of a command line */

static void add_arguments(struct ma_model *model, struct ma_value *object,
                          const struct ma_process *process)
{
    struct ma_value *array = ma_model_array(model, object, "arguments", NULL, MA_LINES);
    const struct ma_text *text = &process->texts[MLF_TEXT_ARGS];
    for (size_t at = 0; at < text->size; at += strlen(text->data + at) + 1)
        ma_model_text(model, array, NULL, NULL, text->data + at);
}

/* Cut at `most` bytes, before the character that lies there. */
static void cut(char *text, size_t most)
{
    if (strlen(text) <= most)
        return;
    while (most && ((unsigned char)text[most] & 0xc0) == 0x80)
        most--;
    strcpy(text + most, "…");
}

const char *ma_report_command(const struct ma_process *process, bool briefly,
                              char buffer[MA_COMMAND_SIZE])
{
    const struct ma_process *named = ma_process_program(process);
    const struct ma_text *arguments = &named->texts[MLF_TEXT_ARGS];
    const char *executable = ma_process_text(named, MLF_TEXT_EXE);
    size_t used = 0;
    buffer[0] = '\0';
    for (size_t at = 0; at < arguments->size && used < MA_COMMAND_SIZE - 1;
         at += strlen(arguments->data + at) + 1)
        used += (size_t)snprintf(buffer + used, MA_COMMAND_SIZE - used, "%s%s", at ? " " : "",
                                 arguments->data + at);
    if (!buffer[0])
        snprintf(buffer, MA_COMMAND_SIZE, "%s", executable[0] ? executable : "unknown");
    if (!briefly)
        return buffer;
    const char *first = arguments->size ? arguments->data : buffer;
    const char *slash = strrchr(first, '/');
    const size_t folder = slash && slash[1] ? (size_t)(slash + 1 - first) : 0;
    if (folder < MA_COMMAND_SIZE - 1)
        memmove(buffer, buffer + folder, strlen(buffer + folder) + 1);
    cut(buffer, BRIEFLY);
    return buffer;
}

static const char *text_or_null(const struct ma_process *process, unsigned what)
{
    const char *text = ma_process_text(process, what);
    return text[0] ? text : NULL;
}

static void number_or_null(struct ma_model *model, struct ma_value *object, const char *key,
                           enum ma_unit unit, bool is_known, uint64_t number)
{
    if (is_known)
        ma_model_number(model, object, key, NULL, unit, number);
    else
        ma_model_null(model, object, key);
}

/* A signal that comes after the process's own last word is what ended it. */
static void add_end(const struct ma_analysis *analysis, struct ma_model *model,
                    struct ma_value *object, const struct ma_process *process)
{
    const bool told = process->reaped.told, killed = process->reaped.killed;
    const uint64_t end = process->ended ? process->end_time : process->reaped.time;
    char text[MA_ENDING_TEXT];
    number_or_null(model, object, "end", MA_NANOSECONDS, ma_process_is_over(process),
                   ma_clock_ns(&analysis->trace, process, end));
    ma_model_text(model, object, "end_how", NULL,
                  process->ended ? ma_end_name(process->end_how)
                  : killed       ? "signal"
                  : told         ? "silent"
                                 : NULL);
    number_or_null(model, object, "status", MA_PLAIN, process->ended || (told && !killed),
                   process->ended ? process->end_status : process->reaped.status);
    number_or_null(model, object, "signal", MA_PLAIN, killed, process->reaped.status);
    ma_model_boolean(model, object, "core_dumped", NULL, process->reaped.core);
    ma_model_text(model, object, "end_text", NULL, ma_ending_text(process, text));
}

static void add_process(struct ma_analysis *analysis, struct ma_model *model,
                        struct ma_value *array, const struct ma_process *process)
{
    struct ma_value *object = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    const struct ma_process_record *record = &process->record;
    ma_model_number(model, object, "pid", NULL, MA_PLAIN, ma_process_pid(process));
    ma_model_number(model, object, "parent_pid", NULL, MA_PLAIN,
                    process->known ? record->parent_pid : 0);
    if (record->pid_namespace)
        ma_model_number(model, object, "pid_namespace", NULL, MA_PLAIN, record->pid_namespace);
    else
        ma_model_null(model, object, "pid_namespace");
    ma_model_text(model, object, "how", NULL,
                  !process->known               ? "unknown"
                  : record->how == MLF_HOW_FORK ? "fork"
                                                : "start");
    const struct ma_process *named = ma_process_program(process);
    ma_model_text(model, object, "executable", NULL, text_or_null(named, MLF_TEXT_EXE));
    add_arguments(model, object, named);
    ma_model_text(model, object, "working_directory", NULL, text_or_null(named, MLF_TEXT_CWD));
    ma_model_number(model, object, "start", NULL, MA_NANOSECONDS,
                    ma_clock_ns(&analysis->trace, process, record->start));
    add_end(analysis, model, object, process);
    ma_model_number(model, object, "start_realtime_ns", NULL, MA_PLAIN, record->realtime_ns);
    const struct ma_replay *books = ma_analysis_books(analysis);
    const struct ma_account *account =
        process->index < books->n_accounts ? books->accounts[process->index] : NULL;
    struct ma_sum leaked = {0, 0};
    if (account && ma_unsure_leaked(account, &leaked) < 0)
        leaked = (struct ma_sum){account->live_bytes, account->live_blocks};
    ma_model_number(model, object, "allocations", NULL, MA_COUNT,
                    account ? account->allocations : 0);
    ma_model_number(model, object, "allocated_bytes", NULL, MA_BYTES,
                    account ? account->allocated_bytes : 0);
    ma_model_number(model, object, "frees", NULL, MA_COUNT, account ? account->frees : 0);
    ma_model_number(model, object, "freed_bytes", NULL, MA_BYTES,
                    account ? account->freed_bytes : 0);
    ma_model_number(model, object, "leaked_bytes", NULL, MA_BYTES, leaked.bytes);
    ma_model_number(model, object, "leaked_blocks", NULL, MA_COUNT, leaked.blocks);
}

static int build_trace(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_reader *reader = &analysis->merge.reader;
    const struct ma_trace *trace = &analysis->trace;
    ma_model_text(model, &model->root, "schema", NULL, "mlog-report/1");
    struct ma_value *object = ma_model_object(model, &model->root, "trace", NULL, MA_FIELDS);
    ma_model_text(model, object, "path", NULL, ma_source_name(analysis->source));
    ma_model_format(model, object, "format_version", NULL, "%u.%u", reader->major, reader->minor);
    ma_model_text(model, object, "layout", NULL,
                  reader->layout == MLF_LAYOUT_MAPPED ? "mapped" : "stream");
    ma_model_text(model, object, "compression", NULL,
                  ma_source_compressed(analysis->source) ? "zstd" : NULL);
    const struct ma_process *first = trace->n_processes ? trace->processes[0] : NULL;
    bool guessed;
    ma_model_text(model, object, "clock", NULL, first ? ma_clock_name(first->record.clock) : NULL);
    ma_model_number(model, object, "clock_rate", NULL, MA_PLAIN,
                    first ? ma_clock_rate(first, &guessed) : 0);
    ma_model_text(model, object, "host", NULL, first ? text_or_null(first, MLF_TEXT_HOST) : NULL);
    ma_model_text(model, object, "writer", NULL,
                  first ? text_or_null(first, MLF_TEXT_WRITER) : NULL);
    ma_model_number(model, object, "bytes", NULL, MA_BYTES, reader->at);
    struct ma_value *array = ma_model_array(model, &model->root, "processes", NULL, MA_TABLE);
    for (size_t i = 0; i < trace->n_processes; i++)
        add_process(analysis, model, array, trace->processes[i]);
    return 0;
}

const struct ma_report ma_report_trace = {
    .name = "trace",
    .always = true,
    .build = build_trace,
};
