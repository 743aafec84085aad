/* SPDX-License-Identifier: MIT
 *
 * The stacks of an interactive report, those first that a reader would miss most: by the
 * largest share that a stack has in anything that is summed up.
 */
#include <errno.h>
#include <stdlib.h>

#include "ma_html.h"

struct scored {
    uint32_t row;
    double score;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static double share(uint64_t part, uint64_t whole, double score)
{
    const double this = whole ? (double)part / (double)whole : 0;
    return this > score ? this : score;
}

static void score_rows(const struct ma_analysis *analysis, struct scored *scored)
{
    struct ma_row all = {0};
    for (size_t i = 0; i < analysis->n_rows; i++) {
        const struct ma_row *row = &analysis->rows[i];
        all.leaked_bytes += row->leaked_bytes;
        all.leaked_blocks += row->leaked_blocks;
        all.peak_bytes += row->peak_bytes;
        all.bytes += row->bytes;
        all.calls += row->calls;
    }
    for (size_t i = 0; i < analysis->n_rows; i++) {
        const struct ma_row *row = &analysis->rows[i];
        double score = share(row->leaked_bytes, all.leaked_bytes, 0);
        score = share(row->leaked_blocks, all.leaked_blocks, score);
        score = share(row->peak_bytes, all.peak_bytes, score);
        score = share(row->bytes, all.bytes, score);
        score = share(row->calls, all.calls, score);
        scored[i] = (struct scored){(uint32_t)i, score};
    }
    qsort(scored, analysis->n_rows, sizeof *scored, by_score);
}

int ma_html_stacks_order(struct ma_analysis *analysis, const struct ma_spans *spans,
                         struct ma_html_stacks *stacks)
{
    *stacks = (struct ma_html_stacks){.n = analysis->n_rows};
    struct scored *scored = calloc(analysis->n_rows + 1, sizeof *scored);
    stacks->row_of = calloc(analysis->n_rows + 1, sizeof *stacks->row_of);
    stacks->rank = calloc(spans->n_rows + 1, sizeof *stacks->rank);
    int result = scored && stacks->row_of && stacks->rank ? 0 : -ENOMEM;
    if (result < 0)
        goto out;
    score_rows(analysis, scored);
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        const uint32_t id = analysis->rows[scored[i].row].stack;
        stacks->row_of[i] = scored[i].row;
        if (!MA_HOLDS_NUMBER(stacks->rank_of, id, stacks->n_ids))
            result = -ENOMEM;
        else
            stacks->rank_of[id] = (uint32_t)i;
    }
    for (size_t i = 0; i < spans->n_rows && result == 0; i++) {
        const struct ma_span_row *row = &spans->rows[i];
        uint32_t id;
        result = ma_stacks_id(&analysis->stacks, row->account->process,
                              row->account->stacks[row->site], &id);
        stacks->rank[i] = result == 0 && id < stacks->n_ids ? stacks->rank_of[id] : MA_NONE;
    }
out:
    free(scored);
    return result;
}

void ma_html_stacks_free(struct ma_html_stacks *stacks)
{
    free(stacks->row_of);
    free(stacks->rank_of);
    free(stacks->rank);
}
