/* SPDX-License-Identifier: MIT
 *
 * Accepting blocks, and the books of those accepted; see ma_filter.h.
 */
#include "ma_filter.h"

#include <errno.h>

#include "ma_clock.h"
#include "ma_replay_process.h"
#include "ma_text.h"

enum { ACCEPTED = 1, REJECTED = 2 };
enum { KNOWN = 1, FUNCTION = 2, MODULE = 4, EXCLUDE = 8 };

/* The options that a frame, with the calls inlined there, matches. 0: memory is short. */
static uint8_t match_pc(struct ma_filter *filter, uint32_t pc)
{
    const struct ma_filter_options *spec = filter->spec;
    const struct ma_frame *frames;
    if (!MA_HOLDS(filter->pcs, pc, filter->n_pcs))
        return 0;
    if (filter->pcs[pc])
        return filter->pcs[pc];
    long n = ma_stacks_pc(&filter->stacks, pc, &frames);
    if (n < 0)
        return 0;
    unsigned found = KNOWN;
    for (long i = 0; i < n; i++) {
        const struct ma_frame *frame = &frames[i];
        found |= ma_patterns_match(&spec->function, frame->function) ? FUNCTION : 0;
        found |= ma_patterns_match(&spec->module, frame->module) ? MODULE : 0;
        found |= ma_patterns_match(&spec->exclude, frame->function) ||
                         ma_patterns_match(&spec->exclude, frame->module)
                     ? EXCLUDE
                     : 0;
    }
    return filter->pcs[pc] = (uint8_t)found;
}

/* The verdict on a stack, 0 if memory is short. */
static uint8_t judge_stack(struct ma_filter *filter, const struct ma_process *process,
                           uint32_t stack)
{
    const struct ma_filter_options *spec = filter->spec;
    struct ma_audit *audit = &filter->trace->audit;
    const uint64_t stacks = audit->unknown_stacks, modules = audit->unknown_modules;
    const struct ma_process *owner;
    const uint32_t *pcs;
    unsigned found = 0;
    uint32_t id;
    /* The names of a trace that is being written may come a little later. */
    if (stack >= MLF_FIRST_NODE && !ma_process_node(process, stack, &owner) &&
        ma_merge_poll(filter->merge) < 0)
        return 0;
    long n = ma_stacks_id(&filter->stacks, process, stack, &id);
    n = n < 0 ? n : ma_stacks_pcs(&filter->stacks, id, &pcs);
    audit->unknown_stacks = stacks; /* reports count them */
    audit->unknown_modules = modules;
    if (n < 0)
        return 0;
    for (long i = 0; i < n; i++) {
        uint8_t one = match_pc(filter, pcs[i]);
        if (!one)
            return 0;
        found |= one;
    }
    bool accepted = (!spec->function.n || found & FUNCTION) &&
                    (!spec->module.n || found & MODULE) && !(found & EXCLUDE);
    return accepted ? ACCEPTED : REJECTED;
}

static bool asks_stacks(const struct ma_filter *filter)
{
    const struct ma_filter_options *spec = filter->spec;
    return spec->function.n || spec->module.n || spec->exclude.n;
}

static bool accept_stack(struct ma_filter *filter, const struct ma_seen *seen,
                         const struct ma_seen_block *block)
{
    if (!asks_stacks(filter))
        return true;
    struct ma_filter_verdicts *verdicts;
    uint8_t *verdict = NULL;
    if (MA_HOLDS(filter->verdicts, seen->process->index, filter->n_verdicts)) {
        verdicts = &filter->verdicts[seen->process->index];
        if (MA_HOLDS(verdicts->of_site, block->site, verdicts->n))
            verdict = &verdicts->of_site[block->site];
    }
    if (verdict && !*verdict)
        *verdict = judge_stack(filter, seen->process, block->stack);
    filter->failed |= !verdict || !*verdict;
    return verdict && *verdict == ACCEPTED;
}

/* The stack of a call that failed has no site. */
static bool accept_failed_stack(struct ma_filter *filter, const struct ma_process *process,
                                uint32_t stack)
{
    if (!asks_stacks(filter))
        return true;
    const uint64_t key = (uint64_t)process->index << 32 | stack;
    uint32_t verdict = ma_map_get(&filter->of_failures, key);
    if (verdict == MA_NONE) {
        verdict = judge_stack(filter, process, stack);
        filter->failed |= !verdict || ma_map_set(&filter->of_failures, key, verdict) < 0;
    }
    return verdict == ACCEPTED;
}

static bool accept_thread(const struct ma_filter *filter, uint32_t thread)
{
    if (!filter->spec->n_threads)
        return true;
    if (thread == MA_NONE)
        return false;
    const struct ma_stream *stream = filter->trace->streams[thread];
    uint64_t key = (uint64_t)stream->process->index << 32 | stream->number;
    uint32_t known = ma_map_get(&filter->named, key);
    return known != MA_NONE ? known != 0
                            : ma_filter_options_thread(filter->spec, stream->tid, stream->name);
}

static bool accept_process(const struct ma_filter_options *spec, const struct ma_process *process)
{
    for (size_t i = 0; i < spec->n_pids; i++) {
        if (spec->pids[i] == ma_process_pid(process))
            return true;
    }
    return spec->n_pids == 0;
}

/* All but the stack of a call that asks for memory. */
static bool accept_call(const struct ma_filter *filter, const struct ma_seen *seen, uint64_t size,
                        uint32_t thread)
{
    const struct ma_filter_options *spec = filter->spec;
    return seen->ns >= filter->from && seen->ns < filter->to &&
           (!spec->min_age ||
            (filter->end >= spec->min_age && seen->ns <= filter->end - spec->min_age)) &&
           size >= spec->min_size && (!spec->has_max_size || size <= spec->max_size) &&
           accept_process(spec, seen->process) && accept_thread(filter, thread);
}

static bool accept_begin(void *context, const struct ma_seen *seen,
                         const struct ma_seen_block *block)
{
    return accept_call(context, seen, block->size, block->thread) &&
           accept_stack(context, seen, block);
}

static struct ma_displaced *find_displaced(const struct ma_filter *filter, uint32_t process,
                                           const struct ma_seen_block *block)
{
    for (size_t i = 0; i < filter->n_displaced; i++) {
        struct ma_displaced *one = &filter->displaced[i];
        if (one->process == process && one->block.address == block->address &&
            one->block.site == block->site && one->block.time == block->ticks)
            return one;
    }
    return NULL;
}

/* True if the filter's live set has this very block, and no later one at its address. */
static bool has_block(const struct ma_heap *heap, const struct ma_seen_block *block)
{
    struct ma_block own;
    return ma_heap_find(heap, block->address, &own) && own.site == block->site &&
           own.time <= block->ticks && (block->ticks - own.time) >> heap->time_shift == 0;
}

/* Of a block that was accepted; not judged anew, for a clock whose rate turns out
 * only now would put its begin elsewhere. */
static bool accept_end(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    const struct ma_filter *filter = context;
    const struct ma_replay *books = &filter->books;
    const uint32_t index = seen->process->index;
    return block->site != MA_NONE && seen->ns < filter->to && index < books->n_accounts &&
           books->accounts[index] &&
           (has_block(&books->accounts[index]->heap, block) ||
            find_displaced(filter, index, block));
}

static bool accept_failure(void *context, const struct ma_seen *seen,
                           const struct ma_seen_failure *failure)
{
    return accept_call(context, seen, failure->size, failure->thread) &&
           accept_failed_stack(context, seen->process, failure->stack);
}

bool ma_filter_has(const struct ma_filter *filter, const struct ma_process *process, uint64_t ns)
{
    return ns >= filter->from && ns < filter->to && accept_process(filter->spec, process);
}

static bool accept_moment(void *context, const struct ma_seen *seen, bool after)
{
    const struct ma_filter *filter = context;
    return seen->ns < filter->to && (!after || seen->ns >= filter->from);
}

/* The books. */

/* The site of a block's stack, numbered as in the replay's books. NULL: memory is short. */
static struct ma_alloc_site *site_of(struct ma_account *account, const struct ma_seen *seen,
                                     const struct ma_seen_block *block)
{
    if (!account)
        return NULL;
    while (account->n_sites <= block->site) {
        if (ma_account_add_site(account, seen->account->stacks[account->n_sites]) == MA_NONE)
            return NULL;
    }
    return &account->sites[block->site];
}

/* Before a site changes: what it held at the peak, and its history. */
static void filter_touch_site(const struct ma_replay *books, struct ma_account *account,
                              struct ma_alloc_site *site, uint64_t ticks)
{
    struct ma_history *history = &account->history;
    if (ticks >= history->until)
        ma_history_next_slot(account, ticks, account->allocations);
    if (!site->allocations) /* it begins now */
        site->slot = history->slot;
    else if (site->slot != history->slot)
        ma_history_catch_up(account, site);
    ma_replay_touch(books, account, site);
}

static int begin_block(struct ma_filter *filter, const struct ma_seen *seen,
                       const struct ma_seen_block *block)
{
    struct ma_replay *books = &filter->books;
    struct ma_account *account = ma_replay_account(books, seen->process);
    struct ma_alloc_site *site = site_of(account, seen, block);
    if (!site || !MA_HOLDS(filter->allocated, block->thread, filter->n_allocated))
        return -ENOMEM;
    filter->threads += !filter->allocated[block->thread];
    filter->allocated[block->thread] = 1;
    struct ma_block former, own = {
                                .address = block->address,
                                .size = block->size,
                                .usable = block->usable,
                                .time = block->ticks,
                                .site = block->site,
                                .thread = block->thread,
                            };
    int result = ma_heap_put(&account->heap, &own, &former);
    if (result < 0 || (result > 0 && !MA_RESERVE(filter->displaced, filter->n_displaced,
                                                 filter->displaced_capacity)))
        return -ENOMEM;
    if (result > 0)
        filter->displaced[filter->n_displaced++] =
            (struct ma_displaced){seen->process->index, former};
    filter_touch_site(books, account, site, seen->ticks);
    site->live_bytes += block->size;
    site->live_blocks++;
    ma_account_note_most(account, block->site, seen->ticks);
    site->allocations++;
    site->allocated_bytes += block->size;
    account->live_bytes += block->size;
    account->live_blocks++;
    account->allocations++;
    account->allocated_bytes += block->size;
    books->totals.allocations++;
    books->totals.allocated_bytes += block->size;
    books->totals.usable_bytes += block->usable;
    books->live_bytes += block->size;
    books->live_blocks++;
    if (books->live_bytes > books->peak_bytes) {
        books->peak_bytes = books->live_bytes;
        books->peak_blocks = books->live_blocks;
        books->peak_ticks = seen->ticks;
        books->peak_process = seen->process;
        books->peak_epoch++;
    }
    return 0;
}

static int end_block(struct ma_filter *filter, const struct ma_seen *seen,
                     const struct ma_seen_block *block)
{
    struct ma_replay *books = &filter->books;
    struct ma_account *account = ma_replay_account(books, seen->process);
    struct ma_alloc_site *site = site_of(account, seen, block);
    if (!site)
        return -ENOMEM;
    struct ma_displaced *displaced = find_displaced(filter, seen->process->index, block);
    struct ma_block own;
    if (displaced)
        *displaced = filter->displaced[--filter->n_displaced];
    else
        ma_heap_take(&account->heap, block->address, &own);
    filter_touch_site(books, account, site, seen->ticks);
    site->live_bytes -= block->size;
    site->live_blocks--;
    site->temporary += block->temporary;
    account->live_bytes -= block->size;
    account->live_blocks--;
    account->frees++;
    account->freed_bytes += block->size;
    books->totals.frees++;
    books->totals.freed_bytes += block->size;
    books->totals.temporary += block->temporary;
    if (!account->gone) {
        books->live_bytes -= block->size;
        books->live_blocks--;
    }
    return 0;
}

/* A block has ended and none replaced it at once: the floor may be lower. */
static void settle_floor(struct ma_filter *filter, const struct ma_seen *seen,
                         const struct ma_seen_block *block)
{
    struct ma_account *account = ma_replay_account(&filter->books, seen->process);
    struct ma_alloc_site *site = account ? site_of(account, seen, block) : NULL;
    if (site && site->live_bytes < site->floor)
        site->floor = site->live_bytes;
}

static void count_call(struct ma_filter *filter, const struct ma_seen *seen)
{
    filter->books.totals.calls[seen->function]++;
    filter->books.totals.events++;
}

static int filter_allocated(void *context, const struct ma_seen *seen,
                            const struct ma_seen_block *block)
{
    count_call(context, seen);
    return begin_block(context, seen, block);
}

static int filter_freed(void *context, const struct ma_seen *seen,
                        const struct ma_seen_block *block)
{
    if (!block->unseen)
        count_call(context, seen);
    int result = end_block(context, seen, block);
    settle_floor(context, seen, block);
    return result;
}

static int filter_resized(void *context, const struct ma_seen *seen,
                          const struct ma_seen_block *old, const struct ma_seen_block *block)
{
    struct ma_filter *filter = context;
    count_call(filter, seen);
    filter->books.totals.reallocations++;
    int result = old ? end_block(filter, seen, old) : 0;
    if (result < 0 || (result = begin_block(filter, seen, block)) < 0)
        return result;
    if (old)
        settle_floor(filter, seen, old);
    return 0;
}

static int failed(void *context, const struct ma_seen *seen, const struct ma_seen_failure *failure)
{
    struct ma_filter *filter = context;
    (void)seen;
    (void)failure;
    filter->books.totals.failed++;
    filter->books.totals.events++;
    return 0;
}

static int process(void *context, const struct ma_seen *seen, enum ma_process_change change)
{
    struct ma_filter *filter = context;
    struct ma_replay *books = &filter->books;
    if (change != MA_PROCESS_LEFT && change != MA_PROCESS_RETURNED)
        return 0;
    struct ma_account *account = ma_replay_account(books, seen->account->process);
    if (!account)
        return -ENOMEM;
    for (size_t i = 0; i < account->n_sites; i++)
        ma_replay_touch(books, account, &account->sites[i]);
    account->gone = change == MA_PROCESS_LEFT;
    books->live_bytes += account->gone ? -account->live_bytes : account->live_bytes;
    books->live_blocks += account->gone ? -account->live_blocks : account->live_blocks;
    return 0;
}

static int finished(void *context, const struct ma_replay *replay)
{
    const struct ma_filter *filter = context;
    (void)replay;
    return filter->failed ? -ENOMEM : 0;
}

int ma_filter_new(struct ma_filter **made, const struct ma_filter_options *spec, const char *path,
                  struct ma_trace *trace, struct ma_merge *merge, struct ma_symbols *symbols,
                  struct ma_observers *observers, struct ma_error *error)
{
    struct ma_filter *filter = *made = calloc(1, sizeof *filter);
    if (!filter)
        return ma_fail_memory(error);
    filter->spec = spec;
    filter->trace = trace;
    filter->merge = merge;
    filter->from = spec->from.ns;
    filter->to = spec->to.kind == MA_MOMENT_NS ? spec->to.ns : UINT64_MAX;
    filter->end = filter->to;
    ma_replay_init(&filter->books, trace);
    ma_stacks_init(&filter->stacks, trace, symbols);
    filter->observer = (struct ma_observer){
        .context = filter,
        .process = process,
        .allocated = filter_allocated,
        .freed = filter_freed,
        .resized = filter_resized,
        .failed = failed,
        .finished = finished,
    };
    filter->acceptor = (struct ma_acceptor){
        .context = filter,
        .begin = accept_begin,
        .end = accept_end,
        .failure = accept_failure,
        .moment = accept_moment,
    };
    if (ma_filter_options_looks_ahead(spec)) {
        int result = ma_filter_scan(filter, path, error);
        if (result < 0)
            return result;
    }
    observers->acceptor = &filter->acceptor;
    return ma_observers_add(observers, &filter->observer) < 0 ? ma_fail_memory(error) : 0;
}

void ma_filter_free(struct ma_filter *filter)
{
    if (!filter)
        return;
    ma_replay_free(&filter->books);
    ma_stacks_free(&filter->stacks);
    ma_map_free(&filter->named);
    ma_map_free(&filter->of_failures);
    for (size_t i = 0; i < filter->n_verdicts; i++)
        free(filter->verdicts[i].of_site);
    free(filter->verdicts);
    free(filter->pcs);
    free(filter->allocated);
    free(filter->displaced);
    free(filter);
}

uint64_t ma_filter_end(const struct ma_filter *filter, const struct ma_process *process,
                       uint64_t end)
{
    uint64_t start = process->record.start, ticks;
    uint64_t ns = ma_clock_ns(filter->trace, process, start);
    if (filter->to == UINT64_MAX)
        return end;
    ticks = filter->to > ns ? ma_clock_ticks(process, filter->to - ns) : 0;
    return ticks < end - start && end > start ? start + ticks : end;
}

static void write_list(FILE *out, const char *title, const struct ma_patterns *patterns)
{
    for (size_t i = 0; i < patterns->n; i++)
        fprintf(out, "%s%s", i ? " or " : title, patterns->all[i].text);
}

char *ma_filter_text(const struct ma_filter *filter)
{
    const struct ma_filter_options *spec = filter->spec;
    char *text = NULL, number[MA_HUMAN_SIZE];
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fputs("filtered: blocks", out);
    if (spec->from.kind)
        fprintf(out, " allocated from %s", ma_human_time(number, filter->from));
    if (spec->to.kind)
        fprintf(out, "%s to %s", spec->from.kind ? "" : " allocated up",
                filter->to == UINT64_MAX ? "the end" : ma_human_time(number, filter->to));
    if (spec->min_size)
        fprintf(out, " of at least %s", ma_human_bytes(number, spec->min_size));
    if (spec->has_max_size)
        fprintf(out, " %s %s", spec->min_size ? "and at most" : "of at most",
                ma_human_bytes(number, spec->max_size));
    for (size_t i = 0; i < spec->n_pids; i++)
        fprintf(out, "%s%llu", i ? " or " : ", of process ", (unsigned long long)spec->pids[i]);
    for (size_t i = 0; i < spec->n_threads; i++)
        fprintf(out, "%s%s", i ? " or " : ", of thread ", spec->threads[i]);
    if (spec->min_age)
        fprintf(out, ", aged %s or more at the end", ma_human_time(number, spec->min_age));
    write_list(out, ", with a function like ", &spec->function);
    write_list(out, ", with a module like ", &spec->module);
    write_list(out, ", without ", &spec->exclude);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
