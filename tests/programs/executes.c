/* SPDX-License-Identifier: MIT
 *
 * executes HOW KEPT PROGRAM: starts PROGRAM in a child that closed all descriptors
 * from 3 on first, as Python's subprocess, Java and sshd do. HOW: vfork, fork, spawn (by
 * posix_spawn, the descriptors closed before), absent (two names that do not exist
 * are tried before PROGRAM). KEPT: "keep" or "clear" the environment. Leaks one
 * block of 137 * 8 bytes in the parent.
 */
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile leaked;

static void close_all(void)
{
    for (int fd = 3; fd < 4096; fd++)
        close(fd);
}

__attribute__((noreturn)) static void become(const char *how, char **program, char **env)
{
    close_all();
    if (!strcmp(how, "absent")) {
        execve("/nowhere/first", program, env);
        execve("/nowhere/second", program, env);
    }
    execve(program[0], program, env);
    _exit(127);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    char *nothing[] = {NULL}, **env = strcmp(argv[2], "clear") ? environ : nothing;
    pid_t child;
    int status;
    leaked = malloc(137 * 8);
    if (!strcmp(argv[1], "spawn")) {
        close_all();
        if (posix_spawn(&child, argv[3], NULL, NULL, argv + 3, env))
            return 3;
    } else {
        child = strcmp(argv[1], "fork") ? vfork() : fork();
        if (child == 0)
            become(argv[1], argv + 3, env);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return 4;
    return WEXITSTATUS(status);
}
