/* SPDX-License-Identifier: MIT
 *
 * Callers and callees of a function on the paths to allocations: who calls it,
 * what it calls, with what was allocated below, what of that was live at the
 * peak and what was never freed. A stack counts once, however often the function
 * is on it; a caller likewise. Built from the books: no observer.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "ma_paths.h"
#include "ma_report.h"
#include "ma_text.h"

#define OUTSIDE UINT32_MAX /* nobody: the function begins the stack, or allocates itself */

struct neighbour {
    uint32_t name;
    uint64_t costs[MA_COSTS];
    size_t latest; /* 1 + number of the row counted last */
};

struct neighbours {
    struct neighbour *all;
    size_t n, capacity;
    struct ma_map of; /* name to index */
    uint64_t total[MA_COSTS];
    size_t stacks;
};

static bool parse(const char **option, const char *value, const char **expected)
{
    *expected = "the name of a function, as reports show it, or a pattern like '*name*'";
    *option = value;
    return value[0] != '\0';
}

bool ma_report_callers_parse(struct ma_options *options, const char *value,
                             const char **expected)
{
    return parse(&options->callers, value, expected);
}

bool ma_report_callees_parse(struct ma_options *options, const char *value,
                             const char **expected)
{
    return parse(&options->callees, value, expected);
}

/* A name is meant as it stands or, of functions with parameters, without these. */
static bool matches(const char *pattern, const char *name)
{
    size_t length = strlen(pattern);
    if (strncmp(name, pattern, length) == 0 && (!name[length] || name[length] == '('))
        return true;
    return strpbrk(pattern, "*?") && fnmatch(pattern, name, 0) == 0;
}

static int add(struct neighbours *neighbours, uint32_t name, const struct ma_row *row,
               size_t number)
{
    uint32_t at = ma_map_get(&neighbours->of, name);
    if (at == MA_NONE) {
        at = (uint32_t)neighbours->n;
        if (!MA_RESERVE(neighbours->all, neighbours->n, neighbours->capacity) ||
            ma_map_set(&neighbours->of, name, at) < 0)
            return -ENOMEM;
        neighbours->all[neighbours->n++] = (struct neighbour){ .name = name };
    }
    struct neighbour *one = &neighbours->all[at];
    if (one->latest == number + 1)
        return 0;
    one->latest = number + 1;
    for (unsigned i = 0; i < MA_COSTS; i++)
        one->costs[i] += ma_paths_cost(row, i);
    return 0;
}

static int gather(const struct ma_paths *paths, const bool *wanted, bool callers,
                  struct neighbours *neighbours)
{
    const struct ma_analysis *analysis = paths->analysis;
    for (size_t row = 0; row < analysis->n_rows; row++) {
        const size_t from = paths->starts[row], to = paths->starts[row + 1];
        bool found = false;
        for (size_t i = from; i < to; i++) {
            if (!wanted[paths->frames[i]])
                continue;
            uint32_t next = callers ? (i + 1 < to ? paths->frames[i + 1] : OUTSIDE)
                                    : (i > from ? paths->frames[i - 1] : OUTSIDE);
            found = true;
            if (add(neighbours, next, &analysis->rows[row], row) < 0)
                return -ENOMEM;
        }
        if (!found)
            continue;
        neighbours->stacks++;
        for (unsigned i = 0; i < MA_COSTS; i++)
            neighbours->total[i] += ma_paths_cost(&analysis->rows[row], i);
    }
    return 0;
}

static int compare(const void *a, const void *b, void *context)
{
    const struct neighbour *x = a, *y = b;
    const struct ma_options *options = context;
    bool calls = options->n_sort && options->sort[0] != MA_SORT_BYTES;
    unsigned cost = calls ? MA_COST_CALLS : MA_COST_ALLOCATED;
    if (x->costs[cost] != y->costs[cost])
        return x->costs[cost] > y->costs[cost] ? -1 : 1;
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
    ma_model_number(model, value, "calls", titled ? "calls" : NULL, MA_COUNT,
                    costs[MA_COST_CALLS]);
}

static void add_all(struct ma_model *model, struct ma_value *object,
                    const struct neighbours *neighbours, const struct ma_paths *paths,
                    bool callers)
{
    const struct ma_options *options = paths->analysis->options;
    struct ma_value *array = ma_model_array(model, object, callers ? "callers" : "callees", "",
                                            MA_TABLE);
    for (size_t i = 0; i < neighbours->n && i < options->top; i++) {
        const struct neighbour *one = &neighbours->all[i];
        const uint64_t all = neighbours->total[MA_COST_ALLOCATED];
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        add_costs(model, row, one->costs, true);
        ma_model_real(model, row, "share", "", MA_PERCENT,
                      all ? 100.0 * (double)one->costs[MA_COST_ALLOCATED] / (double)all : 0);
        if (one->name != OUTSIDE) {
            ma_model_text(model, row, "function", callers ? "called by" : "calls",
                          paths->names[one->name]);
            continue;
        }
        ma_model_null(model, row, "function");
        ma_model_text(model, row, NULL, callers ? "called by" : "calls",
                      callers ? "(nobody: stacks begin with it)" : "(the allocator, itself)");
    }
}

static int build(struct ma_analysis *analysis, struct ma_model *model, bool callers)
{
    const char *pattern = callers ? analysis->options->callers : analysis->options->callees;
    struct ma_paths paths;
    struct neighbours neighbours = { 0 };
    bool *wanted = NULL;
    size_t functions = 0;
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE];
    int result = ma_paths_read(&paths, analysis);
    if (result == 0 && !(wanted = calloc(paths.n_names + 1, sizeof *wanted)))
        result = -ENOMEM;
    if (result < 0)
        goto out;
    for (size_t i = 0; i < paths.n_names; i++)
        functions += wanted[i] = matches(pattern, paths.names[i]);
    result = gather(&paths, wanted, callers, &neighbours);
    if (result < 0)
        goto out;
    if (neighbours.n)
        qsort_r(neighbours.all, neighbours.n, sizeof *neighbours.all, compare,
                (void *)(uintptr_t)analysis->options);
    struct ma_value *object =
        ma_model_object(model, &model->root, callers ? "callers" : "callees",
                        callers ? "Callers" : "Callees", MA_FIELDS);
    if (!neighbours.stacks)
        ma_model_note(model, object, "No function %s is on a path to an allocation; patterns like "
                                     "'*name*' find parts of names.", pattern);
    else
        ma_model_note(model, object, "%s%s is on %s stack%s that allocated %s:", pattern,
                      functions > 1 ? " (several functions)" : "",
                      ma_human_count(a, neighbours.stacks), neighbours.stacks == 1 ? "" : "s",
                      ma_human_bytes(b, neighbours.total[MA_COST_ALLOCATED]));
    ma_model_text(model, object, "function", NULL, pattern);
    ma_model_number(model, object, "functions", NULL, MA_COUNT, functions);
    ma_model_number(model, object, "stacks", NULL, MA_COUNT, neighbours.stacks);
    add_costs(model, object, neighbours.total, false);
    add_all(model, object, &neighbours, &paths, callers);
out:
    free(wanted);
    free(neighbours.all);
    ma_map_free(&neighbours.of);
    ma_paths_release(&paths);
    return result;
}

int ma_report_callers(struct ma_analysis *analysis, struct ma_model *model)
{
    return build(analysis, model, true);
}

int ma_report_callees(struct ma_analysis *analysis, struct ma_model *model)
{
    return build(analysis, model, false);
}
