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
/* "1 block", "1,234 blocks", "2 processes": a regular noun, of 20 letters at most,
 * behind its number. */
#define MA_COUNTED_SIZE 56
const char *ma_human_counted(char buffer[MA_COUNTED_SIZE], uint64_t count, const char *noun);

/* The length of the well-formed UTF-8 character at text (NUL-terminated), or 0. */
size_t ma_utf8_length(const char *text);

/* The code of the character of `length` bytes at text if it controls a terminal,
 * turns text around or is not seen (both sets of control characters, those for
 * bidirectional text, separators, joiners); 0 of any other. */
uint32_t ma_hidden_character(const char *text, size_t length);

/* Write text to a terminal or a line of a file: hidden characters become
 * \n, \t or \xHH for each byte, and so do bytes that are no UTF-8. At most `columns`
 * columns of a terminal, the last an ellipsis then; returns how many were written. */
size_t ma_write_text(FILE *out, const char *text, size_t columns);

/* The columns that ma_write_text writes of a text if there is room: of a Chinese character
 * two, of an escaped byte four, of an accent put upon the letter before none. */
size_t ma_text_columns(const char *text);

/* Write JSON that is well-formed UTF-8 and NUL-terminated no earlier than at
 * its size, hidden characters above ASCII as \u escapes. */
void ma_write_json_bytes(FILE *out, const char *text, size_t size);

/* Write a JSON string, quotes included: hidden characters as escapes, bytes that
 * are no UTF-8 as U+FFFD. */
void ma_write_json_string(FILE *out, const char *text);

/* A copy of text in well-formed UTF-8, for renderers that need one; NULL if
 * memory is short. */
char *ma_clean_utf8(const char *text);

#endif
