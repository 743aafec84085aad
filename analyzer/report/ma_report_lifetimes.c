/* SPDX-License-Identifier: MIT
 *
 * Lifetimes: how long blocks lived, by powers of ten from 1 us on, and how
 * many were never freed; of all blocks, and by stack. A realloc ends a block.
 * Memory: 24 counters a stack.
 */
#include <errno.h>

#include "ma_gaps.h"
#include "ma_report.h"
#include "ma_tally.h"
#include "ma_text.h"

/* Below 1 us, 10 us … 100 s, and more; then never freed. */
enum { SPANS = 10, NEVER = SPANS, BINS, LIFE_NS = 2 * BINS, FREES, COUNTERS };

/* Counters: blocks of each bin, then bytes of each, then the sums for means.
 * Those of NEVER begin as calls, from which ends are taken. */
struct lifetimes {
    struct ma_observer observer;
    struct ma_tally tally;
};

static const char key;

static const char *const titles[BINS] = {
    "below 1 us",   "1 – 10 us", "10 – 100 us", "100 us – 1 ms",  "1 – 10 ms",   "10 – 100 ms",
    "100 ms – 1 s", "1 – 10 s",  "10 – 100 s",  "100 s and more", "never freed",
};

/* What lived through a pause of the recording may have been freed in it. */
static const char *title_of(const struct ma_analysis *analysis, unsigned bin)
{
    return bin == NEVER && ma_gaps_count(&analysis->trace) ? "no end seen" : titles[bin];
}

static unsigned bin_of(uint64_t ns)
{
    unsigned bin = 0;
    for (uint64_t limit = 1000; bin < SPANS - 1 && ns >= limit; limit *= 10)
        bin++;
    return bin;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct lifetimes *lifetimes = context;
    uint64_t *values = ma_tally_at(&lifetimes->tally, seen->account, block->site);
    if (!values)
        return -ENOMEM;
    values[NEVER]++;
    values[BINS + NEVER] += block->size;
    return 0;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct lifetimes *lifetimes = context;
    if (block->site == MA_NONE)
        return 0;
    uint64_t *values = ma_tally_at(&lifetimes->tally, seen->account, block->site);
    if (!values)
        return -ENOMEM;
    uint64_t life = seen->ns > block->ns ? seen->ns - block->ns : 0;
    unsigned bin = bin_of(life);
    values[bin]++;
    values[BINS + bin] += block->size;
    values[NEVER]--;
    values[BINS + NEVER] -= block->size;
    values[LIFE_NS] += life;
    values[FREES]++;
    return 0;
}

static void lifetimes_free(void *data)
{
    struct lifetimes *lifetimes = data;
    ma_tally_free(&lifetimes->tally);
    free(lifetimes);
}

static int observe_lifetimes(struct ma_analysis *analysis)
{
    struct lifetimes *lifetimes = calloc(1, sizeof *lifetimes);
    if (lifetimes) {
        lifetimes->observer = (struct ma_observer){
            .context = lifetimes,
            .allocated = on_allocated,
            .freed = on_freed,
        };
        lifetimes->tally.counters = COUNTERS;
    }
    return ma_analysis_observe(analysis, lifetimes ? &lifetimes->observer : NULL, &key, lifetimes,
                               lifetimes_free);
}

static void sum_up(const uint64_t *values, uint64_t *blocks, uint64_t *bytes)
{
    *blocks = *bytes = 0;
    for (unsigned i = 0; i < BINS; i++) {
        *blocks += values[i];
        *bytes += values[BINS + i];
    }
}

static void add_histogram(const struct ma_analysis *analysis, struct ma_model *model,
                          struct ma_value *object, const uint64_t *values)
{
    uint64_t blocks, bytes;
    sum_up(values, &blocks, &bytes);
    struct ma_value *array = ma_model_array(model, object, "histogram", "", MA_TABLE);
    uint64_t from = 0, limit = 1000;
    for (unsigned i = 0; i < BINS; i++, from = limit, limit *= 10) {
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        double share = blocks ? 100.0 * (double)values[i] / (double)blocks : 0;
        if (i == NEVER)
            ma_model_null(model, row, "from_ns");
        else
            ma_model_number(model, row, "from_ns", NULL, MA_NANOSECONDS, from);
        if (i >= SPANS - 1)
            ma_model_null(model, row, "to_ns");
        else
            ma_model_number(model, row, "to_ns", NULL, MA_NANOSECONDS, limit);
        ma_model_text(model, row, "title", "lifetime", title_of(analysis, i));
        ma_model_number(model, row, "blocks", "blocks", MA_COUNT, values[i]);
        ma_model_real(model, row, "share", "", MA_PERCENT, share);
        ma_model_number(model, row, "bytes", "bytes", MA_BYTES, values[BINS + i]);
        ma_model_real(model, row, NULL, "", MA_BAR, share);
    }
}

static int add_entry(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                     const struct ma_tally_row *row)
{
    const uint64_t *values = row->values;
    uint64_t blocks, bytes;
    sum_up(values, &blocks, &bytes);
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_number(model, entry, "allocated_bytes", "", MA_BYTES, bytes);
    ma_model_number(model, entry, "calls", "blocks", MA_COUNT, blocks);
    if (values[FREES])
        ma_model_number(model, entry, "mean_ns", "on average", MA_NANOSECONDS,
                        values[LIFE_NS] / values[FREES]);
    else
        ma_model_null(model, entry, "mean_ns");
    ma_model_number(model, entry, "never_freed", title_of(analysis, NEVER), MA_PLAIN,
                    values[NEVER]);
    int result = ma_report_label(analysis, model, entry, row->stack);
    ma_model_stack(model, entry, "stack", row->stack);
    struct ma_value *list = ma_model_array(model, entry, "histogram", NULL, MA_TABLE);
    struct ma_value *spans = ma_model_array(model, entry, NULL, "", MA_TABLE);
    for (unsigned i = 0; i < BINS; i++) {
        ma_model_number(model, list, NULL, NULL, MA_COUNT, values[i]);
        if (!values[i])
            continue;
        struct ma_value *one = ma_model_object(model, spans, NULL, NULL, MA_FIELDS);
        double share = 100.0 * (double)values[i] / (double)blocks;
        ma_model_text(model, one, NULL, "    lifetime", title_of(analysis, i));
        ma_model_number(model, one, NULL, "blocks", MA_COUNT, values[i]);
        ma_model_real(model, one, NULL, "", MA_PERCENT, share);
        ma_model_real(model, one, NULL, "", MA_BAR, share);
    }
    return result;
}

static int build_lifetimes(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct lifetimes *lifetimes = ma_analysis_observer_data(analysis, &key);
    const struct ma_request *request = analysis->request;
    struct ma_tally_key order[MA_SORT_KEYS + 1];
    struct ma_tally_rows rows;
    char mean[MA_HUMAN_SIZE];
    int result = ma_tally_rows(&lifetimes->tally, analysis, &rows);
    if (result < 0)
        goto out;
    for (size_t i = 0; i <= request->n_sort; i++) {
        bool bytes = i == request->n_sort || request->sort[i] == MA_SORT_BYTES;
        order[i] = (struct ma_tally_key){.n = BINS};
        for (size_t k = 0; k < BINS; k++)
            order[i].counters[k] = bytes ? BINS + k : k;
    }
    ma_tally_sort(&rows, order, request->n_sort + 1);
    struct ma_value *object =
        ma_model_object(model, &model->root, "lifetimes", "Lifetimes", MA_FIELDS);
    if (!rows.n)
        ma_model_note(model, object, "No block was ever allocated.");
    else if (rows.total[FREES])
        ma_model_note(model, object, "Blocks that were freed lived %s on average.",
                      ma_human_time(mean, rows.total[LIFE_NS] / rows.total[FREES]));
    if (rows.n)
        add_histogram(analysis, model, object, rows.total);
    else
        ma_model_array(model, object, "histogram", NULL, MA_TABLE);
    struct ma_value *array = ma_model_array(model, object, "stacks", "", MA_ENTRIES);
    for (size_t i = 0; i < rows.n && i < request->top && result == 0; i++)
        result = add_entry(analysis, model, array, &rows.rows[i]);
out:
    ma_tally_rows_free(&rows);
    return result;
}

const struct ma_report ma_report_lifetimes = {
    .name = "lifetimes",
    .help = "how long blocks live, as histograms",
    .build = build_lifetimes,
    .observe = observe_lifetimes,
};
