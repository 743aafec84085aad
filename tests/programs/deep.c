/* SPDX-License-Identifier: MIT
 *
 * A call stack of known depth and names: main calls level_000, which calls
 * level_001 and so on; the innermost leaks 123 * 8 bytes. Argument: the number
 * of levels, 1 to 400.
 */
#include <stdlib.h>

extern void *leaked;
void *leaked;

static void (*const levels[400])(int);

/* The empty asm after the call keeps it from becoming a jump. */
#define LEVEL(h, t, o)                                                                             \
    static __attribute__((noinline)) void level_##h##t##o(int depth)                               \
    {                                                                                              \
        if (100 * h + 10 * t + o + 1 < depth)                                                      \
            levels[100 * h + 10 * t + o + 1](depth);                                               \
        else                                                                                       \
            leaked = malloc(123 * 8);                                                              \
        __asm__ volatile("");                                                                      \
    }
#define NAME(h, t, o) level_##h##t##o,

#define TEN(X, h, t)                                                                               \
    X(h, t, 0)                                                                                     \
    X(h, t, 1)                                                                                     \
    X(h, t, 2) X(h, t, 3) X(h, t, 4) X(h, t, 5) X(h, t, 6) X(h, t, 7) X(h, t, 8) X(h, t, 9)
#define HUNDRED(X, h)                                                                              \
    TEN(X, h, 0)                                                                                   \
    TEN(X, h, 1)                                                                                   \
    TEN(X, h, 2)                                                                                   \
    TEN(X, h, 3) TEN(X, h, 4) TEN(X, h, 5) TEN(X, h, 6) TEN(X, h, 7) TEN(X, h, 8) TEN(X, h, 9)

HUNDRED(LEVEL, 0)
HUNDRED(LEVEL, 1)
HUNDRED(LEVEL, 2)
HUNDRED(LEVEL, 3)

static void (*const levels[400])(int) = {HUNDRED(NAME, 0) HUNDRED(NAME, 1) HUNDRED(NAME, 2)
                                             HUNDRED(NAME, 3)};

int main(int argc, char **argv)
{
    int depth = argc > 1 ? atoi(argv[1]) : 0;
    if (depth < 1 || depth > 400)
        return 2;
    level_000(depth);
    __asm__ volatile("");
    return 0;
}
