# SPDX-License-Identifier: MIT
"""Known leaks left out, in LeakSanitizer's syntax: from files and from the
program's own __lsan_default_suppressions; nothing is lost from the sums."""
import json
import platform
import re
import shutil

import pytest

import support
from support import PROGRAMS, analyze, run

READABLE = platform.machine() in ("x86_64", "aarch64")


def traced(path, name):
    support.trace([PROGRAMS / name], path)
    return path


@pytest.fixture
def rules(tmp_path):
    def write(text):
        (tmp_path / "rules").write_text(text)
        return tmp_path / "rules"
    return write


@pytest.mark.skipif(not READABLE, reason="only code of x86-64 and AArch64 is read")
@pytest.mark.parametrize("name", ["suppressed", "suppressed_plain", "suppressed_fixed"])
def test_programs_own_are_honoured(tmp_path, name):
    path = traced(tmp_path / "t", name)
    whole = support.report(path, "--leaks")
    (one,) = whole["suppressions"]["patterns"]
    assert one.pop("stacks") >= 1  # the loop may be unrolled
    assert one == {"pattern": "known_leak", "source": "__lsan_default_suppressions", "line": 2,
                   "bytes": 3000, "blocks": 3}
    assert not support.leaks_of(whole["leaks"], "known_leak")
    assert support.leaks_of(whole["leaks"], "other_leak")
    shown = sum(e["bytes"] for e in whole["leaks"])
    assert shown + whole["suppressions"]["bytes"] == whole["summary"]["leaked_bytes"]
    assert whole["verdict"]["bytes"]["suppressed"] == 3000
    text = analyze(path).stdout
    assert "leak:known_leak (__lsan_default_suppressions:2)" in text
    assert re.search(r"2\.9\d KiB in 3 never freed blocks are suppressed", text)
    assert whole["audit"]["complete"]


def test_files_too_with_counts(tmp_path, rules):
    path = traced(tmp_path / "t", "suppressed_strange")
    file = rules("# comment\n\n  leak:^other_*$  \nleak:nobody\nleak:third_leak\r\n")
    whole = support.report(path, "--leaks", "--suppressions", file)
    counts = {p["pattern"]: (p["bytes"], p["blocks"], p["line"])
              for p in whole["suppressions"]["patterns"]}
    assert counts == {"^other_*$": (1000, 5, 3), "nobody": (0, 0, 4), "third_leak": (7, 1, 5)}
    assert support.leaks_of(whole["leaks"], "known_leak")
    assert not support.leaks_of(whole["leaks"], "other_leak")


def test_what_cannot_be_read_is_said(tmp_path):
    text = analyze(traced(tmp_path / "t", "suppressed_strange")).stdout
    assert "__lsan_default_suppressions() is no plain text" in text


@pytest.mark.skipif(not READABLE, reason="only code of x86-64 and AArch64 is read")
def test_programs_own_mistake_is_said(tmp_path):
    path = traced(tmp_path / "t", "suppressed_bad")
    text = analyze(path).stdout
    assert '__lsan_default_suppressions:2: expected leak:PATTERN' in text
    assert not support.leaks_of(support.report(path, "--leaks")["leaks"], "known_leak")


@pytest.mark.parametrize("pattern, hides", [
    ("other", True), ("^other", True), ("ther_leak$", True), ("^ther", False), ("othe$", False),
    ("o*r_*k", True), ("^*leak$", True), ("suppressed.c", True), ("*/suppressed_strange", True),
    ("/suppressed_strange$", True), ("OTHER", False), ("other_leakk", False), ("*", True),
    ("^o*r$", False)])
def test_patterns(tmp_path_factory, rules, pattern, hides):
    path = tmp_path_factory.getbasetemp() / "patterns"
    if not path.exists():
        traced(path, "suppressed_strange")
    leaks = support.report(path, "--leaks", "--suppressions", rules(f"leak:{pattern}\n"))["leaks"]
    assert bool(support.leaks_of(leaks, "other_leak")) != hides


@pytest.mark.parametrize("text, words", [
    ("leak:a\nmutex:b\n", [":2:", "expected leak:PATTERN", 'found "mutex:b"']),
    ("leak:\n", [":1:", "expected a pattern after leak:"]),
    ("other_leak", [":1:", "expected leak:PATTERN"]),
    ("leak:a\0b\n", [":1:", "expected a line of text"]),
])
def test_malformed_files_are_refused(tmp_path, rules, text, words):
    path = traced(tmp_path / "t", "suppressed")
    done = analyze(path, "--suppressions", rules(text), status=1)
    support.refused(done, "rules", *words)
    assert not done.stdout


def test_wrong_use(tmp_path):
    path = traced(tmp_path / "t", "suppressed")
    done = analyze(path, "--suppressions", tmp_path / "none", status=1)
    support.refused(done, "none", "No such file")
    assert run([support.ANALYZE, path, "--no-symbols", "--suppressions", "x"]).returncode == 2


# --- LeakSanitizer itself as the oracle

LEAKS = r"""
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>
void *volatile sink;
#define LEAK(n) do { sink = malloc(n); sink = 0; asm volatile(""); } while (0)
#define OWN __attribute__((noinline))
namespace crash { namespace {
struct Support { OWN static void *allocate(size_t n) { LEAK(n); return 0; } };
} OWN void report() { Support::allocate(1001); asm volatile(""); } }
namespace gen { OWN void module(int n) { LEAK(n + 2000); }
OWN void moduleSource(int n) { LEAK(n + 3000); } }
namespace js { template <class T> struct Lexer {};
template <class L> struct Parser { OWN static void parse() { LEAK(4004); } }; }
template <class V> struct Keeper { OWN static void keep() { LEAK(5005); } };
OWN void copy() { char text[6007]; memset(text, 'a', 6006); text[6005] = 0;
                  sink = strdup(text); sink = 0; asm volatile(""); }
OWN void text(std::string const &) { LEAK(7007); }
namespace lib { inline namespace __1 { OWN void inl() { LEAK(8008); } } }
struct Op { OWN Op operator->*(int n) const { LEAK(n + 9000); return *this; }
            OWN operator unsigned long() const { LEAK(9100); return 1; } };
template <class F> OWN void apply(F f) { f(); asm volatile(""); }
inline OWN void lambdas() { apply([]() OWN { LEAK(10010); }); apply([]() OWN { LEAK(10020); });
                     apply([]() OWN { LEAK(10040); }); }
OWN void abab() { LEAK(11011); }
extern "C" OWN void plain_c(void) { LEAK(12012); }
int main() {
  crash::report(); gen::module(0); gen::moduleSource(0);
  js::Parser<js::Lexer<unsigned char>>::parse(); Keeper<std::vector<int>>::keep();
  copy(); text("x"); lib::inl(); Op()->*1; (void)(unsigned long)Op(); lambdas(); abab(); plain_c();
  char clear[8192]; memset(clear, 0, sizeof clear); asm volatile("" :: "r"(clear) : "memory");
  return 0;
}
"""
# What both hide; LeakSanitizer decides. Of its two spellings of "> >" one is its own.
SAME = [
    "crash::(anonymous namespace)::Support::allocate", "(anonymous namespace)", "gen::module",
    "^gen::module(", "gen::module($", "gen::module(int)$", "^gen::module$", "*module*int)$",
    "Keeper<std::vector<int, std::allocator<int> > >", "^Keeper<", "strdup",
    "std::__cxx11::basic_string", "text(std::__cxx11::basic_string*", "lib::__1::inl", "leaks.cc",
    "leaks.cc$", "/leaks.cc$", "^leaks.cc", "operator->*", "operator unsigned long",
    "lambdas()::'lambda'()::operator()", "lambdas()::'lambda0'()", "lambdas()::'lambda1'()",
    "'lambda", "ab()$", "^ab", "^abab()$", "abab$", "b()$", "^abab$", "plain_c", "^plain_c$",
    "plain$", "^main$", "$", "a*z*q", "nobody", "Keeper<*>::keep()$", "Keeper*",
    " gen::module", "js::Parser<js::Lexer<unsigned char> >::parse",
]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Traces of the program by gcc and clang, and what LeakSanitizer hides by a pattern."""
    folder = tmp_path_factory.mktemp("lsan")
    (folder / "leaks.cc").write_text(LEAKS)
    symbolizer = shutil.which("llvm-symbolizer") or shutil.which("llvm-symbolizer-14")
    if not shutil.which("clang++") or not symbolizer:
        pytest.skip("there is no clang++ with a symbolizer")
    build = run(["clang++", "-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=leak",
                 folder / "leaks.cc", "-o", folder / "lsan"])
    if build.returncode:
        pytest.skip("clang++ has no runtime for LeakSanitizer here")

    def lsan(pattern):
        (folder / "rules").write_text(f"leak:{pattern}\n")
        env = support.clean_environment(
            LSAN_OPTIONS=f"suppressions={folder / 'rules'}:fast_unwind_on_malloc=0",
            LSAN_SYMBOLIZER_PATH=symbolizer, ASAN_SYMBOLIZER_PATH=symbolizer)
        done = run([folder / "lsan"], env=env)
        if "does not work under ptrace" in done.stderr or "fatal error" in done.stderr:
            pytest.skip("LeakSanitizer may not stop its threads here")
        return sum(int(size) for size in re.findall(r"^ +\d+ +(\d+) ", done.stderr, re.M))

    traces = []
    for compiler in ("g++", "clang++"):
        done = run([compiler, "-g", "-O1", folder / "leaks.cc", "-o", folder / compiler])
        assert done.returncode == 0, done
        assert support.trace([folder / compiler], folder / f"{compiler}.t").returncode == 0
        traces.append(folder / f"{compiler}.t")
    return lsan, traces


@pytest.mark.parametrize("pattern", SAME)
def test_patterns_hide_what_leak_sanitizer_hides(judged, rules, pattern):
    """GIVEN a program with 15 leaks of distinct sizes
    WHEN one pattern is given to LeakSanitizer and to the analyser
    THEN both hide the same bytes; the analyser also takes the names that it shows."""
    lsan, traces = judged
    shown = {"^gen::module$": 2000, "^abab$": 11011, "abab$": 11011}
    wanted = lsan(pattern) or shown.get(pattern, 0)
    for trace in traces:
        hidden = json.loads(analyze(trace, "--leaks", "--json", "--suppressions",
                                    rules(f"leak:{pattern}\n")).stdout)["suppressions"]["bytes"]
        assert hidden == wanted, trace


@pytest.mark.parametrize("pattern, size", [
    ("js::Parser<js::Lexer<unsigned char>>::parse", 4004),
    ("Keeper<std::vector<int, std::allocator<int>>>", 5005), ("Keeper<std::vector<int> >", 5005)])
def test_blanks_before_brackets_do_not_count(judged, rules, pattern, size):
    """Symbolisers of several years write them or not: a list serves with all of them."""
    for trace in judged[1]:
        whole = support.report(trace, "--leaks", "--suppressions", rules(f"leak:{pattern}\n"))
        assert whole["suppressions"]["bytes"] == size


def test_a_frame_further_in_counts_first(judged, rules):
    """GIVEN two patterns for one stack THEN that of the inner frame hid it, as in LeakSanitizer."""
    whole = support.report(judged[1][0], "--leaks", "--suppressions",
                           rules("leak:crash::report\nleak:Support::allocate\n"))
    assert [p["bytes"] for p in whole["suppressions"]["patterns"]] == [0, 1001]


# --- the runtimes' own blocks

OWN = r"""
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>
#include <thread>
#include <unistd.h>
static void *volatile kept;
int main(int argc, char **argv)
{
    std::cout << "text" << std::endl;
    printf("text\n");
    std::thread one([] {});
    one.join();
    time_t now = time(nullptr);
    localtime(&now);
    setlocale(LC_ALL, "C.UTF-8");
    setenv("A_NAME", "a value", 1);
    atexit([] {});
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "leak")) kept = malloc(123 * 8);
        if (!strcmp(argv[i], "dup")) kept = strdup("a text of thirty-three bytes ...");
        if (!strcmp(argv[i], "files"))
            for (int k = 0; k < 5; k++) { FILE *f = fopen("/proc/self/stat", "r"); fgetc(f); kept = f; }
    }
    kept = nullptr;
    return 0;
}
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    support.compiled(folder, "own", OWN, "-g", "-O1", "-pthread", compiler="g++")

    def traced_with(*args):
        path = folder / ("t" + "-".join(args))
        assert support.trace([folder / "own", *args], path).returncode == 0
        return path
    return traced_with


def test_the_runtimes_own_blocks_are_left_out_and_counted(own):
    """GIVEN a program that frees all of its own
    THEN no leak is listed, a gate passes, and what the runtimes keep is told."""
    path = own()
    done = analyze(path, "--fail-on", "leaked_bytes>0", "--fail-on", "leaked_blocks>0")
    assert "No leak: every block of the program's own was freed." in done.stdout
    assert re.search(r"^ +runtimes' own +\S+ KiB in \d+ stacks$", done.stdout, re.M), done.stdout
    assert re.search(r"^Left out\n  \S+ KiB in \d+ blocks from \d+ stacks: the C and C\+\+ "
                     r"runtimes' own \(--no-builtin-suppressions shows them\)$",
                     done.stdout, re.M), done.stdout
    whole = json.loads(analyze(path, "--json", "--top", "0").stdout)
    assert whole["leaks"] == []
    runtime, summary = whole["runtime"], whole["summary"]
    assert runtime["bytes"] == summary["leaked_bytes"] == whole["verdict"]["bytes"]["runtime"] > 0
    assert runtime["blocks"] == summary["leaked_blocks"] and runtime["stacks"] >= 5
    assert whole["suppressions"]["bytes"] == 0
    everything = support.report(path)
    assert everything["runtime"] == {"bytes": 0, "blocks": 0, "stacks": 0}
    assert sum(e["bytes"] for e in everything["leaks"]) == summary["leaked_bytes"]
    done = analyze(path, "--no-builtin-suppressions", "--fail-on", "leaked_bytes>0", status=3)


@pytest.mark.parametrize("args, sizes", [
    (["leak"], [123 * 8]), (["dup"], [33]),
    # Five streams of the program's own: more buffers than the three standard ones have.
    (["files"], [5 * 1024, 5 * 472])])
def test_what_the_program_asked_the_runtime_for_is_shown(own, args, sizes):
    path = own(*args)
    whole = json.loads(analyze(path, "--json", "--leaks", "--top", "0").stdout)
    listed = sum(e["bytes"] for e in whole["leaks"])
    assert listed + whole["runtime"]["bytes"] == whole["summary"]["leaked_bytes"]
    if args == ["files"]:
        assert sorted(e["blocks"] for e in whole["leaks"]) == [5, 5]
    else:
        assert [e["bytes"] for e in whole["leaks"]] == sizes


def test_a_report_as_baseline_leaves_out_the_same(own, tmp_path):
    analyze(own(), "--json", "-o", tmp_path / "base.json")
    for baseline in (own(), tmp_path / "base.json"):
        analyze(own("leak"), "--baseline", baseline, "--fail-on", "leaked_bytes!=+984")
