# SPDX-License-Identifier: MIT
"""Traces made to hurt (hostile.py): the analyser reads each to its end, soon, and
within the bound on memory that analyzer/REPORT.md states. Each is so long that a
reader whose work grew with the square of it would run into the limit of time, which
is there against hanging only.
"""
import json

import hostile
import pytest
import support
from support import ANALYZE

LENGTH = 150000
LIMIT = 15                      # seconds of CPU: all but a hang takes a fraction
FIXED, FOR_EACH_BYTE = 96, 480  # MiB, and bytes for a byte of the trace
REPORTS = ["--summary", "--leaks", "--peak", "--allocations", "--timeline", "--temporary",
           "--churn", "--sizes", "--lifetimes", "--threads", "--reallocs", "--snapshots=marks"]


def measured(path, *options):
    """Status, standard output and error, and the most memory in bytes."""
    done, memory = support.measured([ANALYZE, path, "--no-symbols", *options], f"{path}.used", LIMIT)
    return done.returncode, done.stdout, done.stderr, memory


@pytest.mark.parametrize("name", hostile.TRACES)
def test_time_and_memory_are_bounded(tmp_path, name):
    size = hostile.write(tmp_path / "t", name, LENGTH)
    for options in [], ["--export=pprof=/dev/null"], ["--json", *REPORTS]:
        status, out, err, memory = measured(tmp_path / "t", *options)
        assert status == (name == "headers") and len(err.splitlines()) == status, (status, err)
        assert memory <= (FIXED << 20) + FOR_EACH_BYTE * size, (options, memory, size)
    audit = json.loads(out)["audit"]
    assert audit["skipped_bytes"] == (size - 64 if name == "headers" else 0), audit


@pytest.mark.parametrize("byte", [0, 0xff])
def test_a_zstd_bomb_is_cut_off(tmp_path, byte):
    """GIVEN 640 KB that yield 20 GiB: reading ends at the bound, and says where it is."""
    (tmp_path / "t").write_bytes(hostile.bomb(160000, byte))
    status, out, err, memory = measured(tmp_path / "t", "--json")
    audit = json.loads(out)["audit"]
    assert status == 1 and "yield more than 1000 times" in err, err
    assert "yield more than" in audit["input_problem"]
    assert 16 << 30 <= audit["truncated_at"] < 18 << 30
    assert memory <= FIXED << 20


def test_sizes_that_sum_up_to_more_than_64_bits(tmp_path):
    """Sums go round at 2^64, as sizes of blocks that lie side by side cannot reach it: but
    nothing else is wrong, and once such blocks are freed the sums are right again."""
    items = [hostile.alloc(0x1000 + 64 * i, size=hostile.LARGEST) for i in range(5)]
    items += [hostile.free(0x1000 + 64 * i) for i in range(5)] + [hostile.alloc(0x9000, size=123 * 8)]
    (tmp_path / "t").write_bytes(
        hostile.trace_header(hostile.STREAM, 0) +
        hostile.definitions([hostile.program(), hostile.thread(1, 1)]) + hostile.events(items))
    status, out, _, _ = measured(tmp_path / "t", "--json", "--summary")
    summary = json.loads(out)["summary"]
    assert status == 0 and summary["leaked_bytes"] == 123 * 8 and summary["leaked_blocks"] == 1
