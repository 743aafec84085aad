# SPDX-License-Identifier: MIT
"""mlog-analyze and bad input: one clear line, exit status 1, no crash; and of
a damaged trace, everything that can be read."""
import json
import random
import shutil
import subprocess

import pytest

import support
from support import ANALYZE, PROGRAMS, analyze, refused, run


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The trace of `churn 20000` as a file, mapped."""
    path = tmp_path_factory.mktemp("good") / "t"
    support.trace([PROGRAMS / "churn", 20000], path)
    assert support.summary(path)["events"] == 40003
    return path


@pytest.fixture(scope="module")
def good_stream(tmp_path_factory):
    """The same from a pipe."""
    root = tmp_path_factory.mktemp("stream")
    support.bash('mkfifo "$2"; cat "$2" >"$3" & LD_PRELOAD=$LIB "$1" 20000 1022>"$2"; wait',
                 PROGRAMS / "churn", root / "fifo", root / "t")
    assert support.summary(root / "t")["events"] == 40003
    return root / "t"


def test_missing_file(tmp_path):
    refused(run([ANALYZE, tmp_path / "none.mlog"]), "none.mlog", "no such file")


def test_directory(tmp_path):
    refused(run([ANALYZE, tmp_path]), tmp_path, "directory")


def test_empty_file(tmp_path):
    (tmp_path / "empty.mlog").touch()
    refused(run([ANALYZE, tmp_path / "empty.mlog"]), "empty")


def test_text_file():
    refused(run([ANALYZE, support.ROOT / "meson.build"]), "meson.build", "not")


@pytest.mark.parametrize("printed", ["printf 'served 123 requests\\n'", "echo; echo later",
                                     "printf '\\033[31mred\\n'", "printf '\\303\\244 umlaut'"])
def test_output_of_a_program_in_the_place_of_a_trace(tmp_path, printed):
    """GIVEN a shell that takes 1022>t for an argument and a redirection
    WHEN the file is read as a trace
    THEN one sentence says what happened, and what works in every shell."""
    done = run(["dash" if shutil.which("dash") else "sh", "-c", f"{{ {printed}; }} >\"$1\"", "sh",
                tmp_path / "t"])
    assert done.returncode == 0, done
    refused(run([ANALYZE, tmp_path / "t"]), "not an mlog trace but text", "mlog run ",
            "other than bash")


def test_binary_in_the_place_of_a_trace():
    done = run([ANALYZE, ANALYZE])
    refused(done, "expected \\x89mlog")
    assert "text" not in done.stderr


def test_empty_standard_input():
    refused(run([ANALYZE, "-"], input=""), "empty")


def test_no_trace_named():
    done = run([ANALYZE])
    assert done.returncode != 0 and done.stdout == "" and done.stderr != ""


def test_unknown_option_is_named():
    done = run([ANALYZE, "--unheard-of", "x"])
    assert done.returncode != 0 and "unheard-of" in done.stderr


def test_later_major_version_is_refused_by_name(good, tmp_path):
    data = bytearray(good.read_bytes())
    data[8] = 2
    (tmp_path / "t").write_bytes(data)
    done = run([ANALYZE, tmp_path / "t"])
    refused(done)


@pytest.mark.parametrize("option", [[], ["--summary"], ["--leaks"], ["--json"]])
def test_report_on_a_full_disk(good, option):
    done = support.bash('"$0" "$@" >/dev/full'.replace("$0", str(ANALYZE)), good, *option)
    refused(done, "no space left")


def test_report_file_on_a_full_disk(good):
    done = run([ANALYZE, good, "--leaks", "-o", "/dev/full"])
    refused(done, "no space left")


def test_report_file_that_cannot_be_made(good, tmp_path):
    for option in ("--leaks", "--flamegraph=leaks"):
        done = run([ANALYZE, good, option, "-o", tmp_path / "none" / "x.svg"])
        refused(done, "x.svg", "no such file")


def test_reader_of_the_report_hangs_up(good):
    """`mlog-analyze … | head -1` is no error worth a message."""
    done = support.bash(f'"{ANALYZE}" "$1" --dump=text | head -1', good)
    assert done.stderr == "" and done.stdout.count("\n") == 1


@pytest.mark.parametrize("part", [0.0001, 0.01, 0.3, 0.62, 0.97])
@pytest.mark.parametrize("kind", ["mapped", "stream"])
def test_truncated_trace(good, good_stream, tmp_path, kind, part):
    """Everything before the cut is reported, and the cut is told."""
    data = (good if kind == "mapped" else good_stream).read_bytes()
    cut = max(int(len(data.rstrip(b"\0")) * part), 20)
    (tmp_path / "t").write_bytes(data[:cut])
    done = run([ANALYZE, tmp_path / "t", "--summary", "--json"])
    if cut < 64:
        refused(done)
        return
    assert done.returncode == 1, done
    assert len(done.stderr.splitlines()) == 1 and "truncated" in done.stderr, done
    calls = json.loads(done.stdout)["summary"]["calls"]
    made = calls.get("malloc", 0) + calls.get("free", 0)
    # Nothing invented; and, chunks being small, about as much as was kept.
    assert made <= 40003
    assert made >= 40003 * (part - 0.15) or part < 0.2


def test_any_bit_flipped(good_stream, tmp_path):
    """No crash, no endless loop, whatever is damaged."""
    data = good_stream.read_bytes()
    chance = random.Random(4)
    for turn in range(60):
        bad = bytearray(data)
        at = chance.randrange(len(bad)) if turn % 2 else chance.randrange(400)
        bad[at] ^= 1 << chance.randrange(8)
        (tmp_path / "t").write_bytes(bad)
        done = run([ANALYZE, tmp_path / "t"])
        assert done.returncode in (0, 1), (at, done)
        if at >= 64:  # behind the header: a checksum covers every byte
            assert done.returncode == 1 and done.stderr, (at, done)


def test_noise_in_a_mapped_trace(good, tmp_path):
    data = good.read_bytes()
    chance = random.Random(5)
    for _ in range(40):
        bad = bytearray(data)
        for _ in range(20):
            bad[chance.randrange(len(bad))] = chance.randrange(256)
        (tmp_path / "t").write_bytes(bad)
        done = run([ANALYZE, tmp_path / "t"])
        assert done.returncode in (0, 1), done


@pytest.mark.parametrize("kind", ["mapped", "stream"])
@pytest.mark.parametrize("way", ["stdin", "pipe", "zstd file", "zstd pipe"])
def test_every_way_of_reading(good, good_stream, tmp_path, kind, way):
    path = good if kind == "mapped" else good_stream
    expected = support.summary(path)
    packed = tmp_path / "t.zst"
    if way.startswith("zstd"):
        subprocess.run(["zstd", "-q", str(path), "-o", str(packed)], check=True)
    script = {"stdin": f'"{ANALYZE}" - --summary --json <"$1"',
              "pipe": f'cat "$1" | "{ANALYZE}" - --summary --json',
              "zstd file": f'"{ANALYZE}" "$2" --summary --json',
              "zstd pipe": f'cat "$2" | "{ANALYZE}" - --summary --json'}[way]
    done = support.bash(script, path, packed)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["summary"] == expected


def test_truncated_zstd(good, tmp_path):
    subprocess.run(["zstd", "-q", str(good), "-o", str(tmp_path / "whole.zst")], check=True)
    data = (tmp_path / "whole.zst").read_bytes()
    (tmp_path / "t").write_bytes(data[:len(data) // 2])
    done = run([ANALYZE, tmp_path / "t", "--summary"])
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done


def test_bit_flipped_in_zstd(good, tmp_path):
    subprocess.run(["zstd", "-q", str(good), "-o", str(tmp_path / "whole.zst")], check=True)
    data = (tmp_path / "whole.zst").read_bytes()
    chance = random.Random(6)
    (tmp_path / "t").write_bytes(data)
    whole = run([ANALYZE, tmp_path / "t"])
    for _ in range(40):
        bad = bytearray(data)
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
        (tmp_path / "t").write_bytes(bad)
        done = run([ANALYZE, tmp_path / "t"])
        # a bit of no meaning may be flipped: then nothing is different
        assert (done.returncode == 1 and len(done.stderr.splitlines()) >= 1) or \
            done.visible == whole.visible, done


def test_names_from_a_trace_are_escaped(tmp_path):
    """A program's name may hold anything; a terminal must not obey it."""
    name = tmp_path / "evil\x1b[31m<b>&\"'name"
    name.write_bytes((PROGRAMS / "churn").read_bytes())
    name.chmod(0o755)
    support.trace([name, 10], tmp_path / "t")
    for options in (["--leaks"], ["--summary"], [], ["--json"], ["--dump=json"],
                    ["--dump=text"]):
        assert "\x1b" not in analyze(tmp_path / "t", *options).stdout, options
    analyze(tmp_path / "t", "--flamegraph=leaks", "-o", tmp_path / "f.svg")
    assert "<b>" not in (tmp_path / "f.svg").read_text()
