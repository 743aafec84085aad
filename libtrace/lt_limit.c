/* SPDX-License-Identifier: MIT
 *
 * Limits of memory; see lt_limit.h. /proc/self/cgroup has a line for each hierarchy,
 * "number:controllers:path"; version 2's has the number 0 and no controllers. A group's
 * limit also holds for those inside it, so each folder up to the root is looked at. Static
 * buffers, because an event may find this due on a small stack.
 */
#include "lt_limit.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "lt_sys.h"
#include "mlf_format.h"

#define NONE UINT64_MAX
#define UNLIMITED ((uint64_t)1 << 62) /* version 1's word for none is near 2^63 */
#define DEEPEST 32                    /* folders that are looked at */

static char groups[4096], path[1024], line[64];

/* Append to the path; false where it does not fit. */
static bool append(size_t *used, const char *text, size_t n)
{
    if (n >= sizeof path - *used)
        return false;
    memcpy(path + *used, text, n);
    path[ *used += n] = 0;
    return true;
}

/* The beginning of the file at `path`, as text. */
static bool read_text(char *to, size_t size)
{
    int fd = lt_open(path, O_RDONLY, 0);
    long n = -1;
    if (fd >= 0) {
        n = lt_syscall3(SYS_read, fd, to, (long)size - 1);
        lt_close(fd);
    }
    to[n > 0 ? n : 0] = 0;
    return n > 0;
}

static uint64_t read_limit(void)
{
    const char *at = line;
    if (!read_text(line, sizeof line) || line[0] < '0' || line[0] > '9')
        return NONE; /* "max", or no such file */
    uint64_t limit = lt_get_decimal(&at);
    return limit < UNLIMITED ? limit : NONE;
}

/* The least limit of a group and those around it. */
static uint64_t limit_of(const char *root, const char *mount, const char *group, size_t n,
                         const char *file)
{
    uint64_t least = NONE;
    for (int i = 0; i < DEEPEST; i++) {
        size_t used = 0;
        if (!append(&used, root, strlen(root)) || !append(&used, mount, strlen(mount)) ||
            !append(&used, group, n) || !append(&used, file, strlen(file)))
            return least;
        uint64_t limit = read_limit();
        least = limit < least ? limit : least;
        if (n <= 1)
            return least;
        while (n && group[n - 1] != '/')
            n--;
        n -= n > 0; /* of "/a" there is "" */
    }
    return least;
}

/* True if a comma-separated list has the word "memory". */
static bool has_memory(const char *list, size_t n)
{
    const size_t word = sizeof "memory" - 1;
    for (size_t at = 0; at + word <= n; at++)
        if ((at == 0 || list[at - 1] == ',') && memcmp(list + at, "memory", word) == 0 &&
            (at + word == n || list[at + word] == ','))
            return true;
    return false;
}

static uint64_t group_limit(const char *root)
{
    uint64_t least = NONE;
    size_t used = 0;
    if (!append(&used, root, strlen(root)) ||
        !append(&used, "/proc/self/cgroup", sizeof "/proc/self/cgroup" - 1) ||
        !read_text(groups, sizeof groups))
        return NONE;
    for (const char *at = groups, *end; (end = strchr(at, '\n')); at = end + 1) {
        const char *list = memchr(at, ':', (size_t)(end - at));
        const char *group = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
        if (!group++)
            continue;
        const size_t n = (size_t)(end - group), words = (size_t)(group - 1 - (list + 1));
        uint64_t limit = NONE;
        if (!words)
            limit = limit_of(root, "/sys/fs/cgroup", group, n, "/memory.max");
        else if (has_memory(list + 1, words))
            limit = limit_of(root, "/sys/fs/cgroup/memory", group, n, "/memory.limit_in_bytes");
        least = limit < least ? limit : least;
    }
    return least;
}

/* "MemTotal:        8124980 kB" is the first line. */
static uint64_t machine_memory(const char *root)
{
    size_t used = 0;
    if (!append(&used, root, strlen(root)) ||
        !append(&used, "/proc/meminfo", sizeof "/proc/meminfo" - 1) ||
        !read_text(line, sizeof line) || memcmp(line, "MemTotal:", 9) != 0)
        return NONE;
    const char *at = line + 9;
    while (*at == ' ')
        at++;
    uint64_t kilobytes = lt_get_decimal(&at);
    return kilobytes ? kilobytes << 10 : NONE;
}

struct lt_limit lt_limit_find(const char *root)
{
    const uint64_t group = group_limit(root), machine = machine_memory(root);
    if (group < machine)
        return (struct lt_limit){MLF_LIMIT_GROUP, group};
    if (machine != NONE)
        return (struct lt_limit){MLF_LIMIT_MACHINE, machine};
    return (struct lt_limit){0, 0};
}
