/* SPDX-License-Identifier: MIT
 *
 * A signal handler that allocates at any instant of a program that allocates
 * all the time. libc's malloc itself does not survive that, so it runs over a
 * library that blocks signals around the real call (the oracle with
 * ORACLE_BLOCK_SIGNALS=1): what is interrupted is then the code above. Each
 * run of the handler leaks 7 * 8 bytes. Argument: how many signals to take.
 * Prints the count of signals.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t handled;
static void *volatile keep;

static __attribute__((noinline)) void handler(int signal)
{
    (void)signal;
    void *p = malloc(9 * 8);
    keep = malloc(7 * 8);
    free(realloc(p, 99 * 8));
    handled++;
}

static __attribute__((noinline)) void recurse(int depth)
{
    void *p = malloc((size_t)(1 + depth) * 8);
    if (depth > 0)
        recurse(depth - 1);
    free(p);
}

int main(int argc, char **argv)
{
    int wanted = argc > 1 ? atoi(argv[1]) : 1000;
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
    if (sigaction(SIGALRM, &action, NULL) || sigaction(SIGUSR1, &action, NULL))
        return 2;
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; handled < wanted; i++) {
        recurse(i % 30);
        if (i % 10000 == 0)
            kill(getpid(), SIGUSR1);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    printf("%s\n", handled >= wanted ? "handled" : "lost");
    return 0;
}
