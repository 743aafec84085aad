# SPDX-License-Identifier: MIT
"""The public header, linked weakly, with and without the library; and programs
of languages whose run-time systems are not C's."""
import json

import pytest

import support
from support import PROGRAMS


def run_api(tmp_path, case):
    """Without, with and traced by the library; the trace's path."""
    argv = [PROGRAMS / "api", case]
    plain = support.run(argv)
    assert plain.returncode == 0 and plain.stdout.startswith("version 0 traced 0\n"), plain
    rest = plain.stdout.split("\n", 1)[1]
    off = support.bash('LD_PRELOAD=$LIB "$@" 1022>&-', *argv)
    assert off.visible == (0, "version 2 traced 0\n" + rest, "")
    done = support.trace(argv, tmp_path / "t")
    assert done.visible == (0, "version 2 traced 1\n" + rest, "")
    return tmp_path / "t"


def leak_in(path, function):
    (entry,) = support.leaks_of(support.report(path, "--leaks")["leaks"], function)
    return support.functions(entry)


def test_marks_of_every_kind(tmp_path):
    path = run_api(tmp_path, "marks")
    rows = [json.loads(line) for line in
            support.analyze(path, "--dump=json").stdout.splitlines()]
    said = [row for row in rows if row["type"] == "mark"]
    # Wrong kinds are no marks, a null name is an empty one, a long one is cut,
    # a byte that is no character does no harm.
    assert [row["name"] for row in said] == ["", "", "n" * 255, "\ufffd \n \"\\ €",
                                             "in a handler", "in a thread"]
    assert {row["kind"] for row in said} == {"point"}
    assert len({row["tid"] for row in said}) == 2


def test_registered_stack(tmp_path):
    path = run_api(tmp_path, "stack")
    # GIVEN code without unwind information on a stack that nobody knows: cut there
    assert leak_in(path, "leak_unknown")[1:] == [None]
    # WHEN it was registered THEN frame pointers lead on
    assert leak_in(path, "leak_registered")[1:3] == [None, "fibre"]
    # and a thread's own stack is known without
    assert leak_in(path, "leak_in_successor")[1:3] == [None, "run_successor"]
    audit = support.report(path, "--summary")["audit"]
    assert audit["truncated_stacks"]["no_rule"] == 1, audit


def test_generated_code(tmp_path):
    path = run_api(tmp_path, "generated")
    assert leak_in(path, "leak_generated")[1:4] == [None, "generated", "main"]
    assert "generated" not in leak_in(path, "leak_taken_back")


JIT = """
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <sys/mman.h>
extern "C" void __register_frame(void *);
extern "C" void __deregister_frame(void *);
static void thrower() { throw std::runtime_error("through generated code"); }
extern "C" int plugin() {
  static const unsigned char code[] = {0x48, 0x83, 0xec, 24, 0xff, 0xd7, 0x48, 0x83, 0xc4, 24, 0xc3};
  static const unsigned char cie[24] = {20, 0, 0, 0, 0, 0, 0, 0, 1, 'z', 'R', 0,
                                        1, 0x78, 16, 1, 0, 0x0c, 7, 8, 0x90, 1, 0, 0};
  unsigned char *page = (unsigned char *)mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char *eh = page + 1024, *f = eh + 24;
  uint64_t start = (uintptr_t)page, size = sizeof code; uint32_t length = 28, back = 28;
  memcpy(page, code, sizeof code); memcpy(eh, cie, 24); memcpy(f, &length, 4);
  memcpy(f + 4, &back, 4); memcpy(f + 8, &start, 8); memcpy(f + 16, &size, 8);
  memcpy(f + 24, "\\0\\x44\\x0e\\x20", 4);
  __register_frame(eh);
  try { ((void (*)(void (*)()))page)(thrower); }
  catch (const std::exception &e) { puts(e.what()); __deregister_frame(eh); return 7; }
  return 1;
}
"""


def test_generated_code_of_a_plugin_with_its_own_run_time_library(tmp_path):
    """libgcc comes in with the plug-in and lies in its scope alone: it must hear
    of the code all the same, or no exception passes through it."""
    if support.run(["uname", "-m"]).stdout.strip() != "x86_64":
        pytest.skip("the code is x86-64")
    (tmp_path / "plugin.cc").write_text(JIT)
    (tmp_path / "main.c").write_text(
        "#include <dlfcn.h>\nint main(int c, char **v) { void *h = dlopen(v[c - 1], RTLD_NOW);\n"
        "return h ? ((int (*)(void))dlsym(h, \"plugin\"))() : 2; }\n")
    for argv in (["g++", "-shared", "-fPIC", "-o", tmp_path / "plugin.so", tmp_path / "plugin.cc"],
                 ["gcc", "-o", tmp_path / "main", tmp_path / "main.c"]):
        assert support.run(argv).returncode == 0
    argv = [tmp_path / "main", tmp_path / "plugin.so"]
    plain = support.run(argv)
    assert plain.visible == (7, "through generated code\n", "")
    assert support.bash('LD_PRELOAD=$LIB "$@" 1022>&-', *argv).visible == plain.visible
    assert support.trace(argv, tmp_path / "t").visible == plain.visible


@pytest.mark.parametrize("name, argv, given", [
    ("rust", ["rg", "--sort", "path", "-c", "static", support.ROOT / "libtrace"], None),
    ("go", ["fzf", "-f", "77"], "".join(f"{i}\n" for i in range(2000))),
])
def test_other_languages(tmp_path, name, argv, given):
    """ripgrep, in Rust, and fzf, in Go with C inside: counted to the last byte."""
    plain = support.run(argv, input=given)
    assert plain.returncode == 0 and plain.stdout.count("\n") > 5
    done = support.trace(argv, tmp_path / "t", tmp_path / "oracle", input=given)
    assert done.visible == plain.visible
    whole, _ = support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle", peak=False)
    support.assert_sound(whole["audit"])
    if name == "rust":
        assert whole["audit"]["complete"] and not any(whole["audit"]["truncated_stacks"].values())
        assert whole["summary"]["allocations"] > 2000
