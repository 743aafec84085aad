/* SPDX-License-Identifier: MIT
 *
 * A little of everything, with an output that is always the same: threads that
 * end, forks that are waited for, a library loaded and unloaded, blocks that
 * grow, errno watched. For tests that let the library's system calls fail.
 * Argument: a library to load.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned churn(unsigned seed)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < 3000; i++) {
        errno = 77;
        char *p = malloc(1 + (i * seed) % 900);
        if (!p || errno != 77)
            abort();
        memset(p, (int)i, 1 + (i * seed) % 900);
        p = realloc(p, 1 + (i * 7) % 1700);
        if (!p || errno != 77)
            abort();
        sum += (unsigned char)p[0];
        free(p);
        if (errno != 77)
            abort();
    }
    return sum;
}

static void *work(void *argument)
{
    return (void *)(size_t)churn((unsigned)(size_t)argument);
}

int main(int argc, char **argv)
{
    unsigned sum = 0;
    for (int round = 0; round < 2; round++) {
        pthread_t thread[3];
        for (size_t i = 0; i < 3; i++)
            if (pthread_create(&thread[i], NULL, work, (void *)(i + 3)))
                return 2;
        void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
        void (*run)(void) = library ? (void (*)(void))dlsym(library, "plugin_run") : NULL;
        if (argc > 1 && !run)
            return 3;
        if (run)
            run();
        pid_t child = fork();
        if (child == 0)
            _exit((int)(churn(11) % 100));
        int status;
        if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
            return 4;
        sum += (unsigned)WEXITSTATUS(status);
        for (size_t i = 0; i < 3; i++) {
            void *result;
            pthread_join(thread[i], &result);
            sum += (unsigned)(size_t)result;
        }
        if (library)
            dlclose(library);
    }
    printf("%u\n", sum);
    return 7;
}
