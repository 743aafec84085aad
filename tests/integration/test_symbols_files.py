# SPDX-License-Identifier: MIT
"""The files that symbols come from: separate debug files however they are named,
objects that were loaded by relative names, and names that are left alone."""
import os

import pytest

import support
from support import run

TILL = r"""
#include <stdlib.h>
void *volatile kept;
static __attribute__((noinline)) void *deep_helper(int n) { return malloc(n); }
__attribute__((noinline)) void *open_till(int n) { kept = deep_helper(n); return kept; }
int main(void) { return !open_till(123 * 8); }
"""
TOLD = [("deep_helper", 4), ("open_till", 5), ("main", 6)]


def told(path, size, *options):
    """The (function, line) of the first three frames of the leak of that size."""
    (entry,) = [e for e in support.report(path, "--leaks", "--no-cache", *options)["leaks"]
                if e["bytes"] == size]
    return [(f["function"], f["line"]) for f in entry["stack"][:3]]


# ---- debug files that have the name of the program

def split(folder, build_id, place, name="till"):
    """A traced program without symbols, its debug file in `place` under its own name."""
    (folder / "till.c").write_text(TILL)
    program = folder / name
    place.mkdir(parents=True, exist_ok=True)
    for command in (["gcc", "-g", "-O1", f"-Wl,--build-id={build_id}", "till.c", "-o", name],
                    ["objcopy", "--only-keep-debug", name, place / name], ["strip", name],
                    ["objcopy", f"--add-gnu-debuglink={place / name}", name]):
        done = run(command, cwd=folder)
        assert done.returncode == 0, done
    support.trace([program], folder / "t")
    return program


@pytest.mark.parametrize("build_id", ["sha1", "none"])
def test_debug_file_of_the_same_name(tmp_path, build_id):
    """GIVEN a debug link that says the program's own name, as embedded builds have it
    WHEN the file is in .debug beside it THEN it is found, and not the program for it."""
    split(tmp_path, build_id, tmp_path / ".debug")
    assert told(tmp_path / "t", 123 * 8) == TOLD


@pytest.mark.parametrize("build_id", ["sha1", "none"])
def test_debug_file_of_the_same_name_below_a_root_of_debug_files(tmp_path, build_id):
    """The same where the folders of the system are repeated below one, as /usr/lib/debug has it."""
    (tmp_path / "bin").mkdir()
    debug = tmp_path / "debug"
    split(tmp_path / "bin", build_id, debug / (tmp_path / "bin").relative_to("/"))
    assert told(tmp_path / "bin/t", 123 * 8)[0] != TOLD[0]
    # also where the first file of the name is the program again
    os.link(tmp_path / "bin/till", debug / "till")
    assert told(tmp_path / "bin/t", 123 * 8, "--debug-dir", debug) == TOLD


def test_debug_file_with_another_checksum_hides_none(tmp_path):
    """GIVEN a program without build-id, a debug file of another build beside it
    THEN the right one, at the next place, is used."""
    split(tmp_path, "none", tmp_path / ".debug", name="other")
    (tmp_path / "wrong").mkdir()
    (tmp_path / ".debug/other").rename(tmp_path / "wrong/till")
    split(tmp_path, "none", tmp_path / ".debug")
    with open(tmp_path / "wrong/till", "ab") as wrong:
        wrong.write(b"\0" * 16)
    assert told(tmp_path / "t", 123 * 8, "--debug-dir", tmp_path / "wrong") == TOLD
    os.unlink(tmp_path / ".debug/till")
    assert told(tmp_path / "t", 123 * 8, "--debug-dir", tmp_path / "wrong")[0] != TOLD[0]


def test_debug_file_beside_the_real_place(tmp_path):
    """GIVEN a library that a symbolic link leads to THEN its debug file is found at its real place."""
    real = tmp_path / "real"
    real.mkdir()
    (real / "lib.c").write_text("#include <stdlib.h>\nvoid *deep(int n) { return malloc(n); }\n")
    (tmp_path / "host.c").write_text(
        "void *deep(int); void *volatile k; int main(void) { k = deep(123 * 8); return !k; }\n")
    done = support.bash(
        'cd "$1/real" && gcc -g -O1 -fno-optimize-sibling-calls -shared -fPIC lib.c -o lib.so && '
        "mkdir .debug && objcopy --only-keep-debug lib.so .debug/lib.so && strip lib.so && "
        "objcopy --add-gnu-debuglink=.debug/lib.so lib.so && mkdir ../seen && "
        'ln -s ../real/lib.so ../seen/lib.so && cd .. && gcc -O1 host.c "$1/seen/lib.so" -o host',
        tmp_path)
    assert done.returncode == 0, done
    support.trace([tmp_path / "host"], tmp_path / "t")
    assert told(tmp_path / "t", 123 * 8)[0] == ("deep", 2)
