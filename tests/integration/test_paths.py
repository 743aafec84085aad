# SPDX-License-Identifier: MIT
"""Thousands of distinct stacks are each recorded as they were."""
import pytest

import support
from support import PROGRAMS

LEVELS, BASE = 12, 123 * 8


@pytest.mark.smoke
@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("sink", ["file", "pipe"])
def test_every_path_is_the_one_taken(tmp_path, threads, sink):
    # GIVEN a leak on each of 4,096 call paths, by threads at the same time,
    # its size telling the path
    program = f'LD_PRELOAD=$LIB "{PROGRAMS / "paths"}" {threads}'
    script = {"file": f'{program} 1022>"$1"',
              "pipe": f'{{ {program} 1022>&1 >&2; }} | cat >"$1"; exit ${{PIPESTATUS[0]}}'}[sink]
    assert support.bash(script, tmp_path / "t").returncode == 0
    # WHEN all leaks are asked for
    whole = support.report(tmp_path / "t", "--leaks", "--top", "0")
    # THEN every stack goes through the functions that the size names
    seen = {}
    for entry in support.leaks_of(whole["leaks"], "leaf"):
        names = [name for name in support.functions(entry) if name in ("left", "right")]
        bits = sum((name == "right") << level for level, name in enumerate(reversed(names)))
        assert len(names) == LEVELS
        assert entry["bytes"] == entry["blocks"] * (BASE + bits), (names, entry["bytes"])
        seen[bits] = seen.get(bits, 0) + entry["blocks"]
    # and none is missing
    assert seen == {bits: threads for bits in range(1 << LEVELS)}
    support.assert_sound(whole["audit"])
