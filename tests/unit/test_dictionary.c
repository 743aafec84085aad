/* SPDX-License-Identifier: MIT
 *
 * The stack dictionary (lt_stack.h) with two sets, which four threads fill without a
 * pause: an id means the path that it was given for, whoever asks, and is defined
 * before anyone can have it. What the dictionary writes is decoded here; the unwinder
 * and the sink are stood in for.
 */
#include "lt_stack.h"

#include <pthread.h>
#include <stdlib.h>

#include "lt_module.h"
#include "tap.h"

enum { PATHS = 11, THREADS = 4, TURNS = 500000, IDS = 1 << 21, BYTES = 1 << 25 };

struct lt_process lt_process;
static uint8_t told[IDS];     /* 1 + path, of the ids that definitions name */
static uint8_t *has[THREADS]; /* the same, as each thread was told */
static bool wrong;
static struct lt_context *interrupted_by; /* an event in the middle of a definition */
static uint32_t id_in_between;
static bool defined_in_between;

static uint64_t hash_of(unsigned path)
{
    uint64_t hash = (path + 1) * 0xd6e8feb86659fd93u;
    return hash ^ hash >> 29;
}

static uintptr_t pc_of(unsigned path)
{
    return 0x10000 + path * 16;
}

uint64_t lt_module_generation(void)
{
    return 1;
}

struct lt_module_place lt_module_place(struct lt_context *context, uintptr_t pc, bool exact)
{
    (void)context, (void)exact;
    return (struct lt_module_place){1, pc};
}

/* A stack of one frame. */
struct stack {
    struct lt_unwinder unwinder;
    struct lt_point point;
    struct lt_frame frame;
};

static uint32_t ask(struct lt_context *context, unsigned path)
{
    struct stack s = {.point.word = pc_of(path), .frame.hash = hash_of(path)};
#if !defined(__x86_64__) && !defined(__i386__)
    s.frame.pc = pc_of(path);
#endif
    s.unwinder = (struct lt_unwinder){.points = &s.point, .frames = &s.frame, .n = 1};
    return lt_stack_id(context, &s.unwinder);
}

static struct lt_context *new_context(void)
{
    struct lt_context *c = calloc(1, sizeof *c);
    c->definitions.chunk = c->definitions.position = calloc(1, BYTES);
    c->definitions.limit = c->definitions.chunk + BYTES - LT_ITEM_MAX;
    lt_node_encoder_begin(&c->nodes);
    return c;
}

/* Note what the definitions of a context say of ids. */
static void read_definitions(const struct lt_context *c)
{
    static uint64_t frames[IDS];
    uint64_t id = MLF_FIRST_NODE - 1, n = 0, value = 0;
    const unsigned char *p = c->definitions.chunk, *end = c->definitions.position;
    while (p < end) {
        unsigned tag = *p++;
        id++;
        if (tag & MLF_NODE_ID && !mlf_get_vu(&p, end, &value))
            id += (uint64_t)mlf_unzigzag(value);
        if (tag & MLF_NODE_PARENT)
            wrong |= mlf_get_vu(&p, end, &value) || value != id; /* a root */
        wrong |= mlf_get_vu(&p, end, &value);
        if (tag & MLF_NODE_NEW_FRAME)
            wrong |= mlf_get_vu(&p, end, &frames[n++]);
        else
            value = frames[n - value];
        if (tag & MLF_NODE_NEW_FRAME)
            value = frames[n - 1];
        uint8_t path = (uint8_t)((value - pc_of(0)) / 16 + 1);
        wrong |= id >= IDS || told[id] || path > PATHS;
        if (wrong)
            return;
        told[id] = path;
    }
}

bool lt_writer_room(struct lt_writer *writer, size_t size)
{
    struct lt_context *other = interrupted_by;
    (void)size;
    if (other && writer != &other->definitions) {
        interrupted_by = NULL;
        id_in_between = ask(other, 7);
        defined_in_between = other->definitions.position > other->definitions.chunk;
    }
    return writer->position <= writer->limit;
}

static void *hammer(void *argument)
{
    struct lt_context *c = new_context();
    uint8_t *mine = has[(uintptr_t)argument];
    uint32_t seed = 17 + (uint32_t)(uintptr_t)argument;
    for (unsigned i = 0; i < TURNS; i++) {
        seed = seed * 1664525u + 1013904223u;
        unsigned path = (seed >> 16) % PATHS;
        uint32_t id = ask(c, path);
        if (id < MLF_FIRST_NODE || id >= IDS || (mine[id] && mine[id] != path + 1)) {
            wrong = true;
            break;
        }
        mine[id] = (uint8_t)(path + 1);
    }
    return c;
}

static void check_an_event_within_a_definition(void)
{
    struct lt_context *c = new_context(), *other = new_context();
    interrupted_by = other;
    uint32_t id = ask(c, 7);
    CHECK(id_in_between && id_in_between != id && defined_in_between,
          "an event in the middle of a definition is given no id that is not defined yet");
    uint32_t again = ask(c, 7);
    CHECK(again == id || again == id_in_between, "afterwards the path is known");
    read_definitions(c);
    read_definitions(other);
    CHECK(!wrong && told[id] == 8 && told[id_in_between] == 8, "both ids mean the path");
}

static void check_threads(void)
{
    pthread_t threads[THREADS];
    unsigned long used = 0, nodes = lt_stack_nodes();
    for (uintptr_t i = 0; i < THREADS; i++) {
        has[i] = calloc(1, IDS);
        if (pthread_create(&threads[i], NULL, hammer, (void *)i))
            exit(1);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *context;
        pthread_join(threads[i], &context);
        read_definitions(context);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        for (uint32_t id = 0; id < IDS; id++) {
            used += has[i][id] != 0;
            wrong |= has[i][id] && has[i][id] != told[id];
        }
    }
    nodes = lt_stack_nodes() - nodes;
    CHECK(!wrong, "every id means the path that it was given for");
    CHECK(nodes > 1000 * PATHS, "paths were forgotten (%lu definitions)", nodes);
    CHECK(used > nodes, "and threads used each other's (%lu uses)", used);
}

int main(void)
{
    if (!lt_stack_setup())
        return 1;
    check_an_event_within_a_definition();
    check_threads();
    return TAP_DONE();
}
