# SPDX-License-Identifier: MIT
"""mlog on other processors and another libc: built by a cross compiler with
warnings as errors, run under an emulator or as it is, read by this machine's
analyser. A port whose tools are not installed is skipped, with what to install.
"""
import shutil

import pytest

import support
from foreign import PORTS, QEMU, SYSROOT, each
from support import ROOT, functions, run

KEEP_CALLS = "-O1 -g -fno-builtin -fno-inline -fno-optimize-sibling-calls"


@pytest.fixture
def port(request, ports):
    return ports(request.param)


def whole(path, *args):
    """The report; every event accounted for and every stack whole."""
    report = support.report(path, "--leaks", "--summary", *args)
    support.assert_sound(report["audit"])
    assert report["audit"]["complete"], report["audit"]
    assert not any(report["audit"]["truncated_stacks"].values()), report["audit"]
    return report


def sysroot_with(tmp_path, *programs):
    """AArch64's root as the traced machine saw it: the libraries of the cross
    compiler and the programs where they were."""
    root = tmp_path / "root"
    shutil.copytree(SYSROOT / "lib", root / "lib", symlinks=True,
                    ignore=lambda _, names: [n for n in names if not n.startswith(("libc.", "ld-"))])
    for program in programs:
        at = root / str(program).lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(program, at)
    return root


@pytest.mark.xdist_group("port-i386")
def test_what_cannot_run_here_is_built_all_the_same(tmp_path):
    """GIVEN a kernel without 32-bit programs, THEN the library for them compiles and links."""
    port = PORTS["i386"]
    why = port.missing(tmp_path)
    if why is None or "does not run here" not in why:
        pytest.skip(why or "it runs here, and other tests build it")
    port.make()
    assert port.library.exists()


@each("aarch64", "i386", "musl")
def test_codec(port):
    done = run(port.command([port.build / "tests/unit/test_codec"]))
    assert done.returncode == 0 and "not ok" not in done.stdout, done


@pytest.mark.parametrize("port,flags", [  # AArch64's frames are the same without optimisation
    pytest.param(name, flags, marks=pytest.mark.xdist_group(f"port-{name}"))
    for name, flags in (("aarch64", "-O2 protected"), ("i386", "-O2 protected"), ("i386", "-O0"))
], indirect=["port"])
def test_unwinder(port, flags, tmp_path):
    """Signals, coroutines, longjmp, alloca, recursion: each stack against libgcc."""
    # Protected: return addresses are signed, or calls' targets marked.
    flags = flags.replace("protected", "-mbranch-protection=standard"
                          if port.name == "aarch64" else "-fcf-protection=full")
    program = tmp_path / "test_unwind"
    done = run([*port.compiler, *port.flags, "-std=gnu11", "-D_GNU_SOURCE", "-DLT_MEMO_WORTH=0",
                *flags.split(),
                f"-I{ROOT}/libtrace", f"-I{ROOT}/tests/unwind",
                ROOT / "tests/unit/test_unwind.c", ROOT / "libtrace/lt_cfi.c",
                ROOT / f"libtrace/lt_unwind_{port.name}.c", "-o", program, "-pthread", "-ldl"])
    assert done.returncode == 0, done
    done = run(port.command([program]))
    assert done.returncode == 0, done
    assert "not ok" not in done.stdout and done.stdout.count("\nok ") >= 12, done


@pytest.mark.xdist_group("port-aarch64")
def test_signed_return_addresses(ports, tmp_path):
    """Built with pointer authentication, and run with and without it."""
    port = ports("aarch64")
    # GIVEN a program and a library that sign their return addresses
    sign = "-mbranch-protection=standard"
    program, library = tmp_path / "deep", tmp_path / "libmlog.so"
    done = run([*port.compiler, *KEEP_CALLS.split(), sign, ROOT / "tests/programs/deep.c",
                "-o", program])
    assert done.returncode == 0, done
    code = run(["aarch64-linux-gnu-objdump", "-d", program]).stdout
    assert code.count("paciasp") > 20
    sources = [p for p in (ROOT / "libtrace").glob("lt_*.c")
               if not p.name.startswith("lt_unwind_") or p.name == "lt_unwind_aarch64.c"]
    done = run([*port.compiler, "-std=gnu11", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-O2",
                "-fPIC", "-shared", "-fvisibility=hidden", "-fno-builtin-malloc",
                "-fno-omit-frame-pointer", "-fasynchronous-unwind-tables", sign, "-Werror",
                f"-I{ROOT}/format", f"-I{port.build}", "-Wl,-z,now",
                f"-Wl,--version-script={ROOT}/libtrace/libmlog.map", *sources, "-o", library])
    assert done.returncode == 0, done
    root = sysroot_with(tmp_path, program)
    for cpu in ("max,pauth-impdef=on", "cortex-a72"):  # which has no signatures
        # WHEN traced
        done = support.bash('exec "$@" 1022>"$0"'.replace("$0", str(tmp_path / cpu)),
                            "qemu-aarch64", "-cpu", cpu, *QEMU[1:],
                            "-E", f"LD_PRELOAD={library}", program, "30")
        assert done.returncode == 0, done
        # THEN the stack is whole, and its addresses are addresses of functions
        (entry,) = whole(tmp_path / cpu, "--sysroot", root)["leaks"]
        names = functions(entry)
        assert names[:31] == [f"level_{i:03}" for i in reversed(range(30))] + ["main"]
        assert names[-1] == "_start"


@each("aarch64", "i386")
def test_every_stack_is_the_true_one(port, tmp_path):
    """Exceptions, coroutines, signals on their own stack, plug-ins, threads: at
    each allocation, with libgcc's unwinder in the same call."""
    source = ROOT / "tests/unwind"
    build = [*port.flags, "-O2", "-g", "-fvisibility=hidden", "-fPIC", "-shared", "-std=gnu11",
             "-D_GNU_SOURCE", f"-I{ROOT}/libtrace", f"-I{source}"]
    for out, size in (("a.so", 1024), ("b.so", 4096)):
        done = run([*port.compiler, *build, f"-DSIZE={size}", source / "plugin.c",
                    "-o", tmp_path / out])
        assert done.returncode == 0, done
    done = run([*port.compiler, *build, "-Wl,-z,now", source / "truth_preload.c",
                ROOT / "libtrace/lt_cfi.c", ROOT / f"libtrace/lt_unwind_{port.name}.c",
                "-o", tmp_path / "truth.so"])
    assert done.returncode == 0, done
    done = run([*port.cxx, *port.flags, "-O2", "-std=c++17", source / "nasty.cc",
                "-o", tmp_path / "nasty", "-pthread", "-ldl"])
    assert done.returncode == 0, done
    # i386's libgcc faults in signal handlers over libc's assembly: there it is
    # test_unwinder that compares with it, here our own full unwind.
    every = 100 if port.emulator else 1000000000
    done = run(port.command([tmp_path / "nasty", tmp_path / "a.so", tmp_path / "b.so"],
                            [tmp_path / "truth.so"], TRUTH_MODE="gcc", TRUTH_EVERY=every,
                            TRUTH_OUT=tmp_path / "totals"))
    assert done.returncode == 0, done
    lines = [line for line in (tmp_path / "totals").read_text().splitlines() if ": events " in line]
    assert len(lines) >= 2, lines  # the program and its fork's child
    for line in lines:
        words = line.replace("%", "").split()
        assert words[words.index("shadow-wrong") + 1] == "0", line
        assert int(words[words.index("events") + 1]) > 1000, line
        if port.emulator:
            assert float(words[words.index("agree") + 1]) >= 99.9, line


@each("aarch64", "i386", "musl")
@pytest.mark.parametrize("through", ["file", "pipe"])
def test_stack_by_name(port, through, tmp_path):
    # GIVEN a leak under 60 functions, WHEN traced into a file or a pipe
    redirect = '1022>"$trace"' if through == "file" else '1022>&1 >/dev/null | cat >"$trace"'
    program = port.program("deep")
    done = port.trace([program, "60"], tmp_path / "t", redirect=redirect)
    assert done.returncode == 0, done
    # WHEN read here, for AArch64 with that machine's files THEN all of it is there
    args = ["--sysroot", sysroot_with(tmp_path, program)] if port.emulator else []
    (entry,) = whole(tmp_path / "t", *args)["leaks"]
    assert (entry["bytes"], entry["blocks"]) == (123 * 8, 1)
    names = functions(entry)
    assert names[:61] == [f"level_{i:03}" for i in reversed(range(60))] + ["main"]
    if port.name == "musl":  # whose libc has no names to show and calls main itself
        assert len(names) == 62 and "musl" in entry["stack"][-1]["module"]
    else:
        assert names[-1] == "_start" and "__libc_start_main" in names[61:]


@each("aarch64", "i386", "musl")
def test_every_call_is_one_event(port, tmp_path):
    # GIVEN known calls of every function, in main, a thread, a handler, a child
    program = port.build / "tests/ports/calls"
    done = port.trace([program], tmp_path / "t")
    assert done.visible == (0, "", "")
    args = ["--sysroot", sysroot_with(tmp_path, program)] if port.emulator else []
    report = support.report(tmp_path / "t", "--leaks", "--summary", *args)
    support.assert_sound(report["audit"])
    assert report["audit"]["complete"]
    # THEN each is there once
    calls = {name: n for name, n in report["summary"]["calls"].items() if n}
    of_libc = 0 if port.name == "musl" else 1  # glibc's threads calloc a table
    assert calls == {"malloc": 5, "calloc": 4 + of_libc, "realloc": 3, "reallocarray": 2,
                     "memalign": 1, "posix_memalign": 1, "aligned_alloc": 1}
    leaks = {entry["bytes"]: functions(entry) for entry in report["leaks"]}
    for size, function in ((1001, "leak_malloc"), (3009, "leak_calloc"), (1007, "leak_realloc"),
                           (1009, "leak_reallocarray"), (1013, "leak_aligned"),
                           (1019, "leak_aligned"), (1024, "leak_aligned")):
        size = size if size in leaks else 2 * size
        assert leaks[size][:2] == [function, "main"]
    assert leaks[1031][0] == "on_signal"
    assert leaks[1033][0] == "in_thread"
    assert leaks[1039][0] == "main"
    (in_libc,) = [entry for entry in report["leaks"] if 64 <= entry["bytes"] <= 80]
    cut = report["audit"]["truncated_stacks"]["no_rule"]
    if port.name == "musl":
        # libc has no unwind information: what passes through it ends there, counted.
        assert cut == 2 and functions(in_libc) == ["strdup"]
    else:
        assert cut == 0
        assert functions(in_libc)[:3] == ["strdup", "leak_by_libc", "main"]
        assert "raise" in leaks[1031] and "main" in leaks[1031]


@each("aarch64", "i386")
@pytest.mark.parametrize("argv", [["functions"], ["threads", "4", "2000"]], ids=["all", "threads"])
def test_equals_oracle(port, argv, tmp_path):
    program = [port.program(argv[0]), *argv[1:]]
    plain = run(port.command(program))
    done = port.trace(program, tmp_path / "t", tmp_path / "oracle")
    assert done.visible == plain.visible
    support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=argv[0] == "functions")
    whole(tmp_path / "t")


@each("aarch64", "i386", "musl")
def test_fork_in_the_middle_of_threads(port, tmp_path):
    done = port.trace([port.program("fork_threads")], tmp_path / "t")
    assert done.returncode == 0, done
    args = ["--sysroot", sysroot_with(tmp_path, port.program("fork_threads"))] \
        if port.emulator else []
    report = whole(tmp_path / "t", *args)
    entries = support.leaks_of(report["leaks"], "leak_in_child")
    assert sum(entry["blocks"] for entry in entries) == 20
    assert len(report["processes"]) == 21


@each("i386", "musl")
def test_children_by_exec(port, tmp_path):
    # GIVEN a program whose child runs it once more
    done = port.trace([port.build / "tests/ports/calls", "exec"], tmp_path / "t")
    assert done.visible == (0, "", "")
    # THEN there are three images, and the last one's leak is its own
    report = whole(tmp_path / "t")
    assert len(report["processes"]) == 3, report["processes"]
    (entry,) = report["leaks"]
    assert entry["bytes"] == 1051 and functions(entry)[0] == "main"


@each("aarch64", "i386", "musl")
def test_plugins_loaded_later(port, tmp_path):
    # GIVEN two plug-ins loaded one after the other
    done = port.trace([port.program("reload"), port.program("plugin_first.so"),
                       port.program("plugin_second.so")], tmp_path / "t")
    assert done.returncode == 0 and done.stderr == "", done
    # THEN each is blamed for its own
    args = ["--sysroot", sysroot_with(tmp_path, port.program("reload"),
                                      port.program("plugin_first.so"),
                                      port.program("plugin_second.so"))] if port.emulator else []
    leaks = {entry["bytes"]: entry for entry in whole(tmp_path / "t", *args)["leaks"]}
    assert functions(leaks[123 * 8])[:3] == ["first_leak", "plugin_run", "run"]
    assert functions(leaks[321 * 8])[:3] == ["second_leak", "plugin_run", "run"]
    assert leaks[321 * 8]["stack"][0]["module"].endswith("plugin_second.so")


@each("aarch64", "i386", "musl")
@pytest.mark.parametrize("chosen", ["FILE=write", "COMPRESS=zstd", "ON_FULL=drop"])
def test_ways_of_writing(port, chosen, tmp_path):
    # GIVEN what is recorded of two threads by default
    program = [port.program("threads"), "2", "500"]
    counted = ("allocations", "allocated_bytes")  # the threads free each other's
    assert port.trace(program, tmp_path / "t").visible == (0, "", "")
    wanted = support.summary(tmp_path / "t")
    # WHEN recorded in another way, into a file and a pipe whose reader keeps up
    name, value = chosen.split("=")
    for redirect in ('1022>"$trace"', '1022>&1 >/dev/null | cat >"$trace"'):
        done = port.trace(program, tmp_path / "t", redirect=redirect, **{f"MLOG_{name}": value})
        assert done.visible == (0, "", "")
        # THEN it is the same, also where there is no library to compress it
        got = support.report(tmp_path / "t", "--summary")
        assert got["audit"]["complete"], got["audit"]
        assert [got["summary"][k] for k in counted] == [wanted[k] for k in counted]
        zstd = (tmp_path / "t").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"
        assert zstd == (name == "COMPRESS")


@each("musl")
def test_other_allocators_over_musl(port, tmp_path):
    # GIVEN an allocator that comes first and passes nothing on
    toy, deep = port.program("toy_allocator.so"), port.program("deep")
    for program, before in (([port.program("own_malloc_all")], ()), ([deep, "5"], [toy])):
        # WHEN traced THEN nothing is, and one line names it
        done = port.trace(program, tmp_path / "t", before=before)
        (line,) = done.stderr.splitlines()
        assert done.returncode == 0 and "another allocator comes first" in line, done
        assert line.endswith(str([*before, *program][0]))
        assert not (tmp_path / "t").stat().st_size
    # WHEN it passes calls on, under a name or an address of its own THEN all is seen
    for name in ("own_malloc_count", "fixed_address"):
        done = port.trace([port.program(name)], tmp_path / "t")
        assert done.returncode == 0 and done.stderr == "", done
        report = support.report(tmp_path / "t", "--leaks")
        assert report["audit"]["complete"], report["audit"]
        assert 123 * 8 in [entry["bytes"] for entry in report["leaks"]]


def test_static_program_is_explained(tmp_path):
    # GIVEN a program that no library can be preloaded into
    source = tmp_path / "static.c"
    source.write_text("#include <stdlib.h>\nint main(void) { return !malloc(1); }\n")
    done = run(["gcc", "-static", "-fno-builtin", source, "-o", tmp_path / "static"])
    assert done.returncode == 0, done
    # WHEN traced THEN it runs as ever, and the analyser says what to ask
    done = support.trace([tmp_path / "static"], tmp_path / "t")
    assert done.visible == (0, "", "")
    support.refused(support.analyze(tmp_path / "t", status=1), "is empty", "mlog doctor")


@pytest.mark.xdist_group("port-refused")
def test_unknown_processor_is_refused_by_name(tmp_path):
    # GIVEN a machine nobody has written an unwinder for
    cross = tmp_path / "cross.ini"
    cross.write_text("[binaries]\nc = 'gcc'\nar = 'ar'\n[properties]\nneeds_exe_wrapper = true\n"
                     "[host_machine]\nsystem = 'linux'\ncpu_family = 'riscv64'\n"
                     "cpu = 'riscv64'\nendian = 'little'\n")
    # WHEN configured THEN a sentence says what is known and what can be done
    done = run(["meson", "setup", tmp_path / "b", ROOT, "--cross-file", cross, "-Danalyzer=false"])
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "mlog cannot take stacks on riscv64" in said and "-Dtracer=false" in said, done
    done = run(["meson", "setup", tmp_path / "c", ROOT, "--cross-file", cross, "-Danalyzer=false",
                "-Dtracer=false"])
    assert done.returncode == 0, done
