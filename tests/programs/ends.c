/* SPDX-License-Identifier: MIT
 *
 * Makes 1000 blocks of 17 * 8 bytes, frees all but 3, and ends in a way that is
 * less than common. Arguments: which, and a path that some of them need.
 *
 *     exec PATH         execve; if that fails, 5 more blocks of 19 * 8, and status 9
 *     execveat PATH     the same by execveat
 *     raw               the bare system call, as run-time systems without libc do
 *     thread            exit by another thread while main waits
 *     last              pthread_exit of main, then of the last other thread
 *     memory            RLIMIT_AS brought down to what is used: every large
 *                       allocation fails from then on; 1000 more are tried
 *     hog               touches memory until it is killed
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;
static void *volatile keep;

static __attribute__((noinline)) void make(int count, size_t size, int leaks)
{
    for (int i = 0; i < count; i++) {
        keep = malloc(size);
        if (i >= leaks)
            free(keep);
    }
}

static void *end_all(void *argument)
{
    (void)argument;
    usleep(10000);
    exit(6);
}

static void *end_self(void *argument)
{
    (void)argument;
    usleep(10000);
    make(5, 19 * 8, 5);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    const char *what = argv[1];
    char *child[] = {argv[2], NULL};
    pthread_t thread;
    make(1000, 17 * 8, 3);
    if (!strcmp(what, "exec") || !strcmp(what, "execveat")) {
        if (what[4])
            execveat(AT_FDCWD, argv[2], child, environ, 0);
        else
            execve(argv[2], child, environ);
        make(5, 19 * 8, 5);
        return 9;
    }
    if (!strcmp(what, "raw"))
        syscall(SYS_exit_group, 6);
    if (!strcmp(what, "thread") && !pthread_create(&thread, NULL, end_all, NULL))
        pthread_join(thread, NULL);
    if (!strcmp(what, "last") && !pthread_create(&thread, NULL, end_self, NULL))
        pthread_exit(NULL);
    if (!strcmp(what, "memory")) {
        struct rlimit limit = {1 << 20, 1 << 20};
        setrlimit(RLIMIT_AS, &limit);
        int failed = 0;
        for (int i = 0; i < 1000; i++) {
            keep = malloc((64 + 3) << 20);
            failed += !keep && errno == ENOMEM;
            make(500, 23 * 8, 0);
        }
        return failed == 1000 ? 6 : 1;
    }
    if (!strcmp(what, "hog"))
        for (;;)
            memset(keep = malloc(1 << 16), 1, 1 << 16);
    return 3;
}
