/* SPDX-License-Identifier: MIT
 *
 * Counters by stack; see ma_tally.h.
 */
#include "ma_tally.h"

#include <errno.h>

uint64_t *ma_tally_at(struct ma_tally *tally, const struct ma_account *account, uint32_t site)
{
    const uint32_t process = account->process->index;
    if (!MA_HOLDS(tally->parts, process, tally->n_parts))
        return NULL;
    struct ma_tally_part *part = &tally->parts[process];
    if (site >= part->n_sites) {
        const size_t size = tally->counters * sizeof *part->values;
        uint64_t *values = ma_enlarge(part->values, site, &part->n_sites, size, 0);
        if (!values)
            return NULL;
        part->account = account;
        part->values = values;
    }
    return &part->values[site * tally->counters];
}

void ma_tally_free(struct ma_tally *tally)
{
    for (size_t i = 0; i < tally->n_parts; i++)
        free(tally->parts[i].values);
    free(tally->parts);
}

static bool is_empty(const uint64_t *values, size_t n)
{
    while (n > 0 && !values[n - 1])
        n--;
    return n == 0;
}

static void unite(const struct ma_tally *tally, uint64_t *to, const uint64_t *from)
{
    for (size_t i = 0; i < tally->counters; i++) {
        if (i < tally->counters - tally->n_most)
            to[i] += from[i];
        else if (from[i] > to[i])
            to[i] = from[i];
    }
}

static int by_stack(const void *a, const void *b)
{
    const struct ma_tally_row *x = a, *y = b;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

/* One row for each site. */
static int gather_rows(const struct ma_tally *tally, struct ma_analysis *analysis,
                       struct ma_tally_rows *rows)
{
    size_t capacity = 0;
    for (size_t i = 0; i < tally->n_parts; i++) {
        const struct ma_tally_part *part = &tally->parts[i];
        for (size_t site = 0; site < part->n_sites; site++) {
            struct ma_tally_row row = {.values = &part->values[site * tally->counters]};
            if (is_empty(row.values, tally->counters))
                continue;
            if (ma_stacks_id(&analysis->stacks, part->account->process, part->account->stacks[site],
                             &row.stack) < 0 ||
                !MA_RESERVE(rows->rows, rows->n, capacity))
                return -ENOMEM;
            rows->rows[rows->n++] = row;
        }
    }
    return 0;
}

int ma_tally_rows(const struct ma_tally *tally, struct ma_analysis *analysis,
                  struct ma_tally_rows *rows)
{
    *rows = (struct ma_tally_rows){0};
    if (gather_rows(tally, analysis, rows) < 0)
        return -ENOMEM;
    rows->values = calloc(rows->n + 1, tally->counters * sizeof *rows->values);
    if (!rows->values)
        return -ENOMEM;
    rows->total = &rows->values[rows->n * tally->counters];
    if (rows->n)
        qsort(rows->rows, rows->n, sizeof *rows->rows, by_stack);
    size_t kept = 0;
    for (size_t i = 0; i < rows->n; i++) {
        const struct ma_tally_row row = rows->rows[i];
        if (!kept || rows->rows[kept - 1].stack != row.stack) {
            rows->rows[kept] =
                (struct ma_tally_row){row.stack, &rows->values[kept * tally->counters]};
            kept++;
        }
        unite(tally, &rows->values[(kept - 1) * tally->counters], row.values);
        unite(tally, rows->total, row.values);
    }
    rows->n = kept;
    return 0;
}

void ma_tally_rows_free(struct ma_tally_rows *rows)
{
    free(rows->rows);
    free(rows->values);
}

struct order {
    const struct ma_tally_key *keys;
    size_t n;
};

static int compare_tally_rows(const void *a, const void *b, void *context)
{
    const struct ma_tally_row *x = a, *y = b;
    const struct order *order = context;
    for (size_t i = 0; i < order->n; i++) {
        uint64_t p = 0, q = 0;
        for (size_t k = 0; k < order->keys[i].n; k++) {
            p += x->values[order->keys[i].counters[k]];
            q += y->values[order->keys[i].counters[k]];
        }
        if (p != q)
            return p > q ? -1 : 1;
    }
    return by_stack(a, b);
}

void ma_tally_sort(struct ma_tally_rows *rows, const struct ma_tally_key *keys, size_t n)
{
    struct order order = {keys, n};
    if (rows->n)
        qsort_r(rows->rows, rows->n, sizeof *rows->rows, compare_tally_rows, &order);
}
