/* SPDX-License-Identifier: MIT
 *
 * Demangling: from a linker's symbol to the name its source wrote, for C++,
 * Rust (old and v0), D, Fortran and, without types, Swift. Symbols come from untrusted objects:
 * length, nesting and output are bounded, and a name beyond the bounds stays as it is.
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
 * Otherwise functions lose their parameter list, Rust names their hash, and all
 * are shortened as by the functions below.
 */
char *ma_demangle(const char *symbol, bool full);

/* The same for Fortran and Swift alone. */
char *ma_demangle_more(const char *symbol);

/* True of a symbol that tells more than the plain name of its function: scopes, and types in
 * some languages. Swift's are not among them, since of these ma_demangle tells a part only. */
bool ma_is_mangled(const char *symbol);

/*
 * Shortens a C++ or Rust name in place. Template arguments that are the standard
 * library's defaults (allocators, comparisons, traits), inline namespaces, ABI
 * tags and the parameters of enclosing functions go; std::basic_string<char> is
 * std::string, and its like; "(anonymous namespace)" is "(anon)"; a lambda with
 * its operator() is "{lambda#1}", Rust's "{{closure}}" is "{closure}". In names
 * that are very long still, inner template arguments become "...".
 */
void ma_demangle_shorten(char *name);

/* Takes the parameter lists out of a D name, in place. */
void ma_demangle_shorten_d(char *name);

#endif
