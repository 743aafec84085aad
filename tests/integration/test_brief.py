# SPDX-License-Identifier: MIT
"""--brief: what the other reports conclude, in 3 KiB whatever the trace holds."""
import json

import pytest

import support
from support import PROGRAMS, analyze, report, trace
from test_hostile import NASTY, trace_of

BOUND = 3 << 10

FORKS = """my @kept; my $n;
for $n (1 .. 9) { fork or do { @kept = map { "x" x (1000 * $n + $_) } 1 .. 50; exit }; wait }"""


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    root = tmp_path_factory.mktemp("brief")
    for name, argv in {"leaks": [PROGRAMS / "threads", 4, 500],
                       "forks": ["perl", "-e", FORKS],
                       "sqlite3": ["sqlite3", ":memory:", "select hex(zeroblob(99999))"]}.items():
        assert trace(argv, root / name).returncode == 0
    return root


def brief(path, *options):
    done = support.run([support.ANALYZE, path, "--brief", *options])
    assert len(done.stdout.encode()) <= BOUND, done
    return done


@pytest.mark.parametrize("name", ["leaks", "forks", "sqlite3"])
@pytest.mark.parametrize("options", [[], ["--min-size", "900"]], ids=["whole", "filtered"])
def test_it_says_what_the_reports_say(traces, name, options):
    done = brief(traces / name, "--json", "--no-builtin-suppressions", *options)
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told.keys() == {"schema", "brief"}
    told, full = told["brief"], report(traces / name, *options)
    assert told["verdict"] == full["verdict"]["sentence"]
    assert told["filter"] == (full["filter"]["text"] if options else None)
    for key in ("duration_ns", "events", "peak_bytes", "leaked_bytes", "leaked_blocks"):
        assert told[key] == full["summary"][key], key
    assert told["complete"] and told["doubt"] is None
    for key, most in (("leaks", 5), ("peak", 3)):
        assert [[row[k] for k in ("bytes", "blocks", "stack_id", "label")] for row in told[key]] == \
            [[row[k] for k in ("bytes", "blocks", "stack_id", "label")] for row in full[key][:most]]
    # AND the next command is one
    number = (told["leaks"] + told["peak"])[0]["stack_id"]
    assert told["next"] == f"mlog-analyze {traces / name} --stack={number}"
    assert analyze(traces / name, f"--stack={number}").returncode == 0


def test_the_text_has_rows_for_stacks_not_functions(traces):
    """GIVEN leaks of several lines of one function, THEN each is a row with its line."""
    lines = brief(traces / "leaks").stdout.splitlines()
    assert lines[1].startswith("  The run lasted")
    at = lines.index("Leaks")
    rows = [line.split() for line in lines[at + 2:lines.index("", at)]]
    assert len(rows) >= 3 and all(row[-2] == "worker" for row in rows[:3]), lines
    assert len({row[-1] for row in rows[:3]}) == 3
    assert "trace        complete" in "\n".join(lines)


def test_a_cut_trace_is_not_called_complete(tmp_path):
    """AND the first reason is told, and how many more there are."""
    support.bash('{ LD_PRELOAD=$LIB "$2" 4 500 1022>&1 >/dev/null; } | cat >"$1"', tmp_path / "t",
                 PROGRAMS / "threads")
    data = (tmp_path / "t").read_bytes()
    (tmp_path / "t").write_bytes(data[:len(data) // 2])
    done = brief(tmp_path / "t", "--json")
    told = json.loads(done.stdout)["brief"]
    assert done.returncode == 1 and not told["complete"]
    assert told["doubt"].startswith("The trace is cut off at byte") and told["doubts"] > 1
    assert "NOT COMPLETE: The trace is cut off at byte" in brief(tmp_path / "t").stdout


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize("name", [NASTY * 40, b"f" * 90000, "\u6f22".encode() * 9000, b"\xff" * 999])
def test_names_do_not_make_it_longer(tmp_path, options, name):
    path = trace_of(tmp_path, path=b"/" + name[:60000], name=name[:200])
    done = brief(path, "--no-symbols", *options)
    assert done.returncode == 0
    done.stdout.encode().decode()
    if options:
        row = json.loads(done.stdout)["brief"]["leaks"][0]
        assert row["bytes"] == 123 * 8 and row["label"].endswith("…")
