# SPDX-License-Identifier: MIT
"""Unit tests under sanitizers, as `ninja -C build sanitized` builds them: what reads
without checks of bounds under AddressSanitizer, the analyser's two threads
(tests/unit/test_lane.c) under ThreadSanitizer."""
import os

import pytest
from support import BUILD, clean_environment, run


def output_of(name, **env):
    program = BUILD / "tests" / "fuzz" / f"{name}-sanitized"
    assert program.exists(), f"build it first: ninja -C {BUILD} sanitized"
    # ThreadSanitizer knows the address space without randomisation only.
    done = run(["setarch", "-R", program], env=clean_environment(**env))
    assert done.returncode == 0 and "Sanitizer" not in done.stderr, done
    assert "not ok" not in done.stdout
    return done.stdout


@pytest.mark.parametrize("name", ["decode", "heap", "stacks"])
def test_nothing_is_read_that_is_not_there(name):
    assert "ok 10 - " in output_of(name)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: there are no lanes")
def test_what_two_threads_share_is_shared_in_order():
    assert "a batch in hand stays" in output_of("lanes", TSAN_OPTIONS="exitcode=66")
