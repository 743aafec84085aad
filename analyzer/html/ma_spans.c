/* SPDX-License-Identifier: MIT
 *
 * Counting of spans; see ma_spans.h. An event finds its row by a short list that its
 * site has, and its cell by what the row met last, mostly; else in a map.
 */
#include "ma_spans.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_gaps.h"
#include "ma_replay.h"
#include "ma_unsure.h"

#define MOST_CELLS ((size_t)4 << 20)
#define MOST_ROWS ((size_t)1 << 20)
#define MOST_LEVEL 53 /* MA_SPANS_FIRST_WIDTH << this is below 2^63 */

struct ma_span_process {
    struct ma_heap heap; /* site: a row; time: MA_SPANS_FIRST_WIDTH units */
    bool begun;
    uint64_t first;   /* time of its first block: none is earlier */
    uint32_t *row_of; /* by site: the first row of its list, or MA_NONE */
    size_t n_row_of;
    struct ma_block *displaced; /* whose address another has by now: their realloc has begun */
    size_t n_displaced, displaced_capacity;
};

static uint64_t key_of(uint32_t row, unsigned born, unsigned freed)
{
    return (uint64_t)row << 18 | (uint64_t)born << 9 | freed;
}

/* Make slots twice as wide; cells that become one are united. Returns 0 or -ENOMEM,
 * after which the cells are of no use. */
static int widen(struct ma_spans *spans)
{
    const size_t n = spans->n_cells;
    spans->level++;
    spans->slots = (spans->slots + 1) / 2;
    ma_map_free(&spans->cell_of);
    spans->cell_of = (struct ma_map){0};
    for (size_t i = 0; i < spans->n_rows; i++)
        spans->rows[i].allocated = spans->rows[i].freed = MA_NONE;
    spans->n_cells = 0;
    for (size_t i = 0; i < n; i++) {
        struct ma_span_cell cell = spans->cells[i];
        cell.born /= 2;
        cell.freed = cell.freed == MA_SPANS_ALL ? MA_SPANS_ALL : cell.freed / 2;
        const uint64_t key = key_of(cell.row, cell.born, cell.freed);
        const uint32_t at = ma_map_get(&spans->cell_of, key);
        if (at == MA_NONE) {
            if (ma_map_set(&spans->cell_of, key, (uint32_t)spans->n_cells) < 0)
                return -ENOMEM;
            spans->cells[spans->n_cells++] = cell;
            continue;
        }
        spans->cells[at].blocks += cell.blocks;
        spans->cells[at].bytes += cell.bytes;
        spans->cells[at].temporary += cell.temporary;
    }
    return 0;
}

/* The slot of a time, after slots were widened for it if need be. */
static int slot_of(struct ma_spans *spans, uint64_t time, unsigned *slot)
{
    while (time >> spans->level >= MA_SPANS && spans->level < MOST_LEVEL) {
        if (widen(spans) < 0)
            return -ENOMEM;
    }
    assert(time >> spans->level < MA_SPANS);
    *slot = (unsigned)(time >> spans->level);
    if (*slot >= spans->slots)
        spans->slots = *slot + 1u;
    return 0;
}

/* Have room for a cell more: wider slots, and if these are of no help a higher bound. */
static int make_room(struct ma_spans *spans)
{
    while (spans->n_cells > spans->most_cells / 4 * 3 && spans->slots > 1) {
        spans->crowded = true;
        if (widen(spans) < 0)
            return -ENOMEM;
    }
    if (spans->n_cells > spans->most_cells / 4 * 3)
        spans->most_cells *= 2;
    return 0;
}

/* The cell of a row, made if it is new; *latest is the row's. Slots are of the level. */
static struct ma_span_cell *cell_at(struct ma_spans *spans, uint32_t row, unsigned born,
                                    unsigned freed, bool all)
{
    uint32_t *latest = all ? &spans->rows[row].allocated : &spans->rows[row].freed;
    if (*latest != MA_NONE) {
        struct ma_span_cell *cell = &spans->cells[*latest];
        if (cell->born == born && cell->freed == freed)
            return cell;
    }
    const uint64_t key = key_of(row, born, freed);
    uint32_t at = ma_map_get(&spans->cell_of, key);
    if (at == MA_NONE) {
        at = (uint32_t)spans->n_cells;
        if (!MA_RESERVE(spans->cells, spans->n_cells, spans->cell_capacity) ||
            ma_map_set(&spans->cell_of, key, at) < 0)
            return NULL;
        spans->cells[spans->n_cells++] =
            (struct ma_span_cell){.row = row, .born = (uint16_t)born, .freed = (uint16_t)freed};
    }
    *latest = at;
    return &spans->cells[at];
}

static struct ma_span_process *process_of(struct ma_spans *spans, const struct ma_seen *seen)
{
    const uint32_t index = seen->process->index;
    return MA_HOLDS(spans->processes, index, spans->n_processes) ? &spans->processes[index] : NULL;
}

/* The row of a block that begins, or MA_NONE if memory is short. */
static uint32_t row_of(struct ma_spans *spans, struct ma_span_process *process,
                       const struct ma_seen *seen, const struct ma_seen_block *block)
{
    if (!MA_HOLDS_NUMBER(process->row_of, block->site, process->n_row_of))
        return MA_NONE;
    uint32_t *first = &process->row_of[block->site], *link = first;
    const bool full = spans->n_rows >= spans->most_rows;
    uint32_t any = MA_NONE;
    for (; *link != MA_NONE; link = &spans->rows[*link].next) {
        const uint32_t row = *link;
        if (spans->rows[row].thread == MA_NONE)
            any = row;
        if (spans->rows[row].thread != block->thread)
            continue;
        *link = spans->rows[row].next;
        spans->rows[row].next = *first; /* the first the next time */
        return *first = row;
    }
    spans->rows_united += full;
    if (full && any != MA_NONE)
        return any;
    if (spans->n_rows == MA_NONE - 1 ||
        !MA_RESERVE(spans->rows, spans->n_rows, spans->row_capacity))
        return MA_NONE;
    const uint32_t row = (uint32_t)spans->n_rows++;
    spans->rows[row] = (struct ma_span_row){
        .account = seen->account,
        .site = block->site,
        .thread = full ? MA_NONE : block->thread,
        .next = *first,
        .allocated = MA_NONE,
        .freed = MA_NONE,
    };
    return *first = row;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct ma_spans *spans = context;
    struct ma_span_process *process = process_of(spans, seen);
    unsigned slot;
    if (!process || block->site == MA_NONE)
        return process ? 0 : -ENOMEM;
    uint64_t time = seen->ns / MA_SPANS_FIRST_WIDTH;
    if (!process->begun)
        process->first = time;
    process->begun = true;
    time = time < process->first ? process->first : time;
    if ((spans->n_cells >= spans->most_cells && make_room(spans) < 0) ||
        slot_of(spans, time, &slot) < 0)
        return -ENOMEM;
    const uint32_t row = row_of(spans, process, seen, block);
    struct ma_span_cell *cell =
        row == MA_NONE ? NULL : cell_at(spans, row, slot, MA_SPANS_ALL, true);
    if (!cell)
        return -ENOMEM;
    cell->blocks++;
    cell->bytes += block->size;
    const struct ma_block own = {block->address, block->size, block->size, time, row, 0};
    struct ma_block former;
    const int result = ma_heap_put(&process->heap, &own, &former);
    if (result <= 0)
        return result;
    if (!MA_RESERVE(process->displaced, process->n_displaced, process->displaced_capacity))
        return -ENOMEM;
    process->displaced[process->n_displaced++] = former;
    return 0;
}

static bool is_of(const struct ma_spans *spans, const struct ma_block *own,
                  const struct ma_seen_block *block)
{
    const struct ma_span_row *row = &spans->rows[own->site];
    return own->address == block->address && own->size == block->size && row->site == block->site &&
           (row->thread == MA_NONE || row->thread == block->thread);
}

static uint64_t distance(const struct ma_block *own, const struct ma_seen_block *block)
{
    const uint64_t time = block->ns / MA_SPANS_FIRST_WIDTH;
    return own->time > time ? own->time - time : time - own->time;
}

/* Take out what is known of a block that ends: of several at its address, all but one of
 * which wait for the end of their realloc, the one of its stack, thread, size and time. */
static bool take_block(struct ma_spans *spans, struct ma_span_process *process,
                       const struct ma_seen_block *block, struct ma_block *own)
{
    const bool found =
        ma_heap_find(&process->heap, block->address, own) && is_of(spans, own, block);
    for (size_t i = 0; i < process->n_displaced; i++) {
        struct ma_block *one = &process->displaced[i];
        if (!is_of(spans, one, block) || (found && distance(one, block) > distance(own, block)))
            continue;
        *own = *one;
        *one = process->displaced[--process->n_displaced];
        return true;
    }
    return found && ma_heap_take(&process->heap, block->address, own);
}

/* Count the end of a block in a slot. Slots are of the level. */
static int end_block(struct ma_spans *spans, const struct ma_block *own, uint64_t time,
                     bool temporary)
{
    unsigned slot;
    if ((spans->n_cells >= spans->most_cells && make_room(spans) < 0) ||
        slot_of(spans, time, &slot) < 0)
        return -ENOMEM;
    const unsigned born = (unsigned)(own->time >> spans->level);
    struct ma_span_cell *cell = cell_at(spans, own->site, born, slot > born ? slot : born, false);
    if (!cell)
        return -ENOMEM;
    cell->blocks++;
    cell->bytes += own->size;
    cell->temporary += temporary;
    return 0;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct ma_spans *spans = context;
    struct ma_span_process *process = process_of(spans, seen);
    struct ma_block own;
    if (!process)
        return -ENOMEM;
    if (block->site == MA_NONE || !process->begun || !take_block(spans, process, block, &own))
        return 0;
    return end_block(spans, &own, seen->ns / MA_SPANS_FIRST_WIDTH, block->temporary);
}

/* The first pause of a process in the life of a block that began before the last one. */
static const struct ma_gap *pause_of(const struct ma_process *process, const struct ma_block *block)
{
    for (size_t i = 0; i < process->n_gaps; i++)
        if (process->gaps[i].from >= block->time)
            return &process->gaps[i];
    return process->n_gaps ? &process->gaps[process->n_gaps - 1] : NULL;
}

static int settle_process(struct ma_spans *spans, const struct ma_trace *trace,
                          const struct ma_heap *heap)
{
    const size_t places = ma_heap_places(heap);
    for (size_t i = 0; i < places; i++) {
        struct ma_block own, block;
        if (!ma_heap_at(heap, i, &own))
            continue;
        const struct ma_account *account = spans->rows[own.site].account;
        const struct ma_process *process = account->process;
        if (!ma_heap_find(&account->heap, own.address, &block) || !ma_unsure_is(process, &block))
            continue;
        const struct ma_gap *pause = pause_of(process, &block);
        if (pause &&
            end_block(spans, &own, ma_gap_ns(trace, process, pause).from / MA_SPANS_FIRST_WIDTH,
                      false) < 0)
            return -ENOMEM;
    }
    return 0;
}

int ma_spans_settle(struct ma_spans *spans, const struct ma_trace *trace)
{
    int result = 0;
    for (size_t i = 0; i < spans->n_processes && result == 0; i++)
        if (spans->processes[i].begun && ma_gaps_count(trace))
            result = settle_process(spans, trace, &spans->processes[i].heap);
    return result;
}

static int on_marked(void *context, const struct ma_seen *seen, const struct ma_mark *mark)
{
    struct ma_spans *spans = context;
    if (spans->n_marks == MA_SPANS_MARKS) {
        spans->marks_left++;
        return 0;
    }
    char *name = strdup(mark->name);
    if (!name)
        return -ENOMEM;
    spans->marks[spans->n_marks++] = (struct ma_span_mark){seen->ns, mark->kind, name};
    return 0;
}

struct ma_spans *ma_spans_new(void)
{
    struct ma_spans *spans = calloc(1, sizeof *spans);
    if (!spans)
        return NULL;
    spans->most_cells = MOST_CELLS;
    spans->most_rows = MOST_ROWS;
    spans->observer = (struct ma_observer){
        .context = spans,
        .allocated = on_allocated,
        .freed = on_freed,
        .marked = on_marked,
    };
    return spans;
}

void ma_spans_free(struct ma_spans *spans)
{
    if (!spans)
        return;
    for (size_t i = 0; i < spans->n_processes; i++) {
        ma_heap_free(&spans->processes[i].heap);
        free(spans->processes[i].row_of);
        free(spans->processes[i].displaced);
    }
    for (size_t i = 0; i < spans->n_marks; i++)
        free(spans->marks[i].name);
    free(spans->processes);
    free(spans->cells);
    free(spans->rows);
    ma_map_free(&spans->cell_of);
    free(spans);
}

static int compare_cells(const void *a, const void *b)
{
    const struct ma_span_cell *x = a, *y = b;
    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    if (x->born != y->born)
        return x->born < y->born ? -1 : 1;
    const bool x_all = x->freed == MA_SPANS_ALL, y_all = y->freed == MA_SPANS_ALL;
    return x_all != y_all ? y_all - x_all : x->freed < y->freed ? -1 : x->freed > y->freed;
}

void ma_spans_sort_cells(struct ma_span_cell *cells, size_t n)
{
    if (n)
        qsort(cells, n, sizeof *cells, compare_cells);
}
