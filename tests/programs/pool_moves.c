/* SPDX-License-Identifier: MIT
 *
 * For --pool: fragments a heap, resizes, aligns, and has one moment at which it holds the most, in
 * a function of its own (`the_most`). The same calls every time. With an argument a
 * forked child does that, and the parent needs little.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define N 400

static char *blocks[N];

static void scatter(unsigned turn)
{
    for (unsigned i = 0; i < N; i++) {
        const size_t size = 17 + (i * 7919 + turn * 104729) % (i % 9 ? 500 : 9000);
        if ((i + turn) % 3 == 0) {
            free(blocks[i]);
            blocks[i] = (i + turn) % 2 ? malloc(size) : memalign(64u << i % 4, size);
        } else {
            blocks[i] = realloc(blocks[i], size);
        }
        if (!blocks[i])
            exit(1);
        memset(blocks[i], 1, 17);
    }
}

static void the_most(void)
{
    char *large = malloc(123 * 8000);
    char *zeroes = calloc(321, 800);
    large = realloc(large, 130 * 8000);
    if (!large || !zeroes)
        exit(1);
    free(pvalloc(5000));
    free(large);
    free(zeroes);
}

static void work(void)
{
    for (unsigned turn = 0; turn < 8; turn++)
        scatter(turn);
    the_most();
    for (unsigned turn = 0; turn < 4; turn++)
        scatter(turn + 100);
    for (unsigned i = 0; i < N; i += 2) {
        free(blocks[i]);
        blocks[i] = NULL;
    }
}

int main(int argc, char **argv)
{
    int status = 0;
    (void)argv;
    scatter(50);
    if (argc == 1) {
        work();
        return 0;
    }
    const pid_t child = fork();
    if (child == 0) {
        work();
        _exit(0);
    }
    return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}
