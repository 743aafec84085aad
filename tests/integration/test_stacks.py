# SPDX-License-Identifier: MIT
"""Stacks are whole, exact, and blame the right function of the right file."""
import platform

import pytest

import support
from support import PROGRAMS

@pytest.mark.smoke
@pytest.mark.parametrize("depth", [1, 8, 63, 64, 65, 300, 400])
def test_depth_and_every_name(tmp_path, depth):
    # GIVEN a leak under so many functions
    support.trace([PROGRAMS / "deep", depth], tmp_path / "t")
    # WHEN asked for leaks
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    # THEN there is one, with each of them by name, in order, and main
    (entry,) = leaks
    assert (entry["bytes"], entry["blocks"]) == (123 * 8, 1)
    names = support.functions(entry)
    assert names[:depth] == [f"level_{i:03}" for i in reversed(range(depth))]
    assert names[depth] == "main"
    # and what called main, down to the very first instruction
    assert names[-1] == "_start"
    assert 2 <= len(names) - depth - 1 <= 3, names
    # and no frame of mlog's
    assert not [f for f in entry["stack"] if "libmlog" in (f["module"] or "")]


def test_source_lines(tmp_path):
    support.trace([PROGRAMS / "functions"], tmp_path / "t")
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    source = (support.ROOT / "tests/programs/functions.c").read_text().splitlines()
    (entry,) = support.leaks_of(leaks, "leak_malloc")
    assert (entry["bytes"], entry["blocks"], entry["calls"]) == (5 * 984, 5, 5)
    frame = entry["stack"][0]
    assert frame["file"].endswith("functions.c")
    assert "malloc(123 * 8)" in source[frame["line"] - 1]
    # The caller's line is that of the call, not of what follows it.
    caller = entry["stack"][1]
    assert caller["function"] == "main"
    assert "leak_malloc();" in source[caller["line"] - 1]


def test_frames_say_where_they_are(tmp_path):
    support.trace([PROGRAMS / "deep", 2], tmp_path / "t")
    whole = support.report(tmp_path / "t", "--leaks")
    (entry,) = whole["leaks"]
    frame = entry["stack"][0]
    assert frame["module"] == str(PROGRAMS / "deep")
    notes = support.run(["readelf", "-n", PROGRAMS / "deep"]).stdout
    assert frame["build_id"] and f"Build ID: {frame['build_id']}" in notes
    symbols = support.run(["nm", PROGRAMS / "deep"]).stdout
    (start,) = [int(line.split()[0], 16) for line in symbols.splitlines()
                if line.endswith(" level_001")]
    assert start < int(str(frame["offset"]), 0) <= start + 200
    assert frame["inlined"] is False
    assert int(frame["address"], 16) % 4096 == int(str(frame["offset"]), 0) % 4096


def test_cpp_names_and_operator_new(tmp_path):
    # GIVEN operator new in all its forms
    plain = support.run([PROGRAMS / "operator_new"])
    assert plain.stdout == "aligned: 1\nbad_alloc\nnothrow: 1\n"
    # WHEN traced THEN it fails just as it should
    done = support.trace([PROGRAMS / "operator_new"], tmp_path / "t", tmp_path / "oracle")
    assert done.visible == plain.visible
    # and the leak is blamed on the function's C++ name
    whole, _ = support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle")
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    entries = [e for e in leaks
               if any("shop::leak_one<shop::Widget>" in (f or "") for f in support.functions(e))]
    assert sum(entry["bytes"] for entry in entries) == 123 * 8


def test_library_unloaded_and_another_at_its_address(tmp_path):
    # GIVEN two plug-ins loaded one after the other at the same address
    argv = [PROGRAMS / "reload", PROGRAMS / "plugin_first.so", PROGRAMS / "plugin_second.so"]
    done = support.trace(argv, tmp_path / "t")
    assert done.visible == (0, "same\n", "")
    # WHEN asked who leaked THEN each is blamed for its own
    leaks = support.report(tmp_path / "t", "--leaks")["leaks"]
    (first,) = [e for e in leaks if e["bytes"] == 123 * 8]
    (second,) = [e for e in leaks if e["bytes"] == 321 * 8]
    assert support.functions(first)[:3] == ["first_leak", "plugin_run", "run"]
    assert support.functions(second)[:3] == ["second_leak", "plugin_run", "run"]
    assert first["stack"][0]["module"].endswith("plugin_first.so")
    assert second["stack"][0]["module"].endswith("plugin_second.so")
    assert first["stack"][0]["address"] == second["stack"][0]["address"]


def test_program_with_names_like_the_librarys_own(tmp_path):
    done = support.trace([PROGRAMS / "names"], tmp_path / "t")
    assert done.visible == (0, "0 21 4711\n", "")
    assert support.summary(tmp_path / "t")["reallocations"] == 100


def test_peak_and_allocations_have_stacks(tmp_path):
    support.trace([PROGRAMS / "churn", 100], tmp_path / "t")
    whole = support.report(tmp_path / "t", "--allocations", "--peak", "--summary")
    by_site = {support.functions(e)[0]: e for e in whole["allocations"]}
    assert by_site["site_one"]["calls"] == by_site["site_two"]["calls"] == 50
    assert by_site["site_one"]["bytes"] == 50 * 100
    assert by_site["site_two"]["bytes"] == 50 * 3000
    assert by_site["leak"]["calls"] == 3
    # The peak is one block of site_two, before any leak.
    assert whole["summary"]["peak_bytes"] == 3000
    (entry,) = whole["peak"]
    assert support.functions(entry)[0] == "site_two"
    assert (entry["bytes"], entry["blocks"]) == (3000, 1)


def test_constructor_called_by_the_loader(tmp_path):
    # GIVEN a library that allocates before main
    script = f'LD_PRELOAD="$LIB {PROGRAMS / "early.so"}" /bin/true 1022>"$1"'
    assert support.bash(script, tmp_path / "t").returncode == 0
    # WHEN asked where
    whole = support.report(tmp_path / "t", "--leaks")
    # THEN the stack ends in the loader's first code, and is whole
    (entry,) = support.leaks_of(whole["leaks"], "early_leak")
    assert "ld-linux" in entry["stack"][-1]["module"]
    assert not any(whole["audit"]["truncated_stacks"].values()), whole["audit"]
    assert whole["audit"]["complete"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="liar.c is x86-64 assembly")
@pytest.mark.parametrize("way", ["number", "far", "deref", "near", "aligned", "zero", "thread",
                                 "bare"])
def test_unwind_information_that_lies_harms_nobody(tmp_path, way):
    """
    GIVEN assembly that claims its frame where it is not, or tells nothing of it
    WHEN  malloc is called below it
    THEN  the program ends as without the library, all blocks are seen, and the stack
          is called cut; it is whole only where a frame pointer leads on to main
    """
    path = tmp_path / "trace"
    done = support.trace([PROGRAMS / "liar", way], path)
    assert done.returncode == 5, done
    whole = support.report(path, "--leaks")
    leak = next(entry for entry in whole["leaks"] if entry["bytes"] == 100 * 123 * 8)
    names, cut = support.functions(leak), whole["audit"]["truncated_stacks"]
    assert names[:2] == ["allocate", "liar_" + {"thread": "zero"}.get(way, way)], names
    if way == "bare":
        assert "main" in names and not any(cut.values()), (names, cut)
        assert whole["audit"]["frame_pointer_steps"] >= 1, whole["audit"]
        assert not any(whole["audit"]["truncated_stack_bytes"].values()), whole["audit"]
    else:
        assert "main" not in names and any(cut.values()), (names, cut)
        # The bytes under cut stacks are told too, in text and as numbers.
        cut_bytes = whole["audit"]["truncated_stack_bytes"]
        for key in ("allocated", "peak", "leaked"):
            assert leak["bytes"] <= cut_bytes[key] <= whole["summary"][key + "_bytes"], cut_bytes
        assert any("Under cut stacks lie" in line for line in whole["audit"]["warnings"])


def test_a_cap_of_frames_is_told_as_a_choice(tmp_path):
    """GIVEN MLOG_DEPTH=3; WHEN a program of 20 levels is traced; THEN its stack has three frames,
    and the audit calls that a choice and no stack cut."""
    env = support.clean_environment(MLOG_DEPTH=3)
    support.trace([PROGRAMS / "deep", 20], tmp_path / "t", env=env)
    whole = support.report(tmp_path / "t", "--leaks")
    [leak] = support.leaks_of(whole["leaks"], "level_019")
    assert [name for name in support.functions(leak) if name] == \
        ["level_019", "level_018", "level_017"]
    assert whole["audit"]["chosen_depth"] == 3 and whole["audit"]["complete"]
    text = support.analyze(tmp_path / "t").stdout
    assert "Stacks have 3 frames at most, as MLOG_DEPTH asked" in text
    assert "every stack is as long as MLOG_DEPTH lets it be" in text
    assert "stacks are cut" not in text and "stack is cut" not in text


@pytest.mark.parametrize("depth", ["", "0", "16385", "99999999999", "ten"])
def test_a_cap_that_is_none_changes_nothing(tmp_path, depth):
    env = support.clean_environment(MLOG_DEPTH=depth, MLOG_DEBUG=1)
    done = support.trace([PROGRAMS / "deep", 20], tmp_path / "t", env=env)
    assert ("MLOG_DEPTH is a number of frames" in done.stderr) == bool(depth)
    audit = support.report(tmp_path / "t")["audit"]
    assert audit["chosen_depth"] is None and sum(audit["truncated_stacks"].values()) == 0


def test_frame_pointers_alone_are_told_as_a_choice(tmp_path):
    env = support.clean_environment(MLOG_UNWIND="fp")
    support.trace([PROGRAMS / "churn", 20], tmp_path / "t", env=env)
    audit = support.report(tmp_path / "t")["audit"]
    assert audit["chosen_frame_pointers"] and sum(audit["truncated_stacks"].values())
    text = support.analyze(tmp_path / "t").stdout
    assert "Stacks follow frame pointers alone, as MLOG_UNWIND=fp asked" in text
    assert "every stack is as long as MLOG_UNWIND=fp lets it be" in text
    assert "cut where code" not in text and "Under cut stacks" not in text
