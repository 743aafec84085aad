/* SPDX-License-Identifier: MIT
 *
 * The table of blocks, written during the pass: a row when a block ends, and at the end one
 * for each that lives. Marks and samples of memory, too, since they pass by here.
 */
#include <errno.h>

#include "ma_clock.h"
#include "ma_sql_impl.h"

/* A block's row; `end` is NULL of one that lives. */
struct row {
    uint32_t process, thread, stack;
    uint8_t call;
    const struct ma_seen_block *block;
    const struct ma_seen *end;
    uint64_t weight;
};

static struct ma_sql_process *process_of(struct ma_sql *sql, uint32_t index)
{
    return MA_HOLDS(sql->processes, index, sql->n_processes) ? &sql->processes[index] : NULL;
}

static struct ma_sql_site *sql_site_of(struct ma_sql *sql, uint32_t process, uint32_t site)
{
    struct ma_sql_process *of = process_of(sql, process);
    return of && MA_HOLDS(of->sites, site, of->n_sites) ? &of->sites[site] : NULL;
}

/* Ask for the number of a stack once a site. The names of a trace that is being written may
 * come a little later than its events. */
static int find_stack(struct ma_sql *sql, const struct ma_process *process, uint32_t stack,
                      struct ma_sql_site *site)
{
    const struct ma_process *owner;
    uint32_t id;
    if (site->stack)
        return 0;
    if (stack >= MLF_FIRST_NODE && !ma_process_node(process, stack, &owner) &&
        ma_merge_poll(&sql->analysis->merge) < 0)
        return -ENOMEM;
    if (ma_stacks_id(&sql->analysis->stacks, process, stack, &id) < 0)
        return -ENOMEM;
    site->stack = 1 + id;
    return 0;
}

static void store_block(struct ma_sql *sql, const struct row *row)
{
    struct ma_sql_insert *to = &sql->block;
    const struct ma_seen_block *block = row->block;
    ma_sql_integer(to, row->process);
    ma_sql_integer(to, row->thread);
    ma_sql_integer(to, row->stack);
    ma_sql_integer(to, row->call);
    ma_sql_integer(to, (int64_t)block->address);
    ma_sql_count(to, block->size);
    ma_sql_count(to, block->usable);
    ma_sql_count(to, block->ns);
    sql->called |= (uint64_t)1 << row->call;
    if (row->end) {
        const bool seen = !block->unseen;
        ma_sql_count(to, row->end->ns > block->ns ? row->end->ns : block->ns);
        ma_sql_count_if(to, seen && row->end->thread != MA_NONE, row->end->thread);
        ma_sql_count_if(to, seen, row->end->function);
        if (seen)
            sql->called |= (uint64_t)1 << row->end->function;
    } else {
        ma_sql_null(to);
        ma_sql_null(to);
        ma_sql_null(to);
    }
    ma_sql_integer(to, block->temporary);
    ma_sql_integer(to, (int64_t)row->weight);
    ma_sql_store_row(to);
}

/* How many ended blocks the row of the next one stands for; 0: it gets none. */
static uint64_t weight_of(struct ma_sql *sql)
{
    const enum ma_blocks wanted = sql->analysis->request->blocks;
    const uint64_t n = sql->n_ended++;
    if (wanted == MA_BLOCKS_LIVE)
        return 0;
    if (wanted == MA_BLOCKS_ALL || (wanted == MA_BLOCKS_BOUNDED && n < MA_SQL_BOUND))
        return 1;
    /* By chance, so that no rhythm of the program's falls in step; the same in each run. */
    uint64_t chance = (n + 1) * 0x9e3779b97f4a7c15u;
    chance = (chance ^ chance >> 30) * 0xbf58476d1ce4e5b9u;
    return chance >> 58 ? 0 : MA_SQL_SAMPLE;
}

_Static_assert(MA_SQL_SAMPLE == 1u << (64 - 58), "the shift above");

static uint64_t odd_key(uint32_t process, uint32_t site, uint64_t address)
{
    return ma_mix(address) ^ ((uint64_t)process << 32 | site);
}

static uint8_t call_of(const struct ma_sql *sql, const struct ma_sql_site *site, uint32_t process,
                       uint32_t index, uint64_t address)
{
    const uint32_t odd =
        site->mixed ? ma_map_get(&sql->odd_calls, odd_key(process, index, address)) : MA_NONE;
    return odd != MA_NONE ? (uint8_t)odd : (uint8_t)(site->call - (site->call > 0));
}

static int note_sample(struct ma_sql *sql, const struct ma_seen *seen)
{
    struct ma_sql_process *process = process_of(sql, seen->process->index);
    const struct ma_account *account = seen->account;
    if (!process)
        return -ENOMEM;
    if (__builtin_expect(account->resident == process->resident, 1))
        return 0;
    process->resident = account->resident;
    const struct ma_replay *books = ma_analysis_books(sql->analysis);
    const uint32_t index = seen->process->index;
    const struct ma_account *own = index < books->n_accounts ? books->accounts[index] : NULL;
    ma_sql_integer(&sql->sample, index);
    ma_sql_count(&sql->sample, seen->ns);
    ma_sql_count(&sql->sample, account->resident);
    ma_sql_count(&sql->sample, own ? own->live_bytes : 0);
    ma_sql_count(&sql->sample, own ? own->live_blocks : 0);
    ma_sql_store_row(&sql->sample);
    return 0;
}

static int sql_allocated(void *context, const struct ma_seen *seen,
                         const struct ma_seen_block *block)
{
    struct ma_sql *sql = context;
    const uint32_t process = seen->process->index;
    struct ma_sql_site *site = sql_site_of(sql, process, block->site);
    if (!site)
        return -ENOMEM;
    if (!site->call)
        site->call = 1 + seen->function;
    site->mixed |= site->call != 1 + seen->function;
    if (__builtin_expect(site->mixed, 0) &&
        ma_map_set(&sql->odd_calls, odd_key(process, block->site, block->address), seen->function) <
            0)
        return -ENOMEM;
    return note_sample(sql, seen);
}

static int sql_freed(void *context, const struct ma_seen *seen, const struct ma_seen_block *block)
{
    struct ma_sql *sql = context;
    const uint32_t process = seen->process->index;
    if (block->site == MA_NONE || sql->store.failed)
        return 0; /* a copy that a child inherited: the block is its parent's */
    const uint64_t weight = weight_of(sql);
    if (!weight) {
        sql->n_left++;
        return note_sample(sql, seen);
    }
    struct ma_sql_site *site = sql_site_of(sql, process, block->site);
    if (!site || find_stack(sql, seen->process, block->stack, site) < 0)
        return -ENOMEM;
    store_block(sql, &(struct row){.process = process,
                                   .thread = block->thread,
                                   .stack = site->stack - 1,
                                   .call = call_of(sql, site, process, block->site, block->address),
                                   .block = block,
                                   .end = seen,
                                   .weight = weight});
    sql->n_stored++;
    return note_sample(sql, seen);
}

static int sql_marked(void *context, const struct ma_seen *seen, const struct ma_mark *mark)
{
    struct ma_sql *sql = context;
    const struct ma_replay *books = ma_analysis_books(sql->analysis);
    ma_sql_integer(&sql->mark, seen->process->index);
    ma_sql_count_if(&sql->mark, seen->stream, seen->stream ? seen->stream->thread : 0);
    ma_sql_count(&sql->mark, seen->ns);
    ma_sql_text(&sql->mark, ma_mark_name(mark->kind));
    ma_sql_text(&sql->mark, mark->name);
    ma_sql_count(&sql->mark, books->live_bytes);
    ma_sql_count(&sql->mark, books->live_blocks);
    ma_sql_store_row(&sql->mark);
    return 0;
}

int ma_sql_blocks_begin(struct ma_sql *sql)
{
    ma_sql_prepare(&sql->store, &sql->block,
                   "INSERT INTO blocks VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    ma_sql_prepare(&sql->store, &sql->mark, "INSERT INTO marks VALUES(NULL, ?, ?, ?, ?, ?, ?, ?)");
    ma_sql_prepare(&sql->store, &sql->sample, "INSERT INTO samples VALUES(?, ?, ?, ?, ?)");
    sql->observer = (struct ma_observer){
        .context = sql, .allocated = sql_allocated, .freed = sql_freed, .marked = sql_marked};
    return ma_observers_add(&sql->analysis->replay.observers, &sql->observer);
}

static int store_live(struct ma_sql *sql, const struct ma_account *account,
                      const struct ma_block *block)
{
    const struct ma_process *process = account->process;
    struct ma_sql_site *site = sql_site_of(sql, process->index, block->site);
    if (!site || find_stack(sql, process, account->stacks[block->site], site) < 0)
        return -ENOMEM;
    const struct ma_seen_block seen = {
        .address = block->address,
        .size = block->size,
        .usable = block->usable,
        .ns = ma_clock_ns(&sql->analysis->trace, process, block->time),
    };
    store_block(
        sql, &(struct row){.process = process->index,
                           .thread = block->thread,
                           .stack = site->stack - 1,
                           .call = call_of(sql, site, process->index, block->site, block->address),
                           .block = &seen,
                           .weight = 1});
    sql->n_live++;
    return 0;
}

/* Blocks whose realloc began and did not end: they are in the books, and in no heap. */
static int store_moving(struct ma_sql *sql)
{
    const struct ma_filter *filter = sql->analysis->filter;
    const struct ma_replay *replay = &sql->analysis->replay;
    int result = 0;
    for (size_t i = 0; filter && i < filter->n_displaced && result == 0; i++)
        result = store_live(sql, filter->books.accounts[filter->displaced[i].process],
                            &filter->displaced[i].block);
    for (size_t i = 0; !filter && i < replay->n_states && result == 0; i++) {
        const struct ma_stream_state *state = &replay->states[i];
        const struct ma_account *account =
            i < replay->trace->n_streams
                ? replay->accounts[replay->trace->streams[i]->process->index]
                : NULL;
        if (state->is_moving && account && state->moving.site != MA_NONE)
            result = store_live(sql, account, &state->moving);
    }
    return result;
}

int ma_sql_blocks_live(struct ma_sql *sql)
{
    const struct ma_replay *books = ma_analysis_books(sql->analysis);
    int result = 0;
    for (size_t i = 0; i < books->n_accounts && result == 0; i++) {
        const struct ma_account *account = books->accounts[i];
        const size_t places = account ? ma_heap_places(&account->heap) : 0;
        struct ma_block block;
        for (size_t k = 0; k < places && result == 0 && !sql->store.failed; k++)
            if (ma_heap_at(&account->heap, k, &block) && block.site < account->n_sites)
                result = store_live(sql, account, &block);
    }
    return result == 0 ? store_moving(sql) : result;
}
