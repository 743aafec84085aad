/* SPDX-License-Identifier: MIT
 *
 * Two bursts of events with a pause in the middle, for tests of slow readers:
 * each of some threads makes N pairs of malloc and free, "half" is written, a
 * line of input waited for, then the threads make as many again. Odd threads
 * end in the pause and new ones take their place. Arguments: threads, N.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static long pairs;
static pthread_barrier_t half, resume;

static void burst(size_t size)
{
    void *volatile block;
    for (long i = 0; i < pairs; i++) {
        block = malloc(size + (size_t)i % 7);
        free(block);
    }
}

static void *stays(void *argument)
{
    burst((size_t)argument * 16);
    pthread_barrier_wait(&half);
    pthread_barrier_wait(&resume);
    burst((size_t)argument * 32);
    return NULL;
}

static void *leaves(void *argument)
{
    burst((size_t)argument * 16);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread[64];
    int threads = argc > 1 ? atoi(argv[1]) : 4;
    char line[8];
    pairs = argc > 2 ? atol(argv[2]) : 10000;
    if (threads < 1 || threads > 64)
        return 2;
    pthread_barrier_init(&half, NULL, 1 + (unsigned)(threads + 1) / 2);
    pthread_barrier_init(&resume, NULL, 1 + (unsigned)(threads + 1) / 2);
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, i % 2 ? leaves : stays, (void *)(size_t)(i + 1));
    pthread_barrier_wait(&half);
    for (int i = 1; i < threads; i += 2)
        pthread_join(thread[i], NULL);
    if (write(1, "half\n", 5) != 5 || read(0, line, sizeof line) < 0)
        return 1;
    for (int i = 1; i < threads; i += 2)
        pthread_create(&thread[i], NULL, leaves, (void *)(size_t)(i + 1));
    pthread_barrier_wait(&resume);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    return write(1, "done\n", 5) == 5 ? 7 : 1;
}
