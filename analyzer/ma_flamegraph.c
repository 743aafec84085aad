/* SPDX-License-Identifier: MIT
 *
 * From rows to flame graphs; see ma_flamegraph.h.
 */
#include "ma_flamegraph.h"

#include <errno.h>
#include <string.h>

#include "ma_flame.h"
#include "ma_text.h"

static uint64_t leaks(const struct ma_row *row, enum ma_sort what)
{
    return what == MA_SORT_BYTES ? row->leaked_bytes : row->leaked_blocks;
}

static uint64_t peak(const struct ma_row *row, enum ma_sort what)
{
    return what == MA_SORT_BYTES ? row->peak_bytes : row->peak_blocks;
}

static uint64_t allocations(const struct ma_row *row, enum ma_sort what)
{
    return what == MA_SORT_BYTES ? row->bytes : row->calls;
}

static uint64_t calls(const struct ma_row *row, enum ma_sort what)
{
    (void)what;
    return row->calls;
}

static uint64_t temporary(const struct ma_row *row, enum ma_sort what)
{
    (void)what;
    return row->temporary;
}

static const struct cost {
    const char *name, *title;
    uint64_t (*value)(const struct ma_row *row, enum ma_sort what);
    enum ma_flame_unit by_bytes, by_count; /* what is counted with --sort bytes, and else */
} costs[] = {
    { "leaks", "Never freed", leaks, MA_FLAME_BYTES, MA_FLAME_BLOCKS },
    { "peak", "Heap at its peak", peak, MA_FLAME_BYTES, MA_FLAME_BLOCKS },
    { "allocations", "Allocations", allocations, MA_FLAME_BYTES, MA_FLAME_CALLS },
    { "calls", "Allocation calls", calls, MA_FLAME_CALLS, MA_FLAME_CALLS },
    { "temporary", "Temporary blocks: freed before the next allocation", temporary,
      MA_FLAME_BLOCKS, MA_FLAME_BLOCKS },
};

static const struct cost *find(const char *name)
{
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        if (strcmp(costs[i].name, name) == 0)
            return &costs[i];
    }
    return NULL;
}

bool ma_flamegraph_known(const char *cost)
{
    return find(cost) != NULL;
}

const char *ma_flamegraph_names(void)
{
    return "leaks, peak, allocations, calls, temporary";
}

typedef int add_function(struct ma_flame *flame, const char *const *names, size_t n,
                         uint64_t value);

/* Names of one stack, root first, or innermost first if it is to be inverted.
 * Unresolved frames need a name of their own, which lives in `made`. */
static int add_stack(struct ma_analysis *analysis, struct ma_flame *flame, uint32_t stack,
                     uint64_t value, bool invert, add_function *add)
{
    const struct ma_frame *frames;
    char buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, stack, &frames);
    if (n < 0)
        return -ENOMEM;
    if (n == 0)
        return add(flame, (const char *const[]){ "(no stack)" }, 1, value);
    const char **names = malloc((size_t)n * sizeof *names);
    char **made = calloc((size_t)n, sizeof *made);
    int result = names && made ? 0 : -ENOMEM;
    for (long i = 0; i < n && result == 0; i++) {
        const char *name = ma_frame_name(&frames[i], buffer, sizeof buffer);
        if (name == buffer) {
            name = made[i] = strdup(buffer);
            if (!name)
                result = -ENOMEM;
        }
        names[invert ? i : n - 1 - i] = name;
    }
    if (result == 0)
        result = add(flame, names, (size_t)n, value);
    for (long i = 0; made && i < n; i++)
        free(made[i]);
    free(made);
    free(names);
    return result;
}

static int add_rows(struct ma_analysis *analysis, struct ma_flame *flame,
                    const struct cost *cost, enum ma_sort what, bool invert, add_function *add)
{
    int result = 0;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        uint64_t value = cost->value(&analysis->rows[i], what);
        if (value)
            result = add_stack(analysis, flame, analysis->rows[i].stack, value, invert, add);
    }
    return result;
}

static const char *program_of(const struct ma_analysis *analysis)
{
    return analysis->trace.n_processes
               ? ma_process_text(analysis->trace.processes[0], MLF_TEXT_EXE)
               : NULL;
}

/* What one side of the graph leaves out: to be freed. NULL: memory is short. */
static char *filter_of(const struct ma_analysis *analysis)
{
    return analysis->filter ? ma_filter_text(analysis->filter) : strdup("not filtered");
}

/* The program and what the graph leaves out; NULL without a filter. */
static int filtered_subtitle(const struct ma_analysis *analysis, const struct ma_analysis *old,
                             char **subtitle)
{
    const char *program = program_of(analysis) ? program_of(analysis) : "";
    if (!analysis->filter && !(old && old->filter))
        return 0;
    char *of_new = filter_of(analysis), *of_old = filter_of(old ? old : analysis);
    int n = !of_new || !of_old ? -1
            : strcmp(of_new, of_old) == 0
                ? asprintf(subtitle, "%s, %s", program, of_new)
                : asprintf(subtitle, "%s, OLD %s, NEW %s", program, of_old, of_new);
    free(of_new);
    free(of_old);
    if (n < 0)
        *subtitle = NULL;
    return n < 0 ? -ENOMEM : 0;
}

int ma_flamegraph_write(struct ma_analysis *analysis, struct ma_analysis *old, bool svg,
                        FILE *out, struct ma_error *error)
{
    const struct ma_options *options = analysis->options;
    const struct cost *cost = find(options->flamegraph);
    enum ma_sort what = options->n_sort ? options->sort[0] : MA_SORT_BYTES;
    struct ma_flame *flame =
        ma_flame_begin(cost->title, what == MA_SORT_BYTES ? cost->by_bytes : cost->by_count);
    int result = flame ? 0 : -ENOMEM;
    char *subtitle = NULL;
    if (result == 0)
        result = filtered_subtitle(analysis, old, &subtitle);
    if (result == 0)
        result = add_rows(analysis, flame, cost, what, options->invert, ma_flame_add);
    if (result == 0 && old)
        result = add_rows(old, flame, cost, what, options->invert, ma_flame_add_old);
    if (result == 0) {
        struct ma_flame_look look = {
            .subtitle = subtitle ? subtitle : program_of(analysis),
            .icicle = options->icicle,
            .differential = old != NULL,
        };
        result = svg   ? ma_flame_write_svg(flame, &look, out)
                 : old ? ma_flame_write_folded_diff(flame, out)
                       : ma_flame_write_folded(flame, out);
        if (result == -EIO || ferror(out))
            result = 0; /* ma_output tells of it */
    }
    ma_flame_free(flame);
    free(subtitle);
    return result == -ENOMEM ? ma_fail_memory(error) : result;
}
