/* SPDX-License-Identifier: MIT
 *
 * Blocks that grow step by step: a chain begins with a realloc that makes a
 * block larger, goes on with every further realloc of it, and is counted at the
 * stack of that first one. Its cost is the bytes that were copied because the
 * address changed; asking for the largest size at once would have spared it.
 *
 * Memory: eight counters a stack, and some 80 bytes for each live block that is
 * the latest of a chain; nothing for steps.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "ma_report.h"
#include "ma_tally.h"
#include "ma_text.h"

enum { CHAINS, STEPS, MOVED, COPIED, FINAL, LONGEST, LARGEST, COUNTERS };

struct chain {
    uint64_t address;
    uint32_t process; /* index */
    uint32_t site;    /* of the stack it is counted at */
    uint64_t steps;
};

struct reallocs {
    struct ma_observer observer;
    struct ma_tally tally;
    void *chains; /* a tree of tsearch(3) */
};

static const char key;

static int compare_chains(const void *a, const void *b)
{
    const struct chain *x = a, *y = b;
    if (x->address != y->address)
        return x->address < y->address ? -1 : 1;
    return x->process < y->process ? -1 : x->process > y->process;
}

/* The chain of a block, which leaves the tree: the caller owns it. NULL: none. */
static struct chain *take_chain(struct reallocs *reallocs, const struct ma_seen *seen,
                                uint64_t address)
{
    const struct chain wanted = {.address = address, .process = seen->process->index};
    struct chain **found =
        reallocs->chains ? tfind(&wanted, &reallocs->chains, compare_chains) : NULL;
    if (!found)
        return NULL;
    struct chain *chain = *found;
    tdelete(&wanted, &reallocs->chains, compare_chains);
    return chain;
}

static int on_ended(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    free(take_chain(context, seen, block->address));
    return 0;
}

static int on_resized(void *context, const struct ma_seen *seen, const struct ma_seen_block *old,
                      const struct ma_seen_block *block)
{
    struct reallocs *reallocs = context;
    struct chain *chain = old ? take_chain(reallocs, seen, old->address) : NULL;
    const bool moved = old && old->address != block->address;
    if (moved)
        free(take_chain(reallocs, seen, block->address)); /* whose end was not seen */
    if (!chain && (!old || block->size <= old->size))
        return 0;
    if (!chain) {
        chain = malloc(sizeof *chain);
        if (!chain)
            return -ENOMEM;
        *chain = (struct chain){.process = seen->process->index, .site = block->site};
    }
    uint64_t *values = ma_tally_at(&reallocs->tally, seen->account, chain->site);
    chain->address = block->address;
    if (!values || !tsearch(chain, &reallocs->chains, compare_chains)) {
        free(chain);
        return -ENOMEM;
    }
    values[CHAINS] += chain->steps == 0;
    values[FINAL] += block->size - (chain->steps ? old->size : 0);
    values[STEPS]++;
    values[MOVED] += moved;
    values[COPIED] += !moved ? 0 : old->size < block->size ? old->size : block->size;
    chain->steps++;
    values[LONGEST] = chain->steps > values[LONGEST] ? chain->steps : values[LONGEST];
    values[LARGEST] = block->size > values[LARGEST] ? block->size : values[LARGEST];
    return 0;
}

static void reallocs_free(void *data)
{
    struct reallocs *reallocs = data;
    tdestroy(reallocs->chains, free);
    ma_tally_free(&reallocs->tally);
    free(reallocs);
}

static int observe_reallocs(struct ma_analysis *analysis)
{
    struct reallocs *reallocs = calloc(1, sizeof *reallocs);
    if (reallocs) {
        reallocs->observer = (struct ma_observer){
            .context = reallocs,
            .allocated = on_ended,
            .freed = on_ended,
            .resized = on_resized,
        };
        reallocs->tally.counters = COUNTERS;
        reallocs->tally.n_most = COUNTERS - LONGEST;
    }
    return ma_analysis_observe(analysis, reallocs ? &reallocs->observer : NULL, &key, reallocs,
                               reallocs_free);
}

static int add_entry(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                     const struct ma_tally_row *row)
{
    const uint64_t *values = row->values;
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    ma_model_number(model, entry, "copied_bytes", "copied", MA_BYTES, values[COPIED]);
    ma_model_number(model, entry, "chains", "chains", MA_COUNT, values[CHAINS]);
    ma_model_number(model, entry, "steps", "steps", MA_COUNT, values[STEPS]);
    ma_model_number(model, entry, "moved", "moved", MA_PLAIN, values[MOVED]);
    ma_model_number(model, entry, "longest", NULL, MA_COUNT, values[LONGEST]);
    ma_model_number(model, entry, "final_bytes", "in the end", MA_BYTES, values[FINAL]);
    ma_model_number(model, entry, "reserve_bytes", "to reserve", MA_BYTES, values[LARGEST]);
    int result = ma_report_label(analysis, model, entry, row->stack);
    ma_model_stack(model, entry, "stack", row->stack);
    return result;
}

static int build_reallocs(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct reallocs *reallocs = ma_analysis_observer_data(analysis, &key);
    const struct ma_request *request = analysis->request;
    static const struct ma_tally_key keys[] = {
        [MA_SORT_BYTES] = {{COPIED}, 1},
        [MA_SORT_BLOCKS] = {{CHAINS}, 1},
        [MA_SORT_CALLS] = {{STEPS}, 1},
    };
    struct ma_tally_key order[MA_SORT_KEYS + 2];
    struct ma_tally_rows rows;
    char a[MA_COUNTED_SIZE], b[MA_COUNTED_SIZE], c[MA_HUMAN_SIZE];
    size_t n = 0;
    for (; n < request->n_sort; n++)
        order[n] = keys[request->sort[n]];
    order[n++] = keys[MA_SORT_BYTES];
    order[n++] = keys[MA_SORT_CALLS];
    int result = ma_tally_rows(&reallocs->tally, analysis, &rows);
    if (result < 0)
        goto out;
    ma_tally_sort(&rows, order, n);
    const uint64_t *total = rows.total;
    struct ma_value *object = ma_model_object(model, &model->root, "reallocs",
                                              "Blocks that grow step by step", MA_FIELDS);
    if (!rows.n)
        ma_model_note(model, object, "No realloc made a block larger.");
    else
        ma_model_note(model, object,
                      "%s of %s copied %s; asking for the size \"to reserve\" at once spares "
                      "%s:",
                      ma_human_counted(a, total[CHAINS], "chain"),
                      ma_human_counted(b, total[STEPS], "realloc"),
                      ma_human_bytes(c, total[COPIED]), total[CHAINS] == 1 ? "it" : "them");
    ma_model_number(model, object, "chains", NULL, MA_COUNT, total[CHAINS]);
    ma_model_number(model, object, "steps", NULL, MA_COUNT, total[STEPS]);
    ma_model_number(model, object, "moved", NULL, MA_COUNT, total[MOVED]);
    ma_model_number(model, object, "copied_bytes", NULL, MA_BYTES, total[COPIED]);
    struct ma_value *array = ma_model_array(model, object, "stacks", "", MA_ENTRIES);
    for (size_t i = 0; i < rows.n && i < request->top && result == 0; i++)
        result = add_entry(analysis, model, array, &rows.rows[i]);
out:
    ma_tally_rows_free(&rows);
    return result;
}

const struct ma_report ma_report_reallocs = {
    .name = "reallocs",
    .help = "blocks that grow step by step, by stack",
    .build = build_reallocs,
    .observe = observe_reallocs,
};
