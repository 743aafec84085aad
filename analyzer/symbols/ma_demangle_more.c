/* SPDX-License-Identifier: MIT
 *
 * Symbols of languages that libiberty does not know; see ma_demangle.h. Fortran's
 * say module and procedure. Of Swift's only the names are told, not the types: those
 * of the context and the declaration, and the argument labels, come first in a
 * symbol, in plain text. One pass; what is put is never longer than MAX_OUTPUT.
 */
#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ma_demangle.h"

enum {
    MAX_INPUT = 8192, /* bytes */
    MAX_NAMES = 24,   /* of one symbol */
    MAX_OUTPUT = 2 * MAX_INPUT,
};

struct name {
    const char *at;
    size_t n;
};

static bool starts(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

static char *put(char *to, struct name name)
{
    memcpy(to, name.at, name.n);
    return to + name.n;
}

/* ---- Fortran: __module_MOD_procedure of gfortran, _QMmodulePprocedure of flang ---- */

static const char *fortran_procedure(const char *symbol)
{
    const char *mark = starts(symbol, "__") ? strstr(symbol + 2, "_MOD_") : NULL;
    size_t n = mark ? (size_t)(mark - symbol) - 2 : 0;
    bool plain = n && n <= strspn(symbol + 2, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    return plain && mark[5] ? mark + 5 : NULL;
}

static char *demangle_gfortran(const char *symbol)
{
    const char *procedure = fortran_procedure(symbol);
    size_t n = procedure ? (size_t)(procedure - symbol) - strlen("___MOD_") : 0;
    char *text = procedure ? malloc(n + 2 + strlen(procedure) + 1) : NULL;
    if (text)
        strcpy(stpcpy(put(text, (struct name){symbol + 2, n}), "::"), procedure);
    return text;
}

/* Upper-case letters say what the lower-case name behind each is: module, submodule,
 * enclosing function, procedure. */
static char *demangle_flang(const char *symbol)
{
    const char *at = symbol + 2;
    char *text = malloc(2 * strlen(symbol) + 1), *to = text;
    while (to && *at) {
        size_t n = strspn(at + 1, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (!strchr("MSFP", *at) || !n) {
            free(text);
            return NULL;
        }
        if (to != text)
            to = stpcpy(to, "::");
        to = put(to, (struct name){at + 1, n});
        at += 1 + n;
    }
    if (to)
        *to = 0;
    return text;
}

/* ---- Swift: $s and what follows ---- */

/* Where the names begin; NULL: this is no symbol of Swift's. */
static const char *swift_names(const char *symbol)
{
    static const char *const prefixes[] = {"$s", "$S", "_$s", "_$S", "_T0", "$e", "_$e"};
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
        const char *rest = symbol + strlen(prefixes[i]);
        if (starts(symbol, prefixes[i]) && (isdigit((unsigned char)*rest) || *rest == 'S' ||
                                            (*rest == 's' && isdigit((unsigned char)rest[1]))))
            return rest;
    }
    return NULL;
}

/* Takes "4name" at *at. Names that repeat words of others ("03addB0") are not told. */
static bool take_name(const char **at, struct name *name)
{
    size_t n = 0;
    const char *from = *at;
    while (isdigit((unsigned char)*from) && n < MAX_INPUT)
        n = 10 * n + (size_t)(*from++ - '0');
    if (**at == '0' || !n || strnlen(from, n) < n)
        return false;
    *name = (struct name){from, n};
    *at = from + n;
    return true;
}

/* Takes a type of the standard library that has a letter. */
static bool take_standard(const char **at, struct name *name)
{
    static const char *const types[] = {
        "aArray",
        "bBool",
        "DDictionary",
        "dDouble",
        "fFloat",
        "hSet",
        "iInt",
        "JCharacter",
        "qOptional",
        "SString",
        "sSubstring",
        "uUInt",
        "PUnsafePointer",
        "pUnsafeMutablePointer",
        "RUnsafeBufferPointer",
        "rUnsafeMutableBufferPointer",
        "VUnsafeRawPointer",
        "vUnsafeMutableRawPointer",
        "WUnsafeRawBufferPointer",
        "wUnsafeMutableRawBufferPointer",
        "o__C",
    };
    for (size_t i = 0; **at == 'S' && i < sizeof(types) / sizeof(*types); i++) {
        if ((*at)[1] != types[i][0])
            continue;
        *name = (struct name){types[i] + 1, strlen(types[i]) - 1};
        *at += 2;
        return true;
    }
    return false;
}

struct swift {
    struct name scopes[MAX_NAMES], labels[MAX_NAMES];
    size_t n_scopes, n_labels;
    struct name name; /* of the declaration; n 0: a type or an initialiser */
};

/* The module, and the types around the declaration. */
static void read_scopes(const char **at, struct swift *out)
{
    struct name name;
    if (**at == 's' || (**at == 'S' && (*at)[1] != 'o')) {
        out->scopes[out->n_scopes++] = (struct name){"Swift", 5};
        *at += **at == 's';
    }
    if (take_standard(at, &name))
        out->scopes[out->n_scopes++] = name;
    while (out->n_scopes < MAX_NAMES && take_name(at, &name)) {
        if (**at == 'E') { /* an extension: the name was that of its module */
            ++*at;
        } else if (**at && strchr("CVOP", **at)) {
            out->scopes[out->n_scopes++] = name;
            ++*at;
        } else if (!out->n_scopes) {
            out->scopes[out->n_scopes++] = name;
        } else {
            out->name = name;
            return;
        }
    }
}

/* The labels of the arguments; a type that follows has its kind behind its name, and
 * its module before it. */
static void read_labels(const char **at, struct swift *out)
{
    struct name name;
    while (out->n_labels < MAX_NAMES) {
        if (**at == '_') {
            ++*at;
            name = (struct name){"_", 1};
        } else if (!take_name(at, &name)) {
            return;
        } else if (**at && strchr("CVOP", **at)) {
            out->n_labels -= out->n_labels > 0;
            return;
        }
        out->labels[out->n_labels++] = name;
    }
}

static char *put_labels(char *to, const struct swift *swift)
{
    *to++ = '(';
    for (size_t i = 0; i < swift->n_labels; i++)
        to = stpcpy(put(to, swift->labels[i]), ":");
    return stpcpy(to, ")");
}

/* True if the symbol `text`, of `n` bytes, ends so. */
static bool ends(const char *text, size_t n, const char *suffix)
{
    size_t k = strlen(suffix);
    return n >= k && !memcmp(text + n - k, suffix, k);
}

/* The length of a symbol without what the compiler's passes hung on it. */
static size_t without_passes(const char *text)
{
    size_t n = strcspn(text, ".");
    for (size_t before = n + 1; n < before;) {
        before = n;
        size_t k = n;
        while (k > 0 && (isdigit((unsigned char)text[k - 1]) || text[k - 1] == '_'))
            k--;
        if (k >= 2 && k < n && text[k - 2] == 'T' && strchr("gGYQfm", text[k - 1]))
            n = k - 2;
        else if (ends(text, n, "Tm") || ends(text, n, "TW") || ends(text, n, "To"))
            n -= 2;
    }
    return n;
}

static char *demangle_swift(const char *symbol)
{
    struct swift swift = {0};
    const char *at = swift_names(symbol);
    size_t n = without_passes(symbol), closure = n;
    read_scopes(&at, &swift);
    bool initialiser = ends(symbol, n, "fC") || ends(symbol, n, "fc");
    if (initialiser && swift.name.n) {
        swift.labels[swift.n_labels++] = swift.name;
        swift.name.n = 0;
    }
    read_labels(&at, &swift);
    while (closure > 1 && (isdigit((unsigned char)symbol[closure - 1]) ||
                           (closure == n && symbol[closure - 1] == '_')))
        closure--;
    bool in_closure = closure < n && ends(symbol, closure, "U");
    if (!swift.n_scopes || (swift.n_scopes < 2 && !swift.name.n))
        return NULL;
    char *text = malloc(MAX_OUTPUT), *to = text;
    if (!text)
        return NULL;
    if (in_closure)
        to = stpcpy(to, "closure in ");
    for (size_t i = 0; i < swift.n_scopes; i++)
        to = put(i ? stpcpy(to, ".") : to, swift.scopes[i]);
    if (swift.name.n)
        to = put(stpcpy(to, "."), swift.name);
    *to = 0;
    if (initialiser)
        to = put_labels(stpcpy(to, ".init"), &swift);
    else if (ends(symbol, n, "fD") || ends(symbol, n, "fd"))
        to = stpcpy(to, ".deinit");
    else if (ends(symbol, n, "vg"))
        to = stpcpy(to, ".getter");
    else if (ends(symbol, n, "vs"))
        to = stpcpy(to, ".setter");
    else if (ends(symbol, n, "vM"))
        to = stpcpy(to, ".modify");
    else if (swift.name.n && (in_closure || ends(symbol, n, "F") || ends(symbol, n, "FZ")))
        to = put_labels(to, &swift);
    return text;
}

bool ma_is_mangled(const char *symbol)
{
    if (symbol[0] != '_')
        return false;
    const char *at = symbol + (symbol[1] == '_' && (symbol[2] == 'Z' || symbol[2] == 'R'));
    return at[1] == 'Z' || (at[1] == 'R' && isupper((unsigned char)at[2])) ||
           (at[1] == 'D' && isdigit((unsigned char)at[2])) || (at[1] == 'Q' && at[2] == 'M') ||
           fortran_procedure(symbol);
}

char *ma_demangle_more(const char *symbol)
{
    if (strnlen(symbol, MAX_INPUT + 1) > MAX_INPUT)
        return NULL;
    if (swift_names(symbol))
        return demangle_swift(symbol);
    if (starts(symbol, "_Q"))
        return demangle_flang(symbol);
    return demangle_gfortran(symbol);
}
