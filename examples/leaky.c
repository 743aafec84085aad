/* SPDX-License-Identifier: MIT
 *
 * Purpose: a small service with one leak, to try mlog on. It serves requests
 * from a cache of sessions; a session that expires is taken out of the cache
 * and freed, but the user name inside it is forgotten. It takes a second or two,
 * so that one can tell the leak, which grows to the end, from the cache.
 *
 * Command (quickstart.sh runs it):
 *
 *     gcc -g -o leaky leaky.c
 *     LD_PRELOAD=libmlog.so ./leaky 1022>leaky.mlog
 *     mlog-analyze leaky.mlog --leaks
 *
 * Expected output: the program prints
 *
 *     served 20000 requests for 64 sessions, 19936 expired
 *
 * and mlog-analyze shows, as the largest leak by far, 20,000 blocks allocated
 * in session_new, at the line that copies the name: those of 19,936 sessions
 * that are gone, and of the 64 in the cache. It is called growing. These 64
 * sessions and their buffers are listed too, further down: not freed at the end,
 * but at a steady level.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CACHE_SIZE = 64, REQUESTS = 20000 };

struct session {
    unsigned id;
    char *user;
    unsigned char *buffer;
};

static struct session *cache[CACHE_SIZE];
static unsigned expired;

static struct session *session_new(unsigned id)
{
    char name[64];
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        abort();
    snprintf(name, sizeof name, "customer-%06u@shop.example", id);
    session->id = id;
    session->user = strdup(name);
    session->buffer = malloc(512 + id % 512);
    return session;
}

static void session_free(struct session *session)
{
    free(session->buffer);
    /* Here is the leak: free(session->user) is missing. */
    free(session);
}

static void serve(unsigned id)
{
    struct session **slot = &cache[id % CACHE_SIZE];
    if (*slot) {
        session_free(*slot);
        expired++;
    }
    *slot = session_new(id);
}

int main(void)
{
    for (unsigned id = 0; id < REQUESTS; id++) {
        serve(id);
        if (id % 16 == 0)
            usleep(1000); /* until the next customers come */
    }
    printf("served %d requests for %d sessions, %u expired\n", REQUESTS, CACHE_SIZE, expired);
    return 0;
}
