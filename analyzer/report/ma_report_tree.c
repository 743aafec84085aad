/* SPDX-License-Identifier: MIT
 *
 * The call tree with what was allocated below each function, top down (from
 * main) or bottom up (from who allocates), pruned by share. A line is a path;
 * one that has a single way on keeps its indent, and of a run of the same costs
 * people see the ends alone, so that deep stacks stay on the screen. Built from
 * the books: no observer.
 *
 * From main, all branches are made at once, of the tree of all stacks: 104 bytes for
 * each distinct path of names. From who allocates there may be as many as stacks times
 * their depth, so a branch gets its children when it is written: those that nobody
 * will see are not followed. A branch stands for a range of the stacks then, and its
 * children for parts of this range.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_label.h"
#include "ma_name_tree.h"
#include "ma_report.h"
#include "ma_text.h"

#define LEAST 1.0 /* percent of the whole that a line must have */

struct branch {
    uint32_t name, parent;
    uint32_t first, next; /* child, sibling; MA_NONE: no more */
    uint64_t costs[MA_COSTS];
    size_t from, n; /* from who allocates: its strands */
    struct ma_lines lines;
    bool own; /* the program's own function (ma_label.h) */
};

struct strand { /* a stack, from who allocates */
    uint32_t row;
    uint32_t node; /* its frame at this depth, in the trie; MA_NONE: it has ended */
};

struct tree {
    struct branch *all; /* all[0]: the whole */
    size_t n, capacity;
    struct ma_map of; /* parent << 32 | name, to index */
    struct strand *strands, *sorting;
    uint32_t *branch_of; /* scratch: by strand of the branch that is unfolded */
};

static const char *const cost_names[] = {
    [MA_COST_LEAKED] = "leaks",
    [MA_COST_PEAK] = "peak",
    [MA_COST_ALLOCATED] = "allocations",
    [MA_COST_CALLS] = "calls",
};

static const char *parse_tree(struct ma_request *request, const char *value)
{
    request->tree_bottom_up = false;
    request->tree_cost = MA_COST_ALLOCATED;
    while (value) {
        size_t length = strcspn(value, ","), i = 0;
        while (i < MA_COSTS &&
               (strlen(cost_names[i]) != length || strncmp(cost_names[i], value, length) != 0))
            i++;
        if (i < MA_COSTS)
            request->tree_cost = (unsigned)i;
        else if (length == 9 && strncmp(value, "bottom-up", length) == 0)
            request->tree_bottom_up = true;
        else if (length == 8 && strncmp(value, "top-down", length) == 0)
            request->tree_bottom_up = false;
        else
            return "expected top-down or bottom-up, and leaks, peak, allocations or calls, "
                   "with a comma between";
        value = value[length] ? value + length + 1 : NULL;
    }
    return NULL;
}

/* The index of a child, made if it is new; MA_NONE if memory is short. */
static uint32_t child_of(struct tree *tree, uint32_t parent, uint32_t name)
{
    const uint64_t path = (uint64_t)parent << 32 | name;
    uint32_t at = ma_map_get(&tree->of, path);
    if (at != MA_NONE)
        return at;
    at = (uint32_t)tree->n;
    if (at == MA_NONE || !MA_RESERVE(tree->all, tree->n, tree->capacity) ||
        ma_map_set(&tree->of, path, at) < 0)
        return MA_NONE;
    tree->all[tree->n++] = (struct branch){
        .name = name,
        .parent = parent,
        .first = MA_NONE,
        .next = tree->all[parent].first,
    };
    tree->all[parent].first = at;
    return at;
}

static void add_row(struct branch *branch, const struct ma_row *row)
{
    for (unsigned cost = 0; cost < MA_COSTS; cost++)
        branch->costs[cost] += ma_name_tree_cost(row, cost);
}

static void note_frame(struct branch *branch, const struct ma_frame *frame)
{
    ma_lines_add(&branch->lines, frame);
    branch->own |= ma_label_is_own(frame);
}

static int plant(struct tree *tree)
{
    if (!MA_RESERVE(tree->all, tree->n, tree->capacity))
        return -ENOMEM;
    tree->all[tree->n++] = (struct branch){.first = MA_NONE, .next = MA_NONE};
    return 0;
}

/* All branches, from main. */
static int grow_down(struct tree *tree, const struct ma_name_tree *name_tree)
{
    const struct ma_trie *trie = &name_tree->trie;
    uint32_t *branch = malloc((trie->n + 1) * sizeof *branch);
    int result = branch ? plant(tree) : -ENOMEM;
    for (uint32_t i = 0; i < trie->n && result == 0; i++) {
        const uint32_t parent = trie->nodes[i].parent;
        branch[i] =
            child_of(tree, parent == MA_NONE ? 0 : branch[parent], ma_name_tree_name(name_tree, i));
        result = branch[i] == MA_NONE ? -ENOMEM : 0;
        if (result == 0)
            note_frame(&tree->all[branch[i]], ma_name_tree_frame(name_tree, i));
    }
    for (size_t row = 0; row < name_tree->analysis->n_rows && result == 0; row++) {
        const uint32_t node = name_tree->innermost[row];
        add_row(&tree->all[node == MA_NONE ? 0 : branch[node]], &name_tree->analysis->rows[row]);
    }
    for (size_t i = tree->n; i-- > 1 && result == 0;) {
        for (unsigned cost = 0; cost < MA_COSTS; cost++)
            tree->all[tree->all[i].parent].costs[cost] += tree->all[i].costs[cost];
    }
    free(branch);
    return result;
}

/* The whole, from who allocates: all stacks. */
static int grow_up(struct tree *tree, const struct ma_name_tree *name_tree)
{
    const size_t n = name_tree->analysis->n_rows;
    tree->strands = malloc((n + 1) * sizeof *tree->strands);
    tree->sorting = malloc((n + 1) * sizeof *tree->sorting);
    tree->branch_of = malloc((n + 1) * sizeof *tree->branch_of);
    if (!tree->strands || !tree->sorting || !tree->branch_of || plant(tree) < 0)
        return -ENOMEM;
    for (size_t row = 0; row < n; row++) {
        tree->strands[row] = (struct strand){(uint32_t)row, name_tree->innermost[row]};
        add_row(&tree->all[0], &name_tree->analysis->rows[row]);
    }
    tree->all[0].n = n;
    return 0;
}

/* The children of a branch, from who allocates: its strands are sorted by them. */
static int unfold(struct tree *tree, const struct ma_name_tree *name_tree, uint32_t at)
{
    const size_t from = tree->all[at].from, n = tree->all[at].n;
    struct strand *strands = &tree->strands[from];
    uint32_t name = MA_NONE, child = MA_NONE;
    for (size_t i = 0; i < n; i++) {
        tree->branch_of[i] = MA_NONE;
        if (strands[i].node == MA_NONE)
            continue;
        const uint32_t its = ma_name_tree_name(name_tree, strands[i].node);
        if (its != name && (child = child_of(tree, at, its)) == MA_NONE)
            return -ENOMEM;
        name = its;
        tree->branch_of[i] = child;
        tree->all[child].n++;
        note_frame(&tree->all[child], ma_name_tree_frame(name_tree, strands[i].node));
        add_row(&tree->all[child], &name_tree->analysis->rows[strands[i].row]);
    }
    size_t end = from;
    for (uint32_t i = tree->all[at].first; i != MA_NONE; i = tree->all[i].next) {
        tree->all[i].from = end;
        end += tree->all[i].n;
        tree->all[i].n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (tree->branch_of[i] == MA_NONE)
            continue;
        struct branch *branch = &tree->all[tree->branch_of[i]];
        tree->sorting[branch->from - from + branch->n++] =
            (struct strand){strands[i].row, name_tree->trie.nodes[strands[i].node].parent};
    }
    memcpy(strands, tree->sorting, (end - from) * sizeof *strands);
    return 0;
}

struct writing {
    struct tree *tree;
    const struct ma_name_tree *name_tree;
    struct ma_model *model;
    struct ma_value *array;
    unsigned cost;
    size_t top;
    double least;
};

static int compare_branches(const void *a, const void *b, void *context)
{
    const struct writing *writing = context;
    const struct branch *x = &writing->tree->all[*(const uint32_t *)a];
    const struct branch *y = &writing->tree->all[*(const uint32_t *)b];
    uint64_t p = x->costs[writing->cost], q = y->costs[writing->cost];
    return p != q ? (p > q ? -1 : 1) : ma_name_tree_compare(writing->name_tree, x->name, y->name);
}

static double share_of(const struct writing *writing, const struct branch *branch)
{
    uint64_t whole = writing->tree->all[0].costs[writing->cost];
    return whole ? 100.0 * (double)branch->costs[writing->cost] / (double)whole : 0;
}

static void add_line(const struct writing *writing, uint32_t at, unsigned depth, unsigned indent,
                     bool hidden)
{
    const struct branch *branch = &writing->tree->all[at];
    struct ma_model *model = writing->model;
    struct ma_value *line =
        ma_model_object(model, writing->array, NULL, hidden ? NULL : "", MA_FIELDS);
    uint64_t below = 0;
    line->number = indent;
    for (uint32_t i = branch->first; i != MA_NONE; i = writing->tree->all[i].next)
        below += writing->tree->all[i].costs[writing->cost];
    ma_model_number(model, line, "depth", NULL, MA_COUNT, depth);
    ma_model_real(model, line, "share", "share", MA_PERCENT, share_of(writing, branch));
    ma_model_number(model, line, "leaked_bytes", "leaked", MA_BYTES, branch->costs[MA_COST_LEAKED]);
    ma_model_number(model, line, "peak_bytes", "peak", MA_BYTES, branch->costs[MA_COST_PEAK]);
    ma_model_number(model, line, "allocated_bytes", "allocated", MA_BYTES,
                    branch->costs[MA_COST_ALLOCATED]);
    ma_model_number(model, line, "calls", NULL, MA_COUNT, branch->costs[MA_COST_CALLS]);
    ma_model_number(model, line, "self", NULL, MA_PLAIN, branch->costs[writing->cost] - below);
    ma_report_function(model, line, "", writing->name_tree->names[branch->name],
                       writing->name_tree->programs[branch->name], &branch->lines);
}

/* The shown children of a branch, largest first; the caller frees them. */
static long choose(const struct writing *writing, uint32_t at, uint32_t **children)
{
    size_t n = 0, capacity = 0;
    *children = NULL;
    for (uint32_t i = writing->tree->all[at].first; i != MA_NONE; i = writing->tree->all[i].next) {
        const struct branch *branch = &writing->tree->all[i];
        if (!branch->costs[writing->cost] || share_of(writing, branch) < writing->least)
            continue;
        if (!MA_RESERVE(*children, n, capacity))
            return -ENOMEM;
        (*children)[n++] = i;
    }
    if (n)
        qsort_r(*children, n, sizeof **children, compare_branches, (void *)(uintptr_t)writing);
    return (long)(n < writing->top ? n : writing->top);
}

/* Stacks are deep, so what is still to be written is kept in a list: the next
 * line is its last. */
struct pending {
    uint32_t at;
    unsigned depth, indent;
    bool only;  /* way on from its parent, which has the same costs */
    bool owned; /* the program's own code lies on the way here */
};

/* True of the program's own function that is nearest to the allocator: between library
 * frames it is what a person looks for. */
static bool is_border(const struct writing *writing, const struct pending *now, uint32_t child)
{
    const struct branch *all = writing->tree->all;
    return all[now->at].own && (writing->tree->strands ? !now->owned : !all[child].own);
}

static int write_lines(const struct writing *writing)
{
    struct pending *list = NULL;
    size_t n = 0, capacity = 0;
    struct pending now = {0};
    int result = 0;
    for (;;) {
        uint32_t *children = NULL;
        long count = -ENOMEM;
        if (!writing->tree->strands || unfold(writing->tree, writing->name_tree, now.at) == 0)
            count = choose(writing, now.at, &children);
        const struct branch *all = writing->tree->all;
        const bool only =
            count == 1 && memcmp(all[now.at].costs, all[children[0]].costs, sizeof all->costs) == 0;
        if (now.at)
            add_line(writing, now.at, now.depth - 1, now.indent,
                     only && now.only && !is_border(writing, &now, children[0]));
        const bool owned = now.owned || all[now.at].own;
        for (long i = count - 1; i >= 0; i--) {
            if (!MA_RESERVE(list, n, capacity)) {
                result = -ENOMEM;
                break;
            }
            list[n++] = (struct pending){children[i], now.depth + 1,
                                         now.indent + (count > 1 && now.at), only && now.at, owned};
        }
        free(children);
        result = count < 0 ? -ENOMEM : result;
        if (result < 0 || n == 0)
            break;
        now = list[--n];
    }
    free(list);
    return result;
}

static int build_tree(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_request *request = analysis->request;
    const bool bottom_up = request->tree_bottom_up;
    const bool all = request->top == SIZE_MAX;
    struct ma_name_tree name_tree;
    struct tree tree = {0};
    char whole[MA_HUMAN_SIZE];
    int result = ma_name_tree_read(&name_tree, analysis);
    if (result == 0)
        result = bottom_up ? grow_up(&tree, &name_tree) : grow_down(&tree, &name_tree);
    if (result == 0) {
        const uint64_t cost = tree.all[0].costs[request->tree_cost];
        struct ma_value *object =
            ma_model_object(model, &model->root, "tree",
                            bottom_up ? "Call tree, from who allocates" : "Call tree", MA_FIELDS);
        if (request->tree_cost == MA_COST_CALLS)
            ma_human_count(whole, cost);
        else
            ma_human_bytes(whole, cost);
        if (all)
            ma_model_note(model, object, "Shares are of %s (%s).", whole,
                          cost_names[request->tree_cost]);
        else
            ma_model_note(model, object, "Shares are of %s (%s); lines below %.1f %% are left out.",
                          whole, cost_names[request->tree_cost], LEAST);
        ma_model_text(model, object, "direction", NULL, bottom_up ? "bottom-up" : "top-down");
        ma_model_text(model, object, "cost", NULL, cost_names[request->tree_cost]);
        ma_model_number(model, object, "total", NULL, MA_PLAIN, cost);
        ma_model_real(model, object, "least_share", NULL, MA_PERCENT, all ? 0 : LEAST);
        struct writing writing = {
            .tree = &tree,
            .name_tree = &name_tree,
            .model = model,
            .cost = request->tree_cost,
            .array = ma_model_array(model, object, "lines", "", MA_TREE),
            .top = request->top,
            .least = all ? 0 : LEAST,
        };
        result = write_lines(&writing);
    }
    free(tree.all);
    free(tree.strands);
    free(tree.sorting);
    free(tree.branch_of);
    ma_map_free(&tree.of);
    ma_name_tree_release(&name_tree);
    return result;
}

const struct ma_report ma_report_tree = {
    .name = "tree",
    .help = "call tree with shares: from main, or bottom-up",
    .build = build_tree,
    .value = "[HOW]",
    .parse = parse_tree,
};
