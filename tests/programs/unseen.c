/* SPDX-License-Identifier: MIT
 *
 * Usage: unseen MEBIBYTES
 * Takes so much memory past malloc and touches it, and a little from malloc on
 * the way. -DALLOCATOR=name: through a function of that name, as an allocator
 * that is linked into a program has. Called by test_unseen.py.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static void *volatile sink;

#ifndef ALLOCATOR
#define ALLOCATOR map
static
#endif
    void *
    ALLOCATOR(size_t size);

void *ALLOCATOR(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

int main(int argc, char **argv)
{
    const struct timespec pause = {0, 15 * 1000 * 1000}; /* longer than between two samples */
    const size_t size = (size_t)(argc > 1 ? atol(argv[1]) : 0) << 20;
    for (int i = 0; i < 10; i++) {
        sink = malloc(100);
        if (size) {
            char *memory = ALLOCATOR(size / 10);
            if (!memory)
                return 1;
            memset(memory, 1, size / 10);
        }
        nanosleep(&pause, NULL);
    }
    free(malloc(10));
    return 0;
}
