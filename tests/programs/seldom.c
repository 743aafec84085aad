/* SPDX-License-Identifier: MIT
 *
 * A program that seldom allocates: TIMES blocks, a tenth of a second after each.
 * Then says "done" and waits for the end of its input.
 *
 *     seldom TIMES
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char byte;
    for (int i = argc > 1 ? atoi(argv[1]) : 20; i; i--) {
        *(volatile char *)malloc(123 * 8) = 1;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    if (write(STDOUT_FILENO, "done", 4) != 4)
        return 1;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}
