# SPDX-License-Identifier: MIT
"""Inlined frames, files and lines from every form that compilers and packers
give to debug information, and from debug information that is damaged."""
import os
import random
import re
import shutil

import pytest

import support
from support import ANALYZE, run

SOURCES = {
    "a.cc": """
#include <cstdlib>
namespace shop {
struct Till { void *open(int n); };
static inline __attribute__((always_inline)) void *inner(int n) { return malloc(n + 1); }
void *volatile kept;
__attribute__((noinline)) void *Till::open(int n) { kept = inner(n); return kept; }
}
void *other(int n);
int main(int c, char **) { shop::Till t; return !t.open(c * 983) || !other(c * 1967); }
""",
    "b.cc": """
#include <cstdlib>
namespace { inline __attribute__((always_inline)) void *deep(int n) { return malloc(n + 1); } }
void *volatile last;
__attribute__((noinline)) void *other(int n) { last = deep(n); return last; }
""",
}
FIRST = [("shop::inner", "a.cc", 5, True), ("shop::Till::open", "a.cc", 7, False)]
SECOND = [("(anon)::deep", "b.cc", 3, True), ("other", "b.cc", 5, False)]

FORMS = {
    "gcc-4": "g++ -O3 -g -gdwarf-4 a.cc b.cc -o p",
    "gcc-5": "g++ -O3 -g -gdwarf-5 a.cc b.cc -o p",
    "gcc-types": "g++ -O3 -g -fdebug-types-section a.cc b.cc -o p",
    "gcc-split-4": "g++ -O3 -g -gdwarf-4 -gsplit-dwarf a.cc b.cc -o p",
    "gcc-split-5": "g++ -O3 -g -gdwarf-5 -gsplit-dwarf a.cc b.cc -o p",
    "gcc-lto": "g++ -O3 -g -flto a.cc b.cc -o p",
    "gcc-zlib": "g++ -O3 -g -gz=zlib a.cc b.cc -o p",
    "gcc-zlib-gnu": "g++ -O3 -g -gz=zlib-gnu a.cc b.cc -o p",
    "zstd": "g++ -O3 -g a.cc b.cc -o p && objcopy --compress-debug-sections=zstd p && "
            "readelf -tW p | grep -q ZSTD",
    "dwz": "g++ -O3 -g a.cc b.cc -o p && cp p q && dwz -m common p q && readelf -SW p | grep -q "
           "gnu_debugaltlink && objcopy --compress-debug-sections=zlib p",
    "link": "g++ -O3 -g a.cc b.cc -o p && objcopy --only-keep-debug p p.debug && strip p && "
            "objcopy --add-gnu-debuglink=p.debug p",
    "link-zstd": "g++ -O3 -g a.cc b.cc -o p && objcopy --only-keep-debug "
                 "--compress-debug-sections=zstd p p.debug && strip p && "
                 "objcopy --add-gnu-debuglink=p.debug p",
    "clang-4": "clang++ -O3 -g -gdwarf-4 a.cc b.cc -o p",
    "clang-5": "clang++ -O3 -g -gdwarf-5 a.cc b.cc -o p",
    "clang-split-5": "clang++ -O3 -g -gdwarf-5 -gsplit-dwarf -c a.cc b.cc && clang++ a.o b.o -o p",
    "clang-no-aranges": "clang++ -O3 -g -gno-aranges -gdwarf-4 a.cc b.cc -o p || "
                        "clang++ -O3 -g a.cc b.cc -o p",
}


def build(folder, command):
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    done = support.bash(f'cd "$1" && {command}', folder)
    assert done.returncode == 0, done
    support.trace([folder / "p"], folder / "t")
    return folder / "p"


def told(folder):
    """The calls that leak, by size, below main and above the allocator."""
    found = {}
    for entry in support.report(folder / "t", "--leaks")["leaks"]:
        names = [(f["function"], f["file"] and os.path.basename(f["file"]), f["line"],
                  f["inlined"]) for f in entry["stack"]]
        if any(name[0] == "main" for name in names):
            found[entry["bytes"]] = names[:[name[0] for name in names].index("main")]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_debug_information(tmp_path, form):
    build(tmp_path, FORMS[form])
    assert told(tmp_path) == {984: FIRST, 1968: SECOND}


def test_split_part_that_is_missing(tmp_path):
    # GIVEN split debug information, one of its files gone
    program = build(tmp_path, FORMS["gcc-split-5"])
    (lost,) = tmp_path.glob("*a.dwo")
    lost.unlink()
    # THEN its function is told from the symbols, the others as before, and what is missing
    calls = told(tmp_path)
    assert calls[1968] == SECOND
    assert [name for name, *_ in calls[984]] == ["shop::Till::open"]
    text = support.analyze(tmp_path / "t", "--leaks").stdout
    assert f"{program}: part of its debug information lies in other files" in text


@pytest.mark.parametrize("version", [4, 5])
def test_split_parts_in_a_package(tmp_path, version):
    """GIVEN split debug information whose parts were packed into p.dwp and removed
    THEN the audit names the package and what to do; without it, what is missing."""
    program = build(tmp_path, f"clang++ -O3 -g -gdwarf-{version} -gsplit-dwarf -c a.cc b.cc && "
                              "clang++ a.o b.o -o p && { llvm-dwp-14 -e p -o p.dwp || "
                              "llvm-dwp -e p -o p.dwp || : > p.dwp; } && rm -f *.dwo")
    assert [name for name, *_ in told(tmp_path)[984]] == ["shop::Till::open"]
    text = support.analyze(tmp_path / "t", "--leaks").stdout
    flat = " ".join(text.split())
    assert (f"{program}: part of its debug information lies in {program}.dwp, a package that is "
            "not read here") in flat
    assert "Keep the .dwo files it was made of" in flat
    (tmp_path / "p.dwp").unlink()
    text = support.analyze(tmp_path / "t", "--leaks").stdout
    assert "lies in other files (.dwo, dwz) that were not found" in text


def test_damaged_debug_information(tmp_path):
    """Whatever the file holds: the same numbers, no crash, an end."""
    program = build(tmp_path, "g++ -O1 -g a.cc b.cc -o p")
    whole = program.read_bytes()
    expected = support.summary(tmp_path / "t")
    sections = re.findall(r"\] \.(debug_\w+|symtab|strtab|shstrtab) +\w+ +\w+ (\w+) (\w+)",
                          run(["readelf", "-SW", program]).stdout)
    assert len(sections) > 6
    dice = random.Random(4711)
    kinds = [whole[:len(whole) * part // 12] for part in range(5, 12)]
    for _, offset, size in sections * 4:
        bad = bytearray(whole)
        for _ in range(1 + dice.randrange(40)):
            bad[int(offset, 16) + dice.randrange(int(size, 16))] = dice.choice((0, 1, 0x7f, 0x80,
                                                                                0xff))
        kinds.append(bytes(bad))
    for _ in range(20):  # section headers, at the end of the file
        bad = bytearray(whole)
        at = int.from_bytes(whole[40:48], "little")
        for _ in range(6):
            bad[dice.randrange(at, len(bad))] = dice.randrange(256)
        kinds.append(bytes(bad))
    for bad in kinds:
        program.write_bytes(bad)
        done = run([ANALYZE, tmp_path / "t", "--json", "--summary", "--leaks"])
        assert done.returncode == 0, done
        assert f'"leaked_bytes": {expected["leaked_bytes"]}' in done.stdout or \
            f'"leaked_bytes":{expected["leaked_bytes"]}' in done.stdout


# ---- languages

SCOPES = """
#include <cstdlib>
void *volatile kept;
namespace shop {
struct Till { void *open(int n);
  static inline __attribute__((always_inline)) void *inner(int n) { return malloc(n); } };
struct Door { void *open(int n); };
__attribute__((noinline)) void *Till::open(int n) { kept = inner(n); return (char *)kept + 1; }
__attribute__((noinline)) void *Door::open(int n) { kept = Till::inner(n); return kept; }
}
int main() { shop::Till t; shop::Door d; return !t.open(123 * 8) || !d.open(123 * 16); }
"""
INSIDE = {984: ["shop::Till::inner", "shop::Till::open"],
          1968: ["shop::Till::inner", "shop::Door::open"]}


def names_told(folder):
    return {size: [name for name, *_ in calls] for size, calls in told(folder).items()}


@pytest.mark.parametrize("compiler", [["g++", "-dA"], ["clang++"]])
@pytest.mark.parametrize("language", [0x2a, 0x2b, 0x31, 0x3a, 0x11])
def test_languages_of_later_days(tmp_path, compiler, language):
    """GIVEN C++ whose unit has a language code that libdw does not know
    THEN classes and namespaces are told, of inlined functions too."""
    (tmp_path / "a.cc").write_text(SCOPES)
    done = run([*compiler, "-g", "-gdwarf-5", "-O1", "-S", "a.cc"], cwd=tmp_path)
    assert done.returncode == 0, done
    text, n = re.subn(r"\.(byte|value|short|2byte)(\s+)(0x21|33)(?=\s.*DW_AT_language)",
                      rf".\1\g<2>{language}", (tmp_path / "a.s").read_text())
    assert n == 1
    (tmp_path / "a.s").write_text(text)
    done = run([compiler[0], "a.s", "-o", "p"], cwd=tmp_path)
    assert done.returncode == 0, done
    support.trace([tmp_path / "p"], tmp_path / "t")
    assert names_told(tmp_path) == INSIDE


def test_one_link_of_several_languages(tmp_path):
    """GIVEN C and C++ in one link-time optimised unit, which gcc calls C
    THEN functions have the scopes that their own unit gives them."""
    (tmp_path / "a.cc").write_text(SCOPES.replace("int main()", 'extern "C" int shops()'))
    (tmp_path / "c.c").write_text("int shops(void);\nint main(void) { return shops(); }\n")
    done = support.bash('cd "$1" && gcc -g -O1 -flto -c c.c && g++ -g -O1 -flto -c a.cc && '
                        "g++ -g -O1 -flto a.o c.o -o p", tmp_path)
    assert done.returncode == 0, done
    support.trace([tmp_path / "p"], tmp_path / "t")
    assert {size: names[:2] for size, names in names_told(tmp_path).items()} == INSIDE


def test_modules_of_fortran(tmp_path):
    """GIVEN two Fortran modules with a procedure of the same name THEN each is told with its
    module, with debug information, without it, and in one link-time optimised unit."""
    if not shutil.which("gfortran"):
        pytest.skip("gfortran is not installed")
    module = """module {0}
contains
  subroutine setup()
    real, pointer :: p(:)
    allocate(p({1}))
    p(1) = 1
  end subroutine
end module
"""
    (tmp_path / "m.f90").write_text(
        module.format("alpha", 246) + module.format("beta", 492) +
        'subroutine both() bind(c, name="both_of")\n  use alpha, only: as => setup\n'
        "  use beta, only: bs => setup\n  call as()\n  call bs()\nend subroutine\n")
    (tmp_path / "c.c").write_text("void both_of(void);\nint main(void) { both_of(); return 0; }\n")
    for flags in ("-g", "-g0", "-g -flto"):
        done = support.bash(
            f'cd "$1" && gfortran -O1 -fno-inline {flags} -c m.f90 -o f.o && '
            f"gcc -O1 {flags} -c c.c && gcc -O1 -fno-inline {flags} f.o c.o -lgfortran -o p",
            tmp_path)
        assert done.returncode == 0, done
        support.trace([tmp_path / "p"], tmp_path / "t")
        found = names_told(tmp_path)
        assert (found[984][0], found[1968][0]) == ("alpha::setup", "beta::setup"), (flags, found)


def test_names_of_swift(tmp_path):
    """GIVEN functions with the symbols of Swift, which begin as ARM's mapping symbols do
    THEN they are told by their names, and not called after another function."""
    (tmp_path / "n.c").write_text(r"""
#include <stdlib.h>
void *volatile kept;
#define F(id, name, size) __attribute__((noinline)) void id(void) __asm__(name); \
  void id(void) { kept = malloc(size); kept = (char *)kept + 1; }
F(a, "$s4test12MemoryLeakerCACycfC", 123 * 8)
F(b, "$sSa6appendyyxnF", 123 * 16)
F(c, "$d", 123 * 24)
int main(void) { a(); b(); c(); return 0; }
""")
    done = run(["clang", "-O1", "n.c", "-o", "p"], cwd=tmp_path)
    assert done.returncode == 0, done
    support.trace([tmp_path / "p"], tmp_path / "t")
    assert names_told(tmp_path) == {984: ["test.MemoryLeaker.init()"],
                                    1968: ["Swift.Array.append()"], 2952: ["$d"]}
