/* SPDX-License-Identifier: MIT
 *
 * How long single calls of malloc and free take, in nanoseconds as CLOCK_MONOTONIC has them (the
 * clock's own time among them), over a heap that is being cut up: median, percentiles, worst, as
 * a line of JSON. Called by bench_allocators.py, once for each allocator.
 *
 *     latency CALLS
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define SLOTS 20000
#define WARM_UP 200000 /* calls that are not counted */

static uint64_t state = 4711;
static void *slots[SLOTS];

static size_t any(size_t below)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(state >> 33) % below;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int compare_times(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void tell(const char *name, uint32_t *times, size_t n, const char *after)
{
    qsort(times, n, sizeof *times, compare_times);
    printf("\"%s\": {\"median\": %" PRIu32 ", \"99\": %" PRIu32 ", \"99.99\": %" PRIu32
           ", \"worst\": %" PRIu32 "}%s",
           name, times[n / 2], times[n - 1 - n / 100], times[n - 1 - n / 10000], times[n - 1],
           after);
}

int main(int argc, char **argv)
{
    const size_t calls = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    uint32_t *times[2]; /* of malloc, of free: not from malloc */
    size_t n[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        times[i] = mmap(NULL, (calls + 1) * sizeof **times, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (times[i] == MAP_FAILED)
            return 1;
    }
    for (size_t call = 0; call < calls + WARM_UP; call++) {
        void **slot = &slots[any(SLOTS)];
        const size_t size = any(20) ? 16 + any(500) : any(10) ? any(9000) : any(200000);
        const int is_free = *slot != NULL;
        const uint64_t before = now();
        if (is_free)
            free(*slot);
        else
            *slot = malloc(size);
        const uint64_t took = now() - before;
        if (is_free)
            *slot = NULL;
        else if (*slot)
            memset(*slot, 1, 16);
        if (call >= WARM_UP)
            times[is_free][n[is_free]++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    }
    if (!n[0] || !n[1])
        return 1;
    printf("{");
    tell("malloc", times[0], n[0], ", ");
    tell("free", times[1], n[1], "}\n");
    return 0;
}
