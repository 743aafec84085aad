/* SPDX-License-Identifier: MIT
 *
 * How much memory a process may have before the kernel ends it without a word: the least
 * limit of the control groups that it is in, of both versions of the interface, or what the
 * machine has. Asked once in a process, by lt_records.c.
 */
#ifndef LT_LIMIT_H
#define LT_LIMIT_H

#include <stdint.h>

struct lt_limit {
    uint64_t kind; /* enum mlf_limit; 0: not known */
    uint64_t bytes;
};

/* root: in front of /proc and /sys, "" but for tests. A dozen system calls; by one thread at
 * a time. */
struct lt_limit lt_limit_find(const char *root);

#endif
