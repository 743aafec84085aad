/* SPDX-License-Identifier: MIT
 *
 * A plug-in for loader.c, built twice: the function named TAKE
 * is on the stack of what it allocates, and tells which of the two it was.
 */
#include <stdlib.h>

void *TAKE(size_t size);
void *TAKE(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("");
    return p;
}

void *plugin_take(size_t size);
void *plugin_take(size_t size)
{
    void *p = TAKE(size);
    __asm__ volatile("");
    return p;
}

void plugin_give(void *p);
void plugin_give(void *p)
{
    free(p);
}
