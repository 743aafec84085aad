/* SPDX-License-Identifier: MIT
 *
 * Each process by itself: its leaks and its own peak, by stack. In JSON one
 * array; for people a table of them, then three sections a process.
 */
#include <errno.h>
#include <string.h>

#include "ma_ending.h"
#include "ma_identity.h"
#include "ma_leaks.h"
#include "ma_report.h"
#include "ma_text.h"

static struct ma_measure leaked(const struct ma_row *row)
{
    return (struct ma_measure){row->leaked_bytes, row->leaked_blocks};
}

static struct ma_measure at_peak(const struct ma_row *row)
{
    return (struct ma_measure){row->peak_bytes, row->peak_blocks};
}

static int observe_processes(struct ma_analysis *analysis)
{
    analysis->process_peaks = ma_process_peaks_new();
    return analysis->process_peaks
               ? ma_observers_add(&analysis->replay.observers, &analysis->process_peaks->observer)
               : -ENOMEM;
}

static int by_stack(const void *a, const void *b)
{
    const struct ma_row *x = a, *y = b;
    return x->stack < y->stack ? -1 : x->stack > y->stack;
}

/* Make rows of the same stack one, and n their number. */
static void unite(struct ma_row *rows, size_t *n)
{
    size_t kept = 0;
    qsort(rows, *n, sizeof *rows, by_stack);
    for (size_t i = 0; i < *n; i++) {
        const struct ma_row *row = &rows[i];
        struct ma_row *last = kept ? &rows[kept - 1] : NULL;
        if (!last || last->stack != row->stack) {
            rows[kept++] = *row;
            continue;
        }
        last->leaked_bytes += row->leaked_bytes;
        last->leaked_blocks += row->leaked_blocks;
        last->peak_bytes += row->peak_bytes;
        last->peak_blocks += row->peak_blocks;
        last->calls += row->calls;
        last->bytes += row->bytes;
        last->temporary += row->temporary;
        ma_own_peak_unite(&last->own, &row->own);
    }
    *n = kept;
}

/* One row for each stack of the process; *rows is the caller's to free. */
static int make_rows(struct ma_analysis *analysis, const struct ma_account *account,
                     const struct ma_process_peak *peak, struct ma_row **rows, size_t *n)
{
    *rows = malloc(account->n_sites * sizeof **rows);
    *n = account->n_sites;
    if (!*rows)
        return -ENOMEM;
    struct ma_unsure unsure;
    int result = ma_unsure_count(&unsure, account);
    for (size_t i = 0; i < account->n_sites && result == 0; i++) {
        const struct ma_alloc_site *site = &account->sites[i];
        const struct ma_sum doubt = ma_unsure_of(&unsure, i);
        struct ma_row *row = &(*rows)[i];
        *row = (struct ma_row){
            .leaked_bytes = site->live_bytes - doubt.bytes,
            .leaked_blocks = site->live_blocks - doubt.blocks,
            .calls = site->allocations,
            .bytes = site->allocated_bytes,
            .temporary = site->temporary,
            .own = ma_analysis_own_peak(analysis, account, i),
        };
        ma_process_peaks_at(peak, i, &row->peak_bytes, &row->peak_blocks);
        if (ma_stacks_id(&analysis->stacks, account->process, account->stacks[i], &row->stack) < 0)
            result = -ENOMEM;
    }
    ma_unsure_free(&unsure);
    unite(*rows, n);
    return result;
}

static const char *executable(const struct ma_process *process)
{
    const char *text = ma_process_text(ma_process_program(process), MLF_TEXT_EXE);
    return text[0] ? text : NULL;
}

struct listed {
    const struct ma_account *account;
    struct ma_sum leaked;
    uint64_t growing, peak;
};

/* Those first that grow, then those that leaked, then the largest. */
static int by_leaks(const void *a, const void *b)
{
    const struct listed *x = a, *y = b;
    const uint64_t p[] = {x->growing, x->leaked.bytes, x->peak};
    const uint64_t q[] = {y->growing, y->leaked.bytes, y->peak};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        if (p[i] != q[i])
            return p[i] > q[i] ? -1 : 1;
    }
    const uint32_t m = x->account->process->index, n = y->account->process->index;
    return m < n ? -1 : m > n;
}

/* For people: a line for each process, before what each did. */
static void add_table(const struct ma_analysis *analysis, struct ma_model *model,
                      struct listed *all, size_t n)
{
    const size_t top = analysis->request->top;
    char count[MA_COUNTED_SIZE], first[MA_HUMAN_SIZE], command[MA_COMMAND_SIZE];
    char ending[MA_ENDING_TEXT];
    bool endings = false; /* one did not end by its own word */
    for (size_t i = 0; i < n; i++)
        endings |= ma_ending_text(all[i].account->process, ending) != NULL;
    struct ma_value *table = ma_model_array(model, &model->root, NULL, "Processes", MA_TABLE);
    if (n)
        qsort(all, n, sizeof *all, by_leaks);
    if (n > top)
        ma_model_note(model, table,
                      "%s; the %s that leaked most:", ma_human_counted(count, n, "process"),
                      ma_human_count(first, top));
    for (size_t i = 0; i < n && i < top; i++) {
        const struct ma_account *account = all[i].account;
        struct ma_value *row = ma_model_object(model, table, NULL, NULL, MA_FIELDS);
        if (analysis->trace.places)
            ma_model_text(
                model, row, NULL, "pid",
                ma_process_name(&analysis->trace, account->process, (char[MA_PROCESS_NAME]){0}));
        else
            ma_model_number(model, row, NULL, "pid", MA_PLAIN, ma_process_pid(account->process));
        ma_model_number(model, row, NULL, "growing", MA_BYTES, all[i].growing);
        ma_model_number(model, row, NULL, "leaked", MA_BYTES, all[i].leaked.bytes);
        ma_model_number(model, row, NULL, "peak", MA_BYTES, all[i].peak);
        ma_model_number(model, row, NULL, "events", MA_COUNT,
                        account->allocations + account->frees);
        if (endings)
            ma_model_text(model, row, NULL, "end",
                          ma_ending_text(account->process, ending) ? ending : "-");
        ma_model_text(model, row, NULL, "program",
                      ma_report_command(account->process, true, command));
    }
}

static void describe_process(const struct ma_trace *trace, struct ma_model *model,
                             struct ma_value *object, const struct listed *listed,
                             const struct ma_process_peak *peak, bool json)
{
    const struct ma_account *account = listed->account;
    const struct ma_process *process = account->process;
    char command[MA_COMMAND_SIZE];
    char a[MA_HUMAN_SIZE], b[MA_COUNTED_SIZE], c[MA_HUMAN_SIZE];
    ma_model_number(model, object, "pid", NULL, MA_PLAIN, ma_process_pid(process));
    ma_model_text(model, object, NULL, "pid",
                  ma_process_name(trace, process, (char[MA_PROCESS_NAME]){0}));
    ma_model_number(model, object, "parent_pid", "child of", MA_PLAIN,
                    process->known ? process->record.parent_pid : 0);
    ma_model_text(model, object, "executable", NULL, executable(process));
    ma_model_text(model, object, NULL, "program", ma_report_command(process, false, command));
    ma_model_number(model, object, "process", NULL, MA_PLAIN, process->index);
    ma_model_number(model, object, "allocations", NULL, MA_COUNT, account->allocations);
    ma_model_number(model, object, "frees", NULL, MA_COUNT, account->frees);
    ma_model_number(model, object, "growing_bytes", NULL, MA_BYTES, listed->growing);
    ma_model_number(model, object, "leaked_bytes", NULL, MA_BYTES, listed->leaked.bytes);
    ma_model_number(model, object, "leaked_blocks", NULL, MA_COUNT, listed->leaked.blocks);
    ma_model_number(model, object, "peak_bytes", NULL, MA_BYTES, peak->peak_bytes);
    ma_model_number(model, object, "peak_blocks", NULL, MA_COUNT, peak->peak_blocks);
    ma_model_number(model, object, "peak_time_ns", NULL, MA_NANOSECONDS, peak->peak_ns);
    if (json)
        return;
    char ending[MA_ENDING_TEXT];
    if (ma_ending_text(process, ending))
        ma_model_text(model, object, NULL, "end", ending);
    ma_model_format(model, object, NULL, "allocated", "%s in %s",
                    ma_human_bytes(a, account->allocated_bytes),
                    ma_human_counted(b, account->allocations, "block"));
    ma_model_format(
        model, object, NULL, "own peak", "%s in %s after %s", ma_human_bytes(a, peak->peak_bytes),
        ma_human_counted(b, peak->peak_blocks, "block"), ma_human_time(c, peak->peak_ns));
    ma_model_format(model, object, NULL, "never freed", "%s in %s",
                    ma_human_bytes(a, listed->leaked.bytes),
                    ma_human_counted(b, listed->leaked.blocks, "block"));
}

static int add_process(struct ma_analysis *analysis, struct ma_model *model, struct ma_value *array,
                       const struct listed *listed)
{
    const struct ma_account *account = listed->account;
    const struct ma_process_peak *peak =
        &analysis->process_peaks->processes[account->process->index];
    bool json = analysis->request->json;
    struct ma_stack_report leaks = {
        .key = json ? "leaks" : NULL,
        .title = "Leaks of this process",
        .blocks_title = "blocks",
        .none = "It freed every block of its own.",
        .measure = leaked,
    };
    struct ma_stack_report peaks = {
        .key = json ? "peak" : NULL,
        .title = "Peak of this process",
        .blocks_title = "blocks",
        .none = "Nothing was ever allocated.",
        .measure = at_peak,
    };
    struct ma_value *object =
        json ? ma_model_object(model, array, NULL, NULL, MA_FIELDS)
             : ma_model_object(model, &model->root, NULL, "Process", MA_FIELDS);
    struct ma_value *parent = json ? object : &model->root;
    struct ma_row *rows;
    size_t n;
    describe_process(&analysis->trace, model, object, listed, peak, json);
    int result = make_rows(analysis, account, peak, &rows, &n);
    if (result == 0)
        result = ma_report_rows(analysis, model, parent, &leaks, rows, n);
    if (result == 0)
        result = ma_report_rows(analysis, model, parent, &peaks, rows, n);
    free(rows);
    return result;
}

static int build_processes(struct ma_analysis *analysis, struct ma_model *model)
{
    const struct ma_replay *replay = ma_analysis_books(analysis);
    struct ma_value *array = NULL;
    struct listed *all = malloc((replay->n_accounts + 1) * sizeof *all);
    struct listed *sorted = malloc((replay->n_accounts + 1) * sizeof *sorted);
    size_t n = 0;
    int result = all && sorted ? 0 : -ENOMEM;
    for (size_t i = 0; i < replay->n_accounts && result == 0; i++) {
        const struct ma_account *account = replay->accounts[i];
        if (!account || !account->n_sites)
            continue;
        all[n] = (struct listed){
            .account = account,
            .peak = analysis->process_peaks->processes[account->process->index].peak_bytes,
        };
        result = ma_unsure_leaked(account, &all[n].leaked);
        if (result == 0)
            result = ma_leaks_growing(analysis, account, &all[n].growing);
        n++;
    }
    if (analysis->request->json) {
        array = ma_model_array(model, &model->root, "per_process", NULL, MA_LINES);
    } else if (result == 0) {
        memcpy(sorted, all, n * sizeof *all);
        add_table(analysis, model, sorted, n);
    }
    for (size_t i = 0; i < n && result == 0; i++)
        result = add_process(analysis, model, array, &all[i]);
    free(all);
    free(sorted);
    return result;
}

const struct ma_report ma_report_processes = {
    .name = "per-process",
    .help = "leaks and peak of each process by itself",
    .build = build_processes,
    .observe = observe_processes,
};
