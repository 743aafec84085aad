# SPDX-License-Identifier: MIT
"""Every way in which the loader brings code and allocators into a program: the
library sees the calls or says that it does not, and the program runs on."""
import json
import os
import pathlib

import pytest

import support
from support import LIBRARY, PROGRAMS

LOADER = "/lib64/ld-linux-x86-64.so.2"
LEAK = """
#include <stdio.h>
#include <stdlib.h>
static void *volatile keep;
__attribute__((noinline)) void leak_here(void) { keep = malloc(123 * 8); __asm__ volatile(""); }
int main(void) { leak_here(); setvbuf(stdout, NULL, _IONBF, 0); puts("ran"); return 3; }
"""
NO_LEAK = LEAK.replace('puts("ran");', 'puts("ran"); free(keep); keep = NULL;')


def build(folder, name, *flags, compiler="gcc", source=LEAK):
    return support.compiled(folder, name, source, "-g", "-O1", *flags, compiler=compiler)


def assert_leak_is_found(path, program):
    whole = support.report(path, "--leaks")
    (entry,) = support.leaks_of(whole["leaks"], "leak_here")
    assert (entry["bytes"], entry["blocks"]) == (123 * 8, 1)
    assert support.functions(entry)[:2] == ["leak_here", "main"]
    assert entry["stack"][0]["module"] == str(program)
    assert whole["audit"]["complete"] and not any(whole["audit"]["truncated_stacks"].values())


def untraced(path):
    """Nothing was written: the file is as the shell made it."""
    return path.stat().st_size == 0


@pytest.mark.skipif(not pathlib.Path(LOADER).exists(), reason="another architecture")
@pytest.mark.parametrize("start", [
    '"$LOADER" --preload "$LIB" "$1"',
    'LD_PRELOAD=$LIB exec "$LOADER" "$1"',
    'LD_BIND_NOW=1 LD_PRELOAD=$LIB exec "$1"',
    'LD_PRELOAD=$LIB LD_BIND_NOT=1 exec "$1"',
    'LD_PRELOAD=$LIB LD_AUDIT=$2 exec "$1"',
])
@pytest.mark.parametrize("link", [["-Wl,-z,lazy"], ["-no-pie", "-fno-pie",
                                                    "-Wl,-Ttext-segment=0x10000000"]])
def test_ways_to_start(tmp_path, start, link):
    # GIVEN a program, lazily bound, or at an address of its own
    program = build(tmp_path, "program", *link)
    audit = tmp_path / "audit.c"
    audit.write_text("#define _GNU_SOURCE\n#include <link.h>\n#include <stdlib.h>\n"
                     "unsigned la_version(unsigned v) { free(malloc(10)); return v; }\n"
                     "unsigned la_objopen(struct link_map *m, Lmid_t l, uintptr_t *c)\n"
                     "{ return m && l >= 0 && c ? LA_FLG_BINDTO | LA_FLG_BINDFROM : 0; }\n")
    library = tmp_path / "audit.so"
    assert support.run(["gcc", "-shared", "-fPIC", "-o", library, audit]).returncode == 0
    env = support.clean_environment(LOADER=LOADER)
    # WHEN started so
    done = support.bash(start + ' 1022>"$3"', program, library, tmp_path / "t", env=env)
    # THEN it runs, and the leak has its names, from the right file
    assert done.visible == (3, "ran\n", "")
    assert_leak_is_found(tmp_path / "t", program)


@pytest.mark.parametrize("link", [["-static"], ["-static-pie"]])
def test_static_programs_run_untraced(tmp_path, link):
    program = build(tmp_path, "program", *link)
    done = support.trace([program], tmp_path / "t")
    assert done.visible == (3, "ran\n", "")
    assert untraced(tmp_path / "t")


def test_plugin_loaded_plainly(tmp_path):
    argv = [PROGRAMS / "loader", "plain", PROGRAMS / "loader_one.so"]
    plain = support.run(argv)
    done = support.trace(argv, tmp_path / "t", tmp_path / "oracle")
    assert done.visible == plain.visible == (0, "0\nplain 0\n", "")
    support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle")


@pytest.mark.parametrize("case", ["deepbind", "namespace"])
def test_plugins_that_do_not_see_the_preloaded(tmp_path, case):
    """RTLD_DEEPBIND and dlmopen bind a plug-in to a libc's own malloc. Its calls
    are not seen, which the audit says; what the program frees of its blocks, it counts."""
    argv = [PROGRAMS / "loader", case, PROGRAMS / "loader_one.so"]
    plain = support.run(argv)
    done = support.trace(argv, tmp_path / "t")
    assert done.visible == plain.visible == (0, f"0\n{case} 0\n", "")
    whole = support.report(tmp_path / "t", "--leaks")
    assert whole["audit"]["unmatched_frees"] == 2
    assert str(PROGRAMS / "loader_one.so") in {e["module"] for e in whole["audit"]["bypassing"]}
    assert not whole["audit"]["complete"]
    assert whole["audit"]["lost_events"] == whole["audit"]["bad_chunks"] == 0
    assert not any(whole["audit"]["truncated_stacks"].values())
    # The program's own blocks are seen; those that the plug-in freed seem live.
    mine = support.leaks_of(whole["leaks"], "across")
    assert sorted(e["bytes"] for e in mine) == [19 * 8, 19 * 8, 4 << 20, 5 << 20]


def test_storm_of_plugins(tmp_path):
    # GIVEN two threads that load and unload while two others allocate
    argv = [PROGRAMS / "loader", "storm", PROGRAMS / "loader_one.so", PROGRAMS / "loader_two.so"]
    # WHEN traced under the oracle
    done = support.trace(argv, tmp_path / "t", tmp_path / "oracle")
    # THEN it ends, counts are exact
    assert done.visible == (0, "storm 0\n", "")
    whole, _ = support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=False)
    assert whole["audit"]["complete"]
    # and each leak is blamed on its own plug-in, through all reloads
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    for name, other in (("one", "two"), ("two", "one")):
        mine = support.leaks_of(leaks, f"take_{name}")
        assert sum(e["blocks"] for e in mine) == 3 and sum(e["bytes"] for e in mine) == 3 * 41
        for entry in mine:
            assert support.functions(entry)[:2] == [f"take_{name}", "plugin_take"]
            assert entry["stack"][0]["module"].endswith(f"loader_{name}.so")
            assert f"take_{other}" not in support.functions(entry)


@pytest.mark.parametrize("second, beside", [("second_here", 0), ("second_beside", 4096)])
def test_a_plugin_that_comes_where_another_is_just_being_unloaded(tmp_path, second, beside):
    """GIVEN a thread that has unloaded one, and is not back from dlclose, WHEN another
    thread loads the other in its place, THEN each block is blamed on its own, by
    stacks that but for their modules are the same."""
    argv = [PROGRAMS / "loader", "held", PROGRAMS / "loader_first_here.so",
            PROGRAMS / f"loader_{second}.so"]
    done = support.bash('trace=$1 gate=$2; shift 2; LD_PRELOAD="$LIB $gate" exec "$@" 1022>"$trace"',
                        tmp_path / "t", PROGRAMS / "loader_gate.so", *argv)
    assert done.visible == (0, f"{beside}\nheld 0\n", "")
    whole = support.report(tmp_path / "t", "--leaks")
    assert whole["audit"]["complete"] and not any(whole["audit"]["truncated_stacks"].values())
    taken = {}
    for entry in support.leaks_of(whole["leaks"], "held"):
        if support.functions(entry)[1] == "plugin_take":
            module = entry["stack"][0]["module"].rsplit("/", 1)[-1]
            taken[support.functions(entry)[0], module] = entry["blocks"], entry["bytes"]
    assert taken == {("take_first", "loader_first_here.so"): (1, 45),
                     ("take_second", f"loader_{second}.so"): (2, 47 + 49)}


def test_runpath_of_a_plugin_decides_for_what_it_loads(tmp_path):
    """dlopen looks at who calls it: nothing of ours stands between."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir()
    outer.mkdir()
    flags = ["-shared", "-fPIC"]
    build(inner, "libinner.so", *flags, source="#include <stdlib.h>\nvoid *volatile kept;\n"
          "void inner(void) { kept = malloc(321 * 8); __asm__ volatile(\"\"); }\n")
    build(outer, "libouter.so", *flags, f"-Wl,-rpath,{inner}", "-Wl,--enable-new-dtags",
          source="#include <dlfcn.h>\nint outer(void) {\n"
          "void *h = dlopen(\"libinner.so\", RTLD_NOW); if (!h) return 1;\n"
          "((void (*)(void))dlsym(h, \"inner\"))(); return 0; }\n")
    program = build(tmp_path, "program", source="#include <dlfcn.h>\n"
                    "int main(int c, char **v) { void *h = dlopen(v[c - 1], RTLD_NOW);\n"
                    "return h ? ((int (*)(void))dlsym(h, \"outer\"))() : 2; }\n")
    done = support.trace([program, outer / "libouter.so"], tmp_path / "t")
    assert done.visible == (0, "", "")
    (entry,) = support.leaks_of(support.report(tmp_path / "t", "--leaks")["leaks"], "inner")
    assert support.functions(entry)[:3] == ["inner", "outer", "main"]
    assert entry["bytes"] == 321 * 8


SANITIZERS = {"address": "AddressSanitizer", "thread": "ThreadSanitizer",
              "leak": "LeakSanitizer", "memory": "MemorySanitizer"}


@pytest.mark.parametrize("compiler, sanitizer", [
    *(("gcc", s) for s in ("address", "thread", "leak")), *(("clang", s) for s in SANITIZERS)])
def test_sanitizers_come_first(tmp_path, compiler, sanitizer):
    # GIVEN a program with an allocator that the sanitizer brings
    program = build(tmp_path, "program", f"-fsanitize={sanitizer}", compiler=compiler,
                    source=NO_LEAK)
    plain = support.run([program])
    assert plain.visible == (3, "ran\n", ""), plain
    # WHEN traced THEN one line says that it cannot be, and what to do
    done = support.trace([program], tmp_path / "t")
    assert (done.returncode, done.stdout) == (3, "ran\n"), done
    (line,) = done.stderr.splitlines()
    assert line.startswith("mlog: ") and SANITIZERS[sanitizer] in line and "not tracing" in line
    assert untraced(tmp_path / "t")
    # and nothing is said where no trace is asked for
    assert support.bash('LD_PRELOAD=$LIB "$1" 1022>&-', program).visible == plain.visible


def test_address_sanitizer_still_finds_what_it_finds(tmp_path):
    program = build(tmp_path, "program", "-fsanitize=address",
                    source=LEAK.replace('puts("ran");', 'puts("ran"); free(keep); free(keep);'))
    done = support.bash('LD_PRELOAD=$LIB "$1" 1022>&-', program)
    assert done.returncode == 1 and "attempting double-free" in done.stderr, done
    assert "link order" not in done.stderr and "does not come first" not in done.stderr


def test_undefined_behaviour_sanitizer_is_traced(tmp_path):
    program = build(tmp_path, "program", "-fsanitize=undefined")
    assert support.trace([program], tmp_path / "t").visible == (3, "ran\n", "")
    assert_leak_is_found(tmp_path / "t", program)


@pytest.mark.parametrize("library", ["libjemalloc.so.2", "libtcmalloc_minimal.so.4",
                                     "libmimalloc.so.2"])
def test_allocators_in_their_places(tmp_path, library):
    """Preloaded after us, or linked: traced. Preloaded before us: not, and said."""
    plain = build(tmp_path, "plain")
    linked = build(tmp_path, "linked", "-Wl,--no-as-needed", f"-l:{library}",
                   f"-L{library_folder(library)}")
    script = 'LD_PRELOAD=$1 exec "$2" 1022>"$3"'
    for preload, program in ((f"{LIBRARY} {library}", plain), (LIBRARY, linked)):
        done = support.bash(script, preload, program, tmp_path / "t")
        assert done.visible == (3, "ran\n", "")
        assert_leak_is_found(tmp_path / "t", program)
    done = support.bash(script, f"{library} {LIBRARY}", plain, tmp_path / "t")
    assert (done.returncode, done.stdout) == (3, "ran\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("mlog: ") and library in line and "not tracing" in line
    assert untraced(tmp_path / "t")


def library_folder(name):
    """Where the loader finds a library that has no link for -l."""
    listed = support.run(["/sbin/ldconfig", "-p"]).stdout
    return os.path.dirname(next(line.split()[-1] for line in listed.splitlines()
                                if line.split() and line.split()[0] == name))


@pytest.mark.parametrize("way", ["all", "partly"])
def test_program_with_its_own_malloc(tmp_path, way):
    program = PROGRAMS / f"own_malloc_{way}"
    plain = support.run([program])
    assert plain.returncode == 0 and "malloc own 1" in plain.stdout
    done = support.trace([program], tmp_path / "t")
    assert (done.returncode, done.stdout) == (0, plain.stdout), done
    (line,) = done.stderr.splitlines()
    assert "another allocator comes first" in line and str(program) in line
    assert untraced(tmp_path / "t")


@pytest.mark.parametrize("program", ["own_malloc_count", "fixed_address"])
def test_program_that_passes_malloc_on(tmp_path, program):
    """Its malloc comes first too, but calls ours: all is seen."""
    plain = support.run([PROGRAMS / program])
    done = support.trace([PROGRAMS / program], tmp_path / "t")
    assert done.visible == plain.visible
    whole = support.report(tmp_path / "t", "--leaks")
    (entry,) = whole["leaks"]
    assert entry["bytes"] == 123 * 8
    assert support.functions(entry)[:2] == ["malloc", "main"]
    assert whole["summary"]["allocations"] == 3, "strdup's, the leak, dprintf's; no trial of ours"
    assert whole["audit"]["complete"]


def test_program_that_hides_its_malloc(tmp_path):
    """Its own calls never leave it; those of its libraries are traced."""
    program = build(tmp_path, "program", "-fvisibility=hidden", "-Wl,--exclude-libs,ALL", source="""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static char room[1 << 16];
static size_t used;
__attribute__((visibility("hidden"))) void *malloc(size_t size)
{ used += (size + 127) & ~63ul; return room + used - ((size + 127) & ~63ul); }
__attribute__((visibility("hidden"))) void free(void *p) { (void)p; }
static void *volatile own, *volatile theirs;
int main(void) { own = malloc(321 * 8); theirs = strdup("theirs"); free(own);
  setvbuf(stdout, NULL, _IONBF, 0); printf("%d\\n", (char *)own >= room); return 0; }
""")
    done = support.trace([program], tmp_path / "t")
    assert done.visible == (0, "1\n", "")
    whole = support.report(tmp_path / "t", "--leaks")
    (entry,) = whole["leaks"]
    assert (entry["bytes"], entry["blocks"]) == (len("theirs") + 1, 1)
    assert whole["audit"]["complete"]


def test_allocator_without_a_usable_size(tmp_path):
    """libc's malloc_usable_size must not look into another's blocks."""
    script = 'LD_PRELOAD="$LIB $1" exec "$2" --only reallocarray 1022>"$3"'
    done = support.bash(script, PROGRAMS / "toy_allocator.so", PROGRAMS / "conform",
                        tmp_path / "t")
    assert done.visible == (0, "reallocarray 1\nreallocarray 1\nreallocarray is over\n", "")
    events = [json.loads(line) for line in
              support.analyze(tmp_path / "t", "--dump=json").stdout.splitlines()]
    sizes = {(e["size"], e["usable"]) for e in events if e.get("function") == "reallocarray"}
    assert sizes == {(1200, 1200), (12000, 12000)}


def test_valgrind(tmp_path):
    """A tool that replaces malloc is named, with the option that leaves it to us."""
    program = build(tmp_path, "program")
    script = 'LD_PRELOAD=$LIB valgrind -q $3 "$1" 1022>"$2"'
    done = support.bash(script, program, tmp_path / "t", "--tool=memcheck")
    assert (done.returncode, done.stdout) == (3, "ran\n"), done
    (line,) = done.stderr.splitlines()
    assert "Valgrind's allocator" in line and "--soname-synonyms=somalloc=nouserintercepts" in line
    done = support.bash(script, program, tmp_path / "t",
                        "--tool=memcheck --soname-synonyms=somalloc=nouserintercepts")
    assert done.visible == (3, "ran\n", "")
    (entry,) = support.leaks_of(support.report(tmp_path / "t", "--leaks")["leaks"], "leak_here")
    assert support.functions(entry)[:2] == ["leak_here", "main"]


def test_a_clock_of_the_programs_own_is_not_asked_at_each_event(tmp_path):
    """As libfaketime's, which may do anything: it is called at the start, not per event."""
    clock = build(tmp_path, "clock.so", "-shared", "-fPIC", source="""
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static unsigned long asked;
int clock_gettime(clockid_t id, struct timespec *now)
{
    asked++;
    free(malloc(10));
    return (int)syscall(SYS_clock_gettime, id, now);
}
__attribute__((destructor)) static void end(void) { dprintf(2, "%lu", asked); }
""")
    done = support.bash('LD_PRELOAD="$LIB $1" exec "$2" 200000 1022>"$3"', clock,
                        PROGRAMS / "churn", tmp_path / "t")
    assert done.visible[:2] == (7, "done\n")
    assert int(done.stderr) == 0  # the kernel is asked in its place
    support.assert_sound(support.report(tmp_path / "t", "--summary")["audit"])
