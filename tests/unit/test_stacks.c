/* SPDX-License-Identifier: MIT
 *
 * When two stacks are one: in other processes, generations of a module and
 * orders of definition they are, with other frames, modules, roots and kinds of
 * frames they are not. Nodes are added as a trace's definitions add them.
 */
#include <stdlib.h>
#include <string.h>

#include "ma_stacks.h"
#include "tap.h"

static struct ma_process *add_process(struct ma_trace *trace, uint64_t key, uint64_t parent,
                                      uint64_t inherited_nodes, uint64_t inherited_modules)
{
    struct ma_process_record record = {
        .pid = key,
        .block_grain = 16,
        .how = parent ? MLF_HOW_FORK : MLF_HOW_START,
        .parent_key = parent,
        .inherited_nodes = inherited_nodes,
        .inherited_modules = inherited_modules,
    };
    struct ma_process *process = ma_trace_process(trace, key);
    if (!process || ma_process_define(trace, process, &record) < 0)
        abort();
    return process;
}

static void add_module(struct ma_process *process, uint32_t id, const char *path,
                       const char *build_id, uint64_t bias)
{
    struct ma_module_record record = {
        .id = id,
        .bias = bias,
        .path = {(const unsigned char *)path, strlen(path)},
        .build_id = {(const unsigned char *)build_id, strlen(build_id)},
    };
    if (ma_process_add_module(process, &record) < 0)
        abort();
}

static void add_node(struct ma_process *process, uint32_t id, uint32_t parent, uint32_t module,
                     uint64_t offset, bool exact)
{
    struct ma_node node = {
        .id = id, .parent = parent, .module = module, .offset = offset, .exact = exact};
    if (ma_process_add_node(process, &node) < 0)
        abort();
}

static uint32_t id_of(struct ma_stacks *stacks, const struct ma_process *process, uint32_t stack)
{
    uint32_t id;
    if (ma_stacks_id(stacks, process, stack, &id) < 0)
        abort();
    return id;
}

static void begin(struct ma_trace *trace, struct ma_stacks *stacks)
{
    ma_trace_init(trace);
    ma_stacks_init(stacks, trace, NULL);
}

static void end(struct ma_trace *trace, struct ma_stacks *stacks)
{
    ma_stacks_free(stacks);
    ma_trace_free(trace);
}

static void test_one_path_wherever_it_is(void)
{
    struct ma_trace trace;
    struct ma_stacks stacks;
    begin(&trace, &stacks);
    struct ma_process *one = add_process(&trace, 1, 0, 0, 0),
                      *two = add_process(&trace, 2, 0, 0, 0);
    add_module(one, 1, "/a", "id", 0x1000);
    add_module(one, 2, "/lib", "x", 0x9000);
    add_module(one, 5, "/lib", "x", 0xa000); /* loaded again */
    add_module(one, 6, "/lib", "y", 0xa000); /* another build */
    add_module(one, 7, "/lib2", "x", 0xa000);
    add_module(two, 9, "/lib", "x", 0x77000);
    add_module(two, 3, "/a", "id", 0x2000);
    add_node(one, 16, 0, 1, 0x40, false);
    add_node(one, 17, 16, 2, 0x50, false);
    add_node(one, 18, 16, 5, 0x50, false);
    add_node(one, 19, 16, 6, 0x50, false);
    add_node(one, 20, 16, 7, 0x50, false);
    add_node(one, 21, 16, 2, 0x50, true);
    add_node(one, 22, 16, 2, 0x51, false);
    add_node(one, 23, 16, 2, 0x50 | UINT64_C(1) << 63, false);
    add_node(one, 24, 2, 2, 0x50, false); /* cut at the depth limit */
    add_node(one, 25, 0, 2, 0x50, false);
    add_node(one, 26, 25, 1, 0x40, false); /* the other way round */
    add_node(one, 27, 17, 2, 0x50, false);
    add_node(two, 40, 0, 3, 0x40, false);
    add_node(two, 70, 40, 9, 0x50, false);
    uint32_t id = id_of(&stacks, one, 17);
    CHECK(id >= MLF_FIRST_NODE && id_of(&stacks, two, 70) == id,
          "the same frames in another process are the same stack");
    CHECK(id_of(&stacks, one, 18) == id, "and in another generation of a module");
    bool differ = true;
    for (uint32_t a = 16; a <= 27; a++) {
        for (uint32_t b = 16; b < a; b++)
            differ &= (a == 18 && b == 17) || id_of(&stacks, one, a) != id_of(&stacks, one, b);
    }
    CHECK(differ, "another build, path, offset, kind of frame, root, order or depth is another");
    CHECK(ma_stacks_root(&stacks, id) == 0 && ma_stacks_root(&stacks, id_of(&stacks, one, 24)) == 2,
          "where a stack ends is known");
    const uint32_t *pcs;
    CHECK(ma_stacks_pcs(&stacks, id_of(&stacks, two, 70), &pcs) == 2 &&
              stacks.pcs[pcs[0]].offset == 0x50 && stacks.pcs[pcs[1]].offset == 0x40,
          "its frames are those of the first that had it");
    CHECK(id_of(&stacks, one, 3) == 3 && id_of(&stacks, one, 999) == MA_ROOT_UNKNOWN &&
              trace.audit.unknown_stacks == 1,
          "what has no frames is its root; what is not defined is unknown");
    end(&trace, &stacks);
}

static void test_forks(void)
{
    struct ma_trace trace;
    struct ma_stacks stacks;
    begin(&trace, &stacks);
    struct ma_process *parent = add_process(&trace, 1, 0, 0, 0);
    add_module(parent, 1, "/a", "id", 0x1000);
    add_node(parent, 16, 0, 1, 0x10, false);
    add_node(parent, 17, 16, 1, 0x20, false);
    struct ma_process *child = add_process(&trace, 2, 1, 18, 2);
    add_node(parent, 18, 17, 1, 0x30, false); /* after the fork: each its own 18 */
    add_node(child, 18, 17, 1, 0x40, false);
    add_node(child, 19, 17, 1, 0x30, false);
    uint32_t inner = id_of(&stacks, child, 18);
    CHECK(id_of(&stacks, child, 17) == id_of(&stacks, parent, 17),
          "an inherited stack is the parent's");
    CHECK(inner != id_of(&stacks, parent, 18) &&
              id_of(&stacks, child, 19) == id_of(&stacks, parent, 18),
          "stacks on top of inherited ones are told apart by their own frames");
    const uint32_t *pcs;
    CHECK(ma_stacks_pcs(&stacks, inner, &pcs) == 3, "and have the inherited frames");
    end(&trace, &stacks);
}

/* Children whose parents come later, as in a damaged trace; and nodes that come
 * when others were asked for already. */
static void test_orders(void)
{
    struct ma_trace trace;
    struct ma_stacks stacks;
    begin(&trace, &stacks);
    struct ma_process *plain = add_process(&trace, 1, 0, 0, 0);
    struct ma_process *late = add_process(&trace, 2, 0, 0, 0);
    add_module(plain, 1, "/a", "id", 0);
    add_module(late, 1, "/a", "id", 0);
    const uint32_t n = 300;
    for (uint32_t i = 0; i < n; i++)
        add_node(plain, 16 + i, i ? 16 + i - 1 : 0, 1, 0x10 * i, false);
    for (uint32_t i = n; i-- > 0;) {
        if (i != 100)
            add_node(late, 16 + i, i ? 16 + i - 1 : 0, 1, 0x10 * i, false);
    }
    bool same = true;
    for (uint32_t i = 0; i < 100; i++)
        same &= id_of(&stacks, plain, 16 + i) == id_of(&stacks, late, 16 + i);
    CHECK(same, "defined in the wrong order, the same stacks");
    bool differ = true;
    for (uint32_t i = 101; i < n; i++)
        differ &= id_of(&stacks, plain, 16 + i) != id_of(&stacks, late, 16 + i) &&
                  ma_stacks_root(&stacks, id_of(&stacks, late, 16 + i)) == MA_ROOT_UNKNOWN;
    CHECK(differ, "with a node missing, stacks that are cut there");
    /* More nodes than there was room for, asked for one by one. */
    same = true;
    for (uint32_t i = n; i < 3000; i++) {
        add_node(plain, 16 + i, 16 + i - 1, 1, 0x10 * i, false);
        same &= id_of(&stacks, plain, 16 + i) == MLF_FIRST_NODE + stacks.n_stacks - 1;
    }
    CHECK(same, "stacks that are defined later are new ones");
    end(&trace, &stacks);
}

/* True if the tree tells the stack's frames, as ma_stacks_frames does. */
static bool tells_the_frames(struct ma_stacks *stacks, struct ma_trie *trie, uint32_t id)
{
    const struct ma_frame *frames;
    uint32_t node;
    if (ma_stacks_trie_add(stacks, trie, id, &node) < 0)
        abort();
    long n = ma_stacks_frames(stacks, id, &frames), at = 0;
    for (; node != MA_NONE && at < n; node = trie->nodes[node].parent, at++) {
        const struct ma_frame *resolved = ma_stacks_resolved(stacks, trie->nodes[node].frame);
        if (resolved->offset != frames[at].offset || resolved->module != frames[at].module ||
            resolved->address != frames[at].address ||
            resolved->number != trie->nodes[node].frame || resolved->pc != frames[at].pc)
            return false;
        if (trie->nodes[node].parent != MA_NONE && trie->nodes[node].parent >= node)
            return false; /* parents come first */
    }
    return at == n && node == MA_NONE;
}

struct way {
    const struct ma_trie *trie;
    uint32_t at; /* where the walk is; MA_NONE: outside */
    size_t down, up, wrong;
};

static int pass(void *context, uint32_t node, bool down)
{
    struct way *way = context;
    const uint32_t parent = way->trie->nodes[node].parent;
    way->wrong += way->at != (down ? parent : node);
    way->at = down ? node : parent;
    *(down ? &way->down : &way->up) += 1;
    return 0;
}

/* A recursion that allocates at every depth, in a process that is over and in its
 * child: what stacks have in common is in the tree once. */
static void test_tree_of_frames(void)
{
    enum { DEEP = 3000 };
    struct ma_trace trace;
    struct ma_stacks stacks;
    struct ma_trie trie = {0};
    begin(&trace, &stacks);
    struct ma_process *parent = add_process(&trace, 1, 0, 0, 0);
    add_module(parent, 1, "/a", "id", 0x1000);
    for (uint32_t i = 0; i < DEEP; i++)
        add_node(parent, 16 + i, i ? 16 + i - 1 : 0, 1, i % 2 ? 0x20 : 0x10, false);
    struct ma_process *child = add_process(&trace, 2, 1, 16 + DEEP, 2);
    for (uint32_t i = 0; i < 10; i++)
        add_node(child, 16 + DEEP + i, 16 + i * 100, 1, 0x30, false);
    uint32_t retired_nodes[DEEP];
    for (uint32_t i = 0; i < DEEP; i += 3) {
        if (ma_stacks_retired_node(&stacks, parent, 16 + i, &retired_nodes[i]) < 0)
            abort();
    }
    if (ma_stacks_retire(&stacks, parent) < 0)
        abort();
    ma_process_forget(parent);
    bool resolved = true;
    for (uint32_t i = 0; i < 10; i++)
        resolved &= tells_the_frames(&stacks, &trie, id_of(&stacks, child, 16 + DEEP + i));
    CHECK(resolved && trie.n == 901 + 10,
          "a tree has the frames of stacks, inherited ones too (%zu)", trie.n);
    for (uint32_t i = 0; i < DEEP; i += 3) {
        uint32_t id;
        if (ma_stacks_retired_node_id(&stacks, retired_nodes[i], parent->index, &id) < 0)
            abort();
        resolved &= tells_the_frames(&stacks, &trie, id);
    }
    CHECK(resolved && trie.n == DEEP - 2 + 10,
          "of a process that was folded, and each path once (%zu)", trie.n);
    uint32_t node = 0;
    CHECK(ma_stacks_trie_add(&stacks, &trie, 2, &node) == 0 && node == MA_NONE,
          "a stack without frames has no node");
    struct way way = {.trie = &trie, .at = MA_NONE};
    CHECK(ma_trie_walk(&trie, pass, &way) == 0 && !way.wrong && way.down == trie.n &&
              way.up == trie.n && way.at == MA_NONE,
          "a walk goes from frame to frame, down to all of them and back");
    CHECK(stacks.n_resolved == 3, "each frame's name is looked up once (%zu)", stacks.n_resolved);
    ma_trie_free(&trie);
    end(&trace, &stacks);
}

/* Two stacks, whose ids are far apart. */
static void add_pair(struct ma_process *process)
{
    add_module(process, 1, "/a", "id", 0);
    add_node(process, 16, 0, 1, 0x10, false);
    add_node(process, 1015, 16, 1, 0x20, false);
}

static void retire(struct ma_stacks *stacks, struct ma_process *process)
{
    if (ma_stacks_retire(stacks, process) < 0)
        abort();
    ma_process_forget(process);
}

/* The retired nodes of the latest retired processes are kept, for children that
 * have not appeared yet. */
static void test_places_are_kept_of_the_latest(void)
{
    enum { EACH = 1000, MANY = MA_RETIRED_NODES_KEPT / EACH + 40 };
    struct ma_trace trace;
    struct ma_stacks stacks;
    begin(&trace, &stacks);
    struct ma_process *first = add_process(&trace, 1, 0, 0, 0), *last = NULL;
    add_pair(first);
    struct ma_process *early = add_process(&trace, 2, 1, 1016, 2);
    retire(&stacks, first);
    uint32_t id = id_of(&stacks, early, 1015);
    CHECK(ma_stacks_root(&stacks, id) == 0 && !trace.audit.unknown_stacks,
          "a child's stacks are those of its parent that was folded");
    for (uint32_t i = 0; i < MANY; i++) {
        last = add_process(&trace, 100 + i, 0, 0, 0);
        add_pair(last);
        retire(&stacks, last);
    }
    CHECK(stacks.n_kept <= MA_RETIRED_NODES_KEPT &&
              stacks.n_kept > MA_RETIRED_NODES_KEPT - 2 * EACH,
          "places are kept up to a bound, and not far below it (%zu)", stacks.n_kept);
    CHECK(id_of(&stacks, early, 1015) == MA_ROOT_UNKNOWN && trace.audit.unknown_stacks == 1,
          "a child that was silent for so long has no stack, which the audit counts");
    struct ma_process *late = add_process(&trace, 99, 100 + MANY - 1, 1016, 2);
    CHECK(id_of(&stacks, late, 1015) == id && trace.audit.unknown_stacks == 1,
          "that of one which was folded lately has");
    CHECK(stacks.n_retired_nodes == 2, "and all have the same places (%zu)",
          stacks.n_retired_nodes);
    end(&trace, &stacks);
}

/* Many modules, and many processes with code in none: none of their frames is
 * taken for another's. */
static void test_nothing_collides(void)
{
    enum { OBJECTS = 1500, OFFSETS = 40 };
    struct ma_trace trace;
    struct ma_stacks stacks;
    size_t wrong = 0;
    begin(&trace, &stacks);
    struct ma_process *process = add_process(&trace, 1, 0, 0, 0);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        char path[32];
        snprintf(path, sizeof path, "/module/%u", i);
        add_module(process, i + 1, path, "", 0);
        for (uint32_t k = 0; k < OFFSETS; k++)
            add_node(process, 16 + i * OFFSETS + k, 0, i + 1, 64 * k, k % 2);
    }
    for (uint32_t i = 0; i < OBJECTS * OFFSETS; i++)
        wrong += id_of(&stacks, process, 16 + i) != MLF_FIRST_NODE + i;
    CHECK(!wrong, "%d frames of %d modules are as many stacks (%zu wrong)", OBJECTS * OFFSETS,
          OBJECTS, wrong);
    size_t before = stacks.n_stacks;
    for (uint32_t i = 0; i < 600; i++) {
        process = add_process(&trace, 2 + i, 0, 0, 0);
        for (uint32_t k = 0; k < 8; k++) {
            add_node(process, 16 + k, 0, 0, 128 * k, false);
            id_of(&stacks, process, 16 + k);
        }
    }
    CHECK(stacks.n_stacks - before == 600 * 8, "code in no module is that of its process: %zu",
          stacks.n_stacks - before);
    end(&trace, &stacks);
}

int main(void)
{
    test_one_path_wherever_it_is();
    test_forks();
    test_orders();
    test_tree_of_frames();
    test_places_are_kept_of_the_latest();
    test_nothing_collides();
    return TAP_DONE();
}
