/* SPDX-License-Identifier: MIT
 *
 * How the processes of a trace ended, as the audit says it: those whose end may have taken
 * events with it cast doubt on the numbers, the others are only named.
 */
#include "ma_report_ends.h"

#include "ma_ending.h"
#include "ma_identity.h"
#include "ma_report.h"
#include "ma_text.h"

struct sayer {
    struct ma_model *model;
    struct ma_value *warnings;
};

#define COUNT(number) ma_human_count((char[MA_HUMAN_SIZE]){0}, number)
#define NAME(analysis, process)                                                                    \
    ma_process_name(&(analysis)->trace, process, (char[MA_PROCESS_NAME]){0})
#define SAY(sayer, ...) ma_model_format((sayer)->model, (sayer)->warnings, NULL, NULL, __VA_ARGS__)

/* Processes of whose last events a stream may lack some: who is killed delivers no more,
 * and where a stream is cut between two pieces nothing else tells it. */
static bool is_unended(const struct ma_analysis *analysis, const struct ma_process *process)
{
    const struct ma_reader *reader = &analysis->merge.reader;
    return !analysis->ongoing && analysis->merge.finished && reader->layout == MLF_LAYOUT_STREAM &&
           (!process->ended || (process->unsettled && reader->minor > 0));
}

uint64_t ma_ends_unended(const struct ma_analysis *analysis)
{
    uint64_t n = 0;
    for (size_t i = 0; i < analysis->trace.n_processes; i++)
        n += is_unended(analysis, analysis->trace.processes[i]);
    return n;
}

#define UNENDED_SHOWN 5

static void say_unended(struct sayer *sayer, const struct ma_analysis *analysis)
{
    uint64_t n = ma_ends_unended(analysis);
    if (n)
        SAY(sayer,
            "%s process%s no end in the trace: killed, or the trace is cut; what was last "
            "may be missing. A file in place of a pipe keeps it.",
            COUNT(n), n == 1 ? " has" : "es have");
    unsigned shown = 0;
    for (size_t i = 0; i < analysis->trace.n_processes && shown < UNENDED_SHOWN; i++) {
        const struct ma_process *process = analysis->trace.processes[i];
        if (!is_unended(analysis, process) || !process->known)
            continue;
        const char *program = ma_process_text(ma_process_program(process), MLF_TEXT_EXE);
        char text[MA_ENDING_TEXT];
        const char *ending = ma_ending_text(process, text);
        shown++;
        SAY(sayer, "  process %s%s%s%s%s", NAME(analysis, process), *program ? ", " : "", program,
            ending ? ": " : "", ending ? ending : "");
    }
    if (shown && n > shown)
        SAY(sayer, "  and %s more", COUNT(n - shown));
}

/* Ends that the processes did not tell themselves, where that lost nothing. */
static void say_ends(struct sayer *sayer, const struct ma_analysis *analysis)
{
    unsigned shown = 0;
    uint64_t more = 0;
    for (size_t i = 0; i < analysis->trace.n_processes; i++) {
        const struct ma_process *process = analysis->trace.processes[i];
        char text[MA_ENDING_TEXT], command[MA_COMMAND_SIZE];
        const char *ending = ma_ending_text(process, text);
        if (!ending || is_unended(analysis, process))
            continue;
        if (shown++ < UNENDED_SHOWN)
            SAY(sayer, "Process %s (%s) %s.", NAME(analysis, process),
                ma_report_command(process, true, command), ending);
        else
            more++;
    }
    if (more)
        SAY(sayer, "%s more process%s ended by a signal or without a word (see --json).",
            COUNT(more), more == 1 ? "" : "es");
}

/* Of a mapped trace: what such a process did up to its end, if it had one, is there. */
static bool is_silent(const struct ma_analysis *analysis, const struct ma_process *process)
{
    const bool stopped = process->stopped || analysis->trace.audit.table_stops;
    return !stopped && !analysis->ongoing && analysis->merge.finished && process->known &&
           analysis->merge.reader.layout == MLF_LAYOUT_MAPPED && !ma_process_is_over(process);
}

uint64_t ma_ends_silent(const struct ma_analysis *analysis)
{
    uint64_t n = 0;
    for (size_t i = 0; i < analysis->trace.n_processes; i++)
        n += is_silent(analysis, analysis->trace.processes[i]);
    return n;
}

static void say_silent(struct sayer *sayer, const struct ma_analysis *analysis)
{
    const uint64_t n = ma_ends_silent(analysis);
    unsigned shown = 0;
    if (n)
        SAY(sayer,
            "%s process%s no end in the trace: killed, ended by a bare system call, or still "
            "running. What was done up to then is in it:",
            COUNT(n), n == 1 ? " has" : "es have");
    for (size_t i = 0; i < analysis->trace.n_processes && shown < UNENDED_SHOWN; i++) {
        const struct ma_process *process = analysis->trace.processes[i];
        char command[MA_COMMAND_SIZE];
        if (is_silent(analysis, process) && ++shown)
            SAY(sayer, "  process %s (%s)", NAME(analysis, process),
                ma_report_command(process, true, command));
    }
    if (n > shown)
        SAY(sayer, "  and %s more", COUNT(n - shown));
}

/* Processes of an input that is followed and has not ended: their end is to come. */
uint64_t ma_ends_running(const struct ma_analysis *analysis)
{
    uint64_t n = 0;
    for (size_t i = 0; analysis->ongoing && i < analysis->trace.n_processes; i++)
        n += !ma_process_is_over(analysis->trace.processes[i]);
    return n;
}

/* What runs casts no doubt on the numbers so far. */
static void say_running(struct sayer *sayer, const struct ma_analysis *analysis)
{
    uint64_t n = ma_ends_running(analysis);
    if (n)
        SAY(sayer, "%s process%s still running, as far as the trace tells.", COUNT(n),
            n == 1 ? " is" : "es are");
}

void ma_ends_doubt(const struct ma_analysis *analysis, struct ma_model *model,
                   struct ma_value *warnings)
{
    say_unended(&(struct sayer){model, warnings}, analysis);
}

void ma_ends_say(const struct ma_analysis *analysis, struct ma_model *model,
                 struct ma_value *warnings)
{
    struct sayer sayer = {model, warnings};
    say_running(&sayer, analysis);
    say_ends(&sayer, analysis);
    say_silent(&sayer, analysis);
}
