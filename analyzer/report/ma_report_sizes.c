/* SPDX-License-Identifier: MIT
 *
 * Sizes: how large the blocks are that the program asks for, by power of two,
 * how many of them are live at the end, and what the allocator gave beyond
 * (slack: usable less requested); the most common exact sizes.
 *
 * Memory: fixed for the powers; 48 to 100 bytes for each exact size, of which
 * the first 65,536 are counted one by one and the others together.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_report.h"
#include "ma_text.h"

#define POWERS 65 /* 0, then from 2^n to 2^(n+1) - 1 */
#define EXACT_MOST 65536

struct size_sum {
    uint64_t size, calls, live;
};

struct power_sum {
    uint64_t calls, bytes, live_blocks, live_bytes, slack;
};

struct sizes {
    struct ma_observer observer;
    struct power_sum powers[POWERS];
    struct size_sum *exact;
    size_t n_exact, capacity;
    struct ma_map exact_of; /* size to index */
    struct size_sum others; /* beyond the first */
};

static const char key;

static unsigned power_of(uint64_t size)
{
    return size ? 64 - (unsigned)__builtin_clzll(size) : 0;
}

/* The sum of an exact size; NULL if memory is short. */
static struct size_sum *sum_of(struct sizes *sizes, uint64_t size)
{
    uint32_t at = ma_map_get(&sizes->exact_of, size);
    if (at != MA_NONE)
        return &sizes->exact[at];
    if (sizes->n_exact == EXACT_MOST)
        return &sizes->others;
    if (!MA_RESERVE(sizes->exact, sizes->n_exact, sizes->capacity) ||
        ma_map_set(&sizes->exact_of, size, (uint32_t)sizes->n_exact) < 0)
        return NULL;
    sizes->exact[sizes->n_exact] = (struct size_sum){.size = size};
    return &sizes->exact[sizes->n_exact++];
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct sizes *sizes = context;
    struct power_sum *power = &sizes->powers[power_of(block->size)];
    struct size_sum *exact = sum_of(sizes, block->size);
    (void)seen;
    if (!exact)
        return -ENOMEM;
    power->calls++;
    power->bytes += block->size;
    power->live_blocks++;
    power->live_bytes += block->size;
    power->slack += block->usable > block->size ? block->usable - block->size : 0;
    exact->calls++;
    exact->live++;
    return 0;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct sizes *sizes = context;
    (void)seen;
    if (block->site == MA_NONE)
        return 0;
    struct power_sum *power = &sizes->powers[power_of(block->size)];
    struct size_sum *exact = sum_of(sizes, block->size);
    if (!exact)
        return -ENOMEM;
    power->live_blocks--;
    power->live_bytes -= block->size;
    exact->live--;
    return 0;
}

static void sizes_free(void *data)
{
    struct sizes *sizes = data;
    free(sizes->exact);
    ma_map_free(&sizes->exact_of);
    free(sizes);
}

static int observe_sizes(struct ma_analysis *analysis)
{
    struct sizes *sizes = calloc(1, sizeof *sizes);
    if (sizes)
        sizes->observer = (struct ma_observer){
            .context = sizes,
            .allocated = on_allocated,
            .freed = on_freed,
        };
    return ma_analysis_observe(analysis, sizes ? &sizes->observer : NULL, &key, sizes, sizes_free);
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void add_power(struct ma_model *model, struct ma_value *array, unsigned power,
                      const struct power_sum *sum, uint64_t calls)
{
    uint64_t from = power ? (uint64_t)1 << (power - 1) : 0;
    uint64_t to = power ? from + (from - 1) : 0;
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE];
    struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_number(model, row, "from", NULL, MA_BYTES, from);
    ma_model_number(model, row, "to", NULL, MA_BYTES, to);
    if (to < 1024)
        ma_model_format(model, row, NULL, "size", from == to ? "%s B" : "%s – %s B",
                        ma_human_count(a, from), ma_human_count(b, to));
    else
        ma_model_format(model, row, NULL, "size", "from %s", ma_human_bytes(a, from));
    ma_model_number(model, row, "calls", "calls", MA_COUNT, sum->calls);
    ma_model_real(model, row, "share", "", MA_PERCENT, share(sum->calls, calls));
    ma_model_number(model, row, "bytes", "bytes", MA_BYTES, sum->bytes);
    ma_model_number(model, row, "live_blocks", "live blocks", MA_COUNT, sum->live_blocks);
    ma_model_number(model, row, "live_bytes", "live", MA_BYTES, sum->live_bytes);
    ma_model_number(model, row, "slack_bytes", "slack", MA_BYTES, sum->slack);
    ma_model_real(model, row, NULL, "", MA_BAR, share(sum->calls, calls));
}

static int by_calls(const void *a, const void *b)
{
    const struct size_sum *x = a, *y = b;
    if (x->calls != y->calls)
        return x->calls > y->calls ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

/* By bytes asked for. They may overflow only in a trace that lies. */
static int by_bytes(const void *a, const void *b)
{
    const struct size_sum *x = a, *y = b;
    uint64_t p = x->calls * x->size, q = y->calls * y->size;
    return p != q ? (p > q ? -1 : 1) : by_calls(a, b);
}

static int add_exact(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *object,
                     const struct sizes *sizes, uint64_t calls)
{
    const struct ma_request *request = analysis->request;
    struct size_sum *sorted = malloc((sizes->n_exact + 1) * sizeof *sorted);
    if (!sorted)
        return -ENOMEM;
    if (sizes->n_exact) {
        memcpy(sorted, sizes->exact, sizes->n_exact * sizeof *sorted);
        qsort(sorted, sizes->n_exact, sizeof *sorted,
              request->n_sort && request->sort[0] == MA_SORT_BYTES ? by_bytes : by_calls);
    }
    struct ma_value *array = ma_model_array(model, object, "exact", "Most common sizes", MA_TABLE);
    for (size_t i = 0; i < sizes->n_exact && i < request->top; i++) {
        const struct size_sum *sum = &sorted[i];
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        char size[MA_HUMAN_SIZE];
        ma_model_number(model, row, "size", NULL, MA_BYTES, sum->size);
        ma_model_format(model, row, NULL, "size", "%s B", ma_human_count(size, sum->size));
        ma_model_number(model, row, "calls", "calls", MA_COUNT, sum->calls);
        ma_model_real(model, row, "share", "", MA_PERCENT, share(sum->calls, calls));
        ma_model_number(model, row, "bytes", "bytes", MA_BYTES, sum->calls * sum->size);
        ma_model_number(model, row, "live_blocks", "live blocks", MA_COUNT, sum->live);
    }
    free(sorted);
    ma_model_number(model, object, "distinct", NULL, MA_COUNT, sizes->n_exact);
    ma_model_number(model, object, "calls_of_uncounted_sizes", NULL, MA_COUNT, sizes->others.calls);
    if (sizes->others.calls)
        ma_model_note(model, array, "There are more than %d; those that came first are counted.",
                      EXACT_MOST);
    return 0;
}

static int build_sizes(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct sizes *sizes = ma_analysis_observer_data(analysis, &key);
    struct power_sum total = {0};
    char a[MA_HUMAN_SIZE], b[MA_COUNTED_SIZE], c[MA_HUMAN_SIZE];
    unsigned first = POWERS, last = 0;
    for (unsigned i = 0; i < POWERS; i++) {
        const struct power_sum *power = &sizes->powers[i];
        total.calls += power->calls;
        total.bytes += power->bytes;
        total.slack += power->slack;
        if (power->calls) {
            first = first == POWERS ? i : first;
            last = i;
        }
    }
    struct ma_value *object =
        ma_model_object(model, &model->root, "sizes", "Requested sizes", MA_FIELDS);
    if (!total.calls)
        ma_model_note(model, object, "No block was ever allocated.");
    else
        ma_model_note(model, object,
                      "%s in %s; slack, what the allocator gave beyond: %s, "
                      "%.1f %%",
                      ma_human_bytes(a, total.bytes), ma_human_counted(b, total.calls, "call"),
                      ma_human_bytes(c, total.slack), share(total.slack, total.bytes));
    ma_model_number(model, object, "calls", NULL, MA_COUNT, total.calls);
    ma_model_number(model, object, "bytes", NULL, MA_BYTES, total.bytes);
    ma_model_number(model, object, "slack_bytes", NULL, MA_BYTES, total.slack);
    struct ma_value *array = ma_model_array(model, object, "histogram", "", MA_TABLE);
    for (unsigned i = first; i <= last && total.calls; i++)
        add_power(model, array, i, &sizes->powers[i], total.calls);
    return add_exact(analysis, model, object, sizes, total.calls);
}

const struct ma_report ma_report_sizes = {
    .name = "sizes",
    .help = "how large the blocks are, as a histogram",
    .build = build_sizes,
    .observe = observe_sizes,
};
