/* SPDX-License-Identifier: MIT
 *
 * Threads that free and realloc each other's blocks: each round takes whatever
 * lies in a random slot of a shared table and leaves a block of its own there.
 * Arguments: threads, rounds of each thread. The blocks in the table at the end
 * are leaked.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { SLOTS = 512 };

static _Atomic(void *) slots[SLOTS];
static int rounds;

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void *worker(void *argument)
{
    uint32_t state = (uint32_t)(uintptr_t)argument * 2654435761u + 1;
    for (int i = 0; i < rounds; i++) {
        uint32_t r = next_random(&state);
        size_t size = 1 + (r >> 9) % 2000;
        void *mine = NULL, *other = atomic_exchange(&slots[r % SLOTS], NULL);
        switch (r >> 24 & 3) {
        case 0:
            mine = realloc(other, size);
            other = NULL;
            break;
        case 1: mine = calloc(1, size); break;
        default: mine = malloc(size); break;
        }
        free(other);
        free(atomic_exchange(&slots[r % SLOTS], mine));
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread[64];
    int threads = argc > 1 ? atoi(argv[1]) : 8;
    rounds = argc > 2 ? atoi(argv[2]) : 10000;
    if (threads < 1 || threads > 64)
        return 2;
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, worker, (void *)(uintptr_t)(i + 1)))
            return 1;
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    return 0;
}
