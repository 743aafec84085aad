/* SPDX-License-Identifier: MIT
 *
 * The audit: what the trace cannot vouch for, as counts for machines, and as
 * warnings with one closing sentence for people.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_gaps.h"
#include "ma_identity.h"
#include "ma_leaks.h"
#include "ma_nothing.h"
#include "ma_past.h"
#include "ma_report.h"
#include "ma_report_cut.h"
#include "ma_report_ends.h"
#include "ma_text.h"

struct sayer {
    struct ma_model *model;
    struct ma_value *warnings;
};

#define COUNT(number) ma_human_count((char[MA_HUMAN_SIZE]){0}, number)
#define S(number) ((number) == 1 ? "" : "s")
#define NAME(analysis, process)                                                                    \
    ma_process_name(&(analysis)->trace, process, (char[MA_PROCESS_NAME]){0})
#define SAY(sayer, ...) ma_model_format((sayer)->model, (sayer)->warnings, NULL, NULL, __VA_ARGS__)

#define RANGES_SHOWN 10

static void say_unwritten(struct sayer *sayer, const struct ma_audit *audit)
{
    SAY(sayer, "%s unit%s of the file claimed but never written, as when a program is killed:",
        COUNT(audit->unwritten_units), audit->unwritten_units == 1 ? " was" : "s were");
    for (size_t i = 0; i < audit->n_unwritten && i < RANGES_SHOWN; i++)
        SAY(sayer, "  bytes %llu to %llu", (unsigned long long)audit->unwritten[i].offset,
            (unsigned long long)(audit->unwritten[i].offset + audit->unwritten[i].bytes));
    if (audit->n_unwritten > RANGES_SHOWN)
        SAY(sayer, "  and more (see --json)");
}

/* The thread of a changed chunk, NULL if it was not described. */
static const struct ma_stream *stream_of(const struct ma_trace *trace,
                                         const struct ma_changed *changed)
{
    const uint64_t key = (uint64_t)changed->process->index << 32 | changed->stream;
    const uint32_t index = ma_map_get(&trace->stream_of, key);
    return index == MA_NONE ? NULL : trace->streams[index];
}

static const char *kind_of(const struct ma_changed *changed)
{
    return changed->kind == MLF_EVENTS ? "events" : "definitions";
}

static void say_changed(struct sayer *sayer, const struct ma_analysis *analysis)
{
    const struct ma_audit *audit = &analysis->trace.audit;
    bool one = audit->changed_chunks == 1;
    SAY(sayer,
        "%s chunk%s changed after %s written (the checksum differs): what was read there is "
        "counted, and doubtful. Take another copy of the trace, or trace again:",
        COUNT(audit->changed_chunks), one ? " was" : "s were", one ? "it was" : "they were");
    for (size_t i = 0; i < audit->n_changed && i < RANGES_SHOWN; i++) {
        const struct ma_changed *changed = &audit->changed[i];
        const struct ma_stream *stream = stream_of(&analysis->trace, changed);
        SAY(sayer, "  bytes %llu to %llu: %s of thread %llu, process %s",
            (unsigned long long)changed->offset,
            (unsigned long long)(changed->offset + changed->bytes), kind_of(changed),
            (unsigned long long)(stream ? stream->tid : 0), NAME(analysis, changed->process));
    }
    if (audit->changed_chunks > RANGES_SHOWN)
        SAY(sayer, "  and %s more (see --json)", COUNT(audit->changed_chunks - RANGES_SHOWN));
}

static void say_damage(struct sayer *sayer, const struct ma_analysis *analysis)
{
    const struct ma_audit *audit = &analysis->trace.audit;
    if (audit->input_problem[0])
        SAY(sayer, "The input ended early: %s.", audit->input_problem);
    if (audit->truncated_at != UINT64_MAX)
        SAY(sayer, "The trace is cut off at byte %llu; everything before is reported.",
            (unsigned long long)audit->truncated_at);
    if (audit->skipped_ranges) {
        SAY(sayer, "%s byte%s in %s damaged range%s skipped:", COUNT(audit->skipped_bytes),
            S(audit->skipped_bytes), COUNT(audit->skipped_ranges),
            audit->skipped_ranges == 1 ? " was" : "s were");
        for (size_t i = 0; i < audit->n_skipped && i < RANGES_SHOWN; i++)
            SAY(sayer, "  bytes %llu to %llu: %s", (unsigned long long)audit->skipped[i].offset,
                (unsigned long long)(audit->skipped[i].offset + audit->skipped[i].bytes),
                audit->skipped[i].reason);
        if (audit->skipped_ranges > RANGES_SHOWN)
            SAY(sayer, "  and %s more (see --json)", COUNT(audit->skipped_ranges - RANGES_SHOWN));
    }
    if (audit->changed_chunks)
        say_changed(sayer, analysis);
    if (audit->no_header)
        SAY(sayer, "The trace has no header: what was in front of its first chunk is missing.");
    if (audit->symbols_damaged)
        SAY(sayer, "The symbol data of the bundle is damaged: names may be missing.");
    if (audit->missing_chunks)
        SAY(sayer, "%s chunk%s missing: events are lost.", COUNT(audit->missing_chunks),
            audit->missing_chunks == 1 ? " is" : "s are");
    if (audit->unwritten_units)
        say_unwritten(sayer, audit);
}

#define LOSSES_SHOWN 5

/* A reason as a person understands it; ma_loss_name is for machines. */
static const char *reason_in_words(uint64_t reason)
{
    static const char *const words[] = {
        [MLF_LOSS_MEMORY] = "no memory was left for tracing",
        [MLF_LOSS_SINK_FULL] = "no space was left for the trace",
        [MLF_LOSS_SINK_GONE] = "the trace's file or reader went away",
        [MLF_LOSS_SIGNAL] = "in signal handlers that interrupted the recording",
        [MLF_LOSS_CHOICE] = "dropped by choice, MLOG_ON_FULL=drop, as its reader was slow",
        [MLF_LOSS_SANDBOX] = "the program's sandbox forbids it",
        [MLF_LOSS_ASKED] = "it was asked to (mlog ctl PID stop)",
    };
    return reason < sizeof words / sizeof *words && words[reason] ? words[reason]
                                                                  : "for an unknown reason";
}

/* Say which limit was met, how far it was used, and how it is raised. Returns false if the
 * trace does not tell. */
static bool say_limit(struct sayer *sayer, const struct ma_met *met)
{
    static const struct {
        const char *what, *remedy;
    } words[] = {
        [MLF_MET_AS] = {"the limit of address space (RLIMIT_AS)",
                        "raise it for the run: ulimit -v unlimited"},
        [MLF_MET_DATA] = {"the limit of data (RLIMIT_DATA)",
                          "raise it for the run: ulimit -d unlimited"},
        [MLF_MET_FSIZE] = {"the limit of a file's size (RLIMIT_FSIZE)",
                           "raise it for the run, ulimit -f unlimited, or trace less by "
                           "MLOG_COMPRESS=zstd"},
        [MLF_MET_MEMLOCK] = {"the limit of locked memory (RLIMIT_MEMLOCK)",
                             "raise it for the run: ulimit -l unlimited"},
        [MLF_MET_SPACE] = {"the file system of the trace is full",
                           "trace to where there is more space, or less by MLOG_COMPRESS=zstd"},
        [MLF_MET_QUOTA] = {"the quota of disk space",
                           "trace to where there is more space, or less by MLOG_COMPRESS=zstd"},
    };
    char limit[MA_HUMAN_SIZE + 8] = "", used[2 * MA_HUMAN_SIZE + 48] = "";
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE];
    if (!met->what || met->what >= sizeof words / sizeof *words)
        return false;
    if (met->limit && met->limit <= UINT64_MAX >> 9)
        snprintf(limit, sizeof limit, " of %s", ma_human_bytes(a, met->limit));
    if (met->asked)
        snprintf(used, sizeof used, ", %s in use and %s more asked for",
                 ma_human_bytes(a, met->held), ma_human_bytes(b, met->asked));
    SAY(sayer, "  What was met: %s%s%s; %s.", words[met->what].what, limit, used,
        words[met->what].remedy);
    return true;
}

/* Say what to do about a recording that stopped. */
static void say_remedy(struct sayer *sayer, uint64_t reason, const struct ma_met *met)
{
    if (say_limit(sayer, met))
        return;
    if (reason == MLF_LOSS_SANDBOX)
        SAY(sayer, "  The program locked itself in (seccomp), where tracing would have harmed it; "
                   "switch its sandbox off for the run to see the rest.");
    if (reason == MLF_LOSS_MEMORY)
        SAY(sayer,
            "  A limit of the process (RLIMIT_AS, which is ulimit -v, or RLIMIT_DATA) left no "
            "memory for tracing beside the program's own; raise it for the run.");
    if (reason == MLF_LOSS_SINK_FULL)
        SAY(sayer, "  The disk, a quota or the limit of a file's size (ulimit -f) was reached; "
                   "trace to where there is more, or less by MLOG_COMPRESS=zstd.");
    if (reason == MLF_LOSS_SINK_GONE)
        SAY(sayer, "  The reader of the pipe or the connection ended, the file was cut or "
                   "overwritten, or its name and descriptor 1022 were gone; keep the reader "
                   "running to the end, and give each run a file of its own.");
}

static void say_losses(struct sayer *sayer, const struct ma_analysis *analysis)
{
    const struct ma_trace *trace = &analysis->trace;
    SAY(sayer, "%s event%s lost while recording:", COUNT(trace->audit.lost_events),
        trace->audit.lost_events == 1 ? " was" : "s were");
    unsigned shown = 0, more = 0;
    for (size_t i = 0; i < trace->n_streams; i++) {
        const struct ma_stream *stream = trace->streams[i];
        for (unsigned reason = 0; reason < MA_LOSS_REASONS; reason++) {
            if (!stream->lost[reason])
                continue;
            if (shown++ < LOSSES_SHOWN)
                SAY(sayer, "  %s of thread %llu%s%s%s, process %s: %s", COUNT(stream->lost[reason]),
                    (unsigned long long)stream->tid, stream->name && *stream->name ? " (" : "",
                    stream->name ? stream->name : "", stream->name && *stream->name ? ")" : "",
                    NAME(analysis, stream->process), reason_in_words(reason));
            else
                more++;
        }
    }
    if (more)
        SAY(sayer, "  and of %u more thread%s (see --json)", more, S(more));
}

static void say_events(struct sayer *sayer, const struct ma_analysis *analysis)
{
    const struct ma_audit *audit = &analysis->trace.audit;
    if (audit->lost_events)
        say_losses(sayer, analysis);
    uint64_t reason = ma_audit_stop_reason(audit), error = ma_audit_stop_errno(audit);
    if (reason)
        SAY(sayer, "Recording stopped before the program's end: %s%s%s.", reason_in_words(reason),
            error ? ", " : "", error ? strerror((int)(error & 0x7fff)) : "");
    const struct ma_met met = ma_audit_stop_met(audit);
    say_remedy(sayer, reason, &met);
    if (audit->sampling_interval)
        SAY(sayer,
            "Only a sample was recorded, one allocation in about %s bytes: numbers are "
            "those of the sample.",
            COUNT(audit->sampling_interval));
    if (audit->unmatched_frees && ma_past_wrong(analysis))
        SAY(sayer,
            "%s free%s of what was no live block: the program's mistake, as far as the trace "
            "tells; --wrong-frees names %s.",
            COUNT(audit->unmatched_frees), S(audit->unmatched_frees),
            audit->unmatched_frees == 1 ? "it" : "them");
    else if (audit->unmatched_frees)
        SAY(sayer, "%s free%s of a block whose allocation is not in the trace%s.",
            COUNT(audit->unmatched_frees), S(audit->unmatched_frees),
            analysis->trace.n_bypasses ? ", as of blocks of the modules below" : "");
    if (audit->order_repairs)
        SAY(sayer, "%s free%s missing or late, made up for at the next use of the address%s.",
            COUNT(audit->order_repairs), audit->order_repairs == 1 ? " was" : "s were",
            analysis->trace.n_bypasses ? ", as where the modules below free" : "");
    if (audit->late_events)
        SAY(sayer, "%s event%s came after later ones had been counted.", COUNT(audit->late_events),
            S(audit->late_events));
    if (audit->late_forks)
        SAY(sayer, "%s fork%s noticed late: what the child inherited is not known exactly.",
            COUNT(audit->late_forks), audit->late_forks == 1 ? " was" : "s were");
    if (audit->retired_returns)
        SAY(sayer,
            "%s process%s went on long after the end that was told: what %s held before "
            "is in no later peak, and its frees match nothing.",
            COUNT(audit->retired_returns), audit->retired_returns == 1 ? "" : "es",
            audit->retired_returns == 1 ? "it" : "they");
    if (audit->foreign_clocks)
        SAY(sayer,
            "%s process%s ticks by another clock than the first: what each did is right, "
            "but the order among them, the joint peak and the timeline are not known.",
            COUNT(audit->foreign_clocks), audit->foreign_clocks == 1 ? "" : "es");
    if (audit->clock_guesses)
        SAY(sayer, "The clock's rate is not in the trace: times are guesses.");
}

#define UNSEEN_LEAST ((uint64_t)32 << 20) /* bytes; arenas and stacks of threads take some */

const struct ma_account *ma_report_unseen(const struct ma_analysis *analysis)
{
    const struct ma_account *worst = NULL;
    for (size_t i = 0; i < analysis->replay.n_accounts; i++) {
        const struct ma_account *account = analysis->replay.accounts[i];
        if (account && account->unseen.bytes >= UNSEEN_LEAST &&
            account->unseen.bytes >= account->unseen.grown / 2 &&
            (!worst || account->unseen.bytes > worst->unseen.bytes))
            worst = account;
    }
    return worst;
}

/* Memory that came past malloc. Returns whether there is any sign of it. */
static bool add_unseen(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *audit,
                       struct sayer *sayer)
{
    static const struct ma_executable nothing;
    const struct ma_executable *executable = ma_analysis_executable(analysis);
    const struct ma_account *account = ma_report_unseen(analysis);
    struct ma_value *object = ma_model_object(model, audit, "unseen", NULL, MA_FIELDS);
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE], c[MA_HUMAN_SIZE];
    executable = executable ? executable : &nothing;
    ma_model_number(model, object, "bytes", NULL, MA_BYTES, account ? account->unseen.bytes : 0);
    ma_model_number(model, object, "private_growth_bytes", NULL, MA_BYTES,
                    account ? account->unseen.grown : 0);
    ma_model_number(model, object, "heap_bytes", NULL, MA_BYTES,
                    account ? account->unseen.heap : 0);
    if (account)
        ma_model_number(model, object, "pid", NULL, MA_PLAIN, ma_process_pid(account->process));
    else
        ma_model_null(model, object, "pid");
    struct ma_value *array = ma_model_array(model, object, "allocators", NULL, MA_TABLE);
    for (size_t i = 0; i < executable->n_allocators; i++) {
        struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_text(model, one, "name", NULL, executable->allocators[i].name);
        ma_model_text(model, one, "symbol", NULL, executable->allocators[i].symbol);
        SAY(sayer,
            "The program carries an allocator of its own, %s (symbol %s): the blocks it "
            "hands out past malloc are not in this trace.",
            executable->allocators[i].name, executable->allocators[i].symbol);
    }
    if (account)
        SAY(sayer,
            "Private memory of process %s grew by %s while the heap held %s at most: %s "
            "came past malloc (%s).",
            NAME(analysis, account->process), ma_human_bytes(a, account->unseen.grown),
            ma_human_bytes(b, account->unseen.heap), ma_human_bytes(c, account->unseen.bytes),
            executable->n_allocators ? executable->allocators[0].name
                                     : "direct mmap, or an allocator that is not called malloc");
    return account || executable->n_allocators;
}

/* Suppressed leaks are left out of lists only: every sum has them. */
static void say_suppressions(struct sayer *sayer, struct ma_analysis *analysis)
{
    const struct ma_executable *executable = ma_analysis_executable(analysis);
    const struct ma_leaks *leaks =
        executable && analysis->suppressions.n ? ma_leaks_get(analysis) : NULL;
    if (leaks && leaks->suppressed_blocks)
        SAY(sayer,
            "%s in %s never freed block%s suppressed, and in no list of leaks; the sums "
            "have them.",
            ma_human_bytes((char[MA_HUMAN_SIZE]){0}, leaks->suppressed_bytes),
            COUNT(leaks->suppressed_blocks), leaks->suppressed_blocks == 1 ? " is" : "s are");
    if (analysis->executable.has_suppressions && !analysis->executable.suppressions)
        SAY(sayer, "The program's __lsan_default_suppressions() is no plain text, so it cannot be "
                   "read without running it: put its lines into a file for --suppressions.");
    if (analysis->suppressions_problem[0])
        SAY(sayer, "%s; the lines after it are not used.", analysis->suppressions_problem);
}

static void say_definitions(struct sayer *sayer, const struct ma_audit *audit)
{
    if (audit->unknown_processes)
        SAY(sayer, "%s process%s without description: sizes of blocks and times are guesses.",
            COUNT(audit->unknown_processes), audit->unknown_processes == 1 ? " is" : "es are");
    if (audit->unknown_stacks)
        SAY(sayer, "%s stack%s not defined in the trace.", COUNT(audit->unknown_stacks),
            audit->unknown_stacks == 1 ? " is" : "s are");
}

/* Steps that the library took by a frame pointer, for want of unwind information. */
static uint64_t count_guesses(const struct ma_analysis *analysis)
{
    uint64_t n = 0;
    for (size_t i = 0; i < analysis->trace.n_processes; i++)
        n += analysis->trace.processes[i]->counters[MLF_COUNT_FP_GUESSES];
    return n;
}

static void say_guesses(struct sayer *sayer, const struct ma_analysis *analysis)
{
    const uint64_t n = count_guesses(analysis);
    if (n)
        SAY(sayer,
            "%s step%s over code without unwind information (generated code, assembly) went "
            "by the frame pointer, within the bounds of the stack: its callers may be missing.",
            COUNT(n), n == 1 ? "" : "s");
}

/* The object as a person names it. Writes to buffer, or not. */
static const char *name_object(const struct ma_object_entry *entry, char *buffer, size_t size)
{
    if (!entry->owner)
        return entry->known ? entry->path : "?";
    snprintf(buffer, size, "[code in no file, pid %llu]",
             (unsigned long long)ma_process_pid(entry->owner));
    return buffer;
}

static void add_unresolved_module(struct ma_analysis *analysis, struct ma_model *model,
                                  struct ma_value *array, struct sayer *sayer,
                                  const struct ma_object_entry *entry)
{
    char name[64];
    struct ma_object object = ma_stacks_object(entry);
    enum ma_object_state state = ma_symbols_object_state(analysis->symbols, &object);
    const char *file = ma_symbols_object_file(analysis->symbols, &object);
    struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_text(model, one, "module", NULL, entry->known ? entry->path : NULL);
    ma_model_text(model, one, "build_id", NULL, entry->build_id_size ? entry->build_id_text : NULL);
    ma_model_number(model, one, "frames", NULL, MA_COUNT, entry->unresolved);
    ma_model_number(model, one, "of", NULL, MA_COUNT, entry->shown);
    ma_model_text(model, one, "reason", NULL, ma_object_state_text(state));
    SAY(sayer, "%s: %s of %s frames have no name (%s).", name_object(entry, name, sizeof name),
        COUNT(entry->unresolved), COUNT(entry->shown), ma_object_state_text(state));
    if (state == MA_OBJECT_MISMATCH)
        SAY(sayer,
            "  %s is not what ran%s%s: keep the old build, or name its place with "
            "--debug-dir or --sysroot.",
            file ? file : entry->path, entry->build_id_size ? ", which has build-id " : "",
            entry->build_id_size ? entry->build_id_text : "");
}

static int by_order(const void *a, const void *b)
{
    const struct ma_object_entry *const *x = a, *const *y = b;
    return (*x)->order < (*y)->order ? -1 : (*x)->order > (*y)->order;
}

/* Objects of which something shown has no name, and why; and those whose names
 * nothing vouches for. */
static int add_symbols(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *audit,
                       struct sayer *sayer)
{
    struct ma_stacks *stacks = &analysis->stacks;
    size_t n = analysis->symbols ? stacks->n_objects : 0;
    const struct ma_object_entry **all = malloc((n + 1) * sizeof *all);
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        all[i] = &stacks->objects[i];
    qsort(all, n, sizeof *all, by_order);
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += all[i]->unresolved;
    ma_model_number(model, audit, "unresolved_frames", NULL, MA_COUNT, sum);
    struct ma_value *array = ma_model_array(model, audit, "unresolved_modules", NULL, MA_TABLE);
    for (size_t i = 0; i < n; i++) {
        if (all[i]->unresolved)
            add_unresolved_module(analysis, model, array, sayer, all[i]);
    }
    const char *problem = n ? ma_symbols_fetch_problem(analysis->symbols) : NULL;
    if (problem)
        SAY(sayer, "%c%s.", toupper((unsigned char)problem[0]), problem + 1);
    for (size_t i = 0; i < n; i++) {
        struct ma_object object = ma_stacks_object(all[i]);
        const char *package = ma_symbols_object_package(analysis->symbols, &object);
        if (all[i]->shown && package)
            SAY(sayer,
                "%s: part of its debug information lies in %s, a package that is not read "
                "here: inlined calls may be missing. Keep the .dwo files it was made of where "
                "they were, or build without -gsplit-dwarf.",
                all[i]->path, package);
        else if (all[i]->shown && ma_symbols_object_partial(analysis->symbols, &object))
            SAY(sayer,
                "%s: part of its debug information lies in other files (.dwo, dwz) that "
                "were not found: inlined calls may be missing.",
                all[i]->path);
    }
    array = ma_model_array(model, audit, "unverified_modules", NULL, MA_LINES);
    for (size_t i = 0; i < n; i++) {
        const struct ma_object_entry *entry = all[i];
        struct ma_object object = ma_stacks_object(entry);
        if (entry->shown == entry->unresolved ||
            !ma_symbols_object_unverified(analysis->symbols, &object))
            continue;
        ma_model_text(model, array, NULL, NULL, entry->path);
        SAY(sayer,
            "%s has no build-id: its names are right only if the file has not changed "
            "since.",
            entry->path);
    }
    free(all);
    return 0;
}

static int compare_skipped(const void *a, const void *b)
{
    const struct ma_skipped *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void add_counts(struct ma_model *model, struct ma_value *object,
                       const struct ma_analysis *analysis)
{
    const struct ma_audit *audit = &analysis->trace.audit;
    const struct {
        const char *key;
        uint64_t value;
    } counts[] = {
        {"events", analysis->replay.totals.events},
        {"lost_events", audit->lost_events},
        {"unmatched_frees", audit->unmatched_frees},
        {"unseen_frees", audit->unseen_frees},
        {"unseen_ends", audit->unseen_ends},
        {"unknown_processes", audit->unknown_processes},
        {"unknown_stacks", audit->unknown_stacks},
        {"unknown_modules", audit->unknown_modules},
        {"order_repairs", audit->order_repairs},
        {"late_events", audit->late_events},
        {"late_forks", audit->late_forks},
        {"foreign_clocks", audit->foreign_clocks},
        {"bad_chunks", audit->skipped_ranges},
        {"changed_chunks", audit->changed_chunks},
        {"missing_chunks", audit->missing_chunks},
        {"duplicate_chunks", audit->duplicate_chunks},
        {"unended_processes", ma_ends_unended(analysis)},
        {"running_processes", ma_ends_running(analysis)},
        {"silent_processes", ma_ends_silent(analysis)},
        {"unwritten_units", audit->unwritten_units},
        {"skipped_bytes", audit->skipped_bytes},
        {"frame_pointer_steps", count_guesses(analysis)},
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        ma_model_number(model, object, counts[i].key, NULL, MA_COUNT, counts[i].value);
}

static void add_losses(struct ma_model *model, struct ma_value *object,
                       const struct ma_trace *trace)
{
    struct ma_value *array = ma_model_array(model, object, "losses", NULL, MA_TABLE);
    for (size_t i = 0; i < trace->n_streams; i++) {
        const struct ma_stream *stream = trace->streams[i];
        for (unsigned reason = 0; reason < MA_LOSS_REASONS; reason++) {
            if (!stream->lost[reason])
                continue;
            struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
            ma_model_number(model, one, "pid", NULL, MA_PLAIN, ma_process_pid(stream->process));
            ma_model_number(model, one, "tid", NULL, MA_PLAIN, stream->tid);
            ma_model_text(model, one, "name", NULL, stream->name);
            ma_model_text(model, one, "reason", NULL, ma_loss_name(reason));
            ma_model_number(model, one, "events", NULL, MA_COUNT, stream->lost[reason]);
        }
    }
}

static void add_limit(struct ma_model *model, struct ma_value *object, struct ma_met met)
{
    if (!met.what) {
        ma_model_null(model, object, "stopped_by");
        return;
    }
    struct ma_value *by = ma_model_object(model, object, "stopped_by", NULL, MA_FIELDS);
    ma_model_text(model, by, "limit", NULL, ma_met_name(met.what));
    ma_model_number(model, by, "limit_bytes", NULL, MA_BYTES, met.limit);
    ma_model_number(model, by, "held_bytes", NULL, MA_BYTES, met.held);
    ma_model_number(model, by, "asked_bytes", NULL, MA_BYTES, met.asked);
}

static void add_ranges(struct ma_model *model, struct ma_value *object, struct ma_trace *trace)
{
    struct ma_audit *audit = &trace->audit;
    struct ma_value *array = ma_model_array(model, object, "skipped", NULL, MA_TABLE);
    qsort(audit->skipped, audit->n_skipped, sizeof *audit->skipped, compare_skipped);
    for (size_t i = 0; i < audit->n_skipped; i++) {
        struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, one, "offset", NULL, MA_PLAIN, audit->skipped[i].offset);
        ma_model_number(model, one, "bytes", NULL, MA_PLAIN, audit->skipped[i].bytes);
        ma_model_text(model, one, "reason", NULL, audit->skipped[i].reason);
    }
    array = ma_model_array(model, object, "unwritten", NULL, MA_TABLE);
    for (size_t i = 0; i < audit->n_unwritten; i++) {
        struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, one, "offset", NULL, MA_PLAIN, audit->unwritten[i].offset);
        ma_model_number(model, one, "bytes", NULL, MA_PLAIN, audit->unwritten[i].bytes);
    }
    array = ma_model_array(model, object, "changed", NULL, MA_TABLE);
    for (size_t i = 0; i < audit->n_changed; i++) {
        const struct ma_changed *changed = &audit->changed[i];
        const struct ma_stream *stream = stream_of(trace, changed);
        struct ma_value *one = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, one, "offset", NULL, MA_PLAIN, changed->offset);
        ma_model_number(model, one, "bytes", NULL, MA_PLAIN, changed->bytes);
        ma_model_number(model, one, "pid", NULL, MA_PLAIN, ma_process_pid(changed->process));
        ma_model_number(model, one, "tid", NULL, MA_PLAIN, stream ? stream->tid : 0);
        ma_model_text(model, one, "kind", NULL, kind_of(changed));
    }
    if (audit->truncated_at != UINT64_MAX)
        ma_model_number(model, object, "truncated_at", NULL, MA_PLAIN, audit->truncated_at);
    else
        ma_model_null(model, object, "truncated_at");
    ma_model_text(model, object, "input_problem", NULL,
                  audit->input_problem[0] ? audit->input_problem : NULL);
    uint64_t reason = ma_audit_stop_reason(audit);
    ma_model_text(model, object, "stopped", NULL, reason ? ma_loss_name(reason) : NULL);
    add_limit(model, object, ma_audit_stop_met(audit));
    if (audit->sampling_interval)
        ma_model_number(model, object, "sampling_interval", NULL, MA_BYTES,
                        audit->sampling_interval);
    else
        ma_model_null(model, object, "sampling_interval");
}

static int build_audit(struct ma_analysis *analysis, struct ma_model *model)
{
    struct ma_audit *audit = &analysis->trace.audit;
    struct ma_cut cut;
    ma_cut_count(analysis, &cut);
    audit->unknown_processes = audit->clock_guesses = audit->foreign_clocks = 0;
    const struct ma_process *first = NULL;
    for (size_t i = 0; i < analysis->trace.n_processes; i++) {
        bool guessed;
        ma_clock_rate(analysis->trace.processes[i], &guessed);
        const struct ma_process *process = analysis->trace.processes[i];
        if (!first && process->known)
            first = process;
        audit->foreign_clocks +=
            process->known && (process->record.clock != first->record.clock ||
                               process->record.tick_shift != first->record.tick_shift);
        audit->unknown_processes += !analysis->trace.processes[i]->known;
        audit->clock_guesses += analysis->trace.processes[i]->known && guessed;
    }
    struct ma_value *object = ma_model_object(model, &model->root, "audit", "Audit", MA_FIELDS);
    add_counts(model, object, analysis);
    ma_cut_add(model, object, &cut);
    add_ranges(model, object, &analysis->trace);
    add_losses(model, object, &analysis->trace);
    struct sayer sayer = {model, ma_model_array(model, object, "warnings", "", MA_LINES)};
    say_damage(&sayer, analysis);
    say_events(&sayer, analysis);
    say_definitions(&sayer, audit);
    ma_ends_doubt(analysis, model, sayer.warnings);
    if (ma_report_missing(analysis, model, object, sayer.warnings) < 0 ||
        ma_report_bypass(analysis, model, object, sayer.warnings) < 0)
        return -ENOMEM;
    const size_t before_gaps = sayer.warnings->n;
    ma_report_gaps(analysis, model, object, sayer.warnings);
    size_t doubts = sayer.warnings->n;
    const bool paused_only = doubts && !before_gaps;
    ma_ends_say(analysis, model, sayer.warnings);
    say_suppressions(&sayer, analysis);
    bool unseen = add_unseen(analysis, model, object, &sayer);
    const char *scope = unseen ? "Complete for malloc and its family" : "Complete";
    say_guesses(&sayer, analysis);
    ma_cut_say(model, sayer.warnings, &cut);
    ma_report_say_streams(analysis, model, sayer.warnings);
    if (add_symbols(analysis, model, object, &sayer) < 0)
        return -ENOMEM;
    ma_model_boolean(model, object, "complete", NULL, doubts == 0);
    if (doubts == 0)
        ma_model_format(model, object, "verdict", "",
                        "%s: all %s events are accounted for, every free matches an "
                        "allocation%s.",
                        scope, COUNT(analysis->replay.totals.events),
                        ma_cut_close(&cut, (char[MA_CUT_CLOSE]){0}));
    else if (paused_only)
        ma_model_format(model, object, "verdict", "",
                        "Not the whole run: all %s events that were recorded are accounted for; "
                        "of the time in which recording was paused nothing is known.",
                        COUNT(analysis->replay.totals.events));
    else
        ma_model_format(model, object, "verdict", "",
                        "Warning: %s events were read, but with the doubts above: numbers may "
                        "be off.",
                        COUNT(analysis->replay.totals.events));
    char why[1024];
    const bool nothing = ma_nothing_recorded(analysis, why, sizeof why);
    ma_model_text(model, object, "nothing_recorded", nothing ? "" : NULL, nothing ? why : NULL);
    return 0;
}

const struct ma_report ma_report_audit = {
    .name = "audit",
    .usual = true,
    .always = true,
    .build = build_audit,
};
