/* SPDX-License-Identifier: MIT
 *
 * mlog-sql, which `mlog sql` runs: a trace becomes a database that stays, or one that
 * answers a question and goes; a database is asked. Options of an analysis are passed on to
 * its own parsing (ma_options.h), so that they mean here what they mean there.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <locale.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma_export.h"
#include "ma_filter_options.h"
#include "ma_nothing.h"
#include "ma_options.h"
#include "ma_sql.h"
#include "ma_sql_answer.h"
#include "ma_text.h"
#include "mlog_version.h"

#define PASSED_MAX 128

enum { OPT_BLOCKS = 256, OPT_CSV, OPT_JSON, OPT_SCHEMA, OPT_VERSION, OPT_PASSED };

/* What an analysis takes, beside its filters. */
static const struct option passed[] = {
    {"no-symbols", no_argument, NULL, OPT_PASSED},
    {"full-names", no_argument, NULL, OPT_PASSED},
    {"no-builtin-suppressions", no_argument, NULL, OPT_PASSED},
    {"no-cache", no_argument, NULL, OPT_PASSED},
    {"suppressions", required_argument, NULL, OPT_PASSED},
    {"sysroot", required_argument, NULL, OPT_PASSED},
    {"debug-dir", required_argument, NULL, OPT_PASSED},
    {"perf-map", required_argument, NULL, OPT_PASSED},
    {"jobs", required_argument, NULL, OPT_PASSED},
};
static const struct option own[] = {
    {"output", required_argument, NULL, 'o'},    {"blocks", required_argument, NULL, OPT_BLOCKS},
    {"csv", no_argument, NULL, OPT_CSV},         {"json", no_argument, NULL, OPT_JSON},
    {"schema", no_argument, NULL, OPT_SCHEMA},   {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
};
#define N_PASSED (sizeof passed / sizeof *passed)
#define N_OWN (sizeof own / sizeof *own)

struct command {
    const char *input, *question, *output;
    enum ma_blocks blocks;
    bool blocks_given;
    enum ma_sql_form form;
    const char *of_traces;    /* an option that only traces have; or NULL */
    char *passed[PASSED_MAX]; /* the command line of the analysis: strings to free from 1 on */
    int n_passed;
};

static void help(void)
{
    fputs(
        "Usage: mlog sql [OPTION]... TRACE -o FILE [QUESTION]\n"
        "       mlog sql [OPTION]... TRACE|DATABASE QUESTION\n"
        "       mlog sql --schema\n"
        "Make a database for sqlite3 of a heap trace: processes, modules, stacks, a row for each\n"
        "block, and views such as leaks, peak and by_function. Or ask one, or a trace without\n"
        "leaving a file; QUESTION is SQL, and can change nothing.\n"
        "\n"
        "    mlog sql TRACE 'SELECT * FROM leaks LIMIT 5'\n"
        "\n"
        "  -o, --output FILE      the database: replaces only one of mlog's\n"
        "  --blocks=WHICH         blocks that are stored beside those never freed: bounded (the\n"
        "                         first 20 million that ended, then one in 64; the default), all,\n"
        "                         live (none of them), sampled (one in 64)\n"
        "  --csv                  the answer as CSV\n"
        "  --json                 the answer as JSON: an array of objects\n"
        "  --schema               print the schema\n"
        "\n"
        "Of a trace, as mlog-analyze has them:\n"
        "  --from T, --to T, --pid N, --tid N|GLOB, --min-size BYTES, --max-size BYTES,\n"
        "  --min-age DURATION, --function REGEX, --module REGEX, --exclude REGEX\n"
        "                         only the blocks that fit\n"
        "  --suppressions FILE, --no-builtin-suppressions\n"
        "                         leaks to leave out\n"
        "  --no-symbols, --full-names, --sysroot DIR, --debug-dir DIR, --perf-map DIR,\n"
        "  --no-cache             names\n"
        "  --jobs N               use so many processors at most\n"
        "\n"
        "  -h, --help             this text\n"
        "  --version              version\n"
        "\n"
        "Exit status: 0, 1 if the trace or the output failed, 2 for wrong usage or a question\n"
        "that is wrong.\n",
        stdout);
}

static int wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", ma_command);
    vfprintf(stderr, format, arguments);
    fputs("\n", stderr);
    va_end(arguments);
    return 2;
}

static int finish_output(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return 0;
    fprintf(stderr, "%s: standard output: %s\n", ma_command, strerror(errno ? errno : EIO));
    return 1;
}

static bool parse_blocks(const char *text, enum ma_blocks *blocks)
{
    static const char *const names[] = {
        [MA_BLOCKS_BOUNDED] = "bounded",
        [MA_BLOCKS_ALL] = "all",
        [MA_BLOCKS_LIVE] = "live",
        [MA_BLOCKS_SAMPLED] = "sampled",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i]) == 0) {
            *blocks = (enum ma_blocks)i;
            return true;
        }
    }
    return false;
}

static int pass_on(struct command *command, const struct option *option)
{
    char **to = &command->passed[command->n_passed];
    if (command->n_passed >= PASSED_MAX - 3)
        return wrong("--%s: so many options are not taken", option->name);
    int n = option->has_arg ? asprintf(to, "--%s=%s", option->name, optarg)
                            : asprintf(to, "--%s", option->name);
    if (n < 0)
        return wrong("memory ran out");
    command->of_traces = option->name;
    command->n_passed++;
    return -1;
}

static int take_option(struct command *command, int option, const struct option *one)
{
    switch (option) {
    case 'o': command->output = optarg; break;
    case OPT_BLOCKS:
        if (!parse_blocks(optarg, &command->blocks))
            return wrong("--blocks=%s: expected one of bounded, all, live, sampled", optarg);
        command->of_traces = "blocks";
        break;
    case OPT_CSV: command->form = MA_SQL_CSV; break;
    case OPT_JSON: command->form = MA_SQL_JSON; break;
    case OPT_SCHEMA: fputs(ma_sql_schema(), stdout); return finish_output();
    case OPT_VERSION: printf("mlog-sql %s\n", MLOG_VERSION); return finish_output();
    case 'h': help(); return finish_output();
    case OPT_PASSED: return pass_on(command, one);
    default: return wrong("try mlog sql --help"); /* getopt has said what is wrong */
    }
    return -1;
}

/* Returns -1, or the exit status if there is nothing more to do. */
static int parse(struct command *command, int argc, char **argv)
{
    struct option all[N_OWN + N_PASSED + MA_FILTER_OPTIONS + 1] = {0};
    size_t n = 0;
    int at = 0, done = -1;
    for (size_t i = 0; i < N_OWN; i++)
        all[n++] = own[i];
    for (size_t i = 0; i < N_PASSED; i++)
        all[n++] = passed[i];
    for (int i = 0; i < MA_FILTER_OPTIONS; i++)
        all[n++] = (struct option){ma_filter_names[i], required_argument, NULL, OPT_PASSED};
    command->passed[command->n_passed++] = argv[0];
    for (int option; done < 0 && (option = getopt_long(argc, argv, "o:h", all, &at)) != -1;)
        done = take_option(command, option, &all[at]);
    if (done >= 0)
        return done;
    command->input = argv[optind];
    command->question = command->input ? argv[optind + 1] : NULL;
    if (!command->input)
        return wrong("expected a trace or a database (try mlog sql --help)");
    if (command->question && argv[optind + 2])
        return wrong("expected one question, but \"%s\" follows \"%s\": put it between quotes, "
                     "and semicolons between several",
                     argv[optind + 2], command->question);
    if (!command->question && !command->output)
        return wrong("expected -o FILE, or a question as in: mlog sql %s 'SELECT * FROM leaks'",
                     command->input);
    return -1;
}

static size_t columns(void)
{
    struct winsize size;
    if (!isatty(STDOUT_FILENO))
        return SIZE_MAX;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

static int answer(const struct command *command, sqlite3 *db, bool file, struct ma_error *error)
{
    const struct ma_sql_asking asking = {
        .db = db, .file = file, .form = command->form, .columns = columns(), .out = stdout};
    return ma_sql_answer(&asking, command->question, error);
}

static int ask_file(const struct command *command, const char *file, struct ma_error *error)
{
    sqlite3 *db = ma_sql_open(file, error);
    int result = db ? answer(command, db, true, error) : -EIO;
    sqlite3_close(db);
    return result;
}

/* Look at a question of a trace before the trace is read, which may take long. */
static int check_question(const struct command *command, struct ma_error *error)
{
    struct ma_sql_store empty;
    ma_sql_store_open(&empty, "");
    ma_sql_do(&empty, ma_sql_schema());
    const struct ma_sql_asking asking = {.db = empty.db};
    int result = empty.failed ? ma_fail(error, empty.failed, "%s", empty.problem)
                              : ma_sql_answer(&asking, command->question, error);
    ma_sql_store_close(&empty);
    return result;
}

/* Say what was made, and how to ask it. */
static void tell_made(const struct command *command, const struct ma_sql *sql)
{
    char content[MA_SQL_SENTENCE], left[MA_SQL_SENTENCE], human[MA_HUMAN_SIZE];
    struct stat status;
    ma_sql_tell(sql, content, left);
    if (stat(command->output, &status) < 0)
        return;
    fprintf(stderr, "%s: %s: %s, %s\n", ma_command, command->output, content,
            ma_human_bytes(human, (uint64_t)status.st_size));
    if (!command->question)
        fprintf(stderr, "%s: ask it: mlog sql %s 'SELECT * FROM leaks LIMIT 10'\n", ma_command,
                command->output);
}

/* One pass, and the database: written to the output's temporary file, or nobody's. */
static int make(const struct command *command, const struct ma_request *request,
                struct ma_error *error)
{
    struct ma_analysis analysis;
    struct ma_output output = {0};
    struct ma_sql *sql = NULL;
    char left[MA_SQL_SENTENCE], content[MA_SQL_SENTENCE];
    int result = command->output ? ma_sql_may_replace(command->output, error) : 0;
    if (result == 0 && command->question && !command->output)
        result = check_question(command, error);
    if (result < 0)
        return result;
    if ((result = ma_analysis_open(&analysis, request, error)) < 0)
        goto out;
    if (command->output && (result = ma_output_open(&output, command->output, error)) < 0)
        goto out;
    if (!(sql = ma_sql_begin(&analysis, command->output ? output.temporary : ""))) {
        result = ma_fail_memory(error);
        goto out;
    }
    if (!ma_sql_problem(sql) && (result = ma_analysis_run(&analysis, NULL, error)) == 0 &&
        (result = ma_analysis_rows(&analysis, error)) == 0)
        result = ma_sql_write(sql);
    if (result == 0 && command->output && !ma_sql_problem(sql))
        ma_sql_close(sql);
    if (ma_sql_problem(sql))
        result = ma_fail(error, -EIO, "%s: cannot write: %s",
                         command->output ? command->output : "a temporary database",
                         ma_sql_problem(sql));
    else if (result == -ENOMEM)
        ma_fail_memory(error);
    if (result < 0)
        goto out;
    ma_sql_tell(sql, content, left);
    if (left[0])
        fprintf(stderr, "%s: %s\n", ma_command, left);
    if (command->output) {
        if ((result = ma_output_commit(&output, error)) < 0)
            goto out;
        tell_made(command, sql);
    }
    if (command->question)
        result = command->output ? ask_file(command, command->output, error)
                                 : answer(command, ma_sql_database(sql), false, error);
    char damage[400];
    if (result == 0 && ma_audit_is_damaged(&analysis.trace.audit, damage, sizeof damage))
        result = ma_fail(error, -EILSEQ, "%s: %s", ma_source_name(analysis.source), damage);
    if (result == 0)
        result = ma_nothing_check(&analysis, error);
out:
    ma_sql_free(sql);
    ma_output_discard(&output);
    ma_analysis_free(&analysis);
    return result;
}

static int run(struct command *command, struct ma_error *error)
{
    bool ours;
    if (ma_sql_is_database(command->input, &ours)) {
        if (command->output)
            return ma_fail(error, -ENOMSG, "%s: is a database already: -o is of traces",
                           command->input);
        if (command->of_traces)
            return ma_fail(error, -ENOMSG, "--%s is of traces: of a database, ask with WHERE",
                           command->of_traces);
        return ask_file(command, command->input, error);
    }
    struct ma_request request;
    command->passed[command->n_passed] = (char *)"--summary"; /* as parsing wants an output */
    command->passed[command->n_passed + 1] = (char *)"--";
    command->passed[command->n_passed + 2] = (char *)command->input;
    optind = 0;
    int result = -ENOMSG;
    if (ma_options_parse(&request, command->n_passed + 3, command->passed) == MA_OPTIONS_RUN) {
        request.blocks = command->blocks;
        result = make(command, &request, error);
    }
    ma_options_free(&request);
    return result;
}

int main(int argc, char **argv)
{
    struct command command = {0};
    struct ma_error error = {0};
    ma_command_set(argv[0]);
    setlocale(LC_CTYPE, "C.UTF-8");
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20); /* as in mlog-analyze */
#endif
    int status = parse(&command, argc, argv);
    if (status < 0) {
        const int result = run(&command, &error);
        if (error.message[0])
            fprintf(stderr, "%s: %s\n", ma_command, error.message);
        status = finish_output();
        if (result < 0)
            status = result == -ENOMSG ? 2 : 1;
    }
    for (int i = 1; i < command.n_passed; i++)
        free(command.passed[i]);
    return status;
}
