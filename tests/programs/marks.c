/* SPDX-License-Identifier: MIT
 *
 * Uses the public header: marks a point and a span around two leaks of 17 * 8
 * and 19 * 8 bytes. Prints whether it is traced and whether errno was left
 * alone; runs, and says no, without the library.
 */
#include "mlog.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void *volatile keep;

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    errno = 71;
    mlog_mark("before");
    keep = malloc(17 * 8);
    mlog_begin("span \"quoted\"");
    keep = malloc(19 * 8);
    mlog_end("span \"quoted\"");
    printf("traced %d errno %d\n", mlog_tracing(), errno);
    return 0;
}
