/* SPDX-License-Identifier: MIT
 *
 * The JSON that speedscope (www.speedscope.app) reads: frames once, and one
 * "sampled" profile a cost whose weights sum up to that cost's total. Its
 * format is defined by https://www.speedscope.app/file-format-schema.json. A stack
 * is an array of all its frames there, so the file grows with stacks times their depth.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ma_export.h"
#include "ma_export_strings.h"
#include "ma_text.h"
#include "mlog_version.h"

static uint64_t leaked(const struct ma_row *row)
{
    return row->leaked_bytes;
}
static uint64_t at_peak(const struct ma_row *row)
{
    return row->peak_bytes;
}
static uint64_t allocated_bytes(const struct ma_row *row)
{
    return row->bytes;
}
static uint64_t calls(const struct ma_row *row)
{
    return row->calls;
}
static uint64_t temporary(const struct ma_row *row)
{
    return row->temporary;
}

static const struct {
    const char *name, *unit;
    uint64_t (*value)(const struct ma_row *row);
} costs[] = {
    {"never freed (bytes)", "bytes", leaked},        {"heap at its peak (bytes)", "bytes", at_peak},
    {"allocated (bytes)", "bytes", allocated_bytes}, {"allocations (calls)", "none", calls},
    {"temporary blocks", "none", temporary},
};
enum { COSTS = sizeof costs / sizeof *costs };

struct digits { /* of a frame's number in the file, and a comma before */
    char text[12];
    unsigned char n;
};

struct frames {
    struct ma_strings names, files;
    struct ma_pairs functions, lines; /* name and file; that and the line */
    struct ma_trie trie;
    struct digits *of_nodes; /* by node of the trie */
    size_t n, capacity;
    struct digits no_stack;
    uint32_t *ends; /* by row: its innermost node, or MA_NONE */
    uint32_t *path; /* scratch: the nodes of a stack */
    size_t path_capacity;
};

static int take_frame(struct frames *all, const struct ma_frame *frame, FILE *out,
                      struct digits *digits)
{
    char buffer[256];
    bool is_new, is_new_line;
    uint32_t name = ma_strings_add(&all->names, ma_frame_name(frame, buffer, sizeof buffer));
    uint32_t file = ma_strings_add(&all->files, frame->file ? frame->file : "");
    if (name == MA_NONE || file == MA_NONE)
        return -ENOMEM;
    uint32_t function = ma_pairs_add(&all->functions, name, file, &is_new);
    uint32_t id = function == MA_NONE
                      ? MA_NONE
                      : ma_pairs_add(&all->lines, function, frame->line, &is_new_line);
    if (id == MA_NONE)
        return -ENOMEM;
    digits->n = (unsigned char)snprintf(digits->text, sizeof digits->text, ",%" PRIu32, id);
    if (!is_new_line)
        return 0;
    fprintf(out, "%s\n{\"name\":", id ? "," : "");
    ma_write_json_string(out, all->names.texts[name]);
    if (frame->file) {
        fputs(",\"file\":", out);
        ma_write_json_string(out, frame->file);
    }
    if (frame->line)
        fprintf(out, ",\"line\":%u", frame->line);
    putc('}', out);
    return 0;
}

static int take_frames(struct ma_analysis *analysis, struct frames *all, FILE *out)
{
    static const struct ma_frame none = {.function = MA_NO_STACK};
    int result = 0;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        result = ma_stacks_trie_add(&analysis->stacks, &all->trie, analysis->rows[i].stack,
                                    &all->ends[i]);
        if (result == 0 && all->ends[i] == MA_NONE)
            result = take_frame(all, &none, out, &all->no_stack);
        for (; all->n < all->trie.n && result == 0; all->n++)
            result =
                MA_RESERVE(all->of_nodes, all->n, all->capacity)
                    ? take_frame(
                          all, ma_stacks_resolved(&analysis->stacks, all->trie.nodes[all->n].frame),
                          out, &all->of_nodes[all->n])
                    : -ENOMEM;
    }
    return result;
}

/* A stack's frames, outermost first. */
static int write_sample(struct frames *all, uint32_t end, FILE *out)
{
    size_t n = 0;
    if (end == MA_NONE)
        fwrite(all->no_stack.text + 1, 1, all->no_stack.n - 1u, out);
    for (; end != MA_NONE; end = all->trie.nodes[end].parent) {
        if (!MA_RESERVE(all->path, n, all->path_capacity))
            return -ENOMEM;
        all->path[n++] = end;
    }
    for (size_t i = n; i-- > 0;) {
        const struct digits *digits = &all->of_nodes[all->path[i]];
        const bool first = i == n - 1;
        fwrite(digits->text + first, 1, digits->n - (size_t)first, out);
    }
    return 0;
}

static int write_profile(const struct ma_analysis *analysis, struct frames *all, size_t cost,
                         FILE *out)
{
    uint64_t total = 0;
    bool first = true;
    fprintf(out,
            "{\"type\":\"sampled\",\"name\":\"%s\",\"unit\":\"%s\",\"startValue\":0,"
            "\"samples\":[",
            costs[cost].name, costs[cost].unit);
    for (size_t i = 0; i < analysis->n_rows; i++) {
        if (!costs[cost].value(&analysis->rows[i]))
            continue;
        fputs(first ? "\n[" : ",\n[", out);
        first = false;
        if (write_sample(all, all->ends[i], out) < 0)
            return -ENOMEM;
        putc(']', out);
    }
    fputs("],\n\"weights\":[", out);
    first = true;
    for (size_t i = 0; i < analysis->n_rows; i++) {
        uint64_t value = costs[cost].value(&analysis->rows[i]);
        if (!value)
            continue;
        fprintf(out, "%s%" PRIu64, first ? "" : ",", value);
        first = false;
        total += value;
    }
    fprintf(out, "],\"endValue\":%" PRIu64 "}", total);
    return 0;
}

static int write_speedscope(struct ma_analysis *analysis, void *state, FILE *out)
{
    (void)state;
    struct frames all = {.ends = calloc(analysis->n_rows + 1, sizeof *all.ends)};
    char *command = ma_export_command(analysis);
    int result = all.ends && command ? 0 : -ENOMEM;
    if (result < 0)
        goto out;
    fprintf(out,
            "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\","
            "\"version\":\"0.0.1\",\"exporter\":\"mlog-analyze %s\",\n\"name\":",
            MLOG_VERSION);
    ma_write_json_string(out, command);
    fputs(",\"activeProfileIndex\":0,\n\"shared\":{\"frames\":[", out);
    result = take_frames(analysis, &all, out);
    if (result < 0)
        goto out;
    fputs("]},\n\"profiles\":[\n", out);
    for (size_t cost = 0; cost < COSTS && result == 0; cost++) {
        result = write_profile(analysis, &all, cost, out);
        fputs(cost + 1 < COSTS ? ",\n" : "]}\n", out);
    }
out:
    ma_strings_free(&all.names);
    ma_strings_free(&all.files);
    ma_pairs_free(&all.functions);
    ma_pairs_free(&all.lines);
    ma_trie_free(&all.trie);
    free(all.of_nodes);
    free(all.ends);
    free(all.path);
    free(command);
    return result;
}

const struct ma_exporter ma_exporter_speedscope = {
    .name = "speedscope",
    .help = "www.speedscope.app",
    .write = write_speedscope,
};
