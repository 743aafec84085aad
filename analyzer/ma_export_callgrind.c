/* SPDX-License-Identifier: MIT
 *
 * The format of Valgrind's callgrind (Valgrind manual, "Callgrind Format
 * Specification"), version 1, for KCachegrind and callgrind_annotate: costs by
 * function and line, and calls with what they cost in all.
 *
 * A function that is on a stack for the second time goes by name'2 there, as
 * Callgrind itself does with --separate-recs: so every stack passes a function
 * once, and no inclusive cost is more than the total. "calls" counts the
 * allocations that were made through a call; real calls are not known.
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
    uint32_t times; /* it was met on stack number `stack` so far */
    size_t stack;
};

struct line { /* of a function: own cost, or that of a call */
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
    size_t n_stacks;
    uint64_t totals[COSTS];
};

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
    profile->functions[profile->n_functions++] = (struct function){ object, file, name, 0, 0 };
    return 0;
}

/* The function of a frame which is on this stack for the nth time. */
static int find_function(struct profile *profile, const struct ma_frame *frame, uint32_t *id)
{
    char buffer[256];
    bool is_new = false;
    uint32_t object = frame->module && frame->module[0]
                          ? ma_strings_add_line(&profile->objects, frame->module)
                          : UNKNOWN;
    uint32_t file = frame->file ? ma_strings_add_line(&profile->files, frame->file) : UNKNOWN;
    uint32_t name =
        ma_strings_add_line(&profile->names, ma_frame_name(frame, buffer, sizeof buffer));
    if (object == MA_NONE || file == MA_NONE || name == MA_NONE)
        return -ENOMEM;
    uint32_t place = ma_pairs_add(&profile->places, object, file, &is_new);
    if (place == MA_NONE || add_function(profile, place, object, file, name, id) < 0)
        return -ENOMEM;
    struct function *met = &profile->functions[*id];
    met->times = met->stack == profile->n_stacks ? met->times + 1 : 1;
    met->stack = profile->n_stacks;
    if (met->times == 1)
        return 0;
    char *again;
    if (asprintf(&again, "%s'%" PRIu32, profile->names.texts[name], met->times) < 0)
        return -ENOMEM;
    name = ma_strings_add(&profile->names, again);
    free(again);
    return name == MA_NONE ? -ENOMEM
                           : add_function(profile, place, object, file, name, id);
}

static int add_costs(struct profile *profile, uint32_t function, uint32_t at, uint32_t callee,
                     const uint64_t costs[COSTS], uint64_t calls)
{
    bool is_new;
    uint32_t caller = ma_pairs_add(&profile->callers, function, at, &is_new);
    uint32_t key = caller == MA_NONE ? MA_NONE
                                     : ma_pairs_add(&profile->keys, caller, callee, &is_new);
    if (key == MA_NONE ||
        (is_new && !MA_RESERVE(profile->lines, profile->n_lines, profile->line_capacity)))
        return -ENOMEM;
    if (is_new)
        profile->lines[profile->n_lines++] =
            (struct line){ .function = function, .line = at, .callee = callee };
    struct line *line = &profile->lines[key];
    for (size_t i = 0; i < COSTS; i++)
        line->costs[i] += costs[i];
    line->calls += calls;
    return 0;
}

static int add_row(struct profile *profile, struct ma_analysis *analysis,
                   const struct ma_row *row)
{
    static const struct ma_frame none = { .function = MA_NO_STACK };
    const uint64_t costs[COSTS] = {
        row->bytes,      row->calls,       row->leaked_bytes, row->leaked_blocks,
        row->peak_bytes, row->peak_blocks, row->temporary,
    };
    const struct ma_frame *frames;
    long n = ma_stacks_frames(&analysis->stacks, row->stack, &frames);
    if (n < 0)
        return -ENOMEM;
    if (n == 0) {
        frames = &none;
        n = 1;
    }
    uint32_t caller = MA_NONE;
    profile->n_stacks++;
    for (long i = n; i-- > 0;) {
        uint32_t function;
        if (find_function(profile, &frames[i], &function) < 0 ||
            (caller != MA_NONE &&
             add_costs(profile, caller, frames[i + 1].line, function, costs, row->calls) < 0) ||
            (i == 0 && add_costs(profile, function, frames[i].line, MA_NONE, costs, 0) < 0))
            return -ENOMEM;
        caller = function;
    }
    for (size_t i = 0; i < COSTS; i++)
        profile->totals[i] += costs[i];
    return 0;
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

int ma_export_callgrind(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    struct profile profile = { 0 };
    char *command = ma_export_command(analysis);
    int result = command && ma_strings_add(&profile.objects, "???") == UNKNOWN &&
                         ma_strings_add(&profile.files, "???") == UNKNOWN
                     ? 0
                     : -ENOMEM;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++)
        result = add_row(&profile, analysis, &analysis->rows[i]);
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
    free(profile.functions);
    free(profile.lines);
    free(command);
    return result;
}
