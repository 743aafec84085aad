/* SPDX-License-Identifier: MIT
 *
 * `mlog ctl PID COMMAND`: ask a traced process, and its descendants, what they record, and
 * to pause, go on, mark, deliver or stop.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "mc_commands.h"
#include "mc_control.h"
#include "mc_options.h"
#include "mlf_format.h"

#define WAIT_MS 1000
#define PROCESSES_MAX 4096
#define START_NS 20000000L /* a program's start takes less than STARTS of them */
#define STARTS 10

enum { TREE, JSON, WAIT };
static const struct mc_option options[] = {
    [TREE] = {"tree", 't', NULL, MC_COMPLETE_NOTHING, NULL, "PID and all its traced descendants"},
    [JSON] = {"json", 0, NULL, MC_COMPLETE_NOTHING, NULL, "the state as JSON"},
    [WAIT] = {"wait", 'w', "MS", MC_COMPLETE_NOTHING, NULL,
              "milliseconds that an answer is waited for (1000)"},
    {0},
};

static const struct command {
    const char *name;
    unsigned number;
    const char *done, *already;
} commands[] = {
    {"status", MLF_CONTROL_STATUS, NULL, NULL},
    {"pause", MLF_CONTROL_PAUSE, "paused", "was paused already"},
    {"resume", MLF_CONTROL_RESUME, "records again", "was recording already"},
    {"mark", MLF_CONTROL_MARK, "marked", NULL},
    {"flush", MLF_CONTROL_FLUSH, "delivered what it had buffered", NULL},
    {"stop", MLF_CONTROL_STOP, "stopped recording, for good", NULL},
};

struct asking {
    const struct command *command;
    const char *text;
    unsigned wait_ms;
    bool json, first;
};

static void print_size(uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    unsigned unit = 0;
    for (; value >= 1024 && unit < 4; unit++)
        value /= 1024;
    printf(unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Ns that the process was paused, the pause that goes on included. */
static uint64_t paused_for(const struct mc_control_state *state, uint64_t now)
{
    bool goes_on = state->state == MLF_CONTROL_PAUSED && now > state->since_ns;
    return state->paused_ns + (goes_on ? now - state->since_ns : 0);
}

static void print_state(const struct mc_control *control, const struct mc_control_state *state,
                        bool fresh)
{
    const uint64_t now = mc_control_now();
    printf("process %d (%s): %s", control->pid, control->name, mc_control_state_name(state->state));
    if (state->state == MLF_CONTROL_STOPPED)
        printf(": %s%s%s", mc_control_stop_name(state->stop_reason), state->stop_errno ? ", " : "",
               state->stop_errno ? strerror((int)(state->stop_errno & 0x7fff)) : "");
    else if (now > state->since_ns)
        printf(", for %.1f s", seconds(now - state->since_ns));
    printf("\n  %" PRIu64 " events, ", state->events);
    print_size(state->bytes);
    if (state->lost)
        printf(" of trace, %" PRIu64 " events lost\n", state->lost);
    else
        printf(" of trace, nothing lost\n");
    printf("  trace: %s (%s)\n", state->target[0] ? state->target : "?",
           state->layout == MLF_LAYOUT_STREAM ? "a stream" : "a mapped file");
    if (state->pauses)
        printf("  pauses: %" PRIu64 ", %.1f s in all\n", state->pauses,
               seconds(paused_for(state, now)));
    printf("  sampling: %s; libmlog %s\n", state->sampling ? "yes" : "none", state->writer);
    if (!fresh && state->state != MLF_CONTROL_STOPPED)
        printf("  as of %.1f s ago: the program has made no allocation since\n",
               now > state->taken_ns ? seconds(now - state->taken_ns) : 0);
}

static void print_string(const char *text)
{
    putchar('"');
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            putchar('\\');
        putchar(*p);
    }
    putchar('"');
}

static void print_json(struct asking *asking, const struct mc_control *control,
                       const struct mc_control_state *state, bool fresh)
{
    const uint64_t now = mc_control_now();
    printf("%s  {\"pid\": %d, \"name\": ", asking->first ? "" : ",\n", control->pid);
    asking->first = false;
    print_string(control->name);
    printf(", \"state\": \"%s\", \"stopped\": ", mc_control_state_name(state->state));
    if (state->state == MLF_CONTROL_STOPPED)
        print_string(mc_control_stop_name(state->stop_reason));
    else
        fputs("null", stdout);
    printf(", \"fresh\": %s, \"age_ns\": %" PRIu64 ",\n   \"events\": %" PRIu64
           ", \"bytes\": %" PRIu64 ", \"lost_events\": %" PRIu64 ", \"pauses\": %" PRIu64
           ", \"paused_ns\": %" PRIu64 ",\n   \"sampling\": ",
           fresh ? "true" : "false", now > state->taken_ns ? now - state->taken_ns : 0,
           state->events, state->bytes, state->lost, state->pauses, paused_for(state, now));
    if (state->sampling)
        printf("%" PRIu64, state->sampling);
    else
        fputs("null", stdout);
    fputs(", \"trace\": ", stdout);
    print_string(state->target);
    printf(", \"layout\": \"%s\", \"version\": ",
           state->layout == MLF_LAYOUT_STREAM ? "stream" : "mapped");
    print_string(state->writer);
    putchar('}');
}

/* A process that is asked. */
struct asked {
    struct mc_control control;
    enum mc_control_problem problem;
    enum mc_control_outcome outcome;
    uint32_t number; /* of the request */
};

/* What came of a request. Returns the exit status. */
static int tell_answer(const struct asking *asking, const struct asked *asked, int result)
{
    const struct command *command = asking->command;
    const struct mc_control *control = &asked->control;
    const bool stops = command->number == MLF_CONTROL_STOP;
    const bool done = asked->outcome == MC_CONTROL_ANSWERED && result >= 0;
    struct mc_control_state state;
    FILE *out = done ? stdout : stderr;
    mc_control_read(control, &state);
    fprintf(out, "%sprocess %d (%s) ", done ? "" : "mlog ctl: ", control->pid, control->name);
    if (asked->outcome == MC_CONTROL_WAITS)
        fprintf(out,
                "has made no allocation since: \"%s\" will be acted upon at the program's next "
                "allocation\n",
                command->name);
    else if (asked->outcome == MC_CONTROL_BUSY)
        fprintf(out,
                "has %u requests waiting that it has not acted upon, or another command holds its "
                "page; try again\n",
                MLF_CONTROL_SLOTS);
    else if (asked->outcome == MC_CONTROL_ENDED || result == -ESHUTDOWN)
        fprintf(out, "records no more: %s\n", mc_control_stop_name(state.stop_reason));
    else if (result == 1 && command->already)
        fprintf(out, "%s\n", command->already);
    else if (done)
        fprintf(out, "%s\n", command->done);
    else if (result == -EAGAIN)
        fprintf(out,
                "could not, for its trace's reader is slow and MLOG_ON_FULL=drop; try again\n");
    else if (result == -ENOSYS)
        fprintf(out, "does not know \"%s\": its libmlog is %s\n", command->name, state.writer);
    else
        fprintf(out, "could not: %s\n", strerror(-result & 0x7fff));
    if (asked->outcome == MC_CONTROL_WAITS)
        return 3;
    return !done && !(stops && state.stop_reason == MLF_LOSS_ASKED);
}

static void ask(const struct asking *asking, struct asked *asked, pid_t pid)
{
    const struct timespec moment = {.tv_nsec = START_NS};
    asked->problem = mc_control_open(&asked->control, pid);
    for (int i = 0; i < STARTS && asked->problem == MC_CONTROL_CLOSED; i++) {
        nanosleep(&moment, NULL); /* it may have been executed just now */
        asked->problem = mc_control_open(&asked->control, pid);
    }
    if (asked->problem == MC_CONTROL_FOUND)
        asked->outcome =
            mc_control_ask(&asked->control, asking->command->number, asking->text, &asked->number);
}

/* Wait for what was asked, and tell. Returns the exit status, -1 if there is nothing to tell
 * of a member of a tree. */
static int await(struct asking *asking, struct asked *asked, uint64_t until, bool in_tree)
{
    struct mc_control_state state;
    int result = 0, status = 0;
    if (asked->problem != MC_CONTROL_FOUND) {
        if (in_tree &&
            (asked->problem == MC_CONTROL_UNTRACED || asked->problem == MC_CONTROL_NO_PROCESS))
            return -1;
        fprintf(stderr, "mlog ctl: process %d %s\n", asked->control.pid,
                mc_control_problem_text(asked->problem));
        return asked->problem == MC_CONTROL_PARENTS ? 3 : 1;
    }
    if (asked->outcome == MC_CONTROL_WAITS)
        asked->outcome = mc_control_await(&asked->control, asked->number, until, &result);
    if (asking->command->number == MLF_CONTROL_STATUS) {
        mc_control_read(&asked->control, &state);
        const bool fresh = asked->outcome == MC_CONTROL_ANSWERED;
        if (asking->json)
            print_json(asking, &asked->control, &state, fresh);
        else
            print_state(&asked->control, &state, fresh);
    } else {
        status = tell_answer(asking, asked, result);
    }
    mc_control_close(&asked->control);
    return status;
}

static uint64_t deadline(const struct asking *asking)
{
    return mc_control_now() + (uint64_t)asking->wait_ms * 1000000u;
}

static int ask_process(struct asking *asking, pid_t pid)
{
    struct asked asked;
    ask(asking, &asked, pid);
    return await(asking, &asked, deadline(asking), false);
}

/* Pids and parents of all processes. */
struct family {
    pid_t pid, parent;
    bool in, seen;
};

static size_t read_processes(struct family *all)
{
    char path[288], line[512];
    size_t n = 0;
    DIR *folder = opendir("/proc");
    for (struct dirent *one; folder && n < PROCESSES_MAX && (one = readdir(folder));) {
        if (!isdigit((unsigned char)one->d_name[0]))
            continue;
        snprintf(path, sizeof path, "/proc/%s/stat", one->d_name);
        FILE *file = fopen(path, "re");
        const char *end = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        int parent;
        if (end && sscanf(end + 1, " %*c %d", &parent) == 1)
            all[n++] = (struct family){.pid = atoi(one->d_name), .parent = parent};
        if (file)
            fclose(file);
    }
    if (folder)
        closedir(folder);
    return n;
}

/* Mark PID and its descendants. Returns how many they are. */
static size_t mark_family(struct family *all, size_t n, pid_t pid)
{
    size_t in = 0;
    bool more = true;
    for (size_t i = 0; i < n; i++)
        in += all[i].in = all[i].pid == pid;
    while (more) {
        more = false;
        for (size_t i = 0; i < n; i++) {
            for (size_t k = 0; k < n && !all[i].in; k++)
                in += all[i].in = all[k].in && all[k].pid == all[i].parent;
        }
        for (size_t i = 0; i < n; i++) {
            more |= all[i].in && !all[i].seen;
            all[i].seen = all[i].in;
        }
    }
    return in;
}

/* Ask PID and all its descendants that are traced: first all, then wait for all. */
static int ask_tree(struct asking *asking, pid_t pid)
{
    struct family *all = calloc(PROCESSES_MAX, sizeof *all);
    const size_t n = all ? read_processes(all) : 0;
    struct asked *asked = calloc(mark_family(all, n, pid) + 1, sizeof *asked);
    struct rlimit limit;
    size_t in = 0;
    int worst = -1;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) { /* a descriptor for each */
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (size_t i = 0; i < n && asked; i++)
        if (all[i].in)
            ask(asking, &asked[in++], all[i].pid);
    const uint64_t until = deadline(asking);
    for (size_t i = 0; i < in; i++) {
        int status = await(asking, &asked[i], until, true);
        worst = status > worst ? status : worst;
    }
    free(asked);
    free(all);
    if (worst < 0) {
        fprintf(stderr,
                "mlog ctl: process %d and its descendants are not traced, or are gone; start it "
                "by mlog run\n",
                pid);
        return 1;
    }
    return worst;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static bool parse_number(const char *text, long least, long most, long *number)
{
    char *end;
    errno = 0;
    *number = strtol(text, &end, 10);
    return isdigit((unsigned char)text[0]) && !*end && !errno && *number >= least &&
           *number <= most;
}

static int ctl(int argc, char **argv)
{
    struct asking asking = {.wait_ms = WAIT_MS, .first = true};
    bool tree = false;
    long number;
    char *operands[4];
    int n = 0;
    while (optind < argc) { /* options may stand behind PID, too */
        int option = mc_option_next(&mc_verb_ctl, argc, argv);
        switch (option) {
        case TREE: tree = true; break;
        case JSON: asking.json = true; break;
        case WAIT:
            if (!parse_number(optarg, 0, 3600000, &number))
                return mc_wrong(&mc_verb_ctl, "--wait %s: expected milliseconds", optarg);
            asking.wait_ms = (unsigned)number;
            break;
        case -3: return mc_flush();
        case -1:
            if (optind < argc && n == 4)
                return mc_wrong(&mc_verb_ctl, "%s: not expected there", argv[optind]);
            if (optind < argc)
                operands[n++] = argv[optind++];
            break;
        default: return 2;
        }
    }
    argv = operands;
    argc = n;
    if ((n == 1 && strcmp(argv[0], "help") == 0) || (n == 2 && strcmp(argv[1], "help") == 0)) {
        mc_help_verb(stdout, &mc_verb_ctl);
        return mc_flush();
    }
    if (argc < 1 || !parse_number(argv[0], 1, INT_MAX, &number))
        return mc_wrong(&mc_verb_ctl, "expected the number of a process and a command");
    asking.command = find_command(argc > 1 ? argv[1] : "status");
    if (!asking.command)
        return mc_wrong(&mc_verb_ctl,
                        "%s: not a command; they are status, pause, resume, mark, "
                        "flush, stop, help",
                        argv[1]);
    bool marks = asking.command->number == MLF_CONTROL_MARK;
    if (marks && argc < 3)
        return mc_wrong(&mc_verb_ctl, "mark: expected the mark's name");
    if (argc > 2 + marks)
        return mc_wrong(&mc_verb_ctl, "%s: not expected there", argv[2 + marks]);
    if (asking.json && asking.command->number != MLF_CONTROL_STATUS)
        return mc_wrong(&mc_verb_ctl, "--json goes with status alone");
    asking.text = marks ? argv[2] : NULL;
    if (asking.json)
        fputs("{\"processes\": [\n", stdout);
    int status = tree ? ask_tree(&asking, (pid_t)number) : ask_process(&asking, (pid_t)number);
    if (asking.json)
        fputs(asking.first ? "]}\n" : "\n]}\n", stdout);
    return mc_flush() ? 1 : status;
}

const struct mc_verb mc_verb_ctl = {
    .name = "ctl",
    .summary = "ask a traced process, pause it, let it go on",
    .usage = "[OPTION]... PID [status | pause | resume | mark NAME | flush | stop | help]",
    .text = "Ask a process that runs with libmlog.so. It answers at its next allocation or free.\n"
            "  status    does it record, how much, where to; what was lost (the default)\n"
            "  pause     record nothing from now on, at the cost of a forwarded call\n"
            "  resume    record again; blocks of the time between are not in the trace\n"
            "  mark NAME put a mark into the trace\n"
            "  flush     deliver what is buffered to a pipe or socket\n"
            "  stop      end recording for good; the program goes on",
    .after =
        "Exit status: 0, 1 if it cannot be done, 2 for wrong use, 3 if there is no answer yet:\n"
        "the request waits, and will be acted upon at the program's next allocation.",
    .options = options,
    .operand = MC_COMPLETE_PROCESS,
    .second = "status pause resume mark flush stop help",
    .run = ctl,
};
