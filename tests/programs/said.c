/* SPDX-License-Identifier: MIT
 *
 * What a program says of itself by mlog.h. `said print` prints lines of every length, from
 * a thread and a handler; `said grow` asserts at savepoints that hold and that do not,
 * in a recursion, another thread, and a fork's child; `said output PATH` begins its trace
 * while eight threads allocate, and tells what it gets for a second, or a bad, one.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mlog.h"

static void *keep[64];
static int kept;

static void grow(size_t size)
{
    keep[kept++] = malloc(size);
    __asm__ volatile("");
}

static void shrink(void)
{
    free(keep[--kept]);
}

static void on_signal(int number)
{
    mlog_printf("in handler %d", number);
}

static void *in_a_thread(void *name)
{
    mlog_printf("in %s", (const char *)name);
    return NULL;
}

static void prints(void)
{
    char text[3000];
    pthread_t thread;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    errno = 71;
    int n[] = {mlog_printf("%d and %s", 17, "more"), mlog_printf("%s", ""),
               mlog_printf("%.1000s", text), mlog_printf("%s", text),
               mlog_printf("%s", "\xff \n \"\\ \xe2\x82\xac")};
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    pthread_create(&thread, NULL, in_a_thread, (void *)"a thread");
    pthread_join(thread, NULL);
    printf("errno %d printed %d %d %d %d %d\n", errno, n[0], n[1], n[2], n[3], n[4]);
}

static int64_t recurse(int depth)
{
    MLOG_SAVEPOINT(inner);
    int64_t within = depth ? recurse(depth - 1) : 0;
    grow(depth == 1 ? 101 * 8 : 1);
    if (depth != 1)
        shrink();
    return MLOG_ASSERT_NO_GROWTH(inner) + within;
}

static void *in_another(void *unused)
{
    MLOG_SAVEPOINT(thread);
    grow(103 * 8);
    printf("thread %d\n", (int)MLOG_ASSERT_NO_GROWTH(thread));
    return unused;
}

static void grows(void)
{
    pthread_t thread;
    grow(107 * 8);
    MLOG_SAVEPOINT(whole);
    for (int i = 0; i < 12; i++) {
        MLOG_SAVEPOINT(request);
        grow(109 * 8);
        if (i % 4 != 3)
            shrink();
        if (i == 7)
            grow(113 * 8); /* the worst */
        int64_t grown = MLOG_ASSERT_NO_GROWTH(request);
        if (grown)
            printf("request %d %d\n", i, (int)grown);
    }
    printf("inner %d\n", (int)recurse(2));
    MLOG_SAVEPOINT(exchange); /* one goes, one as large comes */
    shrink();
    grow(101 * 8);
    printf("exchange %d\n", (int)MLOG_ASSERT_NO_GROWTH(exchange));
    keep[kept - 1] = realloc(keep[kept - 1], 127 * 80);
    printf("exchange %d\n", (int)MLOG_ASSERT_NO_GROWTH(exchange));
    pthread_create(&thread, NULL, in_another, NULL);
    pthread_join(thread, NULL);
    fflush(stdout);
    if (fork() == 0) {
        MLOG_SAVEPOINT(child);
        free(keep[0]); /* the parent's */
        MLOG_ASSERT_NO_GROWTH(child);
        grow(131 * 8);
        printf("child %d\n", (int)MLOG_ASSERT_NO_GROWTH(child));
        MLOG_ASSERT_NO_GROWTH(whole); /* which the trace knows of the parent alone */
        fflush(stdout);
        _exit(0);
    }
    wait(NULL);
}

static volatile int stop;

static void *until_stopped(void *seed)
{
    void *some[32] = {NULL};
    for (unsigned i = (unsigned)(uintptr_t)seed; !stop; i = i * 1103515245 + 12345) {
        free(some[i >> 16 & 31]);
        some[i >> 16 & 31] = malloc(1 + (i >> 20));
    }
    for (int i = 0; i < 32; i++)
        free(some[i]);
    return NULL;
}

static int set(int fd)
{
    errno = 0;
    int result = mlog_set_output(fd);
    printf("set %d %s traced %d\n", result, result ? strerrorname_np(errno) : "-", mlog_tracing());
    return result;
}

static void output(const char *path)
{
    pthread_t threads[8];
    grow(137 * 8);
    for (uintptr_t i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, until_stopped, (void *)(i + 1));
    usleep(20000);
    set(-1);
    set(1021);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    set(fd);
    set(fd);
    close(fd);
    grow(139 * 8);
    free(keep[0]);
    usleep(20000);
    fflush(stdout);
    if (fork() == 0) {
        grow(149 * 8);
        _exit(0);
    }
    wait(NULL);
    stop = 1;
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc == 2 && !strcmp(argv[1], "print"))
        prints();
    else if (argc == 2)
        grows();
    else
        output(argv[2]);
    return 0;
}
