# SPDX-License-Identifier: MIT
"""The unwinder against libunwind and libgcc, stack by stack, in real programs
and in nasty ones: run-truth.sh, which also sees that its mutants are caught."""
import shutil

import support


def test_every_stack_is_the_true_one(tmp_path):
    for program in ("sqlite3", "perl", "git", "g++", "clang++", "redis-benchmark"):
        assert shutil.which(program), f"{program} is missing; packages.txt lists its package"
    done = support.run([support.ROOT / "tests/unwind/run-truth.sh", tmp_path], limit=600)
    print(done.stdout)
    assert done.returncode == 0, done
    assert int(done.stdout.splitlines()[-1].split()[0]) >= 30, done
