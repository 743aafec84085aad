/* SPDX-License-Identifier: MIT
 *
 * lt_limit.c: the least limit of memory, from folders that look like /proc and /sys.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lt_limit.h"
#include "mlf_format.h"
#include "tap.h"

static char root[] = "/tmp/mlog-limit-XXXXXX";

/* Write a file below the root, and the folders on the way to it. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        exit(2);
}

static void check(uint64_t kind, uint64_t bytes, const char *what)
{
    struct lt_limit limit = lt_limit_find(root);
    CHECK(limit.kind == kind && limit.bytes == bytes, "%s: %llu, %llu", what,
          (unsigned long long)limit.kind, (unsigned long long)limit.bytes);
}

int main(void)
{
    char command[64];
    if (!mkdtemp(root))
        return 2;
    check(0, 0, "nothing is known without /proc");
    put("/proc/meminfo", "MemTotal:        8124980 kB\nMemFree: 1 kB\n");
    check(MLF_LIMIT_MACHINE, 8124980ull << 10, "the machine's memory");
    put("/proc/self/cgroup", "0::/a/b\n");
    check(MLF_LIMIT_MACHINE, 8124980ull << 10, "a group without a file is no limit");
    put("/sys/fs/cgroup/a/b/memory.max", "max\n");
    check(MLF_LIMIT_MACHINE, 8124980ull << 10, "nor one that says max");
    put("/sys/fs/cgroup/a/memory.max", "104857600\n");
    check(MLF_LIMIT_GROUP, 104857600, "the limit of the group around it");
    put("/sys/fs/cgroup/a/b/memory.max", "52428800\n");
    check(MLF_LIMIT_GROUP, 52428800, "the least of both");
    put("/sys/fs/cgroup/memory.max", "41943040\n");
    check(MLF_LIMIT_GROUP, 41943040, "and of the root, as a container sees it");
    put("/proc/self/cgroup", "12:cpu,cpuacct:/x\n4:hugetlb,memory:/in/side\n1:name=systemd:/y\n"
                             "0::/\n");
    put("/sys/fs/cgroup/memory/in/side/memory.limit_in_bytes", "9223372036854771712\n");
    check(MLF_LIMIT_GROUP, 41943040, "version 1's word for no limit");
    put("/sys/fs/cgroup/memory/in/memory.limit_in_bytes", "31457280\n");
    check(MLF_LIMIT_GROUP, 31457280, "version 1 beside version 2");
    put("/proc/self/cgroup", "4:cpumemory:/in\n3:\nnonsense\n:::\n0:memoryx:/in\n");
    check(MLF_LIMIT_MACHINE, 8124980ull << 10, "other lines are passed over");
    char lines[3000] = "0::/";
    memset(lines + 4, 'x', sizeof lines - 6);
    lines[sizeof lines - 2] = '\n';
    put("/proc/self/cgroup", lines);
    check(MLF_LIMIT_MACHINE, 8124980ull << 10, "a name that is too long");
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command) ? 2 : TAP_DONE();
}
