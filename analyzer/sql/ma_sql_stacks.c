/* SPDX-License-Identifier: MIT
 *
 * The tables of stacks and of what they are made of. A frame, a function and a module is
 * stored when the first stack that has it is; all are told apart as reports do.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ma_label.h"
#include "ma_leaks.h"
#include "ma_sql_impl.h"
#include "ma_stack_key.h"

struct frames {
    struct ma_sql *sql;
    struct ma_sql_insert module, find_module, function, find_function, frame, stack, of_stack;
    int64_t *functions; /* by number of the frame: 0: not stored yet */
    size_t n_functions;
    const char *path, *build_id; /* of the latest module that was asked for, and its number */
    int64_t latest;
    char *text; /* the path of a stack */
    size_t n_text, text_capacity;
};

int64_t ma_sql_module(struct ma_sql_insert *add, struct ma_sql_insert *find, const char *path,
                      const char *build_id)
{
    ma_sql_text(add, path);
    ma_sql_text(add, build_id);
    ma_sql_store_row(add);
    ma_sql_text(find, path);
    ma_sql_text(find, build_id);
    return ma_sql_ask(find);
}

static int64_t module_of(struct frames *to, const struct ma_frame *frame)
{
    if (!frame->module)
        return 0;
    if (frame->module != to->path || frame->build_id != to->build_id)
        to->latest = ma_sql_module(&to->module, &to->find_module, frame->module,
                                   frame->build_id ? frame->build_id : "");
    to->path = frame->module;
    to->build_id = frame->build_id;
    return to->latest;
}

static int64_t store_function(struct frames *to, const struct ma_frame *frame)
{
    char buffer[256];
    const char *name = ma_frame_name(frame, buffer, sizeof buffer);
    const int64_t module = module_of(to, frame);
    ma_sql_text(&to->find_function, name);
    ma_sql_count_if(&to->find_function, module > 0, (uint64_t)module);
    const int64_t known = ma_sql_ask(&to->find_function);
    if (known >= 0)
        return known;
    ma_sql_text(&to->function, name);
    ma_sql_text(&to->function, frame->linkage);
    ma_sql_count_if(&to->function, module > 0, (uint64_t)module);
    ma_sql_integer(&to->function, frame->function != NULL);
    ma_sql_store_row(&to->function);
    return sqlite3_last_insert_rowid(to->sql->store.db);
}

/* The number of a frame's function, after storing both if they are new; 0 without memory. */
static int64_t function_of(struct frames *to, const struct ma_frame *frame)
{
    if (!MA_HOLDS(to->functions, frame->number, to->n_functions))
        return 0;
    if (to->functions[frame->number])
        return to->functions[frame->number];
    const int64_t function = to->functions[frame->number] = store_function(to, frame);
    ma_sql_integer(&to->frame, frame->number);
    ma_sql_integer(&to->frame, function);
    ma_sql_integer(&to->frame, (int64_t)frame->address);
    ma_sql_integer(&to->frame, (int64_t)frame->offset);
    ma_sql_text(&to->frame, frame->file);
    ma_sql_count_if(&to->frame, frame->line, frame->line);
    ma_sql_integer(&to->frame, frame->inlined);
    ma_sql_store_row(&to->frame);
    return function;
}

/* Append a name to the path; a ';' in it would end it. */
static int add_name(struct frames *to, const char *name)
{
    const size_t n = strlen(name) + 1;
    if (to->n_text + n > to->text_capacity) {
        const size_t capacity = 2 * (to->n_text + n);
        char *text = realloc(to->text, capacity);
        if (!text)
            return -ENOMEM;
        to->text = text;
        to->text_capacity = capacity;
    }
    for (size_t i = 0; i + 1 < n; i++)
        to->text[to->n_text++] = name[i] == ';' ? ':' : name[i];
    to->text[to->n_text++] = ';';
    return 0;
}

/* Store the frames of a stack; its path is in to->text then. */
static int store_frames(struct frames *to, uint32_t id, const struct ma_frame *frames, size_t n)
{
    char buffer[256];
    to->n_text = 0;
    for (size_t i = n; i-- > 0;) {
        if (add_name(to, ma_frame_name(&frames[i], buffer, sizeof buffer)) < 0 ||
            !function_of(to, &frames[i]))
            return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        ma_sql_integer(&to->of_stack, id);
        ma_sql_integer(&to->of_stack, (int64_t)i);
        ma_sql_integer(&to->of_stack, frames[i].number);
        ma_sql_store_row(&to->of_stack);
    }
    return 0;
}

/* A function of a stack with the place of its call. */
static void bind_place(struct frames *to, const struct ma_frame *frame)
{
    ma_sql_count_if(&to->stack, frame, frame ? (uint64_t)to->functions[frame->number] : 0);
    ma_sql_text(&to->stack, frame ? frame->file : NULL);
    ma_sql_count_if(&to->stack, frame && frame->line, frame ? frame->line : 0);
}

static void bind_leak(struct frames *to, const struct ma_row *row, const struct ma_leak *leak)
{
    struct ma_analysis *analysis = to->sql->analysis;
    const struct ma_trend *trend = &leak->trend;
    char reason[MA_REASON_SIZE];
    if (!row->leaked_blocks) {
        for (int i = 0; i < 12; i++)
            ma_sql_null(&to->stack);
        return;
    }
    const bool claims = trend->kind != MA_TREND_UNCLEAR && trend->kind != MA_TREND_YOUNG;
    ma_leak_reason(leak, row, reason);
    const struct ma_suppression *hidden = leak->suppressed;
    ma_sql_text(&to->stack, !hidden           ? NULL
                            : hidden->pattern ? hidden->pattern
                                              : "(the C and C++ runtimes keep it)");
    ma_sql_text(&to->stack, ma_trend_name(trend->kind));
    sqlite3_bind_text(to->stack.statement, ++to->stack.at, reason, -1, SQLITE_TRANSIENT);
    ma_sql_real(&to->stack, trend->confidence);
    if (claims)
        ma_sql_real(&to->stack, trend->slope);
    else
        ma_sql_null(&to->stack);
    ma_sql_real(&to->stack, ma_leak_projected(leak, row->leaked_bytes));
    ma_sql_integer(&to->stack, trend->kind);
    ma_sql_count(&to->stack, leak->oldest);
    ma_sql_count(&to->stack, leak->youngest);
    ma_sql_integer(&to->stack, leak->threads);
    ma_sql_integer(&to->stack, row->holders);
    ma_sql_integer(&to->stack, ma_leak_process(analysis, row)->index);
}

static int store_stack(struct frames *to, const struct ma_row *row, const struct ma_leak *leak)
{
    struct ma_stacks *stacks = &to->sql->analysis->stacks;
    struct ma_sql_insert *insert = &to->stack;
    const struct ma_frame *frames;
    char buffer[256], digits[MA_KEY_SIZE];
    uint64_t key;
    if (ma_stack_key(stacks, row->stack, &key) < 0)
        return -ENOMEM;
    const long n = ma_stacks_frames(stacks, row->stack, &frames);
    if (n < 0 || store_frames(to, row->stack, frames, (size_t)n) < 0)
        return -ENOMEM;
    const struct ma_frame *label = n ? &frames[ma_label_frame(frames, (size_t)n)] : NULL;
    const struct ma_frame *own = n ? &frames[ma_label_own_frame(frames, (size_t)n)] : NULL;
    ma_sql_integer(insert, row->stack);
    ma_sql_text(insert, ma_stack_key_text(key, digits));
    ma_sql_text(insert, label ? ma_frame_name(label, buffer, sizeof buffer) : "(no stack)");
    bind_place(to, label);
    bind_place(to, own);
    ma_sql_integer(insert, n);
    ma_sql_bytes(insert, to->text ? to->text : "", to->n_text ? to->n_text - 1 : 0);
    ma_sql_count(insert, row->calls);
    ma_sql_count(insert, row->bytes);
    ma_sql_count(insert, row->temporary);
    ma_sql_count(insert, row->leaked_bytes);
    ma_sql_count(insert, row->leaked_blocks);
    ma_sql_count(insert, row->peak_bytes);
    ma_sql_count(insert, row->peak_blocks);
    ma_sql_count(insert, row->own.bytes);
    ma_sql_count(insert, row->own.blocks);
    ma_sql_count(insert, row->own.ns);
    bind_leak(to, row, leak);
    ma_sql_store_row(insert);
    to->sql->n_stacks++;
    return 0;
}

/* The sums of one process; two numbers of a stack there are one row. */
static int store_process(struct ma_sql *sql, struct ma_sql_insert *insert,
                         const struct ma_account *account)
{
    for (size_t i = 0; i < account->n_sites; i++) {
        const struct ma_alloc_site *site = &account->sites[i];
        uint64_t peak_bytes, peak_blocks;
        uint32_t stack;
        if (!site->allocations)
            continue;
        if (ma_stacks_id(&sql->analysis->stacks, account->process, account->stacks[i], &stack) < 0)
            return -ENOMEM;
        ma_replay_at_peak(ma_analysis_books(sql->analysis), account, site, &peak_bytes,
                          &peak_blocks);
        ma_sql_integer(insert, account->process->index);
        ma_sql_integer(insert, stack);
        ma_sql_count(insert, site->allocations);
        ma_sql_count(insert, site->allocated_bytes);
        ma_sql_count(insert, site->temporary);
        ma_sql_count(insert, site->live_bytes);
        ma_sql_count(insert, site->live_blocks);
        ma_sql_count(insert, peak_bytes);
        ma_sql_count(insert, peak_blocks);
        ma_sql_store_row(insert);
    }
    return 0;
}

static int store_processes(struct ma_sql *sql)
{
    const struct ma_replay *books = ma_analysis_books(sql->analysis);
    struct ma_sql_insert insert;
    int result = 0;
    ma_sql_prepare(&sql->store, &insert,
                   "INSERT INTO process_stacks VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?) "
                   "ON CONFLICT DO UPDATE SET allocations = allocations + excluded.allocations,"
                   " allocated_bytes = allocated_bytes + excluded.allocated_bytes,"
                   " temporary = temporary + excluded.temporary,"
                   " leaked_bytes = leaked_bytes + excluded.leaked_bytes,"
                   " leaked_blocks = leaked_blocks + excluded.leaked_blocks,"
                   " peak_bytes = peak_bytes + excluded.peak_bytes,"
                   " peak_blocks = peak_blocks + excluded.peak_blocks");
    for (size_t i = 0; i < books->n_accounts && result == 0; i++)
        result = books->accounts[i] ? store_process(sql, &insert, books->accounts[i]) : 0;
    ma_sql_finish(&insert);
    return result;
}

int ma_sql_stacks(struct ma_sql *sql)
{
    struct ma_analysis *analysis = sql->analysis;
    struct ma_sql_store *store = &sql->store;
    struct frames to = {.sql = sql};
    const struct ma_leaks *leaks = ma_leaks_get(analysis);
    int result = leaks ? 0 : -ENOMEM;
    ma_sql_prepare(store, &to.module, MA_SQL_MODULE_ADD);
    ma_sql_prepare(store, &to.find_module, MA_SQL_MODULE_FIND);
    ma_sql_prepare(store, &to.function, "INSERT INTO functions VALUES(NULL, ?, ?, ?, ?)");
    ma_sql_prepare(store, &to.find_function,
                   "SELECT id FROM functions WHERE name = ? AND module IS ?");
    ma_sql_prepare(store, &to.frame, "INSERT INTO frames VALUES(?, ?, ?, ?, ?, ?, ?)");
    ma_sql_prepare(store, &to.of_stack, "INSERT INTO stack_frames VALUES(?, ?, ?)");
    ma_sql_prepare(store, &to.stack,
                   "INSERT INTO stacks VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                   " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    struct ma_progress progress;
    ma_progress_begin(&progress, "writing");
    for (size_t i = 0; i < analysis->n_rows && result == 0 && !store->failed; i++) {
        result = store_stack(&to, &analysis->rows[i], &leaks->of[i]);
        if (i % 1024 == 0)
            ma_progress_show(&progress, i, analysis->n_rows);
    }
    ma_progress_end(&progress);
    struct ma_sql_insert *all[] = {&to.module, &to.find_module, &to.function, &to.find_function,
                                   &to.frame,  &to.of_stack,    &to.stack};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ma_sql_finish(all[i]);
    free(to.functions);
    free(to.text);
    return result == 0 ? store_processes(sql) : result;
}
