/* SPDX-License-Identifier: MIT
 *
 * The stack dictionary: which node id a path hash has in the trace, as far as the
 * library remembers. Sets of four slots, shared by all threads; a new path goes to
 * the front of its set, and the last one there is forgotten. A forgotten path that
 * comes again is defined again under a new id, which FORMAT.md section 6 allows: so
 * the memory is bounded for any program, and an id, once given, stays right wherever
 * else it is remembered (beside frames, in memos, in the id caches of threads, in a
 * fork's child).
 *
 * Nobody locks and nobody waits. A slot is two words, the id and the hash xor the
 * id's image, each stored and loaded whole. Two threads, or a signal handler and
 * what it interrupted, that write to one set may lose an entry, have it twice, or
 * leave words of two entries in one slot: such a slot answers to a hash that no path
 * has, but for a chance of 2^-64, the odds of any two path hashes being one. What is
 * lost is merely defined again.
 *
 * Definition before use: publish() comes after define(), which makes the node
 * visible in the trace; it stores the id by a release, and whoever finds it has
 * loaded it by an acquire, a thread that moves it to another slot included.
 */
#include "lt_stack.h"

#include "lt_module.h"

/* Sets in use at first, so that a short program touches few pages, and at last.
 * Tests have fewer of both. */
#ifndef LT_DICTIONARY_FIRST_LOG2
#define LT_DICTIONARY_FIRST_LOG2 8
#define LT_DICTIONARY_LAST_LOG2 14 /* 1 MiB; docs/libmlog.7 says so */
#endif
/* Where a limit of memory is set, which counts what is mapped: 64 KiB. */
#define LIMITED_LOG2 10
/* The last id that is given: as FORMAT.md section 9 has it, or a test. */
#ifndef LT_LAST_NODE
#define LT_LAST_NODE UINT32_MAX
#endif
#define WAYS 4

struct slot {
    uint64_t id;   /* atomic; 0: none */
    uint64_t mark; /* atomic; hash ^ image(id) */
};

struct set { /* one cache line */
    struct slot slots[WAYS];
};

static struct set *sets;
static uint64_t sets_most;
static uint64_t sets_mask; /* atomic */
static uint32_t next_id = MLF_FIRST_NODE;

bool lt_stack_setup(void)
{
    sets_most = 1u << LT_DICTIONARY_LAST_LOG2;
    if (lt_memory_is_limited() && LT_DICTIONARY_LAST_LOG2 > LIMITED_LOG2)
        sets_most = 1u << LIMITED_LOG2;
    sets = lt_memory(sizeof *sets * sets_most);
    sets_mask = (1u << LT_DICTIONARY_FIRST_LOG2) - 1;
    return sets != NULL;
}

void lt_stack_give_back(void)
{
    lt_memory_free(sets, sizeof *sets * sets_most);
    sets = NULL;
}

uint32_t lt_stack_nodes(void)
{
    return __atomic_load_n(&next_id, __ATOMIC_RELAXED);
}

static struct set *set_of(uint64_t hash)
{
    return &sets[hash & __atomic_load_n(&sets_mask, __ATOMIC_RELAXED)];
}

/* Of 0 it is 0: an empty slot answers to hash 0, with id 0. */
static uint64_t image(uint64_t id)
{
    return id * 0x9e3779b97f4a7c15u;
}

static uint32_t node_find(uint64_t hash)
{
    const struct set *set = set_of(hash);
    for (int i = 0; i < WAYS; i++) {
        uint64_t id = __atomic_load_n(&set->slots[i].id, __ATOMIC_ACQUIRE);
        if ((__atomic_load_n(&set->slots[i].mark, __ATOMIC_RELAXED) ^ image(id)) == hash)
            return (uint32_t)id;
    }
    return 0;
}

static void put(struct slot *slot, uint64_t id, uint64_t mark)
{
    __atomic_store_n(&slot->mark, mark, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->id, id, __ATOMIC_RELEASE);
}

static void copy(struct slot *to, const struct slot *from)
{
    uint64_t id = __atomic_load_n(&from->id, __ATOMIC_ACQUIRE);
    put(to, id, __atomic_load_n(&from->mark, __ATOMIC_RELAXED));
}

static void publish(uint64_t hash, uint32_t id)
{
    struct slot *slots = set_of(hash)->slots;
    for (int i = WAYS - 1; i > 0; i--)
        copy(&slots[i], &slots[i - 1]);
    put(&slots[0], id, hash ^ image(id));
}

/* Use twice as many sets once half the slots could be full. A path's new set is its
 * old one or that of the other half with the same number, so a copy of the whole
 * lower half is all it takes: what does not belong where it is, nobody asks for
 * there. Threads that do this side by side lose what others publish meanwhile. */
static void LT_COLD grow(uint64_t mask)
{
    for (uint64_t i = 0; i <= mask; i++)
        for (int k = 0; k < WAYS; k++)
            copy(&sets[i + mask + 1].slots[k], &sets[i].slots[k]);
    __atomic_compare_exchange_n(&sets_mask, &mask, 2 * mask + 1, 0, __ATOMIC_RELEASE,
                                __ATOMIC_RELAXED);
}

/* The first of `n` ids in a row that no one else gets; 0 when they are used up. */
static uint32_t take_ids(unsigned n)
{
    uint64_t mask = __atomic_load_n(&sets_mask, __ATOMIC_RELAXED);
    uint32_t id = __atomic_load_n(&next_id, __ATOMIC_RELAXED);
    do {
        if (LT_UNLIKELY(n > LT_LAST_NODE - id))
            return 0;
    } while (
        !__atomic_compare_exchange_n(&next_id, &id, id + n, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    if (LT_UNLIKELY(id / 2 > mask) && mask + 1 < sets_most)
        grow(mask);
    return id;
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
    /* Their sets lie anywhere in the dictionary: fetch them side by side. */
    for (unsigned i = known; i && !*lt_unwinder_id(u, i - 1); i--)
        __builtin_prefetch(set_of(lt_unwinder_hash(u, i - 1)));
    uint32_t parent = 0;
    for (; known; known--) {
        uint32_t *id = lt_unwinder_id(u, known - 1);
        if ((parent = *id) || (parent = *id = node_find(lt_unwinder_hash(u, known - 1))))
            break;
    }
    if (!parent)
        parent = root_for(lt_unwinder_stop(u));
    uint32_t id = take_ids(n - known);
    if (LT_UNLIKELY(!id))
        return MLF_ROOT_TABLE_FULL;
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
