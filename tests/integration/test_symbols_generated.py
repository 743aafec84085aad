# SPDX-License-Identifier: MIT
"""Names of generated code: maps as compilers write them, and perf's dumps."""
import os
import re
import struct

import pytest

import support
from support import PROGRAMS


@pytest.fixture
def generated(tmp_path):
    """A trace of two functions made at run time; the folder where its map was, their places."""
    done = support.trace([PROGRAMS / "generated", tmp_path], tmp_path / "t", cwd=tmp_path)
    assert done.returncode == 0
    path = tmp_path / f"perf-{int(done.stdout)}.map"
    places = [int(at, 16) for at in re.findall(r"^(\w+) 40 |^(\w+) 64 ", path.read_text(), re.M)
              for at in at if at]
    assert len(places) == 2, path.read_text()
    path.unlink()
    return path, places


def names(tmp_path, *options):
    leaks = support.report(tmp_path / "t", "--leaks", "--no-cache", *options)["leaks"]
    return [leak["stack"][0]["function"] for size in (123 * 8, 123 * 16)
            for leak in leaks if leak["bytes"] == size]


@pytest.mark.parametrize("form", ["{:x} 40 {}\r\n", "{:x}\t40\t{}\n", "  {:X}  40   {} \n",
                                  "0x{:016x} 0x40 {}\n", "{:x} 40 \t{}\t \r\n"])
def test_lines_of_maps(generated, tmp_path, form):
    """GIVEN a map with the ends of lines, blanks and digits of other systems
    THEN the names are told without them."""
    path, places = generated
    text = "".join(form.format(at, name) for at, name in zip(places, ("one two", "caf\u00e9")))
    path.write_bytes((f"-1 -1 x\n{places[0]:x} 40\n{places[0]:x} 40 \t\r\n" + text).encode())
    assert names(tmp_path, "--perf-map", tmp_path) == ["one two", "caf\u00e9"]
    path.write_bytes(path.read_bytes().rstrip())
    assert names(tmp_path, "--perf-map", tmp_path) == ["one two", "caf\u00e9"]


def record(kind, time, body):
    return struct.pack("=IIQ", kind, 16 + len(body), time) + body


def load(time, at, size, index, name, code=b"\x90" * 7):
    return record(0, time, struct.pack("=IIQQQQ", 1, 1, at, at, size, index) +
                  name.encode() + b"\0" + code)


def move(time, index, old, new, size):
    return record(1, time, struct.pack("=IIQQQQQ", 1, 1, new, old, new, size, index))


HEADER = struct.pack("=IIIIIIQQ", 0x4a695444, 1, 40, 62, 0, 1, 5, 0)


def dump(places):
    one, two = places
    return (HEADER + load(30, one, 64, 1, "one") + load(20, one, 128, 2, "replaced") +
            record(2, 31, b"lines" * 8) + load(10, two + 4096, 64, 3, "moved") +
            move(40, 3, two + 4096, two, 64) + record(3, 50, b""))


def test_dumps(generated, tmp_path):
    """GIVEN a dump with code that was replaced, in another order than its times, and moved
    THEN the latest function of each place is told, from the folder that is named."""
    path, places = generated
    path.with_name(path.name.replace("perf-", "jit-").replace(".map", ".dump")).write_bytes(
        dump(places))
    (tmp_path / "other").mkdir()
    assert names(tmp_path, "--perf-map", tmp_path / "other") == [None, None]
    assert names(tmp_path, "--perf-map", tmp_path) == ["one", "moved"]
    # without an option, from the folder that the process ran in
    assert names(tmp_path) == ["one", "moved"]
    # A map beside it adds the functions that the dump has not.
    path.write_text(f"{places[0] - 64:x} 40 before\n{places[0]:x} 40 mapped\n")
    assert names(tmp_path, "--perf-map", tmp_path) == ["one", "moved"]
    assert "no name" not in support.analyze(tmp_path / "t", "--leaks").stdout


def test_damaged_dumps(generated, tmp_path):
    """Whatever is in the file: no crash, and the functions before the damage."""
    path, places = generated
    whole = dump(places)
    path = path.with_name(path.name.replace("perf-", "jit-").replace(".map", ".dump"))
    for n in range(0, len(whole), 61):
        path.write_bytes(whole[:n])
        assert len(names(tmp_path, "--perf-map", tmp_path)) == 2
    for at in (0, 8, 40, 44, 72, 80, 92, 250):
        path.write_bytes(whole[:at] + b"\xff\xff\xff\xff" + whole[at + 4:])
        assert len(names(tmp_path, "--perf-map", tmp_path)) == 2
    path.write_bytes(HEADER[3::-1] + whole[4:])  # of a machine with the other byte order
    assert names(tmp_path, "--perf-map", tmp_path) == [None, None]
    path.write_bytes(HEADER + load(1, places[0], 64, 1, "one") + bytes(64))
    assert names(tmp_path, "--perf-map", tmp_path) == ["one", None]
    if os.geteuid() == 0:
        os.chown(path, 4711, -1)
        assert names(tmp_path, "--perf-map", tmp_path) == [None, None]
