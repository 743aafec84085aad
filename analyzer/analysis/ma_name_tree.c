/* SPDX-License-Identifier: MIT
 *
 * Paths of names; see ma_name_tree.h.
 */
#include "ma_name_tree.h"

#include <errno.h>
#include <search.h>
#include <string.h>

struct name {
    uint32_t number;
    char text[];
};

static int compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    return strcmp(x->text, y->text);
}

static int number_of(struct ma_name_tree *name_tree, const char *text, uint32_t *number)
{
    size_t length = strlen(text) + 1;
    struct name *name = malloc(sizeof *name + length);
    if (!name)
        return -ENOMEM;
    memcpy(name->text, text, length);
    struct name **found = tsearch(name, &name_tree->tree, compare_names);
    if (!found) {
        free(name);
        return -ENOMEM;
    }
    if (*found != name) {
        *number = (*found)->number;
        free(name);
        return 0;
    }
    if (!MA_RESERVE(name_tree->names, name_tree->n_names, name_tree->name_capacity))
        return -ENOMEM; /* the name is the tree's now */
    name->number = *number = (uint32_t)name_tree->n_names;
    name_tree->names[name_tree->n_names++] = name->text;
    return 0;
}

/* Names for nodes that are new: numbered as they are met, innermost first. */
static int name_nodes(struct ma_name_tree *name_tree, size_t from)
{
    int result = 0;
    for (size_t i = name_tree->trie.n; i-- > from && result == 0;) {
        const uint32_t frame = name_tree->trie.nodes[i].frame;
        char buffer[256];
        if (!MA_HOLDS_NUMBER(name_tree->of_frame, frame, name_tree->n_frames))
            return -ENOMEM;
        if (name_tree->of_frame[frame] != MA_NONE)
            continue;
        const struct ma_frame *told = ma_stacks_resolved(&name_tree->analysis->stacks, frame);
        result = number_of(name_tree, ma_frame_name(told, buffer, sizeof buffer),
                           &name_tree->of_frame[frame]);
    }
    return result;
}

int ma_name_tree_read(struct ma_name_tree *name_tree, struct ma_analysis *analysis)
{
    *name_tree = (struct ma_name_tree){.analysis = analysis};
    name_tree->innermost = malloc((analysis->n_rows + 1) * sizeof *name_tree->innermost);
    int result = name_tree->innermost ? 0 : -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        const size_t n = name_tree->trie.n;
        result = ma_stacks_trie_add(&analysis->stacks, &name_tree->trie, analysis->rows[i].stack,
                                    &name_tree->innermost[i]);
        if (result == 0)
            result = name_nodes(name_tree, n);
    }
    return result;
}

void ma_name_tree_release(struct ma_name_tree *name_tree)
{
    tdestroy(name_tree->tree, free);
    free(name_tree->names);
    free(name_tree->of_frame);
    free(name_tree->innermost);
    ma_trie_free(&name_tree->trie);
}
