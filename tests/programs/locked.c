/* SPDX-License-Identifier: MIT
 *
 * A program that has all its memory locked, within a limit. Argument: the limit in
 * KiB. Three threads with small stacks, made behind that, allocate 123 blocks each; it
 * says how many calls were refused.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static int refused;
static pthread_barrier_t all;

static void *work(void *argument)
{
    void *block[123];
    for (int i = 0; i < 123; i++)
        if (!(block[i] = malloc(500)))
            __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
    pthread_barrier_wait(&all);
    for (int i = 0; i < 123; i++)
        free(block[i]);
    return argument;
}

int main(int argc, char **argv)
{
    struct rlimit limit = {0, 0};
    limit.rlim_cur = limit.rlim_max = argc > 1 ? (rlim_t)atol(argv[1]) << 10 : 0;
    setrlimit(RLIMIT_MEMLOCK, &limit); /* a lower one that may not be raised does as well */
    if (setgid(65534) || setuid(65534))
        return 77;
    if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
        puts("not locked");
        return 2;
    }
    pthread_t thread[3];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    pthread_barrier_init(&all, NULL, 3);
    for (int i = 0; i < 3; i++)
        if (pthread_create(&thread[i], &attributes, work, NULL))
            return 3;
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    void *large = malloc(1 << 20);
    printf("refused %d%s\n", refused, large ? "" : ", and 1 MiB");
    free(large);
    return 7;
}
