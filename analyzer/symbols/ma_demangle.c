/* SPDX-License-Identifier: MIT
 *
 * Demangling through libiberty, whose demanglers trust their input more than
 * we may: substitutions can make a hundred bytes print gigabytes. The C++ and
 * Rust demanglers hand their output to us piece by piece, so an output beyond
 * the bound is left by longjmp; D's cannot, so its input is measured first.
 * Neither may reach libiberty's xmalloc with a hostile size: it exits.
 */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <libiberty/demangle.h>

#include "ma_demangle.h"

enum {
    MAX_INPUT = 8192, /* bytes: the demangler's stack grows with it */
    MAX_D_INPUT = 4096,
    MAX_OUTPUT = 64 * 1024, /* bytes */
    LIMITED_INPUT = 1000,   /* longer ones need libiberty's own bound lifted */
};

struct output {
    char *text;
    size_t n, room;
    unsigned calls;
    jmp_buf escape;
};

static void take_piece(const char *piece, size_t n, void *opaque)
{
    struct output *out = opaque;
    /* Pieces may be empty: bound their number as well. */
    if (n > MAX_OUTPUT - out->n || ++out->calls > 2 * MAX_OUTPUT)
        longjmp(out->escape, 1);
    if (out->n + n + 1 > out->room) {
        size_t room = 2 * (out->n + n + 1);
        char *text = realloc(out->text, room);
        if (!text)
            longjmp(out->escape, 1);
        out->text = text;
        out->room = room;
    }
    if (n) /* an empty piece may be a null pointer */
        memcpy(out->text + out->n, piece, n);
    out->n += n;
    out->text[out->n] = 0;
}

typedef int demangler(const char *, int, demangle_callbackref, void *);

/* The C++ demangler keeps all on its stack; Rust's may lose one small buffer on escape. */
static char *run_demangler(demangler *demangle, const char *symbol, int options)
{
    struct output *out = calloc(1, sizeof(*out));
    if (!out)
        return NULL;
    int ok = 0;
    if (!setjmp(out->escape))
        ok = demangle(symbol, options, take_piece, out);
    else
        out->n = 0; /* the call did not return: nothing in `ok` */
    char *text = out->text;
    if (!out->n || !ok) {
        free(text);
        text = NULL;
    }
    free(out);
    return text;
}

/*
 * Bounds what D's back references (Q and a base-26 distance) may expand to, by
 * counting every Q as if it repeated all text between its target and itself.
 */
static bool d_is_bounded(const char *symbol, size_t n)
{
    if (n > MAX_D_INPUT)
        return false;
    uint64_t *cost = calloc(n + 1, sizeof(*cost)); /* of the first i bytes */
    if (!cost)
        return false;
    bool bounded = true;
    for (size_t i = 0; i < n && bounded; i++) {
        uint64_t here = 1;
        if (symbol[i] == 'Q') {
            size_t distance = 0, j = i + 1;
            while (j < n && symbol[j] >= 'A' && symbol[j] <= 'Z' && distance < n)
                distance = distance * 26 + (size_t)(symbol[j++] - 'A');
            if (j < n && symbol[j] >= 'a' && symbol[j] <= 'z')
                distance = distance * 26 + (size_t)(symbol[j] - 'a');
            bool type = distance <= i && (symbol[i - distance] < '0' || symbol[i - distance] > '9');
            if (type)
                here += cost[i] - cost[i - distance];
            else
                here += n;
        }
        cost[i + 1] = cost[i] + here;
        bounded = cost[i + 1] < 64 * MAX_OUTPUT;
    }
    free(cost);
    return bounded;
}

static char *shortened(char *text, bool full, void shorten(char *))
{
    if (text && !full)
        shorten(text);
    return text;
}

char *ma_demangle(const char *symbol, bool full)
{
    /* A Mach-O or PE name has one underscore more; so do some cross tools'. */
    if (symbol[0] == '_' && symbol[1] == '_' && (symbol[2] == 'Z' || symbol[2] == 'R'))
        symbol++;
    if (symbol[0] == '$')
        return ma_demangle_more(symbol);
    if (symbol[0] != '_' || !symbol[1])
        return NULL;
    size_t n = strnlen(symbol, MAX_INPUT + 1);
    if (n > MAX_INPUT)
        return NULL;
    int limits = n > LIMITED_INPUT ? DMGL_NO_RECURSE_LIMIT : 0;
    int rust = full ? DMGL_VERBOSE : 0;

    switch (symbol[1]) {
    case 'R':
        return shortened(run_demangler(rust_demangle_callback, symbol, rust), full,
                         ma_demangle_shorten);
    case 'Z': {
        /* Rust's old names are C++ names that end in a hash. */
        char *text = run_demangler(rust_demangle_callback, symbol, rust);
        if (text)
            return shortened(text, full, ma_demangle_shorten);
        int options = full ? DMGL_PARAMS | DMGL_ANSI : DMGL_RET_DROP;
        return shortened(run_demangler(cplus_demangle_v3_callback, symbol, options | limits), full,
                         ma_demangle_shorten);
    }
    case 'D':
        return d_is_bounded(symbol, n)
                   ? shortened(dlang_demangle(symbol, limits), full, ma_demangle_shorten_d)
                   : NULL;
    default: return ma_demangle_more(symbol);
    }
}
