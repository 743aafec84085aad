# SPDX-License-Identifier: MIT
"""The analyser's two threads under ThreadSanitizer: tests/unit/test_lane.c, as
`ninja -C build sanitized` builds it."""
import os

import pytest
from support import BUILD, clean_environment, run

LANES = BUILD / "tests" / "fuzz" / "lanes-sanitized"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: there are no lanes")
def test_what_two_threads_share_is_shared_in_order():
    assert LANES.exists(), f"build it first: ninja -C {BUILD} sanitized"
    # The sanitizer knows the address space without randomisation only.
    done = run(["setarch", "-R", LANES], env=clean_environment(TSAN_OPTIONS="exitcode=66"))
    assert done.returncode == 0 and "ThreadSanitizer" not in done.stderr, done
    assert "a batch in hand stays" in done.stdout
