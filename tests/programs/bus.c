/* SPDX-License-Identifier: MIT
 *
 * A program with an action of its own for SIGBUS, or with none, which meets one of its
 * own making: by a mapping beyond a file's end, or sent. Before that it makes events
 * until its input ends, whatever is done to the trace meanwhile.
 *   bus ACTION WAY: ACTION default, ignore, plain, info, once, signal, inherit
 *                   WAY none, fault, sent, queued
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *beyond;
static volatile int caught;
static void *volatile keep;

static void repair(void)
{
    if (++caught > 9)
        _exit(5);
    mmap(beyond, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void plain(int number)
{
    if (number == SIGBUS)
        repair();
}

static void info(int number, siginfo_t *about, void *context)
{
    static int entered;
    sigset_t now;
    if (++entered > 9)
        _exit(6);
    sigprocmask(SIG_BLOCK, NULL, &now);
    if (number == SIGBUS && context && sigismember(&now, SIGUSR2) &&
        (about->si_code <= 0 || about->si_addr == beyond + 8))
        repair();
}

/* What the program is told of its action, in a digit. */
static int view(void)
{
    struct sigaction is;
    if (sigaction(SIGBUS, NULL, &is))
        return 9;
    return is.sa_handler == SIG_DFL   ? 0
           : is.sa_handler == SIG_IGN ? 1
           : is.sa_handler == plain   ? 2 + !!(is.sa_flags & (int)SA_RESETHAND)
           : is.sa_sigaction == info  ? 4 + sigismember(&is.sa_mask, SIGUSR2)
                                      : 8;
}

static void set(const char *how)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    if (!strcmp(how, "signal")) {
        if (signal(SIGBUS, plain) != SIG_DFL || signal(SIGBUS, SIG_DFL) != plain ||
            signal(SIGBUS, plain) != SIG_DFL)
            _exit(3);
        return;
    }
    action.sa_handler = !strcmp(how, "ignore")    ? SIG_IGN
                        : !strcmp(how, "default") ? SIG_DFL
                                                  : plain;
    if (!strcmp(how, "once"))
        action.sa_flags = (int)SA_RESETHAND;
    if (!strcmp(how, "info")) {
        action.sa_sigaction = info;
        action.sa_flags = SA_SIGINFO;
        sigaddset(&action.sa_mask, SIGUSR2);
    }
    if (strcmp(how, "inherit") && sigaction(SIGBUS, &action, NULL))
        _exit(4);
}

int main(int argc, char **argv)
{
    const char *way = argc > 2 ? argv[2] : "none";
    char line[64];
    int before = view();
    set(argv[1]);
    printf("%d %d\n", before, view());
    fflush(stdout);
    struct pollfd input = {0, POLLIN, 0};
    for (size_t i = 0; poll(&input, 1, 0) == 0;)
        for (size_t end = i + 500; i < end; i++) {
            free(keep);
            keep = malloc(1 + i % 999);
        }
    int fd = memfd_create("beyond", 0);
    beyond = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!strcmp(way, "fault"))
        *(volatile char *)(beyond + 8) = 1;
    if (!strcmp(way, "sent"))
        raise(SIGBUS);
    if (!strcmp(way, "queued"))
        sigqueue(getpid(), SIGBUS, (union sigval){.sival_int = 123});
    int size = snprintf(line, sizeof line, "caught %d, now %d\n", caught, view());
    return write(1, line, (size_t)size) == size ? 7 : 1;
}
