/* SPDX-License-Identifier: MIT
 *
 * A database of an analysis; see ma_sql.h. Here are its life, and the tables of the run, its
 * processes and threads, and the audit.
 */
#include "ma_sql.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma_clock.h"
#include "ma_dump.h"
#include "ma_gaps.h"
#include "ma_report.h"
#include "ma_sql_impl.h"
#include "ma_sql_schema.h"
#include "ma_text.h"
#include "mlog_version.h"

#define INDEXES "-- Indexes," /* where the schema's second half begins */

const char *ma_sql_schema(void)
{
    return ma_sql_schema_text;
}

/* Asked a few times a second during the pass. */
static bool has_failed(void *context, struct ma_analysis *analysis)
{
    const struct ma_sql *sql = context;
    (void)analysis;
    return sql->store.failed != 0;
}

struct ma_sql *ma_sql_begin(struct ma_analysis *analysis, const char *path)
{
    struct ma_sql *sql = calloc(1, sizeof *sql);
    if (!sql)
        return NULL;
    sql->analysis = analysis;
    assert(!analysis->poll); /* it is of --follow, which takes no exports */
    analysis->poll = has_failed;
    analysis->poll_context = sql;
    ma_sql_store_open(&sql->store, path);
    const char *end = strstr(ma_sql_schema_text, INDEXES);
    char *tables = strndup(ma_sql_schema_text, (size_t)(end - ma_sql_schema_text));
    int result = tables ? 0 : -ENOMEM;
    if (tables)
        ma_sql_do(&sql->store, tables);
    free(tables);
    ma_sql_do(&sql->store, "BEGIN");
    if (result == 0 && !analysis->process_peaks)
        result = ma_report_processes.observe(analysis);
    if (result == 0)
        result = ma_sql_blocks_begin(sql);
    if (result < 0) {
        ma_sql_free(sql);
        return NULL;
    }
    return sql;
}

/* The arguments of a process with blanks between, or its executable: to free. NULL: memory
 * ran out; "" if the trace has neither. */
static char *command_of(const struct ma_process *process)
{
    const struct ma_process *named = ma_process_program(process);
    const struct ma_text *arguments = &named->texts[MLF_TEXT_ARGS];
    if (!arguments->size)
        return strdup(ma_process_text(named, MLF_TEXT_EXE));
    char *command = malloc(arguments->size + 1);
    if (!command)
        return NULL;
    memcpy(command, arguments->data, arguments->size);
    size_t n = arguments->size;
    while (n && !command[n - 1])
        n--;
    for (size_t i = 0; i < n; i++)
        command[i] = command[i] ? command[i] : ' ';
    command[n] = '\0';
    return command;
}

static const char *or_null(const char *text)
{
    return text && text[0] ? text : NULL;
}

static int store_meta(struct ma_sql *sql)
{
    static const char *const blocks[] = {
        [MA_BLOCKS_BOUNDED] = "bounded",
        [MA_BLOCKS_ALL] = "all",
        [MA_BLOCKS_LIVE] = "live",
        [MA_BLOCKS_SAMPLED] = "sampled",
    };
    struct ma_analysis *analysis = sql->analysis;
    char *filter = analysis->filter ? ma_filter_text(analysis->filter) : NULL;
    const struct {
        const char *name, *text;
    } rows[] = {
        {"writer", "mlog " MLOG_VERSION},
        {"trace", ma_source_name(analysis->source)},
        {"filter", filter},
        {"blocks", blocks[analysis->request->blocks]},
    };
    struct ma_sql_insert insert;
    ma_sql_prepare(&sql->store, &insert, "INSERT INTO meta VALUES(?, ?)");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ma_sql_text(&insert, rows[i].name);
        ma_sql_text(&insert, rows[i].text);
        ma_sql_store_row(&insert);
    }
    ma_sql_text(&insert, "schema_version");
    ma_sql_integer(&insert, MA_SQL_VERSION);
    ma_sql_store_row(&insert);
    ma_sql_finish(&insert);
    free(filter);
    return analysis->filter && !filter ? -ENOMEM : 0;
}

static int store_run(struct ma_sql *sql)
{
    const struct ma_analysis *analysis = sql->analysis;
    const struct ma_replay *books = ma_analysis_books(analysis);
    const struct ma_trace *trace = &analysis->trace;
    const struct ma_process *first = trace->n_processes ? trace->processes[0] : NULL;
    const struct ma_window window = ma_analysis_window(analysis);
    const struct ma_totals *totals = &books->totals;
    char *command = first ? command_of(first) : NULL, id[17] = "";
    struct ma_sql_insert insert;
    ma_sql_prepare(&sql->store, &insert,
                   "INSERT INTO runs VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                   " ?, ?, ?, ?, ?)");
    snprintf(id, sizeof id, "%016" PRIx64, first ? first->key : 0);
    ma_sql_text(&insert, id);
    ma_sql_text(&insert, ma_source_name(analysis->source));
    ma_sql_text(&insert, or_null(command));
    ma_sql_text(&insert, first ? or_null(ma_process_text(first, MLF_TEXT_HOST)) : NULL);
    ma_sql_count_if(&insert, first && first->known, first ? first->record.realtime_ns : 0);
    const uint64_t counts[] = {
        analysis->duration,
        window.from,
        window.to,
        totals->events,
        totals->allocations,
        totals->frees,
        totals->reallocations,
        totals->failed,
        totals->allocated_bytes,
        totals->freed_bytes,
        totals->usable_bytes,
        totals->temporary,
        analysis->leaked_bytes,
        analysis->leaked_blocks,
        books->peak_bytes,
        books->peak_blocks,
        books->peak_process ? ma_clock_ns(trace, books->peak_process, books->peak_ticks) : 0,
        analysis->n_rows,
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        ma_sql_count(&insert, counts[i]);
    ma_sql_store_row(&insert);
    ma_sql_finish(&insert);
    free(command);
    return first && !command ? -ENOMEM : 0;
}

static void bind_sums(struct ma_sql *sql, struct ma_sql_insert *insert, uint32_t index)
{
    const struct ma_replay *books = ma_analysis_books(sql->analysis);
    const struct ma_process_peaks *peaks = sql->analysis->process_peaks;
    const struct ma_account none = {0};
    const struct ma_account *account =
        index < books->n_accounts && books->accounts[index] ? books->accounts[index] : &none;
    const struct ma_process_peak *peak =
        index < peaks->n_processes ? &peaks->processes[index] : NULL;
    ma_sql_count(insert, account->allocations);
    ma_sql_count(insert, account->frees);
    ma_sql_count(insert, account->allocated_bytes);
    ma_sql_count(insert, account->freed_bytes);
    ma_sql_count(insert, account->live_bytes);
    ma_sql_count(insert, account->live_blocks);
    ma_sql_count(insert, peak ? peak->peak_bytes : 0);
    ma_sql_count(insert, peak ? peak->peak_blocks : 0);
    ma_sql_count_if(insert, peak && peak->peak_blocks, peak ? peak->peak_ns : 0);
}

static int store_processes(struct ma_sql *sql)
{
    const struct ma_trace *trace = &sql->analysis->trace;
    struct ma_sql_insert insert;
    int result = 0;
    ma_sql_prepare(&sql->store, &insert,
                   "INSERT INTO processes VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                   " ?, ?, ?, ?)");
    for (size_t i = 0; i < trace->n_processes && result == 0; i++) {
        const struct ma_process *process = trace->processes[i];
        const struct ma_process_record *record = &process->record;
        const bool known = process->known;
        char *command = command_of(process);
        result = command ? 0 : -ENOMEM;
        ma_sql_integer(&insert, process->index);
        ma_sql_count_if(&insert, known, record->pid);
        ma_sql_count_if(&insert, known, record->parent_pid);
        ma_sql_count_if(&insert, process->parent, process->parent ? process->parent->index : 0);
        ma_sql_text(&insert, or_null(ma_process_text(ma_process_program(process), MLF_TEXT_EXE)));
        ma_sql_text(&insert, or_null(command));
        ma_sql_count_if(&insert, known, known ? ma_clock_ns(trace, process, record->start) : 0);
        ma_sql_count_if(&insert, known, record->realtime_ns);
        ma_sql_count_if(&insert, process->ended,
                        process->ended ? ma_clock_ns(trace, process, process->end_time) : 0);
        ma_sql_text(&insert, process->ended ? ma_end_name(process->end_how) : NULL);
        ma_sql_count_if(&insert, process->ended, process->end_status);
        bind_sums(sql, &insert, process->index);
        ma_sql_store_row(&insert);
        free(command);
    }
    ma_sql_finish(&insert);
    return result;
}

/* Streams that stand for a thread: its nested ones are not told apart from it. */
static void store_threads(struct ma_sql *sql)
{
    const struct ma_trace *trace = &sql->analysis->trace;
    struct ma_sql_insert insert;
    ma_sql_prepare(&sql->store, &insert, "INSERT INTO threads VALUES(?, ?, ?, ?, ?, ?)");
    for (size_t i = 0; i < trace->n_streams; i++) {
        const struct ma_stream *stream = trace->streams[i];
        if (stream->thread != stream->index)
            continue;
        const bool known = stream->known, ended = stream->end != UINT64_MAX;
        ma_sql_integer(&insert, stream->index);
        ma_sql_integer(&insert, stream->process->index);
        ma_sql_count_if(&insert, known, stream->tid);
        ma_sql_text(&insert, or_null(stream->name));
        ma_sql_count_if(&insert, known,
                        known ? ma_clock_ns(trace, stream->process, stream->start) : 0);
        ma_sql_count_if(&insert, ended,
                        ended ? ma_clock_ns(trace, stream->process, stream->end) : 0);
        ma_sql_store_row(&insert);
    }
    ma_sql_finish(&insert);
}

static int store_mapping(struct ma_sql *sql, struct ma_sql_insert *insert, int64_t number,
                         const struct ma_process *process, const struct ma_module *module)
{
    const struct ma_trace *trace = &sql->analysis->trace;
    const bool unloaded = module->end_time != UINT64_MAX;
    ma_sql_integer(insert, process->index);
    ma_sql_integer(insert, number);
    ma_sql_integer(insert, (int64_t)module->bias);
    ma_sql_count(insert, ma_clock_ns(trace, process, module->load_time));
    ma_sql_count_if(insert, unloaded, unloaded ? ma_clock_ns(trace, process, module->end_time) : 0);
    ma_sql_store_row(insert);
    return 0;
}

static int store_modules(struct ma_sql *sql)
{
    const struct ma_trace *trace = &sql->analysis->trace;
    struct ma_sql_insert add, find, mapping;
    int result = 0;
    ma_sql_prepare(&sql->store, &add, MA_SQL_MODULE_ADD);
    ma_sql_prepare(&sql->store, &find, MA_SQL_MODULE_FIND);
    ma_sql_prepare(&sql->store, &mapping, "INSERT INTO mappings VALUES(?, ?, ?, ?, ?)");
    for (size_t i = 0; i < trace->n_processes && result == 0; i++) {
        const struct ma_process *process = trace->processes[i];
        for (size_t k = 0; k < process->n_modules && result == 0; k++) {
            const struct ma_module *module = &process->modules[k];
            char *id = calloc(module->build_id_size + 1, 2);
            result = id ? 0 : -ENOMEM;
            for (size_t b = 0; id && b < module->build_id_size; b++)
                sprintf(id + 2 * b, "%02x", module->build_id[b]);
            if (id)
                result = store_mapping(sql, &mapping, ma_sql_module(&add, &find, module->file, id),
                                       process, module);
            free(id);
        }
    }
    ma_sql_finish(&add);
    ma_sql_finish(&find);
    ma_sql_finish(&mapping);
    return result;
}

static void store_calls(struct ma_sql *sql)
{
    struct ma_sql_insert insert;
    ma_sql_prepare(&sql->store, &insert, "INSERT INTO calls VALUES(?, ?)");
    for (int i = 0; i < MLF_FN_COUNT; i++) {
        if (!(sql->called >> i & 1))
            continue;
        ma_sql_integer(&insert, i);
        ma_sql_text(&insert, ma_function_names[i]);
        ma_sql_store_row(&insert);
    }
    ma_sql_finish(&insert);
}

static void store_audit(struct ma_sql *sql)
{
    const struct ma_analysis *analysis = sql->analysis;
    const struct ma_audit *audit = &analysis->trace.audit;
    const uint64_t reason = ma_audit_stop_reason(audit);
    char damage[400], content[MA_SQL_SENTENCE], left[MA_SQL_SENTENCE];
    const bool damaged = ma_audit_is_damaged(audit, damage, sizeof damage);
    ma_sql_tell(sql, content, left);
    const struct {
        const char *name;
        bool known;
        uint64_t value;
        const char *text;
    } rows[] = {
        {"events", true, analysis->replay.totals.events, NULL},
        {"lost_events", true, audit->lost_events, NULL},
        {"unmatched_frees", true, audit->unmatched_frees, NULL},
        {"unknown_processes", true, audit->unknown_processes, NULL},
        {"unknown_stacks", true, audit->unknown_stacks, NULL},
        {"unknown_modules", true, audit->unknown_modules, NULL},
        {"order_repairs", true, audit->order_repairs, NULL},
        {"late_events", true, audit->late_events, NULL},
        {"late_forks", true, audit->late_forks, NULL},
        {"foreign_clocks", true, audit->foreign_clocks, NULL},
        {"bad_chunks", true, audit->skipped_ranges, NULL},
        {"changed_chunks", true, audit->changed_chunks, NULL},
        {"missing_chunks", true, audit->missing_chunks, NULL},
        {"duplicate_chunks", true, audit->duplicate_chunks, NULL},
        {"unwritten_units", true, audit->unwritten_units, NULL},
        {"skipped_bytes", true, audit->skipped_bytes, NULL},
        {"truncated_at", audit->truncated_at != UINT64_MAX, audit->truncated_at, NULL},
        {"sampling_interval", audit->sampling_interval, audit->sampling_interval, NULL},
        {"pauses", true, ma_gaps_count(&analysis->trace), NULL},
        {"paused_ns", true, ma_gaps_ns(&analysis->trace), NULL},
        {"unseen_frees", true, audit->unseen_frees, NULL},
        {"unseen_ends", true, audit->unseen_ends, NULL},
        {"unsure_blocks", true, analysis->unsure.blocks, NULL},
        {"unsure_bytes", true, analysis->unsure.bytes, NULL},
        {"stopped", reason, reason, reason ? ma_loss_name(reason) : NULL},
        {"input_problem", false, 0, or_null(audit->input_problem)},
        {"damage", damaged, 1, damaged ? damage : NULL},
        {"blocks_live", true, sql->n_live, NULL},
        {"blocks_ended", true, sql->n_ended, NULL},
        {"blocks_ended_stored", true, sql->n_stored, NULL},
        {"blocks_left_out", true, sql->n_left, or_null(left)},
    };
    struct ma_sql_insert insert;
    ma_sql_prepare(&sql->store, &insert, "INSERT INTO audit VALUES(?, ?, ?)");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ma_sql_text(&insert, rows[i].name);
        ma_sql_count_if(&insert, rows[i].known, rows[i].value);
        ma_sql_text(&insert, rows[i].text);
        ma_sql_store_row(&insert);
    }
    ma_sql_finish(&insert);
}

/* Show that the work goes on while one statement takes long. */
static int show_indexing(void *context)
{
    ma_progress_show(context, 0, 0);
    return 0;
}

static void make_indexes(struct ma_sql *sql)
{
    struct ma_progress progress;
    ma_progress_begin(&progress, "indexing");
    progress.events = sql->n_stored + sql->n_live;
    if (sql->store.db)
        sqlite3_progress_handler(sql->store.db, 1 << 18, show_indexing, &progress);
    ma_sql_do(&sql->store, strstr(ma_sql_schema_text, INDEXES));
    ma_sql_do(&sql->store, "COMMIT");
    if (sql->store.db)
        sqlite3_progress_handler(sql->store.db, 0, NULL, NULL);
    ma_progress_end(&progress);
}

int ma_sql_write(struct ma_sql *sql)
{
    int result = ma_sql_blocks_live(sql);
    if (result == 0 && (result = store_meta(sql)) == 0 && (result = store_run(sql)) == 0 &&
        (result = store_processes(sql)) == 0 && (result = store_modules(sql)) == 0)
        result = ma_sql_stacks(sql);
    if (result < 0)
        return result;
    store_threads(sql);
    store_calls(sql);
    store_audit(sql);
    struct ma_sql_insert *const all[] = {&sql->block, &sql->mark, &sql->sample};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ma_sql_finish(all[i]);
    make_indexes(sql);
    return sql->store.failed;
}

sqlite3 *ma_sql_database(const struct ma_sql *sql)
{
    return sql->store.db;
}

const char *ma_sql_problem(const struct ma_sql *sql)
{
    return sql->store.failed ? sql->store.problem : NULL;
}

void ma_sql_tell(const struct ma_sql *sql, char content[MA_SQL_SENTENCE],
                 char left[MA_SQL_SENTENCE])
{
    const enum ma_blocks wanted = sql->analysis->request->blocks;
    char a[MA_COUNTED_SIZE], b[MA_COUNTED_SIZE], bound[MA_HUMAN_SIZE];
    snprintf(content, MA_SQL_SENTENCE, "%s, %s",
             ma_human_counted(a, sql->n_stored + sql->n_live, "block"),
             ma_human_counted(b, sql->n_stacks, "stack"));
    left[0] = '\0';
    if (!sql->n_left)
        return;
    ma_human_counted(a, sql->n_left, "ended block");
    if (wanted == MA_BLOCKS_LIVE)
        snprintf(left, MA_SQL_SENTENCE, "%s left out (--blocks=live)", a);
    else if (wanted == MA_BLOCKS_SAMPLED)
        snprintf(left, MA_SQL_SENTENCE, "%s left out: one in %u is there, with a weight of %u", a,
                 MA_SQL_SAMPLE, MA_SQL_SAMPLE);
    else
        snprintf(left, MA_SQL_SENTENCE,
                 "%s left out: behind the first %s, one in %u is there, with a weight of %u; "
                 "--blocks=all stores all",
                 a, ma_human_count(bound, MA_SQL_BOUND), MA_SQL_SAMPLE, MA_SQL_SAMPLE);
}

int ma_sql_close(struct ma_sql *sql)
{
    ma_sql_finish(&sql->block);
    ma_sql_finish(&sql->mark);
    ma_sql_finish(&sql->sample);
    ma_sql_store_close(&sql->store);
    return sql->store.failed;
}

void ma_sql_free(struct ma_sql *sql)
{
    if (!sql)
        return;
    ma_sql_close(sql);
    for (size_t i = 0; i < sql->n_processes; i++)
        free(sql->processes[i].sites);
    free(sql->processes);
    ma_map_free(&sql->odd_calls);
    free(sql);
}

bool ma_sql_is_database(const char *file, bool *ours)
{
    unsigned char head[72] = {0};
    struct stat status;
    *ours = false;
    if (stat(file, &status) < 0 || !S_ISREG(status.st_mode))
        return false; /* a pipe's writer is not to see it opened and closed */
    const int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool is = pread(fd, head, sizeof head, 0) == (ssize_t)sizeof head &&
                    memcmp(head, "SQLite format 3", 16) == 0;
    close(fd);
    *ours = is && ((uint32_t)head[68] << 24 | head[69] << 16 | head[70] << 8 | head[71]) ==
                      MA_SQL_APPLICATION;
    return is;
}

int ma_sql_may_replace(const char *file, struct ma_error *error)
{
    struct stat status;
    bool ours;
    if (strcmp(file, "-") == 0)
        return ma_fail(error, -EINVAL,
                       "a database is a file, not standard output: name one, as in heap.db");
    if (stat(file, &status) < 0)
        return 0; /* whatever keeps it from being made is told when it is */
    if (!S_ISREG(status.st_mode))
        return ma_fail(error, -EINVAL,
                       "%s: is not a regular file, which a database is: name another file", file);
    if (!status.st_size || (ma_sql_is_database(file, &ours) && ours))
        return 0;
    return ma_fail(error, -EEXIST,
                   "%s: exists and is no database of mlog's, so it is not replaced: name another "
                   "file, or remove it",
                   file);
}
