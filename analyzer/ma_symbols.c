/* SPDX-License-Identifier: MIT
 *
 * The symboliser's front: a table of objects, each opened once and as far as
 * questions need, and in each a table of answers. DWARF answers first, then
 * function symbols. Strings come from the open objects, which stay open, or,
 * demangled, from a table of names, each demangled once.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ma_demangle.h"
#include "ma_symbols_impl.h"

enum { MAX_FRAMES = 256 }; /* inlined into one function */

struct answer {
    uint64_t address;
    struct ma_symbol *symbols; /* NULL: the slot is empty */
    size_t n;
};

struct object {
    struct object *next; /* of the same bucket */
    struct ma_object key;
    uint64_t hash;
    enum ma_object_state state;
    bool opened, unverified, dwarf_tried, table_tried;
    struct ma_elf main, debug, packed;
    struct ma_dwarf *dwarf;
    struct ma_symtab *table;
    struct answer *answers;
    size_t n_answers, room_answers; /* the room is 0 or a power of two */
};

struct name {
    struct name *next;
    uint64_t hash;
    char *shown; /* NULL: as it is */
    char raw[];
};

enum { OBJECT_BUCKETS = 256 };

struct ma_symbols {
    struct ma_symbol_options options;
    char *sysroot, **debug_dirs; /* what the options point to */
    struct object *objects[OBJECT_BUCKETS];
    struct name **names;
    size_t n_names, room_names;
};

static const struct ma_symbol unknown = {0};

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ at[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

struct ma_symbols *ma_symbols_open(const struct ma_symbol_options *options)
{
    struct ma_symbols *symbols = calloc(1, sizeof(*symbols));
    if (!symbols)
        return NULL;
    symbols->options = *options;
    if (options->sysroot && *options->sysroot) {
        symbols->sysroot = strdup(options->sysroot);
        if (!symbols->sysroot)
            goto fail;
    }
    symbols->debug_dirs = calloc(options->n_debug_dirs + 1, sizeof(char *));
    if (!symbols->debug_dirs)
        goto fail;
    for (size_t i = 0; i < options->n_debug_dirs; i++)
        if (!(symbols->debug_dirs[i] = strdup(options->debug_dirs[i])))
            goto fail;
    symbols->options.sysroot = symbols->sysroot;
    symbols->options.debug_dirs = (const char *const *)symbols->debug_dirs;
    return symbols;
fail:
    ma_symbols_close(symbols);
    return NULL;
}

static void object_free(struct object *object)
{
    ma_dwarf_close(object->dwarf);
    ma_symtab_free(object->table);
    ma_elf_close(&object->main);
    ma_elf_close(&object->debug);
    ma_elf_close(&object->packed);
    for (size_t i = 0; i < object->room_answers; i++)
        free(object->answers[i].symbols);
    free(object->answers);
    free((char *)object->key.path);
    free((unsigned char *)object->key.build_id);
    free(object);
}

void ma_symbols_close(struct ma_symbols *symbols)
{
    if (!symbols)
        return;
    for (size_t i = 0; i < OBJECT_BUCKETS; i++)
        for (struct object *object = symbols->objects[i], *next; object; object = next) {
            next = object->next;
            object_free(object);
        }
    for (size_t i = 0; i < symbols->room_names; i++)
        for (struct name *name = symbols->names[i], *next; name; name = next) {
            next = name->next;
            free(name->shown);
            free(name);
        }
    free(symbols->names);
    for (char **dir = symbols->debug_dirs; dir && *dir; dir++)
        free(*dir);
    free(symbols->debug_dirs);
    free(symbols->sysroot);
    free(symbols);
}

static bool same_object(const struct ma_object *a, const struct ma_object *b)
{
    return a->vdso == b->vdso && a->build_id_size == b->build_id_size && !a->path == !b->path &&
           (!a->path || !strcmp(a->path, b->path)) &&
           (!a->build_id_size || !memcmp(a->build_id, b->build_id, a->build_id_size));
}

/* The object as known so far; a new one is not opened yet. NULL without memory. */
static struct object *object_get(struct ma_symbols *symbols, const struct ma_object *key)
{
    uint64_t hash = hash_bytes(0xcbf29ce484222325u, key->build_id, key->build_id_size);
    if (key->path)
        hash = hash_bytes(hash, key->path, strlen(key->path));
    struct object **bucket = &symbols->objects[hash % OBJECT_BUCKETS];
    for (struct object *object = *bucket; object; object = object->next)
        if (object->hash == hash && same_object(&object->key, key))
            return object;
    struct object *object = calloc(1, sizeof(*object));
    if (!object)
        return NULL;
    object->hash = hash;
    object->key.vdso = key->vdso;
    object->key.build_id_size = key->build_id_size;
    if ((key->path && !(object->key.path = strdup(key->path))) ||
        (key->build_id_size && !(object->key.build_id = malloc(key->build_id_size)))) {
        object_free(object);
        return NULL;
    }
    if (key->build_id_size)
        memcpy((unsigned char *)object->key.build_id, key->build_id, key->build_id_size);
    object->next = *bucket;
    *bucket = object;
    return object;
}

static bool has_dwarf(const struct ma_elf *file)
{
    return file->elf && (ma_elf_has_section(file->elf, ".debug_info") ||
                         ma_elf_has_section(file->elf, ".zdebug_info"));
}

/* The file whose DWARF counts, NULL if there is none. */
static const struct ma_elf *dwarf_file(const struct object *object)
{
    return has_dwarf(&object->main)    ? &object->main
           : has_dwarf(&object->debug) ? &object->debug
                                       : NULL;
}

static const struct ma_symtab *table_get(struct object *object)
{
    if (object->table_tried)
        return object->table;
    object->table_tried = true;
    struct ma_symtab *table = ma_symtab_new();
    if (!table)
        return NULL;
    const struct ma_elf *files[] = {&object->main, &object->debug, &object->packed};
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        if (files[i]->elf && ma_symtab_add(table, files[i]->elf) != 0)
            goto fail;
    if (ma_symtab_finish(table) != 0)
        goto fail;
    return object->table = table;
fail:
    ma_symtab_free(table);
    return NULL;
}

static void object_open(struct ma_symbols *symbols, struct object *object)
{
    if (object->opened)
        return;
    object->opened = true;
    if (object->key.vdso) {
        object->state = MA_OBJECT_VDSO;
        return;
    }
    object->state = ma_elf_open_object(&symbols->options, &object->key, &object->main);
    /* Without the object its debug file alone, which its build-id names, serves as well. */
    if (!has_dwarf(&object->main))
        ma_elf_open_debug(&symbols->options, &object->key, &object->main, &object->debug);
    if (!object->main.elf && !object->debug.elf)
        return;
    if (object->main.elf && !object->debug.elf)
        ma_elf_open_packed(&object->main, &object->packed);
    object->unverified = !object->key.build_id_size;
    if (dwarf_file(object)) {
        object->state = MA_OBJECT_DEBUG;
    } else {
        const struct ma_symtab *table = table_get(object);
        object->state = !table                   ? MA_OBJECT_NO_MEMORY
                        : ma_symtab_empty(table) ? MA_OBJECT_NO_SYMBOLS
                                                 : MA_OBJECT_SYMBOLS;
    }
}

static struct ma_dwarf *dwarf_get(struct ma_symbols *symbols, struct object *object)
{
    if (!object->dwarf_tried) {
        object->dwarf_tried = true;
        const struct ma_elf *file = dwarf_file(object);
        if (file)
            object->dwarf = ma_dwarf_open(&symbols->options, file);
    }
    return object->dwarf;
}

static void names_grow(struct ma_symbols *symbols)
{
    size_t room = symbols->room_names ? 4 * symbols->room_names : 1024;
    struct name **names = calloc(room, sizeof(*names));
    if (!names)
        return; /* long chains are slow, not wrong */
    for (size_t i = 0; i < symbols->room_names; i++)
        for (struct name *name = symbols->names[i], *next; name; name = next) {
            next = name->next;
            name->next = names[name->hash % room];
            names[name->hash % room] = name;
        }
    free(symbols->names);
    symbols->names = names;
    symbols->room_names = room;
}

/* The name to show for a symbol: demangled, or itself. */
static const char *name_shown(struct ma_symbols *symbols, const char *raw)
{
    bool full = symbols->options.full_names;
    if (!raw || !*raw)
        return NULL;
    if (!symbols->options.demangle || (raw[0] != '_' && (full || !strstr(raw, "std::"))))
        return raw;
    size_t length = strlen(raw);
    uint64_t hash = hash_bytes(0xcbf29ce484222325u, raw, length);
    if (symbols->n_names >= symbols->room_names)
        names_grow(symbols);
    if (!symbols->room_names)
        return raw;
    struct name **bucket = &symbols->names[hash % symbols->room_names];
    for (struct name *name = *bucket; name; name = name->next)
        if (name->hash == hash && !strcmp(name->raw, raw))
            return name->shown ? name->shown : raw;
    struct name *name = malloc(sizeof(*name) + length + 1);
    if (!name)
        return raw;
    memcpy(name->raw, raw, length + 1);
    name->hash = hash;
    name->shown = ma_demangle(raw, full);
    if (!name->shown && !full) {
        /* A name from DWARF that is no linkage name is only too long. */
        name->shown = strdup(raw);
        if (name->shown)
            ma_demangle_shorten(name->shown);
    }
    name->next = *bucket;
    *bucket = name;
    symbols->n_names++;
    return name->shown ? name->shown : raw;
}

/* The slot of an address, empty or its own; NULL without memory. */
static struct answer *answer_slot(struct object *object, uint64_t address)
{
    if (object->n_answers * 2 >= object->room_answers) {
        size_t room = object->room_answers ? 2 * object->room_answers : 64;
        struct answer *answers = calloc(room, sizeof(*answers));
        if (!answers)
            return NULL;
        struct answer *old = object->answers;
        size_t n = object->room_answers;
        object->answers = answers;
        object->room_answers = room;
        object->n_answers = 0;
        for (size_t i = 0; i < n; i++)
            if (old[i].symbols) {
                *answer_slot(object, old[i].address) = old[i];
                object->n_answers++;
            }
        free(old);
    }
    size_t mask = object->room_answers - 1;
    size_t i = (size_t)(address * 0x9e3779b97f4a7c15u >> 32) & mask;
    while (object->answers[i].symbols && object->answers[i].address != address)
        i = (i + 1) & mask;
    return &object->answers[i];
}

static size_t look_up(struct ma_symbols *symbols, struct object *object, uint64_t address,
                      struct ma_dwarf_frame frames[MAX_FRAMES])
{
    size_t n = 0;
    struct ma_dwarf *dwarf = dwarf_get(symbols, object);
    if (dwarf)
        n = ma_dwarf_find(dwarf, address, frames, MAX_FRAMES);
    if (!n) {
        frames[0] = (struct ma_dwarf_frame){0};
        n = 1;
    }
    if (!symbols->options.inlines) {
        frames[0] = frames[n - 1];
        n = 1;
    }
    struct ma_dwarf_frame *outermost = &frames[n - 1];
    if (!outermost->name || outermost->scoped) {
        const struct ma_symtab *table = table_get(object);
        const char *name = table ? ma_symtab_find(table, address) : NULL;
        if (name && (!outermost->name || name[0] == '_'))
            outermost->name = name;
    }
    return n;
}

size_t ma_symbols_resolve(struct ma_symbols *symbols, const struct ma_object *key, uint64_t vaddr,
                          bool exact, const struct ma_symbol **out)
{
    *out = &unknown;
    struct object *object = object_get(symbols, key);
    if (!object)
        return 1;
    object_open(symbols, object);
    if (!object->main.elf && !object->debug.elf)
        return 1;
    uint64_t address = exact ? vaddr : vaddr - 1;
    struct answer *answer = answer_slot(object, address);
    if (!answer)
        return 1;
    if (!answer->symbols) {
        struct ma_dwarf_frame frames[MAX_FRAMES];
        size_t n = look_up(symbols, object, address, frames);
        assert(n > 0);
        struct ma_symbol *told = calloc(n, sizeof(*told));
        if (!told)
            return 1;
        for (size_t i = 0; i < n; i++)
            told[i] = (struct ma_symbol){
                .function = name_shown(symbols, frames[i].name),
                .file = frames[i].file,
                .line = frames[i].line,
                .inlined = i + 1 < n,
            };
        *answer = (struct answer){.address = address, .symbols = told, .n = n};
        object->n_answers++;
    }
    *out = answer->symbols;
    return answer->n;
}

enum ma_object_state ma_symbols_object_state(struct ma_symbols *symbols,
                                             const struct ma_object *key)
{
    struct object *object = object_get(symbols, key);
    if (!object)
        return MA_OBJECT_NO_MEMORY;
    object_open(symbols, object);
    return object->state;
}

bool ma_symbols_object_unverified(struct ma_symbols *symbols, const struct ma_object *key)
{
    struct object *object = object_get(symbols, key);
    if (!object)
        return false;
    object_open(symbols, object);
    return object->unverified;
}

const char *ma_symbols_object_file(struct ma_symbols *symbols, const struct ma_object *key)
{
    struct object *object = object_get(symbols, key);
    if (!object)
        return NULL;
    object_open(symbols, object);
    return object->main.path ? object->main.path : object->debug.path;
}

const char *ma_object_state_text(enum ma_object_state state)
{
    static const char *const texts[MA_OBJECT_STATES] = {
        [MA_OBJECT_DEBUG] = "has functions, files and lines",
        [MA_OBJECT_SYMBOLS] = "has function names but no debug information",
        [MA_OBJECT_NO_SYMBOLS] = "has neither function names nor debug information",
        [MA_OBJECT_VDSO] = "is the kernel's and has no file",
        [MA_OBJECT_NOT_FOUND] = "was not found",
        [MA_OBJECT_NOT_REGULAR] = "is no regular file and was not opened",
        [MA_OBJECT_UNREADABLE] = "may not be read",
        [MA_OBJECT_NOT_ELF] = "is not an ELF object",
        [MA_OBJECT_MISMATCH] = "is another build (its build-id differs) and was not used",
        [MA_OBJECT_NO_MEMORY] = "could not be opened for lack of memory",
    };
    return state < MA_OBJECT_STATES ? texts[state] : "is in an unknown state";
}
