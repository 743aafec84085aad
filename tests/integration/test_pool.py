# SPDX-License-Identifier: MIT
"""--pool: the smallest pool of libmlog-tlsf.so that holds a run, tried by running the program
in exactly that pool, and in one of a page less."""
import json
import re
import shutil

import pytest

import support
from support import BUILD, PROGRAMS

TLSF = BUILD / "allocators" / "libmlog-tlsf.so"
PAGE = 4096


def pool(path, *args):
    return json.loads(support.analyze(path, "--pool", "--json", "--top", "0", *args).stdout)["pool"]


def in_pool(argv, initial, additional="64K"):
    """Run in a pool of so many bytes: the lines of its growth."""
    done = support.bash('LD_PRELOAD=$1 exec "${@:2}"', TLSF, *argv, env=support.clean_environment(
        INITIAL_MEMPOOL_SIZE=initial, ADDITIONAL_MEMPOOL_SIZE=additional, PYTHONHASHSEED="0"))
    assert done.returncode == 0, done
    return [line for line in done.stderr.splitlines() if "mlog-tlsf" in line]


SQL = "create table t(a,b); with recursive c(x) as (select 1 union all select x+1 from c " \
      "where x<3000) insert into t select x, hex(x*7919) from c; select count(*) from t group by a%7"
RUNS = {
    "moves": [PROGRAMS / "pool_moves"],
    "moves-in-a-child": [PROGRAMS / "pool_moves", "child"],
    "grow": [PROGRAMS / "grow"],
    "functions": [PROGRAMS / "functions"],
    "sqlite3": ["sqlite3", ":memory:", SQL],
    "python3": ["/usr/bin/python3", "-c", "x = [str(i) * (i % 50) for i in range(9000)]"],
}


@pytest.mark.parametrize("name", RUNS)
def test_exactly_that_pool_fits_and_a_page_less_grows(tmp_path, name):
    # GIVEN a program whose calls are the same in every run, traced over any allocator
    argv = RUNS[name]
    if not shutil.which(argv[0]):
        pytest.skip(f"no {argv[0]}")
    done = support.trace(argv, tmp_path / "t",
                         env=support.clean_environment(PYTHONHASHSEED="0"))
    assert done.returncode == 0, done
    told = pool(tmp_path / "t")
    assert told["initial_bytes"] % PAGE == 0
    assert 0 <= told["initial_bytes"] - told["exact_bytes"] < PAGE
    # WHEN it runs in the pool that is told THEN that does not grow
    assert in_pool(argv, told["initial_bytes"]) == []
    # and one of a page less does
    assert any("has no room for" in line for line in in_pool(argv, told["initial_bytes"] - PAGE))


@pytest.fixture(scope="module")
def moves(tmp_path_factory):
    path = tmp_path_factory.mktemp("moves") / "t"
    assert support.trace(RUNS["moves"], path).returncode == 0
    return path


def test_the_call_that_decides_and_who_held_the_pool(moves):
    told = pool(moves)
    (by,) = told["decided_by"]
    assert support.functions(by)[:2] == ["the_most", "work"]
    assert by["bytes"] in (123 * 8000, 321 * 800, 130 * 8000, 8192)
    held = sum(entry["bytes"] for entry in told["stacks"])
    assert held == told["used_bytes"] == told["requested_bytes"] + told["overhead_bytes"]
    assert sum(entry["blocks"] for entry in told["stacks"]) == told["blocks"]
    assert told["used_bytes"] + told["hole_bytes"] in range(told["exact_bytes"] - 16,
                                                            told["exact_bytes"] + 1)
    largest = told["stacks"][0]
    assert support.functions(largest)[0] == "the_most" and largest["bytes"] >= 123 * 8000
    summary = support.summary(moves)
    assert told["requested_bytes"] <= summary["peak_bytes"] + 130 * 8000
    assert told["threads"] is False and not told["caveats"]


def test_margins_and_curve(moves):
    told = pool(moves)
    for row in told["margins"]:
        assert row["bytes"] % PAGE == 0
        assert row["bytes"] >= told["initial_bytes"] * (100 + row["percent"]) / 100 - PAGE
        assert row["setting"] == f"{row['bytes'] // 1024}K"
    curve = told["curve"]
    assert [row["time_ns"] for row in curve] == sorted(row["time_ns"] for row in curve)
    assert max(row["pool_bytes"] for row in curve) == told["exact_bytes"]
    for row in curve:
        assert row["requested_bytes"] <= row["used_bytes"] <= row["pool_bytes"]
        assert abs(row["fragmentation"] / 100 - 1 + row["used_bytes"] / row["pool_bytes"]) < 0.01
    text = support.analyze(moves, "--pool").stdout
    assert f"INITIAL_MEMPOOL_SIZE={told['setting']} " in text and "the_most" in text


@pytest.mark.parametrize("initial, additional", [("64K", "64K"), ("256K", "16K"), ("1M", "512K")])
def test_growth_is_told_as_it_happens(moves, initial, additional):
    """GIVEN two sizes WHEN the program runs with them THEN the pool grows as was told: as often, for
    the same requests, to the same totals."""
    told = pool(moves, f"--pool=initial={initial},additional={additional}")["growth"]
    lines = in_pool(RUNS["moves"], initial, additional)
    assert told["growths"] == len(lines) > 0
    for line, call in zip(lines, told["calls"]):
        request, grown, total = re.search(r"room for (.*): grown by (.*), total (\S+)",
                                          line).groups()
        assert call["grown_bytes"] == int(grown[:-1]) << {"K": 10, "M": 20}[grown[-1]]
        assert call["total_bytes"] == int(total[:-1]) << {"K": 10, "M": 20}[total[-1]]
        number = re.match(r"(\d+)([KM]?)", request)
        assert call["request_bytes"] in range(
            (int(number[1]) << {"": 0, "K": 10, "M": 20}[number[2]]) - PAGE,
            (int(number[1]) << {"": 0, "K": 10, "M": 20}[number[2]]) + 1)
    assert told["total_bytes"] == told["calls"][-1]["total_bytes"] and told["failed"] == 0


def test_a_pool_that_does_not_grow(moves):
    told = pool(moves)["growth"]
    assert told["initial_bytes"] == told["additional_bytes"] == 100 << 20
    assert told["growths"] == 0 and told["total_bytes"] == 100 << 20
    assert "INITIAL_MEMPOOL_SIZE=100M would not have grown" in \
        support.analyze(moves, "--pool").stdout


def test_threads_are_said_to_make_another_order(tmp_path):
    support.trace([PROGRAMS / "threads", "3", "300"], tmp_path / "t")
    told = pool(tmp_path / "t")
    assert told["threads"] is True and told["initial_bytes"] > 0
    (caveat,) = told["caveats"]
    assert caveat.startswith("Several threads allocated: another run orders their calls otherwise")


def test_a_forked_child_begins_with_its_parents_pool(tmp_path):
    support.trace(RUNS["moves-in-a-child"], tmp_path / "t")
    told = pool(tmp_path / "t")
    parent, child = sorted(told["processes"], key=lambda row: row["initial_bytes"])
    assert child["initial_bytes"] == told["initial_bytes"] > 4 * parent["initial_bytes"]
    assert child["pid"] == told["pid"] != parent["pid"]


def test_of_many_traces_the_largest(moves, tmp_path):
    support.trace(RUNS["grow"], tmp_path / "grow")
    all_of = [pool(path)["initial_bytes"] for path in (tmp_path / "grow", moves)]
    done = support.analyze(tmp_path / "grow", moves, "--pool", "--json")
    told = json.loads(done.stdout)["pools"]
    assert told["initial_bytes"] == max(all_of) and told["trace"] == str(moves)
    assert [row["initial_bytes"] for row in told["traces"]] == all_of
    text = support.analyze(tmp_path / "grow", moves, "--pool").stdout
    assert f"INITIAL_MEMPOOL_SIZE={told['setting']} " in text and "each of these 2 runs" in text
    # only for this report, and none of them is overwritten
    support.analyze(tmp_path / "grow", moves, "--leaks", status=2)
    before = moves.read_bytes()
    support.analyze(tmp_path / "grow", moves, "--pool", "-o", moves, status=2)
    assert moves.read_bytes() == before


@pytest.mark.parametrize("value, expected", [
    ("buddy", "expected tlsf, initial=SIZE or additional=SIZE"),
    ("initial=0", "expected a size behind = , as in initial=100M"),
    ("tlsf,additional=12Q", "expected a size behind = , as in initial=100M"),
    ("initial=300000G", "expected a size"),
])
def test_wrong_settings(moves, value, expected):
    done = support.analyze(moves, f"--pool={value}", status=2)
    assert f"--pool={value}: {expected}" in done.stderr


def test_without_address_space_it_is_said(moves):
    done = support.bash('ulimit -v 700000; "$1" "$2" --pool --json', support.ANALYZE, moves)
    if done.returncode != 0:
        pytest.skip("mlog-analyze does not run in 700 MB")
    told = json.loads(done.stdout)["pool"]
    assert told["initial_bytes"] == pool(moves)["initial_bytes"], "less is reserved, and is enough"
