/* SPDX-License-Identifier: MIT
 *
 * The environment of libmlog-tlsf.so; see al_settings.h.
 */
#include "al_settings.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "mlog_tlsf.h"

#define DEFAULT_SIZE ((size_t)100 << 20)

void al_text_add(struct al_text *text, const char *more)
{
    while (*more && text->size < sizeof text->bytes - 1)
        text->bytes[text->size++] = *more++;
}

void al_text_add_size(struct al_text *text, size_t bytes)
{
    static const char *const units[] = {" bytes", "K", "M", "G"};
    char digits[24], *at = digits + sizeof digits - 1;
    size_t number = bytes;
    unsigned unit = 0;
    while (number && number % 1024 == 0 && unit < 3) {
        number /= 1024;
        unit++;
    }
    *at = 0;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    al_text_add(text, at);
    al_text_add(text, units[unit]);
}

void al_text_say(struct al_text *text)
{
    text->bytes[text->size++] = '\n';
    ssize_t written = write(STDERR_FILENO, text->bytes, text->size);
    (void)written; /* nobody is there to be told */
}

static int power_of(char suffix)
{
    switch (suffix | 32) {
    case 'k': return 10;
    case 'm': return 20;
    case 'g': return 30;
    default: return 0;
    }
}

bool al_size_parse(const char *text, size_t *size)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const int most = (int)sizeof(size_t) * 8 - 1;
    uint64_t number = 0;
    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (number > MLOG_TLSF_MAX)
            return false;
        number = number * 10 + (uint64_t)(*text - '0');
    }
    const int power = *text ? power_of(*text) : 0;
    if (power) {
        text++;
        if (text[0] == 'i' && text[1] == 'B')
            text++;
        if (text[0] == 'B')
            text++;
    }
    if (*text || !number || power >= most || number > MLOG_TLSF_MAX >> power)
        return false;
    number <<= power;
    number = (number + page - 1) & ~(uint64_t)(page - 1);
    if (number > MLOG_TLSF_MAX)
        return false;
    *size = (size_t)number;
    return true;
}

/* The value of a variable in the block of the environment that the kernel keeps: for
 * calls that come before libc has looked. Cut at `size`. */
static bool kernel_value(const char *name, char *value, size_t size)
{
    const int fd = open("/proc/self/environ", O_RDONLY | O_CLOEXEC);
    const size_t length = strlen(name);
    char bytes[512];
    size_t matched = 0, n = 0;
    bool found = false, over = false; /* in its value; no longer its name */
    for (ssize_t got; fd >= 0 && (got = read(fd, bytes, sizeof bytes)) > 0;) {
        for (ssize_t i = 0; i < got; i++) {
            const char byte = bytes[i];
            if (found) {
                value[n] = byte;
                if (!byte || n + 1 == size) {
                    value[n] = 0;
                    close(fd);
                    return true;
                }
                n++;
            } else if (!byte) {
                matched = 0;
                over = false;
            } else if (!over && matched == length && byte == '=') {
                found = true;
            } else if (!over && matched < length && byte == name[matched]) {
                matched++;
            } else {
                over = true;
            }
        }
    }
    if (fd >= 0)
        close(fd);
    return false;
}

static bool value_of(const char *name, char *value, size_t size)
{
    const size_t length = strlen(name);
    if (!environ)
        return kernel_value(name, value, size);
    for (char **entry = environ; *entry; entry++) {
        if (strncmp(*entry, name, length) || (*entry)[length] != '=')
            continue;
        const size_t n = strnlen(*entry + length + 1, size - 1);
        memcpy(value, *entry + length + 1, n);
        value[n] = 0;
        return true;
    }
    return false;
}

static void refuse(const char *name, const char *value, const char *expected, const char *instead)
{
    struct al_text text = {.size = 0};
    al_text_add(&text, "mlog-tlsf: ");
    al_text_add(&text, name);
    al_text_add(&text, " is \"");
    al_text_add(&text, value);
    al_text_add(&text, "\": expected ");
    al_text_add(&text, expected);
    al_text_add(&text, "; using ");
    al_text_add(&text, instead);
    al_text_say(&text);
}

static void read_size(const char *name, size_t *size)
{
    char value[64];
    if (value_of(name, value, sizeof value) && !al_size_parse(value, size))
        refuse(name, value, "bytes, or a number with K, M or G, as in 100M", "100M");
}

static void read_switch(const char *name, bool *is_on)
{
    char value[64];
    if (!value_of(name, value, sizeof value) || !value[0])
        return;
    if (!value[1] && (value[0] == '0' || value[0] == '1'))
        *is_on = value[0] == '1';
    else
        refuse(name, value, "1 or 0", "0");
}

void al_settings_read(struct al_settings *settings)
{
    char value[64];
    *settings = (struct al_settings){.initial = DEFAULT_SIZE, .additional = DEFAULT_SIZE};
    read_size("INITIAL_MEMPOOL_SIZE", &settings->initial);
    read_size("ADDITIONAL_MEMPOOL_SIZE", &settings->additional);
    read_switch("MLOG_TLSF_PREFAULT", &settings->prefault);
    read_switch("MLOG_TLSF_LOCK", &settings->lock);
    read_switch("MLOG_TLSF_QUIET", &settings->quiet);
    if (!value_of("MLOG_TLSF_POOLS", value, sizeof value) || !value[0] || !strcmp(value, "one"))
        return;
    if (strcmp(value, "thread"))
        refuse("MLOG_TLSF_POOLS", value, "one or thread", "one");
    else if (MLOG_TLSF_TAGS == 1)
        refuse("MLOG_TLSF_POOLS", value, "one, on a processor of 32 bits", "one");
    else
        settings->per_thread = true;
}
