/* SPDX-License-Identifier: MIT
 *
 * A library whose constructor leaks: the loader calls it, before there is a
 * main to be the end of the stack.
 */
#include <stdlib.h>

static void *volatile kept;

__attribute__((constructor)) static void early_leak(void)
{
    kept = malloc(123 * 8);
}
