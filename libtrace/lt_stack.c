/* SPDX-License-Identifier: MIT
 *
 * The stack table: an open-addressing hash set from path hash to node id,
 * shared by all threads.
 *
 * A slot goes from empty to {hash, 0} by one compare-and-swap, then, after its
 * node's definition has been written, to {hash, id}. Readers take no lock. A
 * thread that meets a slot whose id is still 0, or loses a race, or finds no
 * room, defines the node once more under another id: FORMAT.md allows two ids
 * for one path, and so nobody ever waits. Paths are told apart by a 64-bit
 * hash; FORMAT.md section 6 gives the odds of a collision.
 *
 * Growth copies into a larger table and swaps the pointer. An insertion into
 * the old one meanwhile is forgotten, which costs a second definition. The old
 * table's pages are dropped but not its addresses, since a reader may still be
 * in it: it reads zeros there, that is, "unknown".
 */
#include "lt_stack.h"

#include <sys/mman.h>

#include "lt_module.h"

struct slot {
    uint64_t hash;
    uint32_t id;
    uint32_t unused;
};

struct table {
    uint64_t mask;
    uint64_t used; /* atomic */
    size_t bytes;
    struct slot slots[];
};

#define FIRST_LOG2 12
#define LAST_LOG2 25 /* 512 MiB of table, 20 million paths */
#define PROBES_MAX 64

static struct table *current;
static uint32_t next_id = MLF_FIRST_NODE;
static struct lt_lock growing;

static struct table *make_table(unsigned log2)
{
    size_t bytes = sizeof(struct table) + (sizeof(struct slot) << log2);
    struct table *table = lt_memory(bytes);
    if (table) {
        table->mask = (1ull << log2) - 1;
        table->bytes = bytes;
    }
    return table;
}

bool lt_stack_setup(void)
{
    current = make_table(FIRST_LOG2);
    return current != NULL;
}

void lt_stack_after_fork(void)
{
    growing.word = 0;
}

uint32_t lt_stack_nodes(void)
{
    return __atomic_load_n(&next_id, __ATOMIC_RELAXED);
}

static uint32_t node_find(uint64_t hash)
{
    struct table *table = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    uint64_t at = hash & table->mask;
    for (int i = 0; i < PROBES_MAX; i++, at = (at + 1) & table->mask) {
        uint64_t seen = __atomic_load_n(&table->slots[at].hash, __ATOMIC_RELAXED);
        if (seen == hash)
            return __atomic_load_n(&table->slots[at].id, __ATOMIC_ACQUIRE);
        if (seen == 0)
            return 0;
    }
    return 0;
}

static bool insert(struct table *table, uint64_t hash, uint32_t id)
{
    uint64_t at = hash & table->mask;
    for (int i = 0; i < PROBES_MAX; i++, at = (at + 1) & table->mask) {
        uint64_t seen = __atomic_load_n(&table->slots[at].hash, __ATOMIC_RELAXED);
        if (seen == hash)
            return true; /* another's, as good as ours */
        if (seen == 0 && __atomic_compare_exchange_n(&table->slots[at].hash, &seen, hash, 0,
                                                     __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            __atomic_store_n(&table->slots[at].id, id, __ATOMIC_RELEASE);
            __atomic_fetch_add(&table->used, 1, __ATOMIC_RELAXED);
            return true;
        }
        if (seen == hash)
            return true;
    }
    return false;
}

static void LT_COLD grow(struct table *old)
{
    if (!lt_lock_try(&growing))
        return;
    unsigned log2 = (unsigned)__builtin_popcountll(old->mask);
    unsigned larger = log2 + (log2 < 18 ? 2 : 1);
    struct table *table = NULL;
    if (current == old && log2 < LAST_LOG2)
        table = make_table(larger <= LAST_LOG2 ? larger : LAST_LOG2);
    if (table) {
        for (uint64_t i = 0; i <= old->mask; i++) {
            uint32_t id = __atomic_load_n(&old->slots[i].id, __ATOMIC_ACQUIRE);
            if (id)
                insert(table, old->slots[i].hash, id);
        }
        __atomic_store_n(&current, table, __ATOMIC_RELEASE);
        uintptr_t page = lt_process.page_size - 1;
        uintptr_t from = ((uintptr_t)old->slots + page) & ~page;
        uintptr_t to = ((uintptr_t)old + old->bytes) & ~page;
        if (to > from)
            lt_syscall3(SYS_madvise, from, to - from, MADV_DONTNEED);
    }
    lt_lock_release(&growing);
}

static void publish(uint64_t hash, uint32_t id)
{
    struct table *table = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    bool in = insert(table, hash, id);
    uint64_t used = __atomic_load_n(&table->used, __ATOMIC_RELAXED);
    if (LT_UNLIKELY(used * 8 > table->mask * 5 || !in))
        grow(table);
}

static uint32_t root_for(enum lt_stop stop)
{
    switch (stop) {
    case LT_STOP_ROOT: return MLF_ROOT_WHOLE;
    case LT_STOP_LIMIT: return MLF_ROOT_DEPTH_LIMIT;
    case LT_STOP_BAD_MEMORY: return MLF_ROOT_BAD_MEMORY;
    default: return MLF_ROOT_NO_RULE;
    }
}

/* Write one NODE item (FORMAT.md section 6). */
static bool define(struct lt_context *c, uint32_t id, uint32_t parent, uintptr_t pc, bool exact)
{
    struct lt_writer *w = &c->definitions;
    struct lt_node_encoder *n = &c->nodes;
    if (!lt_writer_room(w, LT_ITEM_MAX))
        return false;
    unsigned at = (unsigned)(pc * 0x9e3779b97f4a7c15u >> (64 - LT_FRAME_TABLE_LOG2));
    uint64_t key = pc ^ lt_module_generation() << 48; /* an unload makes all addresses new */
    bool listed = n->frame_at[at].key == key && n->frame_at[at].number > n->chunk_floor;
    struct lt_module_place place = {0, 0};
    if (!listed) {
        place = lt_module_place(c, pc, exact); /* may write a MODULE record */
        if (!lt_writer_room(w, LT_ITEM_MAX))
            return false;
    }
    unsigned tag = MLF_NODE | (exact ? MLF_NODE_EXACT : 0);
    unsigned char *p = w->position + 1;
    if (id != n->last_id + 1) {
        tag |= MLF_NODE_ID;
        p = mlf_put_vu(p, mlf_zigzag((int64_t)id - (int64_t)n->last_id - 1));
    }
    if (parent != n->last_id) {
        tag |= MLF_NODE_PARENT;
        p = mlf_put_vu(p, id - parent);
    }
    if (listed) {
        p = mlf_put_vu(p, n->frames - n->frame_at[at].number + 1);
    } else {
        tag |= MLF_NODE_NEW_FRAME;
        p = mlf_put_vu(p, place.module);
        p = mlf_put_vu(p, place.offset);
        n->frame_at[at].key = key;
        n->frame_at[at].number = ++n->frames;
    }
    n->last_id = id;
    lt_commit(w, (unsigned char)tag, p);
    return true;
}

/* Define the frames that are not known yet, outermost first. Ids found out are
 * put beside the frames, where later events find them. */
static uint32_t LT_COLD define_path(struct lt_context *c, const struct lt_unwinder *u)
{
    unsigned n = lt_unwinder_depth(u), known = n - 1;
    /* Their slots lie anywhere in the table: fetch them side by side. */
    const struct table *table = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
    for (unsigned i = known; i && !*lt_unwinder_id(u, i - 1); i--)
        __builtin_prefetch(&table->slots[lt_unwinder_hash(u, i - 1) & table->mask]);
    uint32_t parent = 0;
    for (; known; known--) {
        uint32_t *id = lt_unwinder_id(u, known - 1);
        if ((parent = *id) || (parent = *id = node_find(lt_unwinder_hash(u, known - 1))))
            break;
    }
    if (!parent)
        parent = root_for(lt_unwinder_stop(u));
    uint32_t id = __atomic_fetch_add(&next_id, n - known, __ATOMIC_RELAXED);
    for (unsigned i = known; i < n; i++, parent = id++) {
        if (!define(c, id, parent, lt_unwinder_pc(u, i), lt_unwinder_flags(u, i) & LT_FRAME_EXACT))
            return 0;
        publish(lt_unwinder_hash(u, i), id);
        *lt_unwinder_id(u, i) = id;
    }
    return parent;
}

uint32_t lt_stack_id(struct lt_context *context, const struct lt_unwinder *u)
{
    unsigned n = lt_unwinder_depth(u);
    if (LT_UNLIKELY(n == 0))
        return 0;
    uint32_t id = node_find(lt_unwinder_hash(u, n - 1));
    return id ? id : define_path(context, u);
}

uint32_t lt_stack_id_of_thread(struct lt_thread *self)
{
    const struct lt_unwinder *u = self->unwinder;
    unsigned n = lt_unwinder_depth(u);
    if (LT_UNLIKELY(n == 0))
        return 0;
    uint32_t *leaf = lt_unwinder_id(u, n - 1);
    if (*leaf)
        return *leaf;
    uint64_t hash = lt_unwinder_hash(u, n - 1);
    struct lt_id_entry *entry = &self->ids[(hash ^ hash >> 32) % LT_ID_CACHE];
    if (LT_LIKELY(entry->hash == hash))
        return *leaf = (uint32_t)entry->id;
    uint32_t id = node_find(hash);
    if (!id)
        id = define_path(&self->main, u);
    if (id) {
        *leaf = id;
        entry->hash = hash;
        entry->id = id;
    }
    return id;
}
