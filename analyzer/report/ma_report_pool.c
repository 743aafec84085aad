/* SPDX-License-Identifier: MIT
 *
 * --pool: the smallest pool of libmlog-tlsf.so that holds what each process did (ma_pool.h),
 * the call that decides it and the stacks that held it then, how full it was over
 * time, and what ADDITIONAL_MEMPOOL_SIZE would have made of a given one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ma_pool.h"
#include "ma_report.h"
#include "ma_tally.h"
#include "ma_text.h"

enum { BYTES, BLOCKS, COUNTERS };

#define CURVE_ROWS 24 /* for people */
#define SETTING_SIZE 32

static const char key;

static void pool_free(void *data)
{
    ma_pool_free(data);
}

static int observe_pool(struct ma_analysis *analysis)
{
    const struct ma_request *request = analysis->request;
    struct ma_pool *pool =
        ma_pool_new(request->pool_initial ? request->pool_initial : MA_POOL_DEFAULT,
                    request->pool_additional ? request->pool_additional : MA_POOL_DEFAULT);
    return ma_analysis_observe(analysis, pool ? &pool->observer : NULL, &key, pool, pool_free);
}

/* A size as the library's settings take it. */
static const char *setting(char text[SETTING_SIZE], uint64_t bytes)
{
    static const char *const units[] = {"", "K", "M", "G"};
    unsigned unit = 0;
    for (; unit < 3 && bytes && bytes % 1024 == 0; unit++)
        bytes /= 1024;
    snprintf(text, SETTING_SIZE, "%" PRIu64 "%s", bytes, units[unit]);
    return text;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static const char *name_of(uint8_t function)
{
    static const char *const names[MLF_FN_COUNT] = {
#define NAME(number, name, aligned) [number] = #name,
        MLF_FUNCTIONS(NAME)
#undef NAME
    };
    return function < MLF_FN_COUNT ? names[function] : "?";
}

/* The stack of a call, as its label; people see all of it. */
static int add_stack(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *parent,
                     const struct ma_account *account, uint32_t site)
{
    uint32_t stack;
    if (site == MA_NONE)
        return 0;
    if (ma_stacks_id(&analysis->stacks, account->process, account->stacks[site], &stack) < 0 ||
        ma_report_label(analysis, model, parent, stack) < 0)
        return -ENOMEM;
    ma_model_stack(model, parent, "stack", stack);
    return 0;
}

static void add_margins(struct ma_model *model, struct ma_value *object,
                        const struct ma_pool_process *process)
{
    static const unsigned percents[] = {0, 10, 25, 50};
    const uint64_t page = process->page_size, needed = ma_pool_needed(process);
    char text[SETTING_SIZE];
    struct ma_value *margins = ma_model_array(model, object, "margins", "Margins", MA_TABLE);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        const uint64_t bytes = (needed + needed / 100 * percents[i] + page - 1) / page * page;
        struct ma_value *row = ma_model_object(model, margins, NULL, NULL, MA_FIELDS);
        ma_model_real(model, row, "percent", "more", MA_PERCENT, percents[i]);
        ma_model_number(model, row, "bytes", "pool", MA_BYTES, bytes);
        ma_model_text(model, row, "setting", "INITIAL_MEMPOOL_SIZE", setting(text, bytes));
    }
}

/* The call at which the pool reached furthest, and how full it was then. */
static int add_decision(struct ma_analysis *analysis, struct ma_model *model,
                        struct ma_value *object, const struct ma_pool_process *process)
{
    const struct ma_pool_state *at = &process->decided;
    const struct ma_pool_call *call = &process->deciding;
    const uint64_t holes = at->extent > at->used ? at->extent - at->used : 0;
    const uint64_t overhead = at->used > at->requested ? at->used - at->requested : 0;
    char a[MA_HUMAN_SIZE], b[MA_HUMAN_SIZE], c[MA_COUNTED_SIZE];
    ma_model_number(model, object, "time_ns", NULL, MA_NANOSECONDS, at->ns);
    ma_model_number(model, object, "requested_bytes", NULL, MA_BYTES, at->requested);
    ma_model_number(model, object, "used_bytes", NULL, MA_BYTES, at->used);
    ma_model_number(model, object, "overhead_bytes", NULL, MA_BYTES, overhead);
    ma_model_number(model, object, "hole_bytes", NULL, MA_BYTES, holes);
    ma_model_number(model, object, "blocks", NULL, MA_COUNT, at->blocks);
    ma_model_real(model, object, "fragmentation", NULL, MA_PERCENT, percent(holes, at->extent));
    ma_model_format(model, object, NULL, "held then", "%s in %s", ma_human_bytes(a, at->requested),
                    ma_human_counted(c, at->blocks, "block"));
    ma_model_format(model, object, NULL, "  headers, rounding", "%s", ma_human_bytes(a, overhead));
    ma_model_format(model, object, NULL, "  holes", "%s, %.1f %% of the pool",
                    ma_human_bytes(a, holes), percent(holes, at->extent));
    struct ma_value *deciding =
        ma_model_array(model, object, "decided_by", "Decided by", MA_ENTRIES);
    if (call->site == MA_NONE)
        return 0;
    struct ma_value *entry = ma_model_object(model, deciding, NULL, NULL, MA_FIELDS);
    ma_model_note(model, deciding, "%s of %s after %s:", name_of(call->function),
                  ma_human_bytes(a, call->size), ma_human_time(b, call->ns));
    ma_model_number(model, entry, "bytes", "", MA_BYTES, call->size);
    ma_model_text(model, entry, "function", NULL, name_of(call->function));
    ma_model_number(model, entry, "thread", NULL, MA_PLAIN, call->thread);
    return add_stack(analysis, model, entry, process->account, call->site);
}

/* What each stack had in the pool when it reached furthest. */
static int add_holders(struct ma_analysis *analysis, struct ma_model *model,
                       struct ma_value *object, const struct ma_pool_process *process)
{
    static const struct ma_tally_key order[] = {{{BYTES}, 1}, {{BLOCKS}, 1}};
    struct ma_tally tally = {.counters = COUNTERS};
    struct ma_tally_rows rows = {0};
    int result = 0;
    for (uint32_t i = 0; i < process->n_sites && result == 0; i++) {
        uint64_t *values = ma_tally_at(&tally, process->account, i);
        if (values)
            ma_pool_held(process, i, &values[BYTES], &values[BLOCKS]);
        else
            result = -ENOMEM;
    }
    if (result == 0)
        result = ma_tally_rows(&tally, analysis, &rows);
    if (result < 0)
        goto out;
    ma_tally_sort(&rows, order, 2);
    struct ma_value *array = ma_model_array(model, object, "stacks", "Held then by", MA_ENTRIES);
    for (size_t i = 0; i < rows.n && i < analysis->request->top && result == 0; i++) {
        const uint64_t *values = rows.rows[i].values;
        struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, entry, "bytes", "", MA_BYTES, values[BYTES]);
        ma_model_real(model, entry, "share", "", MA_PERCENT,
                      percent(values[BYTES], process->decided.extent));
        ma_model_number(model, entry, "blocks", "blocks", MA_COUNT, values[BLOCKS]);
        result = ma_report_label(analysis, model, entry, rows.rows[i].stack);
        ma_model_stack(model, entry, "stack", rows.rows[i].stack);
    }
out:
    ma_tally_rows_free(&rows);
    ma_tally_free(&tally);
    return result;
}

/* People get every fourth slot or so: the fullest of those that it stands for. */
static void add_curve(const struct ma_analysis *analysis, struct ma_model *model,
                      struct ma_value *object, const struct ma_pool_process *process)
{
    const bool json = analysis->request->json;
    size_t last = 0;
    for (size_t i = 0; i < MA_POOL_SLOTS; i++)
        last = process->slots[i].ns ? i : last;
    const size_t step = json ? 1 : last / CURVE_ROWS + 1;
    struct ma_value *array = ma_model_array(model, object, "curve", "Over time", MA_TABLE);
    for (size_t i = 0; i <= last; i += step) {
        const struct ma_pool_state *fullest = NULL;
        for (size_t k = i; k < i + step && k <= last; k++) {
            const struct ma_pool_state *slot = &process->slots[k];
            if (slot->ns && (!fullest || slot->extent > fullest->extent))
                fullest = slot;
        }
        if (!fullest)
            continue;
        const uint64_t holes =
            fullest->extent > fullest->used ? fullest->extent - fullest->used : 0;
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, row, "time_ns", "after", MA_NANOSECONDS, fullest->ns);
        ma_model_number(model, row, "pool_bytes", "pool", MA_BYTES, fullest->extent);
        ma_model_number(model, row, "used_bytes", "used", MA_BYTES, fullest->used);
        ma_model_number(model, row, "requested_bytes", "asked for", MA_BYTES, fullest->requested);
        ma_model_real(model, row, "fragmentation", "holes", MA_PERCENT,
                      percent(holes, fullest->extent));
        ma_model_real(model, row, NULL, "", MA_BAR, percent(fullest->extent, process->high));
    }
}

/* What the two sizes would have done. */
static int add_growth(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *object,
                      const struct ma_pool *pool, const struct ma_pool_process *process)
{
    char a[SETTING_SIZE], b[SETTING_SIZE], c[MA_COUNTED_SIZE], d[SETTING_SIZE];
    struct ma_value *growth =
        ma_model_object(model, object, "growth", "With a pool that grows", MA_FIELDS);
    setting(a, pool->initial);
    setting(b, pool->additional);
    ma_model_number(model, growth, "initial_bytes", NULL, MA_BYTES, pool->initial);
    ma_model_number(model, growth, "additional_bytes", NULL, MA_BYTES, pool->additional);
    ma_model_number(model, growth, "growths", NULL, MA_COUNT, process->n_growths);
    ma_model_number(model, growth, "total_bytes", NULL, MA_BYTES, process->growing_total);
    ma_model_number(model, growth, "failed", NULL, MA_COUNT, process->failed);
    if (process->n_growths)
        ma_model_note(model, growth,
                      "INITIAL_MEMPOOL_SIZE=%s ADDITIONAL_MEMPOOL_SIZE=%s would have grown %s, to "
                      "%s:",
                      a, b, ma_human_counted(c, process->n_growths, "time"),
                      setting(d, process->growing_total));
    else
        ma_model_note(model, growth,
                      "INITIAL_MEMPOOL_SIZE=%s would not have grown; --pool=initial=SIZE,"
                      "additional=SIZE tries other sizes.",
                      a);
    struct ma_value *array = ma_model_array(model, growth, "calls", "", MA_ENTRIES);
    size_t n = process->n_growths < MA_POOL_GROWTHS ? process->n_growths : MA_POOL_GROWTHS;
    n = n < analysis->request->top ? n : analysis->request->top;
    for (size_t i = 0; i < n; i++) {
        const struct ma_pool_growth *one = &process->growths[i];
        struct ma_value *entry = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, entry, "grown_bytes", "", MA_BYTES, one->size);
        ma_model_number(model, entry, "request_bytes", "asked for", MA_BYTES, one->call.size);
        ma_model_number(model, entry, "total_bytes", "in all", MA_BYTES, one->total);
        ma_model_number(model, entry, "time_ns", "after", MA_NANOSECONDS, one->call.ns);
        if (add_stack(analysis, model, entry, process->account, one->call.site) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int by_need(const void *a, const void *b)
{
    const struct ma_pool_process *const *x = a, *const *y = b;
    if ((*x)->high != (*y)->high)
        return (*x)->high > (*y)->high ? -1 : 1;
    const uint32_t m = (*x)->account->process->index, n = (*y)->account->process->index;
    return m < n ? -1 : m > n;
}

static int add_processes(struct ma_analysis *analysis, struct ma_model *model,
                         struct ma_value *object, const struct ma_pool *pool)
{
    const struct ma_pool_process **all = malloc((pool->n_processes + 1) * sizeof *all);
    const bool json = analysis->request->json;
    char command[MA_COMMAND_SIZE];
    size_t n = 0;
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < pool->n_processes; i++)
        if (pool->processes[i])
            all[n++] = pool->processes[i];
    if (n)
        qsort(all, n, sizeof *all, by_need);
    struct ma_value *array =
        ma_model_array(model, object, "processes", n > 1 ? "Of each process" : NULL, MA_TABLE);
    for (size_t i = 0; i < n && (json || i < analysis->request->top); i++) {
        const struct ma_process *process = all[i]->account->process;
        struct ma_value *row = ma_model_object(model, array, NULL, NULL, MA_FIELDS);
        ma_model_number(model, row, "pid", "pid", MA_PLAIN, ma_process_pid(process));
        if (all[i]->refused)
            ma_model_null(model, row, "initial_bytes");
        else
            ma_model_number(model, row, "initial_bytes", "pool", MA_BYTES, ma_pool_needed(all[i]));
        ma_model_number(model, row, "growths", "growths", MA_COUNT, all[i]->n_growths);
        ma_model_boolean(model, row, "threads", NULL, all[i]->threads);
        ma_model_text(model, row, "command", "program", ma_report_command(process, true, command));
    }
    free(all);
    return 0;
}

/* What the number cannot promise. */
static void add_caveats(struct ma_model *model, struct ma_value *object, const struct ma_pool *pool,
                        const struct ma_pool_process *process)
{
    size_t refused = 0;
    for (size_t i = 0; i < pool->n_processes; i++)
        refused += pool->processes[i] && pool->processes[i]->refused;
    struct ma_value *array = ma_model_array(model, object, "caveats", "", MA_LINES);
    if (process && process->threads)
        ma_model_text(model, array, NULL, "",
                      "Several threads allocated: another run orders their calls otherwise, and "
                      "may need more. Take a margin, and the largest of several traces.");
    if (refused)
        ma_model_format(
            model, array, NULL, "",
            "%zu process%s could not be replayed: more than 64 GiB of pool were needed, "
            "or address space was not to be had for them (ulimit -v).",
            refused, refused == 1 ? "" : "es");
}

static int build_pool(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_pool *pool = ma_analysis_observer_data(analysis, &key);
    const struct ma_pool_process *process = ma_pool_largest(pool);
    struct ma_value *object = ma_model_object(model, &model->root, "pool", "Pool", MA_FIELDS);
    char size[SETTING_SIZE], bytes[MA_HUMAN_SIZE], command[MA_COMMAND_SIZE];
    ma_model_text(model, object, "kind", NULL, "tlsf");
    ma_model_number(model, object, "initial_bytes", NULL, MA_BYTES,
                    process ? ma_pool_needed(process) : 0);
    add_caveats(model, object, pool, process);
    if (!process) {
        ma_model_note(model, object, "No block was ever allocated.");
        return add_processes(analysis, model, object, pool);
    }
    ma_model_note(model, object,
                  "INITIAL_MEMPOOL_SIZE=%s (%s) is the smallest pool of libmlog-tlsf.so that this "
                  "run of %s does not outgrow.",
                  setting(size, ma_pool_needed(process)),
                  ma_human_bytes(bytes, ma_pool_needed(process)),
                  ma_report_command(process->account->process, true, command));
    ma_model_text(model, object, "setting", NULL, size);
    ma_model_number(model, object, "exact_bytes", NULL, MA_BYTES, process->high);
    ma_model_number(model, object, "pid", NULL, MA_PLAIN,
                    ma_process_pid(process->account->process));
    ma_model_boolean(model, object, "threads", NULL, process->threads);
    int result = add_decision(analysis, model, object, process);
    if (result == 0)
        result = add_holders(analysis, model, object, process);
    add_margins(model, object, process);
    add_curve(analysis, model, object, process);
    if (result == 0)
        result = add_growth(analysis, model, object, pool, process);
    return result < 0 ? result : add_processes(analysis, model, object, pool);
}

/* One of the settings behind --pool=; NULL or what was expected. */
static const char *parse_setting(struct ma_request *request, const char *text, size_t n)
{
    static const struct {
        const char *name;
        size_t at;
    } settings[] = {{"initial=", offsetof(struct ma_request, pool_initial)},
                    {"additional=", offsetof(struct ma_request, pool_additional)}};
    if (n == 4 && strncmp(text, "tlsf", n) == 0)
        return NULL;
    for (size_t i = 0; i < 2; i++) {
        const size_t length = strlen(settings[i].name);
        uint64_t *to = (uint64_t *)((char *)request + settings[i].at);
        char value[24];
        if (strncmp(text, settings[i].name, length) || n - length >= sizeof value)
            continue;
        memcpy(value, text + length, n - length);
        value[n - length] = 0;
        if (!ma_parse_size(value, to) || !*to || *to > MLOG_TLSF_MAX)
            return "expected a size behind = , as in initial=100M";
        *to = (*to + 4095) / 4096 * 4096;
        return NULL;
    }
    return "expected tlsf, initial=SIZE or additional=SIZE, as in "
           "--pool=tlsf,initial=8M,additional=1M";
}

static const char *parse_pool(struct ma_request *request, const char *value)
{
    while (value) {
        const char *comma = strchrnul(value, ',');
        const char *why = parse_setting(request, value, (size_t)(comma - value));
        if (why)
            return why;
        value = *comma ? comma + 1 : NULL;
    }
    return NULL;
}

const struct ma_report ma_report_pool = {
    .name = "pool",
    .help = "the smallest pool of libmlog-tlsf.so that holds the run",
    .build = build_pool,
    .observe = observe_pool,
    .value = "[SETTINGS]",
    .parse = parse_pool,
};
