/* SPDX-License-Identifier: MIT
 *
 * Formatting of errors; see ma_error.h.
 */
#include "ma_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *ma_command = "mlog-analyze";

void ma_command_set(const char *argv0)
{
    const char *slash = argv0 ? strrchr(argv0, '/') : NULL;
    const char *base = slash ? slash + 1 : argv0;
    if (base && base[0])
        ma_command = base;
}

static void set(struct ma_error *error, const char *format, va_list arguments)
{
    if (error && !error->message[0])
        vsnprintf(error->message, sizeof error->message, format, arguments);
}

int ma_fail(struct ma_error *error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set(error, format, arguments);
    va_end(arguments);
    return code;
}

int ma_fail_at(struct ma_error *error, int code, uint64_t offset, const char *format, ...)
{
    va_list arguments;
    if (error && !error->message[0]) {
        error->offset = offset;
        error->has_offset = true;
    }
    va_start(arguments, format);
    set(error, format, arguments);
    va_end(arguments);
    return code;
}

int ma_fail_memory(struct ma_error *error)
{
    return ma_fail(error, -ENOMEM, "memory ran out");
}
