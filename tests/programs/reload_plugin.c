/* SPDX-License-Identifier: MIT
 *
 * A plug-in for reload.c, built twice: with LEAK the name of the function that
 * leaks and SIZE its size.
 */
#include <stdlib.h>

static void *volatile keep;

void LEAK(void);
__attribute__((noinline)) void LEAK(void)
{
    keep = malloc(SIZE);
}

void plugin_run(void);
void plugin_run(void)
{
    LEAK();
    __asm__ volatile("");
}
