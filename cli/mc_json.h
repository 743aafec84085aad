/* SPDX-License-Identifier: MIT
 *
 * The few values that `mlog run` wants of a JSON report of mlog-analyze, which has each
 * member on a line of its own.
 */
#ifndef MC_JSON_H
#define MC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Find the first member of this name behind `at`. Returns its value's text, or NULL. */
const char *mc_json_find(const char *at, const char *name);

/* The value as a string, unescaped, control characters as '?'. False if it is none. */
bool mc_json_string(const char *value, char *text, size_t size);

/* The value as a number, 0 if it is none. */
uint64_t mc_json_number(const char *value);

#endif
