/* SPDX-License-Identifier: MIT
 *
 * Names short enough to read; see ma_demangle.h. One pass over the name, copying
 * it onto itself: nothing that is put is longer than what it stands for. Names
 * are untrusted: each rule looks ahead no further than MAX_LOOK, so the cost is
 * linear.
 */
#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ma_demangle.h"

enum {
    MAX_LOOK = 2048, /* bytes that one rule looks ahead */
    MAX_SHOWN = 160, /* bytes above which template arguments are left out */
};

static bool starts(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

/* True if what was written before `to` ends so. */
static bool ends(const char *name, const char *to, const char *suffix)
{
    size_t n = strlen(suffix);
    return (size_t)(to - name) >= n && !memcmp(to - n, suffix, n);
}

/* Behind the bracket that closes the one at `open`; NULL if none is within `most` bytes. */
static const char *closing(const char *open, size_t most)
{
    char left = *open, right = left == '<' ? '>' : left == '(' ? ')' : '}';
    unsigned depth = 0;
    for (const char *at = open; *at && (size_t)(at - open) < most; at++) {
        if (*at == left)
            depth++;
        else if (*at == right && !(right == '>' && at[-1] == '-') && --depth == 0)
            return at + 1;
    }
    return NULL;
}

/* Behind a template argument at `at` that is only the default; NULL if none is there. */
static const char *skip_default(const char *at)
{
    static const char *const defaults[] = {
        ", std::allocator<", ", std::less<",     ", std::char_traits<",
        ", std::hash<",      ", std::equal_to<", ", std::default_delete<",
    };
    for (size_t i = 0; *at == ',' && i < sizeof(defaults) / sizeof(*defaults); i++) {
        if (!starts(at, defaults[i]))
            continue;
        const char *end = closing(at + strlen(defaults[i]) - 1, MAX_LOOK);
        /* It may be followed only by another argument or the end of the list. */
        return end && (*end == ',' || *end == '>' || starts(end, " >")) ? end : NULL;
    }
    return NULL;
}

/* Behind a lambda's name, which is put as "{lambda}" with its number; NULL if none is there. */
static const char *skip_lambda(const char *at, char **to)
{
    static const char gcc[] = "{lambda(", dwarf[] = "<lambda(", none[] = "(anonymous class)";
    const char *end = NULL;
    char number[16] = "";
    if (starts(at, gcc)) {
        end = closing(at + sizeof(gcc) - 2, MAX_LOOK);
        size_t n = end && *end == '#' ? 1 + strspn(end + 1, "0123456789") : 0;
        if (!end || end[n] != '}' || n >= sizeof(number))
            return NULL;
        memcpy(number, end, n);
        number[n] = 0;
        end += n + 1;
    } else if (starts(at, dwarf)) {
        end = closing(at + sizeof(dwarf) - 2, MAX_LOOK);
        if (!end || *end++ != '>')
            return NULL;
    } else if (starts(at, none) && starts(at + sizeof(none) - 1, "::operator()")) {
        end = at + sizeof(none) - 1;
    } else if (starts(at, "{lambda}")) {
        end = at + strlen("{lambda}");
    } else {
        return NULL;
    }
    *to = stpcpy(stpcpy(stpcpy(*to, "{lambda"), number), "}");
    return starts(end, "::operator()") ? end + strlen("::operator()") : end;
}

/* Behind the parameters of a function that is only the scope of something: "f(int) const::". */
static const char *skip_parameters(const char *name, const char *to, const char *at)
{
    if (*at != '(' || to == name || ends(name, to, "operator") ||
        !(isalnum((unsigned char)to[-1]) || strchr("_>)]}", to[-1])))
        return NULL;
    const char *end = closing(at, MAX_LOOK);
    while (end && (starts(end, " const") || starts(end, " volatile") || starts(end, " &")))
        end += starts(end, " &") ? 1 + strspn(end + 1, "&") : strcspn(end + 1, " :&") + 1;
    return end && starts(end, "::") ? end : NULL;
}

/* Behind what stands for nothing here: inline namespaces, ABI tags, blanks of old C++. */
static const char *skip_noise(const char *name, const char *to, const char *at)
{
    static const char *const inline_scopes[] = {"__cxx11::", "__1::", "__ndk1::"};
    if (*at == '_' && ends(name, to, "::"))
        for (size_t i = 0; i < sizeof(inline_scopes) / sizeof(*inline_scopes); i++)
            if (starts(at, inline_scopes[i]))
                return at + strlen(inline_scopes[i]);
    if (starts(at, "[abi:")) {
        const char *end = strchr(at, ']');
        return end && end - at < MAX_LOOK ? end + 1 : NULL;
    }
    if (starts(at, " >") && !ends(name, to, "operator"))
        return at + 1;
    return NULL;
}

/* The names that people use for some instances, put in their place. */
static char *put_alias(const char *name, char *to)
{
    static const char *const aliases[][2] = {
        {"std::basic_string<char>", "std::string"},
        {"std::basic_string<wchar_t>", "std::wstring"},
        {"std::basic_string_view<char>", "std::string_view"},
        {"std::basic_ostream<char>", "std::ostream"},
        {"std::basic_istream<char>", "std::istream"},
        {"std::basic_ios<char>", "std::ios"},
        {"std::basic_stringbuf<char>", "std::stringbuf"},
        {"std::basic_stringstream<char>", "std::stringstream"},
        {"std::basic_ostringstream<char>", "std::ostringstream"},
        {"std::basic_istringstream<char>", "std::istringstream"},
        {"std::basic_filebuf<char>", "std::filebuf"},
        {"std::basic_ofstream<char>", "std::ofstream"},
        {"std::basic_ifstream<char>", "std::ifstream"},
        {"std::basic_fstream<char>", "std::fstream"},
    };
    for (size_t i = 0; i < sizeof(aliases) / sizeof(*aliases); i++)
        if (ends(name, to, aliases[i][0]))
            return stpcpy(to - strlen(aliases[i][0]), aliases[i][1]);
    return to;
}

/* Leaves out template arguments that lie `keep` deep. */
static void elide(char *name, int keep)
{
    char *to = name;
    /* In Rust a type may be all of the first scope: "<T as Trait>::f". */
    int depth = *name == '<' ? -1 : 0;
    bool closed = true; /* so far all brackets are */
    for (const char *from = name; *from;) {
        bool opens = *from == '<' && !ends(name, to, "operator") && !ends(name, to, "operator<");
        const char *end = opens && closed && depth == keep - 1 ? closing(from, SIZE_MAX) : NULL;
        if (end && end - from > 5) {
            to = stpcpy(to, "<...>");
            from = end;
            continue;
        }
        closed = closed && (end || !opens || depth != keep - 1);
        depth += opens;
        depth -= *from == '>' && depth > 0 && from[-1] != '-' && from[-1] != '=';
        *to++ = *from++;
    }
    *to = 0;
}

void ma_demangle_shorten(char *name)
{
    static const char anonymous[] = "(anonymous namespace)", closure[] = "{{closure}}";
    char *to = name;
    for (const char *from = name, *end = NULL; *from;) {
        if ((end = skip_noise(name, to, from)) || (end = skip_default(from)) ||
            (end = skip_lambda(from, &to))) {
            from = end;
        } else if (starts(from, anonymous)) {
            to = stpcpy(to, "(anon)");
            from += sizeof(anonymous) - 1;
        } else if (starts(from, closure)) {
            to = stpcpy(to, "{closure}");
            from += sizeof(closure) - 1;
        } else if ((end = skip_parameters(name, to, from))) {
            from = end;
        } else {
            *to++ = *from++;
            if (to[-1] == '>')
                to = put_alias(name, to);
        }
    }
    *to = 0;
    for (int keep = 3; keep > 0 && strlen(name) > MAX_SHOWN; keep--)
        elide(name, keep);
}

void ma_demangle_shorten_d(char *name)
{
    char *to = name;
    for (const char *from = name, *end = NULL; *from;) {
        bool template = to > name && to[-1] == '!';
        if (*from == '(' && (end = closing(from, MAX_LOOK)) && !template) {
            from = end;
        } else if (*from == '(' && end) {
            memmove(to, from, (size_t)(end - from));
            to += end - from;
            from = end;
        } else {
            *to++ = *from++;
        }
    }
    *to = 0;
}
