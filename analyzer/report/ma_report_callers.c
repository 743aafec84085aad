/* SPDX-License-Identifier: MIT
 *
 * Callers and callees of a function on the paths to allocations: who calls it,
 * what it calls, with what was allocated below, what of that was live at the
 * peak and what was never freed. A stack counts once, however often the function
 * is on it; a caller likewise. Built from the books, in one walk over the tree of all
 * stacks: no observer.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "ma_name_tree.h"
#include "ma_report.h"
#include "ma_text.h"

#define OUTSIDE UINT32_MAX /* nobody: the function begins the stack, or allocates itself */

struct sums { /* of stacks */
    uint64_t costs[MA_COSTS];
    size_t stacks;
};

struct neighbour {
    uint32_t name;
    uint32_t on_the_way; /* how often, to where we are */
    struct sums sums;
    struct ma_lines lines; /* of its calls */
};

struct neighbours {
    struct neighbour *all;
    size_t n, capacity;
    struct ma_map of;  /* name to index */
    struct sums total; /* of stacks that have the function */
};

static const char *parse_function(const char **option, const char *value)
{
    *option = value;
    return value[0] ? NULL
                    : "expected the name of a function, as reports show it, or a pattern like "
                      "'*name*'";
}

static const char *parse_callers(struct ma_request *request, const char *value)
{
    return parse_function(&request->callers, value);
}

static const char *parse_callees(struct ma_request *request, const char *value)
{
    return parse_function(&request->callees, value);
}

/* A name is meant as it stands or, of functions with parameters, without these. */
static bool matches(const char *pattern, const char *name)
{
    size_t length = strlen(pattern);
    if (strncmp(name, pattern, length) == 0 && (!name[length] || name[length] == '('))
        return true;
    return strpbrk(pattern, "*?") && fnmatch(pattern, name, 0) == 0;
}

/* The number of a neighbour, made if it is new; MA_NONE if memory is short. */
static uint32_t find_neighbour(struct neighbours *neighbours, uint32_t name)
{
    uint32_t at = ma_map_get(&neighbours->of, name);
    if (at != MA_NONE)
        return at;
    at = (uint32_t)neighbours->n;
    if (!MA_RESERVE(neighbours->all, neighbours->n, neighbours->capacity) ||
        ma_map_set(&neighbours->of, name, at) < 0)
        return MA_NONE;
    neighbours->all[neighbours->n++] = (struct neighbour){.name = name};
    return at;
}

static void add_sums(struct sums *to, const struct sums *from)
{
    for (unsigned i = 0; i < MA_COSTS; i++)
        to->costs[i] += from->costs[i];
    to->stacks += from->stacks;
}

/* A walk over the trie, from the outermost frames down and back. */
struct walk {
    const struct ma_name_tree *name_tree;
    const bool *wanted; /* by name */
    bool callers;
    struct neighbours *neighbours;
    struct sums *ends, *below; /* by node: of stacks that end there; and of all below, too */
    size_t n_wanted;           /* nodes of wanted names on the way to where we are */
};

/* A stack that goes on to this node has a neighbour, whose number is in *at: MA_NONE
 * if not. */
static int neighbour_at(const struct walk *walk, uint32_t node, uint32_t *at)
{
    const struct ma_name_tree *name_tree = walk->name_tree;
    const uint32_t parent = name_tree->trie.nodes[node].parent;
    const uint32_t outer = parent == MA_NONE ? OUTSIDE : ma_name_tree_name(name_tree, parent);
    const uint32_t name = ma_name_tree_name(name_tree, node);
    *at = MA_NONE;
    if (walk->callers ? !walk->wanted[name] : outer == OUTSIDE || !walk->wanted[outer])
        return 0;
    *at = find_neighbour(walk->neighbours, walk->callers ? outer : name);
    if (*at == MA_NONE)
        return -ENOMEM;
    if (!walk->callers || parent != MA_NONE)
        ma_lines_add(&walk->neighbours->all[*at].lines,
                     ma_name_tree_frame(name_tree, walk->callers ? parent : node));
    return 0;
}

/* Go down to a node, or (down false) come back from it. The stacks below count for
 * a neighbour that is not on the way already. */
static int pass(void *context, uint32_t node, bool down)
{
    struct walk *walk = context;
    struct neighbours *neighbours = walk->neighbours;
    uint32_t at;
    if (neighbour_at(walk, node, &at) < 0)
        return -ENOMEM;
    if (at != MA_NONE) {
        struct neighbour *one = &neighbours->all[at];
        one->on_the_way -= !down;
        if (down && !one->on_the_way)
            add_sums(&one->sums, &walk->below[node]);
        one->on_the_way += down;
    }
    if (!walk->wanted[ma_name_tree_name(walk->name_tree, node)])
        return 0;
    walk->n_wanted -= !down;
    if (down && !walk->n_wanted)
        add_sums(&neighbours->total, &walk->below[node]);
    walk->n_wanted += down;
    /* The stacks that end here call the allocator. */
    if (!down || walk->callers || !walk->ends[node].stacks)
        return 0;
    at = find_neighbour(neighbours, OUTSIDE);
    if (at != MA_NONE)
        add_sums(&neighbours->all[at].sums, &walk->ends[node]);
    return at == MA_NONE ? -ENOMEM : 0;
}

static void sum_up(struct walk *walk)
{
    const struct ma_name_tree *name_tree = walk->name_tree;
    const struct ma_trie_node *nodes = name_tree->trie.nodes;
    for (size_t i = 0; i < name_tree->analysis->n_rows; i++) {
        if (name_tree->innermost[i] == MA_NONE)
            continue;
        struct sums one = {.stacks = 1};
        for (unsigned cost = 0; cost < MA_COSTS; cost++)
            one.costs[cost] = ma_name_tree_cost(&name_tree->analysis->rows[i], cost);
        add_sums(&walk->ends[name_tree->innermost[i]], &one);
    }
    for (uint32_t i = (uint32_t)name_tree->trie.n; i-- > 0;) {
        add_sums(&walk->below[i], &walk->ends[i]);
        const uint32_t parent = nodes[i].parent;
        if (parent != MA_NONE)
            add_sums(&walk->below[parent], &walk->below[i]);
    }
}

static int gather_neighbours(const struct ma_name_tree *name_tree, const bool *wanted, bool callers,
                             struct neighbours *neighbours)
{
    struct walk walk = {
        .name_tree = name_tree,
        .wanted = wanted,
        .callers = callers,
        .neighbours = neighbours,
        .ends = calloc(name_tree->trie.n + 1, sizeof *walk.ends),
        .below = calloc(name_tree->trie.n + 1, sizeof *walk.below),
    };
    int result = walk.ends && walk.below ? 0 : -ENOMEM;
    if (result == 0) {
        sum_up(&walk);
        result = ma_trie_walk(&name_tree->trie, pass, &walk);
    }
    free(walk.ends);
    free(walk.below);
    return result;
}

static int compare_neighbours(const void *a, const void *b, void *context)
{
    const struct neighbour *x = a, *y = b;
    const struct ma_request *request = context;
    bool calls = request->n_sort && request->sort[0] != MA_SORT_BYTES;
    unsigned cost = calls ? MA_COST_CALLS : MA_COST_ALLOCATED;
    if (x->sums.costs[cost] != y->sums.costs[cost])
        return x->sums.costs[cost] > y->sums.costs[cost] ? -1 : 1;
    return x->name < y->name ? -1 : x->name > y->name;
}

static void add_costs(struct ma_model *model, struct ma_value *value, const uint64_t *costs,
                      bool titled)
{
    ma_model_number(model, value, "leaked_bytes", titled ? "never freed" : NULL, MA_BYTES,
                    costs[MA_COST_LEAKED]);
    ma_model_number(model, value, "peak_bytes", titled ? "at the peak" : NULL, MA_BYTES,
                    costs[MA_COST_PEAK]);
    ma_model_number(model, value, "allocated_bytes", titled ? "allocated" : NULL, MA_BYTES,
                    costs[MA_COST_ALLOCATED]);
    ma_model_number(model, value, "calls", titled ? "calls" : NULL, MA_COUNT, costs[MA_COST_CALLS]);
}

static void add_all(struct ma_model *model, struct ma_value *object,
                    const struct neighbours *neighbours, const struct ma_name_tree *name_tree,
                    bool callers)
{
    const struct ma_request *request = name_tree->analysis->request;
    struct ma_value *array =
        ma_model_array(model, object, callers ? "callers" : "callees", "", MA_TABLE);
    for (size_t i = 0; i < neighbours->n && i < request->top; i++) {
        const struct neighbour *one = &neighbours->all[i];
        const uint64_t all = neighbours->total.costs[MA_COST_ALLOCATED];
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        add_costs(model, row, one->sums.costs, true);
        ma_model_real(model, row, "share", "", MA_PERCENT,
                      all ? 100.0 * (double)one->sums.costs[MA_COST_ALLOCATED] / (double)all : 0);
        const char *title = callers ? "called by" : "calls";
        const bool outside = one->name == OUTSIDE;
        ma_report_function(model, row, outside ? NULL : title,
                           outside ? NULL : name_tree->names[one->name],
                           outside ? NULL : name_tree->programs[one->name], &one->lines);
        if (outside)
            ma_model_text(model, row, NULL, title,
                          callers ? "(nobody: stacks begin with it)" : "(the allocator, itself)");
    }
}

static int build(struct ma_analysis *analysis, struct ma_model *model, bool callers)
{
    const char *pattern = callers ? analysis->request->callers : analysis->request->callees;
    struct ma_name_tree name_tree;
    struct neighbours neighbours = {0};
    bool *wanted = NULL;
    size_t functions = 0;
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE];
    int result = ma_name_tree_read(&name_tree, analysis);
    if (result == 0 && !(wanted = calloc(name_tree.n_names + 1, sizeof *wanted)))
        result = -ENOMEM;
    if (result < 0)
        goto out;
    for (size_t i = 0; i < name_tree.n_names; i++)
        functions += wanted[i] = matches(pattern, name_tree.names[i]);
    result = gather_neighbours(&name_tree, wanted, callers, &neighbours);
    if (result < 0)
        goto out;
    if (neighbours.n)
        qsort_r(neighbours.all, neighbours.n, sizeof *neighbours.all, compare_neighbours,
                (void *)(uintptr_t)analysis->request);
    struct ma_value *object = ma_model_object(model, &model->root, callers ? "callers" : "callees",
                                              callers ? "Callers" : "Callees", MA_FIELDS);
    if (!neighbours.total.stacks)
        ma_model_note(model, object,
                      "No function %s is on a path to an allocation; patterns like "
                      "'*name*' find parts of names.",
                      pattern);
    else
        ma_model_note(model, object, "%s%s is on %s stack%s that allocated %s:", pattern,
                      functions > 1 ? " (several functions)" : "",
                      ma_human_count(a, neighbours.total.stacks),
                      neighbours.total.stacks == 1 ? "" : "s",
                      ma_human_bytes(b, neighbours.total.costs[MA_COST_ALLOCATED]));
    ma_model_text(model, object, "function", NULL, pattern);
    ma_model_number(model, object, "functions", NULL, MA_COUNT, functions);
    ma_model_number(model, object, "stacks", NULL, MA_COUNT, neighbours.total.stacks);
    add_costs(model, object, neighbours.total.costs, false);
    add_all(model, object, &neighbours, &name_tree, callers);
out:
    free(wanted);
    free(neighbours.all);
    ma_map_free(&neighbours.of);
    ma_name_tree_release(&name_tree);
    return result;
}

static int build_callers(struct ma_analysis *analysis, struct ma_model *model)
{
    return build(analysis, model, true);
}

static int build_callees(struct ma_analysis *analysis, struct ma_model *model)
{
    return build(analysis, model, false);
}

const struct ma_report ma_report_callers = {
    .name = "callers",
    .help = "who calls a function on the way to allocations",
    .build = build_callers,
    .value = "FUNCTION",
    .parse = parse_callers,
};

const struct ma_report ma_report_callees = {
    .name = "callees",
    .help = "what it calls on the way to allocations",
    .build = build_callees,
    .value = "FUNCTION",
    .parse = parse_callees,
};
