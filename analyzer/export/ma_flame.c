/* SPDX-License-Identifier: MIT
 *
 * The tree of a flame graph: frames merged by their path from the root, names
 * cleaned and kept once. Depth is bounded by memory only, so nothing here
 * recurses. Totals are made when all is there, in one pass.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ma_flame_tree.h"

static const char united[] = "(more frames)";

enum { MAX_NAME = 16384 }; /* bytes of a name before cleaning; the rest is cut */

static uint64_t mix(uint64_t hash)
{
    hash = (hash ^ hash >> 31) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return mix(hash);
}

static uint64_t hash_node(uint32_t parent, uint32_t name)
{
    return mix((uint64_t)parent << 32 | name);
}

/* Room for one more of `size` bytes in the array that `at` points to. */
static int grow_array(void *at, size_t n, size_t *room, size_t size)
{
    if (n < *room)
        return 0;
    size_t wanted = *room ? 2 * *room : 64;
    void *array;
    memcpy(&array, at, sizeof(array));
    array = wanted > UINT32_MAX / 2 ? NULL : reallocarray(array, wanted, size);
    if (!array)
        return -ENOMEM;
    memcpy(at, &array, sizeof(array));
    *room = wanted;
    return 0;
}

struct ma_flame *ma_flame_begin(const char *title, enum ma_flame_unit unit)
{
    struct ma_flame *flame = calloc(1, sizeof(*flame));
    if (!flame)
        return NULL;
    flame->unit = unit;
    flame->title = ma_flame_clean(title ? title : "");
    if (!flame->title ||
        grow_array(&flame->nodes, 0, &flame->room_nodes, sizeof(*flame->nodes)) != 0) {
        ma_flame_free(flame);
        return NULL;
    }
    flame->nodes[flame->n_nodes++] = (struct ma_flame_node){.file = MA_FLAME_NO_FILE};
    return flame;
}

void ma_flame_free(struct ma_flame *flame)
{
    if (!flame)
        return;
    for (size_t i = 0; i < flame->n_names; i++)
        free(flame->names[i]);
    free(flame->names);
    free(flame->name_slots);
    free(flame->nodes);
    free(flame->node_slots);
    free(flame->title);
    free(flame);
}

/* Bytes of the UTF-8 character at `text`, its code in *code; 0 if it is none. */
static size_t decode(const unsigned char *text, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = text[0] < 0x80       ? 1
               : text[0] >> 5 == 6  ? 2
               : text[0] >> 4 == 14 ? 3
               : text[0] >> 3 == 30 ? 4
                                    : 0;
    if (n < 2) {
        *code = text[0];
        return n;
    }
    uint32_t value = text[0] & (0x7f >> n);
    for (size_t i = 1; i < n; i++) {
        if (text[i] >> 6 != 2)
            return 0;
        value = value << 6 | (text[i] & 0x3f);
    }
    *code = value;
    bool valid = value >= least[n] && value <= 0x10ffff && (value < 0xd800 || value > 0xdfff);
    return valid ? n : 0;
}

/* Characters that change how the text around them reads, or that XML forbids. */
static bool is_deceptive(uint32_t code)
{
    return (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x2069) || code == 0x061c || code == 0xfeff ||
           code == 0xfffe || code == 0xffff;
}

char *ma_flame_clean(const char *name)
{
    static const char replacement[] = "\xef\xbf\xbd";
    size_t length = strnlen(name, MAX_NAME);
    /* The name may be cut inside a character: decode from a terminated copy. */
    char *copy = strndup(name, length), *out = malloc(3 * length + 1);
    if (!copy || !out) {
        free(copy);
        free(out);
        return NULL;
    }
    char *at = out;
    for (const unsigned char *in = (const unsigned char *)copy; *in;) {
        uint32_t code;
        size_t n = decode(in, &code);
        if (n == 0 || is_deceptive(code)) {
            at = stpcpy(at, replacement);
        } else if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            *at++ = ' ';
        } else {
            memcpy(at, in, n);
            at += n;
        }
        in += n ? n : 1;
    }
    *at = 0;
    free(copy);
    return out;
}

static int name_slots_grow(struct ma_flame *flame)
{
    if (2 * (flame->n_names + 1) <= flame->room_name_slots)
        return 0;
    size_t room = flame->room_name_slots ? 2 * flame->room_name_slots : 256;
    uint32_t *slots = calloc(room, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < flame->n_names; i++) {
        size_t slot = hash_text(flame->names[i]) & (room - 1);
        while (slots[slot])
            slot = (slot + 1) & (room - 1);
        slots[slot] = i + 1;
    }
    free(flame->name_slots);
    flame->name_slots = slots;
    flame->room_name_slots = room;
    return 0;
}

int ma_flame_name(struct ma_flame *flame, const char *raw, uint32_t *out)
{
    char *name = ma_flame_clean(raw && *raw ? raw : "??");
    if (!name || name_slots_grow(flame) != 0 ||
        grow_array(&flame->names, flame->n_names, &flame->room_names, sizeof(char *)) != 0) {
        free(name);
        return -ENOMEM;
    }
    size_t mask = flame->room_name_slots - 1, slot = hash_text(name) & mask;
    while (flame->name_slots[slot]) {
        *out = flame->name_slots[slot] - 1;
        if (!strcmp(flame->names[*out], name)) {
            free(name);
            return 0;
        }
        slot = (slot + 1) & mask;
    }
    *out = (uint32_t)flame->n_names++;
    flame->names[*out] = name;
    flame->name_slots[slot] = *out + 1;
    return 0;
}

static int node_slots_grow(struct ma_flame *flame)
{
    if (2 * (flame->n_nodes + 1) <= flame->room_node_slots)
        return 0;
    size_t room = flame->room_node_slots ? 2 * flame->room_node_slots : 256;
    uint32_t *slots = calloc(room, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    for (uint32_t i = 1; i < flame->n_nodes; i++) {
        size_t slot = hash_node(flame->nodes[i].parent, flame->nodes[i].name) & (room - 1);
        while (slots[slot])
            slot = (slot + 1) & (room - 1);
        slots[slot] = i;
    }
    free(flame->node_slots);
    flame->node_slots = slots;
    flame->room_node_slots = room;
    return 0;
}

static int find_node(struct ma_flame *flame, uint32_t parent, uint32_t name, bool bounded,
                     uint32_t *out)
{
    if (node_slots_grow(flame) != 0 ||
        grow_array(&flame->nodes, flame->n_nodes, &flame->room_nodes, sizeof(*flame->nodes)) != 0)
        return -ENOMEM;
    size_t mask = flame->room_node_slots - 1, slot = hash_node(parent, name) & mask;
    while ((*out = flame->node_slots[slot])) {
        if (flame->nodes[*out].parent == parent && flame->nodes[*out].name == name)
            return 0;
        slot = (slot + 1) & mask;
    }
    if (bounded)
        return 1;
    *out = (uint32_t)flame->n_nodes++;
    flame->nodes[*out] = (struct ma_flame_node){.parent = parent,
                                                .name = name,
                                                .depth = flame->nodes[parent].depth + 1,
                                                .file = MA_FLAME_NO_FILE};
    flame->node_slots[slot] = *out;
    return 0;
}

int ma_flame_node(struct ma_flame *flame, uint32_t parent, uint32_t name, uint32_t *out)
{
    uint32_t rest;
    int result = find_node(flame, parent, name, flame->most && flame->n_nodes >= flame->most, out);
    if (result <= 0)
        return result;
    result = ma_flame_name(flame, united, &rest);
    if (result == 0)
        result = find_node(flame, parent, rest, false, out);
    return result < 0 ? result : 1;
}

void ma_flame_bound(struct ma_flame *flame, size_t most)
{
    flame->most = most;
}

void ma_flame_tell(struct ma_flame *flame, uint32_t node, bool own, uint32_t file, unsigned line)
{
    struct ma_flame_node *at = &flame->nodes[node];
    at->own |= own;
    if (file == MA_FLAME_NO_FILE)
        return;
    if (at->file == MA_FLAME_NO_FILE) {
        at->file = file;
        at->line = line;
    } else {
        at->several |= at->file != file || at->line != line;
    }
}

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void ma_flame_count(struct ma_flame *flame, uint32_t node, uint64_t value)
{
    flame->nodes[node].self = add_capped(flame->nodes[node].self, value);
}

void ma_flame_count_old(struct ma_flame *flame, uint32_t node, uint64_t value)
{
    flame->nodes[node].old_self = add_capped(flame->nodes[node].old_self, value);
}

void ma_flame_sum_up(struct ma_flame *flame)
{
    for (size_t i = 0; i < flame->n_nodes; i++) {
        flame->nodes[i].total = flame->nodes[i].self;
        flame->nodes[i].old_total = flame->nodes[i].old_self;
    }
    for (size_t i = flame->n_nodes; i-- > 1;) {
        struct ma_flame_node *parent = &flame->nodes[flame->nodes[i].parent];
        parent->total = add_capped(parent->total, flame->nodes[i].total);
        parent->old_total = add_capped(parent->old_total, flame->nodes[i].old_total);
    }
}

uint64_t ma_flame_total(struct ma_flame *flame)
{
    ma_flame_sum_up(flame);
    return flame->nodes[0].total;
}

uint64_t ma_flame_total_old(struct ma_flame *flame)
{
    ma_flame_sum_up(flame);
    return flame->nodes[0].old_total;
}

static int compare_boxes(const void *a_, const void *b_, void *flame_)
{
    const struct ma_flame *flame = flame_;
    const struct ma_flame_node *a = &flame->nodes[*(const uint32_t *)a_];
    const struct ma_flame_node *b = &flame->nodes[*(const uint32_t *)b_];
    if (a->parent != b->parent)
        return a->parent < b->parent ? -1 : 1;
    return strcmp(flame->names[a->name], flame->names[b->name]);
}

uint32_t *ma_flame_order(const struct ma_flame *flame, bool old, size_t *n_out)
{
    size_t n = 0, all = flame->n_nodes;
    /* `sorted` by parent and name, so that first[parent] starts a node's children. */
    uint32_t *sorted = calloc(all + 1, sizeof(*sorted));
    uint32_t *first = calloc(all + 1, sizeof(*first));
    uint32_t *order = calloc(all + 1, sizeof(*order));
    uint32_t *pending = calloc(all + 1, sizeof(*pending));
    if (!sorted || !first || !order || !pending) {
        free(order);
        order = NULL;
        goto out;
    }
    for (uint32_t i = 1; i < all; i++)
        if (flame->nodes[i].total || (old && flame->nodes[i].old_total))
            sorted[n++] = i;
    qsort_r(sorted, n, sizeof(*sorted), compare_boxes, (void *)flame);
    for (size_t i = n; i-- > 0;)
        first[flame->nodes[sorted[i]].parent] = (uint32_t)i + 1;
    size_t n_pending = 0, n_order = 0;
    uint32_t node = 0;
    for (;;) {
        /* Children go on the pile last to first; the sort put them side by side. */
        if (first[node]) {
            size_t i = first[node] - 1, end = i;
            while (end < n && flame->nodes[sorted[end]].parent == node)
                end++;
            while (end > i)
                pending[n_pending++] = sorted[--end];
        }
        if (!n_pending)
            break;
        node = pending[--n_pending];
        order[n_order++] = node;
    }
    *n_out = n_order;
out:
    free(sorted);
    free(first);
    free(pending);
    return order;
}

static int write_folded(struct ma_flame *flame, bool diff, FILE *out)
{
    ma_flame_sum_up(flame);
    size_t n = 0, depth = 0;
    int error = 0;
    errno = 0;
    uint32_t *order = ma_flame_order(flame, diff, &n), *path = NULL;
    for (size_t i = 0; order && i < n; i++)
        if (flame->nodes[order[i]].depth > depth)
            depth = flame->nodes[order[i]].depth;
    path = calloc(depth + 1, sizeof(*path));
    if (!order || !path) {
        error = -ENOMEM;
        goto done;
    }
    for (size_t i = 0; i < n && !error; i++) {
        const struct ma_flame_node *node = &flame->nodes[order[i]];
        /* Depth-first: path[] below this depth is this node's own. */
        path[node->depth] = node->name;
        if (!node->self && !(diff && node->old_self))
            continue;
        for (size_t d = 1; d <= node->depth; d++) {
            for (const char *c = flame->names[path[d]]; *c; c++)
                putc(*c == ';' ? ':' : *c, out);
            putc(d == node->depth ? ' ' : ';', out);
        }
        if (diff)
            fprintf(out, "%" PRIu64 " ", node->old_self);
        if (fprintf(out, "%" PRIu64 "\n", node->self) < 0)
            error = errno ? -errno : -EIO;
    }
    if (!error && (fflush(out) != 0 || ferror(out)))
        error = errno ? -errno : -EIO;
done:
    free(order);
    free(path);
    return error;
}

int ma_flame_write_folded(struct ma_flame *flame, FILE *out)
{
    return write_folded(flame, false, out);
}

int ma_flame_write_folded_diff(struct ma_flame *flame, FILE *out)
{
    return write_folded(flame, true, out);
}
