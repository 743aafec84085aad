# SPDX-License-Identifier: MIT
"""The analyser when memory runs out: at any request it says so and ends with
status 1, or it does without and says the same as ever. It never crashes, hangs,
or leaves something out without a word."""

import pytest

import support
from support import ANALYZE, PROGRAMS, run

# Requests that may be refused: one, as by a limit that others share, or all
# that follow, as when there is none left.
ONE, ALL = "1", "1000000000"


# What is said of a process whose history found no memory: the rest goes on.
WITHOUT = "nothing is known of its history"


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    """A trace of two processes and threads as a file, a stream, compressed."""
    folder = tmp_path_factory.mktemp("memory")
    preload = 'LD_PRELOAD=$LIB exec bash -c \'"$1" 2 300; "$1" 1 300\' bash "$1"'
    programs = {"file": f'{preload} 1022>"$2"',
                "stream": f'({preload} 1022>&1 >/dev/null) | cat >"$2"',
                "zstd": f'export MLOG_COMPRESS=zstd; {preload} 1022>"$2"'}
    made = {}
    for name, script in programs.items():
        made[name] = folder / name
        done = support.bash(script, PROGRAMS / "threads", made[name])
        assert made[name].stat().st_size > 4096, done
    return made


def analyse(trace, options, **fail):
    env = dict(support.clean_environment(), LD_PRELOAD=str(PROGRAMS / "fail_nth.so"), **fail)
    if "-" in options:
        return run([ANALYZE, *options], env=env, input=trace.read_bytes())
    return run([ANALYZE, trace, *options], env=env)


@pytest.mark.parametrize("count", [ONE, ALL], ids=["one", "all"])
@pytest.mark.parametrize("kind, options", [
    ("file", ["--json", "--top", "5"]),
    ("file", ["--jobs", "1", "--per-process", "--lifetimes", "--threads", "--tree", "--json"]),
    ("stream", ["-", "--json", "--top", "5"]),
    ("zstd", ["--json", "--min-size", "10", "--churn"]),
    ("file", ["--export=speedscope"]),
    ("file", ["--flamegraph=leaks"]),
], ids=["file", "reports", "stream", "zstd", "speedscope", "flame"])
def test_memory_refused_at_any_request(traces, tmp_path, kind, options, count):
    # GIVEN a trace whose analysis makes so many requests for memory
    options = [*options, "--no-symbols"]
    told = tmp_path / "requests"
    whole = analyse(traces[kind], options, FAIL_TELL=str(told))
    assert whole.returncode == 0, whole
    requests = int(told.read_text())
    assert requests > 50
    refused = 0
    # WHEN any of them is refused
    for first in sorted({*range(1, 40), *range(40, requests + 1, max(1, requests // 120))}):
        done = analyse(traces[kind], options, FAIL_FROM=str(first), FAIL_COUNT=count)
        # THEN that is said, or it makes no difference
        if done.returncode == 0 and not done.stderr:
            assert done.stdout == whole.stdout or WITHOUT in done.stdout, \
                f"request {first} of {requests}: {done}"
            continue
        refused += 1
        assert done.returncode == 1, f"request {first} of {requests}: {done}"
        assert "memory" in done.stderr and done.stderr.startswith("mlog-analyze: "), \
            f"request {first} of {requests}: {done}"
    assert refused > 20
