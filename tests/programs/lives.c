/* SPDX-License-Identifier: MIT
 *
 * Threads and how they live. Arguments: N and one of
 *
 *     short    N threads, eight at a time, each of one malloc(21 * 8) and its free
 *     late     N threads with a destructor that allocates in every round there is:
 *              malloc(23 * 8) and its free, PTHREAD_DESTRUCTOR_ITERATIONS times
 *     cancel   N threads that allocate (31 * 8) without pause, each cancelled at a
 *              point of its own choice (pthread_testcancel)
 *     asynchronous  the same, cancelled at any instant: over bump.c only
 *     exited   N threads that end by the bare system call, as clone's users do
 *     tiny     N threads with a stack of PTHREAD_STACK_MIN, malloc(25 * 8) each
 *     idle     N threads that all malloc(27 * 8) and then wait for each other
 *     mixed    exec of /bin/true from a thread while N others allocate
 *
 * It ends with one malloc(77 * 8) that is not freed. "idle" prints how many KiB of
 * memory a thread costs, "cancel" and "asynchronous" the pairs of calls made.
 */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *what;
static pthread_key_t key;
static pthread_barrier_t all;
static atomic_long pairs;
static void *volatile keep;

static long resident_kib(void)
{
    char text[128] = "";
    FILE *file = fopen("/proc/self/statm", "r");
    long pages = 0;
    if (file && fgets(text, sizeof text, file))
        sscanf(text, "%*d %ld", &pages);
    if (file)
        fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void destroy(void *value)
{
    free(malloc(23 * 8));
    if ((long)value < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(key, (void *)((long)value + 1));
}

static void *thread(void *argument)
{
    (void)argument;
    if (!strcmp(what, "short")) {
        free(malloc(21 * 8));
    } else if (!strcmp(what, "late")) {
        pthread_setspecific(key, (void *)1);
    } else if (!strcmp(what, "cancel") || !strcmp(what, "asynchronous")) {
        if (*what == 'a')
            pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
        for (long own = 0;; own++, pairs++) {
            if (*what == 'a' && own == 30000)
                for (;;) /* all that the allocator beneath, which reuses nothing, can give */
                    pause();
            free(malloc(31 * 8));
            if (*what == 'c')
                pthread_testcancel();
        }
    } else if (!strcmp(what, "tiny")) {
        free(malloc(25 * 8));
    } else if (!strcmp(what, "idle")) {
        free(malloc(27 * 8));
        pthread_barrier_wait(&all);
        pthread_barrier_wait(&all);
    } else if (!strcmp(what, "mixed")) {
        for (;;)
            free(malloc(31 * 8));
    } else if (!strcmp(what, "exited")) {
        free(malloc(21 * 8));
        syscall(SYS_exit, 0);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    what = argv[1];
    int n = atoi(argv[2]);
    pthread_t *threads = calloc((size_t)n, sizeof *threads);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_key_create(&key, destroy);
    pthread_barrier_init(&all, NULL, (unsigned)n + 1);
    if (!strcmp(what, "tiny"))
        pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
    long before = resident_kib();
    int together = !strcmp(what, "idle") || !strcmp(what, "mixed") ? n : 8;
    for (int i = 0; i < n; i += together) {
        int last = i + together < n ? i + together : n;
        for (int k = i; k < last; k++)
            if (pthread_create(&threads[k], &attributes, thread, NULL))
                return 3;
        if (!strcmp(what, "idle")) {
            pthread_barrier_wait(&all);
            long after = resident_kib();
            printf("%ld\n", (after - before) / n);
            pthread_barrier_wait(&all);
        }
        if (!strcmp(what, "mixed")) {
            usleep(20000);
            execl("/bin/true", "true", NULL);
        }
        for (int k = i; k < last; k++) {
            if (!strcmp(what, "cancel") || !strcmp(what, "asynchronous")) {
                usleep(500 + 37 * (k % 29));
                pthread_cancel(threads[k]);
            }
            pthread_join(threads[k], NULL);
        }
    }
    if (!strcmp(what, "cancel") || !strcmp(what, "asynchronous"))
        printf("%ld\n", (long)pairs);
    free(threads);
    keep = malloc(77 * 8);
    return 0;
}
