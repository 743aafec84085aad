/* SPDX-License-Identifier: MIT
 *
 * Each allocating function a known number of times, each block leaked, from a
 * function of its own: for a libc whose functions call each other by name, where
 * a call must be one event all the same. And allocations inside libc, in a
 * signal handler, in threads and in a fork's child.
 */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void leak_malloc(void)
{
    for (int i = 0; i < 2; i++)
        malloc(1001);
}

static void leak_calloc(void)
{
    for (int i = 0; i < 3; i++) {
        char *p = calloc(1, 1003);
        for (int k = 0; k < 1003; k++)
            if (p[k])
                abort();
        memset(p, 1, 1003);
    }
}

static void leak_realloc(void)
{
    char *p = realloc(NULL, 100);
    memset(p, 7, 100);
    p = realloc(p, 100000);
    p = realloc(p, 1007);
    if (p[99] != 7)
        abort();
}

static void leak_reallocarray(void)
{
    char *p = reallocarray(NULL, 3, 337);
    p = reallocarray(p, 1009, 1);
    p[0] = 1;
}

static void leak_aligned(void)
{
    void *p;
    if (posix_memalign(&p, 4096, 1013) || (unsigned long)p % 4096)
        abort();
    if ((unsigned long)memalign(256, 1019) % 256)
        abort();
    if ((unsigned long)aligned_alloc(64, 1024) % 64)
        abort();
}

static void leak_by_libc(void)
{
    strdup("some hundred bytes or so would be nice, but a few dozen will do as well");
}

static void on_signal(int sig)
{
    (void)sig;
    malloc(1031);
}

static void *in_thread(void *argument)
{
    (void)argument;
    calloc(1, 1033); /* the thread's first call */
    return NULL;
}

/* `calls exec` starts itself once more, as `calls again`. */
static int again(const char *program)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        execl(program, program, "again", (char *)NULL);
        _exit(9);
    }
    return waitpid(pid, &status, 0) == pid ? status : 1;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "again")) {
        malloc(1051);
        return 0;
    }
    if (argc > 1)
        return again(argv[0]);
    leak_malloc();
    leak_calloc();
    leak_realloc();
    leak_reallocarray();
    leak_aligned();
    leak_by_libc();
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    pthread_t thread;
    if (pthread_create(&thread, NULL, in_thread, NULL) || pthread_join(thread, NULL))
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        malloc(1039);
        _exit(0);
    }
    int status;
    return waitpid(pid, &status, 0) == pid ? status : 1;
}
