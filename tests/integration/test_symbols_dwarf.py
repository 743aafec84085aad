# SPDX-License-Identifier: MIT
"""Inlined frames, files and lines from every form that compilers and packers
give to debug information, and from debug information that is damaged."""
import os
import random
import re

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
