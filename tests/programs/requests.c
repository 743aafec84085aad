/* SPDX-License-Identifier: MIT
 *
 * A thread for each of N requests, one after the other, that makes two events; the last
 * block of each tenth is never freed. With a second argument it kills itself then.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void *volatile keep;

static void *serve(void *request)
{
    keep = malloc(123 * 8);
    if ((size_t)request % 10)
        free(keep);
    return NULL;
}

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? (size_t)atol(argv[1]) : 0;
    for (size_t i = 0; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)i) || pthread_join(thread, NULL))
            return 1;
    }
    if (argc > 2)
        kill(getpid(), SIGKILL);
    return 7;
}
