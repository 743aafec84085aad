/* SPDX-License-Identifier: MIT
 *
 * Counts its own heap calls in shared memory, just before and just after each,
 * until it is killed: the witness of what a trace may lack. Arguments: a file
 * for the counts, the number of threads (each has two 64-bit counts there:
 * begun, done). It never ends by itself, but for a limit on CPU time.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

struct count {
    _Atomic uint64_t begun, done;
};

static void *work(void *argument)
{
    struct count *count = argument;
    void *block[64] = {0};
    for (size_t i = 0;; i++) {
        void **slot = &block[i * 7 % 64];
        atomic_fetch_add(&count->begun, 1);
        if (*slot && i % 3 == 0) {
            *slot = realloc(*slot, 1 + i % 500);
        } else if (*slot) {
            free(*slot);
            *slot = NULL;
        } else {
            *slot = malloc(1 + i % 300);
        }
        atomic_fetch_add(&count->done, 1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = argc > 2 ? atoi(argv[2]) : 1;
    struct rlimit limit = {60, 60};
    setrlimit(RLIMIT_CPU, &limit);
    int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT, 0666) : -1;
    size_t size = (size_t)threads * sizeof(struct count);
    if (fd < 0 || ftruncate(fd, (off_t)size))
        return 2;
    struct count *counts = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counts == MAP_FAILED)
        return 2;
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, &counts[i]))
            return 2;
    }
    work(&counts[0]);
    return 0;
}
