/* SPDX-License-Identifier: MIT
 *
 * Symbols: from an object and an address inside it to functions, source files
 * and lines, inlined calls included. Called by reports, late, for the stacks
 * that are shown.
 *
 * A trace is hostile input. A file is opened only if it is a regular file,
 * and used only if it is ELF and carries the build-id that the trace recorded.
 * Opening never blocks, nothing is fetched from the network (DEBUGINFOD_URLS
 * has no effect here), nothing is printed.
 *
 * Not thread-safe: one struct ma_symbols belongs to one thread at a time.
 */
#ifndef MA_SYMBOLS_H
#define MA_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Caches open objects and answers. */
struct ma_symbols;

/*
 * Where symbols are looked for and how they are told. All zero is a valid
 * choice: this machine's root, no inlined frames, raw names.
 */
struct ma_symbol_options {
    /*
     * The root file system that the trace was recorded on, NULL for this
     * machine's. Objects are then looked for below it only; separate debug
     * files below it first, then below this machine's /usr/lib/debug.
     */
    const char *sysroot;
    /*
     * Further places, tried before the others, in order. In each:
     * .build-id/xx/yyyy.debug, the object's whole path, its base name, and
     * the name that its .gnu_debuglink gives.
     */
    const char *const *debug_dirs;
    size_t n_debug_dirs;
    bool inlines;    /* tell inlined calls as frames of their own */
    bool demangle;   /* C++, Rust and D names as their source wrote them */
    bool full_names; /* demangled names whole: parameters, Rust hashes; else shortened */
};

/* A mapped object, as the trace names it. */
struct ma_object {
    const char *path;              /* as mapped, absolute; may be NULL */
    const unsigned char *build_id; /* NULL if the trace has none */
    size_t build_id_size;
    bool vdso; /* the kernel's: no file */
};

/* One function call at an address. */
struct ma_symbol {
    const char *function; /* NULL if unknown */
    const char *file; /* source file as the compiler named it, absolute where DWARF allows; NULL if
                         unknown */
    unsigned line;    /* of the call or instruction in this function; 0 if unknown */
    bool inlined;     /* this function's body sits inside the next entry's */
};

/* What is known of an object, for the audit. */
enum ma_object_state {
    MA_OBJECT_DEBUG,       /* found, with DWARF for functions and lines */
    MA_OBJECT_SYMBOLS,     /* found, with function symbols but no DWARF */
    MA_OBJECT_NO_SYMBOLS,  /* found, but nothing in it names a function */
    MA_OBJECT_VDSO,        /* the kernel's own object: it has no file */
    MA_OBJECT_NOT_FOUND,   /* no file at any of the places */
    MA_OBJECT_NOT_REGULAR, /* what is there is no regular file: left closed */
    MA_OBJECT_UNREADABLE,  /* there, but it may not or could not be read */
    MA_OBJECT_NOT_ELF,     /* a regular file, but no whole ELF object */
    MA_OBJECT_MISMATCH,    /* another build of the object: not used */
    MA_OBJECT_NO_MEMORY,   /* memory ran out while it was opened */
    MA_OBJECT_STATES
};

/* Copies the options. NULL if memory is short. */
struct ma_symbols *ma_symbols_open(const struct ma_symbol_options *options);

/*
 * Tells the functions active at `vaddr`, the ELF address of an instruction
 * (address in memory less the object's load bias). With `exact` it is the
 * instruction itself; otherwise it is a return address, and the call just
 * before it is looked up (vaddr - 1).
 *
 * Sets *out to an array, innermost (inlined) first, and returns its length,
 * at least 1. Only the last entry has inlined == false; it is the function
 * that has its own frame. What is unknown is NULL or 0 in it. The array and
 * its strings live until ma_symbols_close, and the same question gets the
 * same array again.
 *
 * Strings come from symbol tables and DWARF and may hold any byte but NUL:
 * escape them in every output.
 */
size_t ma_symbols_resolve(struct ma_symbols *symbols, const struct ma_object *object,
                          uint64_t vaddr, bool exact, const struct ma_symbol **out);

/* Opens the object unless that was done before, and tells what came of it. */
enum ma_object_state ma_symbols_object_state(struct ma_symbols *symbols,
                                             const struct ma_object *object);

/*
 * True if the object was found and used although the trace has no build-id to
 * hold it against (the file has none either): its symbols are a guess.
 */
bool ma_symbols_object_unverified(struct ma_symbols *symbols, const struct ma_object *object);

/*
 * The file that the object's own code and symbols were read from, or the one
 * that was turned down (state MA_OBJECT_MISMATCH and the like); NULL if there
 * was none. Lives until ma_symbols_close.
 */
const char *ma_symbols_object_file(struct ma_symbols *symbols, const struct ma_object *object);

/* A state as the end of a sentence that starts with the object's name: "is not an ELF object".
 * Static. */
const char *ma_object_state_text(enum ma_object_state state);

/* Frees everything that was ever told. NULL is allowed. */
void ma_symbols_close(struct ma_symbols *symbols);

#endif
