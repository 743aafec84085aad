/* SPDX-License-Identifier: MIT
 *
 * A parent with many live blocks and many short children: each frees a few
 * blocks that it inherited, allocates and leaks 123 bytes, and ends; the parent
 * frees and makes a few in between. The parent frees all in the end.
 *
 *     nursery BLOCKS CHILDREN
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
    int children = argc > 2 ? atoi(argv[2]) : 10;
    void **blocks = calloc(n, sizeof *blocks);
    for (size_t i = 0; i < n; i++)
        blocks[i] = malloc(40);
    for (int c = 0; c < children; c++) {
        pid_t pid = fork();
        if (pid < 0)
            return 1;
        if (pid == 0) {
            for (size_t i = 0; i < 5; i++)
                free(blocks[((size_t)c * 7 + i) % n]);
            *(volatile char *)malloc(123) = 1;
            _exit(0);
        }
        free(blocks[(size_t)c % n]);
        blocks[(size_t)c % n] = malloc(40);
        waitpid(pid, NULL, 0);
    }
    for (size_t i = 0; i < n; i++)
        free(blocks[i]);
    free(blocks);
    return 0;
}
