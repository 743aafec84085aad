/* SPDX-License-Identifier: MIT
 *
 * A function's names as LeakSanitizer's symboliser writes them, for patterns that were
 * copied from its reports; see ma_suppress.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ma_demangle.h"
#include "ma_suppress.h"

#define NESTING 16 /* of lambdas in the parameters of lambdas */

void ma_suppress_squeeze(char *name)
{
    char *to = name;
    for (const char *from = name; *from; from++) {
        if (*from == '>') {
            while (to > name && to[-1] == ' ')
                to--;
        }
        *to++ = *from;
    }
    *to = '\0';
}

/* The '}' that belongs to the '{' at `open`, or NULL. */
static const char *closing(const char *open, const char *end)
{
    size_t depth = 0;
    for (const char *at = open; at < end; at++) {
        depth += *at == '{';
        if (*at == '}' && --depth == 0)
            return at;
    }
    return NULL;
}

/* "#N}" ends at `close`: what LLVM puts behind the word, "" for the first, then 0, 1, …
 * Returns where the '#' stands, or NULL. */
static const char *number_before(const char *close, const char *from, char digits[24])
{
    const char *at = close;
    size_t n = 0;
    while (at > from && at[-1] >= '0' && at[-1] <= '9')
        at--;
    if (at == close || at == from || at[-1] != '#' || close - at > 9)
        return NULL;
    for (const char *digit = at; digit < close; digit++)
        n = 10 * n + (size_t)(*digit - '0');
    digits[0] = '\0';
    if (n > 1)
        snprintf(digits, 24, "%zu", n - 2);
    return at - 1;
}

/* Never longer than what it is made of. */
static char *rewrite(const char *from, const char *end, char *to, unsigned nesting)
{
    static const char lambda[] = "{lambda(", unnamed[] = "{unnamed type#", clone[] = " [clone ";
    while (from < end) {
        const size_t left = (size_t)(end - from);
        const char *close = *from == '{' && nesting ? closing(from, end) : NULL;
        char digits[24];
        const char *hash = close ? number_before(close, from, digits) : NULL;
        if (hash && left > sizeof lambda && strncmp(from, lambda, sizeof lambda - 1) == 0 &&
            hash[-1] == ')') {
            to += sprintf(to, "'lambda%s'(", digits);
            to = rewrite(from + sizeof lambda - 1, hash, to, nesting - 1);
            from = close + 1;
        } else if (hash && left > sizeof unnamed &&
                   strncmp(from, unnamed, sizeof unnamed - 1) == 0) {
            to += sprintf(to, "'unnamed%s'", digits);
            from = close + 1;
        } else if (left > sizeof clone && strncmp(from, clone, sizeof clone - 1) == 0 &&
                   memchr(from, ']', left)) {
            const char *last = memchr(from, ']', left);
            *to++ = ' ';
            *to++ = '(';
            from += sizeof clone - 1;
            memcpy(to, from, (size_t)(last - from));
            to += last - from;
            *to++ = ')';
            from = last + 1;
        } else {
            *to++ = *from++;
        }
    }
    return to;
}

int ma_suppress_names(const char *linkage, char *names[2])
{
    names[0] = names[1] = NULL;
    if (!linkage || linkage[0] != '_')
        return 0;
    char *full = ma_demangle(linkage, true);
    if (!full)
        return 0;
    if (strstr(full, "{lambda(") || strstr(full, "{unnamed type#") || strstr(full, " [clone ")) {
        size_t n = strlen(full);
        names[1] = malloc(n + 1);
        if (!names[1]) {
            free(full);
            return -ENOMEM;
        }
        *rewrite(full, full + n, names[1], NESTING) = '\0';
        ma_suppress_squeeze(names[1]);
    }
    ma_suppress_squeeze(full);
    names[0] = full;
    return 0;
}
