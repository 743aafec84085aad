/* SPDX-License-Identifier: MIT
 *
 * The inside of ma_symbols.h, for the ma_symbols_*.c files alone: address
 * ranges with a search (ranges), ELF files found and checked (file, fetch),
 * function symbols (table), DWARF (dwarf, scope), generated code (perfmap), the
 * answers of an object (answers), names as they are shown (names), answers as
 * bytes (pack) and on disk (cache). Each owns what it opens until its close.
 */
#ifndef MA_SYMBOLS_IMPL_H
#define MA_SYMBOLS_IMPL_H

#include <libelf.h>

#include "ma_symbols.h"

/* ---- ranges: half-open address ranges that may nest or overlap ---- */

struct ma_range {
    uint64_t low, high;
    uint64_t reach; /* largest high of this and all before: ends the search */
    size_t what;    /* the caller's */
};

struct ma_ranges {
    struct ma_range *at;
    size_t n, room;
};

/* Returns 0 or -ENOMEM. An empty range is ignored. */
int ma_ranges_add(struct ma_ranges *ranges, uint64_t low, uint64_t high, size_t what);

/* Once after the last add, before the first find. */
void ma_ranges_sort(struct ma_ranges *ranges);

/*
 * The ranges that hold `address`, nearest start first (of equal starts the
 * shorter): start with *cursor = SIZE_MAX and go on until NULL. Gives up after
 * a bounded number of steps.
 */
const struct ma_range *ma_ranges_find(const struct ma_ranges *ranges, uint64_t address,
                                      size_t *cursor);
void ma_ranges_free(struct ma_ranges *ranges);

/* ---- file: ELF objects, found and held against a build-id ---- */

/* The places where files are looked for, and who fetches them from servers (NULL:
 * nobody). */
struct ma_symbol_places {
    const struct ma_symbol_options *options;
    struct ma_fetch *fetcher;
};

struct ma_elf {
    Elf *elf;                               /* NULL if not open */
    char *path;                             /* as opened, the sysroot included */
    char *memory;                           /* what an Elf made from memory lies in */
    uint64_t device, inode, size, modified; /* of the file, as stat(2); the last in ns */
};

/*
 * The object itself. On a failure the state says why and out->path, if set,
 * is the file that was turned down (to release with ma_elf_close all the same).
 */
enum ma_object_state ma_elf_open_object(const struct ma_symbol_places *places,
                                        const struct ma_object *object, struct ma_elf *out);

/*
 * Its separate debug file, by build-id, then, with `main` open, by
 * .gnu_debuglink, whose CRC is checked where no build-id vouches. True if
 * found.
 */
bool ma_elf_open_debug(const struct ma_symbol_places *places, const struct ma_object *object,
                       const struct ma_elf *main, struct ma_elf *out);

/* The file that `holder`'s .gnu_debugaltlink (dwz) names by `name` and build-id. */
bool ma_elf_open_alternate(const struct ma_symbol_places *places, const struct ma_elf *holder,
                           const char *name, const unsigned char *id, size_t id_size,
                           struct ma_elf *out);

/* The symbol tables that .gnu_debugdata packs, if this build can unpack them. */
bool ma_elf_open_packed(const struct ma_elf *main, struct ma_elf *out);

/* False if the sections say that they unpack to more than is accepted. */
bool ma_elf_is_bounded(Elf *elf);

/* A copy with plain sections of a file that has some compressed with zstd; false if it has none. */
bool ma_elf_inflate(const struct ma_elf *file, struct ma_elf *out);

/* True if a section of that name with contents is there. */
bool ma_elf_has_section(Elf *elf, const char *name);
void ma_elf_close(struct ma_elf *file);

/* ---- fetch: debug files from debuginfod servers ---- */

struct ma_fetch;

/* NULL if DEBUGINFOD_URLS names no server, this build knows none, or memory is short. */
struct ma_fetch *ma_fetch_new(void);

/* The file name (to free) of the debug file with this build-id; NULL if nobody has it, or in
 * time. `fetch` may be NULL. */
char *ma_fetch_debug(struct ma_fetch *fetch, const unsigned char *id, size_t size);

/* The reason why servers are asked no more, NULL if they are. Lives as long as `fetch`. */
const char *ma_fetch_problem(const struct ma_fetch *fetch);
void ma_fetch_free(struct ma_fetch *fetch);

/* ---- table: function symbols ---- */

struct ma_symtab;

/* An empty table, or NULL if memory is short. */
struct ma_symtab *ma_symtab_new(void);

/* Adds the function symbols of .symtab and .dynsym; strings stay in `elf`. -ENOMEM or 0. */
int ma_symtab_add(struct ma_symtab *table, Elf *elf);

/* Once after the last add. -ENOMEM or 0. */
int ma_symtab_finish(struct ma_symtab *table);
bool ma_symtab_empty(const struct ma_symtab *table);

/* The best name of the function at `address`, NULL if none covers it. */
const char *ma_symtab_find(const struct ma_symtab *table, uint64_t address);
void ma_symtab_free(struct ma_symtab *table);

/* ---- dwarf: functions, inlined calls and lines ---- */

struct ma_dwarf;

struct ma_dwarf_frame {
    const char *name; /* the linkage name, else the source's with its scopes; NULL if unknown */
    bool scoped;      /* the latter, in a language with scopes: a mangled symbol tells more */
    const char *file;
    unsigned line;
};

/*
 * Reads `debug`, with the dwz file it needs, if any, found at `places`.
 * NULL if there is no DWARF in it or memory is short. `debug` must outlive it.
 */
struct ma_dwarf *ma_dwarf_open(const struct ma_symbol_places *places, const struct ma_elf *debug);

/*
 * The calls active at `address`, innermost first, at most `room` (> 0) and
 * always with the outermost one. 0 if no unit covers the address. A single
 * frame without a name but with a line is possible. Strings live until
 * ma_dwarf_close.
 */
size_t ma_dwarf_find(struct ma_dwarf *dwarf, uint64_t address, struct ma_dwarf_frame *frames,
                     size_t room);

/* True unless a part of the DWARF, in a file of its own (dwz, .dwo), was missed up to now. */
bool ma_dwarf_is_whole(const struct ma_dwarf *dwarf);
void ma_dwarf_close(struct ma_dwarf *dwarf);

/* ---- scope: names that DWARF tells in parts ---- */

struct ma_scopes;

/* NULL if memory is short. */
struct ma_scopes *ma_scopes_new(void);

/*
 * "a::b::name" for the function `die`, a Dwarf_Die, whose own name is `name`;
 * `name` itself without memory. Lives until ma_scopes_free.
 */
const char *ma_scopes_qualify(struct ma_scopes *scopes, const void *die, const char *name);

/* From a function, a Dwarf_Die, to where it was declared, which may be another unit. */
void ma_scopes_find_declaration(void *die);

/* "directory/file" for a file name of libdw's, whose address stands for both; as above. */
const char *ma_scopes_path(struct ma_scopes *scopes, const char *directory, const char *file);
void ma_scopes_free(struct ma_scopes *scopes);

/* ---- answers: what is known of the addresses of one object ---- */

struct ma_call {             /* as the compiler wrote it: nothing demangled */
    const char *name, *file; /* NULL if unknown; the adder's, until the end */
    unsigned line;
};

struct ma_answer {
    uint64_t address;
    const struct ma_call *calls; /* innermost first, n > 0; NULL: an empty slot */
    size_t n;
    struct ma_symbol *told; /* as it is shown, once asked */
    size_t n_resolved;
};

struct ma_answers {
    struct ma_answer *at;
    size_t n, room; /* the room is 0 or a power of two */
    struct ma_answer_block *blocks;
};

/* The slot of an address, empty or its own; NULL if nothing was ever added. */
struct ma_answer *ma_answers_find(const struct ma_answers *answers, uint64_t address);

/* Adds an answer (n > 0), copying the calls but not their strings; the present one stays.
 * NULL if memory is short. A slot is valid until the next add, calls until free. */
struct ma_answer *ma_answers_add(struct ma_answers *answers, uint64_t address,
                                 const struct ma_call *calls, size_t n);
void ma_answers_free(struct ma_answers *answers);

/* ---- names: as they are shown ---- */

struct ma_names;

/* NULL if memory is short. */
struct ma_names *ma_names_new(bool full);

/* The name to show for a raw one, which must live as long; NULL for NULL and "". */
const char *ma_names_shown(struct ma_names *names, const char *raw);
void ma_names_free(struct ma_names *names);

/* FNV-1a, continued from `hash`. */
uint64_t ma_hash_bytes(uint64_t hash, const void *bytes, size_t n);

/* ---- pack: objects with their answers as bytes (FORMAT.md section 11) ---- */

struct ma_pack;

struct ma_packed {
    struct ma_object key; /* path, build_id, vdso, generated, process; no more */
    enum ma_object_state state;
    bool unverified;
    const char *file; /* that the answers are from; NULL if there was none */
    struct ma_answers *answers;
};

/* NULL if memory is short. */
struct ma_pack *ma_pack_new(void);

/* Copies the object. Failures show in ma_pack_finish. */
void ma_pack_add(struct ma_pack *pack, const struct ma_packed *object);

/* The whole, compressed, to free. 0, -ENOMEM or -EFBIG. */
int ma_pack_finish(struct ma_pack *pack, void **data, size_t *size);
void ma_pack_free(struct ma_pack *pack);

/*
 * Takes one object that was read; may move *object->answers away (leaving it
 * zero). Strings live in the buffer of ma_unpack. 0 or -ENOMEM ends the reading.
 */
typedef int ma_unpack_object(void *context, struct ma_packed *object);

/*
 * Reads what ma_pack_finish made. 0; -EBADMSG if it is damaged, and what came
 * before was taken all the same; -ENOMEM. *buffer, if not NULL, holds the
 * strings: to free when nothing taken is used any more.
 */
int ma_unpack(const void *data, size_t size, ma_unpack_object *take, void *context, void **buffer);

/* ---- cache: answers kept from run to run ---- */

struct ma_cache;

/* NULL if there is no directory for it. */
struct ma_cache *ma_cache_new(void);

/*
 * The answers kept for an object with these files (`identity` tells all that they depend on), into
 * `answers`, which is empty. Returns their strings, to free after the answers; NULL if there are
 * none. `cache` may be NULL, here and below.
 */
void *ma_cache_read(struct ma_cache *cache, const struct ma_object *object, const char *identity,
                    struct ma_answers *answers);

/* Keeps them, if that can be done. */
void ma_cache_write(struct ma_cache *cache, const struct ma_object *object, const char *identity,
                    struct ma_answers *answers);
void ma_cache_free(struct ma_cache *cache);

/* ---- jitdump: functions of generated code, jit-PID.dump ---- */

/* Takes one function, loaded at `time` (ns of the monotonic clock, most often); the name lies
 * in the text that is read. False ends the reading. */
typedef bool ma_jitdump_take(void *context, uint64_t low, uint64_t size, uint64_t time,
                             const char *name);

/* Reads a whole file, at most 4 GiB. False if it is no jitdump of this machine's byte order. */
bool ma_jitdump_read(const char *text, size_t size, ma_jitdump_take *take, void *context);

/* ---- perfmap: functions of generated code, from perf-PID.map and jit-PID.dump ---- */

struct ma_perfmap;

/*
 * Reads the map and the dump of the object's process. NULL if there is none to be
 * trusted; *state says why, *path (to free, may be NULL) which file was looked at.
 */
struct ma_perfmap *ma_perfmap_open(const struct ma_symbol_options *options,
                                   const struct ma_object *object, enum ma_object_state *state,
                                   char **path);

/* The function at an address, NULL if none covers it; lives until close. */
const char *ma_perfmap_find(const struct ma_perfmap *map, uint64_t address);
void ma_perfmap_close(struct ma_perfmap *map);

#endif
