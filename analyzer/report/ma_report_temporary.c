/* SPDX-License-Identifier: MIT
 *
 * Temporary blocks by stack: those that a function of the free family ended
 * before their thread allocated again; with --temporary=N, before it had
 * allocated more than N times (0 is the same as without).
 *
 * The moments of the thread's last N + 1 allocations, or of those among them that a
 * filter accepts, show if N allocations lie between: a block is among them if it is
 * not older than the oldest (in a run of a day and more to within a few ticks:
 * ma_heap.h rounds moments then). Memory: four counters a stack, and 24 bytes times
 * N + 1 for each thread that allocates, N being 65,535 at most.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_replay.h"
#include "ma_report.h"
#include "ma_tally.h"
#include "ma_text.h"

enum { CALLS, BYTES, TEMPORARY, TEMPORARY_BYTES, COUNTERS };

#define MOST_BETWEEN 65535

struct moment {
    uint64_t ticks, address;
    uint64_t number; /* of all that the thread made */
};

/* A thread's latest allocations, as a ring. */
struct recent {
    struct moment *moments;
    uint64_t n;    /* ever */
    uint64_t from; /* the first that is recent still */
};

struct temporary {
    struct ma_observer observer;
    struct ma_tally tally;
    size_t size; /* of each ring; 1: none is needed */
    struct recent *threads;
    size_t n_threads;
};

static const char key;

static const char *parse_temporary(struct ma_request *request, const char *value)
{
    char *end = NULL;
    request->temporary_within = 0;
    if (!value)
        return NULL;
    request->temporary_within = strtoull(value, &end, 10);
    return value[0] >= '0' && value[0] <= '9' && !*end && request->temporary_within <= MOST_BETWEEN
               ? NULL
               : "expected a number of allocations, 65535 at most";
}

static struct recent *recent_of(struct temporary *temporary, uint32_t thread)
{
    if (!MA_HOLDS(temporary->threads, thread, temporary->n_threads))
        return NULL;
    struct recent *recent = &temporary->threads[thread];
    if (!recent->moments)
        recent->moments = calloc(temporary->size, sizeof *recent->moments);
    return recent->moments ? recent : NULL;
}

/* The number of allocations of a thread, whatever a filter accepts. */
static uint64_t count_of(const struct ma_seen *seen, uint32_t thread)
{
    return thread == seen->thread ? seen->made : seen->replay->states[thread].allocations;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct temporary *temporary = context;
    uint64_t *values = ma_tally_at(&temporary->tally, seen->account, block->site);
    if (!values)
        return -ENOMEM;
    values[CALLS]++;
    values[BYTES] += block->size;
    if (temporary->size == 1)
        return 0;
    struct recent *recent = recent_of(temporary, block->thread);
    if (!recent)
        return -ENOMEM;
    recent->moments[recent->n++ % temporary->size] =
        (struct moment){block->ticks, block->address, count_of(seen, block->thread)};
    return 0;
}

/* True if the block is among the thread's latest. Moments may be the same. */
static bool is_recent(const struct temporary *temporary, const struct ma_seen *seen,
                      const struct ma_seen_block *block)
{
    struct recent *recent = &temporary->threads[block->thread];
    const size_t size = temporary->size;
    const uint64_t made = count_of(seen, block->thread);
    if (recent->n > size && recent->from < recent->n - size)
        recent->from = recent->n - size;
    while (recent->from < recent->n && made - recent->moments[recent->from % size].number >= size)
        recent->from++;
    if (recent->from == recent->n)
        return false;
    if (recent->from == 0 || block->ticks > recent->moments[recent->from % size].ticks)
        return true;
    for (uint64_t i = recent->from; i < recent->n; i++) {
        const struct moment *moment = &recent->moments[i % size];
        if (moment->ticks > block->ticks)
            return false;
        if (moment->address == block->address)
            return true;
    }
    return false;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct temporary *temporary = context;
    if (block->site == MA_NONE || block->unseen || seen->function == MLF_FN_realloc)
        return 0;
    if (temporary->size == 1
            ? !block->temporary
            : block->thread >= temporary->n_threads || !temporary->threads[block->thread].moments ||
                  !is_recent(temporary, seen, block))
        return 0;
    uint64_t *values = ma_tally_at(&temporary->tally, seen->account, block->site);
    if (!values)
        return -ENOMEM;
    values[TEMPORARY]++;
    values[TEMPORARY_BYTES] += block->size;
    return 0;
}

static void temporary_free(void *data)
{
    struct temporary *temporary = data;
    for (size_t i = 0; i < temporary->n_threads; i++)
        free(temporary->threads[i].moments);
    free(temporary->threads);
    ma_tally_free(&temporary->tally);
    free(temporary);
}

static int observe_temporary(struct ma_analysis *analysis)
{
    struct temporary *temporary = calloc(1, sizeof *temporary);
    if (temporary) {
        temporary->observer = (struct ma_observer){
            .context = temporary,
            .allocated = on_allocated,
            .freed = on_freed,
        };
        temporary->tally.counters = COUNTERS;
        temporary->size = analysis->request->temporary_within + 1;
    }
    return ma_analysis_observe(analysis, temporary ? &temporary->observer : NULL, &key, temporary,
                               temporary_free);
}

static int add_entry(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                     const struct ma_tally_row *row)
{
    const uint64_t *values = row->values;
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_number(model, entry, "temporary", "blocks", MA_COUNT, values[TEMPORARY]);
    ma_model_real(model, entry, "share", "of all it allocated", MA_PERCENT,
                  100.0 * (double)values[TEMPORARY] / (double)values[CALLS]);
    ma_model_number(model, entry, "bytes", "", MA_BYTES, values[TEMPORARY_BYTES]);
    ma_model_number(model, entry, "calls", "calls", MA_COUNT, values[CALLS]);
    ma_model_number(model, entry, "allocated_bytes", NULL, MA_BYTES, values[BYTES]);
    int result = ma_report_label(analysis, model, entry, row->stack);
    ma_model_stack(model, entry, "stack", row->stack);
    return result;
}

/* Keep the stacks that have temporary blocks, in the order of --sort, by
 * default the most first. */
static size_t choose(const struct ma_request *request, struct ma_tally_rows *rows)
{
    struct ma_tally_key keys[MA_SORT_KEYS + 1];
    for (size_t i = 0; i <= request->n_sort; i++) {
        enum ma_sort sort = i < request->n_sort ? request->sort[i] : MA_SORT_BLOCKS;
        keys[i] = (struct ma_tally_key){{sort == MA_SORT_BYTES    ? TEMPORARY_BYTES
                                         : sort == MA_SORT_BLOCKS ? TEMPORARY
                                                                  : CALLS},
                                        1};
    }
    size_t kept = 0;
    for (size_t i = 0; i < rows->n; i++) {
        if (rows->rows[i].values[TEMPORARY])
            rows->rows[kept++] = rows->rows[i];
    }
    rows->n = kept;
    ma_tally_sort(rows, keys, request->n_sort + 1);
    return kept < request->top ? kept : request->top;
}

static int build_temporary(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct temporary *temporary = ma_analysis_observer_data(analysis, &key);
    const struct ma_request *request = analysis->request;
    struct ma_tally_rows rows;
    char a[MA_COUNTED_SIZE], b[MA_HUMAN_SIZE], c[MA_COUNTED_SIZE], within[64];
    int result = ma_tally_rows(&temporary->tally, analysis, &rows);
    if (result < 0)
        goto out;
    size_t shown = choose(request, &rows);
    const uint64_t *total = rows.total;
    struct ma_value *object =
        ma_model_object(model, &model->root, "temporary", "Temporary blocks", MA_FIELDS);
    snprintf(within, sizeof within,
             request->temporary_within == 0   ? "before its thread allocated again"
             : request->temporary_within == 1 ? "within %llu allocation of its thread"
                                              : "within %llu allocations of its thread",
             (unsigned long long)request->temporary_within);
    if (!rows.n)
        ma_model_note(model, object, "No block was freed %s.", within);
    else
        ma_model_note(model, object, "%s, %.1f %% of all, with %s %s freed %s; from %s:",
                      ma_human_counted(a, total[TEMPORARY], "block"),
                      100.0 * (double)total[TEMPORARY] / (double)total[CALLS],
                      ma_human_bytes(b, total[TEMPORARY_BYTES]),
                      total[TEMPORARY] == 1 ? "was" : "were", within,
                      ma_human_counted(c, rows.n, "stack"));
    ma_model_number(model, object, "within", NULL, MA_COUNT, request->temporary_within);
    ma_model_number(model, object, "temporary", NULL, MA_COUNT, total[TEMPORARY]);
    ma_model_number(model, object, "bytes", NULL, MA_BYTES, total[TEMPORARY_BYTES]);
    ma_model_number(model, object, "calls", NULL, MA_COUNT, total[CALLS]);
    struct ma_value *array = ma_model_array(model, object, "stacks", "", MA_ENTRIES);
    for (size_t i = 0; i < shown && result == 0; i++)
        result = add_entry(analysis, model, array, &rows.rows[i]);
out:
    ma_tally_rows_free(&rows);
    return result;
}

const struct ma_report ma_report_temporary = {
    .name = "temporary",
    .help = "blocks that were freed at once, by stack",
    .build = build_temporary,
    .observe = observe_temporary,
    .value = "[N]",
    .parse = parse_temporary,
};
