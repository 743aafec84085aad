/* SPDX-License-Identifier: MIT
 *
 * What the ma_symbols_*.c files share, and nobody else includes: address
 * ranges with a search (ranges), ELF files found and checked (file), function
 * symbols (table), DWARF (dwarf, scope). Each owns what it opens until its close.
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

struct ma_elf {
    Elf *elf;     /* NULL if not open */
    char *path;   /* as opened, the sysroot included */
    char *memory; /* what an Elf made from memory lies in */
};

/*
 * The object itself. On a failure the state says why and out->path, if set,
 * is the file that was turned down (to release with ma_elf_close all the same).
 */
enum ma_object_state ma_elf_open_object(const struct ma_symbol_options *options,
                                        const struct ma_object *object, struct ma_elf *out);

/*
 * Its separate debug file, by build-id, then, with `main` open, by
 * .gnu_debuglink, whose CRC is checked where no build-id vouches. True if
 * found.
 */
bool ma_elf_open_debug(const struct ma_symbol_options *options, const struct ma_object *object,
                       const struct ma_elf *main, struct ma_elf *out);

/* The file that `holder`'s .gnu_debugaltlink (dwz) names by `name` and build-id. */
bool ma_elf_open_alternate(const struct ma_symbol_options *options, const struct ma_elf *holder,
                           const char *name, const unsigned char *id, size_t id_size,
                           struct ma_elf *out);

/* The symbol tables that .gnu_debugdata packs, if this build can unpack them. */
bool ma_elf_open_packed(const struct ma_elf *main, struct ma_elf *out);

/* True if a section of that name with contents is there. */
bool ma_elf_has_section(Elf *elf, const char *name);
void ma_elf_close(struct ma_elf *file);

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
 * Reads `debug`, with the dwz file it needs, if any, found through `options`.
 * NULL if there is no DWARF in it or memory is short. `debug` must outlive it.
 */
struct ma_dwarf *ma_dwarf_open(const struct ma_symbol_options *options, const struct ma_elf *debug);

/*
 * The calls active at `address`, innermost first, at most `room` (> 0) and
 * always with the outermost one. 0 if no unit covers the address. A single
 * frame without a name but with a line is possible. Strings live until
 * ma_dwarf_close.
 */
size_t ma_dwarf_find(struct ma_dwarf *dwarf, uint64_t address, struct ma_dwarf_frame *frames,
                     size_t room);
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

/* "directory/file" for a file name of libdw's, whose address stands for both; as above. */
const char *ma_scopes_path(struct ma_scopes *scopes, const char *directory, const char *file);
void ma_scopes_free(struct ma_scopes *scopes);

#endif
