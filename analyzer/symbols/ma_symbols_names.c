/* SPDX-License-Identifier: MIT
 *
 * Names as they are shown: each raw name is demangled or shortened once and
 * kept until the end.
 */
#include <stdlib.h>
#include <string.h>

#include "ma_demangle.h"
#include "ma_symbols_impl.h"

struct name {
    struct name *next;
    uint64_t hash;
    char *shown; /* NULL: as it is */
    char raw[];
};

struct ma_names {
    struct name **at;
    size_t n, room;
    bool full;
};

uint64_t ma_hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

struct ma_names *ma_names_new(bool full)
{
    struct ma_names *names = calloc(1, sizeof(*names));
    if (names)
        names->full = full;
    return names;
}

void ma_names_free(struct ma_names *names)
{
    if (!names)
        return;
    for (size_t i = 0; i < names->room; i++)
        for (struct name *name = names->at[i], *next; name; name = next) {
            next = name->next;
            free(name->shown);
            free(name);
        }
    free(names->at);
    free(names);
}

static void grow_names(struct ma_names *names)
{
    size_t room = names->room ? 4 * names->room : 1024;
    struct name **at = calloc(room, sizeof(struct name *));
    if (!at)
        return; /* long chains are slow, not wrong */
    for (size_t i = 0; i < names->room; i++)
        for (struct name *name = names->at[i], *next; name; name = next) {
            next = name->next;
            name->next = at[name->hash % room];
            at[name->hash % room] = name;
        }
    free(names->at);
    names->at = at;
    names->room = room;
}

const char *ma_names_shown(struct ma_names *names, const char *raw)
{
    if (!raw || !*raw)
        return NULL;
    /* Names that are not mangled have the form already; only long C++ names gain by
     * another. */
    if (raw[0] != '_' && raw[0] != '$' && (names->full || !strpbrk(raw, ":<{")))
        return raw;
    size_t length = strlen(raw);
    uint64_t hash = ma_hash_bytes(0xcbf29ce484222325u, raw, length);
    if (names->n >= names->room)
        grow_names(names);
    if (!names->room)
        return raw;
    struct name **bucket = &names->at[hash % names->room];
    for (struct name *name = *bucket; name; name = name->next)
        if (name->hash == hash && !strcmp(name->raw, raw))
            return name->shown ? name->shown : raw;
    struct name *name = malloc(sizeof(*name) + length + 1);
    if (!name)
        return raw;
    memcpy(name->raw, raw, length + 1);
    name->hash = hash;
    name->shown = ma_demangle(raw, names->full);
    if (!name->shown && !names->full) {
        /* A name from DWARF that is no linkage name is only too long. */
        name->shown = strdup(raw);
        if (name->shown)
            ma_demangle_shorten(name->shown);
    }
    name->next = *bucket;
    *bucket = name;
    names->n++;
    return name->shown ? name->shown : raw;
}
