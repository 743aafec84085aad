/* SPDX-License-Identifier: MIT
 *
 * Names that DWARF tells in parts. gcc gives an inlined C++ function no linkage
 * name, only "push_back": its scopes are to be found. DIEs have no parents, but
 * a DIE lies inside its scopes by offset: so one goes down from the unit, by the
 * one scope at each level that holds the offset. A level is read once, when it is
 * first gone through; units have hundreds of thousands of DIEs, and few levels of
 * them are ever needed. Relative file names get the unit's directory. Each name
 * is put together once and kept.
 */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include <elfutils/libdw.h>

#include "ma_symbols_impl.h"

enum {
    MAX_DEPTH = 128,
    MAX_SCOPES = 32,     /* in one name; the outermost are dropped */
    MAX_NAME = 16384,    /* bytes; a longer one stays without its scopes */
    MAX_LEVEL = 1 << 20, /* scopes beside each other; those behind stay untold */
    ROOM = 1024,
};

struct scope { /* a DIE with others inside */
    Dwarf_Die die;
    Dwarf_Off begin, end; /* offsets of those inside */
    bool named;           /* else its scope is that around it */
    bool read;            /* its level was */
    struct scope *inner;  /* the level, by offset */
    size_t n, room;
};

struct scoped_unit {
    struct scoped_unit *next;
    Dwarf_CU *cu;
    struct scope root;
};

struct told {
    struct told *next;
    const void *key; /* of a DIE or a libdw string, which never coincide */
    char name[];
};

struct ma_scopes {
    struct scoped_unit *units[ROOM];
    struct told *names[ROOM];
};

static size_t bucket(const void *pointer)
{
    return (size_t)(((uint64_t)(uintptr_t)pointer * 0x9e3779b97f4a7c15u) >> 54) % ROOM;
}

struct ma_scopes *ma_scopes_new(void)
{
    return calloc(1, sizeof(struct ma_scopes));
}

/* No deeper than find_scopes reads. */
static void free_level(struct scope *scope)
{
    for (size_t i = 0; i < scope->n; i++)
        free_level(&scope->inner[i]);
    free(scope->inner);
}

void ma_scopes_free(struct ma_scopes *scopes)
{
    if (!scopes)
        return;
    for (size_t i = 0; i < ROOM; i++) {
        for (struct scoped_unit *unit = scopes->units[i], *next; unit; unit = next) {
            next = unit->next;
            free_level(&unit->root);
            free(unit);
        }
        for (struct told *name = scopes->names[i], *next; name; name = next) {
            next = name->next;
            free(name);
        }
    }
    free(scopes);
}

static bool add_scope(struct scope *parent, Dwarf_Die *die, Dwarf_Off end, bool named)
{
    Dwarf_Off begin = dwarf_dieoffset(die) + 1; /* the scope itself is not inside itself */
    if (parent->n == parent->room) {
        size_t room = parent->room ? 2 * parent->room : 64;
        struct scope *inner = reallocarray(parent->inner, room, sizeof(*inner));
        if (!inner)
            return false;
        parent->inner = inner;
        parent->room = room;
    }
    parent->inner[parent->n++] =
        (struct scope){.die = *die, .begin = begin, .end = end, .named = named};
    return true;
}

static void read_level(struct scope *parent)
{
    Dwarf_Die die, next;
    parent->read = true;
    if (dwarf_child(&parent->die, &die) != 0)
        return;
    for (bool more = true; more; die = next) {
        more = dwarf_siblingof(&die, &next) == 0;
        Dwarf_Off end = more ? dwarf_dieoffset(&next) : parent->end;
        /* Crafted siblings may lead out of their parent, and back in by its own. */
        if (end > parent->end || parent->n == MAX_LEVEL)
            return;
        int tag = dwarf_tag(&die);
        switch (tag) {
        case DW_TAG_namespace:
        case DW_TAG_module:
        case DW_TAG_interface_type:
        case DW_TAG_enumeration_type:
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
        case DW_TAG_union_type:
        case DW_TAG_subprogram:
        case DW_TAG_lexical_block:
            if (dwarf_haschildren(&die) &&
                !add_scope(parent, &die, end, tag != DW_TAG_lexical_block))
                return;
            break;
        default: break;
        }
    }
}

/* The scopes around an offset, innermost last; returns their number. */
static size_t find_scopes(struct scope *scope, Dwarf_Off offset, Dwarf_Die found[MAX_DEPTH])
{
    size_t n = 0;
    for (unsigned depth = 0; depth < MAX_DEPTH; depth++) {
        if (!scope->read)
            read_level(scope);
        size_t low = 0, high = scope->n;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (scope->inner[middle].begin <= offset)
                low = middle + 1;
            else
                high = middle;
        }
        if (!low || scope->inner[low - 1].end <= offset)
            break;
        scope = &scope->inner[low - 1];
        if (scope->named)
            found[n++] = scope->die;
    }
    return n;
}

static struct scoped_unit *unit_get(struct ma_scopes *scopes, Dwarf_Die *die)
{
    struct scoped_unit **slot = &scopes->units[bucket(die->cu)];
    for (struct scoped_unit *unit = *slot; unit; unit = unit->next)
        if (unit->cu == die->cu)
            return unit;
    struct scoped_unit *unit = calloc(1, sizeof(*unit));
    if (!unit)
        return NULL;
    unit->cu = die->cu;
    unit->next = *slot;
    *slot = unit;
    unit->root.end = UINT64_MAX;
    unit->root.read = !dwarf_diecu(die, &unit->root.die, NULL, NULL);
    return unit;
}

static const char *scope_name(Dwarf_Die *die, const char *inner)
{
    Dwarf_Attribute attribute;
    const char *name = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_name, &attribute));
    if (name)
        return name;
    if (dwarf_tag(die) == DW_TAG_namespace)
        return "(anonymous namespace)";
    return strcmp(inner, "operator()") ? "{unnamed}" : "{lambda}";
}

void ma_scopes_find_declaration(void *die_)
{
    Dwarf_Die *die = die_;
    for (int i = 0; i < 16; i++) {
        Dwarf_Attribute attribute;
        Dwarf_Die next;
        if (!dwarf_formref_die(dwarf_attr(die, DW_AT_abstract_origin, &attribute), &next) &&
            !dwarf_formref_die(dwarf_attr(die, DW_AT_specification, &attribute), &next))
            return;
        *die = next;
    }
}

static const char *find_told(const struct ma_scopes *scopes, const void *key)
{
    for (const struct told *known = scopes->names[bucket(key)]; known; known = known->next)
        if (known->key == key)
            return known->name;
    return NULL;
}

/* Room for a name of `length` bytes; NULL without memory. */
static char *keep(struct ma_scopes *scopes, const void *key, size_t length)
{
    struct told *told = malloc(sizeof(*told) + length + 1);
    if (!told)
        return NULL;
    struct told **slot = &scopes->names[bucket(key)];
    told->key = key;
    told->next = *slot;
    *slot = told;
    return told->name;
}

const char *ma_scopes_qualify(struct ma_scopes *scopes, const void *die_, const char *name)
{
    Dwarf_Die die = *(const Dwarf_Die *)die_;
    ma_scopes_find_declaration(&die);
    const char *known = find_told(scopes, die.addr);
    if (known)
        return known;
    struct scoped_unit *unit = unit_get(scopes, &die);
    const char *parts[MAX_SCOPES];
    Dwarf_Die around[MAX_DEPTH];
    size_t n = 0, length = strlen(name);
    size_t depth = unit ? find_scopes(&unit->root, dwarf_dieoffset(&die), around) : 0;
    while (n < MAX_SCOPES && n < depth) {
        parts[n] = scope_name(&around[depth - 1 - n], n ? parts[n - 1] : name);
        length += strlen(parts[n++]) + 2;
    }
    if (length > MAX_NAME) {
        n = 0;
        length = strlen(name);
    }
    char *whole = keep(scopes, die.addr, length), *at = whole;
    if (!whole)
        return name;
    while (n > 0) {
        at = stpcpy(at, parts[--n]);
        at = stpcpy(at, "::");
    }
    strcpy(at, name);
    return whole;
}

const char *ma_scopes_path(struct ma_scopes *scopes, const char *directory, const char *file)
{
    const char *known = find_told(scopes, file);
    if (known)
        return known;
    size_t length = strlen(directory);
    char *whole = keep(scopes, file, length + 1 + strlen(file));
    if (!whole)
        return file;
    memcpy(whole, directory, length);
    whole[length] = '/';
    strcpy(whole + length + 1, file);
    return whole;
}
