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

/* Room for the names of all frames there are. */
static int widen(struct ma_paths *paths)
{
    const struct ma_stacks *stacks = &paths->analysis->stacks;
    if (stacks->n_told > paths->n_frames) {
        size_t n = stacks->n_told + stacks->n_told / 2;
        uint32_t *of_frame = realloc(paths->of_frame, n * sizeof *of_frame);
        if (!of_frame)
            return -ENOMEM;
        memset(of_frame + paths->n_frames, 0xff, (n - paths->n_frames) * sizeof *of_frame);
        paths->of_frame = of_frame;
        paths->n_frames = n;
    }
    return 0;
}

/* Names for nodes that are new: numbered as they are met, innermost first. */
static int name_nodes(struct ma_paths *paths, size_t from)
{
    int result = widen(paths);
    for (size_t i = paths->trie.n; i-- > from && result == 0;) {
        const uint32_t frame = paths->trie.nodes[i].frame;
        char buffer[256];
        if (paths->of_frame[frame] != MA_NONE)
            continue;
        const struct ma_frame *told = ma_stacks_told(&paths->analysis->stacks, frame);
        result = number_of(paths, ma_frame_name(told, buffer, sizeof buffer),
                           &paths->of_frame[frame]);
    }
    return result;
}

int ma_paths_read(struct ma_paths *paths, struct ma_analysis *analysis)
{
    *paths = (struct ma_paths){ .analysis = analysis };
    paths->innermost = malloc((analysis->n_rows + 1) * sizeof *paths->innermost);
    int result = paths->innermost ? 0 : -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        const size_t n = paths->trie.n;
        result = ma_stacks_trie_add(&analysis->stacks, &paths->trie, analysis->rows[i].stack,
                                    &paths->innermost[i]);
        if (result == 0)
            result = name_nodes(paths, n);
    }
    return result;
}

void ma_paths_release(struct ma_paths *paths)
{
    tdestroy(paths->tree, free);
    free(paths->names);
    free(paths->of_frame);
    free(paths->innermost);
    ma_trie_free(&paths->trie);
}
