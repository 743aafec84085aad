/* SPDX-License-Identifier: MIT
 *
 * The verdict: what to mend first, in sentences, above everything else. The
 * sentences name the stacks that were still growing at the end, their lines and their
 * cost; then the kinds of all other blocks that were never freed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_audit.h"
#include "ma_ending.h"
#include "ma_gaps.h"
#include "ma_identity.h"
#include "ma_killed.h"
#include "ma_label.h"
#include "ma_leaks.h"
#include "ma_nothing.h"
#include "ma_past.h"
#include "ma_report.h"
#include "ma_text.h"

#define COUNT(number) ma_human_count((char[MA_HUMAN_SIZE]){0}, number)
#define COUNTED(n, noun) ma_human_counted((char[MA_COUNTED_SIZE]){0}, n, noun)
#define TIME(s) ma_human_time((char[MA_HUMAN_SIZE]){0}, (uint64_t)((s)*1e9))
#define HOUR 3600.0 /* s */
#define HUMAN(bytes) ma_human_bytes((char[MA_HUMAN_SIZE]){0}, bytes)

struct sums {
    uint64_t bytes[MA_TRENDS], stacks[MA_TRENDS];
    const struct ma_row *worst; /* of those that grow */
    double projected, rate;     /* of the worst; of all that grow */
    uint64_t over;              /* stacks that grew until their thread or their work ended */
};

static struct sums sum_up(const struct ma_analysis *analysis, const struct ma_leaks *leaks)
{
    struct sums sums = {0};
    for (size_t i = 0; i < analysis->n_rows; i++) {
        const struct ma_row *row = &analysis->rows[i];
        const struct ma_trend *trend = &leaks->of[i].trend;
        if (!row->leaked_blocks || leaks->of[i].suppressed)
            continue;
        sums.bytes[trend->kind] += row->leaked_bytes;
        sums.stacks[trend->kind]++;
        if (trend->kind != MA_TREND_GROWING)
            continue;
        double projected = ma_leak_projected(&leaks->of[i], row->leaked_bytes);
        sums.rate += ma_leak_slope(&leaks->of[i]);
        sums.over += trend->why == MA_WHY_ENDED || trend->why == MA_WHY_PAUSED;
        if (!sums.worst || projected > sums.projected) {
            sums.worst = row;
            sums.projected = projected;
        }
    }
    return sums;
}

/* The frame to look at. */
static int add_retired_node(struct ma_analysis *analysis, struct ma_model *model,
                            struct ma_value *verdict, uint32_t stack)
{
    const struct ma_frame *frames;
    char buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, stack, &frames);
    if (n < 0)
        return -ENOMEM;
    if (n == 0) {
        ma_model_text(model, verdict, "fix_first", "fix first", "(no stack)");
        return 0;
    }
    size_t own = ma_label_own_frame(frames, (size_t)n);
    const struct ma_frame *frame = &frames[own];
    const char *name = ma_frame_name(frame, buffer, sizeof buffer);
    if (!frame->file || !frame->line) {
        ma_model_text(model, verdict, "fix_first", "fix first", name);
        return 0;
    }
    ma_model_format(model, verdict, "fix_first", NULL, "%s, %s:%u", name, frame->file, frame->line);
    ma_model_text(model, verdict, NULL, "fix first", name);
    ma_model_format(model, verdict, NULL, "  at", "%s:%u", ma_label_short_path(frame->file),
                    frame->line);
    return 0;
}

/* Which of several processes holds most of it. */
static void add_process(const struct ma_analysis *analysis, struct ma_model *model,
                        struct ma_value *verdict, const struct ma_row *row)
{
    const struct ma_process *process = ma_leak_process(analysis, row);
    char command[MA_COMMAND_SIZE], more[64] = "";
    ma_model_number(model, verdict, "fix_first_pid", NULL, MA_PLAIN, ma_process_pid(process));
    if (analysis->trace.n_processes < 2)
        return;
    if (row->holders > 1)
        snprintf(more, sizeof more, " and %s more", COUNT(row->holders - 1));
    char name[MA_PROCESS_NAME];
    ma_model_format(model, verdict, NULL, "  in process", "%s (%s)%s",
                    ma_process_name(&analysis->trace, process, name),
                    ma_report_command(process, true, command), more);
}

/* What it holds, and what it will: an hour later after a tenth of that, of a shorter run
 * after as long a time again. */
static void add_cost(struct ma_model *model, struct ma_value *verdict, const struct ma_leak *leak,
                     const struct ma_row *row)
{
    const bool long_enough = leak->life >= HOUR / 10;
    const double ahead = long_enough ? HOUR : leak->life;
    const double bytes = (double)row->leaked_bytes + ma_leak_slope(leak) * ahead;
    if (!ma_leak_slope(leak)) {
        ma_model_format(model, verdict, NULL, "  it costs", "%s in %s", HUMAN(row->leaked_bytes),
                        COUNTED(row->leaked_blocks, "block"));
        return;
    }
    ma_model_format(model, verdict, NULL, "  it costs",
                    long_enough ? "%s in %s so far, %s an hour later"
                                : "%s in %s so far, %s after %s more",
                    HUMAN(row->leaked_bytes), COUNTED(row->leaked_blocks, "block"),
                    HUMAN((uint64_t)(bytes < 1e18 ? bytes : 1e18)), TIME(ahead));
}

/* Add the other blocks that were never freed, by kind. */
static void add_rest(struct ma_model *model, struct ma_value *verdict, const struct sums *sums,
                     uint64_t leaked, const struct ma_leaks *leaks)
{
    static const char *const titles[MA_TRENDS] = {
        [MA_TREND_GROWING] = "  growing",  [MA_TREND_UNCLEAR] = "  unclear",
        [MA_TREND_YOUNG] = "  too young",  [MA_TREND_PLATEAU] = "  caches",
        [MA_TREND_STARTUP] = "  start-up",
    };
    static const char *const words[MA_TRENDS] = {
        [MA_TREND_YOUNG] = ", allocated in the last instants",
        [MA_TREND_PLATEAU] = ", at a steady level",
        [MA_TREND_STARTUP] = ", left alone since",
    };
    struct ma_value *bytes = ma_model_object(model, verdict, "bytes", NULL, MA_FIELDS);
    if (leaked)
        ma_model_text(model, verdict, NULL, "never freed", HUMAN(leaked));
    for (int kind = 0; kind < MA_TRENDS; kind++) {
        ma_model_number(model, bytes, ma_trend_name((enum ma_trend_kind)kind), NULL, MA_BYTES,
                        sums->bytes[kind]);
        if (sums->stacks[kind])
            ma_model_format(model, verdict, NULL, titles[kind], "%s in %s%s",
                            HUMAN(sums->bytes[kind]), COUNTED(sums->stacks[kind], "stack"),
                            words[kind] ? words[kind] : "");
    }
    ma_model_number(model, bytes, "suppressed", NULL, MA_BYTES, leaks->suppressed_bytes);
    if (leaks->suppressed_stacks)
        ma_model_format(model, verdict, NULL, "  suppressed", "%s in %s stack%s",
                        HUMAN(leaks->suppressed_bytes), COUNT(leaks->suppressed_stacks),
                        leaks->suppressed_stacks == 1 ? "" : "s");
    ma_model_number(model, bytes, "runtime", NULL, MA_BYTES, leaks->runtime.bytes);
    if (leaks->runtime.stacks)
        ma_model_format(model, verdict, NULL, "  runtimes' own", "%s in %s stack%s",
                        HUMAN(leaks->runtime.bytes), COUNT(leaks->runtime.stacks),
                        leaks->runtime.stacks == 1 ? "" : "s");
}

/* Of a trace in which no block is left: what can be said of it. */
static void say_clean(struct ma_analysis *analysis, const struct ma_leaks *leaks, char *buffer,
                      size_t size)
{
    const struct ma_audit *audit = &analysis->trace.audit;
    char damage[400], why[1024];
    if (ma_nothing_matches(analysis))
        snprintf(buffer, size, "Nothing was looked at: no call in the trace passes the filter.");
    else if (ma_audit_is_damaged(audit, damage, sizeof damage))
        snprintf(buffer, size,
                 "No leak in what could be read, but the trace is not whole: see the audit.");
    else if (ma_nothing_recorded(analysis, why, sizeof why))
        snprintf(buffer, size,
                 "Nothing was recorded of the program: the end of the audit says why.");
    else if (!ma_analysis_books(analysis)->totals.allocations)
        snprintf(buffer, size, "No block was allocated: there is nothing to judge.");
    else if (audit->lost_events || audit->sampling_interval || ma_gaps_count(&analysis->trace))
        snprintf(buffer, size, "No leak in what was recorded, which is not all: see the audit.");
    else
        snprintf(buffer, size, "%s",
                 leaks->suppressed_blocks ? "No leak but those that are suppressed."
                 : leaks->runtime.blocks  ? "No leak: every block of the program's own was freed."
                                          : "No leak: every block was freed.");
}

static const char *sentence(struct ma_analysis *analysis, const struct ma_leaks *leaks,
                            const struct sums *sums, char *buffer, size_t size)
{
    const struct ma_window window = ma_analysis_window(analysis);
    const uint64_t lasted = window.to - window.from;
    uint64_t stacks = 0;
    for (int kind = 0; kind < MA_TRENDS; kind++)
        stacks += sums->stacks[kind];
    char rate[48], count[MA_HUMAN_SIZE];
    if (!stacks)
        say_clean(analysis, leaks, buffer, size);
    else if (sums->worst && sums->over == sums->stacks[MA_TREND_GROWING])
        snprintf(buffer, size, "LEAK: %s stack%s until %s thread or work ended.",
                 ma_human_count(count, sums->over), sums->over == 1 ? " grew" : "s grew",
                 sums->over == 1 ? "its" : "their");
    else if (sums->worst)
        snprintf(buffer, size, "LEAK: %s stack%s still growing at the end, by %s.",
                 ma_human_count(count, sums->stacks[MA_TREND_GROWING] - sums->over),
                 sums->stacks[MA_TREND_GROWING] - sums->over == 1 ? " was" : "s were",
                 ma_leak_rate(sums->rate, rate, sizeof rate));
    else if ((double)lasted / 1e9 < MA_TREND_SHORTEST)
        snprintf(buffer, size, "The %s lasted %s: too short to tell leaks from caches.",
                 lasted < analysis->duration ? "window" : "run", ma_human_time(count, lasted));
    else if (sums->bytes[MA_TREND_UNCLEAR])
        snprintf(buffer, size, "Nothing surely grew, but %s is unclear: a longer run tells.",
                 HUMAN(sums->bytes[MA_TREND_UNCLEAR]));
    else
        snprintf(buffer, size, "No growing leak: nothing was still growing at the end.");
    return buffer;
}

/* True if it ended by a signal that nobody sends to have a program end. */
static bool is_crash(const struct ma_process *process)
{
    static const char *const orders[] = {"SIGHUP", "SIGINT", "SIGPIPE", "SIGTERM"};
    const char *name = process->reaped.killed ? ma_signal_name(process->reaped.status) : "";
    for (size_t i = 0; name && i < sizeof orders / sizeof *orders; i++)
        if (!*name || !strcmp(name, orders[i]))
            return false;
    return true;
}

static void add_crashes(const struct ma_analysis *analysis, struct ma_model *model,
                        struct ma_value *verdict)
{
    const struct ma_process *first = NULL;
    char text[MA_ENDING_TEXT], command[MA_COMMAND_SIZE], name[MA_PROCESS_NAME], more[64] = "";
    uint64_t n = 0;
    for (size_t i = 0; i < analysis->trace.n_processes; i++) {
        if (!is_crash(analysis->trace.processes[i]))
            continue;
        first = first ? first : analysis->trace.processes[i];
        n++;
    }
    ma_model_number(model, verdict, "crashed_processes", NULL, MA_COUNT, n);
    if (!first)
        return;
    if (n > 1)
        snprintf(more, sizeof more, ", and %s more by signals", COUNT(n - 1));
    ma_model_format(model, verdict, NULL, "crashed", "process %s (%s) %s%s",
                    ma_process_name(&analysis->trace, first, name),
                    ma_report_command(first, true, command), ma_ending_text(first, text), more);
}

/* The end of a process that had no memory left: for people it leads, with what the heap
 * held at that moment, which is what comes below as never freed. */
static void add_killed(const struct ma_analysis *analysis, struct ma_model *model,
                       struct ma_value *verdict, const char *sentence)
{
    struct ma_killed killed;
    char name[MA_PROCESS_NAME], command[MA_COMMAND_SIZE];
    if (!ma_killed_for_memory(analysis, &killed)) {
        ma_model_text(model, verdict, "sentence", "", sentence);
        ma_model_null(model, verdict, "killed_for_memory");
        return;
    }
    const struct ma_process *process = killed.account->process;
    const bool group = killed.kind == MLF_LIMIT_GROUP;
    char text[MA_ENDING_TEXT];
    const char *ending = ma_ending_text(process, text);
    const struct ma_value *said = ma_model_format(
        model, verdict, NULL, "",
        "KILLED, most likely for memory%s: process %s (%s) %s, and %s were resident of the %s %s.",
        ending ? "" : ", unless it still runs", ma_process_name(&analysis->trace, process, name),
        ma_report_command(process, true, command), ending ? ending : "has no end in the trace",
        HUMAN(killed.bytes), group ? "control group's" : "machine's", HUMAN(killed.limit));
    ma_model_format(model, verdict, NULL, "held then", "%s in %s of its heap",
                    HUMAN(killed.account->live_bytes),
                    COUNTED(killed.account->live_blocks, "block"));
    ma_model_text(model, verdict, "sentence", "", sentence);
    struct ma_value *told = ma_model_object(model, verdict, "killed_for_memory", NULL, MA_FIELDS);
    ma_model_text(model, told, "sentence", NULL, said->text);
    ma_model_number(model, told, "pid", NULL, MA_PLAIN, ma_process_pid(process));
    ma_model_number(model, told, "resident_bytes", NULL, MA_BYTES, killed.bytes);
    ma_model_number(model, told, "limit_bytes", NULL, MA_BYTES, killed.limit);
    ma_model_text(model, told, "limit_of", NULL, group ? "control group" : "machine");
    ma_model_number(model, told, "live_bytes", NULL, MA_BYTES, killed.account->live_bytes);
    ma_model_number(model, told, "live_blocks", NULL, MA_COUNT, killed.account->live_blocks);
}

static int build_verdict(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_leaks *leaks = ma_leaks_get(analysis);
    if (!leaks)
        return -ENOMEM;
    struct sums sums = sum_up(analysis, leaks);
    char text[256];
    struct ma_value *verdict =
        ma_model_object(model, &model->root, "verdict", "Verdict", MA_FIELDS);
    verdict->again = true;
    add_killed(analysis, model, verdict, sentence(analysis, leaks, &sums, text, sizeof text));
    const uint64_t wrong = analysis->trace.audit.unmatched_frees;
    if (wrong)
        ma_model_format(model, verdict, NULL, "freed wrongly",
                        "%s of what was no live block%s: see --wrong-frees", COUNTED(wrong, "free"),
                        ma_past_doubt(analysis) ? ", perhaps" : "");
    ma_model_boolean(model, verdict, "nothing_matches", NULL, ma_nothing_matches(analysis));
    ma_model_number(model, verdict, "growing_stacks", NULL, MA_COUNT,
                    sums.stacks[MA_TREND_GROWING]);
    ma_model_real(model, verdict, "growing_bytes_per_s", NULL, MA_PLAIN, sums.rate);
    if (sums.worst) {
        const struct ma_leak *leak = &leaks->of[sums.worst - analysis->rows];
        int result = add_retired_node(analysis, model, verdict, sums.worst->stack);
        if (result < 0)
            return result;
        add_process(analysis, model, verdict, sums.worst);
        add_cost(model, verdict, leak, sums.worst);
        ma_model_format(model, verdict, NULL, "  it rose in",
                        "%u of %u intervals; its oldest block is %s old", leak->trend.rises,
                        leak->trend.intervals,
                        ma_human_time((char[MA_HUMAN_SIZE]){0}, leak->oldest));
    } else {
        ma_model_null(model, verdict, "fix_first");
        ma_model_null(model, verdict, "fix_first_pid");
    }
    const struct ma_account *unseen = ma_report_unseen(analysis);
    if (unseen)
        ma_model_format(model, verdict, NULL, "not seen",
                        "%s that did not come from malloc: see the audit",
                        HUMAN(unseen->unseen.bytes));
    if (ma_gaps_count(&analysis->trace))
        ma_model_format(model, verdict, NULL, "not recorded",
                        "%s of the run, in %s: judged is only what was recorded",
                        ma_human_time((char[MA_HUMAN_SIZE]){0}, ma_gaps_ns(&analysis->trace)),
                        COUNTED(ma_gaps_count(&analysis->trace), "pause"));
    add_crashes(analysis, model, verdict);
    add_rest(model, verdict, &sums, analysis->leaked_bytes, leaks);
    return 0;
}

const struct ma_report ma_report_verdict = {
    .name = "verdict",
    .usual = true,
    .always = true,
    .build = build_verdict,
};
