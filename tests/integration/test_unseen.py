# SPDX-License-Identifier: MIT
"""Memory that came past malloc: the audit says so by name and with numbers
(tests/programs/unseen.c, and Go's own tool as a real program)."""
import shutil

import pytest

import support
from support import PROGRAMS, analyze

MIB = 1 << 20
SIGNS = {"je_malloc": "jemalloc", "_rjem_malloc": "jemalloc", "mi_malloc": "mimalloc",
         "tc_malloc": "tcmalloc", "rpmalloc": "rpmalloc", "GC_malloc": "the Boehm collector"}


def traced(path, *argv):
    done = support.trace([PROGRAMS / argv[0], *argv[1:]], path)
    assert done.returncode == 0, done
    return path, support.report(path)["audit"]


def test_direct_mmap(tmp_path):
    path, audit = traced(tmp_path / "t", "unseen", "200")
    assert 150 * MIB < audit["unseen"]["bytes"] <= 210 * MIB
    assert audit["unseen"]["private_growth_bytes"] >= audit["unseen"]["bytes"]
    assert audit["unseen"]["heap_bytes"] < MIB
    assert not audit["unseen"]["allocators"]
    assert audit["complete"] and "Complete for malloc and its family" in audit["verdict"]
    text = analyze(path).stdout
    assert "came past malloc (direct mmap" in text
    assert "did not come from malloc: see the audit" in text.split("Summary")[0]


def test_nothing_is_said_without_cause(tmp_path):
    path, audit = traced(tmp_path / "t", "unseen", "0")
    assert audit["unseen"] == {"bytes": 0, "private_growth_bytes": 0, "heap_bytes": 0, "pid": None,
                               "allocators": []}
    assert "past malloc" not in analyze(path).stdout


def test_a_heap_that_is_freed_again_explains_its_memory(tmp_path):
    """What malloc keeps after a free is no memory from elsewhere."""
    script = ("import time\nfor n in range(4):\n b=[bytes(60000) for i in range(2000)]\n"
              " time.sleep(0.02)\n del b\n time.sleep(0.02)\n [str(i) for i in range(50)]\n")
    env = support.clean_environment(PYTHONMALLOC="malloc")
    support.trace([support.PYTHON, "-c", script], tmp_path / "t", env=env)
    assert support.report(tmp_path / "t")["audit"]["unseen"]["bytes"] == 0


@pytest.mark.parametrize("sign", SIGNS)
def test_allocators_by_name(tmp_path, sign):
    path, audit = traced(tmp_path / "t", f"unseen_{sign}", "80")
    assert audit["unseen"]["allocators"] == [{"name": SIGNS[sign], "symbol": sign}]
    assert audit["unseen"]["bytes"] > 50 * MIB
    text = analyze(path).stdout
    assert f"an allocator of its own, {SIGNS[sign]} (symbol {sign})" in text
    assert f"came past malloc ({SIGNS[sign]})" in text


def test_go(tmp_path):
    """A program in Go that calls C, so that it loads the library."""
    go = shutil.which("go")
    if not go:
        pytest.skip("no go here")
    (tmp_path / "main.go").write_text("""package main
// #include <stdlib.h>
// #include <unistd.h>
import "C"
func main() {
    var kept [][]byte
    for i := 0; i < 10; i++ {
        C.free(C.malloc(100))
        block := make([]byte, 10<<20)
        for k := range block { block[k] = 1 }
        kept = append(kept, block)
        C.usleep(15000)
    }
    C.free(C.malloc(C.size_t(len(kept))))
}
""")
    env = support.clean_environment(HOME=tmp_path, GOCACHE=tmp_path / "cache", GOFLAGS="-mod=mod",
                                    GO111MODULE="off")
    built = support.run([go, "build", "-o", tmp_path / "program", tmp_path / "main.go"], env=env,
                        cwd=tmp_path)
    assert built.returncode == 0, built
    support.trace([tmp_path / "program"], tmp_path / "t")
    unseen = support.report(tmp_path / "t")["audit"]["unseen"]
    assert unseen["allocators"] == [{"name": "the Go runtime", "symbol": "runtime.mallocgc"}]
    assert unseen["bytes"] > 50 * MIB
