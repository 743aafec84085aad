/* SPDX-License-Identifier: MIT
 *
 * Paths of names; see ma_name_tree.h.
 */
#include "ma_name_tree.h"

#include <errno.h>
#include <search.h>
#include <stddef.h>
#include <string.h>

struct name {
    uint32_t number;
    const char *program; /* the executable that has it; NULL: a library's */
    char text[];
};

static int compare_names(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    const int order = strcmp(x->text, y->text);
    return order || x->program == y->program ? order
           : !x->program                     ? -1
           : !y->program                     ? 1
                                             : strcmp(x->program, y->program);
}

static int number_of(struct ma_name_tree *name_tree, const char *text, const char *program,
                     uint32_t *number)
{
    size_t length = strlen(text) + 1;
    struct name *name = malloc(sizeof *name + length);
    if (!name)
        return -ENOMEM;
    memcpy(name->text, text, length);
    name->program = program;
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
                           told->executable ? told->module : NULL, &name_tree->of_frame[frame]);
    }
    return result;
}

static const struct name *name_of(const struct ma_name_tree *name_tree, uint32_t number)
{
    return (const struct name *)(name_tree->names[number] - offsetof(struct name, text));
}

static int compare_texts(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Set the programs of names that are equal. */
static int tell_apart(struct ma_name_tree *name_tree)
{
    const size_t n = name_tree->n_names;
    const char **sorted = malloc((n + 1) * sizeof *sorted);
    name_tree->programs = calloc(n + 1, sizeof *name_tree->programs);
    if (!sorted || !name_tree->programs) {
        free(sorted);
        return -ENOMEM;
    }
    if (n) {
        memcpy(sorted, name_tree->names, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, compare_texts);
    }
    for (size_t i = 0; i < n; i++) {
        const struct name *name = (const struct name *)(sorted[i] - offsetof(struct name, text));
        if ((i && strcmp(sorted[i - 1], sorted[i]) == 0) ||
            (i + 1 < n && strcmp(sorted[i + 1], sorted[i]) == 0))
            name_tree->programs[name->number] = name->program;
    }
    free(sorted);
    return 0;
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
    return result == 0 ? tell_apart(name_tree) : result;
}

int ma_name_tree_compare(const struct ma_name_tree *name_tree, uint32_t a, uint32_t b)
{
    return compare_names(name_of(name_tree, a), name_of(name_tree, b));
}

void ma_lines_add(struct ma_lines *lines, const struct ma_frame *frame)
{
    if (!frame->file || !frame->line)
        return;
    if (!lines->file)
        *lines = (struct ma_lines){frame->file, frame->line, frame->line, false};
    else if (lines->file != frame->file && strcmp(lines->file, frame->file) != 0)
        lines->elsewhere = true;
    else if (frame->line < lines->first)
        lines->first = frame->line;
    else if (frame->line > lines->last)
        lines->last = frame->line;
}

void ma_name_tree_release(struct ma_name_tree *name_tree)
{
    tdestroy(name_tree->tree, free);
    free(name_tree->names);
    free(name_tree->programs);
    free(name_tree->of_frame);
    free(name_tree->innermost);
    ma_trie_free(&name_tree->trie);
}
