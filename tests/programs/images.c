/* SPDX-License-Identifier: MIT
 *
 * Programs one after the other. `images N SELF` leaks N blocks of 127 * 8 bytes and
 * executes SELF with N - 1 in the same process; the last ends. `images 0 CHILD` closes
 * every descriptor above 2 and runs `CHILD 100` three times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void run(const char *child)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl(child, child, "100", (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 1000; i++)
        free(malloc(100));
}

int main(int argc, char **argv)
{
    int n = argc == 3 ? atoi(argv[1]) : -1;
    if (n < 0)
        return 2;
    if (n == 0) {
        for (int fd = 3; fd < 4096; fd++)
            close(fd);
        for (int i = 0; i < 3; i++)
            run(argv[2]);
        return 0;
    }
    void *volatile leaked;
    for (int i = 0; i < n; i++)
        leaked = malloc(127 * 8);
    (void)leaked;
    if (n == 1)
        return 0;
    char next[12];
    snprintf(next, sizeof next, "%d", n - 1);
    execl(argv[2], argv[2], next, argv[2], (char *)NULL);
    return 127;
}
