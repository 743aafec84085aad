/* SPDX-License-Identifier: MIT
 *
 * The least of TAP for unit tests: CHECK(condition, "format", ...) prints one
 * "ok" or "not ok" line and goes on; TAP_DONE() prints the plan and gives
 * main's status. A CHECK in a loop should test what the loop found, not every
 * turn of it. One thread only.
 */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_count, tap_failures;

__attribute__((format(printf, 4, 5))) static inline bool
tap_check(bool ok, const char *file, int line, const char *format, ...)
{
    va_list arguments;
    printf("%sok %d - ", ok ? "" : "not ", ++tap_count);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    if (!ok) {
        tap_failures++;
        printf("# %s:%d\n", file, line);
    }
    fflush(stdout);
    return ok;
}

#define CHECK(condition, ...) tap_check((condition), __FILE__, __LINE__, __VA_ARGS__)
#define TAP_DONE() (printf("1..%d\n", tap_count), tap_failures ? 1 : 0)

#endif
