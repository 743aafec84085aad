/* SPDX-License-Identifier: MIT
 *
 * Snapshots: at chosen moments, for each stack what it holds, and what it
 * allocated and freed since the snapshot before and in all. Moments come after
 * so many bytes of churn, after so many seconds, or at the program's marks; the
 * end of the trace is always one.
 *
 * A snapshot keeps the totals of those stacks alone that did something since the
 * one before, so that a stack that rests costs nothing. Memory: 48 bytes for each
 * of these; at most 200 snapshots. The step doubles if more fall due, and snapshots
 * that the new step would not have taken are dropped; of marks the first 200 count.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_report.h"
#include "ma_tally.h"
#include "ma_text.h"

#define SNAPSHOTS 200
#define STACKS_USUALLY 3 /* of each snapshot, in text */

enum { CALLS, BYTES, FREES, FREED_BYTES, SUMS, STAMP = SUMS, COUNTERS };

enum kind { CHURN, TIME, MARKS };

struct held { /* a stack's totals */
    const struct ma_account *account;
    uint32_t site;
    uint64_t sums[SUMS];
};

struct snapshot {
    uint64_t ns, churn;
    char *mark; /* NULL: none */
    struct held *held;
    size_t n, capacity;
};

struct snapshots {
    struct ma_observer observer;
    struct ma_tally tally; /* current totals; STAMP: number of the snapshot they are listed for */
    enum kind kind;
    uint64_t step, next; /* bytes or ns */
    uint64_t churn, ns;
    struct snapshot all[SNAPSHOTS + 1]; /* all[n]: the one to come, its sums not yet filled in */
    size_t n;
    uint64_t stamp, missed;
};

static const char key;

/* Bytes with K, M, G or T, or seconds. */
static bool parse_step(const char *text, enum kind kind, uint64_t *step)
{
    static const char units[] = "KMGT";
    char *end;
    double value = strtod(text, &end);
    if ((text[0] < '0' || text[0] > '9') && text[0] != '.')
        return false;
    if (kind == TIME) {
        value *= 1e9;
        end += *end == 's';
    } else if (*end && strchr(units, *end)) {
        value *= (double)(1ull << (10 * (strchr(units, *end) - units + 1)));
        end++;
    }
    if (*end || !(value >= 1 && value < 1e18))
        return false;
    *step = (uint64_t)value;
    return true;
}

static bool parse_when(const char *value, enum kind *kind, uint64_t *step)
{
    static const char *const names[] = {[CHURN] = "churn:", [TIME] = "time:"};
    *kind = MARKS;
    *step = 0;
    if (strcmp(value, "marks") == 0)
        return true;
    for (*kind = CHURN; *kind < MARKS; (*kind)++) {
        size_t n = strlen(names[*kind]);
        if (strncmp(value, names[*kind], n) == 0)
            return parse_step(value + n, *kind, step);
    }
    return false;
}

static const char *parse_snapshots(struct ma_request *request, const char *value)
{
    enum kind kind;
    uint64_t step;
    request->snapshots = value;
    return parse_when(value, &kind, &step)
               ? NULL
               : "expected churn:BYTES (1G, 64M), time:SECONDS or marks";
}

/* Take the totals of the stacks that the open snapshot lists, and open the next. */
static int close_snapshot(struct snapshots *snapshots, uint64_t ns, const char *mark)
{
    struct snapshot *open = &snapshots->all[snapshots->n];
    for (size_t i = 0; i < open->n; i++) {
        const uint64_t *values =
            ma_tally_at(&snapshots->tally, open->held[i].account, open->held[i].site);
        memcpy(open->held[i].sums, values, sizeof open->held[i].sums);
    }
    open->ns = ns;
    open->churn = snapshots->churn;
    if (mark && !(open->mark = strdup(mark)))
        return -ENOMEM;
    snapshots->n++;
    snapshots->stamp++;
    return 0;
}

static int by_site(const void *a, const void *b)
{
    const struct held *x = a, *y = b;
    uint32_t p = x->account->process->index, q = y->account->process->index;
    return p != q ? (p < q ? -1 : 1) : x->site != y->site ? (x->site < y->site ? -1 : 1) : 0;
}

/* Bring what `from` lists and `to` does not into `to`: totals of the later stay. */
static int absorb(struct snapshot *to, struct snapshot *from)
{
    const size_t n = to->n;
    if (n)
        qsort(to->held, n, sizeof *to->held, by_site);
    for (size_t i = 0; i < from->n; i++) {
        if (n && bsearch(&from->held[i], to->held, n, sizeof *to->held, by_site))
            continue;
        if (!MA_RESERVE(to->held, to->n, to->capacity))
            return -ENOMEM;
        to->held[to->n++] = from->held[i];
    }
    free(from->held);
    *from = (struct snapshot){0};
    return 0;
}

/* Double the step and keep those snapshots that the new one would have taken.
 * Called just after one was closed, when the open one lists nothing. */
static int widen_step(struct snapshots *snapshots)
{
    size_t kept = 0;
    uint64_t last = 0;
    snapshots->step *= 2;
    for (size_t i = 0; i < snapshots->n; i++) {
        struct snapshot *one = &snapshots->all[i];
        const uint64_t at = (snapshots->kind == TIME ? one->ns : one->churn) / snapshots->step;
        if (at == last) {
            if (absorb(one + 1, one) < 0)
                return -ENOMEM;
            continue;
        }
        last = at;
        if (snapshots->kind == TIME)
            one->ns = at * snapshots->step;
        snapshots->all[kept++] = *one;
    }
    struct snapshot open = snapshots->all[snapshots->n];
    memset(&snapshots->all[kept], 0, (SNAPSHOTS + 1 - kept) * sizeof *snapshots->all);
    snapshots->all[kept] = open;
    snapshots->n = kept;
    for (size_t i = 0; i < open.n; i++)
        ma_tally_at(&snapshots->tally, open.held[i].account, open.held[i].site)[STAMP] =
            snapshots->stamp;
    return 0;
}

/* Before a change at `at`, if that is a time; after one, if it is churn: what has
 * fallen due. */
static int due(struct snapshots *snapshots, uint64_t at)
{
    if (snapshots->kind == MARKS || at < snapshots->next)
        return 0;
    int result = close_snapshot(
        snapshots, snapshots->kind == TIME ? at - at % snapshots->step : snapshots->ns, NULL);
    while (result == 0 && snapshots->n == SNAPSHOTS)
        result = widen_step(snapshots);
    snapshots->next = at - at % snapshots->step + snapshots->step;
    return result;
}

static int count(struct snapshots *snapshots, const struct ma_seen *seen,
                 const struct ma_seen_block *block, int calls, int bytes)
{
    int result = 0;
    if (block->site == MA_NONE)
        return 0;
    if (snapshots->kind == TIME && (result = due(snapshots, seen->ns)) < 0)
        return result;
    snapshots->ns = seen->ns > snapshots->ns ? seen->ns : snapshots->ns;
    snapshots->churn += block->size;
    uint64_t *values = ma_tally_at(&snapshots->tally, seen->account, block->site);
    if (!values)
        return -ENOMEM;
    values[calls]++;
    values[bytes] += block->size;
    if (values[STAMP] != snapshots->stamp) {
        struct snapshot *open = &snapshots->all[snapshots->n];
        if (!MA_RESERVE(open->held, open->n, open->capacity))
            return -ENOMEM;
        open->held[open->n++] = (struct held){.account = seen->account, .site = block->site};
        values[STAMP] = snapshots->stamp;
    }
    return snapshots->kind == CHURN ? due(snapshots, snapshots->churn) : 0;
}

static int on_allocated(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    return count(context, seen, block, CALLS, BYTES);
}

static int on_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    return count(context, seen, block, FREES, FREED_BYTES);
}

static int on_mark(void *context, const struct ma_seen *seen, const struct ma_mark *mark)
{
    struct snapshots *snapshots = context;
    snapshots->ns = seen->ns > snapshots->ns ? seen->ns : snapshots->ns;
    if (snapshots->kind != MARKS || mark->kind == MA_MARK_PRINT)
        return 0;
    if (snapshots->n == SNAPSHOTS) {
        snapshots->missed++;
        return 0;
    }
    return close_snapshot(snapshots, seen->ns, mark->name);
}

static void snapshots_free(void *data)
{
    struct snapshots *snapshots = data;
    for (size_t i = 0; i <= SNAPSHOTS; i++) {
        free(snapshots->all[i].mark);
        free(snapshots->all[i].held);
    }
    ma_tally_free(&snapshots->tally);
    free(snapshots);
}

static int observe_snapshots(struct ma_analysis *analysis)
{
    struct snapshots *snapshots = calloc(1, sizeof *snapshots);
    if (snapshots) {
        snapshots->observer = (struct ma_observer){
            .context = snapshots,
            .allocated = on_allocated,
            .freed = on_freed,
            .marked = on_mark,
        };
        snapshots->tally.counters = COUNTERS;
        snapshots->stamp = 1;
        parse_when(analysis->request->snapshots, &snapshots->kind, &snapshots->step);
        snapshots->next = snapshots->step;
    }
    return ma_analysis_observe(analysis, snapshots ? &snapshots->observer : NULL, &key, snapshots,
                               snapshots_free);
}

/* While the report is built: each stack's totals as they are at the snapshot,
 * and as they were at the one before. */
enum { NOW = 0, BEFORE = SUMS, STATES = 2 * SUMS };

static void add_sums(struct ma_model *model, struct ma_value *value, const uint64_t *values,
                     bool titled)
{
    static const char *const keys[] = {"allocations", "allocated_bytes", "frees", "freed_bytes"};
    static const char *const since[] = {"allocations_since", "allocated_bytes_since", "frees_since",
                                        "freed_bytes_since"};
    ma_model_number(model, value, "live_bytes", titled ? "live" : NULL, MA_BYTES,
                    values[NOW + BYTES] - values[NOW + FREED_BYTES]);
    ma_model_number(model, value, "live_blocks", titled ? "blocks" : NULL, MA_COUNT,
                    values[NOW + CALLS] - values[NOW + FREES]);
    for (unsigned i = 0; i < SUMS; i++) {
        const bool bytes = i == BYTES || i == FREED_BYTES;
        ma_model_number(model, value, since[i],
                        !titled            ? NULL
                        : i == CALLS       ? "calls"
                        : i == BYTES       ? "allocated"
                        : i == FREED_BYTES ? "freed"
                                           : NULL,
                        bytes ? MA_BYTES : MA_COUNT, values[NOW + i] - values[BEFORE + i]);
        ma_model_number(model, value, keys[i], NULL, bytes ? MA_BYTES : MA_COUNT, values[NOW + i]);
    }
}

struct order {
    uint64_t live, since;
    const struct ma_tally_row *row;
};

static int compare_entries(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    if (x->live != y->live)
        return x->live > y->live ? -1 : 1;
    if (x->since != y->since)
        return x->since > y->since ? -1 : 1;
    return x->row->stack < y->row->stack ? -1 : x->row->stack > y->row->stack;
}

static int add_snapshot(struct ma_analysis *analysis, struct ma_model *model,
                        struct ma_value *array, const struct snapshot *snapshot, size_t number,
                        struct ma_tally *state)
{
    const struct ma_request *request = analysis->request;
    struct ma_tally_rows rows;
    struct order *order = NULL;
    char title[MA_HUMAN_SIZE];
    size_t top = request->top_given || request->json ? request->top : STACKS_USUALLY;
    int result = ma_tally_rows(state, analysis, &rows);
    if (result < 0 || !(order = malloc((rows.n + 1) * sizeof *order))) {
        result = -ENOMEM;
        goto out;
    }
    for (size_t i = 0; i < rows.n; i++) {
        const uint64_t *values = rows.rows[i].values;
        order[i] = (struct order){values[NOW + BYTES] - values[NOW + FREED_BYTES],
                                  values[NOW + BYTES] - values[BEFORE + BYTES], &rows.rows[i]};
    }
    qsort(order, rows.n, sizeof *order, compare_entries);
    struct ma_value *object = ma_model_object(model, array, NULL, "", MA_FIELDS);
    char live[MA_HUMAN_SIZE], allocated[MA_HUMAN_SIZE], freed[MA_HUMAN_SIZE],
        calls[MA_COUNTED_SIZE];
    const uint64_t *total = rows.total;
    ma_model_number(model, object, "number", NULL, MA_COUNT, number);
    ma_model_number(model, object, "time_ns", NULL, MA_NANOSECONDS, snapshot->ns);
    ma_model_number(model, object, "churn_bytes", NULL, MA_BYTES, snapshot->churn);
    ma_model_text(model, object, "mark", NULL, snapshot->mark);
    ma_model_note(model, object,
                  "%zu. At %s%s%s%s: %s live, since the last allocated %s in %s and "
                  "freed %s",
                  number, ma_human_time(title, snapshot->ns), snapshot->mark ? ", \"" : "",
                  snapshot->mark ? snapshot->mark : "", snapshot->mark ? "\"" : "",
                  ma_human_bytes(live, total[NOW + BYTES] - total[NOW + FREED_BYTES]),
                  ma_human_bytes(allocated, total[NOW + BYTES] - total[BEFORE + BYTES]),
                  ma_human_counted(calls, total[NOW + CALLS] - total[BEFORE + CALLS], "call"),
                  ma_human_bytes(freed, total[NOW + FREED_BYTES] - total[BEFORE + FREED_BYTES]));
    add_sums(model, object, rows.total, false);
    struct ma_value *stacks = ma_model_array(model, object, "stacks", "", MA_TABLE);
    for (size_t i = 0; i < rows.n && i < top; i++) {
        struct ma_value *one = ma_model_object(model, stacks, NULL, NULL, MA_FIELDS);
        add_sums(model, one, order[i].row->values, true);
        if ((result = ma_report_label(analysis, model, one, order[i].row->stack)) < 0)
            goto out;
        ((struct ma_value *)ma_model_find(one, "stack_id"))->title = "stack";
        one->last->title = "of"; /* with its place, as its note */
        ma_model_stack(model, one, "stack", order[i].row->stack);
    }
out:
    free(order);
    ma_tally_rows_free(&rows);
    return result;
}

/* Step the state on by a snapshot. */
static int step_state(struct ma_tally *state, const struct snapshot *snapshot)
{
    for (size_t p = 0; p < state->n_parts; p++) {
        struct ma_tally_part *part = &state->parts[p];
        for (size_t site = 0; site < part->n_sites; site++) {
            uint64_t *values = &part->values[site * STATES];
            memcpy(values + BEFORE, values + NOW, SUMS * sizeof *values);
        }
    }
    for (size_t i = 0; i < snapshot->n; i++) {
        uint64_t *values = ma_tally_at(state, snapshot->held[i].account, snapshot->held[i].site);
        if (!values)
            return -ENOMEM;
        memcpy(values + NOW, snapshot->held[i].sums, SUMS * sizeof *values);
    }
    return 0;
}

static int build_snapshots(struct ma_analysis *analysis, struct ma_model *model)
{
    struct snapshots *snapshots = ma_analysis_observer_data(analysis, &key);
    struct ma_tally state = {.counters = STATES};
    char step[MA_HUMAN_SIZE];
    int result = 0;
    /* The end: the open one, as it is now. It stays open, for reports of a trace
     * that goes on. */
    struct snapshot *open = &snapshots->all[snapshots->n];
    for (size_t i = 0; i < open->n; i++)
        memcpy(open->held[i].sums,
               ma_tally_at(&snapshots->tally, open->held[i].account, open->held[i].site),
               sizeof open->held[i].sums);
    const uint64_t end = ma_analysis_window(analysis).to;
    open->ns = end > snapshots->ns ? end : snapshots->ns;
    open->churn = snapshots->churn;
    struct ma_value *object =
        ma_model_object(model, &model->root, "snapshots", "Snapshots", MA_FIELDS);
    if (snapshots->kind == MARKS)
        ma_model_note(model, object,
                      "At %zu mark%s of the program%s, and at the end:", snapshots->n,
                      snapshots->n == 1 ? "" : "s",
                      snapshots->missed ? " (there are more: the first ones are taken)" : "");
    else
        ma_model_note(model, object, "After every %s%s, and at the end:",
                      snapshots->kind == TIME ? ma_human_time(step, snapshots->step)
                                              : ma_human_bytes(step, snapshots->step),
                      snapshots->kind == TIME ? "" : " allocated and freed");
    ma_model_text(model, object, "by", NULL,
                  snapshots->kind == MARKS  ? "marks"
                  : snapshots->kind == TIME ? "time"
                                            : "churn");
    ma_model_number(model, object, "step", NULL, MA_PLAIN, snapshots->step);
    ma_model_number(model, object, "missed_marks", NULL, MA_COUNT, snapshots->missed);
    struct ma_value *array = ma_model_array(model, object, "snapshots", "", MA_SECTIONS);
    for (size_t i = 0; i <= snapshots->n && result == 0; i++) {
        result = step_state(&state, &snapshots->all[i]);
        if (result == 0)
            result = add_snapshot(analysis, model, array, &snapshots->all[i], i + 1, &state);
    }
    ma_tally_free(&state);
    return result;
}

const struct ma_report ma_report_snapshots = {
    .name = "snapshots",
    .help = "by stack, every so often: churn:BYTES, time:SECONDS, marks",
    .build = build_snapshots,
    .observe = observe_snapshots,
    .value = "WHEN",
    .parse = parse_snapshots,
};
