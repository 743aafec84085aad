/* SPDX-License-Identifier: MIT
 *
 * Threads that hand blocks over through a few shared slots: each puts a block
 * where another will take and free it at once, so that an address goes from one
 * thread to the next within nanoseconds. With GLIBC_TUNABLES that switch the
 * threads' own caches off and leave one arena, as the test runs it, every freed
 * address is up for all. Ends with nothing live.
 *
 *     handover THREADS ROUNDS
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOTS 8

static _Atomic(void *) slots[SLOTS];
static unsigned long rounds;

static void *work(void *number)
{
    uint64_t random = (uintptr_t)number * 0x9e3779b97f4a7c15ull + 1;
    for (unsigned long i = 0; i < rounds; i++) {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        size_t size = 24 + 32 * (random >> 62);
        unsigned slot = random >> 40 & (SLOTS - 1);
        void *block = malloc(size);
        if ((random >> 32 & 7) == 0)
            block = realloc(block, size + 32);
        free(atomic_exchange(&slots[slot], block));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    enum { MOST = 64 };
    pthread_t threads[MOST];
    unsigned n = argc > 1 ? (unsigned)atoi(argv[1]) : 8;
    rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
    if (n > MOST)
        return 2;
    for (uintptr_t i = 1; i < n; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    work(NULL);
    for (unsigned i = 1; i < n; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        free(atomic_load(&slots[i]));
    return 0;
}
