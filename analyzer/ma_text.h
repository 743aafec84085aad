/* SPDX-License-Identifier: MIT
 *
 * Text for people and machines from hostile bytes: escapes and human units.
 */
#ifndef MA_TEXT_H
#define MA_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define MA_HUMAN_SIZE 32 /* room for any of the numbers below */

/* "1.2 MiB", "17 B". Returns buffer. */
const char *ma_human_bytes(char buffer[MA_HUMAN_SIZE], uint64_t bytes);
/* "2.31 s", "14.0 ms" */
const char *ma_human_time(char buffer[MA_HUMAN_SIZE], uint64_t nanoseconds);
/* "1,234,567" */
const char *ma_human_count(char buffer[MA_HUMAN_SIZE], uint64_t count);

/* The length of the well-formed UTF-8 character at text (NUL-terminated), or 0. */
size_t ma_utf8_length(const char *text);

/* Write text to a terminal or a line of a file: control characters become
 * \n, \t or \xHH, and so do bytes that are no UTF-8. At most `columns`
 * characters, the last an ellipsis then; returns how many were written. */
size_t ma_write_text(FILE *out, const char *text, size_t columns);

/* Write a JSON string, quotes included: bytes that are no UTF-8 become U+FFFD. */
void ma_write_json_string(FILE *out, const char *text);

/* A copy of text in well-formed UTF-8, for renderers that need one; NULL if
 * memory is short. */
char *ma_clean_utf8(const char *text);

#endif
