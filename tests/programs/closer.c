/* SPDX-License-Identifier: MIT
 *
 * A daemon's habits: closes every descriptor it did not open, the ways programs
 * do (first argument: closefrom, loop, dup2), and allocates before and after:
 * 10 leaks of 11 * 8 bytes, then 20 leaks of 13 * 8 bytes. Its own file, on
 * descriptor 1022 if it took that, must hold just what it wrote.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *volatile keep;

static __attribute__((noinline)) void leak(int count, size_t size)
{
    for (int i = 0; i < count; i++)
        keep = malloc(size);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    leak(10, 11 * 8);
    int fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0)
        return 2;
    if (!strcmp(argv[1], "closefrom")) {
        closefrom(fd + 1);
    } else if (!strcmp(argv[1], "loop")) {
        for (int i = fd + 1; i < 4096; i++)
            close(i);
    } else {
        fd = dup2(fd, 1022);
    }
    leak(20, 13 * 8);
    return write(fd, "mine\n", 5) != 5;
}
