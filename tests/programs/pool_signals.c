/* SPDX-License-Identifier: MIT
 *
 * Allocates in a signal handler, over and over, while the same is done outside: what the
 * C library does not allow, and no allocator may hang at. Says how often the handler
 * ran. Arguments: calls.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static volatile sig_atomic_t handled;
static void *kept[64];

static void on_alarm(int signal)
{
    void **slot = &kept[(unsigned)handled % 64];
    (void)signal;
    free(*slot);
    *slot = malloc(24 + (size_t)handled % 2000);
    if (*slot)
        memset(*slot, 0x5a, 24);
    handled++;
}

int main(int argc, char **argv)
{
    const struct itimerval often = {{0, 50}, {0, 50}};
    long calls = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    void *blocks[200] = {NULL};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (long i = 0; i < calls || handled < 200; i++) {
        void **slot = &blocks[i % 200];
        *slot = i % 3 ? realloc(*slot, 10 + (size_t)(i * 37 % 3000)) : (free(*slot), malloc(50));
        if (!*slot)
            return 1;
        memset(*slot, 0xa5, 10);
    }
    signal(SIGALRM, SIG_IGN);
    for (size_t i = 0; i < 200; i++)
        free(blocks[i]);
    printf("handled %s\n", handled >= 200 ? "often" : "never");
    return 0;
}
