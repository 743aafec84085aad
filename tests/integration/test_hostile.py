# SPDX-License-Identifier: MIT
"""Traces made to do harm: paths that name what must not be opened, names that
would command a terminal, numbers beyond all sense."""
import json
import os
import re
import socket
import sys
import unicodedata

import pytest

import support
from support import ANALYZE, ROOT, run

sys.path[:0] = [str(ROOT / "format" / "vectors")]

from trace_writer import Trace, string, vu                  # noqa: E402

HEAP = 0x7f0000000000
# Escape sequences of 7 and 8 bits, quotes, markup, newline, invalid UTF-8, and
# text turned around, seen (U+202E) and unseen (U+200B).
NASTY = "\x1b[31m\x1b]0;title\x07\x9b1m\"'<b>&;\n\r\t\x7f\u202e\u2066\u200b\u2028".encode() \
    + b"\xff\xc0\xaf\xed\xa0\x80$x^2$"


def trace_of(tmp_path, path=b"/a.out", build_id=b"\xab\xcd", name=b"main", texts=(), flags=0):
    """One leak, whose frame lies in the module `path`."""
    trace = Trace()
    process = trace.process(4242)
    definitions = process.definitions(base_time=5000)
    definitions.process_record(start=5000, monotonic_ns=5000)
    for what, text in texts:
        definitions.text(what, text)
    definitions.module(1, 0x400000, path, time=5000, flags=flags, build_id=build_id,
                       segments=[(0x1000, 0x200, 0x1000, 5)])
    definitions.thread(1, 4242, time=5000, name=name)
    definitions.node(1, 0x1040, parent=0)
    definitions.write()
    events = process.events(1, 5000)
    events.alloc(5100, HEAP, 123 * 8, 16)
    events.mark(5200, "point", name.decode("latin-1"))
    events.write()
    (tmp_path / "t").write_bytes(trace.bytes())
    return tmp_path / "t"


def make_fifo(root):
    os.mkfifo(root / "object")
    return root / "object"


def make_socket(root):
    listener, folder = socket.socket(socket.AF_UNIX), os.open(root, os.O_PATH)
    listener.bind(f"/proc/self/fd/{folder}/object")     # a name that is not too long
    listener.close()
    os.close(folder)
    return root / "object"


def make_loop(root):
    (root / "object").symlink_to(root / "other")
    (root / "other").symlink_to(root / "object")
    return root / "object"


def make_sparse(root):
    with open(root / "object", "wb") as file:
        file.write(b"\x7fELF\2\1\1")
        file.truncate(1 << 42)
    return root / "object"


def make_link(root):
    (root / "object").symlink_to("/dev/zero")
    return root / "object"


PLACES = {
    "FIFO": make_fifo, "socket": make_socket, "loop of links": make_loop,
    "sparse file of 4 TiB": make_sparse, "link to a device": make_link,
    "directory": lambda root: root, "device of zeros": lambda root: "/dev/zero",
    "terminal": lambda root: "/dev/tty", "own memory": lambda root: "/proc/self/mem",
    "kernel messages": lambda root: "/proc/kmsg", "a pipe of ours": lambda root: "/dev/stdin",
    "made up by the kernel": lambda root: "/proc/self/maps",
    "empty": lambda root: (root / "object").touch() or root / "object",
    "no ELF": lambda root: ROOT / "meson.build",
    "nothing": lambda root: root / "none", "relative": lambda root: "../../etc/passwd",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("build_id", [b"", b"\xab\xcd"])
def test_nothing_but_a_regular_file_is_opened(tmp_path, place, build_id):
    """Opened by O_PATH at most, which does nothing to what lies there; nothing
    of it is mapped or read; and the audit says why there is no name."""
    root = tmp_path / "place"
    root.mkdir()
    path = PLACES[place](root)
    trace = trace_of(tmp_path, os.fsencode(path), build_id)
    log = tmp_path / "log"
    done = run(["strace", "-f", "-e", "trace=open,openat,openat2", "-o", log,
                ANALYZE, "--json", "--leaks", trace])
    assert done.returncode == 0, done
    module = json.loads(done.stdout)["audit"]["unresolved_modules"][0]
    assert module["module"] == str(path) and module["reason"], module
    if place not in ("sparse file of 4 TiB", "empty", "no ELF"):
        opened = [line for line in log.read_text().splitlines() if f'"{path}"' in line]
        assert all("O_PATH" in line for line in opened), opened
        # Which is how it would be opened again, to be read.
        assert '"/proc/self/fd/' not in log.read_text()


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_opened_because_a_bundle_names_it(tmp_path, place):
    """GIVEN a bundle that says where the program's symbols were read from: that is told, and
    nothing there is opened."""
    root = tmp_path / "place"
    root.mkdir()
    path = os.fsencode(PLACES[place](root))
    trace = trace_of(tmp_path, flags=1).read_bytes()
    texts = [b"/a.out", path, b"named_by_the_bundle"]
    data = vu(1) + vu(len(texts)) + b"".join(string(text) + b"\0" for text in texts) + \
        vu(1) + vu(1) + string(b"\xab\xcd") + vu(0) + vu(0) + vu(0) + vu(2) + \
        vu(1) + vu(0x103f) + vu(1) + vu(3) + vu(0) + vu(0)
    frames = [run(["zstd", "-q", "-c", f"--stream-size={len(plain)}"], input=plain,
                  binary=True).stdout for plain in (data, trace)]
    (tmp_path / "b").write_bytes((0x184d2a5b).to_bytes(4, "little") +
                                 (8 + len(frames[0])).to_bytes(4, "little") + b"mlogsyms" +
                                 frames[0] + frames[1])
    log = tmp_path / "log"
    done = run(["strace", "-f", "-e", "trace=open,openat,openat2", "-o", log,
                ANALYZE, "--leaks", tmp_path / "b"])
    assert done.returncode == 0 and "named_by_the_bundle" in done.stdout, done
    name = f'"{os.fsdecode(path)}"'
    opened = [line for line in log.read_text().splitlines() if name in line]
    assert not opened, opened


def texts():
    return [(what, NASTY) for what in (1, 2, 4, 5, 6, 7)] + [(3, NASTY + b"\0--x\0")]


OUTPUTS = {
    "text": ["--summary", "--leaks", "--peak", "--allocations", "--timeline"],
    "json": ["--json", "--summary", "--leaks", "--peak", "--allocations", "--timeline"],
    "dump text": ["--dump=text"], "dump json": ["--dump=json"],
    "folded": ["--flamegraph=leaks"], "svg": ["--flamegraph=leaks"],
}


def assert_harmless(data):
    """UTF-8 without characters that control, turn or hide anything."""
    text = data.decode()        # strictly
    bad = {hex(ord(c)) for c in text
           if c != "\n" and (unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs"))}
    assert not bad, bad


@pytest.mark.parametrize("output", OUTPUTS)
def test_names_are_escaped_in_every_output(tmp_path, output):
    trace = trace_of(tmp_path, b"/" + NASTY, name=NASTY, texts=texts())
    into = tmp_path / ("o.svg" if output == "svg" else "o.folded" if output == "folded" else "o")
    done = run([ANALYZE, trace, *OUTPUTS[output], "-o", into], binary=True)
    assert done.returncode == 0, done
    assert_harmless(into.read_bytes())
    assert_harmless(done.stderr)
    text = into.read_text()
    if output == "svg":
        assert "<b>" not in text
        import xml.dom.minidom
        xml.dom.minidom.parseString(text)
    if output == "json":
        json.loads(text)
    if output == "dump json":
        for line in text.splitlines():
            json.loads(line)
    if output == "folded":      # one stack a line: frames, a space, a number
        assert all(re.fullmatch(r".+ \d+", line) for line in text.splitlines()), text


def test_names_in_an_error_message(tmp_path):
    done = run([ANALYZE, os.fsencode(tmp_path) + b"/" + b"no\x1b[31m\nsuch"[:12]], binary=True)
    assert done.returncode == 1 and b"\x1b" not in done.stderr and \
        done.stderr.count(b"\n") == 1, done


@pytest.mark.parametrize("number", [(1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 62])
def test_numbers_beyond_sense(tmp_path, number):
    """Sizes, times and clock rates at the ends of their range: an end, soon, and no
    complaint of the reader. (What they sum up to means nothing.)"""
    trace = Trace()
    process = trace.process(4242, block=(number, number, number))
    definitions = process.definitions(base_time=0)
    definitions.process_record(start=number, monotonic_ns=number, counts_per_second=number,
                               tick_shift=number, page_size=number)
    definitions.thread(1, number, time=number)
    definitions.write()
    events = process.events(1, 0)
    events.alloc(5, HEAP, number, 0, usable=number)
    events.alloc(number - 5, HEAP + 64, number, 0, usable=number)
    events.free(number, HEAP + 64, how="absolute")
    events.write()
    (tmp_path / "t").write_bytes(trace.bytes())
    for options in (["--json", "--timeline"], ["--timeline"], [], ["--dump=json"]):
        done = run([ANALYZE, tmp_path / "t", *options])
        assert done.returncode == 0, done
