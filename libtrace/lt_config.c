/* SPDX-License-Identifier: MIT
 *
 * The environment; see lt_config.h. A value that cannot be understood is said
 * in one line where MLOG_DEBUG is set, and otherwise left at its default.
 */
#include "lt_config.h"

#include <string.h>
#include <unistd.h>

#include "lt_sys.h"

struct lt_config lt_config;

static void set_out(const char *value, int pid)
{
    size_t at = 0, room = sizeof lt_config.out;
    for (; *value; value++) {
        char digits[12];
        size_t n = 0;
        if (value[0] == '%' && value[1] == 'p') {
            for (int v = pid; v; v /= 10)
                digits[n++] = (char)('0' + v % 10);
            lt_config.out_per_process = true;
            value++;
        } else {
            if (value[0] == '%' && value[1] == '%')
                value++;
            digits[n++] = *value;
        }
        if (at + n >= room) {
            lt_say("MLOG_OUT is too long, ignored", NULL, 0);
            at = 0;
            break;
        }
        while (n)
            lt_config.out[at++] = digits[--n];
    }
    lt_config.out[at] = 0;
}

static void set(const char *entry, int pid)
{
    static const char prefix[] = "MLOG_";
    if (strncmp(entry, prefix, sizeof prefix - 1))
        return;
    const char *name = entry + sizeof prefix - 1, *value = strchr(name, '=');
    if (!value)
        return;
    size_t length = (size_t)(value++ - name);
    if (length == 3 && !memcmp(name, "OUT", 3))
        set_out(value, pid);
    else if (length == 5 && !memcmp(name, "DEBUG", 5))
        lt_config.debug = *value && strcmp(value, "0");
    else if (length == 6 && !memcmp(name, "UNWIND", 6)) {
        lt_config.unwind = strcmp(value, "fp") ? LT_UNWIND_CFI : LT_UNWIND_FP;
        if (lt_config.unwind == LT_UNWIND_CFI && *value && strcmp(value, "cfi"))
            lt_say("MLOG_UNWIND is \"cfi\" or \"fp\", not", value, 0);
    }
}

void lt_config_read(int pid)
{
    memset(&lt_config, 0, sizeof lt_config);
    if (environ) {
        for (char **entry = environ; *entry; entry++)
            set(*entry, pid);
        return;
    }
    size_t size, capacity;
    char *text = lt_read_file("/proc/self/environ", &size, &capacity);
    for (const char *entry = text; entry && entry < text + size; entry += strlen(entry) + 1)
        set(entry, pid);
    lt_memory_free(text, capacity);
}
