/* SPDX-License-Identifier: MIT
 *
 * Telling what is in the trace; see mc_view.h.
 */
#include "mc_view.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mc_commands.h"
#include "mc_json.h"

#define REPORT_MAX ((size_t)64 << 20) /* bytes of a JSON report that are read */
#define ARGS_MAX 256

struct command {
    char path[PATH_MAX];
    char *argv[ARGS_MAX];
    size_t n;
};

static void add(struct command *command, const char *argument)
{
    if (command->n < ARGS_MAX - 1)
        command->argv[command->n++] = (char *)argument;
    command->argv[command->n] = NULL;
}

static void add_pair(struct command *command, const char *option, const char *value)
{
    add(command, option);
    add(command, value);
}

/* Begin a command with what every one of them has. False, with one line, if there is no
 * mlog-analyze. */
static bool begin(struct command *command, const struct mc_view *view)
{
    command->n = 0;
    if (!mc_find_command("mlog-analyze", command->path)) {
        fprintf(stderr,
                "mlog: mlog-analyze is not installed, so nothing is told of the trace; it is "
                "whole, and any machine with mlog reads it: mlog analyze %s\n",
                view->trace ? view->trace : "-");
        return false;
    }
    add(command, command->path);
    add(command, view->trace ? view->trace : "-");
    for (size_t i = 0; i < view->n_suppressions; i++)
        add_pair(command, "--suppressions", view->suppressions[i]);
    for (size_t i = 0; i < view->n_ignore; i++)
        add_pair(command, "--exclude", view->ignore[i]);
    if (view->from[0])
        add_pair(command, "--from", view->from);
    return true;
}

/* The key as mlog-analyze has it, of n letters; NULL: none. */
static const char *key_of(const char *key, size_t n)
{
    static const char *const words[][2] = {{"size", "bytes"},
                                           {"bytes", "bytes"},
                                           {"count", "blocks"},
                                           {"blocks", "blocks"},
                                           {"calls", "calls"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i][0]) == n && strncmp(words[i][0], key, n) == 0)
            return words[i][1];
    return NULL;
}

const char *mc_view_check_sort(const char *keys)
{
    for (const char *at = keys;; at++) {
        size_t n = strcspn(at, ",");
        if (!key_of(at, n))
            return "expected keys from bytes (or size), blocks (or count), calls, with commas "
                   "between";
        at += n;
        if (!*at)
            return NULL;
    }
}

const char *mc_view_check_reports(const char *names)
{
    static const char known[] = " " MC_REPORTS " ";
    for (const char *at = names;; at++) {
        char word[32] = "";
        size_t n = strcspn(at, ",");
        snprintf(word, sizeof word, " %.*s ", (int)(n < 28 ? n : 28), at);
        if (n == 0 || !strstr(known, word))
            return "expected names of reports with commas between, as in leaks,peak; there "
                   "are " MC_REPORTS;
        at += n;
        if (!*at)
            return NULL;
    }
}

/* A regular expression that matches the text itself, with * and ? as in the shell. */
static char *pattern_of(const char *text)
{
    char *pattern = malloc(2 * strlen(text) + 1), *to = pattern;
    for (; pattern && *text; text++) {
        if (*text == '*')
            *to++ = '.';
        else if (strchr(".[]()+{}^$|\\", *text))
            *to++ = '\\';
        *to++ = *text == '?' ? '.' : *text;
    }
    if (to)
        *to = 0;
    return pattern;
}

const char *mc_view_read_ignore(struct mc_view *view, const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return strerror(errno);
    char *line = NULL;
    size_t size = 0;
    const char *why = NULL;
    while (!why && getline(&line, &size, file) > 0) {
        char *text = line + strspn(line, " \t");
        text[strcspn(text, "\r\n")] = 0;
        for (size_t n = strlen(text); n && strchr(" \t", text[n - 1]); n--)
            text[n - 1] = 0;
        if (strncmp(text, "leak:", 5) == 0)
            text += 5;
        if (!*text || *text == '#')
            continue;
        if (view->n_ignore == MC_VIEW_MANY)
            why = "32 names at most";
        else if (!(view->ignore[view->n_ignore++] = pattern_of(text)))
            why = "memory ran out";
    }
    free(line);
    fclose(file);
    return why;
}

/* Run it with its output on standard error, or discarded. Returns its exit status. */
static int run(const struct command *command, const struct mc_view *view)
{
    fflush(stderr);
    pid_t pid = mc_start(command->argv, -1, STDERR_FILENO, STDERR_FILENO, view->mask, false);
    int status = pid < 0 ? 127 : mc_wait(pid);
    if (status >= 126)
        fprintf(stderr, "mlog: mlog-analyze was %s; the trace is whole: mlog analyze %s\n",
                status > 128 ? "killed" : "not to be started", view->trace);
    return status;
}

static void add_top(struct command *command, const struct mc_view *view)
{
    if (view->top)
        add_pair(command, "--top", view->top);
}

/* Tables of what lives, one for each key, as heaptrace has them. Returns the last status. */
static int tables(const struct mc_view *view, const char *keys)
{
    int status = 0;
    for (const char *at = keys;; at++) {
        struct command command;
        size_t n = strcspn(at, ",");
        if (!begin(&command, view))
            return 1;
        add(&command, "--leaks");
        add_pair(&command, "--sort", key_of(at, n));
        add_top(&command, view);
        status = run(&command, view);
        at += n;
        if (!*at || status >= 126)
            return status;
    }
}

/* A JSON report of the summary; NULL if there is none. Owned by the caller. */
static char *ask(const struct mc_view *view, bool symbols, int *status)
{
    struct command command;
    if (!begin(&command, view))
        return NULL;
    add(&command, "--json");
    add(&command, "--summary");
    if (!symbols)
        add(&command, "--no-symbols");
    for (size_t i = 0; symbols && i < view->n_fail_on; i++)
        add_pair(&command, "--fail-on", view->fail_on[i]);
    char *text = mc_capture(command.argv, REPORT_MAX, view->mask, status);
    if (text && *text)
        return text;
    free(text);
    return NULL;
}

void mc_view_asked(struct mc_view *view, int number)
{
    int status;
    if (!view->trace) {
        fprintf(stderr, "mlog: the live table needs a trace in a file here: run it without "
                        "--pipe and --tcp\n");
        return;
    }
    if (number != SIGQUIT) {
        tables(view, number == SIGUSR1 ? "bytes" : "blocks");
        return;
    }
    view->from[0] = 0;
    char *text = ask(view, false, &status);
    const uint64_t ns = mc_json_number(mc_json_find(mc_json_find(text, "summary"), "duration_ns"));
    if (text) {
        snprintf(view->from, sizeof view->from, "%" PRIu64 ".%09" PRIu64, (ns + 1) / 1000000000,
                 (ns + 1) % 1000000000);
        fprintf(stderr,
                "mlog: a new window begins at %ss: live tables are of what is allocated from "
                "here on\n",
                view->from);
    }
    free(text);
}

static void human(uint64_t bytes, char *text, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    for (; value >= 1024 && unit < 5; unit++)
        value /= 1024;
    snprintf(text, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

/* A report for each process, as heaptrace names them. */
static int write_outfiles(const struct mc_view *view, const char *report)
{
    int status = 0;
    const char *end = mc_json_find(report, "filter"), *at = mc_json_find(report, "processes");
    while ((at = mc_json_find(at, "pid")) != NULL && (!end || at < end)) {
        char path[PATH_MAX], executable[PATH_MAX], pid[24];
        struct command command;
        snprintf(pid, sizeof pid, "%" PRIu64, mc_json_number(at));
        if (!mc_json_string(mc_json_find(at, "executable"), executable, sizeof executable))
            snprintf(executable, sizeof executable, "unknown");
        const char *slash = strrchr(executable, '/');
        snprintf(path, sizeof path, "%s.%s.%.15s", view->outfile, pid,
                 slash ? slash + 1 : executable);
        if (!begin(&command, view))
            return 1;
        add_pair(&command, "--pid", pid);
        add_pair(&command, "-o", path);
        if (view->flame_graph && !view->flame_file) {
            strncat(path, ".folded", sizeof path - strlen(path) - 1);
            add(&command, "--flamegraph=leaks");
        } else {
            add(&command, "--summary");
            add(&command, "--leaks");
            add_top(&command, view);
            if (view->sort)
                add_pair(&command, "--sort", key_of(view->sort, strcspn(view->sort, ",")));
        }
        int one = run(&command, view);
        if (one == 0 || one == 1)
            fprintf(stderr, "mlog: process %s: %s\n", pid, path);
        status = one ? one : status;
    }
    return status;
}

static void add_reports(struct command *command, const char *names, char *buffer, size_t size)
{
    size_t used = 0;
    for (const char *at = names; *at;) {
        size_t n = strcspn(at, ",");
        int length = snprintf(buffer + used, size - used, "--%.*s", (int)n, at);
        if (length < 0 || (size_t)length >= size - used)
            return;
        add(command, buffer + used);
        used += (size_t)length + 1;
        at += n;
        at += *at == ',';
    }
}

static int more_reports(const struct mc_view *view)
{
    struct command command;
    char names[512];
    int status = 0;
    if (view->reports && begin(&command, view)) {
        add_reports(&command, view->reports, names, sizeof names);
        add_top(&command, view);
        if (view->sort)
            add_pair(&command, "--sort", key_of(view->sort, strcspn(view->sort, ",")));
        status = run(&command, view);
    } else if ((view->top || view->sort) && !view->outfile && !view->flame_graph) {
        status = tables(view, view->sort ? view->sort : "bytes");
    }
    if (view->flame_graph && (view->flame_file || !view->outfile) && begin(&command, view)) {
        add(&command, "--flamegraph=leaks");
        if (view->flame_file)
            add_pair(&command, "-o", view->flame_file);
        int one = run(&command, view);
        status = one ? one : status;
        if (one == 0 && view->flame_file && !view->quiet)
            fprintf(stderr, "mlog: flame graph of what was never freed: %s\n", view->flame_file);
    }
    return status;
}

static void tell_verdict(const struct mc_view *view, const char *report)
{
    char text[1024], bytes[48];
    const char *verdict = mc_json_find(report, "verdict"), *sum = mc_json_find(report, "summary");
    const char *killed = mc_json_find(verdict, "killed_for_memory");
    if (killed && *killed == '{' &&
        mc_json_string(mc_json_find(killed, "sentence"), text, sizeof text))
        fprintf(stderr, "mlog: %s\n", text);
    if (mc_json_string(mc_json_find(report, "nothing_recorded"), text, sizeof text) ||
        mc_json_string(mc_json_find(verdict, "sentence"), text, sizeof text))
        fprintf(stderr, "mlog: %s\n", text);
    if (mc_json_string(mc_json_find(verdict, "fix_first"), text, sizeof text))
        fprintf(stderr, "mlog: fix first: %s\n", text);
    const char *wrong = mc_json_find(report, "wrong_frees");
    const uint64_t frees = mc_json_number(mc_json_find(wrong, "frees"));
    if (frees)
        fprintf(stderr,
                "mlog: %" PRIu64 " %s of what was no live block%s: --wrong-frees tells more\n",
                frees, frees == 1 ? "free" : "frees",
                mc_json_find(wrong, "doubt") && *mc_json_find(wrong, "doubt") == '"' ? ", perhaps"
                                                                                     : "");
    const uint64_t leaked = mc_json_number(mc_json_find(sum, "leaked_bytes"));
    if (leaked) {
        human(leaked, bytes, sizeof bytes);
        fprintf(stderr, "mlog: %s in %" PRIu64 " blocks %s\n", bytes,
                mc_json_number(mc_json_find(sum, "leaked_blocks")),
                view->growing ? "live now" : "were never freed");
    }
}

/* A name as it can be typed in a shell. */
static const char *typed(const char *name, char *buffer, size_t size)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_./+-=:,@%";
    size_t at = 0;
    if (*name && *name != '-' && strspn(name, plain) == strlen(name))
        return name;
    at += (size_t)snprintf(buffer, size, "%s'", *name == '-' ? "./" : "");
    for (; *name && at + 6 < size; name++)
        at += (size_t)snprintf(buffer + at, size - at, *name == '\'' ? "'\\''" : "%c", *name);
    snprintf(buffer + at, size - at, "'");
    return buffer;
}

int mc_view_end(struct mc_view *view)
{
    int status = 0;
    char size[48] = "", quoted[PATH_MAX + 64];
    struct stat st;
    view->from[0] = 0;
    char *report =
        view->quiet && !view->n_fail_on && !view->outfile ? NULL : ask(view, true, &status);
    if (report && !view->quiet)
        tell_verdict(view, report);
    if (report && view->outfile)
        write_outfiles(view, report);
    const bool failed = status == 3, unjudged = view->n_fail_on && (!report || status % 3);
    free(report);
    const int more = status > 125 ? status : more_reports(view);
    if (failed && !view->quiet)
        fprintf(stderr, "mlog: a condition of --fail-on holds: exit status 3\n");
    if (!view->quiet) {
        if (stat(view->trace, &st) == 0)
            human((uint64_t)st.st_blocks * 512, size, sizeof size);
        if (view->growing)
            fprintf(stderr, "mlog: a process that it started still runs and writes to the trace\n");
        fprintf(stderr, "mlog: trace: %s (%s); next: mlog analyze %s\n", view->trace, size,
                typed(view->trace, quoted, sizeof quoted));
    }
    if (unjudged)
        fputs("mlog: --fail-on: the trace is damaged, incomplete or could not be read: exit "
              "status 1\n",
              stderr);
    return failed ? 3 : unjudged || more > 1;
}

int mc_view_start_pipe(struct mc_view *view, int reader)
{
    struct command command;
    char names[512];
    if (!begin(&command, view))
        return -ENOENT;
    for (size_t i = 0; i < view->n_fail_on; i++)
        add_pair(&command, "--fail-on", view->fail_on[i]);
    if (view->flame_graph) {
        add(&command, "--flamegraph=leaks");
        if (view->flame_file)
            add_pair(&command, "-o", view->flame_file);
    } else {
        add_reports(&command, view->reports ? view->reports : "summary,leaks", names, sizeof names);
        add_top(&command, view);
        if (view->sort)
            add_pair(&command, "--sort", key_of(view->sort, strcspn(view->sort, ",")));
    }
    return mc_start(command.argv, reader, STDERR_FILENO, STDERR_FILENO, view->mask, true);
}
