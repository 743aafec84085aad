# SPDX-License-Identifier: MIT
"""libmlog-tlsf.so and libmlog-glibc.so beneath real programs, alone and behind libmlog.so;
what the pools say; plug-ins of others, and the test that names what one of them breaks.
The C functions and operators are in test_conform.py."""
import re
import shutil

import pytest

import support
from support import BUILD, LIBRARY, PROGRAMS, ROOT, run

TLSF = BUILD / "allocators" / "libmlog-tlsf.so"
GLIBC = BUILD / "allocators" / "libmlog-glibc.so"
TEST = BUILD / "allocators" / "mlog-allocator-test"
EXAMPLES = ROOT / "examples" / "allocators"


def preloaded(preload, argv, trace=None, **env):
    """argv with these preloaded, not the shell."""
    script = 'trace=$1 preload=$2; shift 2; LD_PRELOAD=$preload exec "$@" ' + \
        ('1022>"$trace"' if trace else "1022>&-")
    return support.bash(script, trace or "", " ".join(map(str, preload)), *argv,
                        env=support.clean_environment(**env))


def passes(library, *cases, **env):
    done = run([TEST, library, *cases], env=support.clean_environment(MLOG_TLSF_QUIET=1, **env))
    assert done.returncode == 0 and "not ok" not in done.stdout, done
    return done


# Those that do not map pages by the ten thousand, where each block has its own.
QUICK = ("malloc-of-nothing", "large-blocks", "too-large", "errno-is-kept", "calloc-zeroes",
         "realloc-corners", "alignments", "wrong-alignments", "usable-size", "memory-runs-out",
         "blocks-of-libc")


# Plug-ins: ours, those of the examples, and broken ones.

@pytest.mark.parametrize("library, env", [
    (GLIBC, {}), (TLSF, {}),
    (TLSF, {"MLOG_TLSF_POOLS": "thread", "INITIAL_MEMPOOL_SIZE": "64K",
            "ADDITIONAL_MEMPOOL_SIZE": "64K"}),
], ids=["glibc", "tlsf", "tlsf-by-thread"])
def test_our_allocators_keep_every_promise(library, env):
    done = passes(library, **env)
    assert done.stdout.count("\nok ") + 1 == 17 and "1..17" in done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """What a plug-in is built with, where it would be installed, and its pkg-config file."""
    root = tmp_path_factory.mktemp("prefix")
    pc = (BUILD / "meson-private" / "mlog-allocator.pc").read_text()
    libdir = re.search(r"^libdir=\$\{prefix\}/(.*)", pc, re.M)[1]
    for source, folder in ((ROOT / "allocators/mlog_allocator.h", "include"),
                           (ROOT / "allocators/mlog_allocator.map", libdir + "/mlog"),
                           (BUILD / "allocators/libmlog-allocator.a", libdir)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(source, root / folder)
    (root / "mlog-allocator.pc").write_text(re.sub(r"^prefix=.*", f"prefix={root}", pc, flags=re.M))
    return root


def build(installed, script, *args, cwd=None):
    env = support.clean_environment(PKG_CONFIG_PATH=installed)
    return support.bash("set -e; " + script, *args, env=env, cwd=cwd)


def test_a_plug_in_in_c_by_plain_cc(installed, tmp_path):
    done = build(installed, 'cc -shared -fPIC -O2 -Wall -Wextra -Werror -std=c99 '
                 '-D_DEFAULT_SOURCE "$1" $(pkg-config --cflags --libs mlog-allocator) -o "$2"',
                 EXAMPLES / "pages.c", tmp_path / "libpages.so")
    assert done.returncode == 0 and not done.stderr, done
    passes(tmp_path / "libpages.so", *QUICK)
    # nothing but the C library's functions is seen from outside
    exported = run(["nm", "-D", "--defined-only", tmp_path / "libpages.so"]).stdout
    assert {line.split()[-1] for line in exported.splitlines()} == {
        "malloc", "calloc", "realloc", "reallocarray", "free", "cfree", "free_sized",
        "free_aligned_sized", "memalign", "aligned_alloc", "posix_memalign", "valloc", "pvalloc",
        "malloc_usable_size"}
    # and libmlog.so composes in front of it
    done = preloaded([LIBRARY, tmp_path / "libpages.so"], [PROGRAMS / "functions"], tmp_path / "t")
    assert done.returncode == 0, done
    assert support.report(tmp_path / "t", "--summary")["audit"]["complete"]


def test_a_plug_in_in_cplusplus(installed, tmp_path):
    done = build(installed, 'cc -shared -fPIC -O2 -Wall -Wextra -Werror -fno-exceptions '
                 '-fno-rtti "$1" $(pkg-config --cflags --libs mlog-allocator) -o "$2"',
                 EXAMPLES / "buckets.cc", tmp_path / "libbuckets.so")
    assert done.returncode == 0 and not done.stderr, done
    passes(tmp_path / "libbuckets.so")


def test_a_plug_in_in_rust(installed, tmp_path):
    if not shutil.which("rustc"):
        pytest.skip("no rustc")
    done = build(installed, 'rustc --crate-type=lib --emit=obj -C panic=abort '
                 '-C relocation-model=pic -O "$1" -o pages.o; '
                 'cc -shared pages.o $(pkg-config --libs mlog-allocator) -o libpages.so',
                 EXAMPLES / "pages.rs", cwd=tmp_path)
    if "no override and no default toolchain" in done.stderr or "rustup" in done.stderr:
        pytest.skip(f"rustc does not run here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0 and not done.stderr, done
    passes(tmp_path / "libpages.so", *QUICK)


def test_a_plug_in_by_meson(installed, tmp_path):
    shutil.copy(EXAMPLES / "pages.c", tmp_path)
    (tmp_path / "meson.build").write_text(
        "project('mine', 'c', default_options: 'c_std=gnu11')\n"
        "shared_library('pages', 'pages.c', dependencies: dependency('mlog-allocator'))\n")
    done = build(installed, "meson setup build >log && ninja -C build >log", cwd=tmp_path)
    assert done.returncode == 0, done
    passes(tmp_path / "build" / "libpages.so", "alignments", "realloc-corners")


BREAKS = {1: "alignments", 2: "calloc-zeroes", 3: "usable-size", 4: "usable-size",
          5: "memory-is-used-again", 6: "realloc-corners", 7: "blocks-do-not-overlap",
          8: "fork-with-threads", 9: "errno-is-kept"}


def test_what_a_plug_in_breaks_is_named(installed, tmp_path):
    """GIVEN allocators with one defect each, and one with none
    WHEN they are tested THEN the case of that defect fails, and says why."""
    for number, case in {0: None, **BREAKS}.items():
        library = tmp_path / f"libbroken{number}.so"
        done = build(installed, f'cc -shared -fPIC -O1 -DBREAK={number} -D_GNU_SOURCE "$1" '
                     '$(pkg-config --cflags --libs mlog-allocator) -o "$2"',
                     ROOT / "tests" / "programs" / "broken_allocator.c", library)
        assert done.returncode == 0, done
        if case is None:
            passes(library, *set(BREAKS.values()))
            continue
        done = run([TEST, library, case])
        assert done.returncode == 1, (number, done)
        assert f"not ok 1 - {case}\n# {case}: " in done.stdout, (number, done)


def test_what_cannot_be_tested_is_said(tmp_path):
    done = run([TEST, LIBRARY.parent / "no-such.so"])
    assert done.returncode == 2 and "no-such.so: No such file" in done.stderr
    done = run([TEST, TLSF, "no-such-case"])
    assert done.returncode == 2 and "no case no-such-case" in done.stderr
    done = run([TEST, PROGRAMS / "early.so"])
    assert done.returncode == 1 and done.stdout.startswith("not ok 1 - replaces-malloc\n")


# Real programs: the same output with each.

SQL = """create table t(a,b);
with recursive c(x) as (select 1 union all select x+1 from c where x<3000)
insert into t select x, hex(x*7919) from c;
select count(*), max(b), total(a) from t group by a%7;"""
REAL = {
    "python3": ["/usr/bin/python3", "-c",
                "import json,re,threading\n"
                "t=[threading.Thread(target=lambda: [str(i)*50 for i in range(3000)]) "
                "for _ in range(3)]\n[x.start() for x in t]; [x.join() for x in t]\n"
                "print(json.dumps({str(i): [i]*(i%9) for i in range(900)})[-40:])"],
    "sqlite3": ["sqlite3", ":memory:", SQL],
    "perl": ["perl", "-e", "$s{$_}=[$_ x 10] for 1..3000; print join ',', (sort keys %s)[0..9]"],
    "g++": ["g++", "-O1", "-S", "-o", "-", "-x", "c++"],
}
CXX = "template <int n> struct F { static const int v = n * F<n - 1>::v; };\n" \
      "template <> struct F<0> { static const int v = 1; };\nint f(int x) { return x * F<9>::v; }\n"


@pytest.mark.parametrize("name", REAL)
def test_real_programs(tmp_path, name):
    argv = REAL[name]
    if not shutil.which(argv[0]):
        pytest.skip(f"no {argv[0]}")
    (tmp_path / "in").write_text(CXX)
    if name == "g++":
        argv = [*argv, tmp_path / "in"]
    plain = preloaded([], argv)
    assert plain.returncode == 0 and len(plain.stdout) > 20, plain
    assert preloaded([TLSF], argv).visible == plain.visible
    assert preloaded([TLSF], argv, MLOG_TLSF_POOLS="thread").visible == plain.visible
    done = preloaded([LIBRARY, TLSF], argv, tmp_path / "t")
    assert done.visible == plain.visible
    whole = support.report(tmp_path / "t", "--summary")
    assert whole["audit"]["complete"], whole["audit"]
    assert whole["summary"]["allocations"] > 1000


def test_redis(tmp_path):
    if not shutil.which("redis-server") or not shutil.which("redis-cli"):
        pytest.skip("no redis-server")
    script = """cd "$1"; preload=$2
        LD_PRELOAD=$preload redis-server --port 0 --unixsocket s --save "" --daemonize no \
            >log 2>&1 1022>t &
        until redis-cli -s s ping >/dev/null 2>&1; do kill -0 $! || exit 1; sleep 0.1; done
        for i in {1..300}; do echo "set key$i value$i"; echo "rpush list $i $i $i"; done |
            redis-cli -s s >/dev/null
        redis-cli -s s dbsize; redis-cli -s s get key77; redis-cli -s s lrange list 0 2
        redis-cli -s s shutdown nosave; wait $!; echo "status $?" """
    answers = []
    for name, preload in (("alone", [TLSF]), ("traced", [LIBRARY, TLSF])):
        folder = tmp_path / name
        folder.mkdir()
        done = support.bash(script, folder, " ".join(map(str, preload)))
        assert done.returncode == 0 and done.stdout.endswith("status 0\n"), done
        answers.append(done.stdout)
    assert answers[0] == answers[1] and "301" in answers[0] and "value77" in answers[0]
    assert support.report(tmp_path / "traced" / "t", "--summary")["audit"]["complete"]


# What the pools say, and what they do.

CHURN = [PROGRAMS / "churn", "10"]


def said(done):
    """The lines of the allocator."""
    lines = done.stderr.splitlines()
    assert all(line.startswith("mlog-tlsf: ") for line in lines), done
    return lines


def test_growth_is_said_with_the_total():
    """GIVEN a pool too small for one block WHEN it grows THEN once, to what ADDITIONAL_ makes by
    doubling, which is said with the total, on standard error alone."""
    argv = ["/usr/bin/python3", "-c", "x = bytearray(5 << 20); print(len(x))"]
    plain = run(argv)
    done = preloaded([TLSF], argv, INITIAL_MEMPOOL_SIZE="4M", ADDITIONAL_MEMPOOL_SIZE="1M")
    assert (done.returncode, done.stdout) == (0, plain.stdout)
    (line,) = said(done)
    assert re.fullmatch(r"mlog-tlsf: the pool has no room for 5242881 bytes: grown by 8M, "
                        r"total 12M \(python3\)", line)
    assert not preloaded([TLSF], argv, INITIAL_MEMPOOL_SIZE="16M").stderr
    assert not preloaded([TLSF], argv, INITIAL_MEMPOOL_SIZE="4M", MLOG_TLSF_QUIET=1).stderr


@pytest.mark.parametrize("value", ["", "0", "-1", "12Q", "M", "1 M", "1.5M", "10MM",
                                   "99999999999999999999", "300000G"])
def test_bad_sizes_are_refused_in_a_sentence(value):
    for name in ("INITIAL_MEMPOOL_SIZE", "ADDITIONAL_MEMPOOL_SIZE"):
        done = preloaded([TLSF], CHURN, **{name: value})
        assert done.returncode == 7
        assert said(done) == [f'mlog-tlsf: {name} is "{value}": expected bytes, or a number with '
                              "K, M or G, as in 100M; using 100M"]


@pytest.mark.parametrize("name, value, sentence", [
    ("MLOG_TLSF_PREFAULT", "yes", "expected 1 or 0; using 0"),
    ("MLOG_TLSF_LOCK", "2", "expected 1 or 0; using 0"),
    ("MLOG_TLSF_POOLS", "many", "expected one or thread; using one"),
])
def test_bad_choices_are_refused_in_a_sentence(name, value, sentence):
    done = preloaded([TLSF], CHURN, **{name: value})
    assert done.returncode == 7
    assert said(done) == [f'mlog-tlsf: {name} is "{value}": {sentence}']


@pytest.mark.parametrize("value, pool", [("8192K", "8M"), ("8M", "8M"), ("8MiB", "8M"),
                                         ("8388608", "8M"), ("8388600", "8M"), ("8m", "8M")])
def test_sizes_with_and_without_a_suffix(value, pool):
    argv = ["/usr/bin/python3", "-c", "x = bytearray(9 << 20)"]
    (line,) = said(preloaded([TLSF], argv, INITIAL_MEMPOOL_SIZE=value,
                             ADDITIONAL_MEMPOOL_SIZE="16M"))
    assert line.endswith(f"grown by 16M, total {int(pool[:-1]) + 16}M (python3)")


STATUS = "import re; s = open('/proc/self/status').read(); " \
         "print(*(re.search(n + r':\\s+(\\d+)', s)[1] for n in ('VmRSS', 'VmLck')))"


def test_prefault_and_lock():
    argv = ["/usr/bin/python3", "-c", STATUS]
    plain, locked = map(int, preloaded([TLSF], argv, INITIAL_MEMPOOL_SIZE="64M").stdout.split())
    assert plain < 40 << 10 and locked == 0
    resident, locked = map(int, preloaded([TLSF], argv, INITIAL_MEMPOOL_SIZE="64M",
                                          MLOG_TLSF_PREFAULT=1).stdout.split())
    assert resident > 64 << 10 and locked == 0
    done = preloaded([TLSF], argv, INITIAL_MEMPOOL_SIZE="1M", ADDITIONAL_MEMPOOL_SIZE="64M",
                     MLOG_TLSF_LOCK=1)
    resident, locked = map(int, done.stdout.split())
    refused = [line for line in said(done) if "refuses to lock" in line]
    assert locked >= 64 << 10 or refused, done


def test_a_lock_that_is_refused_is_said():
    script = 'ulimit -l 64; LD_PRELOAD=$1 exec setpriv --bounding-set -all --inh-caps -all ' \
             '--reuid 65534 --clear-groups "$2" 10'
    if run(["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--reuid", "65534",
            "--clear-groups", "true"]).returncode != 0:
        pytest.skip("privileges cannot be dropped here (setpriv)")
    if run(["setpriv", "--reuid", "65534", "--clear-groups", "test", "-r", TLSF]).returncode != 0:
        pytest.skip("the build is not readable for others")
    done = support.bash(script, TLSF, PROGRAMS / "churn",
                        env=support.clean_environment(MLOG_TLSF_LOCK=1))
    assert done.returncode == 7
    (line,) = said(done)
    assert "MLOG_TLSF_LOCK: the system refuses to lock 100M" in line and "ulimit -l" in line


def test_exhaustion_is_said_with_the_total():
    """GIVEN a limit of address space WHEN a pool cannot grow THEN malloc fails with ENOMEM, which
    is said once, and smaller blocks are still to be had."""
    argv = ["/usr/bin/python3", "-c",
            "for i in range(3):\n try: x = bytearray(4 << 30)\n"
            " except MemoryError: print('none')\nprint(len(bytearray(1 << 20)))"]
    done = support.bash('ulimit -v 1000000; LD_PRELOAD=$1 exec "${@:2}"', TLSF, *argv,
                        env=support.clean_environment(INITIAL_MEMPOOL_SIZE="16M"))
    assert done.stdout == "none\nnone\nnone\n1048576\n", done
    (line,) = said(done)
    assert "exhausted: no room for 4294967297 bytes" in line and "total 16M" in line


def test_an_initial_pool_that_cannot_be_had():
    done = support.bash('ulimit -v 1000000; LD_PRELOAD=$1 exec "$2" 10', TLSF, PROGRAMS / "churn",
                        env=support.clean_environment(INITIAL_MEMPOOL_SIZE="2G",
                                                      ADDITIONAL_MEMPOOL_SIZE="16M"))
    assert done.returncode == 7
    (line,) = said(done)
    assert "no room for INITIAL_MEMPOOL_SIZE, 2G; beginning without a pool" in line


@pytest.mark.parametrize("pools", ["one", "thread"])
@pytest.mark.parametrize("front", [[], [LIBRARY]], ids=["alone", "traced"])
def test_signal_handlers_that_allocate_do_not_hang(tmp_path, pools, front):
    done = preloaded([*front, TLSF], [PROGRAMS / "pool_signals", "20000"],
                     tmp_path / "t" if front else None, MLOG_TLSF_POOLS=pools)
    assert done.visible == (0, "handled often\n", "")


@pytest.mark.parametrize("case, says", [("free-of-the-stack", "free(): "),
                                        ("double-free", "free(): double free")])
def test_wrong_frees_end_the_program_as_glibc_does(case, says):
    done = preloaded([TLSF], [PROGRAMS / "conform", "--only", case])
    plain = preloaded([], [PROGRAMS / "conform", "--only", case])
    assert done.returncode == plain.returncode != 0
    assert "mlog-tlsf: " + says in done.stderr and "pointer (conform)" in done.stderr


def test_semantics_are_glibcs_to_the_letter():
    """Every line of the conformance program but usable sizes, which of glibc's own behind
    the interface are the same as well."""
    argv = [PROGRAMS / "conform", "mallinfo"]
    plain = preloaded([], argv)
    assert plain.stdout.count("\n") > 300
    assert preloaded([GLIBC], argv).visible == plain.visible
    done = preloaded([TLSF], argv, MLOG_TLSF_QUIET=1)
    assert re.sub(r"usable \d+", "", done.stdout) == re.sub(r"usable \d+", "", plain.stdout)


def test_blocks_beyond_two_gigabytes():
    argv = ["/usr/bin/python3", "-c", "x = bytearray(1); import mmap\n"
            "import ctypes; c = ctypes.CDLL(None)\n"
            "c.malloc.restype = c.malloc_usable_size.restype = ctypes.c_size_t\n"
            "c.malloc.argtypes = c.malloc_usable_size.argtypes = [ctypes.c_size_t]\n"
            "p = [c.malloc(n << 30) for n in (3, 5)]\n"
            "print(*(c.malloc_usable_size(q) >> 30 for q in p), abs(p[1] - p[0]) >= 3 << 30)"]
    done = preloaded([TLSF], argv, ADDITIONAL_MEMPOOL_SIZE="1G")
    if "exhausted" in done.stderr:
        pytest.skip("8 GB of address space are not to be had")
    assert done.stdout == "3 5 True\n", done
    assert [re.search("grown by (.*),", line)[1] for line in said(done)] == ["4G", "8G"]
