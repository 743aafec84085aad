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

static const struct cost {
    const char *name, *title;
    uint64_t (*value)(const struct ma_row *row, enum ma_sort what);
} costs[] = {
    { "leaks", "Never freed", leaks },
    { "peak", "Heap at its peak", peak },
    { "allocations", "Allocations", allocations },
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
    return "leaks, peak, allocations";
}

/* Names of one stack, root first. Unresolved frames need a name of their own,
 * which lives in `made`. */
static int add_stack(struct ma_analysis *analysis, struct ma_flame *flame, uint32_t stack,
                     uint64_t value)
{
    const struct ma_frame *frames;
    char buffer[256];
    long n = ma_stacks_frames(&analysis->stacks, stack, &frames);
    if (n < 0)
        return -ENOMEM;
    if (n == 0)
        return ma_flame_add(flame, (const char *const[]){ "(no stack)" }, 1, value);
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
        names[n - 1 - i] = name;
    }
    if (result == 0)
        result = ma_flame_add(flame, names, (size_t)n, value);
    for (long i = 0; made && i < n; i++)
        free(made[i]);
    free(made);
    free(names);
    return result;
}

int ma_flamegraph_write(struct ma_analysis *analysis, bool svg, FILE *out,
                        struct ma_error *error)
{
    const struct ma_options *options = analysis->options;
    const struct cost *cost = find(options->flamegraph);
    enum ma_sort what = options->n_sort ? options->sort[0] : MA_SORT_BYTES;
    bool calls = cost->value == allocations && what != MA_SORT_BYTES;
    struct ma_flame *flame =
        ma_flame_begin(cost->title, what == MA_SORT_BYTES ? MA_FLAME_BYTES
                                    : calls               ? MA_FLAME_CALLS
                                                          : MA_FLAME_BLOCKS);
    int result = flame ? 0 : -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        uint64_t value = cost->value(&analysis->rows[i], what);
        if (value)
            result = add_stack(analysis, flame, analysis->rows[i].stack, value);
    }
    if (result == 0) {
        struct ma_flame_look look = {
            .subtitle = analysis->trace.n_processes
                            ? ma_process_text(analysis->trace.processes[0], MLF_TEXT_EXE)
                            : NULL,
        };
        result = svg ? ma_flame_write_svg(flame, &look, out) : ma_flame_write_folded(flame, out);
        if (result == -EIO || ferror(out))
            result = 0; /* ma_output tells of it */
    }
    ma_flame_free(flame);
    return result == -ENOMEM ? ma_fail_memory(error) : result;
}
