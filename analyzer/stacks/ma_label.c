/* SPDX-License-Identifier: MIT
 *
 * The table of allocation wrappers; see ma_label.h. Patterns are those of the
 * shell, compared with the demangled name.
 */
#include "ma_label.h"

#include <string.h>

static const char *const wrappers[] = {
    /* the allocator's own names and what is called like them */
    "malloc*",
    "calloc*",
    "realloc*",
    "*memalign",
    "aligned_alloc",
    "valloc",
    "pvalloc",
    "*[mM]alloc",
    "*[cC]alloc",
    "*[rR]ealloc",
    "*[rR]eallocarray",
    "*_malloc[0-9]*",
    "*_malloc_n",
    "*_malloc0_n",
    "*_realloc_n",
    "*[mM]allocz",
    "*[mM]allocz_gently",
    "*Malloc[0-9RZ]*",
    "*Realloc[OR]*",
    "*MallocArray",
    "*ReallocArray",
    "*MallocN",
    "*MallocNN",
    /* copies of strings and memory */
    "strdup",
    "strndup",
    "__strdup",
    "__strndup",
    "wcsdup",
    "x*dup",
    "xstrndup",
    "x*dup0",
    "xasprintf",
    "xvasprintf",
    "asprintf",
    "__asprintf",
    "vasprintf",
    "__vasprintf*",
    "g_*dup*",
    "g_new*",
    "g_slice_*",
    "sqlite3*StrDup",
    "sqlite3*StrNDup",
    /* C++ */
    "operator new*",
    "std::*",
    "__gnu_cxx::*",
    "boost::alignment::*",
    "__cxa_allocate_*",
    /* Rust */
    "alloc::*",
    "<alloc::*",
    "<* as alloc::*",
    "core::*",
    "<core::*",
    "<T as core::*",
    "<std::*",
    "hashbrown::*",
    "<hashbrown::*",
    "__rust_alloc*",
    "__rust_realloc",
    "__rdl_*",
    "__rg_*",
    /* interpreters */
    "_PyMem_*",
    "PyMem_*",
    "PyObject_Malloc",
    "PyObject_Calloc",
    "PyObject_Realloc",
    "_PyObject_Malloc",
    "_PyObject_GC_*",
    "PyType_GenericAlloc",
    "Perl_safesys*",
};

/* Functions that begin a thread, a program or its constructors: they say nothing of
 * a stack. */
static const char *const starts[] = {
    "__libc_start_*", "_start", "start_thread", "clone", "clone3", "__clone*", "call_init", "_dl_*",
};

/* An author who gives a function such a name wants to see it. */
static const char *const never[] = {"*leak*", "*Leak*", "*test*", "*Test*"};

/* Generated code that is a runtime's own, by the names that runtimes give it in perf maps. */
static const char *const runtimes[] = {
    "Builtin:*",
    "BytecodeHandler:*",
    "Stub:*",
    "Handler:*",
    "RegExp:*",
    "Interpreter*",
    "StubRoutines*",
    "* node:*",
    "py::*:<frozen *",
    "py::*:/usr/lib/python[0-9]*",
    "py::*:/usr/local/lib/python[0-9]*",
};

/* Libraries that a user installed there are the user's. */
static const char *const installed[] = {"*/site-packages/*", "*/dist-packages/*"};

/* Does one of [set] match? *pattern, at the '[', moves behind the ']'. */
static bool in_set(const char **pattern, char letter)
{
    bool in = false;
    const char *at = *pattern + 1;
    for (; *at != ']'; at++) {
        if (at[1] == '-') {
            in |= letter >= at[0] && letter <= at[2];
            at += 2;
        } else {
            in |= letter == *at;
        }
    }
    *pattern = at + 1;
    return in;
}

/* fnmatch() of the patterns above: that of libc turns both into wide characters
 * first, which took a third of a report's time. */
static bool matches(const char *pattern, const char *text)
{
    const char *star = NULL, *again = NULL; /* the last '*', and where to go on after it */
    for (;;) {
        const char *at = pattern;
        if (*pattern == '*') {
            if (!pattern[1])
                return true;
            star = ++pattern;
            again = text;
            continue;
        }
        if (!*pattern && !*text)
            return true;
        if (*pattern && *text && (*pattern == '[' ? in_set(&at, *text) : *at++ == *text)) {
            pattern = at;
            text++;
        } else if (star && *again) {
            pattern = star;
            text = ++again;
        } else {
            return false;
        }
    }
}

bool ma_label_is_wrapper(const char *function)
{
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        if (!matches(wrappers[i], function))
            continue;
        for (size_t k = 0; k < sizeof never / sizeof *never; k++) {
            if (matches(never[k], function))
                return false;
        }
        return true;
    }
    return false;
}

static bool matches_any(const char *const *patterns, size_t n, const char *function)
{
    for (size_t i = 0; i < n; i++) {
        if (matches(patterns[i], function))
            return true;
    }
    return false;
}

static bool is_start(const char *function)
{
    return matches_any(starts, sizeof starts / sizeof *starts, function);
}

/* True of code that the program's own sources were made into at run time. */
static bool is_generated(const struct ma_frame *frame)
{
    return frame->function && (!frame->module || !frame->module[0]) &&
           !ma_label_is_wrapper(frame->function) &&
           (!matches_any(runtimes, sizeof runtimes / sizeof *runtimes, frame->function) ||
            matches_any(installed, sizeof installed / sizeof *installed, frame->function));
}

/* True of a stack in an executable that lies where systems keep theirs. */
static bool is_of_system_program(const struct ma_frame *frames, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (frames[i].executable && frames[i].module)
            return strncmp(frames[i].module, "/usr/", 5) == 0 ||
                   strncmp(frames[i].module, "/bin/", 5) == 0;
    }
    return false;
}

size_t ma_label_frame(const struct ma_frame *frames, size_t n)
{
    size_t nameless = n;
    for (size_t i = 0; i < n; i++) {
        if (!frames[i].function)
            nameless = nameless == n ? i : nameless;
        else if (is_start(frames[i].function))
            return nameless == n ? i : nameless;
        else if (!ma_label_is_wrapper(frames[i].function))
            return i;
    }
    return nameless == n ? 0 : nameless;
}

bool ma_label_is_own(const struct ma_frame *frame)
{
    static const char *const places[] = {"/lib/", "/lib64/", "/lib32/", "/usr/lib", "/nix/store/"};
    if (!frame->module || !frame->module[0])
        return is_generated(frame);
    if (frame->function && ma_label_is_wrapper(frame->function))
        return false;
    if (frame->executable)
        return !frame->function || strcmp(frame->function, "_start") != 0;
    if (frame->module[0] != '/' || strstr(frame->module, "/libmlog.so"))
        return false;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strncmp(frame->module, places[i], strlen(places[i])) == 0)
            return false;
    }
    return true;
}

size_t ma_label_own_frame(const struct ma_frame *frames, size_t n)
{
    size_t label = ma_label_frame(frames, n), own = n;
    /* An interpreter's functions are of less interest than those of the program it runs. */
    const bool system = is_of_system_program(frames, n);
    for (size_t i = 0; i < n && system; i++) {
        if (is_generated(&frames[i]))
            return i;
    }
    if (ma_label_is_own(&frames[label]))
        own = label;
    for (size_t i = 0; i < n; i++) {
        if (!ma_label_is_own(&frames[i]))
            continue;
        if (frames[i].function && frames[i].file)
            return i;
        own = own == n ? i : own;
    }
    return own == n ? label : own;
}

const char *ma_label_short_path(const char *path)
{
    const char *from = path + strlen(path);
    for (int parts = 0; from > path; from--) {
        if (from[-1] == '/' && ++parts == 2)
            break;
    }
    return from;
}
