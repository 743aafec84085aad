/* SPDX-License-Identifier: MIT
 *
 * Demangling: from a linker's symbol to the name its source wrote, for C++,
 * Rust (old and v0) and D. Symbols come from untrusted objects: length,
 * nesting and output are bounded, and a name beyond the bounds stays as it is.
 */
#ifndef MA_DEMANGLE_H
#define MA_DEMANGLE_H

#include <stdbool.h>

/*
 * A new string (to free) with the name that `symbol` stands for, or NULL if
 * it is no mangled name, is beyond the bounds, or memory is short: the caller
 * then shows `symbol` itself.
 *
 * `full` keeps parameter types, qualifiers, return types and Rust's hash.
 * Otherwise C++ names lose their parameter list and are shortened as by
 * ma_demangle_shorten, and Rust names lose their hash.
 */
char *ma_demangle(const char *symbol, bool full);

/*
 * Shortens a C++ name in place: template arguments that are the standard
 * library's defaults (allocators, comparisons, traits) go, and its string is
 * called std::string. Other names stay as they are.
 */
void ma_demangle_shorten(char *name);

#endif
