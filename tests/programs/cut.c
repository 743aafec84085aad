/* SPDX-License-Identifier: MIT
 *
 * A trace file that somebody cuts while it is mapped. The main thread makes
 * events, says "ready" and waits for a line of input; then another thread, made
 * long before, makes its first event, and after it both make many.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static pthread_barrier_t cut;
static void *volatile keep;

static void burst(void)
{
    for (size_t i = 0; i < 100000; i++) {
        keep = malloc(1 + i % 999);
        free(keep);
    }
}

static void *second(void *unused)
{
    pthread_barrier_wait(&cut);
    burst();
    pthread_barrier_wait(&cut);
    return unused;
}

int main(void)
{
    pthread_t thread;
    char line[8];
    pthread_barrier_init(&cut, NULL, 2);
    if (pthread_create(&thread, NULL, second, NULL))
        return 2;
    keep = malloc(123 * 8);
    if (write(1, "ready\n", 6) != 6 || read(0, line, sizeof line) < 0)
        return 1;
    pthread_barrier_wait(&cut);
    pthread_barrier_wait(&cut);
    burst();
    pthread_join(thread, NULL);
    return write(1, "done\n", 5) == 5 ? 7 : 1;
}
