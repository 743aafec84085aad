/* SPDX-License-Identifier: MIT
 *
 * Spans: from when to when blocks lived, counted. Time is cut into at most MA_SPANS
 * slots of one width; for each stack and thread of a process a cell counts the blocks
 * that were born in one slot and freed in another, or born in a slot at all. What
 * happened in any window that begins and ends where slots do follows from the cells,
 * to the byte, by sums alone.
 *
 * Memory. Slots become twice as wide when the run outgrows them, or when there would be
 * more than `most_cells` cells: these then unite, and no sum changes. Beyond `most_rows`
 * pairs of stack and thread, new ones are of no thread in particular. The slot that a
 * block was born in is kept beside its address (struct ma_heap) and not told anew from
 * its time at its end, for a clock whose rate turns out only later.
 *
 * It is an observer of the replay (ma_observer.h), so that every filter holds for it.
 */
#ifndef MA_SPANS_H
#define MA_SPANS_H

#include "ma_account.h"
#include "ma_observer.h"

#define MA_SPANS 256
#define MA_SPANS_FIRST_WIDTH 1000u /* ns */
#define MA_SPANS_ALL MA_SPANS      /* `freed` of the cell that counts all of a slot's births */

#define MA_SPANS_MARKS 1000 /* kept; the others are counted */

struct ma_span_cell {
    uint32_t row;
    uint16_t born, freed; /* slots */
    uint64_t blocks, bytes;
    uint64_t temporary; /* of the blocks that were freed */
};

struct ma_span_row { /* a stack's blocks of one thread */
    const struct ma_account *account;
    uint32_t site;             /* of the account */
    uint32_t thread;           /* index of a stream in the trace; MA_NONE: any other */
    uint32_t next;             /* of the same site, or MA_NONE */
    uint32_t allocated, freed; /* cells that were met last, or MA_NONE */
};

struct ma_span_mark {
    uint64_t ns, kind;
    char *name;
};

struct ma_span_process;

struct ma_spans {
    struct ma_observer observer;
    struct ma_span_cell *cells;
    size_t n_cells, cell_capacity, most_cells;
    struct ma_map cell_of;
    struct ma_span_row *rows;
    size_t n_rows, row_capacity, most_rows;
    uint64_t rows_united;              /* events of pairs that found no row of their own */
    struct ma_span_process *processes; /* by index */
    size_t n_processes;
    unsigned level; /* a slot is MA_SPANS_FIRST_WIDTH << level wide */
    uint64_t slots; /* 1 + the last that has an event */
    bool crowded;   /* slots are wider than the time asks for */
    struct ma_span_mark marks[MA_SPANS_MARKS];
    size_t n_marks;
    uint64_t marks_left; /* out */
};

/* Spans whose `observer` is to be registered; NULL if memory is short. */
struct ma_spans *ma_spans_new(void);
void ma_spans_free(struct ma_spans *spans); /* NULL is allowed */

/* When no event follows: blocks whose end a pause of the recording may have hidden
 * (ma_unsure.h) count as ended where the first pause of their life began, so that no
 * window behind it calls them live or leaked. Returns 0 or -ENOMEM. */
struct ma_trace;
int ma_spans_settle(struct ma_spans *spans, const struct ma_trace *trace);

/* The width of a slot in ns. */
static inline uint64_t ma_spans_width(const struct ma_spans *spans)
{
    return (uint64_t)MA_SPANS_FIRST_WIDTH << spans->level;
}

/* Sort cells by row, slot born and slot freed, births in all first. Those of `spans` may
 * be sorted when no event follows. */
void ma_spans_sort_cells(struct ma_span_cell *cells, size_t n);

#endif
