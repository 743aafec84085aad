/* SPDX-License-Identifier: MIT
 *
 * The format of Valgrind's callgrind (Valgrind manual, "Callgrind Format
 * Specification"), version 1, for KCachegrind and callgrind_annotate: costs by
 * function and line, and calls with what they cost in all.
 *
 * A function that is on a stack for the second time goes by name'2 there, as
 * Callgrind itself does with --separate-recs: so every stack passes a function
 * once, and no inclusive cost is more than the total: what is below a frame in the
 * tree of all stacks counts for its call, once a frame and not once a stack. "calls"
 * counts the allocations that were made through a call; real calls are not known.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_export.h"
#include "ma_export_strings.h"
#include "mlog_version.h"

enum { COSTS = 7, UNKNOWN = 0 /* "???" among objects and files */ };

struct function {
    uint32_t object, file, name;
};

struct sums {
    uint64_t costs[COSTS];
    uint64_t calls;
};

struct node {          /* of the trie */
    uint32_t function; /* which it is the nth time on its stacks, for n = times */
    uint32_t times;
    bool ends;              /* stacks end there */
    struct sums own, below; /* of the stacks that end there; of all that pass it */
};

struct line {                        /* of a function: own cost, or that of a call */
    uint32_t function, line, callee; /* callee MA_NONE: own */
    uint64_t costs[COSTS], calls;
};

struct profile {
    struct ma_strings objects, files, names;
    struct ma_pairs places, known; /* object and file; that and the name */
    struct function *functions;
    size_t n_functions, function_capacity;
    struct ma_pairs callers, keys; /* function and line; that and the callee */
    struct line *lines;
    size_t n_lines, line_capacity;
    uint64_t totals[COSTS];

    struct ma_analysis *analysis;
    struct ma_trie trie;
    struct node *nodes;
    struct ma_strings plain; /* names, to tell functions apart before they are numbered */
    struct ma_pairs plain_places, plain_known; /* as places and known */
    uint32_t *plain_of;                        /* function by number of the frame */
    uint32_t *on_the_way;                      /* how often, by function */
};

static void add_sums(struct sums *to, const struct sums *from)
{
    for (size_t i = 0; i < COSTS; i++)
        to->costs[i] += from->costs[i];
    to->calls += from->calls;
}

static int add_function(struct profile *profile, uint32_t place, uint32_t object, uint32_t file,
                        uint32_t name, uint32_t *id)
{
    bool is_new;
    *id = ma_pairs_add(&profile->known, place, name, &is_new);
    if (*id == MA_NONE)
        return -ENOMEM;
    if (!is_new)
        return 0;
    if (!MA_RESERVE(profile->functions, profile->n_functions, profile->function_capacity))
        return -ENOMEM;
    profile->functions[profile->n_functions++] = (struct function){object, file, name};
    return 0;
}

static uint32_t module_of(struct ma_strings *objects, const struct ma_frame *frame)
{
    return frame->module && frame->module[0] ? ma_strings_add_line(objects, frame->module)
                                             : UNKNOWN;
}

static uint32_t file_of(struct ma_strings *files, const struct ma_frame *frame)
{
    return frame->file ? ma_strings_add_line(files, frame->file) : UNKNOWN;
}

/* The function of a frame that is on its stack for the nth time. */
static int find_function(struct profile *profile, const struct ma_frame *frame, uint32_t times,
                         uint32_t *id)
{
    char buffer[256];
    bool is_new = false;
    uint32_t object = module_of(&profile->objects, frame), file = file_of(&profile->files, frame);
    uint32_t name =
        ma_strings_add_line(&profile->names, ma_frame_name(frame, buffer, sizeof buffer));
    if (object == MA_NONE || file == MA_NONE || name == MA_NONE)
        return -ENOMEM;
    uint32_t place = ma_pairs_add(&profile->places, object, file, &is_new);
    if (place == MA_NONE || add_function(profile, place, object, file, name, id) < 0)
        return -ENOMEM;
    if (times == 1)
        return 0;
    char *again;
    if (asprintf(&again, "%s'%" PRIu32, profile->names.texts[name], times) < 0)
        return -ENOMEM;
    name = ma_strings_add(&profile->names, again);
    free(again);
    return name == MA_NONE ? -ENOMEM : add_function(profile, place, object, file, name, id);
}

static int add_costs(struct profile *profile, uint32_t function, uint32_t at, uint32_t callee,
                     const uint64_t costs[COSTS], uint64_t calls)
{
    bool is_new;
    uint32_t caller = ma_pairs_add(&profile->callers, function, at, &is_new);
    uint32_t key =
        caller == MA_NONE ? MA_NONE : ma_pairs_add(&profile->keys, caller, callee, &is_new);
    if (key == MA_NONE ||
        (is_new && !MA_RESERVE(profile->lines, profile->n_lines, profile->line_capacity)))
        return -ENOMEM;
    if (is_new)
        profile->lines[profile->n_lines++] =
            (struct line){.function = function, .line = at, .callee = callee};
    struct line *line = &profile->lines[key];
    for (size_t i = 0; i < COSTS; i++)
        line->costs[i] += costs[i];
    line->calls += calls;
    return 0;
}

static const struct ma_frame *frame_of(const struct profile *profile, uint32_t node)
{
    return ma_stacks_resolved(&profile->analysis->stacks, profile->trie.nodes[node].frame);
}

/* The stacks as a tree, and what they cost. Those without frames have a function of
 * their own; they are the first rows. */
static int read_rows(struct profile *profile)
{
    static const struct ma_frame none = {.function = MA_NO_STACK};
    struct ma_analysis *analysis = profile->analysis;
    uint32_t *ends = malloc((analysis->n_rows + 1) * sizeof *ends);
    int result = ends ? 0 : -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++)
        result = ma_stacks_trie_add(&analysis->stacks, &profile->trie, analysis->rows[i].stack,
                                    &ends[i]);
    profile->nodes = calloc(profile->trie.n + 1, sizeof *profile->nodes);
    result = profile->nodes ? result : -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        const struct ma_row *row = &analysis->rows[i];
        const struct sums sums = {{
                                      row->bytes,
                                      row->calls,
                                      row->leaked_bytes,
                                      row->leaked_blocks,
                                      row->peak_bytes,
                                      row->peak_blocks,
                                      row->temporary,
                                  },
                                  row->calls};
        for (size_t k = 0; k < COSTS; k++)
            profile->totals[k] += sums.costs[k];
        uint32_t function;
        if (ends[i] != MA_NONE) {
            profile->nodes[ends[i]].ends = true;
            add_sums(&profile->nodes[ends[i]].own, &sums);
        } else if ((result = find_function(profile, &none, 1, &function)) == 0) {
            result = add_costs(profile, function, 0, MA_NONE, sums.costs, 0);
        }
    }
    free(ends);
    return result;
}

/* Numbers for functions, whatever their number in the file will be. */
static int tell_apart(struct profile *profile)
{
    const size_t n = profile->analysis->stacks.n_resolved;
    struct ma_strings objects = {0}, files = {0};
    int result =
        ma_strings_add(&objects, "???") == UNKNOWN && ma_strings_add(&files, "???") == UNKNOWN
            ? 0
            : -ENOMEM;
    profile->plain_of = malloc((n + 1) * sizeof *profile->plain_of);
    profile->on_the_way = calloc(n + 1, sizeof *profile->on_the_way);
    result = profile->plain_of && profile->on_the_way ? result : -ENOMEM;
    for (uint32_t i = 0; i < n && result == 0; i++) {
        const struct ma_frame *frame = ma_stacks_resolved(&profile->analysis->stacks, i);
        char buffer[256];
        bool is_new;
        uint32_t object = module_of(&objects, frame), file = file_of(&files, frame);
        uint32_t name =
            ma_strings_add_line(&profile->plain, ma_frame_name(frame, buffer, sizeof buffer));
        uint32_t place = object == MA_NONE || file == MA_NONE || name == MA_NONE
                             ? MA_NONE
                             : ma_pairs_add(&profile->plain_places, object, file, &is_new);
        profile->plain_of[i] =
            place == MA_NONE ? MA_NONE : ma_pairs_add(&profile->plain_known, place, name, &is_new);
        result = profile->plain_of[i] == MA_NONE ? -ENOMEM : 0;
    }
    ma_strings_free(&objects);
    ma_strings_free(&files);
    return result;
}

/* Count how often a node's function is on the way to it. */
static int count_times(void *context, uint32_t node, bool down)
{
    struct profile *profile = context;
    uint32_t *times = &profile->on_the_way[profile->plain_of[profile->trie.nodes[node].frame]];
    if (down)
        profile->nodes[node].times = ++*times;
    else
        --*times;
    return 0;
}

/* Functions are numbered as they are met, outermost first. */
static int add_functions(struct profile *profile)
{
    int result = 0;
    for (uint32_t i = 0; i < profile->trie.n && result == 0; i++)
        result = find_function(profile, frame_of(profile, i), profile->nodes[i].times,
                               &profile->nodes[i].function);
    return result;
}

static int add_lines(struct profile *profile)
{
    int result = 0;
    for (uint32_t i = (uint32_t)profile->trie.n; i-- > 0 && result == 0;) {
        struct node *node = &profile->nodes[i];
        const uint32_t parent = profile->trie.nodes[i].parent;
        add_sums(&node->below, &node->own);
        if (node->ends)
            result = add_costs(profile, node->function, frame_of(profile, i)->line, MA_NONE,
                               node->own.costs, 0);
        if (parent == MA_NONE || result < 0)
            continue;
        add_sums(&profile->nodes[parent].below, &node->below);
        result =
            add_costs(profile, profile->nodes[parent].function, frame_of(profile, parent)->line,
                      node->function, node->below.costs, node->below.calls);
    }
    return result;
}

static int read_all(struct profile *profile)
{
    int result = read_rows(profile);
    if (result == 0)
        result = tell_apart(profile);
    if (result == 0)
        result = ma_trie_walk(&profile->trie, count_times, profile);
    if (result == 0)
        result = add_functions(profile);
    return result == 0 ? add_lines(profile) : result;
}

static int by_place(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->function != y->function)
        return x->function < y->function ? -1 : 1;
    /* Own costs first: callee MA_NONE wraps to 0. */
    if (x->callee != y->callee)
        return x->callee + 1 < y->callee + 1 ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

/* A name in full the first time, then by its number. */
static void write_name(FILE *out, const char *key, const struct ma_strings *names, uint32_t id,
                       bool *written)
{
    fprintf(out, "%s=(%" PRIu32 ")", key, id + 1);
    if (!written[id])
        fprintf(out, " %s", names->texts[id]);
    written[id] = true;
    putc('\n', out);
}

static void write_costs(FILE *out, uint32_t line, const uint64_t costs[COSTS])
{
    fprintf(out, "%" PRIu32, line);
    for (size_t i = 0; i < COSTS; i++)
        fprintf(out, " %" PRIu64, costs[i]);
    putc('\n', out);
}

static int write_lines(const struct profile *profile, FILE *out)
{
    bool *objects = calloc(profile->objects.n + 1, 1), *files = calloc(profile->files.n + 1, 1);
    bool *names = calloc(profile->names.n + 1, 1);
    int result = objects && files && names ? 0 : -ENOMEM;
    for (size_t i = 0; i < profile->n_lines && result == 0; i++) {
        const struct line *line = &profile->lines[i];
        const struct function *function = &profile->functions[line->function];
        if (i == 0 || line[-1].function != line->function) {
            putc('\n', out);
            write_name(out, "ob", &profile->objects, function->object, objects);
            write_name(out, "fl", &profile->files, function->file, files);
            write_name(out, "fn", &profile->names, function->name, names);
        }
        if (line->callee != MA_NONE) {
            const struct function *callee = &profile->functions[line->callee];
            write_name(out, "cob", &profile->objects, callee->object, objects);
            write_name(out, "cfi", &profile->files, callee->file, files);
            write_name(out, "cfn", &profile->names, callee->name, names);
            fprintf(out, "calls=%" PRIu64 " 0\n", line->calls ? line->calls : 1);
        }
        write_costs(out, line->line, line->costs);
    }
    free(objects);
    free(files);
    free(names);
    return result;
}

static void write_head(const struct ma_analysis *analysis, const char *command, FILE *out)
{
    fprintf(out,
            "# callgrind format\nversion: 1\ncreator: mlog-analyze %s\npid: %" PRIu64 "\n"
            "cmd: %s\npositions: line\n"
            "event: AllocatedBytes : Bytes allocated\nevent: Allocations : Allocations\n"
            "event: LeakedBytes : Bytes never freed\nevent: LeakedBlocks : Blocks never freed\n"
            "event: PeakBytes : Bytes at the heap's peak\n"
            "event: PeakBlocks : Blocks at the heap's peak\n"
            "event: TemporaryBlocks : Blocks freed before the next allocation\n"
            "events: AllocatedBytes Allocations LeakedBytes LeakedBlocks PeakBytes PeakBlocks "
            "TemporaryBlocks\n",
            MLOG_VERSION,
            analysis->trace.n_processes ? ma_process_pid(analysis->trace.processes[0]) : 0,
            command);
}

static int write_callgrind(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    struct profile profile = {.analysis = analysis};
    char *command = ma_export_command(analysis);
    int result = command && ma_strings_add(&profile.objects, "???") == UNKNOWN &&
                         ma_strings_add(&profile.files, "???") == UNKNOWN
                     ? 0
                     : -ENOMEM;
    if (result == 0)
        result = read_all(&profile);
    if (result == 0) {
        if (profile.n_lines)
            qsort(profile.lines, profile.n_lines, sizeof *profile.lines, by_place);
        write_head(analysis, command, out);
        result = write_lines(&profile, out);
        fputs("\ntotals:", out);
        for (size_t i = 0; i < COSTS; i++)
            fprintf(out, " %" PRIu64, profile.totals[i]);
        putc('\n', out);
    }
    ma_strings_free(&profile.objects);
    ma_strings_free(&profile.files);
    ma_strings_free(&profile.names);
    ma_pairs_free(&profile.places);
    ma_pairs_free(&profile.known);
    ma_pairs_free(&profile.callers);
    ma_pairs_free(&profile.keys);
    ma_strings_free(&profile.plain);
    ma_pairs_free(&profile.plain_places);
    ma_pairs_free(&profile.plain_known);
    ma_trie_free(&profile.trie);
    free(profile.nodes);
    free(profile.plain_of);
    free(profile.on_the_way);
    free(profile.functions);
    free(profile.lines);
    free(command);
    return result;
}

const struct ma_exporter ma_exporter_callgrind = {
    .name = "callgrind",
    .help = "KCachegrind, callgrind_annotate",
    .write = write_callgrind,
};
