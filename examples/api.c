/* SPDX-License-Identifier: MIT
 *
 * Purpose: what a C program can do with mlog.h: count what it allocates, name moments,
 * write into its trace, and assert that a part of it does not grow. One of the three
 * requests forgets a block, on purpose.
 *
 * Command (libmlog need not be linked; without LD_PRELOAD the program runs the same and
 * every number is 0):
 *
 *     gcc -g -o api api.c
 *     LD_PRELOAD=libmlog.so ./api 1022>api.mlog
 *     mlog-analyze api.mlog --savepoints
 *
 * Expected output: the program prints
 *
 *     request 1: 5 blocks and 2840 bytes allocated, 0 bytes kept
 *     request 2: 5 blocks and 2840 bytes allocated, 0 bytes kept
 *     request 3: 5 blocks and 2840 bytes allocated, 568 bytes kept
 *
 * then the table of the whole run, and on standard error "api.c:…: 568 bytes more in use
 * than at savepoint request"; mlog-analyze names `answer`, and the line of its malloc.
 */
#include <mlog.h>
#include <stdlib.h>

static void answer(int request)
{
    char *parts[5];
    for (int i = 0; i < 5; i++)
        parts[i] = malloc(70 * 8);
    for (int i = 0; i < 5; i++) {
        if (request < 3 || i != 2)
            free(parts[i]);
    }
}

int main(void)
{
    struct mlog_stats before, after;
    for (int request = 1; request <= 3; request++) {
        mlog_begin("request");
        mlog_printf("request %d", request);
        mlog_stats(&before);
        MLOG_SAVEPOINT(request);
        answer(request);
        MLOG_ASSERT_NO_GROWTH(request);
        mlog_stats(&after);
        mlog_end("request");
        struct mlog_stats change = mlog_stats_diff(&before, &after);
        printf("request %d: %llu blocks and %llu bytes allocated, %lld bytes kept\n", request,
               (unsigned long long)change.allocations, (unsigned long long)change.allocated,
               (long long)change.in_use);
    }
    mlog_stats(&after);
    mlog_stats_print(stdout, "whole run", &after);
    return 0;
}
