/* SPDX-License-Identifier: MIT
 *
 * Children that end by a signal or without a word, and a parent that waits for them by
 * every function there is. Prints what it was told, which must not depend on a tracer.
 * Each child keeps one block of (101 + its number) * 8 bytes, the parent one of 99 * 8.
 *
 *     all         children 0 to 6: killed, silent, orderly, stopped and continued
 *     cancel N    N threads that are cancelled while they wait; then blocks of 97 * 8, one each
 *     left        a child whose child is left behind and adopted, and killed
 *     die         the program itself dies by SIGBUS
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile keep;

static void say(const char *function, pid_t child, pid_t told, const int *status)
{
    printf("%s %d %x errno %d\n", function, told == child, (unsigned)*status, errno);
}

static pid_t begin(int number, int signal_number, int status)
{
    pid_t child = fork();
    if (child)
        return child;
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGSEGV, SIG_DFL);
    keep = malloc((101 + (size_t)number) * 8);
    if (signal_number)
        kill(getpid(), signal_number);
    syscall(SYS_exit_group, status);
    abort();
}

static void wait_in_every_way(void)
{
    int status = 0;
    struct rusage usage;
    siginfo_t info = {.si_pid = 0};
    static const int none;
    errno = EDOM; /* kept by who succeeds */
    pid_t child = begin(0, SIGSEGV, 0);
    say("wait", child, wait(&status), &status);
    child = begin(1, 0, 41);
    say("waitpid", child, waitpid(child, &status, 0), &status);
    child = begin(2, SIGKILL, 0);
    say("wait3", child, wait3(&status, 0, &usage), &status);
    child = begin(3, 0, 43);
    say("wait4", child, wait4(child, NULL, 0, NULL), &none);
    child = begin(4, SIGTERM, 0);
    waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT);
    say("waitid", child, info.si_pid, &info.si_status);
    say("waitid", child, waitid(P_PID, (id_t)child, NULL, WEXITED) ? 0 : child, &none);
    child = begin(5, SIGSTOP, 45);
    say("stopped", child, waitpid(child, &status, WUNTRACED), &status);
    kill(child, SIGCONT);
    say("continued", child, waitpid(child, &status, WCONTINUED), &status);
    say("waitpid", child, waitpid(child, &status, 0), &status);
    child = fork();
    if (child == 0) {
        keep = malloc((101 + 6) * 8);
        exit(46);
    }
    say("waitid", child, waitid(P_ALL, 0, &info, WEXITED) ? 0 : info.si_pid, &info.si_status);
    say("none", -1, waitpid(-1, &status, WNOHANG), &none);
}

static pthread_barrier_t ready;
static int cleaned;

static void clean(void *unused)
{
    (void)unused;
    __atomic_add_fetch(&cleaned, 1, __ATOMIC_SEQ_CST);
}

static void *wait_for_ever(void *number)
{
    int status;
    siginfo_t info;
    pthread_cleanup_push(clean, NULL);
    pthread_barrier_wait(&ready);
    switch ((size_t)number % 4) {
    case 0: wait(&status); break;
    case 1: waitpid(-1, NULL, 0); break;
    case 2: wait4(-1, &status, 0, NULL); break;
    default: waitid(P_ALL, 0, &info, WEXITED); break;
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancel_who_waits(int n)
{
    int ended = 0;
    pid_t child = fork();
    if (child == 0)
        for (;;)
            pause();
    for (int i = 0; i < n; i++) {
        pthread_t thread;
        void *result = NULL;
        pthread_barrier_init(&ready, NULL, 2);
        pthread_create(&thread, NULL, wait_for_ever, (void *)(size_t)i);
        pthread_barrier_wait(&ready);
        if (i % 2)
            usleep(1000);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        ended += result == PTHREAD_CANCELED;
        keep = malloc(97 * 8);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    printf("cancelled %d cleaned %d\n", ended, cleaned);
}

static void leave_one_behind(void)
{
    int status = 0, to[2];
    pid_t left = 0;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (pipe(to))
        return;
    if (fork() == 0) {
        left = fork();
        if (left == 0) {
            keep = malloc(102 * 8);
            left = getpid();
            while (write(to[1], &left, sizeof left) == sizeof left)
                for (;;)
                    pause();
        }
        keep = malloc(101 * 8);
        exit(0);
    }
    wait(&status);
    if (read(to[0], &left, sizeof left) != sizeof left)
        return;
    kill(left, SIGKILL);
    say("adopted", left, wait(&status), &status);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    setvbuf(stdout, malloc(99 * 8), _IOLBF, 99 * 8);
    if (!strcmp(what, "all"))
        wait_in_every_way();
    if (!strcmp(what, "cancel") && argc > 2)
        cancel_who_waits(atoi(argv[2]));
    if (!strcmp(what, "left"))
        leave_one_behind();
    if (!strcmp(what, "die"))
        kill(getpid(), SIGBUS);
    return 0;
}
