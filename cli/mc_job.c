/* SPDX-License-Identifier: MIT
 *
 * Running the program; see mc_job.h. All signals are blocked and taken one by one, so that
 * no disposition is changed that the program would inherit; only SIGCHLD, which must not
 * be ignored here, is set, and set back for the program. It is forked and not spawned: the
 * name of its trace has its number.
 */
#include "mc_job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mc_commands.h"
#include "mc_elf.h"

/* What the process that becomes the program tells us before it does. */
struct message {
    char path[PATH_MAX]; /* of the trace */
    bool made, readable; /* as in struct mc_trace */
    int status;          /* other than 0: it could not, and why: */
    char problem[PATH_MAX + 512];
};

static bool child_was_ignored;

void mc_job_begin(struct mc_job *job)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    struct sigaction action = {.sa_handler = SIG_DFL}, before;
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        sigdelset(&all, faults[i]);
    sigprocmask(SIG_SETMASK, &all, &job->mask);
    sigaction(SIGCHLD, &action, &before);
    child_was_ignored = before.sa_handler == SIG_IGN;
}

/* True if a list as LD_PRELOAD is has a libmlog.so. */
static bool has_library(const char *list)
{
    static const char name[] = "libmlog.so";
    for (const char *at = list; (at = strstr(at, name)) != NULL; at++)
        if ((at == list || strchr(" :/", at[-1])) && strchr(" :", at[sizeof name - 1]))
            return true;
    return false;
}

/* Prepend a value to a variable that is a list. */
static bool prepend(const char *variable, const char *value)
{
    const char *before = getenv(variable);
    char *text = NULL;
    bool done = (before && *before ? asprintf(&text, "%s:%s", value, before)
                                   : asprintf(&text, "%s", value)) > 0 &&
                setenv(variable, text, 1) == 0;
    free(text);
    return done;
}

static bool set_environment(const struct mc_job *job)
{
    const char *list = getenv("LD_PRELOAD");
    if (job->compress && setenv("MLOG_COMPRESS", job->compress, 1) < 0)
        return false;
    if (job->paused && setenv("MLOG_START", "paused", 1) < 0)
        return false;
    if (!job->library || (list && has_library(list)))
        return true;
    if (!strpbrk(job->library, " :"))
        return prepend("LD_PRELOAD", job->library);
    /* A blank would end the name in LD_PRELOAD, but not a folder in the other list. */
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", job->library);
    char *slash = strrchr(folder, '/');
    *slash = 0;
    return prepend("LD_LIBRARY_PATH", folder) && prepend("LD_PRELOAD", slash + 1);
}

/* Execute as a shell does: what is no program is a script for sh, but never an ELF file.
 * Returns errno. */
static int execute(char **argv)
{
    char path[PATH_MAX];
    struct mc_elf elf;
    if (mc_find_program(argv[0], path)) {
        execv(path, argv);
        const int error = errno;
        if (error != ENOEXEC || mc_elf_read(path, &elf) < 0 || elf.is_elf)
            return error;
    }
    execvp(argv[0], argv);
    return errno;
}

/* Become the program; what stands in the way is in the message. */
static void become(struct mc_job *job, struct message *message, int to)
{
    message->status = 125;
    if (!mc_trace_place(job->trace, job->argv[0], message->problem, sizeof message->problem))
        return;
    memcpy(message->path, job->trace->path, sizeof message->path);
    message->made = job->trace->made;
    message->readable = job->trace->readable;
    if (!set_environment(job)) {
        snprintf(message->problem, sizeof message->problem, "memory ran out");
        return;
    }
    message->status = 0;
    if (to >= 0 && write(to, message, sizeof *message) != sizeof *message)
        _exit(125);
    if (child_was_ignored)
        signal(SIGCHLD, SIG_IGN);
    sigprocmask(SIG_SETMASK, &job->mask, NULL);
    const int error = execute(job->argv);
    message->status = error == ENOENT ? 127 : 126;
    snprintf(message->problem, sizeof message->problem, "%s: %s", job->argv[0],
             error == ENOENT && !strchr(job->argv[0], '/') ? "no such command" : strerror(error));
    if (message->made)
        unlink(message->path);
}

int mc_job_become(struct mc_job *job)
{
    static struct message message;
    become(job, &message, -1);
    fprintf(stderr, "mlog run: %s\n", message.problem);
    return message.status;
}

/* Read a message; false at the end. */
static bool receive(int fd, struct message *message)
{
    size_t n = 0;
    while (n < sizeof *message) {
        ssize_t got = read(fd, (char *)message + n, sizeof *message - n);
        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        n += got > 0 ? (size_t)got : 0;
    }
    return true;
}

int mc_job_start(struct mc_job *job)
{
    static struct message message;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0 || (ends[0] = mc_move_up(ends[0])) < 0 ||
        (ends[1] = mc_move_up(ends[1])) < 0 || (job->pid = fork()) < 0) {
        fprintf(stderr, "mlog run: cannot start a process: %s\n", strerror(errno));
        return 125;
    }
    if (job->pid == 0) {
        become(job, &message, ends[1]);
        ssize_t written = write(ends[1], &message, sizeof message);
        (void)written;
        _exit(message.status);
    }
    close(ends[1]);
    while (receive(ends[0], &message) && message.status == 0) { /* until the exec closes it */
        memcpy(job->trace->path, message.path, sizeof message.path);
        job->trace->made = message.made;
        job->trace->readable = message.readable;
    }
    close(ends[0]);
    if (message.status == 0)
        return 0;
    mc_wait(job->pid);
    fprintf(stderr, "mlog run: %s\n", message.problem);
    return message.status;
}

static bool was_continued(const struct mc_job *job)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)job->pid, &info, WCONTINUED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/* Stop as the program did, until somebody continues us. */
static void stop(const struct mc_job *job, int number)
{
    struct sigaction action;
    sigset_t one;
    if (was_continued(job))
        return;
    if (sigaction(number, NULL, &action) < 0 || action.sa_handler == SIG_IGN)
        number = SIGSTOP;
    sigemptyset(&one);
    sigaddset(&one, number);
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL); /* here */
    sigprocmask(SIG_BLOCK, &one, NULL);
    /* A shell continues the whole group. Whoever continues us alone means the program. */
    if (!was_continued(job))
        kill(job->pid, SIGCONT);
}

/* What became of the program. Returns true if it ended. */
static bool look(struct mc_job *job)
{
    siginfo_t info = {0};
    while (waitid(P_PID, (id_t)job->pid, &info, WEXITED | WSTOPPED | WCONTINUED | WNOHANG) == 0 &&
           info.si_pid) {
        if (info.si_code == CLD_STOPPED) {
            stop(job, info.si_status);
        } else if (info.si_code != CLD_CONTINUED && info.si_code != CLD_TRAPPED) {
            job->status = info.si_status;
            job->killed = info.si_code != CLD_EXITED;
            job->core = info.si_code == CLD_DUMPED;
            return true;
        }
        info = (siginfo_t){0};
    }
    return false;
}

/* True for a signal that the program has, too: the terminal's to its foreground, and what
 * the program sends to its own group. */
static bool is_shared(const struct mc_job *job, int number, const siginfo_t *info)
{
    static const int of_terminal[] = {SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};
    if (info->si_code == SI_USER || info->si_code == SI_TKILL)
        return info->si_pid == job->pid;
    for (size_t i = 0; i < sizeof of_terminal / sizeof *of_terminal; i++)
        if (number == of_terminal[i] && info->si_code == SI_KERNEL)
            return true;
    return false;
}

void mc_job_wait(struct mc_job *job)
{
    sigset_t all;
    sigfillset(&all);
    while (!look(job)) {
        siginfo_t info;
        int number = sigwaitinfo(&all, &info);
        if (number <= 0 || number == SIGCHLD || number == SIGCONT || is_shared(job, number, &info))
            continue;
        if (number == SIGUSR1 || number == SIGUSR2 || number == SIGQUIT)
            job->asked(job->context, number);
        else
            kill(job->pid, number);
    }
}

int mc_job_exit_status(const struct mc_job *job)
{
    return job->killed ? 128 + job->status : job->status;
}
