# SPDX-License-Identifier: MIT
"""`meson install` puts files where users expect them, and they work there; the
commands of the README work as it gives them."""
import os
import subprocess
from pathlib import Path

import pytest

import support
from support import BUILD, PROGRAMS, ROOT, run


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    done = run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", root])
    assert done.returncode == 0, done
    return root


def names(root):
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}


def test_files_are_where_users_expect_them(installed):
    got = names(installed)
    prefix = "usr/local/"
    assert prefix + "bin/mlog-analyze" in got
    assert prefix + "bin/mlog-plot" in got
    assert prefix + "bin/mlog" in got and prefix + "share/man/man1/mlog.1" in got
    assert prefix + "share/bash-completion/completions/mlog" in got
    assert prefix + "share/zsh/site-functions/_mlog" in got
    assert prefix + "share/fish/vendor_completions.d/mlog.fish" in got
    assert prefix + "include/mlog.h" in got
    libraries = [n for n in got if n.endswith("/libmlog.so")]
    assert len(libraries) == 1
    # In a folder that the loader searches: by its bare name it is found.
    folder = "/" + libraries[0].rsplit("/", 1)[0]
    searched = "".join(path.read_text() for path in Path("/etc/ld.so.conf.d").iterdir())
    assert folder in searched.split() or folder in ("/lib", "/usr/lib"), folder
    # Nothing of the tests or of the shared headers of the format goes along.
    plug_ins = {n for n in got if n.endswith(("/libmlog-allocator.a", "/mlog-allocator-test",
                                              "/mlog-allocator-test.1"))}
    assert len(plug_ins) == 3 and libraries[0].replace("libmlog.so", "mlog/mlog_allocator.map") in got
    assert prefix + "include/mlog_allocator.h" in got
    assert {n.rsplit("/", 1)[1] for n in got if "/libmlog-" in n} == {
        "libmlog-allocator.a", "libmlog-glibc.so", "libmlog-tlsf.so", "libmlog-tlsf.7",
        "libmlog-allocator.7"}
    strays = [n for n in got - plug_ins if "test" in n or "oracle" in n or "/mlf_" in n or n.endswith(".a")]
    assert not strays


def test_installed_commands_work(installed, tmp_path):
    (library,) = installed.rglob("libmlog.so")
    binaries = installed / "usr/local/bin"
    env = support.clean_environment()
    env["PATH"] = f"{binaries}:{env['PATH']}"
    # As typed: the loader finds the bare name in a folder that it searches.
    env["LD_LIBRARY_PATH"] = str(library.parent)
    done = support.bash('LD_PRELOAD=libmlog.so "$1" 10 1022>"$2"; '
                        'mlog-analyze "$2" --leaks && mlog-plot "$2" -o "$2.pdf"',
                        PROGRAMS / "churn", tmp_path / "t", env=env)
    assert done.returncode == 0 and done.stderr == "", done
    assert "leak" in done.stdout
    assert (tmp_path / "t.pdf").read_bytes().startswith(b"%PDF")


def test_installed_mlog_finds_its_parts(installed, tmp_path):
    """GIVEN an installation somewhere; THEN mlog there needs no variable but PATH."""
    env = support.clean_environment()
    env["PATH"] = f"{installed / 'usr/local/bin'}:{env['PATH']}"
    done = run(["sh", "-c", f"mlog run -o t {PROGRAMS / 'leaky'} && mlog analyze t --leaks && "
                            "mlog plot t -o t.pdf"], env=env, cwd=tmp_path)
    assert done.returncode == 0 and "mlog: fix first: session_new" in done.stderr, done
    assert "session_new" in done.stdout and (tmp_path / "t.pdf").exists()


def test_commands_tell_their_version_and_their_options():
    for command in (support.ANALYZE, support.PLOT, support.MLOG):
        version = run([command, "--version"])
        assert version.returncode == 0 and "1." in version.stdout, version
        usage = run([command, "--help"])
        assert usage.returncode == 0 and ("-o" in usage.stdout or command == support.MLOG), usage


def test_leaky_example_says_what_its_header_promises(tmp_path):
    # GIVEN the example, whose header names the output
    header = (ROOT / "examples/leaky.c").read_text().split("*/")[0]
    done = support.trace([PROGRAMS / "leaky"], tmp_path / "t")
    assert done.returncode == 0 and done.stdout.strip() in header
    # WHEN asked for leaks THEN the largest is the one it explains
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    first = leaks[0]
    assert first["blocks"] == 20000
    names = support.functions(first)
    assert names[1:4] == ["session_new", "serve", "main"], names
    source = (ROOT / "examples/leaky.c").read_text().splitlines()
    assert "strdup" in source[first["stack"][1]["line"] - 1]
    text = support.analyze(tmp_path / "t", "--leaks").stdout
    assert "session_new" in text and "leaky.c" in text


def test_quickstart(tmp_path):
    """From another directory, twice: from nothing, then with what is there."""
    env = dict(os.environ, MLOG_BUILD_DIR=str(tmp_path / "build"))
    for _ in range(2):
        done = subprocess.run([str(ROOT / "examples/quickstart.sh"), str(tmp_path / "out")],
                              cwd="/", env=env, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=600)
        assert done.returncode == 0, done
        assert "session_new" in done.stdout
    assert done.stderr == ""
    for name, magic in (("heap.pdf", b"%PDF"), ("peak.svg", b"<"), ("leaks.svg", b"<")):
        assert str(tmp_path / "out" / name) in done.stdout
        assert (tmp_path / "out" / name).read_bytes().startswith(magic)
