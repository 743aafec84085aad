/* SPDX-License-Identifier: MIT
 *
 * Spans against a log of all blocks: random lives in two processes and three threads, in
 * little room for cells and rows, with blocks whose address is another's before they end.
 */
#include <stdlib.h>

#include "ma_spans.h"
#include "tap.h"

#define BLOCKS 6000
#define PROCESSES 2

struct life {
    uint32_t process, site, thread;
    uint64_t address, size, born, freed; /* ns; freed UINT64_MAX: never */
};

static struct life lives[BLOCKS];
static struct ma_process processes[PROCESSES];
static struct ma_account accounts[PROCESSES];
static uint64_t state = 88172645463325252u;

static uint64_t random_below(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

static struct ma_seen seen_at(uint32_t process, uint64_t ns)
{
    return (struct ma_seen){
        .account = &accounts[process], .process = &processes[process], .ticks = ns, .ns = ns};
}

static struct ma_seen_block block_of(const struct life *life)
{
    return (struct ma_seen_block){
        .address = life->address,
        .size = life->size,
        .usable = life->size,
        .ticks = life->born,
        .ns = life->born + life->born / 50, /* a clock whose rate was told meanwhile */
        .stack = 20 + life->site,
        .site = life->site,
        .thread = life->thread,
    };
}

static int end(struct ma_spans *spans, struct life *life, uint64_t now)
{
    const struct ma_seen seen = seen_at(life->process, now);
    const struct ma_seen_block block = block_of(life);
    life->freed = now;
    return spans->observer.freed(spans->observer.context, &seen, &block);
}

/* Begin all lives, ending some on the way; a tenth of these after another block was given
 * their address, as a realloc does. Returns 0 or -ENOMEM. */
static int live(struct ma_spans *spans)
{
    uint64_t now = 5000;
    int result = 0;
    for (size_t i = 0; i < BLOCKS && result == 0; i++) {
        struct life *life = &lives[i], *old = i > 50 ? &lives[i - 1 - random_below(50)] : NULL;
        now += random_below(3000);
        *life = (struct life){
            .process = (uint32_t)random_below(PROCESSES),
            .site = (uint32_t)random_below(7),
            .thread = (uint32_t)random_below(3),
            .address = 4096 + 16 * i,
            .size = 8 + random_below(900),
            .born = now,
            .freed = UINT64_MAX,
        };
        const bool taken = old && old->freed == UINT64_MAX && random_below(10) == 0;
        if (taken) {
            life->address = old->address;
            life->process = old->process;
        }
        const struct ma_seen seen = seen_at(life->process, now);
        const struct ma_seen_block block = block_of(life);
        result = spans->observer.allocated(spans->observer.context, &seen, &block);
        if (result == 0 && old && old->freed == UINT64_MAX && (taken || random_below(2)))
            result = end(spans, old, now + 500);
    }
    return result;
}

struct sums {
    uint64_t blocks, bytes;
};

/* What was born in the slots from a to before b, and not freed before slot c: as the cells
 * say, and as the log of lives does. */
static struct sums of_cells(const struct ma_spans *spans, uint64_t a, uint64_t b, uint64_t c)
{
    struct sums sums = {0};
    for (size_t i = 0; i < spans->n_cells; i++) {
        const struct ma_span_cell *cell = &spans->cells[i];
        if (cell->born < a || cell->born >= b)
            continue;
        if (cell->freed == MA_SPANS_ALL) {
            sums.blocks += cell->blocks;
            sums.bytes += cell->bytes;
        } else if (cell->freed < c) {
            sums.blocks -= cell->blocks;
            sums.bytes -= cell->bytes;
        }
    }
    return sums;
}

static struct sums of_lives(uint64_t width, uint64_t a, uint64_t b, uint64_t c)
{
    struct sums sums = {0};
    for (size_t i = 0; i < BLOCKS; i++) {
        if (lives[i].born / width < a || lives[i].born / width >= b ||
            (lives[i].freed != UINT64_MAX && lives[i].freed / width < c))
            continue;
        sums.blocks++;
        sums.bytes += lives[i].size;
    }
    return sums;
}

static void check_windows(size_t most_cells, size_t most_rows)
{
    struct ma_spans *spans = ma_spans_new();
    spans->most_cells = most_cells;
    spans->most_rows = most_rows;
    CHECK(live(spans) == 0, "all is counted in room for %zu cells", most_cells);
    const uint64_t width = ma_spans_width(spans);
    bool same = true;
    for (int n = 0; n < 200; n++) {
        const uint64_t a = random_below(spans->slots), b = a + 1 + random_below(spans->slots - a);
        const uint64_t c = b + random_below(spans->slots + 1 - b);
        const struct sums x = of_cells(spans, a, b, c), y = of_lives(width, a, b, c);
        same = same && x.blocks == y.blocks && x.bytes == y.bytes;
    }
    CHECK(same, "windows are exact: %u slots", (unsigned)spans->slots);
    CHECK(spans->slots > 1 && spans->slots <= MA_SPANS, "slots are of use");
    CHECK(spans->n_cells <= most_cells, "cells keep their bound: %zu", spans->n_cells);
    CHECK(spans->n_rows <= most_rows + 14, "rows keep theirs: %zu", spans->n_rows);
    CHECK(spans->crowded == (most_cells < 10000), "wide slots are said");
    CHECK((spans->rows_united != 0) == (most_rows < 42), "united threads are said");
    ma_spans_free(spans);
}

int main(void)
{
    for (uint32_t i = 0; i < PROCESSES; i++) {
        processes[i].index = i;
        accounts[i].process = &processes[i];
    }
    check_windows(4 << 20, 1 << 20);
    check_windows(1000, 1 << 20);
    check_windows(1000, 5);
    return TAP_DONE();
}
