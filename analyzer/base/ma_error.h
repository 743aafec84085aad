/* SPDX-License-Identifier: MIT
 *
 * The errors of the analyser: a function that fails returns a negative errno
 * and leaves one sentence, with the byte offset where the input is at fault, in
 * the caller's struct ma_error. The first error stays; later ones do not
 * overwrite it.
 */
#ifndef MA_ERROR_H
#define MA_ERROR_H

#include <stdbool.h>
#include <stdint.h>

/* The command that messages are signed with: the base name of argv[0] once that was
 * given. Another command that runs this one has its own name there. */
extern const char *ma_command;
void ma_command_set(const char *argv0);

struct ma_error {
    char message[1024]; /* empty: no error */
    uint64_t offset;    /* of the byte at fault, if has_offset */
    bool has_offset;
};

/* Set the message unless there is one. Returns code, so that callers can write
 * return ma_fail(error, -EINVAL, "..."). error may be NULL. */
int ma_fail(struct ma_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int ma_fail_at(struct ma_error *error, int code, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* -ENOMEM with its message. */
int ma_fail_memory(struct ma_error *error);

#endif
