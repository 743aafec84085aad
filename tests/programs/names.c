/* SPDX-License-Identifier: MIT
 *
 * Exports symbols with names a tracing library might use for itself, and ends
 * with status 1 if any of them was called or changed. Built with -rdynamic.
 */
#include <stdio.h>
#include <stdlib.h>

/* clang-format off */
#define NAMES(X)                                                                                   \
    X(next)                                                                                        \
    X(init)                                                                                        \
    X(fini)                                                                                        \
    X(lock)                                                                                        \
    X(unlock) X(table) X(state) X(log_event) X(trace) X(hook) X(unwind) X(backtrace_full) X(emit)  \
        X(flush) X(buffer) X(get_pc) X(lt_init) X(mlog_init) X(real_malloc) X(real_free) X(sink)
/* clang-format on */

static int calls;

#define DEFINE(name)                                                                               \
    long name(void);                                                                               \
    long name(void)                                                                                \
    {                                                                                              \
        calls++;                                                                                   \
        return 1;                                                                                  \
    }
NAMES(DEFINE)

extern int thread_state;
int thread_state = 4711;

int main(void)
{
    for (int i = 0; i < 100; i++)
        free(realloc(malloc(10), 20));
    long sum = 0;
#define CALL(name) sum += name();
    int before = calls;
    NAMES(CALL)
    printf("%d %ld %d\n", before, sum, thread_state);
    return before != 0 || thread_state != 4711;
}
