# SPDX-License-Identifier: MIT
"""The examples of mlog.h, built and run by the commands that their headers give."""
import re
import shutil

import pytest

import support
from support import ROOT

EXAMPLES = {
    "api.c": ["gcc", "-g", "-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"],
    "api.cc": ["g++", "-g", "-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror"],
    "api.rs": ["rustc", "-g"],
}


def built(tmp_path, name):
    command = EXAMPLES[name]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    if command[0] != "rustc":
        command = [*command, f"-I{ROOT / 'libtrace'}"]
    program = tmp_path / name.replace(".", "-")
    done = support.run([*command, "-o", program, ROOT / "examples" / name])
    assert done.returncode == 0 and not done.stderr, done
    return program


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_print_what_their_headers_promise(tmp_path, name):
    """THEN their output is in their header, and without the library nothing is counted or
    said, with the same status."""
    program = built(tmp_path, name)
    header = re.split(r"\n[^/ *]", (ROOT / "examples" / name).read_text(), maxsplit=1)[0]
    header = re.sub(r"(?m)^(//| \*) ?", "", header)
    done = support.trace([program], tmp_path / "t")
    said = [line for line in done.stdout.splitlines() if not line.startswith(("+", "|"))]
    assert done.returncode == 0 and said
    for line in said:
        assert "    " + line + "\n" in header, (line, header)
    alone = support.run([program])
    assert (alone.returncode, alone.stderr) == (0, "")
    counted = re.findall(r"-?\d+(?= (?:usable )?(?:bytes|block)s?)", alone.stdout)
    assert counted and set(counted) == {"0"}, alone


def test_the_dumps_of_the_examples(tmp_path):
    for name, words in (("api.cc", ["BEGIN load", "PRINT 1000 numbers", "END load"]),
                        ("api.rs", ["MARK read", "PRINT 1000 lines"])):
        if name == "api.rs" and not shutil.which("rustc"):
            continue
        support.trace([built(tmp_path, name)], tmp_path / "t")
        text = support.analyze(tmp_path / "t", "--dump=text").stdout
        assert re.findall(r"^# ((?:MARK|PRINT|BEGIN|END) .*(?:load|read|1000.*))$", text,
                          re.M) == words


def test_the_table_and_the_growth_of_the_example(tmp_path):
    """GIVEN a request that forgets a block; THEN the program is told on standard error, the
    table adds up, and the report names the line."""
    done = support.trace([built(tmp_path, "api.c")], tmp_path / "t")
    assert re.fullmatch(r"mlog: \S*api\.c:\d+: 568 bytes more in use than at savepoint request; "
                        r"mlog-analyze --savepoints names the stacks\n", done.stderr), done
    rows = {title: (blocks, size) for title, blocks, size in
            re.findall(r"\| (\w[\w ]*?) +\| +([-\w]*) \| +([-\w ]+) \|", done.stdout)}
    assert rows["whole run"] == ("blocks", "usable bytes")
    for i in (0, 1):
        assert int(rows["allocated"][i]) - int(rows["deallocated"][i]) == int(rows["in use"][i])
    assert int(rows["peak"][1]) >= int(rows["in use"][1]) > 568
    (place,) = support.report(tmp_path / "t", "--savepoints")["savepoints"]["assertions"]
    assert (place["name"], place["asserted"], place["failed"]) == ("request", 3, 1)
    assert place["growth_bytes"] == place["told_growth_bytes"] == 568
    (stack,) = place["stacks"]
    assert (stack["blocks"], stack["bytes"]) == (1, 70 * 8)
    assert "answer" in support.functions(stack)
