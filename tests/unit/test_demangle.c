/* SPDX-License-Identifier: MIT
 *
 * Demangling: the languages, the short and the whole form, and names made to
 * explode, which must cost little and stay as they are.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ma_demangle.h"
#include "tap.h"

static bool demangles(const char *symbol, bool full, const char *wanted)
{
    char *text = ma_demangle(symbol, full);
    bool same = wanted ? text && !strcmp(text, wanted) : !text;
    if (!same)
        printf("# %s: %s\n", symbol, text ? text : "(none)");
    free(text);
    return same;
}

static void test_demangle(void)
{
    CHECK(demangles("_ZN4shop3putEiPKc", true, "shop::put(int, char const*)") &&
              demangles("_ZN4shop3putEiPKc", false, "shop::put"),
          "C++, whole and short");
    CHECK(demangles("_ZN3foo3barD1Ev.cold", true, "foo::bar::~bar() [clone .cold]") &&
              demangles("_ZN3foo3barD1Ev.cold", false, "foo::bar::~bar"),
          "C++ clones");
    CHECK(demangles("_ZNSt6vectorINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEESaIS5_EE"
                    "9push_backEOS5_",
                    false, "std::vector<std::string>::push_back"),
          "the standard library's default arguments go");
    CHECK(demangles("_ZN5alloc7raw_vec4grow17h0123456789abcdefE", false, "alloc::raw_vec::grow") &&
              demangles("_ZN5alloc7raw_vec4grow17h0123456789abcdefE", true,
                        "alloc::raw_vec::grow::h0123456789abcdef"),
          "Rust's old names, their hash on demand");
    CHECK(demangles("_RNvNtCs1234_7mycrate3foo3bar", false, "mycrate::foo::bar"),
          "Rust's new names");
    CHECK(demangles("_D4main3fooFiZv", true, "main.foo(int)"), "D");
    CHECK(demangles("main", true, NULL) && demangles("_Zwrong", true, NULL) &&
              demangles("_", true, NULL) && demangles("", true, NULL) &&
              demangles("_init", true, NULL) && demangles("_R", true, NULL) &&
              demangles("_D", true, NULL),
          "what is not mangled stays as it is");
    CHECK(demangles("_D4main3fooFiZv", false, "main.foo"), "D without parameters");
}

static void test_fortran(void)
{
    CHECK(demangles("__alpha_MOD_setup", false, "alpha::setup") &&
              demangles("__a_b2_MOD_grow_MOD_", true, "a_b2::grow_MOD_"),
          "gfortran's modules");
    CHECK(demangles("_QMalphaPsetup", false, "alpha::setup") &&
              demangles("_QMalphaFouterPinner_2", false, "alpha::outer::inner_2"),
          "flang's modules");
    CHECK(demangles("___MOD_x", false, NULL) && demangles("__a_MOD_", false, NULL) &&
              demangles("__A_MOD_b", false, NULL) && demangles("_QQmain", false, NULL) &&
              demangles("_QM", false, NULL) && demangles("_QMaX", false, NULL) &&
              demangles("__libc_malloc", false, NULL),
          "what only looks so");
    CHECK(ma_is_mangled("__alpha_MOD_setup") && ma_is_mangled("_ZN1a1bEv") &&
              ma_is_mangled("_D4main3fooFiZv") && ma_is_mangled("_RNvCs1_1a1b") &&
              !ma_is_mangled("__GI___qsort_r") && !ma_is_mangled("_Dealloc") &&
              !ma_is_mangled("_Read") && !ma_is_mangled("") && !ma_is_mangled("_"),
          "names that tell scopes");
}

static void test_swift(void)
{
    static const char *const names[][2] = {
        {"$s4test12MemoryLeakerCACycfC", "test.MemoryLeaker.init()"},
        {"$s4test12MemoryLeakerC4sizeACSi_tcfc", "test.MemoryLeaker.init(size:)"},
        {"$s4test12MemoryLeakerCfD", "test.MemoryLeaker.deinit"},
        {"$sSa6appendyyxnF", "Swift.Array.append()"},
        {"_$s4test5StoreC3add4item_5countySi_S2itF", "test.Store.add(item:_:count:)"},
        {"$s4test5StoreC3add4with10Foundation4DataV_tF", "test.Store.add(with:)"},
        {"$s4test5StoreV5countSivg", "test.Store.count.getter"},
        {"$s4test3runyyFyycfU0_", "closure in test.run()"},
        {"$s4test3runyyYaFTY0_", "test.run()"},
        {"$s4test3runyyFTm.cold.1", "test.run()"},
        {"$sSS4testE5twiceSSyF", "Swift.String.twice()"},
        {"$ss5printyyypd_S2StF", "Swift.print()"},
        {"$s4test9TestStoreC03addB0yyF", "test.TestStore"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        CHECK(demangles(names[i][0], false, names[i][1]), "%s", names[i][1]);
    CHECK(demangles("$s", false, NULL) && demangles("$s4tes", false, NULL) &&
              demangles("$s99999999999999999999a", false, NULL) && demangles("$x", false, NULL) &&
              demangles("$s4test", false, NULL) && demangles("$sS", false, NULL) &&
              demangles("$start", false, NULL) && demangles("$", false, NULL),
          "what only looks so");
    /* Every cut and many labels: no byte is read or written behind the end. */
    char cut[64], many[4096] = "$s4test3run", *to = many + strlen(many);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        for (size_t n = 0; n < strlen(names[i][0]); n++) {
            snprintf(cut, sizeof(cut), "%.*s", (int)n, names[i][0]);
            free(ma_demangle(cut, false));
        }
    for (size_t i = 0; i < 1000; i++)
        to = stpcpy(to, "_1a");
    strcpy(to, "yF");
    char *text = ma_demangle(many, false);
    CHECK(text && strlen(text) < 100, "many labels: %s", text);
    free(text);
}

static void test_shorten(void)
{
    static const char *const names[][2] = {
        {"std::a<b, std::allocator<b> > operator> operator >(std::less<int>)",
         "std::a<b> operator> operator >(std::less<int>)"},
        {"std::a<b, std::allocator<b", "std::a<b, std::allocator<b"},
        {"std::map<std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> "
         ">, int, std::less<std::__cxx11::basic_string<char, std::char_traits<char>, "
         "std::allocator<char> > >, std::allocator<std::pair<std::__cxx11::basic_string<char, "
         "std::char_traits<char>, std::allocator<char> > const, int> > >::operator[]",
         "std::map<std::string, int>::operator[]"},
        {"std::__1::basic_string<char, std::char_traits<char>, std::allocator<char>>::append",
         "std::string::append"},
        {"std::basic_ostream<char, std::char_traits<char> >::flush", "std::ostream::flush"},
        {"std::basic_string<char, my_traits>::f", "std::basic_string<char, my_traits>::f"},
        {"(anonymous namespace)::go", "(anon)::go"},
        {"shop::(anonymous namespace)::Box<(anonymous namespace)::T>::~Box",
         "shop::(anon)::Box<(anon)::T>::~Box"},
        {"std::to_string[abi:cxx11]", "std::to_string"},
        {"main::{lambda(int)#2}::operator()", "main::{lambda#2}"},
        {"run(int, char)::{lambda(std::function<int (int)>)#1}::operator()", "run::{lambda#1}"},
        {"a::run(int) const::{lambda()#1}::operator()", "a::run::{lambda#1}"},
        {"a::run() const &::T::f", "a::run::T::f"},
        {"a::operator()(int)::T::f", "a::operator()::T::f"},
        {"f(int)::<lambda(std::string)>::operator()", "f::{lambda}"},
        {"std::__invoke_r<bool, f(int)::<lambda(int)>&, int>",
         "std::__invoke_r<bool, f::{lambda}&, int>"},
        {"std::function<int(int)>::operator()", "std::function<int(int)>::operator()"},
        {"{lambda}::operator()", "{lambda}"},
        {"shop::{{closure}}::{{closure}}", "shop::{closure}::{closure}"},
        {"<alloc::vec::Vec<T> as core::clone::Clone>::clone",
         "<alloc::vec::Vec<T> as core::clone::Clone>::clone"},
        {"operator<< <int>", "operator<< <int>"},
        {"a::operator->", "a::operator->"},
        {"f(", "f("},
        {"<", "<"},
        {"{lambda(", "{lambda("},
        {"", ""},
    };
    char name[512];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        strcpy(name, names[i][0]);
        ma_demangle_shorten(name);
        CHECK(!strcmp(name, names[i][1]), "%s: %s", names[i][1], name);
    }
    static const char deep[] = "a_name::of<some, length<of, another<and_, one<more<still, one>>>>>",
                      tail[] = "::that<is_far>::too<long_for, a<line>>::to<be, shown<whole>>::now";
    snprintf(name, sizeof(name), "%s%s%s", deep, tail, tail);
    ma_demangle_shorten(name);
    CHECK(!strcmp(name,
                  "a_name::of<some, length<...>>::that<is_far>::too<long_for, a<...>>::to<be, "
                  "shown<...>>::now::that<is_far>::too<long_for, a<...>>::to<be, "
                  "shown<...>>::now") ||
              strlen(name) <= 160,
          "what is too long loses its inner arguments: %s", name);
    snprintf(name, sizeof(name), "<alloc::vec::Vec<%s> as core::From<%s%s>>::from", deep, tail,
             deep);
    ma_demangle_shorten(name);
    CHECK(!strcmp(name, "<alloc::vec::Vec<a_name::of<...>> as core::From<::that<...>::too<...>::to"
                        "<...>::nowa_name::of<...>>>::from"),
          "but its scopes stay: %s", name);
    char d[] = "core.sort!(\"a < b\", int[]).sort(int[]).Inner.f(int)";
    ma_demangle_shorten_d(d);
    CHECK(!strcmp(d, "core.sort!(\"a < b\", int[]).sort.Inner.f"), "D: %s", d);
    /* Unclosed brackets must not cost the square of a name's length. */
    static char hostile[1 << 16];
    static const char *const pieces[] = {
        "std::less<, std::less<", "{lambda(", "x(", "<", "[abi:", "a<b, "};
    for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
        char *at = hostile;
        while (at + 32 < hostile + sizeof(hostile))
            at = stpcpy(at, pieces[i]);
        ma_demangle_shorten(hostile);
        CHECK(strlen(hostile) < sizeof(hostile), "%s many times", pieces[i]);
    }
}

/* Names made to explode: each must end soon, whatever comes of it. */
static void test_hostile_names(void)
{
    static char name[70000];
    clock_t start = clock();
    char *at = stpcpy(name, "_Z1fI");
    for (int i = 0; i < 60; i++)
        at += sprintf(at, "S%c_", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[i % 36]);
    free(ma_demangle(name, true));
    /* f(A<int, int>, A<that, that>, ...): each argument is twice as long as the one before. */
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    at = stpcpy(name, "_Z1f1AIiiE");
    for (int i = 0; i < 33; i++)
        at += sprintf(at, "S_IS%c_S%c_E", digits[i], digits[i]);
    char *text = ma_demangle(name, true);
    CHECK(!text, "a name that prints gigabytes stays as it is");
    free(text);
    at = stpcpy(name, "_RIC1a");
    for (int i = 0; i < 40; i++)
        at += sprintf(at, "TB%x_B%x_E", i ? 6 + 9 * (i - 1) : 4, i ? 6 + 9 * (i - 1) : 4);
    strcpy(at, "E");
    free(ma_demangle(name, true));
    at = stpcpy(name, "_D1a1bFAi");
    for (int i = 0; i < 300; i++)
        at = stpcpy(at, "HQcQe");
    free(ma_demangle(name, true));
    static const char *const repeated[][2] = {{"_Z1f", "P"},  {"_ZN", "1a"}, {"_Z1fI", "J"},
                                              {"_Z1f", "F"},  {"_D", "A"},   {"_Z", "L"},
                                              {"_R", "NvB_"}, {"_D", "_D1a"}};
    for (unsigned i = 0; i < sizeof(repeated) / sizeof(*repeated); i++)
        for (size_t length = 100; length < 69000; length = length * 5 / 2) {
            at = stpcpy(name, repeated[i][0]);
            while ((size_t)(at - name) < length)
                at = stpcpy(at, repeated[i][1]);
            free(ma_demangle(name, true));
        }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    CHECK(seconds < 5, "hostile names end in %.2f s", seconds);

    at = stpcpy(name, "_ZN");
    for (int i = 0; i < 50; i++)
        at += sprintf(at, "100%0100d", i);
    memcpy(at, "Ei", 3);
    for (char *digit = name; (digit = strstr(digit, "1000")); digit += 4)
        digit[3] = 'a';
    text = ma_demangle(name, true);
    CHECK(text && strlen(text) > 5000, "long honest names are demangled");
    free(text);
}

int main(void)
{
    test_demangle();
    test_fortran();
    test_swift();
    test_shorten();
    test_hostile_names();
    return TAP_DONE();
}
