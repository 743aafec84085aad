/* SPDX-License-Identifier: MIT
 *
 * The data of the interactive report as one string of bytes: the length of a JSON object
 * in four bytes, the object, and columns of numbers that it names. Stacks for which there
 * is no room become one, thread by thread, with all their cells: sums stay what they are.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ma_clock.h"
#include "ma_export_strings.h"
#include "ma_html.h"
#include "ma_label.h"
#include "ma_leaks.h"
#include "ma_report.h"
#include "ma_stack_key.h"
#include "ma_text.h"
#include "mlog_version.h"

#define NAMED 20000u  /* stacks whose frame to open is looked for, which takes time */
#define KEYS 20000u   /* stacks whose numbers are kept */
#define REASONS 1000u /* and why each is called what it is */

/* Columns, and how their numbers are written. */
#define COLUMNS(COLUMN)                                                                            \
    COLUMN(frame_name) /* a string's number */                                                     \
    COLUMN(frame_file)                                                                             \
    COLUMN(frame_line)                                                                             \
    COLUMN(frame_module)                                                                           \
    COLUMN(frame_flags) /* 1: inlined */                                                           \
    COLUMN(node_parent) /* how many nodes before; 0: none */                                       \
    COLUMN(node_frame)  /* change against the node before */                                       \
    COLUMN(stack_node)  /* change of 1 + its innermost node, 0: it has no frames */                \
    COLUMN(stack_own)   /* frames inwards of the one to open */                                    \
    COLUMN(stack_flags) /* kind, 8: never freed, 16: suppressed, 32: the others in one */          \
    COLUMN(stack_key)   /* 6 bytes each, no numbers */                                             \
    COLUMN(row_stack)   /* change */                                                               \
    COLUMN(row_thread)                                                                             \
    COLUMN(row_cells)  /* how many */                                                              \
    COLUMN(cell_born)  /* change within the row */                                                 \
    COLUMN(cell_freed) /* 1 + slots since born; 0: never */                                        \
    COLUMN(cell_blocks)                                                                            \
    COLUMN(cell_bytes)                                                                             \
    COLUMN(cell_temporary)

enum column {
#define COLUMN(name) COLUMN_##name,
    COLUMNS(COLUMN)
#undef COLUMN
        N_COLUMNS
};
static const char *const column_names[] = {
#define COLUMN(name) #name,
    COLUMNS(COLUMN)
#undef COLUMN
};

struct united { /* cells of stacks without room, of one thread */
    struct ma_span_cell *cells;
    size_t n, capacity;
    struct ma_map cell_of;
    struct ma_pairs rows; /* of process and thread */
    uint32_t *thread_of;  /* by united row: the page's number */
    size_t n_thread_of;
};

struct packer {
    struct ma_analysis *analysis;
    const struct ma_spans *spans;
    const struct ma_html_stacks *stacks;
    const struct ma_html_room *room;
    size_t kept;
    FILE *json;
    struct ma_strings strings;
    struct ma_trie trie;
    uint32_t *frame_of; /* by number among the frames resolved: the page's, or MA_NONE */
    size_t n_frame_of;
    uint32_t n_frames, latest_frame, latest_stack;
    struct ma_pairs threads;
    struct united united;
    struct ma_html_bytes columns[N_COLUMNS];
};

static void put(struct packer *packer, enum column column, uint64_t number)
{
    ma_html_put_number(&packer->columns[column], number);
}

static void put_change(struct packer *packer, enum column column, int64_t change)
{
    ma_html_put_change(&packer->columns[column], change);
}

/* A text's number; what is too long is cut. */
static uint32_t string_of(struct packer *packer, const char *text)
{
    char cut[MA_HTML_TEXT + 8];
    if (!text)
        text = "";
    if (strlen(text) > MA_HTML_TEXT) {
        size_t n = MA_HTML_TEXT;
        while (n > MA_HTML_TEXT - 4 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
        snprintf(cut, sizeof cut, "%.*s…", (int)n, text);
        text = cut;
    }
    return ma_strings_add(&packer->strings, text);
}

/* The page's number of a frame. Returns 0 or -ENOMEM. */
static int frame_of(struct packer *packer, const struct ma_frame *frame, uint32_t *number)
{
    char buffer[256];
    if (!MA_HOLDS_NUMBER(packer->frame_of, frame->number, packer->n_frame_of))
        return -ENOMEM;
    *number = packer->frame_of[frame->number];
    if (*number != MA_NONE)
        return 0;
    const uint32_t name = string_of(packer, ma_frame_name(frame, buffer, sizeof buffer));
    const uint32_t file = string_of(packer, frame->file);
    const uint32_t module = string_of(packer, frame->module);
    if (name == MA_NONE || file == MA_NONE || module == MA_NONE)
        return -ENOMEM;
    put(packer, COLUMN_frame_name, name);
    put(packer, COLUMN_frame_file, file);
    put(packer, COLUMN_frame_line, frame->line);
    put(packer, COLUMN_frame_module, module);
    put(packer, COLUMN_frame_flags, frame->inlined);
    *number = packer->frame_of[frame->number] = packer->n_frames++;
    return 0;
}

static int put_nodes(struct packer *packer, size_t from)
{
    for (size_t i = from; i < packer->trie.n; i++) {
        const struct ma_trie_node *node = &packer->trie.nodes[i];
        uint32_t frame;
        if (frame_of(packer, ma_stacks_resolved(&packer->analysis->stacks, node->frame), &frame) <
            0)
            return -ENOMEM;
        put(packer, COLUMN_node_parent, node->parent == MA_NONE ? 0 : i - node->parent);
        put_change(packer, COLUMN_node_frame, (int64_t)frame - packer->latest_frame);
        packer->latest_frame = frame;
    }
    return 0;
}

static int put_stack(struct packer *packer, size_t rank, const struct ma_leaks *leaks)
{
    struct ma_analysis *analysis = packer->analysis;
    const uint32_t at = packer->stacks->row_of[rank];
    const struct ma_row *row = &analysis->rows[at];
    const struct ma_leak *leak = &leaks->of[at];
    const size_t nodes = packer->trie.n;
    const struct ma_frame *frames;
    uint32_t node;
    uint64_t key;
    if (ma_stacks_trie_add(&analysis->stacks, &packer->trie, row->stack, &node) < 0 ||
        put_nodes(packer, nodes) < 0)
        return -ENOMEM;
    const uint32_t end = node == MA_NONE ? 0 : node + 1;
    put_change(packer, COLUMN_stack_node, (int64_t)end - packer->latest_stack);
    packer->latest_stack = end;
    const long n = ma_stacks_frames(&analysis->stacks, row->stack, &frames);
    if (n < 0)
        return -ENOMEM;
    put(packer, COLUMN_stack_own,
        !n             ? 0
        : rank < NAMED ? ma_label_own_frame(frames, (size_t)n)
                       : ma_label_frame(frames, (size_t)n));
    put(packer, COLUMN_stack_flags,
        (unsigned)leak->trend.kind | (row->leaked_blocks ? 8u : 0) |
            (row->leaked_blocks && leak->suppressed ? 16u : 0));
    if (rank >= KEYS)
        return 0;
    if (ma_stack_key(&analysis->stacks, row->stack, &key) < 0)
        return -ENOMEM;
    for (int shift = 56; shift >= 16; shift -= 8) {
        const unsigned char byte = (unsigned char)(key >> shift);
        ma_html_put(&packer->columns[COLUMN_stack_key], &byte, 1);
    }
    return 0;
}

static int put_stacks(struct packer *packer)
{
    const struct ma_leaks *leaks = ma_leaks_get(packer->analysis);
    char reason[MA_REASON_SIZE];
    int result = leaks ? 0 : -ENOMEM;
    for (size_t rank = 0; rank < packer->kept && result == 0; rank++)
        result = put_stack(packer, rank, leaks);
    if (result < 0)
        return result;
    fputs(",\"reasons\":{", packer->json);
    bool first = true;
    for (size_t rank = 0; rank < packer->kept && rank < REASONS; rank++) {
        const uint32_t at = packer->stacks->row_of[rank];
        const struct ma_row *row = &packer->analysis->rows[at];
        if (!row->leaked_blocks)
            continue;
        fprintf(packer->json, "%s\"%zu\":", first ? "" : ",", rank);
        first = false;
        ma_write_json_string(packer->json, ma_leak_reason(&leaks->of[at], row, reason));
    }
    fputc('}', packer->json);
    if (packer->kept < packer->stacks->n) { /* the one that stands for the others */
        put_change(packer, COLUMN_stack_node, -(int64_t)packer->latest_stack);
        put(packer, COLUMN_stack_own, 0);
        put(packer, COLUMN_stack_flags, 32);
    }
    return 0;
}

/* The page's number of a row's thread, written down if it is new; MA_NONE if memory is
 * short. */
static uint32_t thread_of(struct packer *packer, const struct ma_span_row *row)
{
    const struct ma_process *process = row->account->process;
    const uint32_t thread = packer->room->threads ? row->thread : MA_NONE;
    const struct ma_stream *stream =
        thread == MA_NONE ? NULL : packer->analysis->trace.streams[thread];
    bool is_new;
    const uint32_t number = ma_pairs_add(&packer->threads, process->index, thread, &is_new);
    if (number == MA_NONE || !is_new)
        return number;
    fprintf(packer->json, "%s{\"process\":%" PRIu32 ",\"tid\":", number ? "," : "", process->index);
    if (stream && stream->known)
        fprintf(packer->json, "%" PRIu64 ",\"name\":", stream->tid);
    else
        fputs("null,\"name\":", packer->json);
    if (stream && stream->name)
        ma_write_json_string(packer->json, stream->name);
    else
        fputs("null", packer->json);
    fprintf(packer->json, ",\"any\":%s}", stream ? "false" : "true");
    return number;
}

static void put_row(struct packer *packer, uint32_t stack, uint32_t thread, size_t cells)
{
    put_change(packer, COLUMN_row_stack, (int64_t)stack - packer->latest_stack);
    packer->latest_stack = stack;
    put(packer, COLUMN_row_thread, thread);
    put(packer, COLUMN_row_cells, cells);
}

static void put_cell(struct packer *packer, unsigned *latest, const struct ma_span_cell *cell,
                     bool freed)
{
    put_change(packer, COLUMN_cell_born, (int)cell->born - (int)*latest);
    *latest = cell->born;
    put(packer, COLUMN_cell_freed, freed ? cell->freed - cell->born + 1u : 0);
    put(packer, COLUMN_cell_blocks, cell->blocks);
    put(packer, COLUMN_cell_bytes, cell->bytes);
    put(packer, COLUMN_cell_temporary, cell->temporary);
}

/* Put the cells of a row, births in all first: of those the page gets what was never
 * freed. Returns how many were put. */
static size_t put_cells(struct packer *packer, const struct ma_span_cell *cells, size_t n)
{
    size_t written = 0;
    unsigned latest = 0;
    for (size_t i = 0; i < n;) {
        struct ma_span_cell left = cells[i];
        size_t k = i + 1;
        assert(left.freed == MA_SPANS_ALL);
        for (; k < n && cells[k].born == left.born; k++) {
            assert(cells[k].blocks <= left.blocks && cells[k].bytes <= left.bytes);
            left.blocks -= cells[k].blocks;
            left.bytes -= cells[k].bytes;
            put_cell(packer, &latest, &cells[k], true);
            written++;
        }
        if (left.blocks) {
            put_cell(packer, &latest, &left, false);
            written++;
        }
        i = k;
    }
    return written;
}

static int unite_cell(struct packer *packer, const struct ma_span_row *row,
                      const struct ma_span_cell *cell)
{
    struct united *united = &packer->united;
    bool is_new;
    const uint32_t thread = thread_of(packer, row);
    const uint32_t at = ma_pairs_add(&united->rows, thread, 0, &is_new);
    if (thread == MA_NONE || at == MA_NONE ||
        !MA_HOLDS_NUMBER(united->thread_of, at, united->n_thread_of))
        return -ENOMEM;
    united->thread_of[at] = thread;
    const uint64_t key = (uint64_t)at << 18 | (uint64_t)cell->born << 9 | cell->freed;
    const uint32_t known = ma_map_get(&united->cell_of, key);
    if (known != MA_NONE) {
        united->cells[known].blocks += cell->blocks;
        united->cells[known].bytes += cell->bytes;
        united->cells[known].temporary += cell->temporary;
        return 0;
    }
    if (!MA_RESERVE(united->cells, united->n, united->capacity) ||
        ma_map_set(&united->cell_of, key, (uint32_t)united->n) < 0)
        return -ENOMEM;
    united->cells[united->n] = *cell;
    united->cells[united->n++].row = at;
    return 0;
}

static int put_rows(struct packer *packer)
{
    const struct ma_spans *spans = packer->spans;
    packer->latest_stack = 0;
    fputs(",\"threads\":[", packer->json);
    for (size_t i = 0, k; i < spans->n_cells; i = k) {
        const uint32_t row = spans->cells[i].row, rank = packer->stacks->rank[row];
        for (k = i + 1; k < spans->n_cells && spans->cells[k].row == row; k++)
            ;
        if (rank >= packer->kept) {
            for (size_t n = i; n < k; n++)
                if (unite_cell(packer, &spans->rows[row], &spans->cells[n]) < 0)
                    return -ENOMEM;
            continue;
        }
        const uint32_t thread = thread_of(packer, &spans->rows[row]);
        if (thread == MA_NONE)
            return -ENOMEM;
        put_row(packer, rank, thread, put_cells(packer, &spans->cells[i], k - i));
    }
    struct united *united = &packer->united;
    ma_spans_sort_cells(united->cells, united->n);
    for (size_t i = 0, k; i < united->n; i = k) {
        const uint32_t row = united->cells[i].row;
        for (k = i + 1; k < united->n && united->cells[k].row == row; k++)
            ;
        put_row(packer, (uint32_t)packer->kept, united->thread_of[row],
                put_cells(packer, &united->cells[i], k - i));
    }
    fputc(']', packer->json);
    return 0;
}

static void write_processes(const struct packer *packer)
{
    const struct ma_trace *trace = &packer->analysis->trace;
    char command[MA_COMMAND_SIZE], name[MA_PROCESS_NAME];
    fputs(",\"processes\":[", packer->json);
    for (size_t i = 0; i < trace->n_processes; i++) {
        const struct ma_process *process = trace->processes[i];
        fprintf(packer->json, "%s{\"name\":", i ? "," : "");
        ma_write_json_string(packer->json, ma_process_name(trace, process, name));
        fputs(",\"command\":", packer->json);
        ma_write_json_string(packer->json, ma_report_command(process, true, command));
        fputc('}', packer->json);
    }
    fputc(']', packer->json);
}

static void write_marks(const struct packer *packer)
{
    const struct ma_spans *spans = packer->spans;
    fputs(",\"marks\":[", packer->json);
    for (size_t i = 0; i < spans->n_marks; i++) {
        const struct ma_span_mark *mark = &spans->marks[i];
        fprintf(packer->json, "%s{\"ns\":%" PRIu64 ",\"kind\":\"%s\",\"name\":", i ? "," : "",
                mark->ns,
                mark->kind == MLF_MARK_BEGIN ? "begin"
                : mark->kind == MLF_MARK_END ? "end"
                                             : "point");
        ma_write_json_string(packer->json, mark->name);
        fputc('}', packer->json);
    }
    fprintf(packer->json, "],\"marks_left\":%" PRIu64, spans->marks_left);
}

/* The points of the timeline, each [ns, bytes, blocks, resident or null]. */
static void write_timeline(const struct packer *packer)
{
    const struct ma_timeline *timeline = packer->analysis->timeline;
    uint64_t last = 0;
    fputs(",\"timeline\":[", packer->json);
    for (size_t i = 0; i < timeline->n_points; i++) {
        const struct ma_point *point = &timeline->points[i];
        const uint64_t ns = ma_export_time(packer->analysis, point, &last);
        fprintf(packer->json, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", i ? "," : "", ns,
                point->bytes, point->blocks);
        if (point->resident == UINT64_MAX)
            fputs("null]", packer->json);
        else
            fprintf(packer->json, "%" PRIu64 "]", point->resident);
    }
    fputc(']', packer->json);
}

/* Put all but the columns' table, which closes the object. */
static int put_content(struct packer *packer)
{
    const struct ma_spans *spans = packer->spans;
    FILE *json = packer->json;
    char *command = ma_export_command(packer->analysis);
    if (!command || string_of(packer, "") != 0) {
        free(command);
        return -ENOMEM;
    }
    fputs("{\"format\":1,\"writer\":\"mlog-analyze " MLOG_VERSION "\",\"command\":", json);
    ma_write_json_string(json, command);
    free(command);
    fprintf(json,
            ",\"duration_ns\":%" PRIu64 ",\"slots\":%" PRIu64 ",\"width_ns\":%" PRIu64
            ",\"crowded\":%s,\"united_stacks\":%zu,\"united_threads\":%s,\"words\":",
            packer->analysis->duration, spans->slots, ma_spans_width(spans),
            spans->crowded ? "true" : "false", packer->stacks->n - packer->kept,
            spans->rows_united || !packer->room->threads ? "true" : "false");
    int result = ma_html_write_words(packer->analysis, json);
    if (result == 0)
        result = put_stacks(packer);
    if (result == 0)
        result = put_rows(packer);
    write_processes(packer);
    write_marks(packer);
    write_timeline(packer);
    fputs(",\"strings\":[", json);
    for (size_t i = 0; i < packer->strings.n; i++) {
        if (i)
            fputc(',', json);
        ma_write_json_string(json, packer->strings.texts[i]);
    }
    fputs("],\"columns\":[", json);
    for (size_t i = 0; i < N_COLUMNS; i++)
        fprintf(json, "%s[\"%s\",%zu]", i ? "," : "", column_names[i], packer->columns[i].n);
    fputs("]}", json);
    return result;
}

static void packer_free(struct packer *packer)
{
    ma_strings_free(&packer->strings);
    ma_trie_free(&packer->trie);
    free(packer->frame_of);
    ma_pairs_free(&packer->threads);
    ma_pairs_free(&packer->united.rows);
    ma_map_free(&packer->united.cell_of);
    free(packer->united.cells);
    free(packer->united.thread_of);
    for (size_t i = 0; i < N_COLUMNS; i++)
        free(packer->columns[i].at);
}

int ma_html_pack(struct ma_analysis *analysis, const struct ma_spans *spans,
                 const struct ma_html_stacks *stacks, const struct ma_html_room *room,
                 struct ma_html_bytes *bytes)
{
    struct packer packer = {
        .analysis = analysis,
        .spans = spans,
        .stacks = stacks,
        .room = room,
        .kept = room->stacks < stacks->n ? room->stacks : stacks->n,
    };
    char *text = NULL;
    size_t n = 0;
    packer.json = open_memstream(&text, &n);
    int result = packer.json ? put_content(&packer) : -ENOMEM;
    if (packer.json && (ferror(packer.json) | fclose(packer.json)))
        result = -ENOMEM;
    if (result == 0) {
        const unsigned char length[4] = {(unsigned char)n, (unsigned char)(n >> 8),
                                         (unsigned char)(n >> 16), (unsigned char)(n >> 24)};
        bytes->n = 0;
        ma_html_put(bytes, length, sizeof length);
        ma_html_put(bytes, text, n);
        for (size_t i = 0; i < N_COLUMNS; i++) {
            bytes->failed |= packer.columns[i].failed;
            ma_html_put(bytes, packer.columns[i].at, packer.columns[i].n);
        }
    }
    free(text);
    packer_free(&packer);
    return bytes->failed ? -ENOMEM : result;
}
