/* SPDX-License-Identifier: MIT
 *
 * A daemon by the book: forks, leaves its session, forks again, closes every
 * descriptor, and only then does its work: 25 leaks of 15 * 8 bytes, then makes
 * the file named by its argument. The other two processes leave at once, the
 * first by exit, the second by _exit.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void *volatile keep;

static __attribute__((noinline)) void leak_in_daemon(void)
{
    for (int i = 0; i < 25; i++)
        keep = malloc(15 * 8);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    pid_t pid = fork();
    if (pid)
        exit(pid < 0);
    setsid();
    pid = fork();
    if (pid)
        _exit(pid < 0);
    umask(0);
    for (int i = (int)sysconf(_SC_OPEN_MAX) < 65536 ? (int)sysconf(_SC_OPEN_MAX) : 65536; i >= 0;
         i--)
        close(i);
    if (open("/dev/null", O_RDWR) != 0 || dup(0) != 1 || dup(0) != 2)
        return 1;
    leak_in_daemon();
    return open(argv[1], O_WRONLY | O_CREAT, 0666) < 0;
}
