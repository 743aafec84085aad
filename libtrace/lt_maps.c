/* SPDX-License-Identifier: MIT
 *
 * The parser; see lt_maps.h. It goes byte by byte through pieces of the file, whose
 * lines are in the order of addresses, and stops behind the one sought.
 */
#include "lt_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lt_sys.h"

struct line {
    uintptr_t bounds[2];
    int field; /* 0 start, 1 end, 2 the rest */
    char *path;
    size_t length, room;
};

static void put_in_path(struct line *line, char ch)
{
    if (line->length + 1 >= line->room || (!line->length && ch != '/'))
        return;
    line->path[line->length++] = ch;
    char *last = line->path + line->length - 4;
    if (line->length >= 4 && !memcmp(last, "\\012", 4)) { /* as the kernel has it */
        *last = '\n';
        line->length -= 3;
    }
}

/* True at the end of what is to be read of the line that reaches beyond `inside`. */
static bool take_byte(struct line *line, char ch, uintptr_t inside)
{
    bool sought = line->field == 2 && line->bounds[1] > inside;
    if (ch == '\n') {
        if (sought)
            return true;
        line->bounds[0] = line->bounds[1] = 0;
        line->field = 0;
    } else if (line->field < 2 && (ch == '-' || ch == ' ')) {
        line->field++;
        return line->field == 2 && line->bounds[1] > inside && !line->path;
    } else if (line->field < 2) {
        uintptr_t *bound = &line->bounds[line->field];
        *bound = *bound << 4 | (uintptr_t)(ch <= '9' ? ch - '0' : ch - 'a' + 10);
    } else if (sought) {
        put_in_path(line, ch);
    }
    return false;
}

bool lt_maps_each(void (*visit)(const struct lt_mapping *, const char *path, void *data),
                  void *data, struct lt_maps_buffer *buffer)
{
    struct line line = {.path = buffer->path, .room = sizeof buffer->path};
    long n;
    int fd = lt_open("/proc/self/maps", O_RDONLY, 0);
    if (fd < 0)
        return false;
    while ((n = lt_syscall3(SYS_read, fd, buffer->text, sizeof buffer->text)) > 0 || n == -EINTR)
        for (long i = 0; i < n; i++) {
            if (!take_byte(&line, buffer->text[i], 0))
                continue;
            struct lt_mapping mapping = {line.bounds[0], line.bounds[1]};
            line.path[line.length] = 0;
            visit(&mapping, line.path, data);
            line = (struct line){.path = buffer->path, .room = sizeof buffer->path};
        }
    lt_close(fd);
    return true;
}

bool lt_maps_find(uintptr_t inside, struct lt_mapping *found, char *path, size_t room)
{
    struct line line = {.path = path, .room = room};
    char text[128];
    long n;
    bool done = false;
    int fd = lt_open("/proc/self/maps", O_RDONLY, 0);
    if (fd < 0)
        return false;
    while (!done && ((n = lt_syscall3(SYS_read, fd, text, sizeof text)) > 0 || n == -EINTR))
        for (long i = 0; i < n && !done; i++)
            done = take_byte(&line, text[i], inside);
    lt_close(fd);
    if (!done || line.bounds[0] > inside)
        return false;
    if (path)
        path[line.length] = 0;
    *found = (struct lt_mapping){line.bounds[0], line.bounds[1]};
    return true;
}
