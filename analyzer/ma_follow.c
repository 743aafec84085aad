/* SPDX-License-Identifier: MIT
 *
 * Following; see ma_follow.h. A stream is read once, and reports are built
 * from within the pass. A file is read anew for each report, because a mapped
 * trace is complete at every instant and says nothing of what will change; the
 * pause is never shorter than the reading took. It stays the file that it was
 * when it was opened, whatever becomes of its name. Each report is built in memory
 * and appears at once: redrawn in place on a terminal, behind a separating
 * line otherwise, or as the new contents of the output file.
 */
#include "ma_follow.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ma_ending.h"
#include "ma_output.h"
#include "ma_nothing.h"
#include "ma_report.h"

static volatile sig_atomic_t interrupted;

struct follow {
    const struct ma_request *request;
    ma_follow_write *write;
    struct ma_error *error;
    int result;            /* of what was done within the pass */
    unsigned long reports; /* so far */
    bool terminal;         /* redraw */
    int fd;                /* of a regular file, or -1 */
    uint64_t due;          /* ms: when the next report is */
    uint64_t chunks;       /* when we looked last */
    bool ended;            /* and whether all programs had ended then */
};

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Print text from the top of the screen, cut to its height unless it is the
 * last. */
static void redraw(const char *text, bool last)
{
    struct winsize size = {0};
    unsigned rows = 24;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2)
        rows = size.ws_row;
    fputs("\033[H\033[2J", stdout);
    const char *at = text;
    for (unsigned row = 1; *at && (last || row < rows - 1); row++) {
        const char *end = strchr(at, '\n');
        size_t length = end ? (size_t)(end + 1 - at) : strlen(at);
        fwrite(at, 1, length, stdout);
        at += length;
    }
    unsigned more = 0;
    for (const char *p = at; (p = strchr(p, '\n')) != NULL; p++)
        more++;
    if (*at)
        printf("… %u more lines; Ctrl-C ends with all of them", more);
}

static int put_text(struct follow *follow, const char *text, size_t size, bool last)
{
    struct ma_output output;
    if (follow->terminal) {
        redraw(text, last);
        fflush(stdout);
        return 0;
    }
    int result = ma_output_open(&output, follow->request->output, follow->error);
    if (result < 0)
        return result;
    if (!follow->request->output && !follow->request->json) {
        char when[32] = "";
        time_t now = time(NULL);
        struct tm local;
        if (localtime_r(&now, &local))
            strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
        fprintf(output.file, "%s=== %s %lu, %s ===\n\n", follow->reports ? "\n" : "",
                last ? "last report," : "report", follow->reports + 1, when);
    }
    fwrite(text, 1, size, output.file);
    return ma_output_commit(&output, follow->error);
}

static int show(struct follow *follow, struct ma_analysis *analysis, bool last)
{
    struct ma_audit *audit = &analysis->trace.audit;
    const uint64_t truncated_at = audit->truncated_at;
    analysis->ongoing = !last;
    if (!last)
        audit->truncated_at = UINT64_MAX; /* of course it has no end yet */
    if (follow->fd < 0) { /* of a stream, names may have come for stacks of the report before */
        audit->unknown_stacks = audit->unknown_modules = 0; /* counted anew */
        ma_stacks_free(&analysis->stacks);
        ma_stacks_init(&analysis->stacks, &analysis->trace, analysis->symbols);
    }
    if (ma_replay_finish(&analysis->replay) < 0)
        return ma_fail_memory(follow->error);
    struct winsize size;
    if (follow->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col) {
        char columns[16];
        snprintf(columns, sizeof columns, "%u", size.ws_col);
        setenv("COLUMNS", columns, 1); /* what we draw to in memory has no width */
    }
    char *text = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        return ma_fail_memory(follow->error);
    int result = ma_analysis_rows(analysis, follow->error);
    if (result == 0)
        result = follow->write(analysis, memory, follow->terminal, follow->error);
    if ((fclose(memory) != 0 || !text) && result == 0)
        result = ma_fail_memory(follow->error);
    if (result == 0)
        result = put_text(follow, text, length, last);
    free(text);
    follow->reports++;
    audit->truncated_at = truncated_at;
    return result;
}

/* True if the trace has programs and all of them have ended. One that is
 * replaced by exec ends too, before the next begins: therefore this must hold
 * twice with nothing new in between. */
static bool is_over(struct follow *follow, const struct ma_analysis *analysis)
{
    const struct ma_trace *trace = &analysis->trace;
    bool ended = trace->n_processes > 0, sure = true;
    for (size_t i = 0; i < trace->n_processes; i++) {
        ended &= ma_process_is_over(trace->processes[i]);
        sure &= trace->processes[i]->end_how != MLF_END_EXEC || trace->processes[i]->reaped.told;
    }
    bool over = ended && (sure || (follow->ended && follow->chunks == analysis->merge.chunks));
    follow->ended = ended;
    follow->chunks = analysis->merge.chunks;
    return over;
}

/* True if the kernel says that no process can write to the file any more, by a
 * descriptor or a mapping: whoever wrote it has ended, be it by SIGKILL. A lease
 * for reading is granted only then, to the file's owner, where its file system
 * has leases; we hold it for no longer than the asking takes. */
static bool has_no_writer(int fd)
{
    if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
        return false;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return true;
}

/* The inode of our own pid namespace, 0 if it is not known. */
static uint64_t own_namespace(void)
{
    struct stat status;
    return stat("/proc/self/ns/pid", &status) == 0 ? (uint64_t)status.st_ino : 0;
}

/* True if a process lives of whose end the trace does not tell: one that closed
 * every descriptor opens the file again when it has something to write. Pids of
 * another namespace would be those of other processes here. */
static bool has_living(const struct ma_trace *trace)
{
    const uint64_t here = own_namespace();
    bool living = false;
    for (size_t i = 0; i < trace->n_processes && !living; i++) {
        const struct ma_process *process = trace->processes[i];
        const uint64_t there = process->record.pid_namespace;
        pid_t pid = here && there && here != there ? 0 : (pid_t)ma_process_pid(process);
        living = !ma_process_is_over(process) && pid > 0 && (kill(pid, 0) == 0 || errno != ESRCH);
    }
    return living;
}

/* Within the pass over a stream. */
static bool poll_stream(void *context, struct ma_analysis *analysis)
{
    struct follow *follow = context;
    uint64_t begin = now_ms();
    if (interrupted || follow->result < 0)
        return true;
    if (begin < follow->due)
        return false;
    if (is_over(follow, analysis))
        return true;
    follow->result = show(follow, analysis, false);
    uint64_t end = now_ms(), pause = follow->request->interval;
    follow->due = end + (end - begin > pause ? end - begin : pause);
    return follow->result < 0;
}

static int follow_stream(struct follow *follow, struct ma_analysis *analysis)
{
    analysis->poll = poll_stream;
    analysis->poll_context = follow;
    int result = ma_analysis_run(analysis, NULL, follow->error);
    if (result == 0)
        result = follow->result;
    result = result < 0 ? result : show(follow, analysis, true);
    return result < 0 ? result : ma_nothing_check(analysis, follow->error);
}

/* Sleep up to `until`, or SIGINT. */
static void pause_until(uint64_t until)
{
    for (uint64_t now; !interrupted && (now = now_ms()) < until;) {
        uint64_t ms = until - now;
        nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
    }
}

static int follow_file(struct follow *follow, struct ma_analysis *analysis)
{
    struct stat status;
    for (bool written = true;;) {
        const uint64_t begin = now_ms();
        const bool last = interrupted; /* a second one ends us where we are */
        int result = ma_analysis_retire(analysis) < 0
                         ? ma_fail_memory(follow->error)
                         : ma_analysis_run(analysis, NULL, follow->error);
        if (result < 0)
            return result;
        const bool over =
            last || is_over(follow, analysis) || (!written && !has_living(&analysis->trace));
        result = show(follow, analysis, over);
        if (result < 0 || over)
            return result < 0 ? result : ma_nothing_check(analysis, follow->error);
        const uint64_t end = now_ms(), pause = follow->request->interval;
        pause_until(end + (end - begin > pause ? end - begin : pause));
        written = !has_no_writer(follow->fd); /* before its size is looked at */
        if (fstat(follow->fd, &status) == 0 && status.st_size == 0)
            return ma_fail(follow->error, -ENODATA, "%s: was emptied while it was followed",
                           ma_source_name(analysis->source));
        result = ma_analysis_reopen(analysis, follow->error);
        analysis->silent = true;
        if (result == 0)
            result = ma_report_observe(analysis, follow->error);
        if (result < 0)
            return result;
    }
}

/* Wait for the first bytes of a file that was made but not begun: it is empty,
 * or its space is reserved and still zero. */
static void wait_for_begin(const char *path)
{
    static const unsigned char zeros[MLF_MAGIC_SIZE];
    for (;;) {
        unsigned char first[MLF_MAGIC_SIZE] = {0};
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return; /* opening it in earnest says why */
        ssize_t n = pread(fd, first, sizeof first, 0);
        close(fd);
        if (n < 0 || memcmp(first, zeros, sizeof first) != 0)
            return;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

int ma_follow(const struct ma_request *wanted, ma_follow_write *write, struct ma_error *error)
{
    struct ma_request request = *wanted;
    const char *type = getenv("TERM");
    struct follow follow = {
        .request = &request,
        .write = write,
        .error = error,
        .fd = -1,
        .terminal = !request.output && !request.json && isatty(STDOUT_FILENO) && type &&
                    strcmp(type, "dumb") != 0,
    };
    struct ma_analysis analysis;
    struct stat status;
    const bool standard = strcmp(request.trace, "-") == 0;
    const bool regular =
        (standard ? fstat(STDIN_FILENO, &status) : stat(request.trace, &status)) == 0 &&
        S_ISREG(status.st_mode);
    if (standard && regular)
        request.trace = "/dev/stdin"; /* each reading begins at its beginning */
    if (regular) {
        wait_for_begin(request.trace);
        follow.fd = open(request.trace, O_RDONLY | O_CLOEXEC);
        request.trace_fd = follow.fd > 0 ? follow.fd : 0; /* or opening it says why not */
        signal(SIGIO, SIG_IGN); /* of somebody who would write while we look whether one does */
    }
    int result = ma_analysis_open(&analysis, &request, error);
    if (result == 0)
        result = ma_report_observe(&analysis, error);
    if (result == 0) {
        struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
        sigaction(SIGINT, &action, NULL);
        analysis.silent = !regular;
        follow.due = now_ms() + request.interval;
        result = regular ? follow_file(&follow, &analysis) : follow_stream(&follow, &analysis);
    }
    char damage[400];
    if (result == 0 && !interrupted &&
        ma_audit_is_damaged(&analysis.trace.audit, damage, sizeof damage))
        result = ma_fail(error, -EILSEQ, "%s: %s", ma_source_name(analysis.source), damage);
    ma_analysis_free(&analysis);
    if (follow.fd >= 0)
        close(follow.fd);
    return result;
}
