/* SPDX-License-Identifier: MIT
 *
 * Runs one command and says what it and all its descendants took: those that
 * the command leaves behind are adopted and waited for. A small program of its
 * own, because a child's maximum resident size begins with its parent's.
 *
 *     meter [-o FILE] [-m] [-l GIB] [-e NAME=VALUE]... RESULT COMMAND [ARGUMENT]...
 *
 * -o FILE  descriptor 1022 of the command is this file, made anew
 * -e       an environment variable of the command, not of meter
 * -l GIB   limit of address space: a runaway must not take the machine with it
 * -m       look at the command's memory every 2 ms (costs time)
 * RESULT   a line of JSON: status, wall, user and system seconds, kilobytes
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRACE_FD 1022

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static void die(const char *what)
{
    fprintf(stderr, "meter: %s: %s\n", what, strerror(errno));
    exit(125);
}

/* "NAME:   123 kB" of /proc/PID/status, -1 if not there. */
static long status_line(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static void look(pid_t pid, long *anonymous, long *resident)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return;
    text[n] = 0;
    long a = status_line(text, "RssAnon:"), r = status_line(text, "VmRSS:");
    *anonymous = a > *anonymous ? a : *anonymous;
    *resident = r > *resident ? r : *resident;
}

static void become(char **command, const char *out, char *const *settings, int count)
{
    if (out) {
        int fd = open(out, O_RDWR | O_CREAT | O_TRUNC, 0644);
        if (fd < 0)
            die(out);
        if (fd != TRACE_FD && dup2(fd, TRACE_FD) < 0)
            die("descriptor 1022 (see ulimit -n)");
        if (fd != TRACE_FD)
            close(fd);
    }
    for (int i = 0; i < count; i++)
        putenv(settings[i]);
    execvp(command[0], command);
    die(command[0]);
}

int main(int argc, char **argv)
{
    const char *out = NULL;
    char *settings[32];
    rlim_t limit = 0;
    int count = 0, memory = 0, option;
    while ((option = getopt(argc, argv, "+o:e:l:m")) != -1) {
        if (option == 'o')
            out = optarg;
        else if (option == 'e' && count < 32)
            settings[count++] = optarg;
        else if (option == 'm')
            memory = 1;
        else if (option == 'l')
            limit = strtoul(optarg, NULL, 10) << 30;
        else
            return 125;
    }
    if (argc - optind < 2) {
        fputs("usage: meter [-o FILE] [-m] [-e NAME=VALUE] RESULT COMMAND...\n", stderr);
        return 125;
    }
    FILE *result = fopen(argv[optind], "we");
    if (!result)
        die(argv[optind]);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        die("prctl");

    double start = now();
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0 && limit && setrlimit(RLIMIT_AS, &(struct rlimit){limit, limit}))
        die("setrlimit");
    if (child == 0)
        become(argv + optind + 1, out, settings, count);

    double user = 0, system = 0;
    long anonymous = 0, resident = 0, most = 0;
    int status = 0, running = 1;
    for (;;) {
        int how;
        struct rusage used;
        pid_t pid = wait4(-1, &how, memory && running ? WNOHANG : 0, &used);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            break;
        if (pid == 0) {
            look(child, &anonymous, &resident);
            poll(NULL, 0, 2);
            continue;
        }
        user += seconds(used.ru_utime);
        system += seconds(used.ru_stime);
        most = used.ru_maxrss > most ? used.ru_maxrss : most;
        if (pid == child) {
            status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
            running = 0;
        }
    }
    fprintf(result,
            "{\"status\": %d, \"wall\": %.6f, \"user\": %.6f, \"system\": %.6f, "
            "\"maxrss_kb\": %ld, \"anonymous_kb\": %ld, \"resident_kb\": %ld}\n",
            status, now() - start, user, system, most, anonymous, resident);
    if (fclose(result))
        die("result");
    return 0;
}
