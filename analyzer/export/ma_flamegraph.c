/* SPDX-License-Identifier: MIT
 *
 * From rows to flame graphs; see ma_flamegraph.h.
 */
#include "ma_flamegraph.h"

#include <errno.h>
#include <string.h>

#include "ma_flame.h"
#include "ma_gaps.h"
#include "ma_label.h"
#include "ma_text.h"

enum { INVERTED_MAX = 20000 }; /* frames of an inverted picture, some 5 MB */

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
    {"leaks", "Never freed", leaks, MA_FLAME_BYTES, MA_FLAME_BLOCKS},
    {"peak", "Heap at its peak", peak, MA_FLAME_BYTES, MA_FLAME_BLOCKS},
    {"allocations", "Allocations", allocations, MA_FLAME_BYTES, MA_FLAME_CALLS},
    {"calls", "Allocation calls", calls, MA_FLAME_CALLS, MA_FLAME_CALLS},
    {"temporary", "Temporary blocks: freed before the next allocation", temporary, MA_FLAME_BLOCKS,
     MA_FLAME_BLOCKS},
};

static const struct cost *find_cost(const char *name)
{
    for (size_t i = 0; i < sizeof costs / sizeof *costs; i++) {
        if (strcmp(costs[i].name, name) == 0)
            return &costs[i];
    }
    return NULL;
}

bool ma_flamegraph_known(const char *cost)
{
    return find_cost(cost) != NULL;
}

const char *ma_flamegraph_names(void)
{
    return "leaks, peak, allocations, calls, temporary";
}

/* The rows of one side on their way into the graph. */
struct bearer {
    struct ma_analysis *analysis;
    struct ma_flame *flame;
    struct ma_trie trie;
    uint32_t *files; /* by number of the frame; MA_NONE: unknown */
    uint32_t *names; /* by number of the frame; MA_NONE: not met yet */
    uint32_t *nodes; /* in the graph, by node of the trie */
    size_t n_names, n_files, n_nodes;
    size_t united; /* stacks of which not all frames have room */
};

static int file_of(struct bearer *bearer, uint32_t frame, const char *file)
{
    if (!MA_HOLDS_NUMBER(bearer->files, frame, bearer->n_files))
        return -ENOMEM;
    return ma_flame_name(bearer->flame, ma_label_short_path(file), &bearer->files[frame]);
}

static int name_of(struct bearer *bearer, uint32_t node, uint32_t *name)
{
    const uint32_t frame = bearer->trie.nodes[node].frame;
    char buffer[256];
    int result = MA_HOLDS_NUMBER(bearer->names, frame, bearer->n_names) ? 0 : -ENOMEM;
    if (result == 0 && bearer->names[frame] == MA_NONE) {
        const struct ma_frame *told = ma_stacks_resolved(&bearer->analysis->stacks, frame);
        result = ma_flame_name(bearer->flame, ma_frame_name(told, buffer, sizeof buffer),
                               &bearer->names[frame]);
        if (result == 0 && told->file)
            result = file_of(bearer, frame, told->file);
    }
    if (result == 0)
        *name = bearer->names[frame];
    return result;
}

/* The frame of the graph for a node of the trie that `parent` calls; as ma_flame_node. */
static int place(struct bearer *bearer, uint32_t node, uint32_t parent, uint32_t *placed)
{
    const uint32_t frame = bearer->trie.nodes[node].frame;
    uint32_t name;
    int result = name_of(bearer, node, &name);
    if (result == 0)
        result = ma_flame_node(bearer->flame, parent, name, placed);
    if (result == 0) {
        const struct ma_frame *told = ma_stacks_resolved(&bearer->analysis->stacks, frame);
        ma_flame_tell(bearer->flame, *placed, ma_label_is_own(told),
                      frame < bearer->n_files ? bearer->files[frame] : MA_FLAME_NO_FILE,
                      told->line);
    }
    return result;
}

/* Into the graph with the nodes from this one on: parents come first. */
static int carry(struct bearer *bearer, size_t from)
{
    int result = MA_HOLDS_NUMBER(bearer->nodes, bearer->trie.n, bearer->n_nodes) ? 0 : -ENOMEM;
    for (size_t i = from; i < bearer->trie.n && result == 0; i++) {
        const uint32_t parent = bearer->trie.nodes[i].parent;
        result = place(bearer, (uint32_t)i, parent == MA_NONE ? 0 : bearer->nodes[parent],
                       &bearer->nodes[i]);
    }
    return result;
}

/* The frame of the graph at which a stack ends: that of its innermost frame or, if it
 * is to be inverted, of its outermost. */
static int find_end(struct bearer *bearer, uint32_t stack, bool invert, uint32_t *end)
{
    const size_t n = bearer->trie.n;
    uint32_t node, name;
    int result = ma_stacks_trie_add(&bearer->analysis->stacks, &bearer->trie, stack, &node);
    *end = 0;
    if (result == 0 && node == MA_NONE) {
        result = ma_flame_name(bearer->flame, "(no stack)", &name);
        if (result == 0)
            result = ma_flame_node(bearer->flame, 0, name, end);
        return result < 0 ? result : 0;
    }
    if (result == 0 && !invert) {
        result = carry(bearer, n);
        *end = result < 0 ? 0 : bearer->nodes[node];
    }
    for (; invert && node != MA_NONE && result == 0; node = bearer->trie.nodes[node].parent)
        result = place(bearer, node, *end, end);
    bearer->united += result > 0;
    return result < 0 ? result : 0;
}

typedef void count_function(struct ma_flame *flame, uint32_t node, uint64_t value);

static const char *program_of(const struct ma_analysis *analysis)
{
    return analysis->trace.n_processes ? ma_process_text(analysis->trace.processes[0], MLF_TEXT_EXE)
                                       : NULL;
}

struct weight {
    uint64_t value;
    size_t row;
};

/* Those that weigh most first: where not all have room, they have it. */
static int compare_weights(const void *a_, const void *b_)
{
    const struct weight *a = a_, *b = b_;
    if (a->value != b->value)
        return a->value > b->value ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

/* Adds the rows of one side, and to *united the stacks of which not all frames had room. */
static int add_rows(struct ma_analysis *analysis, struct ma_flame *flame, const struct cost *cost,
                    enum ma_sort what, bool invert, count_function *count, size_t *united)
{
    struct bearer bearer = {.analysis = analysis, .flame = flame};
    struct weight *weights = calloc(analysis->n_rows + 1, sizeof *weights);
    int result = weights ? 0 : -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; weights && i < analysis->n_rows; i++) {
        weights[n] = (struct weight){cost->value(&analysis->rows[i], what), i};
        n += weights[n].value > 0;
    }
    if (weights && invert)
        qsort(weights, n, sizeof *weights, compare_weights);
    for (size_t i = 0; i < n && result == 0; i++) {
        uint32_t end;
        result = find_end(&bearer, analysis->rows[weights[i].row].stack, invert, &end);
        if (result == 0)
            count(flame, end, weights[i].value);
    }
    *united += bearer.united;
    free(weights);
    free(bearer.names);
    free(bearer.files);
    free(bearer.nodes);
    ma_trie_free(&bearer.trie);
    return result;
}

/* The filter of one side of the graph, in words: to be freed. NULL: memory is short. */
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

int ma_flamegraph_write(struct ma_analysis *analysis, struct ma_analysis *old, bool svg, FILE *out,
                        struct ma_error *error)
{
    const struct ma_request *request = analysis->request;
    const struct cost *cost = find_cost(request->flamegraph);
    enum ma_sort what = request->n_sort ? request->sort[0] : MA_SORT_BYTES;
    struct ma_flame *flame =
        ma_flame_begin(cost->title, what == MA_SORT_BYTES ? cost->by_bytes : cost->by_count);
    int result = flame ? 0 : -ENOMEM;
    char *subtitle = NULL, note[320], paused[MA_GAPS_WORDS];
    size_t united = 0;
    /* Hardly two stacks share their outer frames once these come last. */
    if (result == 0 && request->invert && svg)
        ma_flame_bound(flame, INVERTED_MAX);
    if (result == 0)
        result = filtered_subtitle(analysis, old, &subtitle);
    if (result == 0)
        result = add_rows(analysis, flame, cost, what, request->invert, ma_flame_count, &united);
    if (result == 0 && old)
        result = add_rows(old, flame, cost, what, request->invert, ma_flame_count_old, &united);
    if (result == 0) {
        const bool is_paused = *ma_gaps_words(&analysis->trace, paused) ||
                               (old && *ma_gaps_words(&old->trace, paused));
        int n = !united
                    ? 0
                    : snprintf(note, sizeof note,
                               "%zu stack%s not told apart to the end, beyond %d frames: see "
                               "(more frames)%s",
                               united, united == 1 ? "" : "s", INVERTED_MAX, is_paused ? "; " : "");
        snprintf(note + n, sizeof note - (size_t)n, "%s", is_paused ? paused : "");
        struct ma_flame_look look = {
            .note = united || is_paused ? note : NULL,
            .subtitle = subtitle ? subtitle : program_of(analysis),
            .icicle = request->icicle,
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
