/* SPDX-License-Identifier: MIT
 *
 * A plugin whose only difference between builds is the size of its frame: two
 * of them, loaded in turn, have the same return address in the same place and
 * need unlike rules.
 */
#ifndef SIZE
#define SIZE 1024
#endif

void plugin_call(void (*f)(void));

__attribute__((visibility("default"))) void plugin_call(void (*f)(void))
{
    volatile char block[SIZE];
    block[0] = 1;
    f();
    block[SIZE - 1] = 2;
}
