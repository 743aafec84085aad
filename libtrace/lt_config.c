/* SPDX-License-Identifier: MIT
 *
 * The environment; see lt_config.h. A value that cannot be understood is said
 * in one line where MLOG_DEBUG is set, and otherwise left at its default.
 */
#include "lt_config.h"

#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "lt_sys.h"

#define ZSTD_LEVEL 3 /* zstd's own default */
#define ZSTD_LEVEL_MAX 19
#define LT_PIECE_MAX sizeof(struct utsname) /* longer than any part of a name */

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

static void set_out(const char *value)
{
    size_t size = strlen(value) + 1;
    if (size > sizeof lt_config.out) {
        complain("MLOG_OUT is too long, ignored", NULL);
        return;
    }
    memcpy(lt_config.out, value, size);
    for (; *value; value++) {
        if (value[0] != '%' || !value[1])
            continue;
        value++;
        lt_config.out_per_process |= *value == 'p' || *value == 'c';
        lt_config.out_numbered |= *value == 'n';
    }
}

/* What stands for a character behind '%'; NULL: itself. Parts of a file's name: a
 * slash in them becomes '_'. */
static const char *piece_of(char of, char *piece, unsigned number)
{
    struct utsname host;
    struct timespec now = {0};
    char name[16] = "";
    switch (of) {
    case 'p': *lt_put_decimal(piece, (uint64_t)lt_getpid()) = 0; return piece;
    case 'n': *lt_put_decimal(piece, number) = 0; return piece;
    case 't':
        lt_syscall2(SYS_clock_gettime, CLOCK_REALTIME, &now);
        *lt_put_decimal(piece, (uint64_t)now.tv_sec) = 0;
        return piece;
    case 'h': strcpy(piece, lt_syscall1(SYS_uname, &host) ? "" : host.nodename); break;
    case 'c':
        lt_syscall2(SYS_prctl, PR_GET_NAME, name);
        strcpy(piece, name);
        break;
    case '%': return "%";
    default: return NULL;
    }
    for (char *p = piece; *p; p++)
        if (*p == '/')
            *p = '_';
    return piece;
}

bool lt_config_out_name(char *to, size_t size, unsigned number, unsigned suffix)
{
    char piece[LT_PIECE_MAX];
    size_t at = 0;
    for (const char *p = lt_config.out; *p; p++) {
        char itself[2] = {*p, 0};
        const char *text = *p == '%' ? piece_of(p[1], piece, number) : NULL;
        if (text)
            p++;
        else
            text = itself;
        size_t length = strlen(text);
        if (length >= size - at)
            return false;
        memcpy(to + at, text, length);
        at += length;
    }
    if (suffix) {
        if (size - at < LT_DIGITS_MAX + 2)
            return false;
        to[at++] = '.';
        at = (size_t)(lt_put_decimal(to + at, suffix) - to);
    }
    to[at] = 0;
    return true;
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

/* The frames of MLOG_DEPTH; 0, and so no cap but our own, if that is no number. */
static uint32_t depth_of(const char *value)
{
    uint32_t depth = 0;
    for (const char *p = value; *p; p++)
        depth = *p >= '0' && *p <= '9' && depth <= LT_UNWIND_DEPTH
                    ? depth * 10 + (uint32_t)(*p - '0')
                    : LT_UNWIND_DEPTH + 1;
    if (*value && (depth < 1 || depth > LT_UNWIND_DEPTH)) {
        complain("MLOG_DEPTH is a number of frames, 1 to 16384, not", value);
        return 0;
    }
    return depth;
}

static void set(const char *entry)
{
    static const char prefix[] = "MLOG_";
    if (strncmp(entry, prefix, sizeof prefix - 1))
        return;
    const char *name = entry + sizeof prefix - 1, *value = strchr(name, '=');
    if (!value)
        return;
    size_t length = (size_t)(value++ - name);
    if (length == 3 && !memcmp(name, "OUT", 3))
        set_out(value);
    else if (length == 5 && !memcmp(name, "DEBUG", 5))
        lt_config.debug = *value && strcmp(value, "0");
    else if (length == 6 && !memcmp(name, "TOTALS", 6))
        lt_config.totals = *value && strcmp(value, "0");
    else if (length == 11 && !memcmp(name, "FREE_STACKS", 11))
        lt_config.free_stacks = *value && strcmp(value, "0");
    else if (length == 6 && !memcmp(name, "UNWIND", 6))
        lt_config.unwind = second_of(value, "cfi", "fp", "MLOG_UNWIND is \"cfi\" or \"fp\", not")
                               ? LT_UNWIND_FP
                               : LT_UNWIND_CFI;
    else if (length == 5 && !memcmp(name, "DEPTH", 5))
        lt_config.depth = depth_of(value);
    else if (length == 7 && !memcmp(name, "ON_FULL", 7))
        lt_config.drop =
            second_of(value, "block", "drop", "MLOG_ON_FULL is \"block\" or \"drop\", not");
    else if (length == 4 && !memcmp(name, "FILE", 4))
        lt_config.write_file =
            second_of(value, "map", "write", "MLOG_FILE is \"map\" or \"write\", not");
    else if (length == 8 && !memcmp(name, "DEEPBIND", 8))
        lt_config.drop_deepbind =
            second_of(value, "keep", "drop", "MLOG_DEEPBIND is \"keep\" or \"drop\", not");
    else if (length == 5 && !memcmp(name, "START", 5))
        lt_config.start_paused = second_of(value, "recording", "paused",
                                           "MLOG_START is \"recording\" or \"paused\", not");
    else if (length == 8 && !memcmp(name, "COMPRESS", 8))
        lt_config.zstd_level = zstd_level(value);
}

/* Returns memory that the entries lie in, for lt_memory_free, or NULL. */
static char *each_entry(void (*take)(const char *entry), size_t *capacity)
{
    size_t size = 0;
    char *text = NULL;
    *capacity = 0;
    if (environ) {
        for (char **entry = environ; *entry; entry++)
            take(*entry);
    } else {
        text = lt_read_file("/proc/self/environ", &size, capacity);
        for (const char *entry = text; entry && entry < text + size; entry += strlen(entry) + 1)
            take(entry);
    }
    return text;
}

void lt_config_read(void)
{
    size_t capacity;
    memset(&lt_config, 0, sizeof lt_config);
    complaint = NULL;
    char *text = each_entry(set, &capacity);
    if (complaint && lt_config.debug)
        lt_say(complaint, complaint_value, 0);
    lt_memory_free(text, capacity);
}

static int stats;

static void set_stats(const char *entry)
{
    static const char name[] = "MLOG_STATS=";
    if (!strncmp(entry, name, sizeof name - 1) && entry[sizeof name - 1])
        stats = strcmp(entry + sizeof name - 1, "0") != 0;
}

int lt_config_stats(void)
{
    size_t capacity;
    stats = -1;
    char *text = each_entry(set_stats, &capacity);
    lt_memory_free(text, capacity);
    return stats;
}
