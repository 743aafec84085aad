/* SPDX-License-Identifier: MIT
 *
 * `mlog run`: a program with its trace, in one line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mc_commands.h"
#include "mc_doctor.h"
#include "mc_elf.h"
#include "mc_job.h"
#include "mc_options.h"
#include "mc_trace.h"
#include "mc_view.h"

enum {
    OPT_OUTPUT,
    OPT_PIPE,
    OPT_TCP,
    OPT_FORCE,
    OPT_COMPRESS,
    OPT_RECORD_ONLY,
    OPT_QUIET,
    OPT_REPORT,
    OPT_FAIL_ON,
    OPT_TOP,
    OPT_SORT,
    OPT_FLAME_GRAPH,
    OPT_OUTFILE,
    OPT_IGNORE,
    OPT_SUPPRESSIONS,
};

static const struct mc_option options[] = {
    [OPT_OUTPUT] = {"output", 'o', "FILE", MC_COMPLETE_FILE, NULL,
                    "where the trace goes: a file that is not there yet (%p in it is the "
                    "process, %c the program, %t the time, %h the host, %n the first free "
                    "number), - for a pipe to the analyser, tcp:HOST:PORT "
                    "(mlog.PROG.PID.mlog)"},
    [OPT_PIPE] = {"pipe", 0, NULL, MC_COMPLETE_NOTHING, NULL,
                  "keep no file: the analyser reads while the program runs (-o -)"},
    [OPT_TCP] = {"tcp", 0, "HOST:PORT", MC_COMPLETE_NOTHING, NULL,
                 "send the trace to another machine (-o tcp:HOST:PORT)"},
    [OPT_FORCE] = {"force", 'f', NULL, MC_COMPLETE_NOTHING, NULL,
                   "replace a file that is there already"},
    [OPT_COMPRESS] = {"compress", 'z', "[LEVEL]", MC_COMPLETE_NOTHING, NULL,
                      "compress the trace with zstd, level 1 to 19 (3)"},
    [OPT_RECORD_ONLY] = {"record-only", 0, NULL, MC_COMPLETE_NOTHING, NULL,
                         "become the program: no process stays, nothing is said"},
    [OPT_QUIET] = {"quiet", 'q', NULL, MC_COMPLETE_NOTHING, NULL, "no verdict at the end"},
    [OPT_REPORT] = {"report", 0, "LIST", MC_COMPLETE_WORDS, MC_REPORTS,
                    "print these reports at the end, as in leaks,peak"},
    [OPT_FAIL_ON] = {"fail-on", 0, "CONDITION", MC_COMPLETE_NOTHING, NULL,
                     "end with status 3 if it holds and the program's was 0: "
                     "'growing_bytes>0', 'leaked_bytes>0', 'peak_bytes>200M' (repeatable)"},
    [OPT_TOP] = {"top", 0, "N", MC_COMPLETE_NOTHING, NULL,
                 "print the table of what was never freed, N entries, 0 for all"},
    [OPT_SORT] = {"sort", 's', "KEYS", MC_COMPLETE_WORDS, "bytes blocks calls size count",
                  "a table for each key: bytes (or size), blocks (or count), calls"},
    [OPT_FLAME_GRAPH] = {"flame-graph", 0, "[FILE]", MC_COMPLETE_FILE, NULL,
                         "what was never freed as a flame graph: FILE.svg for the browser, or "
                         "folded stacks"},
    [OPT_OUTFILE] = {"outfile", 0, "FILE", MC_COMPLETE_FILE, NULL,
                     "a report FILE.PID.COMM of each process"},
    [OPT_IGNORE] = {"ignore", 0, "FILE", MC_COMPLETE_FILE, NULL,
                    "leave out what is allocated by way of the functions and objects in FILE, "
                    "one a line, * for any letters"},
    [OPT_SUPPRESSIONS] = {"suppressions", 0, "FILE", MC_COMPLETE_FILE, NULL,
                          "known leaks: leak:PATTERN lines (repeatable)"},
    {0},
};

struct request {
    const char *output, *tcp;
    char compress[16];
    bool pipe, force, record_only, compressed;
    bool explained; /* why the program cannot be traced */
    struct mc_view view;
};

static const char *parse_level(struct request *request, const char *text)
{
    char *end = NULL;
    long level = text ? strtol(text, &end, 10) : 3;
    if (level < 1 || level > 19 || (text && (*end || text[0] < '0' || text[0] > '9')))
        return "expected a level from 1 to 19";
    snprintf(request->compress, sizeof request->compress, "zstd:%ld", level);
    request->compressed = true;
    return NULL;
}

static const char *parse_top(struct request *request, const char *text)
{
    if (!*text || strspn(text, "0123456789") != strlen(text))
        return "expected a number of entries, 0 for all";
    request->view.top = text;
    return NULL;
}

static const char *parse_flame_graph(struct mc_view *view, const char *text)
{
    const char *dot = text ? strrchr(text, '.') : NULL;
    view->flame_graph = true;
    view->flame_file = text;
    return text && dot && !strchr(dot, '/') && strcmp(dot, ".svg") && strcmp(dot, ".folded")
               ? "expected a name that ends in .svg or .folded"
               : NULL;
}

static const char *add_to(const char **list, size_t *n, const char *text)
{
    if (*n == MC_VIEW_MANY)
        return "32 at most";
    list[(*n)++] = text;
    return NULL;
}

/* Returns NULL or the end of a sentence that begins with the option. */
static const char *take(struct request *request, int option, const char *value)
{
    struct mc_view *view = &request->view;
    switch (option) {
    case OPT_OUTPUT: request->output = value; break;
    case OPT_PIPE: request->pipe = true; break;
    case OPT_TCP: request->tcp = value; break;
    case OPT_FORCE: request->force = true; break;
    case OPT_COMPRESS: return parse_level(request, value);
    case OPT_RECORD_ONLY: request->record_only = true; break;
    case OPT_QUIET: view->quiet = true; break;
    case OPT_REPORT: view->reports = value; return mc_view_check_reports(value);
    case OPT_FAIL_ON: return add_to(view->fail_on, &view->n_fail_on, value);
    case OPT_TOP: return parse_top(request, value);
    case OPT_SORT: view->sort = value; return mc_view_check_sort(value);
    case OPT_FLAME_GRAPH: return parse_flame_graph(view, value);
    case OPT_OUTFILE: view->outfile = value; break;
    case OPT_IGNORE: return mc_view_read_ignore(view, value);
    case OPT_SUPPRESSIONS: return add_to(view->suppressions, &view->n_suppressions, value);
    }
    return NULL;
}

static void asked(void *context, int number)
{
    mc_view_asked(context, number);
}

static const char *signal_name(int number)
{
    static char text[24];
    static const struct {
        int number;
        const char *name;
    } names[] = {{SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},   {SIGQUIT, "SIGQUIT"},
                 {SIGILL, "SIGILL"},   {SIGTRAP, "SIGTRAP"}, {SIGABRT, "SIGABRT"},
                 {SIGBUS, "SIGBUS"},   {SIGFPE, "SIGFPE"},   {SIGKILL, "SIGKILL"},
                 {SIGUSR1, "SIGUSR1"}, {SIGSEGV, "SIGSEGV"}, {SIGUSR2, "SIGUSR2"},
                 {SIGPIPE, "SIGPIPE"}, {SIGALRM, "SIGALRM"}, {SIGTERM, "SIGTERM"},
                 {SIGXCPU, "SIGXCPU"}, {SIGXFSZ, "SIGXFSZ"}, {SIGSYS, "SIGSYS"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == number)
            return names[i].name;
    snprintf(text, sizeof text, "signal %d", number);
    return text;
}

/* Tell where the trace went, or why there is none. Returns 0, 3 if a condition of
 * --fail-on holds, 1 if something could not be told. */
static int finish(struct request *request, struct mc_job *job, pid_t analyser)
{
    struct mc_view *view = &request->view;
    const struct mc_trace *trace = job->trace;
    if (job->killed && !view->quiet)
        fprintf(stderr, "mlog: %s was killed by %s%s\n", job->argv[0], signal_name(job->status),
                job->core ? " (core dumped)" : "");
    if (analyser > 0) {
        int status = mc_wait(analyser);
        if (status > 125)
            fprintf(stderr, "mlog: mlog-analyze was killed: the trace, in a pipe, is gone with "
                            "it; -o FILE keeps one\n");
        return status == 3 ? 3 : status > 1;
    }
    if (!trace->readable) {
        if (!view->quiet)
            fprintf(stderr, "mlog: the trace went to %s%s\n",
                    trace->kind == MC_TRACE_OUT     ? "MLOG_OUT: "
                    : trace->kind == MC_TRACE_GIVEN ? "descriptor 1022, as it was: "
                                                    : "",
                    trace->path[0]                  ? trace->path
                    : trace->kind == MC_TRACE_GIVEN ? "a pipe or socket"
                                                    : trace->name);
        if (view->n_fail_on)
            fputs("mlog: --fail-on: the trace is not here to be judged: exit status 1\n", stderr);
        return view->n_fail_on > 0;
    }
    if (!mc_trace_has_begun(trace->path)) {
        if (request->explained)
            fputs("mlog: nothing was recorded\n", stderr);
        else
            fprintf(stderr,
                    "mlog: nothing was recorded: libmlog.so did not begin in %s; why: mlog doctor "
                    "%s, and libmlog(7), \"Not every program\"\n",
                    job->argv[0], job->argv[0]);
        if (trace->made)
            unlink(trace->path);
        return view->n_fail_on > 0;
    }
    view->trace = trace->path;
    view->growing = mc_trace_is_written(trace->path);
    return mc_view_end(view);
}

static const struct mc_elf *find_program(const char *name, struct mc_elf *elf)
{
    char path[PATH_MAX];
    *elf = (struct mc_elf){0};
    return mc_find_program(name, path) && mc_elf_read(path, elf) == 0 ? elf : NULL;
}

/* Of what cannot be executed the attempt tells. */
static bool can_execute(const char *name)
{
    char path[PATH_MAX];
    return mc_find_program(name, path) && access(path, X_OK) == 0;
}

static int run_program(struct request *request, char **argv)
{
    char library[PATH_MAX], problem[PATH_MAX + 512];
    struct mc_elf program;
    struct mc_trace trace;
    struct mc_view *view = &request->view;
    const char *why = mc_trace_choose(&trace, request->output, request->pipe, request->tcp);
    if (why)
        return mc_wrong(&mc_verb_run, "%s%s%s%s",
                        request->tcp      ? "--tcp "
                        : request->output ? "-o "
                                          : "",
                        request->tcp      ? request->tcp
                        : request->output ? request->output
                                          : "",
                        request->tcp || request->output ? ": " : "", why);
    trace.force = request->force;
    if (request->record_only && trace.kind == MC_TRACE_PIPE)
        return mc_wrong(&mc_verb_run, "--record-only leaves nobody who reads a pipe: give -o FILE");
    if (!mc_find_library(find_program(argv[0], &program), library)) {
        fprintf(stderr,
                "mlog run: there is no libmlog.so in %s, LD_LIBRARY_PATH and the system's folders: "
                "install mlog's library, or name its folder in LD_LIBRARY_PATH\n",
                library);
        return 125;
    }
    if (strchr(library, ':')) {
        fprintf(stderr,
                "mlog run: %s: LD_PRELOAD takes no name with a colon: install or copy mlog to "
                "another folder\n",
                library);
        return 125;
    }
    struct mc_findings findings = {.out = stderr, .least = MC_FAIL, .prefix = "mlog:"};
    if (find_program(argv[0], &program) && can_execute(argv[0]))
        mc_doctor_program(&findings, argv[0]);
    fflush(stderr);
    request->explained = findings.shown > 0;
    struct mc_job job = {
        .argv = argv,
        .trace = &trace,
        .library = findings.bars ? NULL : library,
        .compress = request->compressed ? request->compress : NULL,
        .asked = asked,
        .context = view,
    };
    if (!mc_trace_prepare(&trace, problem, sizeof problem)) {
        fprintf(stderr, "mlog run: %s\n", problem);
        return 125;
    }
    if (request->record_only) {
        sigprocmask(SIG_SETMASK, NULL, &job.mask);
        return mc_job_become(&job);
    }
    mc_job_begin(&job);
    view->mask = &job.mask;
    pid_t analyser = -1;
    if (trace.kind == MC_TRACE_PIPE && (analyser = mc_view_start_pipe(view, trace.reader)) < 0)
        return 125;
    int status = mc_job_start(&job);
    mc_trace_close(&trace);
    if (status == 0) {
        if (trace.readable)
            view->trace = trace.path;
        mc_job_wait(&job);
        status = mc_job_exit_status(&job);
        int told = finish(request, &job, analyser);
        if (status == 0 && (told == 3 || view->n_fail_on)) /* no gate is green unjudged */
            status = told;
        if (job.killed && job.status == SIGINT) { /* a script in a shell is to end, too */
            signal(SIGINT, SIG_DFL);
            sigset_t one;
            sigemptyset(&one);
            sigaddset(&one, SIGINT);
            raise(SIGINT);
            sigprocmask(SIG_UNBLOCK, &one, NULL);
        }
    } else if (analyser > 0) {
        kill(analyser, SIGTERM);
        mc_wait(analyser);
    }
    return status;
}

static int run(int argc, char **argv)
{
    static struct request request;
    for (int option; (option = mc_option_next(&mc_verb_run, argc, argv)) != -1;) {
        if (option == -3)
            return mc_flush();
        if (option < 0)
            return 2;
        const char *why = take(&request, option, optarg);
        if (why)
            return mc_wrong(&mc_verb_run, "--%s %s: %s", options[option].name, optarg ? optarg : "",
                            why);
    }
    if (optind == argc)
        return mc_wrong(&mc_verb_run, "expected a program, as in: mlog run ./prog its arguments");
    return run_program(&request, argv + optind);
}

const struct mc_verb mc_verb_run = {
    .name = "run",
    .summary = "run a program, record its heap, and say what leaks",
    .usage = "[OPTION]... [--] PROG [ARGUMENT]...",
    .text = "Run PROG in the foreground as if it had been typed, with its children, and record\n"
            "every heap event. At the end a few lines on standard error say what leaks and where\n"
            "the trace is. The exit status is the program's, 128 + n if signal n killed it.",
    .after = "SIGUSR1 and SIGUSR2 sent to `mlog run` (not to PROG) print what lives now, by bytes\n"
             "and by blocks; SIGQUIT begins a new window for them. Other signals are passed on.\n"
             "Exit status: PROG's; 3 if a condition of --fail-on holds, 1 if it could not be\n"
             "judged; 125 if mlog itself cannot begin, 126 if PROG cannot be executed, 127 if\n"
             "there is none; 2 for wrong usage.",
    .options = options,
    .operand = MC_COMPLETE_COMMAND,
    .run = run,
};
