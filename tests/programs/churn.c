/* SPDX-License-Identifier: MIT
 *
 * A plain source of events that makes no heap call but its own: N pairs of
 * malloc and free (first argument, default 1000) from two call sites, then
 * three leaks of 123 * 8 bytes; writes "done" to standard output and ends as
 * the second argument says: return (status 7), exit, _exit, quick_exit, abort,
 * segv, kill, exec.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *volatile keep;
static volatile int three = 3; /* the loop is not to be unrolled */

static __attribute__((noinline)) void site_one(void)
{
    keep = malloc(100);
    free(keep);
}

static __attribute__((noinline)) void site_two(void)
{
    keep = malloc(3000);
    free(keep);
}

static __attribute__((noinline)) void leak(void)
{
    for (int i = 0; i < three; i++)
        keep = malloc(123 * 8);
}

int main(int argc, char **argv)
{
    long pairs = argc > 1 ? atol(argv[1]) : 1000;
    const char *end = argc > 2 ? argv[2] : "return";
    for (long i = 0; i < pairs; i++)
        if (i % 2)
            site_two();
        else
            site_one();
    leak();
    if (write(1, "done\n", 5) != 5)
        return 1;
    if (!strcmp(end, "exit"))
        exit(7);
    if (!strcmp(end, "_exit"))
        _exit(7);
    if (!strcmp(end, "quick_exit"))
        quick_exit(7);
    if (!strcmp(end, "abort"))
        abort();
    if (!strcmp(end, "segv"))
        *(volatile int *)8 = 1;
    if (!strcmp(end, "kill"))
        kill(getpid(), SIGKILL);
    if (!strcmp(end, "exec"))
        execl("/bin/true", "true", (char *)NULL);
    return 7;
}
