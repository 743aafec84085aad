/* SPDX-License-Identifier: MIT
 *
 * The symboliser's front: a table of objects, each opened once and as far as
 * questions need, and in each a table of answers. Saved answers come first,
 * then DWARF, then function symbols. Strings come from the open objects, which
 * stay open, from saved answers, or, demangled, from a table of names.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ma_demangle.h"
#include "ma_map.h"
#include "ma_record.h"
#include "ma_symbols_impl.h"

enum {
    MAX_FRAMES = 256,       /* inlined into one function */
    MA_ANSWERS_VERSION = 2, /* to be raised when the same files give other answers */
};

struct object {
    struct object *next; /* with the same hash */
    struct ma_object key;
    enum ma_object_state state;
    bool opened, unverified, dwarf_tried, table_tried;
    struct ma_elf main, debug, packed;
    struct ma_dwarf *dwarf;
    struct ma_symtab *table;
    struct ma_perfmap *map;
    char *map_path;
    char *package;           /* the .dwp beside it, once asked for; or NULL */
    const char *loaded_file; /* of loaded answers: where they came from */
    bool loaded;
    struct ma_answers answers;
    char *identity;  /* in the cache; NULL: not kept */
    void *cached;    /* the strings of answers from there */
    size_t n_cached; /* answers that are there */
};

struct ma_symbols {
    struct ma_symbol_options options;
    struct ma_symbol_places places;             /* those of options */
    char *sysroot, *perf_map_dir, **debug_dirs; /* what the options point to */
    struct object **objects;
    size_t n_objects, object_room;
    struct ma_map object_of; /* hash to the latest with it */
    struct ma_names *names;
    struct ma_cache *cache; /* NULL: none */
    void *loaded;           /* the strings of loaded answers */
};

static const struct ma_symbol unknown = {0};

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
    if (options->perf_map_dir && !(symbols->perf_map_dir = strdup(options->perf_map_dir)))
        goto fail;
    symbols->options.perf_map_dir = symbols->perf_map_dir;
    symbols->places.options = &symbols->options;
    symbols->places.fetcher = options->fetch ? ma_fetch_new() : NULL;
    symbols->cache = options->cache ? ma_cache_new() : NULL;
    symbols->names = ma_names_new(options->full_names);
    if (!symbols->names)
        goto fail;
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

static void object_free(struct ma_symbols *symbols, struct object *object)
{
    if (object->identity && object->answers.n > object->n_cached && object->dwarf &&
        ma_dwarf_is_whole(object->dwarf))
        ma_cache_write(symbols->cache, &object->key, object->identity, &object->answers);
    free(object->identity);
    ma_dwarf_close(object->dwarf);
    ma_symtab_free(object->table);
    ma_elf_close(&object->main);
    ma_elf_close(&object->debug);
    ma_elf_close(&object->packed);
    ma_perfmap_close(object->map);
    ma_answers_free(&object->answers);
    free(object->cached);
    free(object->map_path);
    free(object->package);
    free((struct ma_segment *)object->key.segments);
    free((char *)object->key.path);
    free((unsigned char *)object->key.build_id);
    free(object);
}

void ma_symbols_close(struct ma_symbols *symbols)
{
    if (!symbols)
        return;
    for (size_t i = 0; i < symbols->n_objects; i++)
        object_free(symbols, symbols->objects[i]);
    free(symbols->objects);
    ma_map_free(&symbols->object_of);
    ma_names_free(symbols->names);
    ma_cache_free(symbols->cache);
    ma_fetch_free(symbols->places.fetcher);
    free(symbols->loaded);
    for (char **dir = symbols->debug_dirs; dir && *dir; dir++)
        free(*dir);
    free(symbols->debug_dirs);
    free(symbols->sysroot);
    free(symbols->perf_map_dir);
    free(symbols);
}

static bool same_object(const struct ma_object *a, const struct ma_object *b)
{
    return a->vdso == b->vdso && a->generated == b->generated && a->process == b->process &&
           a->build_id_size == b->build_id_size && !a->path == !b->path &&
           (!a->path || !strcmp(a->path, b->path)) &&
           (!a->build_id_size || !memcmp(a->build_id, b->build_id, a->build_id_size));
}

static bool copy_key(struct ma_object *to, const struct ma_object *key)
{
    *to = *key;
    to->path = key->path ? strdup(key->path) : NULL;
    to->build_id = NULL;
    to->segments = NULL;
    to->directory = NULL;
    bool copied = to->path || !key->path;
    if (key->build_id_size) {
        unsigned char *id = malloc(key->build_id_size);
        to->build_id = id ? memcpy(id, key->build_id, key->build_id_size) : NULL;
        copied = copied && id;
    }
    if (key->n_segments) {
        size_t size = key->n_segments * sizeof(*key->segments);
        struct ma_segment *segments = malloc(size);
        to->segments = segments ? memcpy(segments, key->segments, size) : NULL;
        copied = copied && segments;
    }
    return copied;
}

/* Complete the key of an object from a bundle or the cache, if it was saved
 * without segments, by that of a caller. */
static void complete_key(struct ma_object *to, const struct ma_object *key)
{
    struct ma_object more;
    if (to->n_segments || !key->n_segments || !copy_key(&more, key))
        return;
    free((char *)to->path);
    free((unsigned char *)to->build_id);
    *to = more;
}

/* The object as known so far; a new one is not opened yet. NULL without memory. */
static struct object *object_get(struct ma_symbols *symbols, const struct ma_object *key)
{
    uint64_t hash = ma_hash_bytes(ma_map_key, key->build_id, key->build_id_size);
    if (key->path)
        hash = ma_hash_bytes(hash, key->path, strlen(key->path));
    hash = ma_hash_bytes(hash, &key->process, sizeof(key->process));
    uint32_t index = ma_map_get(&symbols->object_of, hash);
    struct object *first = index == MA_NONE ? NULL : symbols->objects[index];
    for (struct object *object = first; object; object = object->next)
        if (same_object(&object->key, key))
            return object;
    struct object *object = calloc(1, sizeof(*object));
    if (!object)
        return NULL;
    if (!copy_key(&object->key, key) || symbols->n_objects >= MA_NONE ||
        !MA_RESERVE(symbols->objects, symbols->n_objects, symbols->object_room) ||
        ma_map_set(&symbols->object_of, hash, (uint32_t)symbols->n_objects) < 0) {
        object_free(symbols, object);
        return NULL;
    }
    object->next = first;
    return symbols->objects[symbols->n_objects++] = object;
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

/* Takes the answers of earlier runs. They depend on the files that are open now, and on the part
 * of this program that finds them, which is told by MA_ANSWERS_VERSION. */
static void recall(struct ma_symbols *symbols, struct object *object)
{
    const struct ma_elf *a = &object->main, *b = &object->debug;
    if (!symbols->cache || !object->key.build_id_size)
        return;
    if (asprintf(&object->identity, "%d %s %llx:%llx:%llx:%llx %s %llx:%llx:%llx:%llx",
                 MA_ANSWERS_VERSION, a->path ? a->path : "", (unsigned long long)a->device,
                 (unsigned long long)a->inode, (unsigned long long)a->size,
                 (unsigned long long)a->modified, b->path ? b->path : "",
                 (unsigned long long)b->device, (unsigned long long)b->inode,
                 (unsigned long long)b->size, (unsigned long long)b->modified) < 0) {
        object->identity = NULL;
        return;
    }
    object->cached =
        ma_cache_read(symbols->cache, &object->key, object->identity, &object->answers);
    object->n_cached = object->answers.n;
}

static void files_open(struct ma_symbols *symbols, struct object *object)
{
    object->state = ma_elf_open_object(&symbols->places, &object->key, &object->main);
    /* Without the object its debug file alone, which its build-id names, serves as well. */
    if (!has_dwarf(&object->main))
        ma_elf_open_debug(&symbols->places, &object->key, &object->main, &object->debug);
    if (!object->main.elf && !object->debug.elf)
        return;
    if (object->main.elf && !object->debug.elf)
        ma_elf_open_packed(&object->main, &object->packed);
    object->unverified = !object->key.build_id_size;
    if (dwarf_file(object)) {
        object->state = MA_OBJECT_DEBUG;
        recall(symbols, object);
    } else {
        const struct ma_symtab *table = table_get(object);
        object->state = !table                   ? MA_OBJECT_NO_MEMORY
                        : ma_symtab_empty(table) ? MA_OBJECT_NO_SYMBOLS
                                                 : MA_OBJECT_SYMBOLS;
    }
}

/* True if the user named a place where there may be more than was saved. */
static bool may_know_more(const struct ma_symbol_options *options, const struct object *object)
{
    if (object->key.generated)
        return options->perf_map_dir && object->state != MA_OBJECT_PERF_MAP;
    return (options->sysroot || options->n_debug_dirs) && object->state != MA_OBJECT_DEBUG;
}

static void object_open(struct ma_symbols *symbols, struct object *object,
                        const struct ma_object *key)
{
    if (object->opened)
        return;
    object->opened = true;
    if (object->key.vdso) {
        object->state = MA_OBJECT_VDSO;
        return;
    }
    if (object->loaded && !may_know_more(&symbols->options, object))
        return;
    enum ma_object_state saved = object->state;
    bool was_unverified = object->unverified;
    struct ma_answers loaded = object->answers;
    object->answers = (struct ma_answers){0};
    complete_key(&object->key, key);
    if (object->key.generated)
        object->map = ma_perfmap_open(&symbols->options, key, &object->state, &object->map_path);
    else
        files_open(symbols, object);
    if (!object->loaded) {
        assert(!loaded.n);
        return;
    }
    bool better = object->key.generated ? object->map != NULL : object->state < saved;
    if (better) {
        ma_answers_free(&loaded);
        object->loaded = false;
    } else {
        ma_answers_free(&object->answers);
        object->answers = loaded;
        object->state = saved;
        object->unverified = was_unverified;
    }
}

static struct ma_dwarf *dwarf_get(struct ma_symbols *symbols, struct object *object)
{
    if (!object->dwarf_tried) {
        object->dwarf_tried = true;
        const struct ma_elf *file = dwarf_file(object);
        if (file)
            object->dwarf = ma_dwarf_open(&symbols->places, file);
    }
    return object->dwarf;
}

static size_t look_up(struct ma_symbols *symbols, struct object *object, uint64_t address,
                      struct ma_call calls[MAX_FRAMES])
{
    if (object->key.generated) {
        calls[0] = (struct ma_call){.name = ma_perfmap_find(object->map, address)};
        return 1;
    }
    struct ma_dwarf_frame frames[MAX_FRAMES];
    size_t n = 0;
    struct ma_dwarf *dwarf = dwarf_get(symbols, object);
    if (dwarf)
        n = ma_dwarf_find(dwarf, address, frames, MAX_FRAMES);
    if (!n) {
        frames[0] = (struct ma_dwarf_frame){0};
        n = 1;
    }
    struct ma_dwarf_frame *outermost = &frames[n - 1];
    if (!outermost->name || outermost->scoped) {
        const struct ma_symtab *table = table_get(object);
        const char *name = table ? ma_symtab_find(table, address) : NULL;
        if (name && (!outermost->name || ma_is_mangled(name)))
            outermost->name = name;
    }
    for (size_t i = 0; i < n; i++)
        calls[i] = (struct ma_call){frames[i].name, frames[i].file, frames[i].line};
    return n;
}

/* Makes what is shown of an answer, once. False without memory. */
static bool resolve_answer(struct ma_symbols *symbols, struct ma_answer *answer)
{
    size_t first = symbols->options.inlines ? 0 : answer->n - 1, n = answer->n - first;
    if (answer->told)
        return true;
    answer->told = calloc(n, sizeof(*answer->told));
    if (!answer->told)
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct ma_call *call = &answer->calls[first + i];
        const char *name =
            symbols->options.demangle ? ma_names_shown(symbols->names, call->name) : call->name;
        answer->told[i] = (struct ma_symbol){name, call->name, call->file, call->line, i + 1 < n};
    }
    answer->n_resolved = n;
    return true;
}

size_t ma_symbols_resolve(struct ma_symbols *symbols, const struct ma_object *key, uint64_t vaddr,
                          bool exact, const struct ma_symbol **out)
{
    *out = &unknown;
    struct object *object = object_get(symbols, key);
    if (!object)
        return 1;
    object_open(symbols, object, key);
    uint64_t address = exact ? vaddr : vaddr - 1;
    struct ma_answer *answer = ma_answers_find(&object->answers, address);
    if (!answer || !answer->calls) {
        struct ma_call calls[MAX_FRAMES];
        if (object->loaded || (!object->main.elf && !object->debug.elf && !object->map))
            return 1;
        size_t n = look_up(symbols, object, address, calls);
        assert(n > 0);
        answer = ma_answers_add(&object->answers, address, calls, n);
        if (!answer)
            return 1;
    }
    if (!resolve_answer(symbols, answer))
        return 1;
    *out = answer->told;
    return answer->n_resolved;
}

enum ma_object_state ma_symbols_object_state(struct ma_symbols *symbols,
                                             const struct ma_object *key)
{
    struct object *object = object_get(symbols, key);
    if (!object)
        return MA_OBJECT_NO_MEMORY;
    object_open(symbols, object, key);
    return object->state;
}

bool ma_symbols_object_unverified(struct ma_symbols *symbols, const struct ma_object *key)
{
    struct object *object = object_get(symbols, key);
    if (!object)
        return false;
    object_open(symbols, object, key);
    return object->unverified;
}

bool ma_symbols_object_partial(struct ma_symbols *symbols, const struct ma_object *key)
{
    const struct object *object = object_get(symbols, key);
    return object && object->dwarf && !ma_dwarf_is_whole(object->dwarf);
}

const char *ma_symbols_object_package(struct ma_symbols *symbols, const struct ma_object *key)
{
    struct object *object = object_get(symbols, key);
    if (!object || object->package || !object->dwarf || ma_dwarf_is_whole(object->dwarf))
        return object ? object->package : NULL;
    const char *files[] = {object->main.path, object->debug.path};
    for (size_t i = 0; i < 2 && !object->package; i++) {
        struct stat status;
        char *path;
        if (!files[i] || asprintf(&path, "%s.dwp", files[i]) < 0)
            continue;
        if (stat(path, &status) == 0 && S_ISREG(status.st_mode))
            object->package = path;
        else
            free(path);
    }
    return object->package;
}

const char *ma_symbols_object_file(struct ma_symbols *symbols, const struct ma_object *key)
{
    struct object *object = object_get(symbols, key);
    if (!object)
        return NULL;
    object_open(symbols, object, key);
    return object->loaded      ? object->loaded_file
           : object->main.path ? object->main.path
           : object->map_path  ? object->map_path
                               : object->debug.path;
}

Elf *ma_symbols_object_elf(struct ma_symbols *symbols, const struct ma_object *key)
{
    struct object *object = object_get(symbols, key);
    if (!object)
        return NULL;
    object_open(symbols, object, key);
    /* Saved answers stand for the file, which was not looked for then. */
    if (object->loaded && !object->main.path && !object->key.vdso && !object->key.generated) {
        complete_key(&object->key, key);
        ma_elf_open_object(&symbols->places, &object->key, &object->main);
    }
    return object->main.elf ? object->main.elf : object->debug.elf;
}

int ma_symbols_save(struct ma_symbols *symbols, void **data, size_t *size)
{
    struct ma_pack *pack = ma_pack_new();
    if (!pack)
        return -ENOMEM;
    for (size_t i = 0; i < symbols->n_objects; i++) {
        struct object *object = symbols->objects[i];
        if (!object->opened)
            continue;
        ma_pack_add(pack, &(struct ma_packed){
                              .key = object->key,
                              .state = object->state,
                              .unverified = object->unverified,
                              .file = ma_symbols_object_file(symbols, &object->key),
                              .answers = &object->answers,
                          });
    }
    int result = ma_pack_finish(pack, data, size);
    ma_pack_free(pack);
    return result;
}

static int load_object(void *symbols, struct ma_packed *packed)
{
    struct object *object = object_get(symbols, &packed->key);
    if (!object)
        return -ENOMEM;
    if (object->loaded)
        return 0;
    object->loaded = true;
    object->state = packed->state;
    object->unverified = packed->unverified;
    object->loaded_file = packed->file;
    object->answers = *packed->answers;
    *packed->answers = (struct ma_answers){0};
    return 0;
}

int ma_symbols_load(struct ma_symbols *symbols, const void *data, size_t size)
{
    assert(!symbols->loaded);
    return ma_unpack(data, size, load_object, symbols, &symbols->loaded);
}

const char *ma_symbols_fetch_problem(const struct ma_symbols *symbols)
{
    return ma_fetch_problem(symbols->places.fetcher);
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
        [MA_OBJECT_MISMATCH] = "is another build and was not used",
        [MA_OBJECT_NO_MEMORY] = "could not be opened for lack of memory",
        [MA_OBJECT_PERF_MAP] = "is generated code and not in its perf map",
        [MA_OBJECT_GENERATED] = "is generated code, and there is no perf map of it",
        [MA_OBJECT_MAP_REFUSED] = ("is generated code; its perf map belongs to somebody else, is "
                                   "too old, or is no regular file, and was not used"),
    };
    return state < MA_OBJECT_STATES ? texts[state] : "is in an unknown state";
}
