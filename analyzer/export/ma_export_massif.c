/* SPDX-License-Identifier: MIT
 *
 * The format of Valgrind's massif, for ms_print and massif-visualizer: at most
 * SNAPSHOTS moments of the timeline, the peak among them with all its stacks,
 * and every tenth with those that the timeline keeps. Trees begin at the frame
 * that allocated. Times are in ms, with a fraction.
 *
 * In a tree '#' would begin a comment: it is written \x23. Stacks are told to
 * a depth of DEPTH frames.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_export.h"
#include "ma_export_strings.h"
#include "ma_gaps.h"

enum { SNAPSHOTS = 100, DETAILED = 10, DEPTH = 200, THRESHOLD = 1000 /* a 1,000th is told */ };

struct branch {
    uint32_t parent, frame;
    uint64_t bytes;
    size_t first, end; /* of its children in `sorted` */
};

/* Stacks and the texts of their frames, for all snapshots. */
struct texts {
    struct ma_analysis *analysis;
    struct ma_trie trie;
    struct ma_strings all;
    uint32_t *of_frames; /* by number of the frame: 1 + that of its text; 0: not met yet */
    size_t n_frames;
};

struct tree {
    struct texts *texts;
    struct ma_pairs known;   /* parent and frame */
    struct branch *branches; /* [0] is the root */
    size_t n, capacity;
    uint32_t *sorted; /* by parent, largest first */
};

static void tree_free(struct tree *tree)
{
    ma_pairs_free(&tree->known);
    free(tree->branches);
    free(tree->sorted);
}

static char *frame_text(const struct ma_frame *frame)
{
    char *text;
    const char *slash = frame->file ? strrchr(frame->file, '/') : NULL;
    const char *function = frame->function ? frame->function : "???";
    int n = frame->file && frame->line
                ? asprintf(&text, "0x%" PRIX64 ": %s (%s:%u)", frame->address, function,
                           slash ? slash + 1 : frame->file, frame->line)
                : asprintf(&text, "0x%" PRIX64 ": %s (in %s)", frame->address, function,
                           frame->module && frame->module[0] ? frame->module : "???");
    if (n < 0)
        return NULL;
    char *line = ma_export_is_line(text) ? text : ma_export_line(text);
    if (line != text)
        free(text);
    return line;
}

static void texts_free(struct texts *texts)
{
    ma_trie_free(&texts->trie);
    ma_strings_free(&texts->all);
    free(texts->of_frames);
}

/* The number of a frame's text, MA_NONE if memory is short. */
static uint32_t text_of(struct texts *texts, uint32_t frame)
{
    const struct ma_stacks *stacks = &texts->analysis->stacks;
    if (!MA_HOLDS(texts->of_frames, frame, texts->n_frames))
        return MA_NONE;
    uint32_t *of = &texts->of_frames[frame];
    if (!*of) {
        char *text = frame_text(ma_stacks_resolved(stacks, frame));
        *of = text ? ma_strings_add(&texts->all, text) + 1 : 0; /* MA_NONE + 1 is 0 */
        free(text);
    }
    return *of - 1;
}

static uint32_t add_branch(struct tree *tree, uint32_t parent, uint32_t text)
{
    bool is_new;
    uint32_t number = text == MA_NONE ? MA_NONE : ma_pairs_add(&tree->known, parent, text, &is_new);
    if (number == MA_NONE)
        return MA_NONE;
    if (is_new) {
        if (!MA_RESERVE(tree->branches, tree->n, tree->capacity))
            return MA_NONE;
        tree->branches[tree->n++] = (struct branch){.parent = parent, .frame = text};
    }
    return number + 1; /* the root is in no pair */
}

static int add_stack(struct tree *tree, uint32_t stack, uint64_t bytes)
{
    struct texts *texts = tree->texts;
    uint32_t node, at = 0;
    if (ma_stacks_trie_add(&texts->analysis->stacks, &texts->trie, stack, &node) < 0)
        return -ENOMEM;
    tree->branches[0].bytes += bytes;
    if (node == MA_NONE) {
        at = add_branch(tree, 0, ma_strings_add(&texts->all, MA_NO_STACK));
        if (at == MA_NONE)
            return -ENOMEM;
        tree->branches[at].bytes += bytes;
    }
    for (unsigned i = 0; node != MA_NONE && i < DEPTH; i++) {
        at = add_branch(tree, at, text_of(texts, texts->trie.nodes[node].frame));
        if (at == MA_NONE)
            return -ENOMEM;
        tree->branches[at].bytes += bytes;
        node = texts->trie.nodes[node].parent;
    }
    return 0;
}

static int tree_begin(struct tree *tree, struct texts *texts)
{
    *tree = (struct tree){.texts = texts};
    if (!MA_RESERVE(tree->branches, tree->n, tree->capacity))
        return -ENOMEM;
    tree->branches[tree->n++] = (struct branch){0};
    return 0;
}

static int by_bytes(const void *a, const void *b, void *context)
{
    const struct branch *branches = context;
    const struct branch *x = &branches[*(const uint32_t *)a], *y = &branches[*(const uint32_t *)b];
    if (x->parent != y->parent)
        return x->parent < y->parent ? -1 : 1;
    return x->bytes > y->bytes ? -1 : x->bytes < y->bytes ? 1 : x < y ? -1 : 1;
}

static int tree_sort(struct tree *tree)
{
    size_t n = tree->n - 1;
    tree->sorted = malloc((n + 1) * sizeof *tree->sorted);
    if (!tree->sorted)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        tree->sorted[i] = (uint32_t)i + 1;
    qsort_r(tree->sorted, n, sizeof *tree->sorted, by_bytes, tree->branches);
    for (size_t i = 0; i < n; i++) {
        struct branch *parent = &tree->branches[tree->branches[tree->sorted[i]].parent];
        if (!parent->end)
            parent->first = i;
        parent->end = i + 1;
    }
    return 0;
}

static void write_frame(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '#')
            fputs("\\x23", out);
        else
            putc(*text, out);
    }
}

/* Recurses to a depth of DEPTH. `rest` are bytes of the root in no branch. */
static void write_branch(const struct tree *tree, size_t at, unsigned depth, uint64_t rest,
                         uint64_t whole, FILE *out)
{
    const struct branch *branch = &tree->branches[at];
    uint64_t small = rest;
    size_t n = 0, n_small = rest > 0;
    for (size_t i = branch->first; i < branch->end; i++) {
        uint64_t bytes = tree->branches[tree->sorted[i]].bytes;
        if (bytes >= whole / THRESHOLD && bytes) {
            n++;
        } else {
            n_small++;
            small += bytes;
        }
    }
    fprintf(out, "%*sn%zu: %" PRIu64 " ", (int)depth, "", n + (n_small && small),
            branch->bytes + rest);
    if (at)
        write_frame(out, tree->texts->all.texts[branch->frame]);
    else
        fputs("(heap allocation functions) malloc/new/new[], --alloc-fns, etc.", out);
    putc('\n', out);
    for (size_t i = branch->first; i < branch->first + n; i++)
        write_branch(tree, tree->sorted[i], depth + 1, 0, whole, out);
    if (n_small && small)
        fprintf(out, "%*sn0: %" PRIu64 " in %zu place%s, all below massif's threshold (0.10%%)\n",
                (int)depth + 1, "", small, n_small, n_small == 1 ? "" : "s");
}

static int write_peak(struct texts *texts, FILE *out)
{
    const struct ma_analysis *analysis = texts->analysis;
    struct tree tree;
    int result = tree_begin(&tree, texts);
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        if (analysis->rows[i].peak_bytes)
            result = add_stack(&tree, analysis->rows[i].stack, analysis->rows[i].peak_bytes);
    }
    if (result == 0)
        result = tree_sort(&tree);
    if (result == 0)
        write_branch(&tree, 0, 0, 0, tree.branches[0].bytes, out);
    tree_free(&tree);
    return result;
}

/* Write the bytes of the timeline's stacks at a point; the rest is one entry. */
static int write_detailed(struct texts *texts, size_t point, FILE *out)
{
    struct ma_analysis *analysis = texts->analysis;
    const struct ma_timeline *timeline = analysis->timeline;
    struct tree tree;
    int result = tree_begin(&tree, texts);
    for (size_t i = 0; i < timeline->n_candidates && result == 0; i++) {
        const struct ma_candidate *candidate = &timeline->candidates[i];
        uint32_t stack;
        if (!candidate->bytes[point])
            continue;
        result = ma_stacks_id(&analysis->stacks, candidate->account->process,
                              candidate->account->stacks[candidate->site], &stack);
        if (result == 0)
            result = add_stack(&tree, stack, candidate->bytes[point]);
    }
    if (result == 0)
        result = tree_sort(&tree);
    uint64_t whole = timeline->points[point].bytes, told = tree.n ? tree.branches[0].bytes : 0;
    if (result == 0)
        write_branch(&tree, 0, 0, whole > told ? whole - told : 0, whole, out);
    tree_free(&tree);
    return result;
}

/* The point of [from, to) that holds most, the earliest of such. */
static size_t highest(const struct ma_timeline *timeline, size_t from, size_t to)
{
    size_t best = from;
    for (size_t i = from; i < to; i++)
        best = timeline->points[i].bytes > timeline->points[best].bytes ? i : best;
    return best;
}

static int write_snapshot(struct texts *texts, size_t number, size_t point, size_t peak,
                          uint64_t *last, FILE *out)
{
    const struct ma_timeline *timeline = texts->analysis->timeline;
    uint64_t time = ma_export_time(texts->analysis, &timeline->points[point], last);
    bool detailed = number % DETAILED == DETAILED - 1;
    fprintf(out,
            "#-----------\nsnapshot=%zu\n#-----------\ntime=%" PRIu64 ".%06" PRIu64
            "\nmem_heap_B=%" PRIu64 "\nmem_heap_extra_B=0\nmem_stacks_B=0\nheap_tree=%s\n",
            number, time / 1000000, time % 1000000, timeline->points[point].bytes,
            point == peak ? "peak"
            : detailed    ? "detailed"
                          : "empty");
    return point == peak ? write_peak(texts, out)
           : detailed    ? write_detailed(texts, point, out)
                         : 0;
}

static int write_massif(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    const struct ma_timeline *timeline = analysis->timeline;
    char *command = ma_export_command(analysis);
    if (!command)
        return -ENOMEM;
    char paused[MA_GAPS_WORDS];
    fprintf(out, "desc: --time-unit=ms%s%s\ncmd: ", ma_gaps_count(&analysis->trace) ? "; " : "",
            ma_gaps_words(&analysis->trace, paused));
    write_frame(out, command);
    fputs("\ntime_unit: ms\n", out);
    free(command);
    size_t n = timeline->n_points, number = 0, peak = n ? highest(timeline, 0, n) : 0;
    uint64_t last = 0;
    if (n == 0) { /* ms_print wants one */
        fputs("snapshot=0\ntime=0\nmem_heap_B=0\nmem_heap_extra_B=0\nmem_stacks_B=0\n"
              "heap_tree=empty\n",
              out);
        return 0;
    }
    /* One for each equal share of the points, and the last. */
    size_t shares = n < SNAPSHOTS ? n - 1 : SNAPSHOTS - 1;
    struct texts texts = {.analysis = analysis};
    int result = 0;
    for (size_t i = 0; i < shares && result == 0; i++) {
        size_t from = i * (n - 1) / shares, to = (i + 1) * (n - 1) / shares;
        result = write_snapshot(&texts, number++, highest(timeline, from, to), peak, &last, out);
    }
    if (result == 0)
        result = write_snapshot(&texts, number, n - 1, peak, &last, out);
    texts_free(&texts);
    return result;
}

const struct ma_exporter ma_exporter_massif = {
    .name = "massif",
    .help = "ms_print, massif-visualizer",
    .write = write_massif,
    .timeline = true,
};
