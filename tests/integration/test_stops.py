# SPDX-License-Identifier: MIT
"""What ends tracing before the program ends, and what must not: a stop is in the
trace with its reason, whichever thread meets it, and a healthy file stops nobody."""
import shutil
import subprocess

import pytest

import support
from support import LIBRARY, PROGRAMS, bash

DELAYS = "--inject=fstat:delay_exit=300000:when=2"


def can_delay():
    return shutil.which("strace") is not None and subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "--trace=fstat", DELAYS, "true"],
        capture_output=True).returncode == 0


@pytest.mark.skipif(not can_delay(), reason="no strace, or no right to trace a process with it")
def test_threads_that_begin_at_once_do_not_end_tracing(tmp_path):
    """GIVEN 64 threads each of which sleeps between asking for the file's size and
    using it WHEN others make the file grow meanwhile THEN it is not taken for cut."""
    done = bash('strace -f -o /dev/null --trace=fstat "$1" env LD_PRELOAD="$2" '
                'bash -c \'exec "$0" 64 300 1022>"$1"\' "$3" "$4"',
                DELAYS, LIBRARY, PROGRAMS / "threads", tmp_path / "t")
    assert done.returncode == 0, done
    audit = support.report(tmp_path / "t", "--summary")["audit"]
    assert audit["stopped"] is None
    support.assert_sound(audit)
    assert audit["events"] > 64 * 300
