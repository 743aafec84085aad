/* SPDX-License-Identifier: MIT
 *
 * Preloaded behind libmlog.so: thread-specific keys fail. NOKEY=N lets the
 * N-th pthread_key_create or pthread_setspecific of the process fail with
 * EAGAIN, and the later ones too if NOKEY_ON is set. Only calls from libmlog.so
 * count.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_long count;

static int fails(void *caller)
{
    Dl_info info;
    const char *n = getenv("NOKEY");
    if (!n || !dladdr(caller, &info) || !info.dli_fname || !strstr(info.dli_fname, "libmlog.so"))
        return 0;
    long now = ++count, first = atol(n);
    return now == first || (now > first && getenv("NOKEY_ON"));
}

int pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
    int (*next)(pthread_key_t *, void (*)(void *)) =
        (int (*)(pthread_key_t *, void (*)(void *)))dlsym(RTLD_NEXT, "pthread_key_create");
    return fails(__builtin_return_address(0)) ? EAGAIN : next(key, destroy);
}

int pthread_setspecific(pthread_key_t key, const void *value)
{
    int (*next)(pthread_key_t, const void *) =
        (int (*)(pthread_key_t, const void *))dlsym(RTLD_NEXT, "pthread_setspecific");
    return fails(__builtin_return_address(0)) ? ENOMEM : next(key, value);
}
