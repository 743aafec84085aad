/* SPDX-License-Identifier: MIT
 *
 * Parsing of the command line; see ma_options.h. A wrong use is told in one
 * sentence that says what would be right.
 */
#include "ma_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ma_dump.h"
#include "ma_error.h"
#include "ma_export.h"
#include "ma_flamegraph.h"
#include "ma_gate.h"
#include "ma_report.h"
#include "mlog_version.h"

enum {
    OPT_TOP = 256,
    OPT_SORT,
    OPT_JSON,
    OPT_FOLLOW,
    OPT_INTERVAL,
    OPT_DUMP,
    OPT_FLAMEGRAPH,
    OPT_EXPORT,
    OPT_HTML,
    OPT_HTML_BESIDE,
    OPT_HTML_SIZE,
    OPT_INVERT,
    OPT_ICICLE,
    OPT_FRAMES,
    OPT_NO_SYMBOLS,
    OPT_SYSROOT,
    OPT_DEBUG_DIR,
    OPT_FULL_NAMES,
    OPT_BUNDLE,
    OPT_PERF_MAP,
    OPT_NO_CACHE,
    OPT_JOBS,
    OPT_SUPPRESSIONS,
    OPT_SHOW_RUNTIME,
    OPT_DIFF,
    OPT_OLD_FROM,
    OPT_OLD_TO,
    OPT_FAIL_ON,
    OPT_BASELINE,
    OPT_JUNIT,
    OPT_SARIF,
    OPT_VERSION,
    OPT_FILTER,                                  /* + enum ma_filter_option */
    OPT_REPORT = OPT_FILTER + MA_FILTER_OPTIONS, /* + index in ma_reports */
};

static const struct option fixed[] = {
    {"top", required_argument, NULL, OPT_TOP},
    {"sort", required_argument, NULL, OPT_SORT},
    {"follow", no_argument, NULL, OPT_FOLLOW},
    {"interval", required_argument, NULL, OPT_INTERVAL},
    {"json", no_argument, NULL, OPT_JSON},
    {"dump", required_argument, NULL, OPT_DUMP},
    {"flamegraph", required_argument, NULL, OPT_FLAMEGRAPH},
    {"invert", no_argument, NULL, OPT_INVERT},
    {"icicle", no_argument, NULL, OPT_ICICLE},
    {"export", required_argument, NULL, OPT_EXPORT},
    {"html", required_argument, NULL, OPT_HTML},
    {"html-beside", no_argument, NULL, OPT_HTML_BESIDE}, /* for `mlog html` */
    {"html-size", required_argument, NULL, OPT_HTML_SIZE},
    {"frames", required_argument, NULL, OPT_FRAMES},
    {"no-symbols", no_argument, NULL, OPT_NO_SYMBOLS},
    {"sysroot", required_argument, NULL, OPT_SYSROOT},
    {"debug-dir", required_argument, NULL, OPT_DEBUG_DIR},
    {"full-names", no_argument, NULL, OPT_FULL_NAMES},
    {"bundle", required_argument, NULL, OPT_BUNDLE},
    {"suppressions", required_argument, NULL, OPT_SUPPRESSIONS},
    {"no-builtin-suppressions", no_argument, NULL, OPT_SHOW_RUNTIME},
    {"no-cache", no_argument, NULL, OPT_NO_CACHE},
    {"jobs", required_argument, NULL, OPT_JOBS},
    {"perf-map", required_argument, NULL, OPT_PERF_MAP},
    {"diff", no_argument, NULL, OPT_DIFF},
    {"old-from", required_argument, NULL, OPT_OLD_FROM},
    {"old-to", required_argument, NULL, OPT_OLD_TO},
    {"fail-on", required_argument, NULL, OPT_FAIL_ON},
    {"baseline", required_argument, NULL, OPT_BASELINE},
    {"junit", required_argument, NULL, OPT_JUNIT},
    {"sarif", required_argument, NULL, OPT_SARIF},
    {"output", required_argument, NULL, 'o'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
};
#define MA_PAGE_LEAST (256u << 10)
#define MA_PAGE_MOST (1u << 30)
#define N_FIXED (sizeof fixed / sizeof *fixed)

static void help_report(const struct ma_report *report)
{
    char text[64];
    const char *value = report->value;
    snprintf(text, sizeof text,
             !value            ? "%s"
             : value[0] == '[' ? "%s[=%s"
                               : "%s=%s",
             report->name, value ? value + (value[0] == '[') : "");
    printf(strlen(text) > 20 ? "  --%s\n%25s%s\n" : "  --%-20s%s %s\n", text, "", report->help);
}

static void help(void)
{
    printf("Usage: mlog-analyze [OPTION]... TRACE\n"
           "       mlog-analyze [OPTION]... --diff OLD NEW\n"
           "       mlog-analyze [OPTION]... --pool TRACE...\n"
           "Tell what a heap trace holds. TRACE is a file, or - for standard input; either may\n"
           "be compressed with zstd. Without a report option: summary, the ten largest leaks,\n"
           "the ten largest stacks at peak, and the audit.\n\nReports (several are allowed):\n");
    for (size_t i = 0; i < ma_report_count; i++) {
        if (ma_reports[i]->help)
            help_report(ma_reports[i]);
    }
    printf(
        "\nShape:\n"
        "  --top N                entries of a report, 0 for all (10)\n"
        "  --sort KEY[,KEY]...    largest first by bytes, blocks or calls (bytes)\n"
        "  --frames N             frames shown of a stack in text, 0 for all (16)\n"
        "  --suppressions FILE    leaks to leave out: leak:PATTERN lines (repeatable)\n"
        "  --no-builtin-suppressions  show the C and C++ runtimes' own blocks too\n"
        "  --full-names           C++ and Rust names with all their parameters\n"
        "  --json                 one JSON object instead of text\n"
        "  -o, --output FILE      write to FILE instead of standard output\n"
        "  --diff OLD NEW         what changed between two traces, also of two builds\n"
        "  --old-from T, --old-to T  the window of OLD, if it is not that of --from, --to\n"
        "\nOnly a part (all outputs but --bundle are then about the blocks that fit):\n"
        "  --from T, --to T       allocated from T on, before T, as things were at T: seconds\n"
        "                         (1.5, 200ms, 2m), percent of the run (50%%), or a mark's name\n"
        "  --pid N                allocated by this process (repeatable: any of them)\n"
        "  --tid N|GLOB           by the thread with this number or name (repeatable)\n"
        "  --min-size BYTES       of this size or larger: 1000, 64K, 1.5M\n"
        "  --max-size BYTES       of this size or smaller\n"
        "  --min-age DURATION     allocated at least so long before the end, or --to\n"
        "  --function REGEX       with such a function on the stack (repeatable)\n"
        "  --module REGEX         with a frame in such an object (repeatable)\n"
        "  --exclude REGEX        without such a function or object (repeatable)\n"
        "\nWhile the program runs:\n"
        "  --follow               a fresh report every few seconds, until the program ends\n"
        "                         or Ctrl-C, then the last one\n"
        "  --interval SECONDS     between two of them (2)\n"
        "\nOther outputs:\n"
        "  --html FILE            one interactive page for the browser: drag over the time\n"
        "                         line, and see what that window allocated and still holds\n"
        "  --html-size BYTES      of that page at most (8M): small stacks become one\n"
        "  --dump=text|json       every event, in malloc-stat's grammar or as JSON lines\n"
        "  --flamegraph=COST      %s:\n"
        "                         folded stacks, or with -o NAME.svg a picture for the browser\n"
        "  --invert               flame graph from the innermost frames: who calls malloc\n"
        "  --icicle               flame graph with its root on top\n"
        "  --export=FORMAT[=FILE] for other tools (repeatable); FORMAT is\n",
        ma_flamegraph_names());
    for (size_t i = 0; i < ma_exporter_count; i++)
        printf("      %-18s %s\n", ma_exporters[i]->name, ma_exporters[i]->help);
    printf(
        "  --bundle FILE          the trace with its symbols in one file that tells the same\n"
        "                         on any machine\n"
        "\nIn continuous integration:\n"
        "  --fail-on CONDITION    exit with 3 if it holds: 'leaked_bytes>0', 'peak_bytes>200M',\n"
        "                         'peak_bytes>+5%%' (growth); repeatable\n"
        "  --baseline FILE        what growth is measured against: a trace or a JSON report\n"
        "  --junit FILE           conditions as test cases\n"
        "  --sarif FILE           leaks for code scanning\n"
        "\nSymbols:\n"
        "  --no-symbols           addresses only\n"
        "  --sysroot DIR          root file system of the machine that was traced\n"
        "  --debug-dir DIR        further place for separate debug files (repeatable)\n"
        "  --perf-map DIR         where perf-PID.map files of generated code lie (/tmp)\n"
        "  --no-cache             neither use nor keep names of earlier runs\n"
        "\n      --jobs N           use so many processors at most, 0 for those there are (0);\n"
        "                         a second one decodes ahead, more are of no use\n"
        "  -h, --help             this text\n"
        "  --version              version\n"
        "\nExit status: 0, 1 if the trace or the output failed, 2 for wrong usage, 3 if a\n"
        "condition of --fail-on holds.\n");
}

static enum ma_options_result wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static enum ma_options_result wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", ma_command);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    return MA_OPTIONS_WRONG;
}

/* What is wrong with a value is the end of a sentence: every function that parses a
 * user's text returns it, or NULL if all is well, and this is the one place that
 * begins it. The value stands behind its option as the help writes it. */
static enum ma_options_result refuse(const char *name, int option, const char *why)
{
    const char *value = optarg ? optarg : "";
    bool quotes = option == OPT_FAIL_ON || !value[0]; /* what is empty would not be seen */
    bool equals = option == OPT_DUMP || option == OPT_FLAMEGRAPH || option == OPT_EXPORT ||
                  option >= OPT_REPORT;
    return wrong("--%s%s%s%s%s: %s", name, equals ? "=" : " ", quotes ? "'" : "", value,
                 quotes ? "'" : "", why);
}

/* Such an end that lists names. Valid until the next call. */
static const char *expected_one(const char *before, const char *names, const char *after)
{
    static char text[512];
    snprintf(text, sizeof text, "%s%s%s", before, names, after);
    return text;
}

static const char *parse_count(const char *text, size_t *count, const char *wanted)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno)
        return wanted;
    *count = value ? (size_t)value : SIZE_MAX;
    return NULL;
}

static const char *parse_interval(const char *text, uint64_t *ms)
{
    char *end;
    double seconds = strtod(text, &end);
    if (text[0] < '.' || text[0] > '9' || *end || !(seconds >= 0.1 && seconds <= 86400))
        return "expected seconds, from 0.1 to 86400";
    *ms = (uint64_t)(1000 * seconds);
    return NULL;
}

static const char *parse_sort(struct ma_request *request, const char *text)
{
    static const char *const keys[] = {
        [MA_SORT_BYTES] = "bytes",
        [MA_SORT_BLOCKS] = "blocks",
        [MA_SORT_CALLS] = "calls",
    };
    request->n_sort = 0;
    for (;;) {
        size_t length = strcspn(text, ","), key = 0;
        while (key < 3 && (strlen(keys[key]) != length || strncmp(keys[key], text, length)))
            key++;
        if (key == 3 || request->n_sort == MA_SORT_KEYS)
            return "expected keys from bytes, blocks, calls, with commas between";
        request->sort[request->n_sort++] = (enum ma_sort)key;
        if (!text[length])
            return NULL;
        text += length + 1;
    }
}

static const char *parse_dump(const char *text, const struct ma_dumper **dumper)
{
    *dumper = ma_dumper_find(text);
    return *dumper ? NULL : expected_one("expected ", ma_dumper_names(), "");
}

static const char *parse_flamegraph(const char *text, const char **cost)
{
    *cost = text;
    return ma_flamegraph_known(text) ? NULL
                                     : expected_one("expected one of ", ma_flamegraph_names(), "");
}

static const char *parse_export(const char *text, struct ma_export_request *wanted)
{
    size_t length = strcspn(text, "=");
    wanted->exporter = ma_exporter_find(text, length);
    wanted->file = text[length] ? text + length + 1 : NULL;
    if (!wanted->exporter)
        return expected_one("expected one of ", ma_exporter_names(), ", with =FILE if you like");
    return wanted->file && !wanted->file[0] ? "expected a file after the second =" : NULL;
}

static const char *add_page(struct ma_request *request, const char *file)
{
    if (!file[0])
        return "expected a file";
    if (request->n_exports == MA_EXPORTS_MAX)
        return "too many outputs";
    request->exports[request->n_exports++] =
        (struct ma_export_request){ma_exporter_find("html", strlen("html")), file};
    return NULL;
}

/* Name the page of `mlog html`: as -o does, else as the trace, in its folder. */
static enum ma_options_result name_page(struct ma_request *request, const char *trace)
{
    static const char *const endings[] = {".zst", ".mlog", ".log"};
    const char *file = request->output;
    size_t n = strlen(trace);
    if (!file && strcmp(trace, "-") == 0)
        return wrong("standard input has no name that the page could take: give -o FILE");
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t k = strlen(endings[i]);
        if (n > k && strncmp(trace + n - k, endings[i], k) == 0 && trace[n - k - 1] != '/')
            n -= k;
    }
    char *name = NULL;
    free(request->page);
    if ((file ? asprintf(&name, "%s", file) : asprintf(&name, "%.*s.html", (int)n, trace)) < 0)
        name = NULL;
    request->page = name;
    request->output = NULL;
    const char *why = name ? add_page(request, name) : "memory ran out";
    return why ? wrong("-o: %s", why) : MA_OPTIONS_RUN;
}

/* A flame graph's form is told by the name of its file. */
static bool is_flamegraph_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    return !dot || strcmp(dot, ".svg") == 0 || strcmp(dot, ".folded") == 0;
}

static enum ma_options_result add_debug_dir(struct ma_request *request, const char *dir)
{
    size_t n = request->symbol_options.n_debug_dirs;
    const char **dirs = realloc((void *)request->symbol_options.debug_dirs, (n + 1) * sizeof *dirs);
    if (!dirs)
        return wrong("memory ran out");
    dirs[n] = dir;
    request->symbol_options.debug_dirs = dirs;
    request->symbol_options.n_debug_dirs = n + 1;
    return MA_OPTIONS_RUN;
}

static const char *parse_condition(struct ma_request *request, const char *text)
{
    size_t n = request->n_conditions;
    struct ma_condition *conditions = (struct ma_condition *)request->conditions;
    _Static_assert(MA_CONDITIONS_MAX == 32, "the sentence");
    if (n == MA_CONDITIONS_MAX)
        return "expected 32 conditions at most";
    conditions = realloc(conditions, (n + 1) * sizeof *conditions);
    if (!conditions)
        return "memory ran out";
    request->conditions = conditions;
    const char *why = ma_condition_parse(&conditions[n], text);
    request->n_conditions += !why;
    if (!why && strcmp(ma_metric_table[conditions[n].metric].name, "growth") == 0)
        request->judges_growth = true;
    return why;
}

/* The option that a user has for an output. */
static const char *export_option(const struct ma_export_request *wanted)
{
    return wanted->exporter == &ma_exporter_html ? "--html" : "--export";
}

static enum ma_options_result check_diff(const struct ma_request *request, const char *new)
{
    if (strcmp(request->diff_old, "-") == 0 || strcmp(new, "-") == 0)
        return wrong("--diff: expected two files; standard input cannot be one of them");
    const char *other = request->dump        ? "--dump"
                        : request->bundle    ? "--bundle"
                        : request->follow    ? "--follow"
                        : request->n_exports ? export_option(&request->exports[0])
                                             : NULL;
    if (other)
        return wrong("%s is of one trace: it does not go with --diff", other);
    for (size_t i = 0; i < ma_report_count; i++) {
        const char *name = ma_reports[i]->name;
        if ((request->reports >> i & 1) && strcmp(name, "leaks") && strcmp(name, "peak") &&
            strcmp(name, "allocations") && strcmp(name, "summary"))
            return wrong("--%s is of one trace: --diff compares --leaks, --peak and "
                         "--allocations",
                         name);
    }
    return MA_OPTIONS_RUN;
}

/* Options of continuous integration that do not go together. */
static enum ma_options_result check_gate(const struct ma_request *request)
{
    const char *main_output = request->output ? request->output : "-";
    const char *option = request->n_conditions ? "--fail-on"
                         : request->junit      ? "--junit"
                         : request->sarif      ? "--sarif"
                                               : NULL;
    if (request->baseline && !request->n_conditions)
        return wrong("--baseline goes with --fail-on, as in --fail-on 'peak_bytes>+5%%'");
    if (option && (request->dump || request->bundle || request->follow))
        return wrong("%s goes with reports, not with %s", option,
                     request->dump     ? "--dump"
                     : request->bundle ? "--bundle"
                                       : "--follow");
    if (ma_conditions_need_baseline(request->conditions, request->n_conditions) &&
        !request->baseline && !request->diff)
        return wrong("--fail-on with growth needs --baseline FILE: a trace or a report of --json");
    const char *files[] = {request->junit, request->sarif, main_output};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = i + 1; k < 3; k++) {
            if (files[i] && files[k] && strcmp(files[i], files[k]) == 0 &&
                !(k == 2 && request->exports_only))
                return wrong("%s %s: it takes another output already; name another file",
                             i ? "--sarif" : "--junit", files[i]);
        }
        for (size_t k = 0; files[i] && k < request->n_exports; k++) {
            if (strcmp(files[i], request->exports[k].file) == 0)
                return wrong("%s %s: it takes another output already; name another file",
                             i ? "--sarif" : "--junit", files[i]);
        }
    }
    if (request->baseline && strcmp(request->baseline, "-") == 0)
        return wrong("--baseline -: expected a file; standard input is for the trace");
    return MA_OPTIONS_RUN;
}

/* Each output is one file: the main one, if there is one, and the exports. */
static enum ma_options_result place_exports(struct ma_request *request)
{
    for (size_t i = 0; i < request->n_exports; i++) {
        struct ma_export_request *one = &request->exports[i];
        if (!one->file)
            one->file = request->output ? request->output : "-";
        bool taken = !request->exports_only &&
                     strcmp(one->file, request->output ? request->output : "-") == 0;
        for (size_t k = 0; k < i; k++)
            taken |= strcmp(one->file, request->exports[k].file) == 0;
        if (taken)
            return wrong("--export=%s: %s takes another output already; name a file, as in "
                         "--export=%s=FILE",
                         one->exporter->name,
                         strcmp(one->file, "-") == 0 ? "standard output" : one->file,
                         one->exporter->name);
    }
    return MA_OPTIONS_RUN;
}

static const char *parse_report(struct ma_request *request, int index, const char *text)
{
    const struct ma_report *report = ma_reports[index];
    if (!(request->reports >> index & 1))
        request->order[request->n_reports++] = (unsigned char)index;
    request->reports |= 1u << index;
    return report->parse ? report->parse(request, text) : NULL;
}

/* Refuse combinations of filters with what they cannot go with. */
static enum ma_options_result check_filter(const struct ma_request *request)
{
    const char *problem = ma_filter_options_problem(&request->filter, "");
    if (problem)
        return wrong("%s", problem);
    if (!request->filter.active)
        return MA_OPTIONS_RUN;
    if (request->bundle)
        return wrong("--bundle packs the whole trace: leave out the filters here, and give them "
                     "when the bundle is read, as in: mlog-analyze %s --from 50%%",
                     request->bundle_output);
    if (request->filter.function.n && !request->symbols)
        return wrong("--function needs the names that --no-symbols leaves out");
    if (request->follow && ma_filter_options_looks_ahead(&request->filter))
        return wrong("--follow does not know the end yet, which percent, marks, --min-age and "
                     "names of threads need: give --from and --to in seconds, --tid as a number");
    return MA_OPTIONS_RUN;
}

static enum ma_options_result take_option(struct ma_request *request, int option, const char *name)
{
    struct ma_export_request wanted;
    const char *why = NULL;
    switch (option) {
    case OPT_TOP:
        request->top_given = true;
        why = parse_count(optarg, &request->top, "expected a number of entries, 0 for all");
        break;
    case OPT_FRAMES:
        request->frames_given = true;
        why = parse_count(optarg, &request->frames, "expected a number of frames, 0 for all");
        break;
    case OPT_JOBS:
        why = parse_count(optarg, &request->jobs,
                          "expected a number of processors, 0 for those there are");
        break;
    case OPT_SORT: why = parse_sort(request, optarg); break;
    case OPT_DUMP: why = parse_dump(optarg, &request->dump); break;
    case OPT_FLAMEGRAPH: why = parse_flamegraph(optarg, &request->flamegraph); break;
    case OPT_INTERVAL: why = parse_interval(optarg, &request->interval); break;
    case OPT_FAIL_ON: why = parse_condition(request, optarg); break;
    case OPT_OLD_FROM:
    case OPT_OLD_TO:
        why = ma_filter_options_parse(
            &request->diff_window, option == OPT_OLD_FROM ? MA_FILTER_FROM : MA_FILTER_TO, optarg);
        break;
    case OPT_EXPORT:
        why = parse_export(optarg, &wanted);
        if (!why && request->n_exports == MA_EXPORTS_MAX)
            return wrong("--export: %d at most", MA_EXPORTS_MAX);
        if (!why)
            request->exports[request->n_exports++] = wanted;
        break;
    case OPT_HTML: why = add_page(request, optarg); break;
    case OPT_HTML_BESIDE: request->page = strdup(""); break;
    case OPT_HTML_SIZE:
        why = ma_filter_options_bytes(optarg, &request->page_limit);
        if (!why && (request->page_limit < MA_PAGE_LEAST || request->page_limit > MA_PAGE_MOST))
            why = "expected 256K at least and 1G at most";
        break;
    case OPT_INVERT: request->invert = true; break;
    case OPT_ICICLE: request->icicle = true; break;
    case OPT_DEBUG_DIR: return add_debug_dir(request, optarg);
    case OPT_FOLLOW: request->follow = true; break;
    case OPT_JSON: request->json = true; break;
    case OPT_NO_SYMBOLS: request->symbols = false; break;
    case OPT_SYSROOT: request->symbol_options.sysroot = optarg; break;
    case OPT_FULL_NAMES: request->symbol_options.full_names = true; break;
    case OPT_SUPPRESSIONS:
        if (request->n_suppressions == MA_SUPPRESSION_FILES)
            return wrong("--suppressions: %d files at most", MA_SUPPRESSION_FILES);
        request->suppressions[request->n_suppressions++] = optarg;
        break;
    case OPT_SHOW_RUNTIME: request->show_runtime = true; break;
    case OPT_NO_CACHE: request->symbol_options.cache = false; break;
    case OPT_PERF_MAP: request->symbol_options.perf_map_dir = optarg; break;
    case OPT_BUNDLE:
        request->bundle = true;
        request->bundle_output = optarg;
        break;
    case OPT_DIFF: request->diff = true; break;
    case OPT_BASELINE: request->baseline = optarg; break;
    case OPT_JUNIT: request->junit = optarg; break;
    case OPT_SARIF: request->sarif = optarg; break;
    case OPT_VERSION: printf("mlog-analyze %s\n", MLOG_VERSION); return MA_OPTIONS_DONE;
    case 'o': request->output = optarg; break;
    case 'h': help(); return MA_OPTIONS_DONE;
    default:
        if (option >= OPT_REPORT)
            why = parse_report(request, option - OPT_REPORT, optarg);
        else if (option >= OPT_FILTER)
            why = ma_filter_options_parse(&request->filter,
                                          (enum ma_filter_option)(option - OPT_FILTER), optarg);
        else
            return wrong("try mlog-analyze --help"); /* getopt has said what is wrong */
    }
    return why ? refuse(name, option, why) : MA_OPTIONS_RUN;
}

static int has_value(const struct ma_report *report)
{
    return !report->value            ? no_argument
           : report->value[0] == '[' ? optional_argument
                                     : required_argument;
}

/* True if the request is for --pool and nothing else: of several traces, that is. */
static bool is_pool_alone(const struct ma_request *request)
{
    return request->n_reports == 1 && ma_reports[request->order[0]] == &ma_report_pool &&
           !request->dump && !request->flamegraph && !request->bundle && !request->n_exports &&
           !request->follow && !request->n_conditions && !request->junit && !request->sarif;
}

enum ma_options_result ma_options_parse(struct ma_request *request, int argc, char **argv)
{
    struct option all[N_FIXED + MA_FILTER_OPTIONS + MA_REPORTS_MAX + 1] = {0};
    size_t n = N_FIXED;
    memcpy(all, fixed, sizeof fixed);
    for (int i = 0; i < MA_FILTER_OPTIONS; i++)
        all[n++] = (struct option){ma_filter_names[i], required_argument, NULL, OPT_FILTER + i};
    for (size_t i = 0; i < ma_report_count; i++) {
        if (ma_reports[i]->help)
            all[n++] = (struct option){ma_reports[i]->name, has_value(ma_reports[i]), NULL,
                                       OPT_REPORT + (int)i};
    }
    *request = (struct ma_request){
        .symbols = true,
        .top = 10,
        .frames = 16,
        .page_limit = 8 << 20,
        .symbol_options = {.inlines = true, .demangle = true, .fetch = true, .cache = true},
    };
    int at = 0;
    for (int option; (option = getopt_long(argc, argv, "o:h", all, &at)) != -1;) {
        enum ma_options_result result = take_option(request, option, all[at].name);
        if (result != MA_OPTIONS_RUN)
            return result;
    }
    if (request->n_suppressions && !request->symbols)
        return wrong("--suppressions match names, which --no-symbols leaves out");
    if (optind == argc)
        return wrong("expected a TRACE: a file, or - for standard input (try --help)");
    if (request->diff_window.active && !request->diff)
        return wrong("--old-from and --old-to are the window of OLD: they go with --diff OLD NEW");
    const char *problem = ma_filter_options_problem(&request->diff_window, "old-");
    if (problem)
        return wrong("%s", problem);
    if (request->diff) {
        if (optind + 2 != argc)
            return wrong("--diff: expected two traces, OLD and NEW");
        request->diff_old = argv[optind++];
        enum ma_options_result checked = check_diff(request, argv[optind]);
        if (checked != MA_OPTIONS_RUN)
            return checked;
    }
    request->traces = (const char *const *)argv + optind;
    request->n_traces = (size_t)(argc - optind);
    if (optind + 1 < argc && !is_pool_alone(request))
        return wrong("expected one TRACE, but \"%s\" follows \"%s\"", argv[optind + 1],
                     argv[optind]);
    if (!!request->dump + !!request->flamegraph + request->bundle +
            (request->json || request->reports) >
        1)
        return wrong("--dump, --flamegraph, --bundle and reports are separate outputs: ask for "
                     "one of them at a time");
    if (request->bundle && request->output)
        return wrong("--bundle %s names the output already: leave out -o %s",
                     request->bundle_output, request->output);
    if (request->bundle && !request->symbols)
        return wrong("--bundle packs symbols, which --no-symbols leaves out: use zstd(1) to "
                     "pack the trace alone");
    if (request->bundle)
        request->output = request->bundle_output;
    if (request->flamegraph && request->output && !is_flamegraph_name(request->output))
        return wrong("-o %s: a flame graph is written as .svg or .folded", request->output);
    if (request->follow && request->dump)
        return wrong("--follow repeats reports; --dump prints events as they come without it");
    if (request->interval && !request->follow)
        return wrong("--interval goes with --follow");
    if (!request->interval)
        request->interval = 2000;
    if ((request->invert || request->icicle) && !request->flamegraph)
        return wrong("%s belongs to --flamegraph=COST", request->invert ? "--invert" : "--icicle");
    if (request->page && name_page(request, argv[optind]) != MA_OPTIONS_RUN)
        return MA_OPTIONS_WRONG;
    request->exports_only = request->n_exports && !request->dump && !request->flamegraph &&
                            !request->json && !request->reports;
    if (request->n_exports && (request->dump || request->bundle || request->follow))
        return wrong("%s and --export are separate outputs: ask for one of them at a time",
                     request->dump     ? "--dump"
                     : request->bundle ? "--bundle"
                                       : "--follow");
    request->trace = argv[optind];
    enum ma_options_result result = check_filter(request);
    if (result == MA_OPTIONS_RUN)
        result = place_exports(request);
    return result == MA_OPTIONS_RUN ? check_gate(request) : result;
}

void ma_options_free(struct ma_request *request)
{
    free((void *)request->symbol_options.debug_dirs);
    free((struct ma_condition *)request->conditions);
    free(request->page);
    ma_filter_options_free(&request->filter);
}
