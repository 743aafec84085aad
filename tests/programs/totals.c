/* SPDX-License-Identifier: MIT
 *
 * Holds 300 blocks of 123 * 8 bytes and has freed as many between them, prints what
 * mallinfo2 says (from the system, in use, free) and exits: in main, in a handler of a
 * signal ("handler"), or after it has written into free memory ("corrupt"), which nothing
 * of its own looks at any more. With "fork" a child made by fork() does all that, too.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *blocks[600];

static void tell(void)
{
    struct mallinfo2 info = mallinfo2();
    dprintf(STDOUT_FILENO, "%zu %zu %zu\n", info.arena + info.hblkhd, info.uordblks + info.hblkhd,
            info.fordblks);
}

static void on_signal(int number)
{
    (void)number;
    exit(0);
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "";
    for (int i = 0; i < 600; i++)
        blocks[i] = malloc(123 * 8);
    for (int i = 0; i < 600; i += 2)
        free(blocks[i]);
    if (!strcmp(way, "corrupt")) {
        for (int i = 100; i < 600; i += 2)
            memset(blocks[i], 0x5a, 32);
        return 0;
    }
    if (!strcmp(way, "fork") && fork() > 0)
        wait(NULL);
    tell();
    if (!strcmp(way, "handler")) {
        signal(SIGUSR1, on_signal);
        raise(SIGUSR1);
    }
    return 0;
}
