/* SPDX-License-Identifier: MIT
 *
 * A program within a limit of memory: threads with small stacks that allocate, then a
 * large block by each way there is, and tells what was refused.
 *   memory_limits as|data|none MIB THREADS WAY
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define BLOCKS 100
#define LARGE (4u << 20)

static int refused;
static pthread_barrier_t all_hold;

static void *work(void *unused)
{
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        if (!(blocks[i] = malloc(1971)))
            __atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
    pthread_barrier_wait(&all_hold);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return unused;
}

static void *descend(int levels)
{
    void *p = levels ? descend(levels - 1) : malloc(LARGE);
    __asm__ volatile("");
    return p;
}

static void *large(int way)
{
    void *p = NULL;
    switch (way) {
    case 0: return malloc(LARGE);
    case 1: return calloc(4, LARGE / 4);
    case 2: return realloc(malloc(100), LARGE);
    case 3: return posix_memalign(&p, 64, LARGE) ? NULL : p;
    case 4: return aligned_alloc(64, LARGE);
    case 6: return descend(3000);
    case 7: return realloc(malloc(4 * LARGE), 5 * LARGE);
    default:
        p = mmap(NULL, LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return p == MAP_FAILED ? NULL : p;
    }
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    pthread_t threads[64];
    pthread_attr_t small;
    char line[64];
    int count = argc > 3 ? atoi(argv[3]) : 0, made = 0, way = argc > 4 ? atoi(argv[4]) : 0;
    limit.rlim_cur = limit.rlim_max = (rlim_t)atol(argv[2]) << 20;
    if (strcmp(argv[1], "none"))
        setrlimit(!strcmp(argv[1], "as") ? RLIMIT_AS : RLIMIT_DATA, &limit);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_barrier_init(&all_hold, NULL, (unsigned)count + 1);
    while (made < count && !pthread_create(&threads[made], &small, work, NULL))
        made++;
    if (made < count)
        _exit(3);
    pthread_barrier_wait(&all_hold);
    for (int i = 0; i < made; i++)
        pthread_join(threads[i], NULL);
    void *p = large(way);
    if (p)
        memset(p, 1, LARGE);
    int size = snprintf(line, sizeof line, "refused %d, large %s\n", refused, p ? "ok" : "refused");
    return write(1, line, (size_t)size) == size && p && !refused ? 7 : 1;
}
