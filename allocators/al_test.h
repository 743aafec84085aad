/* SPDX-License-Identifier: MIT
 *
 * The cases of mlog-allocator-test: each promises something of malloc and its kin that
 * programs rely on, and is run in a process of its own, with the allocator preloaded.
 */
#ifndef AL_TEST_H
#define AL_TEST_H

#include <stddef.h>

struct al_case {
    const char *name;
    /* Returns NULL, or what is not as it must be. */
    const char *(*run)(void);
};

extern const struct al_case al_cases[];
extern const size_t al_case_count;

/* A problem in words; valid until the next call. */
const char *al_problem(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
