/* SPDX-License-Identifier: MIT
 *
 * One stack, by its number (ma_stack_key.h): whole, with its sums, and over time what it
 * allocated and freed and the most it held. Several stacks that have the number, or begin
 * with what was given of it, are shown one after the other, with one history.
 *
 * A stack's number is looked up when it first allocates, so that nothing is kept for others
 * but 8 bytes. The history has at most 64 spans of time, which become twice as wide when
 * there would be more.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_report.h"
#include "ma_stack_key.h"
#include "ma_tally.h"
#include "ma_text.h"

#define SPANS 64
#define FIRST_WIDTH 1000u /* ns */

enum { UNKNOWN, OTHER, WANTED };

struct span {
    uint64_t calls, bytes, frees, freed_bytes;
    uint64_t most; /* live bytes */
    bool seen;
};

struct one_stack {
    struct ma_observer observer;
    struct ma_analysis *analysis;
    struct ma_tally tally; /* of a site: UNKNOWN, OTHER or WANTED */
    struct span spans[SPANS];
    uint64_t width;
    uint64_t live_bytes;
};

static const char key;

static const char *parse_stack(struct ma_request *request, const char *value)
{
    request->stack = value;
    return ma_stack_key_is_valid(value)
               ? NULL
               : "expected a stack's number as --leaks tells it, or its first four digits or more";
}

/* Whether the number of a stack begins as the request says, in *is. */
static int is_wanted(struct ma_analysis *analysis, uint32_t stack, bool *is)
{
    uint64_t number;
    char text[MA_KEY_SIZE];
    int result = ma_stack_key(&analysis->stacks, stack, &number);
    const char *wanted = analysis->request->stack;
    *is = strncmp(ma_stack_key_text(number, text), wanted, strlen(wanted)) == 0;
    return result;
}

/* Two spans become one. */
static void widen(struct one_stack *one)
{
    for (size_t i = 0; i < SPANS / 2; i++) {
        const struct span *a = &one->spans[2 * i], *b = &one->spans[2 * i + 1];
        one->spans[i] = (struct span){
            .calls = a->calls + b->calls,
            .bytes = a->bytes + b->bytes,
            .frees = a->frees + b->frees,
            .freed_bytes = a->freed_bytes + b->freed_bytes,
            .most = a->most > b->most ? a->most : b->most,
            .seen = a->seen || b->seen,
        };
    }
    memset(&one->spans[SPANS / 2], 0, SPANS / 2 * sizeof *one->spans);
    one->width *= 2;
}

/* The span of an event of a wanted stack; *span is NULL for others. */
static int span_of(struct one_stack *one, const struct ma_seen *seen,
                   const struct ma_seen_block *block, struct span **span)
{
    *span = NULL;
    if (block->site == MA_NONE)
        return 0;
    uint64_t *state = ma_tally_at(&one->tally, seen->account, block->site);
    if (!state)
        return -ENOMEM;
    if (*state == UNKNOWN) {
        uint32_t stack;
        bool is;
        if (ma_stacks_id(&one->analysis->stacks, seen->process, seen->account->stacks[block->site],
                         &stack) < 0 ||
            is_wanted(one->analysis, stack, &is) < 0)
            return -ENOMEM;
        *state = is ? WANTED : OTHER;
    }
    if (*state != WANTED)
        return 0;
    while (seen->ns / one->width >= SPANS)
        widen(one);
    *span = &one->spans[seen->ns / one->width];
    (*span)->seen = true;
    if (one->live_bytes > (*span)->most)
        (*span)->most = one->live_bytes;
    return 0;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    struct one_stack *one = context;
    struct span *span;
    int result = span_of(one, seen, block, &span);
    if (!span)
        return result;
    one->live_bytes += block->size;
    span->calls++;
    span->bytes += block->size;
    if (one->live_bytes > span->most)
        span->most = one->live_bytes;
    return 0;
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct one_stack *one = context;
    struct span *span;
    int result = span_of(one, seen, block, &span);
    if (!span)
        return result;
    one->live_bytes -= block->size;
    span->frees++;
    span->freed_bytes += block->size;
    return 0;
}

static void one_stack_free(void *data)
{
    struct one_stack *one = data;
    ma_tally_free(&one->tally);
    free(one);
}

static int observe_stack(struct ma_analysis *analysis)
{
    struct one_stack *one = calloc(1, sizeof *one);
    if (one) {
        one->observer = (struct ma_observer){
            .context = one,
            .allocated = on_allocated,
            .freed = on_freed,
        };
        one->analysis = analysis;
        one->tally.counters = 1;
        one->width = FIRST_WIDTH;
    }
    return ma_analysis_observe(analysis, one ? &one->observer : NULL, &key, one, one_stack_free);
}

static int add_stack(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                     const struct ma_row *row)
{
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    char bytes[MA_HUMAN_SIZE], blocks[MA_COUNTED_SIZE];
    ma_model_number(model, entry, "allocated_bytes", "allocated", MA_BYTES, row->bytes);
    ma_model_number(model, entry, "calls", "calls", MA_COUNT, row->calls);
    ma_model_number(model, entry, "temporary", "temporary", MA_COUNT, row->temporary);
    ma_model_number(model, entry, "leaked_bytes", NULL, MA_BYTES, row->leaked_bytes);
    ma_model_number(model, entry, "leaked_blocks", NULL, MA_COUNT, row->leaked_blocks);
    ma_model_number(model, entry, "peak_bytes", NULL, MA_BYTES, row->peak_bytes);
    ma_model_number(model, entry, "peak_blocks", NULL, MA_COUNT, row->peak_blocks);
    int result = ma_report_label(analysis, model, entry, row->stack);
    ma_model_format(model, entry, NULL, "never freed:", "%s in %s",
                    ma_human_bytes(bytes, row->leaked_bytes),
                    ma_human_counted(blocks, row->leaked_blocks, "block"));
    ma_model_format(model, entry, NULL, "at the peak:", "%s in %s",
                    ma_human_bytes(bytes, row->peak_bytes),
                    ma_human_counted(blocks, row->peak_blocks, "block"));
    if (result == 0)
        result = ma_report_own_peak(analysis, model, entry, row);
    ma_model_stack(model, entry, "stack", row->stack)->whole = true;
    return result;
}

static void add_history(struct ma_model *model, struct ma_value *object,
                        const struct one_stack *one)
{
    uint64_t live = 0;
    struct ma_value *array = ma_model_array(model, object, "history", "Over time", MA_TABLE);
    for (size_t i = 0; i < SPANS; i++) {
        const struct span *span = &one->spans[i];
        if (!span->seen)
            continue;
        live += span->bytes - span->freed_bytes;
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, row, "time_ns", "from", MA_NANOSECONDS, i * one->width);
        ma_model_number(model, row, "calls", "calls", MA_COUNT, span->calls);
        ma_model_number(model, row, "allocated_bytes", "allocated", MA_BYTES, span->bytes);
        ma_model_number(model, row, "frees", "frees", MA_COUNT, span->frees);
        ma_model_number(model, row, "freed_bytes", "freed", MA_BYTES, span->freed_bytes);
        ma_model_number(model, row, "live_bytes", "live", MA_BYTES, live);
        ma_model_number(model, row, "most_bytes", "at most", MA_BYTES, span->most);
    }
}

static int build_stack(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct one_stack *one = ma_analysis_observer_data(analysis, &key);
    struct ma_value *object = ma_model_object(model, &model->root, "stack", "Stack", MA_FIELDS);
    ma_model_text(model, object, "id", NULL, analysis->request->stack);
    struct ma_value *array = ma_model_array(model, object, "stacks", "", MA_ENTRIES);
    int result = 0;
    size_t n = 0;
    for (size_t i = 0; i < analysis->n_rows && result == 0; i++) {
        bool is;
        result = is_wanted(analysis, analysis->rows[i].stack, &is);
        if (result < 0 || !is)
            continue;
        n++;
        result = add_stack(analysis, model, array, &analysis->rows[i]);
    }
    if (!n)
        ma_model_note(model, object,
                      "None has the number %s: --allocations --top 0 tells those that there are.",
                      analysis->request->stack);
    else
        add_history(model, object, one);
    return result;
}

const struct ma_report ma_report_stack = {
    .name = "stack",
    .help = "one stack, by its number: whole, and over time",
    .build = build_stack,
    .observe = observe_stack,
    .value = "NUMBER",
    .parse = parse_stack,
};
