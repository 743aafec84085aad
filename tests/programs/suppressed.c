/* SPDX-License-Identifier: MIT
 *
 * Three leaks, the first of which the program itself calls known, as programs
 * tell LeakSanitizer. -DSTRANGE: in a way that only running it reveals; -DBAD:
 * with a line that is none. Called by test_suppressions.py.
 */
#include <stdio.h>
#include <stdlib.h>

static void *volatile sink;

const char *__lsan_default_suppressions(void);

#ifdef STRANGE
const char *__lsan_default_suppressions(void)
{
    static char text[64];
    snprintf(text, sizeof text, "leak:%s_leak\n", "known");
    return text;
}
#elif defined BAD
const char *__lsan_default_suppressions(void)
{
    return "leak:known_leak\nrace:other_leak\n";
}
#else
const char *__lsan_default_suppressions(void)
{
    return "# the program's own\nleak:known_leak\n";
}
#endif

static void known_leak(void)
{
    for (int i = 0; i < 3; i++)
        sink = malloc(1000);
}

static void other_leak(void)
{
    for (int i = 0; i < 5; i++)
        sink = malloc(200);
}

static void third_leak(void)
{
    sink = malloc(7);
}

int main(void)
{
    known_leak();
    other_leak();
    third_leak();
    return 0;
}
