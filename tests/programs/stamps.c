/* SPDX-License-Identifier: MIT
 *
 * Who pays for time stamps: EVENTS / 2 blocks of 7 * 8 bytes by the main thread while
 * another thread waits that has not allocated yet; then that thread allocates one of
 * 9 * 8 and hands it over, and the main thread frees it and goes on with as many blocks
 * of 11 * 8. Nothing is live in the end.
 */
#include <pthread.h>
#include <stdlib.h>

enum { EVENTS = 20000 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int turn;
static void *volatile block;

static void wait_for(int number)
{
    pthread_mutex_lock(&mutex);
    while (turn < number)
        pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

static void go_on(void)
{
    pthread_mutex_lock(&mutex);
    turn++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void *other(void *unused)
{
    go_on();
    wait_for(2);
    block = malloc(9 * 8);
    go_on();
    return unused;
}

static void work(size_t size)
{
    for (int i = 0; i < EVENTS / 2; i++) {
        void *volatile one = malloc(size);
        free(one);
    }
}

int main(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, other, NULL))
        return 1;
    wait_for(1);
    work(7 * 8);
    go_on();
    wait_for(3);
    free(block);
    work(11 * 8);
    return pthread_join(thread, NULL) != 0;
}
