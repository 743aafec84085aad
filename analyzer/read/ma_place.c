/* SPDX-License-Identifier: MIT
 *
 * Places of modules; see ma_place.h. The texts are untrusted, and a trace may hold
 * many modules and long maps: the bytes of maps that are looked through for one
 * process are bounded. What is found is a name only, which the symboliser holds
 * against the build-id.
 */
#include "ma_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ma_trace.h"

#define DELETED " (deleted)" /* the kernel's word behind the name of an unlinked file */

enum { MAPS_READ_MAX = 8 << 20 }; /* bytes, of one process */

static bool is_component(const char *at, size_t n, const char *name)
{
    return n == strlen(name) && memcmp(at, name, n) == 0;
}

bool ma_place_is_special(const char *path)
{
    /* The root is where a path begins, and where ".." may have led. */
    bool root = path[0] == '/';
    for (const char *at = path; *at;) {
        at += strspn(at, "/");
        const size_t n = strcspn(at, "/");
        const char *rest = at + n + strspn(at + n, "/");
        if (root && (is_component(at, n, "proc") ||
                     (is_component(at, n, "dev") && strncmp(rest, "shm/", 4) != 0)))
            return true;
        if (!is_component(at, n, "."))
            root = is_component(at, n, "..");
        at += n;
    }
    return false;
}

/* "%s/%s" without a "./" in front of the name. */
static char *join(const char *directory, const char *name)
{
    while (name[0] == '.' && name[1] == '/')
        name += 2 + strspn(name + 2, "/");
    const size_t n = strlen(directory);
    char *path = NULL;
    if (asprintf(&path, "%s%s%s", directory, directory[n - 1] == '/' ? "" : "/", name) < 0)
        return NULL;
    return path;
}

static bool ends_deleted(const char *path, size_t n)
{
    const size_t cut = strlen(DELETED);
    return n > cut && memcmp(path + n - cut, DELETED, cut) == 0;
}

/* Where the path begins in a line of maps that maps this segment where the module has it;
 * NULL: it maps another. */
static const char *find_path(const char *line, const struct ma_module *module,
                             const struct ma_segment *segment)
{
    char *at;
    const uint64_t start = module->bias + segment->address;
    const uint64_t from = strtoull(line, &at, 16), to = *at == '-' ? strtoull(at + 1, &at, 16) : 0;
    if (start < from || start >= to || *at != ' ')
        return NULL;
    at += 1 + strcspn(at + 1, " \n"); /* the permissions */
    if (start - segment->offset != from - strtoull(at, &at, 16))
        return NULL;
    at += strcspn(at, "/\n"); /* device and inode */
    return *at == '/' ? at : NULL;
}

static char *find_in_maps(const struct ma_text *maps, const struct ma_module *module)
{
    const char *line = maps->data;
    while (line && *line && module->n_segments) {
        const char *end = strchrnul(line, '\n');
        const char *path = find_path(line, module, &module->segments[0]);
        if (path && path < end) { /* numbers of a damaged line may be taken from the next */
            const size_t n = (size_t)(end - path);
            char *found = strndup(path, ends_deleted(path, n) ? n - strlen(DELETED) : n);
            if (!found || !ma_place_is_special(found))
                return found;
            free(found);
        }
        line = *end ? end + 1 : end;
    }
    return NULL;
}

char *ma_place_find(struct ma_process *process, const struct ma_module *module)
{
    const char *path = module->path;
    const bool special = ma_place_is_special(path);
    if (!path[0] || (path[0] == '/' && !special) || (module->flags & MLF_MODULE_VDSO))
        return NULL;
    const struct ma_process *program = ma_process_program(process);
    const struct ma_text *maps = &program->texts[MLF_TEXT_MAPS];
    char *found = NULL;
    if (process->maps_read < MAPS_READ_MAX) {
        process->maps_read += maps->size;
        found = find_in_maps(maps, module);
    }
    const char *directory = ma_process_text(program, MLF_TEXT_CWD);
    const size_t n = strlen(directory);
    if (found || special || directory[0] != '/' || ends_deleted(directory, n))
        return found;
    found = join(directory, path);
    if (found && ma_place_is_special(found)) {
        free(found);
        found = NULL;
    }
    return found;
}
