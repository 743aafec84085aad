/* SPDX-License-Identifier: MIT
 *
 * File systems; see lt_filesystem.h. A list of those that are safe, since an
 * unknown one costs a little time if it is written to, and the program's life if
 * it is mapped: where fallocate is no promise (copy on write), or pages come by way
 * of a server or another process, a store fails by SIGBUS.
 *
 * An overlay is as safe as the file system beneath, which its users cannot name (in a
 * container the folder's path leads nowhere). But its statfs is that one's but for
 * the type, and often something else of the same file system is mounted in the
 * container (/etc/hosts, a volume): a safe one that counts the same blocks and inodes
 * is that one. btrfs counts no inodes.
 */
#include "lt_filesystem.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/vfs.h>

#include "lt_sys.h"

#define OVERLAYFS 0x794c7630u

static const struct {
    const char *name; /* as mountinfo has it */
    uint32_t type;
} safe[] = {
    {"ext4", 0xef53},      {"ext3", 0xef53},      {"ext2", 0xef53},     {"xfs", 0x58465342},
    {"tmpfs", 0x01021994}, {"ramfs", 0x858458f6}, {"f2fs", 0xf2f52010},
};

static bool is_safe_type(uint32_t type)
{
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
        if (safe[i].type == type)
            return true;
    return false;
}

static bool is_safe_name(const char *name)
{
    for (size_t i = 0; i < sizeof safe / sizeof *safe; i++) {
        size_t length = strlen(safe[i].name);
        if (!strncmp(name, safe[i].name, length) && name[length] == ' ')
            return true;
    }
    return false;
}

/* True if the mount point is of a safe file system that is as large as `overlay`. */
static bool is_beneath(const char *mount_point, const struct statfs *overlay)
{
    struct statfs fs;
    int fd = lt_open(mount_point, O_PATH, 0);
    if (fd < 0)
        return false;
    bool same = lt_fstatfs(fd, &fs, sizeof fs) == 0 && is_safe_type((uint32_t)fs.f_type) &&
                fs.f_blocks == overlay->f_blocks && fs.f_files == overlay->f_files &&
                fs.f_bsize == overlay->f_bsize;
    lt_close(fd);
    return same;
}

/* Look among the mounts of safe types only: to ask another may hang on a dead server. */
static bool overlay_is_safe(const struct statfs *overlay)
{
    size_t size, capacity;
    char *text = lt_read_file("/proc/self/mountinfo", &size, &capacity);
    bool found = false;
    for (char *line = text; line && *line && !found;) {
        char *end = strchr(line, '\n'), *next = end ? end + 1 : line + strlen(line);
        if (end)
            *end = 0;
        const char *type = strstr(line, " - ");
        char *point = line; /* the fifth field; blanks in names are written \040 */
        for (int i = 0; i < 4 && point; i++)
            point = (point = strchr(point, ' ')) ? point + 1 : NULL;
        char *after = point ? strchr(point, ' ') : NULL;
        if (type && after && is_safe_name(type + 3)) {
            *after = 0;
            found = is_beneath(point, overlay);
        }
        line = next;
    }
    lt_memory_free(text, capacity);
    return found;
}

bool lt_filesystem_may_map(int fd)
{
    struct statfs fs;
    if (lt_fstatfs(fd, &fs, sizeof fs))
        return false;
    if ((uint32_t)fs.f_type == OVERLAYFS)
        return fs.f_files && overlay_is_safe(&fs);
    return is_safe_type((uint32_t)fs.f_type);
}
