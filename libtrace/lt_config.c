/* SPDX-License-Identifier: MIT
 *
 * The environment; see lt_config.h. A value that cannot be understood is said
 * in one line where MLOG_DEBUG is set, and otherwise left at its default.
 */
#include "lt_config.h"

#include <string.h>
#include <unistd.h>

#include "lt_sys.h"

#define ZSTD_LEVEL 3 /* zstd's own default */
#define ZSTD_LEVEL_MAX 19

struct lt_config lt_config;

/* The first complaint; said when all is read and MLOG_DEBUG is known. */
static const char *complaint, *complaint_value;

static void complain(const char *text, const char *value)
{
    if (!complaint) {
        complaint = text;
        complaint_value = value;
    }
}

static void set_out(const char *value, int pid)
{
    size_t at = 0, room = sizeof lt_config.out;
    for (; *value; value++) {
        char piece[LT_DIGITS_MAX];
        size_t n = 1;
        if (value[0] == '%' && value[1] == 'p') {
            n = (size_t)(lt_put_decimal(piece, (uint64_t)pid) - piece);
            lt_config.out_per_process = true;
            value++;
        } else {
            if (value[0] == '%' && value[1] == '%')
                value++;
            piece[0] = *value;
        }
        if (at + n >= room) {
            complain("MLOG_OUT is too long, ignored", NULL);
            at = 0;
            break;
        }
        memcpy(lt_config.out + at, piece, n);
        at += n;
    }
    lt_config.out[at] = 0;
}

/* One of two words, the first being the default: true for the second. */
static bool second_of(const char *value, const char *first, const char *second,
                      const char *otherwise)
{
    if (*value && strcmp(value, first) && strcmp(value, second))
        complain(otherwise, value);
    return !strcmp(value, second);
}

static int zstd_level(const char *value)
{
    int level = ZSTD_LEVEL;
    if (!*value || !strcmp(value, "none"))
        return 0;
    if (!strncmp(value, "zstd:", 5) && value[5]) {
        level = 0;
        for (const char *p = value + 5; *p && level <= ZSTD_LEVEL_MAX; p++)
            level = *p >= '0' && *p <= '9' ? level * 10 + (*p - '0') : ZSTD_LEVEL_MAX + 1;
    } else if (strcmp(value, "zstd")) {
        level = 0;
    }
    if (level < 1 || level > ZSTD_LEVEL_MAX) {
        complain("MLOG_COMPRESS is \"zstd\", \"zstd:1\" to \"zstd:19\" or \"none\", not", value);
        return 0;
    }
    return level;
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
    else if (length == 6 && !memcmp(name, "UNWIND", 6))
        lt_config.unwind = second_of(value, "cfi", "fp", "MLOG_UNWIND is \"cfi\" or \"fp\", not")
                               ? LT_UNWIND_FP
                               : LT_UNWIND_CFI;
    else if (length == 7 && !memcmp(name, "ON_FULL", 7))
        lt_config.drop =
            second_of(value, "block", "drop", "MLOG_ON_FULL is \"block\" or \"drop\", not");
    else if (length == 4 && !memcmp(name, "FILE", 4))
        lt_config.write_file =
            second_of(value, "map", "write", "MLOG_FILE is \"map\" or \"write\", not");
    else if (length == 8 && !memcmp(name, "COMPRESS", 8))
        lt_config.zstd_level = zstd_level(value);
}

void lt_config_read(int pid)
{
    memset(&lt_config, 0, sizeof lt_config);
    size_t size = 0, capacity = 0;
    char *text = NULL;
    complaint = NULL;
    if (environ) {
        for (char **entry = environ; *entry; entry++)
            set(*entry, pid);
    } else {
        text = lt_read_file("/proc/self/environ", &size, &capacity);
        for (const char *entry = text; entry && entry < text + size; entry += strlen(entry) + 1)
            set(entry, pid);
    }
    if (complaint && lt_config.debug)
        lt_say(complaint, complaint_value, 0);
    lt_memory_free(text, capacity);
}
