/* SPDX-License-Identifier: MIT
 *
 * Starts `churn 10` (its path is the argument) in every way there is: fork and
 * exec, vfork and exec, posix_spawn, system, popen, and an exec with a cleared
 * environment, that is, without the library. Frees all that it allocates.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int ended(pid_t pid)
{
    int status;
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 7;
}

int main(int argc, char **argv)
{
    char *child[] = {argv[1], (char *)"10", NULL}, *nothing[] = {NULL}, line[4096];
    pid_t pid;
    if (argc != 2)
        return 2;

    if ((pid = fork()) == 0) {
        execv(child[0], child);
        _exit(99);
    }
    if (!ended(pid))
        return 1;

    if ((pid = vfork()) == 0) {
        execv(child[0], child);
        _exit(99);
    }
    if (!ended(pid))
        return 1;

    if (posix_spawn(&pid, child[0], NULL, NULL, child, environ) || !ended(pid))
        return 1;

    snprintf(line, sizeof line, "exec '%s' 10", child[0]);
    if (WEXITSTATUS(system(line)) != 7)
        return 1;

    FILE *pipe = popen(line, "r");
    if (!pipe || !fgets(line, sizeof line, pipe) || WEXITSTATUS(pclose(pipe)) != 7)
        return 1;

    if ((pid = fork()) == 0) {
        execve(child[0], child, nothing);
        _exit(99);
    }
    return !ended(pid);
}
