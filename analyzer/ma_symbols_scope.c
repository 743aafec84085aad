/* SPDX-License-Identifier: MIT
 *
 * Names that DWARF tells in parts. gcc gives an inlined C++ function no linkage
 * name, only "push_back": its scopes are to be found. DIEs have no parents, but
 * a DIE lies inside its scopes by offset, so the scopes of a unit are ranges of
 * offsets, collected once, when first needed. Relative file names get the
 * unit's directory. Each name is put together once and kept.
 */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include <elfutils/libdw.h>

#include "ma_symbols_impl.h"

enum {
    MAX_DEPTH = 128,
    MAX_SCOPES = 32,  /* in one name; the outermost are dropped */
    MAX_NAME = 16384, /* bytes; a longer one stays without its scopes */
    ROOM = 1024,
};

struct scoped_unit {
    struct scoped_unit *next;
    Dwarf_CU *cu;
    Dwarf_Die *scopes;
    size_t n, room;
    struct ma_ranges ranges; /* of DIE offsets; what: index in scopes */
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

void ma_scopes_free(struct ma_scopes *scopes)
{
    if (!scopes)
        return;
    for (size_t i = 0; i < ROOM; i++) {
        for (struct scoped_unit *unit = scopes->units[i], *next; unit; unit = next) {
            next = unit->next;
            free(unit->scopes);
            ma_ranges_free(&unit->ranges);
            free(unit);
        }
        for (struct told *name = scopes->names[i], *next; name; name = next) {
            next = name->next;
            free(name);
        }
    }
    free(scopes);
}

static bool add_scope(struct scoped_unit *unit, Dwarf_Die *die, Dwarf_Off end)
{
    if (unit->n == unit->room) {
        size_t room = unit->room ? 2 * unit->room : 64;
        Dwarf_Die *scopes = reallocarray(unit->scopes, room, sizeof(*scopes));
        if (!scopes)
            return false;
        unit->scopes = scopes;
        unit->room = room;
    }
    /* The scope itself is not inside itself. */
    if (ma_ranges_add(&unit->ranges, dwarf_dieoffset(die) + 1, end, unit->n) != 0)
        return false;
    unit->scopes[unit->n++] = *die;
    return true;
}

static void collect(struct scoped_unit *unit, Dwarf_Die *parent, Dwarf_Off end, unsigned depth)
{
    Dwarf_Die die, next;
    if (depth >= MAX_DEPTH || dwarf_child(parent, &die) != 0)
        return;
    for (bool more = true; more; die = next) {
        more = dwarf_siblingof(&die, &next) == 0;
        Dwarf_Off its_end = more ? dwarf_dieoffset(&next) : end;
        switch (dwarf_tag(&die)) {
        case DW_TAG_namespace:
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
        case DW_TAG_union_type:
        case DW_TAG_subprogram:
            if (!dwarf_haschildren(&die))
                break;
            if (!add_scope(unit, &die, its_end))
                return;
            collect(unit, &die, its_end, depth + 1);
            break;
        case DW_TAG_lexical_block: collect(unit, &die, its_end, depth + 1); break;
        default: break;
        }
    }
}

static const struct scoped_unit *unit_get(struct ma_scopes *scopes, Dwarf_Die *die)
{
    struct scoped_unit **slot = &scopes->units[bucket(die->cu)];
    for (struct scoped_unit *unit = *slot; unit; unit = unit->next)
        if (unit->cu == die->cu)
            return unit;
    struct scoped_unit *unit = calloc(1, sizeof(*unit));
    Dwarf_Die root;
    if (!unit)
        return NULL;
    unit->cu = die->cu;
    unit->next = *slot;
    *slot = unit;
    if (dwarf_diecu(die, &root, NULL, NULL)) {
        collect(unit, &root, UINT64_MAX, 0);
        ma_ranges_sort(&unit->ranges);
    }
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

/* The DIE that sits where the function was declared. */
static void find_declaration(Dwarf_Die *die)
{
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
    find_declaration(&die);
    const char *known = find_told(scopes, die.addr);
    if (known)
        return known;
    const struct scoped_unit *unit = unit_get(scopes, &die);
    const char *parts[MAX_SCOPES];
    size_t n = 0, length = strlen(name), cursor = SIZE_MAX;
    const struct ma_range *range;
    while (unit && n < MAX_SCOPES &&
           (range = ma_ranges_find(&unit->ranges, dwarf_dieoffset(&die), &cursor))) {
        Dwarf_Die scope = unit->scopes[range->what];
        parts[n] = scope_name(&scope, n ? parts[n - 1] : name);
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
