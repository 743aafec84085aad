/* SPDX-License-Identifier: MIT
 *
 * The report of a difference: totals of both traces, then for each cost what grew,
 * shrank, came and went, largest change first.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_diff.h"
#include "ma_text.h"

enum status { GREW, SHRANK, CAME, WENT, STATUSES };
static const char *const status_names[] = {"grew", "shrank", "new", "gone"};

struct change {
    const struct ma_diff_row *row;
    const struct ma_measure *old, *new;
    int64_t bytes, blocks;
    enum status status;
};

struct sums {
    uint64_t stacks[STATUSES];
    uint64_t bytes[STATUSES], blocks[STATUSES]; /* by how much */
};

/* new - old, as far as it can be told. */
static int64_t subtract(uint64_t new, uint64_t old)
{
    uint64_t by = new > old ? new - old : old - new;
    int64_t change = by > INT64_MAX ? INT64_MAX : (int64_t)by;
    return new >= old ? change : -change;
}

static uint64_t size_of(int64_t change)
{
    return change < 0 ? (uint64_t)-change : (uint64_t)change;
}

static int compare_changes(const void *a, const void *b, void *context)
{
    const struct change *x = a, *y = b;
    const struct ma_request *request = context;
    for (size_t i = 0; i <= request->n_sort; i++) {
        bool bytes = i == request->n_sort || request->sort[i] == MA_SORT_BYTES;
        uint64_t p = size_of(bytes ? x->bytes : x->blocks);
        uint64_t q = size_of(bytes ? y->bytes : y->blocks);
        if (p != q)
            return p > q ? -1 : 1;
    }
    if (size_of(x->blocks) != size_of(y->blocks))
        return size_of(x->blocks) > size_of(y->blocks) ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static enum status status_of(const struct change *change)
{
    bool was = change->old->blocks || change->old->bytes;
    bool is = change->new->blocks || change->new->bytes;
    if (!was)
        return CAME;
    if (!is)
        return WENT;
    return (change->bytes ? change->bytes : change->blocks) > 0 ? GREW : SHRANK;
}

static struct change *changes_of(const struct ma_diff *diff, int cost, size_t *n, struct sums *sums)
{
    struct change *changes = malloc((diff->n_rows + 1) * sizeof *changes);
    *n = 0;
    for (size_t i = 0; changes && i < diff->n_rows; i++) {
        const struct ma_diff_row *row = &diff->rows[i];
        struct change change = {
            .row = row,
            .old = &row->cost[MA_OLD][cost],
            .new = &row->cost[MA_NEW][cost],
        };
        change.bytes = subtract(change.new->bytes, change.old->bytes);
        change.blocks = subtract(change.new->blocks, change.old->blocks);
        if (!change.bytes && !change.blocks)
            continue;
        change.status = status_of(&change);
        sums->stacks[change.status]++;
        sums->bytes[change.status] += size_of(change.bytes);
        sums->blocks[change.status] += size_of(change.blocks);
        changes[(*n)++] = change;
    }
    if (changes)
        qsort_r(changes, *n, sizeof *changes, compare_changes,
                (void *)(uintptr_t)diff->sides[MA_NEW]->request);
    return changes;
}

static int add_entry(struct ma_diff *diff, struct ma_model *model, struct ma_value *array,
                     const struct change *change, const char *blocks_title)
{
    static const char *const titles[] = {"", "", "new", "gone"};
    struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
    int side = change->status == WENT ? MA_OLD : MA_NEW;
    bool both = change->status == GREW || change->status == SHRANK;
    ma_model_text(model, entry, "status", NULL, status_names[change->status]);
    ma_model_number(model, entry, "change_bytes", titles[change->status], MA_BYTES_CHANGE,
                    (uint64_t)change->bytes);
    if (both && change->old->bytes)
        ma_model_real(model, entry, "percent", "", MA_PERCENT_CHANGE,
                      100.0 * (double)change->bytes / (double)change->old->bytes);
    else
        ma_model_null(model, entry, "percent");
    ma_model_number(model, entry, "change_blocks", blocks_title, MA_COUNT_CHANGE,
                    (uint64_t)change->blocks);
    ma_model_number(model, entry, "old_bytes", both ? "before" : NULL, MA_BYTES,
                    change->old->bytes);
    ma_model_number(model, entry, "new_bytes", both ? "now" : NULL, MA_BYTES, change->new->bytes);
    ma_model_number(model, entry, "old_blocks", NULL, MA_COUNT, change->old->blocks);
    ma_model_number(model, entry, "new_blocks", NULL, MA_COUNT, change->new->blocks);
    uint32_t stack = change->row->stack[side];
    int result = ma_report_label(diff->sides[side], model, entry, stack);
    const struct ma_value *number = ma_model_find(entry, "stack_id");
    if (number)
        ma_model_text(model, entry, NULL, "stack:", number->text);
    ma_model_stack_of(model, entry, "stack", &diff->sides[side]->stacks, stack);
    return result;
}

static void add_sums(struct ma_model *model, struct ma_value *parent, const char *key,
                     const struct sums *sums)
{
    struct ma_value *object = ma_model_object(model, parent, key, NULL, MA_FIELDS);
    for (size_t i = 0; i < STATUSES; i++) {
        struct ma_value *one = ma_model_object(model, object, status_names[i], NULL, MA_FIELDS);
        ma_model_number(model, one, "stacks", NULL, MA_COUNT, sums->stacks[i]);
        ma_model_number(model, one, "bytes", NULL, MA_BYTES, sums->bytes[i]);
        ma_model_number(model, one, "blocks", NULL, MA_COUNT, sums->blocks[i]);
    }
}

static void add_note(struct ma_model *model, struct ma_value *array, const struct sums *sums,
                     size_t n, size_t shown)
{
    static const char *const words[] = {"grew by", "shrank by", "new with", "gone with"};
    char text[400] = "", bytes[MA_HUMAN_SIZE], count[MA_HUMAN_SIZE];
    size_t used = 0;
    for (size_t i = 0; i < STATUSES; i++) {
        if (sums->stacks[i])
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %s %s",
                                     used ? ", " : "", ma_human_count(count, sums->stacks[i]),
                                     words[i], ma_human_bytes(bytes, sums->bytes[i]));
    }
    if (!n)
        ma_model_note(model, array, "No stack changed.");
    else if (shown < n)
        ma_model_note(model, array, "Stacks: %s; the %s that changed most:", text,
                      ma_human_count(count, shown));
    else
        ma_model_note(model, array, "Stacks: %s:", text);
}

static int add_cost(struct ma_diff *diff, struct ma_model *model, struct ma_value *all_sums,
                    int cost)
{
    static const struct {
        const char *key, *title, *blocks;
    } looks[] = {
        [MA_DIFF_LEAKS] = {"leaks", "Leaks, changed", "blocks"},
        [MA_DIFF_PEAK] = {"peak", "At the peak, changed", "blocks"},
        [MA_DIFF_ALLOCATIONS] = {"allocations", "Allocations, changed", "calls"},
    };
    const struct ma_request *request = diff->sides[MA_NEW]->request;
    struct sums sums = {0};
    size_t n;
    struct change *changes = changes_of(diff, cost, &n, &sums);
    if (!changes)
        return -ENOMEM;
    size_t shown = n < request->top ? n : request->top;
    add_sums(model, all_sums, looks[cost].key, &sums);
    struct ma_value *array =
        ma_model_array(model, &model->root, looks[cost].key, looks[cost].title, MA_ENTRIES);
    add_note(model, array, &sums, n, shown);
    int result = 0;
    for (size_t i = 0; i < shown && result == 0; i++)
        result = add_entry(diff, model, array, &changes[i], looks[cost].blocks);
    free(changes);
    return result;
}

static const char *human(char buffer[MA_HUMAN_SIZE], enum ma_unit unit, uint64_t value)
{
    return unit == MA_BYTES         ? ma_human_bytes(buffer, value)
           : unit == MA_NANOSECONDS ? ma_human_time(buffer, value)
                                    : ma_human_count(buffer, value);
}

/* All metrics of the summary for machines, those that a person compares as a table. */
static void add_totals(struct ma_diff *diff, struct ma_model *model)
{
    static const char *const titles[] = {
        "never freed", "  blocks", "peak", "  blocks", "allocated", "  calls", "temporary blocks"};
    const struct ma_metrics *old = &diff->metrics[MA_OLD], *new = &diff->metrics[MA_NEW];
    struct ma_value *summary = ma_model_object(model, &model->root, "summary", NULL, MA_FIELDS);
    struct ma_value *lines = ma_model_array(model, &model->root, NULL, "Difference", MA_LINES);
    ma_model_format(model, lines, NULL, NULL, "OLD  %s", diff->sides[MA_OLD]->request->trace);
    ma_model_format(model, lines, NULL, NULL, "NEW  %s", diff->sides[MA_NEW]->request->trace);
    /* A window given in percent or by marks differs between the two. */
    for (int side = MA_OLD; side < MA_SIDES; side++) {
        const struct ma_filter *filter = diff->sides[side]->filter;
        char *text = filter ? ma_filter_text(filter) : NULL;
        if (text)
            ma_model_format(model, lines, NULL, NULL, "%s  %s", side == MA_OLD ? "OLD" : "NEW",
                            text);
        free(text);
    }
    ma_model_format(model, lines, NULL, NULL, "%-16s %13s %13s %14s", "", "OLD", "NEW", "change");
    for (size_t i = 0; i < MA_METRICS; i++) {
        const struct ma_metric *metric = &ma_metric_table[i];
        if (metric->kind)
            continue;
        int64_t change = subtract(new->value[i], old->value[i]);
        struct ma_value *one = ma_model_object(model, summary, metric->name, NULL, MA_FIELDS);
        ma_model_number(model, one, "old", NULL, metric->unit, old->value[i]);
        ma_model_number(model, one, "new", NULL, metric->unit, new->value[i]);
        ma_model_number(model, one, "change", NULL, MA_COUNT_CHANGE, (uint64_t)change);
        if (i >= sizeof titles / sizeof *titles)
            continue;
        char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE], c[MA_HUMAN_SIZE], by[MA_HUMAN_SIZE + 1];
        char percent[40] = "";
        snprintf(by, sizeof by, "%s%s",
                 change < 0 ? "-"
                 : change   ? "+"
                            : "",
                 human(c, metric->unit, size_of(change)));
        if (old->value[i] && change)
            snprintf(percent, sizeof percent, "  %+.1f %%",
                     100 * (double)change / (double)old->value[i]);
        ma_model_format(model, lines, NULL, NULL, "%-16s %13s %13s %14s%s", titles[i],
                        human(a, metric->unit, old->value[i]),
                        human(b, metric->unit, new->value[i]), by, percent);
    }
}

/* Add the verdict of each side's audit, and the reasons why stacks may not match. */
static int add_audits(struct ma_diff *diff, struct ma_model *model)
{
    static const char *const keys[] = {"old", "new"}, *const names[] = {"OLD", "NEW"};
    struct ma_value *lines = ma_model_array(model, &model->root, NULL, "Audit", MA_LINES);
    for (int side = MA_OLD; side < MA_SIDES; side++) {
        struct ma_value *object = ma_model_object(model, &model->root, keys[side], NULL, MA_FIELDS);
        ma_model_text(model, object, "trace", NULL, diff->sides[side]->request->trace);
        ma_model_number(model, object, "stacks_without_names", NULL, MA_COUNT,
                        diff->nameless[side]);
        int result = ma_report_add_filter(diff->sides[side], model, object, NULL);
        if (result < 0)
            return result;
        struct ma_model audit;
        ma_model_init(&audit);
        result = ma_report_audit.build(diff->sides[side], &audit);
        const struct ma_value *of =
            result == 0 && !audit.failed ? ma_model_find(&audit.root, "audit") : NULL;
        const struct ma_value *complete = of ? ma_model_find(of, "complete") : NULL;
        const struct ma_value *verdict = of ? ma_model_find(of, "verdict") : NULL;
        if (complete && verdict) {
            ma_model_boolean(model, object, "complete", NULL, complete->number);
            ma_model_text(model, object, "verdict", NULL, verdict->text);
            ma_model_format(model, lines, NULL, NULL, "%s  %s", names[side], verdict->text);
        }
        ma_model_free(&audit);
        if (!of)
            return -ENOMEM;
        if (diff->nameless[side] && diff->sides[side]->request->symbols)
            ma_model_format(model, lines, NULL, NULL,
                            "%s  %llu stacks have frames without names and are matched by their "
                            "modules alone: keep --bundle files of builds that are replaced.",
                            names[side], (unsigned long long)diff->nameless[side]);
    }
    return 0;
}

static bool is_wanted(const struct ma_request *request, const char *report)
{
    for (size_t i = 0; request->reports && i < ma_report_count; i++) {
        if (strcmp(ma_reports[i]->name, report) == 0)
            return request->reports >> i & 1;
    }
    return true;
}

int ma_report_diff(struct ma_diff *diff, struct ma_model *model)
{
    const struct ma_request *request = diff->sides[MA_NEW]->request;
    ma_model_text(model, &model->root, "schema", NULL, "mlog-diff/1");
    add_totals(diff, model);
    struct ma_value *sums = ma_model_object(model, &model->root, "changes", NULL, MA_FIELDS);
    static const char *const costs[] = {"leaks", "peak", "allocations"};
    int result = 0;
    for (int cost = 0; cost < MA_DIFF_COSTS && result == 0; cost++) {
        if (is_wanted(request, costs[cost]))
            result = add_cost(diff, model, sums, cost);
    }
    return result == 0 ? add_audits(diff, model) : result;
}
