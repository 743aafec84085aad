/* SPDX-License-Identifier: MIT
 *
 * The library's lock (lt_lock.h) where things go wrong: a thread that meets its
 * own, a holder that is no more, one that was left by longjmp, and many threads
 * at once. A lock that is never had again would hang; meson's limit ends that.
 */
#include "lt_lock.h"

#include <pthread.h>
#include <unistd.h>

#include "lt_sys.h"
#include "tap.h"

static struct lt_lock lock, other;
static long sum;

uint32_t lt_lock_owner(void)
{
    return (uint32_t)lt_gettid();
}

static void *take_and_end(void *argument)
{
    (void)argument;
    lt_lock_take(&lock);
    return NULL;
}

static void *add(void *argument)
{
    (void)argument;
    for (int i = 0; i < 20000; i++) {
        lt_lock_take(&lock);
        sum++;
        lt_lock_release(&lock);
    }
    return NULL;
}

int main(void)
{
    CHECK(lt_lock_take(&lock), "a free lock is had");
    CHECK(!lt_lock_take(&lock), "a second time its holder is told no");
    CHECK(!lt_lock_try(&lock), "by try too");
    CHECK(lt_lock_take(&other), "another is had beside it");
    lt_lock_abandon();
    CHECK(lock.word == 0 && other.word == 0, "abandoned, both are free");

    pthread_t threads[4];
    pthread_create(&threads[0], NULL, take_and_end, NULL);
    pthread_join(threads[0], NULL);
    CHECK(lock.word != 0, "a thread that ended left the lock taken");
    lt_lock_abandon();
    CHECK(lock.word != 0, "what others hold is not abandoned");
    CHECK(lt_lock_take(&lock), "it is taken from a holder that is no more");
    lt_lock_release(&lock);
    CHECK(lock.word == 0, "and free after that");

    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, add, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK(sum == 80000, "four threads exclude each other");
    return TAP_DONE();
}
