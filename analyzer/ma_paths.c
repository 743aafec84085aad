/* SPDX-License-Identifier: MIT
 *
 * Paths of names; see ma_paths.h.
 */
#include "ma_paths.h"

#include <errno.h>
#include <search.h>
#include <string.h>

struct name {
    uint32_t number;
    char text[];
};

static int compare(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    return strcmp(x->text, y->text);
}

static int number_of(struct ma_paths *paths, const char *text, uint32_t *number)
{
    size_t length = strlen(text) + 1;
    struct name *name = malloc(sizeof *name + length);
    if (!name)
        return -ENOMEM;
    memcpy(name->text, text, length);
    struct name **found = tsearch(name, &paths->tree, compare);
    if (!found) {
        free(name);
        return -ENOMEM;
    }
    if (*found != name) {
        *number = (*found)->number;
        free(name);
        return 0;
    }
    if (!MA_RESERVE(paths->names, paths->n_names, paths->name_capacity))
        return -ENOMEM; /* the name is the tree's now */
    name->number = *number = (uint32_t)paths->n_names;
    paths->names[paths->n_names++] = name->text;
    return 0;
}

int ma_paths_read(struct ma_paths *paths, struct ma_analysis *analysis)
{
    *paths = (struct ma_paths){ .analysis = analysis };
    paths->starts = calloc(analysis->n_rows + 1, sizeof *paths->starts);
    if (!paths->starts)
        return -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows; i++) {
        const struct ma_frame *frames;
        long n = ma_stacks_frames(&analysis->stacks, analysis->rows[i].stack, &frames);
        if (n < 0)
            return -ENOMEM;
        for (long k = 0; k < n; k++) {
            char buffer[256];
            uint32_t number = 0;
            if (number_of(paths, ma_frame_name(&frames[k], buffer, sizeof buffer), &number) < 0 ||
                !MA_RESERVE(paths->frames, paths->n_frames, paths->frame_capacity))
                return -ENOMEM;
            paths->frames[paths->n_frames++] = number;
        }
        paths->starts[i + 1] = paths->n_frames;
    }
    return 0;
}

void ma_paths_release(struct ma_paths *paths)
{
    tdestroy(paths->tree, free);
    free(paths->names);
    free(paths->frames);
    free(paths->starts);
}
