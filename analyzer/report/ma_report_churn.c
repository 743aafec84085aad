/* SPDX-License-Identifier: MIT
 *
 * Churn: bytes allocated plus bytes freed, by the stack that allocated them,
 * and how many that is in a second of the run, or of the window. Memory: four counters a stack.
 */
#include <errno.h>

#include "ma_report.h"
#include "ma_tally.h"
#include "ma_text.h"

enum { CALLS, BYTES, FREES, FREED_BYTES, COUNTERS };

struct churn {
    struct ma_observer observer;
    struct ma_tally tally;
};

static const char key;

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct churn *churn = context;
    uint64_t *values = ma_tally_at(&churn->tally, seen->account, block->site);
    if (!values)
        return -ENOMEM;
    values[CALLS]++;
    values[BYTES] += block->size;
    return 0;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct churn *churn = context;
    if (block->site == MA_NONE)
        return 0;
    uint64_t *values = ma_tally_at(&churn->tally, seen->account, block->site);
    if (!values)
        return -ENOMEM;
    values[FREES]++;
    values[FREED_BYTES] += block->size;
    return 0;
}

static void churn_free(void *data)
{
    struct churn *churn = data;
    ma_tally_free(&churn->tally);
    free(churn);
}

static int observe_churn(struct ma_analysis *analysis)
{
    struct churn *churn = calloc(1, sizeof *churn);
    if (churn) {
        churn->observer = (struct ma_observer){
            .context = churn,
            .allocated = on_allocated,
            .freed = on_freed,
        };
        churn->tally.counters = COUNTERS;
    }
    return ma_analysis_observe(analysis, churn ? &churn->observer : NULL, &key, churn, churn_free);
}

static uint64_t duration(const struct ma_analysis *analysis)
{
    const struct ma_window window = ma_analysis_window(analysis);
    return window.to - window.from;
}

static uint64_t per_second(const struct ma_analysis *analysis, const uint64_t *values)
{
    double bytes = (double)values[BYTES] + (double)values[FREED_BYTES];
    uint64_t time = duration(analysis);
    double rate = time ? bytes * 1e9 / (double)time : 0;
    return rate < 1e18 ? (uint64_t)rate : (uint64_t)1e18;
}

static int add_entry(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                     const struct ma_tally_row *row, const uint64_t *total)
{
    const uint64_t *values = row->values;
    uint64_t bytes = values[BYTES] + values[FREED_BYTES];
    uint64_t all = total[BYTES] + total[FREED_BYTES];
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_number(model, entry, "bytes", "", MA_BYTES, bytes);
    ma_model_real(model, entry, "share", "", MA_PERCENT,
                  all ? 100.0 * (double)bytes / (double)all : 0);
    ma_model_number(model, entry, "bytes_per_second", "a second", MA_BYTES,
                    per_second(analysis, values));
    ma_model_number(model, entry, "allocations", "allocations", MA_COUNT, values[CALLS]);
    ma_model_number(model, entry, "allocated_bytes", NULL, MA_BYTES, values[BYTES]);
    ma_model_number(model, entry, "frees", "frees", MA_COUNT, values[FREES]);
    ma_model_number(model, entry, "freed_bytes", NULL, MA_BYTES, values[FREED_BYTES]);
    int result = ma_report_label(analysis, model, entry, row->stack);
    ma_model_stack(model, entry, "stack", row->stack);
    return result;
}

static int build_churn(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct churn *churn = ma_analysis_observer_data(analysis, &key);
    const struct ma_request *request = analysis->request;
    static const struct ma_tally_key keys[] = {
        [MA_SORT_BYTES] = {{BYTES, FREED_BYTES}, 2},
        [MA_SORT_BLOCKS] = {{CALLS, FREES}, 2},
        [MA_SORT_CALLS] = {{CALLS}, 1},
    };
    struct ma_tally_key order[MA_SORT_KEYS + 1];
    struct ma_tally_rows rows;
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE], c[MA_HUMAN_SIZE];
    for (size_t i = 0; i <= request->n_sort; i++)
        order[i] = keys[i < request->n_sort ? request->sort[i] : MA_SORT_BYTES];
    int result = ma_tally_rows(&churn->tally, analysis, &rows);
    if (result < 0)
        goto out;
    ma_tally_sort(&rows, order, request->n_sort + 1);
    const uint64_t *total = rows.total;
    struct ma_value *object = ma_model_object(model, &model->root, "churn", "Churn", MA_FIELDS);
    if (!rows.n)
        ma_model_note(model, object, "No block was ever allocated.");
    else
        ma_model_note(model, object, "%s allocated and freed, %s a second, from %s stack%s:",
                      ma_human_bytes(a, total[BYTES] + total[FREED_BYTES]),
                      ma_human_bytes(b, per_second(analysis, total)), ma_human_count(c, rows.n),
                      rows.n == 1 ? "" : "s");
    ma_model_number(model, object, "bytes", NULL, MA_BYTES, total[BYTES] + total[FREED_BYTES]);
    ma_model_number(model, object, "bytes_per_second", NULL, MA_BYTES, per_second(analysis, total));
    ma_model_number(model, object, "duration_ns", NULL, MA_NANOSECONDS, duration(analysis));
    struct ma_value *array = ma_model_array(model, object, "stacks", "", MA_ENTRIES);
    for (size_t i = 0; i < rows.n && i < request->top && result == 0; i++)
        result = add_entry(analysis, model, array, &rows.rows[i], total);
out:
    ma_tally_rows_free(&rows);
    return result;
}

const struct ma_report ma_report_churn = {
    .name = "churn",
    .help = "bytes allocated and freed, by stack",
    .build = build_churn,
    .observe = observe_churn,
};
