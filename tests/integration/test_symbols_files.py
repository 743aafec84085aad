# SPDX-License-Identifier: MIT
"""The files that symbols come from: separate debug files however they are named,
objects that were loaded by relative names, and names that are left alone."""
import os
import re
import shutil
import sys

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


# ---- objects with relative names

PLUG = r"""
#include <stdlib.h>
void *volatile kept;
__attribute__((noinline)) static void *deep(int n) { kept = malloc(n); return kept; }
void *plug_open(int n) { return deep(n + 1) ? kept : 0; }
"""
HOST = r"""
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int c, char **v)
{
    if (c > 2) { /* by a descriptor */
        int fd = open(v[1], O_RDONLY);
        char name[40];
        snprintf(name, sizeof name, "/proc/self/fd/%d", dup2(fd, 77));
        v[1] = name;
    }
    void *plug = dlopen(v[1], RTLD_NOW);
    void *(*open_plug)(int) = (void *(*)(int))dlsym(plug, "plug_open");
    return chdir("/") || !open_plug(123 * 8 - 1);
}
"""
IN_PLUG = [("deep", 4), ("plug_open", 5)]


@pytest.fixture
def application(tmp_path):
    app = tmp_path / "app"
    (app / "plugins").mkdir(parents=True)
    (app / "plugins/plug.c").write_text(PLUG)
    (app / "host.c").write_text(HOST)
    (app / "needs.c").write_text("void *plug_open(int);\n"
                                 "int main(void) { return !plug_open(123 * 8 - 1); }\n")
    done = support.bash(
        'cd "$1" && gcc -g -O1 -fno-optimize-sibling-calls -shared -fPIC plugins/plug.c '
        "-o plugins/plug.so && gcc -O1 host.c -o host -ldl", app)
    assert done.returncode == 0, done
    return app


@pytest.mark.parametrize("name", ["./plugins/plug.so", "plugins/plug.so", "plugins/../plugins/plug.so",
                                  "././/plugins//plug.so"])
def test_plug_in_by_a_relative_name(application, tmp_path, name):
    """GIVEN a program that loads a plug-in by a relative name and leaves the folder
    WHEN it is analysed elsewhere THEN the plug-in's names show."""
    support.trace([application / "host", name], tmp_path / "t", cwd=application)
    assert told(tmp_path / "t", 123 * 8)[:2] == IN_PLUG
    text = support.analyze(tmp_path / "t", "--leaks", cwd="/").stdout
    assert "deep" in text and "was not found" not in text
    # of another build it is named by its place, and not used
    support.bash('cd "$1" && sed -i s/deep/deeper/ plugins/plug.c && '
                 "gcc -g -O1 -shared -fPIC plugins/plug.c -o plugins/plug.so", application)
    text = support.analyze(tmp_path / "t", "--leaks", "--no-cache").stdout
    assert "deep" not in text and "is another build and was not used" in text
    assert str(application) in text


@pytest.mark.parametrize("link", [["plugins/plug.so"],
                                  ["-Lplugins", "-l:plug.so", "-Wl,-rpath,plugins"],
                                  ["-L.", "-l:plug.so", "-Wl,-rpath,."]])
def test_library_that_is_needed_by_a_relative_name(application, tmp_path, link):
    """The same of DT_NEEDED with a slash and of run paths that are relative."""
    shutil.copy(application / "plugins/plug.so", application / "plug.so")
    done = run(["gcc", "needs.c", *link, "-o", "needs"], cwd=application)
    assert done.returncode == 0, done
    support.trace([application / "needs"], tmp_path / "t", cwd=application)
    assert told(tmp_path / "t", 123 * 8)[:2] == IN_PLUG


def test_relative_name_behind_a_sysroot(application, tmp_path):
    support.trace([application / "host", "./plugins/plug.so"], tmp_path / "t", cwd=application)
    root = tmp_path / "root"
    shutil.copytree(application, root / application.relative_to("/"))
    shutil.rmtree(application)
    assert told(tmp_path / "t", 123 * 8)[0] != IN_PLUG[0]
    assert told(tmp_path / "t", 123 * 8, "--sysroot", root)[:2] == IN_PLUG


def test_nothing_is_opened_below_proc(application, tmp_path):
    """GIVEN a plug-in that was loaded by /proc/self/fd/77, which is the right file
    in the analyser as well THEN it is not opened there, and the audit says so."""
    support.trace([application / "host", "plugins/plug.so", "fd"], tmp_path / "t",
                  cwd=application)
    done = support.bash('exec 77<"$1"; exec "$2" "$3" --leaks --no-cache',
                        application / "plugins/plug.so", support.ANALYZE, tmp_path / "t")
    assert done.returncode == 0, done
    assert "/proc/self/fd/77: 2 of 2 frames have no name (is no regular file and was not " \
        "opened)" in done.stdout
    assert "deep" not in done.stdout
    # by its build-id it may be found
    build_id = re.search(r"Build ID: (\w+)",
                         run(["readelf", "-n", application / "plugins/plug.so"]).stdout)[1]
    place = tmp_path / "debug/.build-id" / build_id[:2]
    place.mkdir(parents=True)
    shutil.copy(application / "plugins/plug.so", place / f"{build_id[2:]}.debug")
    assert told(tmp_path / "t", 123 * 8, "--debug-dir", tmp_path / "debug")[:2] == IN_PLUG


def test_program_that_was_deleted(tmp_path):
    """GIVEN a program that was unlinked as it began, "till (deleted)" to the kernel
    THEN no file of that name is opened, but one of the program's that is the same build."""
    (tmp_path / "till.c").write_text(TILL)
    done = run(["gcc", "-g", "-O1", "till.c", "-o", "till"], cwd=tmp_path)
    assert done.returncode == 0, done
    shutil.copy(tmp_path / "till", tmp_path / "kept")
    start = ("import os, sys; path = sys.argv[1]; fd = os.open(path, os.O_RDONLY); "
             "os.unlink(path); os.environ['LD_PRELOAD'] = sys.argv[2]; "
             "os.execve(fd, [path], os.environ)")
    done = support.bash('exec "$2" -c "$3" "$4" "$5" 1022>"$1"', tmp_path / "t", sys.executable,
                        start, tmp_path / "till", support.LIBRARY)
    assert done.returncode == 0, done
    shutil.copy(tmp_path / "kept", tmp_path / "till (deleted)")
    text = support.analyze(tmp_path / "t", "--leaks", "--no-cache").stdout
    assert "till (deleted): " in text and "(was not found)" in text and "deep_helper" not in text
    shutil.copy(tmp_path / "kept", tmp_path / "till")
    assert told(tmp_path / "t", 123 * 8) == TOLD
