/* SPDX-License-Identifier: MIT
 *
 * Forks again and again while three other threads allocate without pause: each
 * child allocates too, leaks 77 * 8 bytes, frees a block it inherited and
 * leaves by _exit. A lock left held in the child would hang it. Argument: the
 * number of forks.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int stop;
static void *volatile keep;

static void *work(void *argument)
{
    (void)argument;
    for (size_t i = 0; !stop; i++) {
        void *p = malloc(1 + i % 1000);
        free(realloc(p, 1 + i % 3000));
    }
    return NULL;
}

static __attribute__((noinline)) void leak_in_child(void)
{
    keep = malloc(77 * 8);
}

int main(int argc, char **argv)
{
    int forks = argc > 1 ? atoi(argv[1]) : 20;
    pthread_t thread[3];
    for (int i = 0; i < 3; i++)
        if (pthread_create(&thread[i], NULL, work, NULL))
            return 2;
    for (int i = 0; i < forks; i++) {
        void *inherited = malloc(55 * 8);
        pid_t child = fork();
        if (child == 0) {
            free(inherited);
            leak_in_child();
            for (int k = 0; k < 100; k++)
                free(malloc(33 * 8));
            _exit(3);
        }
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child)
            return 2;
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 3)
            return 1;
        free(inherited);
    }
    stop = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
