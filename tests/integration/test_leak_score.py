# SPDX-License-Identifier: MIT
"""Leak or cache: the labels of --leaks on planted leaks, caches, tables and
young blocks (tests/programs/planted.c, paced by the clock; patterns.c, with a
clock of its own), their order, and what is said where nothing can be told."""
import re
import subprocess

import pytest

import leak_score
import support
from support import PROGRAMS, analyze

PATTERNS = """grow_slow grow_fast grow_bursty grow_noise grow_doubling grow_behind_table grow_late
grow_in_cycles grow_one_thread plateau_filled plateau_lru plateau_lru_sizes plateau_keys
plateau_waves plateau_arena startup_table startup_config young_request young_in_flight
tiny_names tiny_share""".split()


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "t"
    for _ in range(10):  # a machine that stood still may have moved a block's moment
        found = leak_score.run(path, 2)
        if all(entry["kind"] == truth for _, truth, entry in found) and \
                support.summary(path)["duration_ns"] < 2.3e9:
            break
    return path, found


def test_every_label_holds(planted):
    _, found = planted
    assert {function for function, _, _ in found} == set(PATTERNS)
    wrong = [(function, entry["kind"], entry["reason"]) for function, truth, entry in found
             if entry["kind"] != truth]
    assert not wrong


@pytest.mark.parametrize("chosen", ["tuned", "kept"])
def test_the_published_score_holds(chosen):
    """GIVEN each pattern of a set under each load, once
    THEN no more is wrong than docs/leak-score.md says of five times, and nothing with
    confidence."""
    found = leak_score.verdicts(chosen, 1)
    right, wrong, confident = leak_score.score(found)
    told = "\n".join(str(verdict) for verdict in found if not verdict.right)
    assert len(found) > 130 and not confident, told
    assert right >= 97.5 and wrong <= {"tuned": 3, "kept": 2}[chosen], told


@pytest.mark.parametrize("pattern,load,kind,words", [
    ("worker_ended", "steady", "growing", r"grew by .* until its thread ended, in \d+ of"),
    ("every_request", "pausing", "growing", r"grew by .* until the program's work paused, in"),
    ("forgotten_sessions", "pausing", "growing", r"grew by .* until the program's work paused"),
    ("alone_some_stay", "pausing", "growing", r"grew by .* until the program's work paused"),
    ("alone_lru_64", "pausing", "plateau", ""),
    ("most_freed", "bursts", "growing", r"grows by"),
    ("ttl_50", "rising", "plateau", r"turns over: its blocks live no longer than before; oldest "),
    ("refreshed_map", "rising", "growing", r"grows by"),
    ("popular_keys", "rising", "plateau", r"filling up: the last quarter of its \w+ added \d"),
    ("codecs", "rising", "unclear", r"grew by .* in a few blocks: too few to tell"),
    ("loaded_by_thread", "steady", "startup", r"allocated in the first quarter"),
])
def test_work_age_and_threads_count(tmp_path, pattern, load, kind, words):
    """GIVEN a stack whose history alone would tell another story
    THEN it is judged by what else is known, and the reason says so; where growth ended
    before the program, without certainty."""
    verdict = leak_score.judge(leak_score.Case(pattern, "", load, 1), tmp_path / "t")
    assert verdict.kind == kind and re.match(words, verdict.reason), verdict
    assert verdict.confidence <= 0.7 or not verdict.reason.startswith(("grew", "turns"))


def test_growth_that_ended_is_not_called_still_growing(tmp_path):
    """GIVEN leaks that grew until their thread ended, and nothing else that grows
    WHEN the verdict is read THEN it says until when, and promises no growth to come."""
    subprocess.run([PROGRAMS / "patterns", tmp_path / "t", "worker_ended", "steady", "1"],
                   check=True)
    verdict = support.report(tmp_path / "t")["verdict"]
    assert verdict["growing_stacks"] > 0 and verdict["growing_bytes_per_s"] == 0
    assert re.fullmatch(r"LEAK: \d+ stacks? grew until (its|their) thread or work ended\.",
                        verdict["sentence"]), verdict
    text = analyze(tmp_path / "t").stdout
    assert "an hour later" not in text and "still growing" not in text


def test_a_filter_leaves_the_clock_of_work(tmp_path):
    """GIVEN a leak whose load paused, seen through a filter that leaves out all other work
    THEN it is judged as without."""
    subprocess.run([PROGRAMS / "patterns", tmp_path / "t", "every_request", "pausing", "1"],
                   check=True)
    whole, filtered = (support.report(tmp_path / "t", "--leaks", *options)["leaks"]
                       for options in ([], ["--max-size", "100"]))
    assert [entry["reason"] for entry in filtered] == [
        entry["reason"] for entry in whole if entry["bytes"] == 100 * entry["blocks"]]


def test_a_set_is_the_same_each_time(tmp_path):
    for name in "ab":
        subprocess.run([PROGRAMS / "patterns", tmp_path / name, "lru_sizes", "bursts", "7"],
                       check=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_tiny_growth_is_no_leak(planted):
    """GIVEN stacks that grow to the end by less than the floor in bytes, or in share
    THEN they are unclear, and the reason says by how much they grew."""
    entries = {function: entry for function, _, entry in planted[1]}
    for name in ("tiny_names", "tiny_share"):
        assert re.match(r"grew by .* in .*: too little to tell", entries[name]["reason"])


def test_the_example_leaks_and_its_cache_does_not(tmp_path):
    support.trace([PROGRAMS / "leaky"], tmp_path / "t")
    whole = support.report(tmp_path / "t", "--leaks")
    assert whole["leaks"][0]["kind"] == "growing" and whole["leaks"][0]["blocks"] == 20000
    assert whole["verdict"]["growing_stacks"] == 1
    assert whole["verdict"]["fix_first"].startswith("session_new, ")
    cached = [e for e in whole["leaks"] if e["blocks"] == 64]
    assert [e["kind"] for e in cached] == ["plateau", "plateau"]


def test_fields(planted):
    entries = {function: entry for function, _, entry in planted[1]}
    for entry in entries.values():
        assert 0 <= entry["confidence"] <= 1
        assert entry["oldest_ns"] >= entry["youngest_ns"] >= 0
        assert entry["reason"]
        assert (entry["slope_bytes_per_s"] is None) == (entry["kind"] in ("young", "unclear"))
    # 480 steps in 2 s, 64 KiB each
    assert 10e6 < entries["grow_fast"]["slope_bytes_per_s"] < 25e6
    assert abs(entries["plateau_filled"]["slope_bytes_per_s"]) < 1
    assert entries["grow_one_thread"]["threads"] == 1
    assert entries["grow_one_thread"]["own_frame"]["function"] == "grow_one_thread"
    assert entries["grow_one_thread"]["own_frame"]["file"].endswith("planted.c")
    assert entries["startup_table"]["youngest_ns"] > 1.5e9
    assert entries["young_request"]["oldest_ns"] < 0.5e9


def test_growing_ones_come_first_and_no_byte_is_hidden(planted):
    path, _ = planted
    whole = support.report(path, "--leaks", "--summary")
    kinds = [entry["kind"] for entry in whole["leaks"]]
    order = ["growing", "unclear", "young", "plateau", "startup"]
    assert kinds == sorted(kinds, key=order.index)
    assert sum(e["bytes"] for e in whole["leaks"]) == whole["summary"]["leaked_bytes"]
    assert sum(e["blocks"] for e in whole["leaks"]) == whole["summary"]["leaked_blocks"]
    assert sum(whole["verdict"]["bytes"].values()) == whole["summary"]["leaked_bytes"]
    plain = [e["bytes"] for e in support.report(path, "--leaks", "--sort", "bytes")["leaks"]]
    assert plain == sorted(plain, reverse=True)
    assert [e["bytes"] for e in whole["leaks"]] != plain


def test_default_report_says_what_to_fix(planted):
    """The first lines: that there is a leak, where it is, what it costs."""
    lines = analyze(planted[0]).stdout.splitlines()
    assert lines[0] == "Verdict"
    head = "\n".join(lines[:6])
    assert max(map(len, lines[:12])) <= 80
    assert re.search(r"LEAK: \d+ stacks were still growing at the end, by [\d.]+ MiB/s", head)
    assert re.search(r"fix first +grow_fast\n +at +programs/planted\.c:\d+", head)
    assert re.search(r"[\d.]+ MiB in [\d,]+ blocks so far, [\d.]+ MiB after [\d.]+ m?s more", head)
    text = "\n".join(lines)
    assert "GROWING: grows by" in text
    assert re.search(r"grow_one_thread(, \S+:\d+)?\n +GROWING: .*; all by thread \d+", text)


def test_a_short_run_is_too_short_to_tell(tmp_path):
    for _ in range(10):  # a busy machine may stretch one
        support.trace([PROGRAMS / "planted", "0.01", "grow_slow", "plateau_lru", "startup_table"],
                      tmp_path / "short")
        if support.summary(tmp_path / "short")["duration_ns"] < 9e7:
            break
    leaks = support.report(tmp_path / "short", "--leaks")["leaks"]
    assert {entry["kind"] for entry in leaks} == {"unclear"}
    assert all("too short to tell" in entry["reason"] for entry in leaks)
    bytes_ = [entry["bytes"] for entry in leaks]
    assert bytes_ == sorted(bytes_, reverse=True)
    assert "too short to tell leaks from caches" in analyze(tmp_path / "short").stdout


def test_no_leak_is_said_to_be_none(tmp_path):
    support.trace([PROGRAMS / "planted", "0.5", "plateau_lru", "startup_table"], tmp_path / "t")
    verdict = support.report(tmp_path / "t")["verdict"]
    assert verdict["growing_stacks"] == 0 and verdict["fix_first"] is None
    assert verdict["sentence"].startswith("No growing leak")


def test_real_interpreter(tmp_path):
    """A list that only grows and a bounded cache, in Python itself."""
    script = """
import time, collections
keep, cache = [], collections.OrderedDict()
start = time.monotonic()
for step in range(300):
    time.sleep(max(0, start + step * 1.5 / 300 - time.monotonic()))
    keep.append(bytearray(5000 + step))
    cache[step] = (b"%07d" % step) * 1001
    if len(cache) > 20:
        cache.popitem(last=False)
import os; os._exit(0)
"""
    env = support.clean_environment(PYTHONMALLOC="malloc")
    support.trace([support.PYTHON, "-c", script], tmp_path / "t", env=env)
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    assert leaks[0]["kind"] == "growing", leaks[0]["reason"]
    assert leaks[0]["bytes"] >= 300 * 5000
    bounded = [e for e in leaks if 20 * 7007 <= e["bytes"] < 30 * 7100]
    assert bounded and all(e["kind"] == "plateau" for e in bounded), bounded
