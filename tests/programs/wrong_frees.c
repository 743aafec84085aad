/* SPDX-License-Identifier: MIT
 *
 * Frees what is no live block, in the ways of its arguments, one after the other:
 *
 *   second   a block of 123 * 8 bytes by make_block(), free_first(), free_again()
 *   inside   64 bytes inside a block of 124 * 8 bytes
 *   never    memory that no allocator gave out
 *   resize   realloc of a block that has been freed, of 125 * 8 bytes
 *   many     the first, three times over
 *   child    what a child of a fork may: frees its copy of a block, 126 * 8 bytes, which
 *            its parent frees, too; the child then frees it again where "child-again" asks
 *   abort    nothing wrong, and aborts by a signal that it sends to itself
 */
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile block;
static uintptr_t room[64] __attribute__((aligned(64)));

static void make_block(size_t size)
{
    block = malloc(size);
}

static void free_first(void)
{
    free(block);
}

static void free_again(void)
{
    free(block);
}

static void free_inside(void)
{
    free((char *)block + 64);
}

static void free_never(void)
{
    void *volatile stranger = &room[16];
    free(stranger);
}

static void resize_freed(void)
{
    block = realloc(block, 200 * 8);
}

static void second(void)
{
    make_block(123 * 8);
    free_first();
    free_again();
}

static void child(int again)
{
    make_block(126 * 8);
    pid_t pid = fork();
    if (pid == 0) {
        free_first();
        if (again)
            free_again();
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    free_first();
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "second"))
            second();
        if (!strcmp(argv[i], "inside")) {
            make_block(124 * 8);
            free_inside();
            free_first();
        }
        if (!strcmp(argv[i], "never"))
            free_never();
        if (!strcmp(argv[i], "resize")) {
            make_block(125 * 8);
            free_first();
            resize_freed();
            free_first();
        }
        for (int n = 0; !strcmp(argv[i], "many") && n < 3; n++)
            second();
        if (!strncmp(argv[i], "child", 5))
            child(!strcmp(argv[i], "child-again"));
        if (!strcmp(argv[i], "abort"))
            raise(SIGABRT);
    }
    return 0;
}
