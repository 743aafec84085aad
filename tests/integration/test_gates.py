# SPDX-License-Identifier: MIT
"""Conditions that fail a run, and the files for CI servers, on programs with
planted leaks; the recipes of docs/ci.md as they stand there, each run by the
tool it is for."""
import json
import os
import re
import shutil
import urllib.parse
import xml.etree.ElementTree as xml

import pytest

import support
from support import analyze, run

SOURCE = r"""
#include <stdlib.h>
static void *volatile keep;
__attribute__((noinline)) static void *xmalloc(size_t n) { return malloc(n); }
__attribute__((noinline)) void planted_leak(size_t n) { keep = xmalloc(n); }
int main(int argc, char **argv)
{
    void *volatile large = malloc(1 << 20);
    free(large);
    if (argc > 1)
        planted_leak(strtoul(argv[1], NULL, 10));
    if (argc > 2)
        planted_leak(strtoul(argv[2], NULL, 10));
    return 0;
}
"""


def compiled(folder, source=SOURCE, name="program", *flags):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "source.c").write_text(source)
    done = run(["gcc", "-g", "-O1", "-fno-optimize-sibling-calls", *flags, "-o", folder / name,
                folder / "source.c"])
    assert done.returncode == 0, done
    return folder / name


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Traces: clean, with a leak of 984 bytes, and with that and one of 2345."""
    folder = tmp_path_factory.mktemp("gates")
    program = compiled(folder)
    for name, sizes in (("clean", []), ("one", [984]), ("two", [984, 2345])):
        assert support.trace([program, *sizes], folder / name).returncode == 0
    analyze(folder / "one", "--json", "-o", folder / "one.json")
    return folder


def gate(trace, *args, **kwargs):
    return run([support.ANALYZE, trace, "--summary", *args], **kwargs)


@pytest.mark.parametrize("condition, status, words", [
    ("leaked_bytes>0", 3, "leaked_bytes is 984 B, allowed is at most 0 B: "
                          "--fail-on 'leaked_bytes>0'"),
    ("leaked_bytes>983", 3, "984"), ("leaked_bytes>984", 0, ""), ("leaked_bytes>=984", 3, "984"),
    ("leaked_bytes<985", 3, "at least"), ("leaked_bytes<984", 0, ""),
    ("leaked_bytes<=984", 3, "more than"), ("leaked_bytes<=983", 0, ""),
    ("leaked_bytes==984", 3, "anything but"), ("leaked_bytes==983", 0, ""),
    ("leaked_bytes!=1", 3, "exactly"), ("leaked_bytes != 984", 0, ""),
    (" leaked_blocks  >  0 ", 3, "leaked_blocks is 1"),
    ("peak_bytes>1M", 0, ""), ("peak_bytes>=1M", 3, "1.00 MiB"), ("peak_bytes>1023KiB", 3, ""),
    ("peak_bytes>0.5MiB", 3, ""), ("peak_bytes>1.5M", 0, ""), ("peak_bytes>1G", 0, ""),
    ("allocations>=2", 3, ""), ("allocations>2", 0, ""), ("allocations>1K", 0, ""),
    ("temporary<1", 0, ""), ("duration>1h", 0, ""), ("duration_ns>=0ns", 3, "duration_ns"),
])
def test_conditions(made, condition, status, words):
    done = gate(made / "one", "--fail-on", condition)
    assert done.returncode == status, done
    assert words in done.stderr and len(done.stderr.splitlines()) == (status == 3), done
    assert "Summary" in done.stdout, "the report is written all the same"


@pytest.mark.parametrize("baseline", ["one", "one.json"])
@pytest.mark.parametrize("condition, status, words", [
    ("leaked_bytes>+0", 3, "went from 984 B to 3.25 KiB (+238.3 %), allowed is at most +0 B"),
    ("leaked_bytes>+2344", 3, ""), ("leaked_bytes>+2345", 0, ""), ("leaked_bytes>+3K", 0, ""),
    ("leaked_bytes>+5%", 3, "allowed is at most +5 %"), ("leaked_bytes>+239%", 0, ""),
    ("leaked_bytes>338%", 3, "of the baseline"), ("leaked_bytes>339%", 0, ""),
    ("peak_bytes>+0%", 0, ""), ("peak_bytes!=+0", 0, ""), ("allocations>-1", 3, "-1"),
])
def test_growth(made, baseline, condition, status, words):
    done = gate(made / "two", "--baseline", made / baseline, "--fail-on", condition)
    assert done.returncode == status and words in done.stderr, done


def test_growth_from_nothing(made):
    """Of a baseline of 0 any growth is more than any percentage, none is 0 %."""
    assert gate(made / "one", "--baseline", made / "clean", "--fail-on",
                "leaked_bytes>+1000%").returncode == 3
    assert gate(made / "clean", "--baseline", made / "clean", "--fail-on",
                "leaked_bytes>+0%").returncode == 0


def test_all_failed_conditions_are_told(made):
    done = gate(made / "two", "--fail-on=leaked_bytes>0", "--fail-on=peak_bytes>200M",
                "--fail-on=leaked_blocks>1")
    assert done.returncode == 3
    assert [re.search("--fail-on '(.*)'", line)[1] for line in done.stderr.splitlines()] == \
        ["leaked_bytes>0", "leaked_blocks>1"]


@pytest.mark.parametrize("args, words", [
    (["--fail-on", "leaks>0"], ["'leaks>0'", "leaked_bytes", "peak_bytes"]),
    (["--fail-on", "leaked_bytes"], [">= < <="]), (["--fail-on", ""], ["expected NAME"]),
    (["--fail-on", "leaked_bytes>"], ["expected a number"]),
    (["--fail-on", "leaked_bytes>1X"], ["1X", "KiB"]),
    (["--fail-on", "leaked_bytes>1s"], ["no unit"]), (["--fail-on", "duration>1M"], ["ms"]),
    (["--fail-on", "leaked_bytes>1K5"], ["K5"]), (["--fail-on", "leaked_bytes>1e3"], ["e3"]),
    (["--fail-on", "leaked_bytes>+5%"], ["--baseline"]),
    (["--baseline", "x"], ["--fail-on"]),
    (["--fail-on", "leaked_bytes>+1", "--baseline", "-"], ["expected a file"]),
    (["--fail-on", "leaked_bytes>0", "--dump=json"], ["--fail-on", "--dump"]),
    (["--junit", "x", "--follow"], ["--junit", "--follow"]),
    (["--sarif", "x", "--bundle", "y"], ["--sarif", "--bundle"]),
    (["--junit", "x", "--sarif", "x"], ["another output"]),
    (["--sarif", "x", "-o", "x"], ["another output"]),
    (["--junit", "x", "--export=csv=x"], ["another output"]),
    (["--fail-on", "events>0"] * 33, ["32"]),
], ids=str)
def test_wrong_usage(made, tmp_path, args, words):
    done = run([support.ANALYZE, made / "one", *args], cwd=tmp_path)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done
    assert all(word in done.stderr for word in words), done
    assert not list(tmp_path.iterdir())


def test_a_damaged_trace_passes_no_gate(made, tmp_path):
    cut = tmp_path / "cut"
    support.trace([support.PROGRAMS / "churn", 200000], tmp_path / "whole")
    data = run(["zstd", "-qc", tmp_path / "whole"], binary=True).stdout
    cut.write_bytes(data[:len(data) // 2])
    assert run([support.ANALYZE, cut]).returncode == 1
    done = gate(cut, "--fail-on", "leaked_bytes>1T", "--junit", tmp_path / "j")
    assert done.returncode == 1 and "cannot be trusted" in done.stderr, done
    suite = xml.parse(tmp_path / "j").getroot().find("testsuite")
    assert suite.get("errors") == "1" and suite.find("testcase/error") is not None
    # As the baseline it is refused, too.
    done = gate(made / "clean", "--fail-on", "leaked_bytes>+0", "--baseline", cut)
    support.refused(done, cut, "baseline")


def test_a_trace_with_losses_passes_no_gate(made, tmp_path):
    """Recorded by MLOG_ON_FULL=drop into a FIFO that nobody reads for a while."""
    done = support.bash('''
        mkfifo "$2.fifo" "$2.in" "$2.out"
        exec 5<>"$2.fifo" 6<>"$2.in" 8<>"$2.out"
        MLOG_ON_FULL=drop LD_PRELOAD=$LIB "$1" 4 100000 <"$2.in" >"$2.out" \\
            1022>"$2.fifo" 5>&- 6>&- 8>&- &
        read -r half <&8
        exec 7<"$2.fifo" 5>&-
        cat <&7 >"$2" & echo >&6
        wait''', support.PROGRAMS / "stalls", tmp_path / "t")
    assert done.returncode == 0, done
    lost = support.report(tmp_path / "t", "--summary")["audit"]["lost_events"]
    assert lost > 0
    done = gate(tmp_path / "t", "--fail-on", "leaked_bytes>1T")
    assert done.returncode == 1 and f"{lost} events were lost" in done.stderr, done
    assert "cannot be trusted" in done.stderr


@pytest.mark.parametrize("text, words", [
    ("{", ["no whole JSON"]), ("{}", ["--json"]), ('{"schema": "other/1", "summary": {}}', ["--json"]),
    ('{"schema": "mlog-report/1", "summary": {}}', ["does not tell leaked_bytes"]),
    ('{"schema": "mlog-report/1", "summary": {"leaked_bytes": -3}}', ["does not tell"]),
    ('{"schema": "mlog-report/1", "summary": {"leaked_bytes": 1}, "audit": '
     '{"complete": false, "lost_events": 3}}', ["losses"]),
    ("no trace at all", ["baseline"]), (None, ["No such file"]),
])
def test_bad_baselines(made, tmp_path, text, words):
    file = tmp_path / "baseline"
    if text is not None:
        file.write_text(text)
    done = gate(made / "one", "--fail-on", "leaked_bytes>+0", "--baseline", file)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done
    assert all(word in done.stderr for word in words) and "Traceback" not in done.stderr, done


def test_suppressed_leaks_do_not_count(made, tmp_path):
    (tmp_path / "s.supp").write_text("leak:planted_leak\n")
    hide = ["--suppressions", tmp_path / "s.supp"]
    limits = ["--fail-on", "leaked_bytes>0", "--fail-on", "leaked_blocks>0"]
    assert gate(made / "two", *limits).returncode == 3
    done = gate(made / "two", *limits, *hide, "--junit", tmp_path / "j", "--sarif", tmp_path / "s")
    assert done.returncode == 0, done
    assert "planted_leak" not in (tmp_path / "j").read_text()
    assert json.loads((tmp_path / "s").read_text())["runs"][0]["results"] == []
    # As a baseline, both the trace and its report.
    analyze(made / "one", "--json", "-o", tmp_path / "one.json", *hide)
    for baseline in (made / "one", tmp_path / "one.json"):
        done = gate(made / "two", *hide, "--baseline", baseline, "--fail-on", "leaked_bytes!=+0")
        assert done.returncode == 0, done
    done = run([support.ANALYZE, *hide, *limits, "--diff", made / "one", made / "two"])
    assert done.returncode == 0, done


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Traces of a program that leaks to its end, one with a cache alone, and one too short to
    tell, each with its report; of 10 tries, for a machine that stood still."""
    folder = tmp_path_factory.mktemp("kinds")
    wanted = {"grows": ("1", "grow_fast"), "cache": ("1", "plateau_filled"),
              "short": ("0.01", "plateau_filled")}
    for name, args in wanted.items():
        for _ in range(10):
            assert support.trace([support.PROGRAMS / "planted", *args],
                                 folder / name).returncode == 0
            analyze(folder / name, "--json", "-o", folder / f"{name}.json")
            told = json.loads((folder / f"{name}.json").read_text())["verdict"]["bytes"]
            if (told["growing"] > 0, told["unclear"] > 0) == (name == "grows", name == "short"):
                break
    return folder


@pytest.mark.parametrize("name, condition, status", [
    ("grows", "growing_bytes>0", 3), ("grows", f"growing_bytes=={480 * 4 * 16 * 1024}", 3),
    ("grows", "unclear_bytes>0", 0), ("cache", "growing_bytes>0", 0),
    ("cache", "leaked_bytes>0", 3), ("short", "growing_bytes>0", 0),
    ("short", "unclear_bytes>0", 3),
])
def test_kinds_of_leaks_are_conditions(kinds, name, condition, status):
    """GIVEN a leak, a cache, and a run too short to tell
    THEN growing_bytes and unclear_bytes are the verdict's, and a cache passes."""
    done = gate(kinds / name, "--fail-on", condition)
    assert done.returncode == status, done
    assert (condition.split("_")[0] in done.stderr) == (status == 3), done


@pytest.mark.parametrize("baseline", ["cache", "cache.json"])
def test_kinds_of_leaks_grow_against_a_baseline(kinds, baseline):
    """GIVEN a baseline without a leak, as a trace and as a report
    THEN growth of growing_bytes is told from 0, in --diff too."""
    for args in ([], ["--diff", kinds / "cache"]):
        done = run([support.ANALYZE, *args, kinds / "grows", "--baseline", kinds / baseline,
                    "--fail-on", "growing_bytes>+0"])
        assert done.returncode == 3 and "growing_bytes went from 0 B to 30.0 MiB" in done.stderr
    done = gate(kinds / "cache", "--baseline", kinds / "grows.json", "--fail-on",
                "growing_bytes>+0")
    assert done.returncode == 0, done


@pytest.mark.parametrize("compiler, source", [
    ("gcc", '#include <stdio.h>\nint main(void) { puts("hi"); return 0; }\n'),
    ("g++", "#include <iostream>\n#include <map>\n#include <string>\nint main()\n{\n"
            "    std::map<std::string, int> m;\n    m[\"a\"] = 1;\n"
            "    std::cout << m.size() << std::endl;\n}\n"),
    ("gcc", "#include <pthread.h>\n#include <stdlib.h>\n"
            "static void *f(void *a) { free(malloc(10)); return a; }\n"
            "int main(void)\n{\n    pthread_t t;\n    pthread_create(&t, 0, f, 0);\n"
            "    pthread_join(t, 0);\n    return 0;\n}\n"),
], ids=["stdio", "iostream", "thread"])
def test_smallest_programs_pass_the_documented_gates(tmp_path, compiler, source):
    """GIVEN programs whose only live blocks are the runtimes' own THEN both gates pass."""
    program = support.compiled(tmp_path, "program", source, "-pthread", compiler=compiler)
    assert support.trace([program], tmp_path / "t").returncode == 0
    for condition in ("leaked_bytes>0", "growing_bytes>0", "unclear_bytes>0"):
        done = gate(tmp_path / "t", "--fail-on", condition)
        assert done.returncode == 0, done


# --- JUnit


def junit(trace, path, *args, status=0):
    done = gate(trace, "--junit", path, *args)
    assert done.returncode == status, done
    return xml.parse(path).getroot()


def check_junit(root):
    """The facts of the schema that CI servers share (Jenkins' xsd)."""
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite" and suite.get("name")
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases) == int(root.get("tests"))
        for kind in ("failure", "error"):
            n = len(suite.findall(f"testcase/{kind}"))
            assert int(suite.get(kind + "s")) == n == int(root.get(kind + "s"))
        assert [c.tag for c in suite] == ["properties"] + ["testcase"] * len(cases) + ["system-out"]
        for case in cases:
            assert case.get("name") and case.get("classname") and float(case.get("time")) == 0
            for child in case:
                assert child.tag in ("failure", "error")
                assert child.get("message") and child.get("type") and child.text


def test_junit(made, tmp_path):
    root = junit(made / "two", tmp_path / "j.xml", "--fail-on", "leaked_bytes>0", "--fail-on",
                 "peak_bytes>200M", status=3)
    check_junit(root)
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert set(cases) == {"the trace is whole", "leaked_bytes>0", "peak_bytes>200M"}
    failure = cases["leaked_bytes>0"].find("failure")
    assert failure.get("message") == "leaked_bytes is 3.25 KiB, allowed is at most 0 B"
    assert not list(cases["peak_bytes>200M"]) and not list(cases["the trace is whole"])
    out = root.find("testsuite/system-out").text
    assert "(984 bytes)" in out and "(2345 bytes)" in out and out.count("planted_leak\n") == 2
    assert re.search(r"source\.c:5", out)
    clean = junit(made / "clean", tmp_path / "c.xml", "--fail-on", "leaked_bytes>0")
    check_junit(clean)
    assert clean.get("failures") == "0" and not clean.find("testsuite/system-out").text


# --- SARIF


def sarif(trace, path, *args, status=0, cwd=None):
    done = gate(trace, "--sarif", path, *args, cwd=cwd)
    assert done.returncode == status, done
    return json.loads(path.read_text())


def check_location(location):
    physical = location["physicalLocation"]
    uri = physical["artifactLocation"]["uri"]
    assert re.fullmatch(r"[A-Za-z0-9._~/:@+,%-]+", uri), uri
    assert not re.search(r"%(?![0-9A-F]{2})", uri)
    assert physical.get("region", {"startLine": 1})["startLine"] >= 1
    for logical in location["logicalLocations"]:
        assert logical["kind"] == "function" and logical["fullyQualifiedName"]


def check_sarif(whole):
    """Properties that SARIF 2.1.0 requires (3.13.2, 3.14.6, 3.18-19, 3.20.14, 3.27, 3.58)."""
    assert whole["version"] == "2.1.0" and "sarif" in whole["$schema"]
    (one,) = whole["runs"]
    driver = one["tool"]["driver"]
    assert driver["name"] == "mlog-analyze" and driver["version"]
    rules = [rule["id"] for rule in driver["rules"]]
    (invocation,) = one["invocations"]
    assert isinstance(invocation["executionSuccessful"], bool)
    known = {n["id"] for n in driver["notifications"]}
    for note in invocation["toolExecutionNotifications"]:
        assert note["message"]["text"] and note["descriptor"]["id"] in known
    for result in one["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"]
        assert len(result["locations"]) == 1, "GitHub shows one"
        assert all(re.fullmatch("[0-9a-f]{16}", f) for f in result["partialFingerprints"].values())
        for frame in result["stacks"][0]["frames"]:
            check_location(frame["location"])
        check_location(result["locations"][0])
    return one


def test_sarif(made, tmp_path):
    one = check_sarif(sarif(made / "two", tmp_path / "s.json", "--fail-on", "leaked_bytes>0",
                            status=3))
    assert [r["properties"]["bytes"] for r in one["results"]] == [2345, 984]
    first = one["results"][0]
    place = first["locations"][0]
    # The wrapper xmalloc stands innermost; the place is where the program asks for memory.
    assert place["logicalLocations"][0]["fullyQualifiedName"] == "planted_leak"
    assert place["physicalLocation"]["artifactLocation"]["uri"] == \
        "file://" + urllib.parse.quote(str(made / "source.c"))
    assert place["physicalLocation"]["region"]["startLine"] == 5
    names = [f["location"]["logicalLocations"][0]["fullyQualifiedName"]
             for f in first["stacks"][0]["frames"]]
    assert names[:3] == ["xmalloc", "planted_leak", "main"]
    (note,) = one["invocations"][0]["toolExecutionNotifications"]
    assert "leaked_bytes is 3.25 KiB" in note["message"]["text"]
    assert check_sarif(sarif(made / "clean", tmp_path / "c.json"))["results"] == []


def test_sarif_paths_below_the_working_directory_are_relative(made, tmp_path):
    one = check_sarif(sarif(made / "one", tmp_path / "s.json", cwd=made))
    artifact = one["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert artifact == {"uri": "source.c", "uriBaseId": "SRCROOT"}


def stripped_of(folder, *flags):
    """The traces of a program without names or lines, of two leaks, run twice."""
    program = compiled(folder, SOURCE, "program", "-s", *flags)
    program.with_name("source.c").unlink()
    for name in "ab":
        (folder / name).mkdir()
        assert support.trace([program, 984, 2345], folder / name / "t").returncode == 0
    return folder


def test_programs_without_names_have_places_and_fingerprints(tmp_path):
    """GIVEN a stripped program with two leaks of one function, at other addresses in each run
    THEN SARIF and JUnit say object and offset, and fingerprints tell the two leaks apart and
    are the same in both runs, and in a build of the same code."""
    prints = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        stripped_of(folder)
        for name in "ab":
            one = check_sarif(sarif(folder / name / "t", tmp_path / "s.json", cwd=folder))
            assert [r["properties"]["bytes"] for r in one["results"]] == [2345, 984]
            place = one["results"][0]["locations"][0]
            physical = place["physicalLocation"]
            assert physical["artifactLocation"]["uri"] == "program"
            offset = physical["address"]["relativeAddress"]
            assert physical["address"]["fullyQualifiedName"] == f"program+{offset:#x}"
            assert re.fullmatch("[0-9a-f]{16,}", place["properties"]["buildId"])
            prints.append([r["partialFingerprints"]["mlogStack/v1"] for r in one["results"]])
            root = junit(folder / name / "t", tmp_path / "j.xml")
            assert f"{folder}/program+{offset:#x}" in root.find("testsuite/system-out").text
    assert len({tuple(p) for p in prints}) == 1 and len(set(prints[0])) == 2, prints


def test_two_traces_of_one_name_are_told_apart(tmp_path):
    """GIVEN a/t and b/t in one job THEN their test cases and their runs have names of their own,
    the same in every checkout."""
    folder = stripped_of(tmp_path / "p")
    for name in "ab":
        for path in (f"{name}/t", f"./{name}/t", folder / name / "t"):
            one = sarif(path, tmp_path / "s.json", cwd=folder)["runs"][0]
            assert one["automationDetails"]["id"] == f"mlog/{name}/t/"
            done = gate(path, "--junit", tmp_path / "j.xml", cwd=folder)
            assert done.returncode == 0, done
            (case,) = xml.parse(tmp_path / "j.xml").getroot().iter("testcase")
            assert case.get("classname") == f"mlog.{name}/t"


def test_rules_say_what_to_do(made, tmp_path):
    (rule,) = sarif(made / "one", tmp_path / "s.json")["runs"][0]["tool"]["driver"]["rules"]
    assert rule["fullDescription"]["text"] and "--suppressions" in rule["help"]["text"]
    assert "`mlog-analyze --leaks`" in rule["help"]["markdown"]


def library_of(folder, *flags):
    """A program whose own library leaks 77 * 13 bytes: own.c:3, called in main.c:2."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.c").write_text("#include <stdlib.h>\nvoid *volatile kept;\n"
                                  "void own_leak(int n) { kept = malloc(n); kept = 0; }\n")
    (folder / "main.c").write_text("void own_leak(int n);\n"
                                   "int main(void) { own_leak(77 * 13); return 0; }\n")
    for args in (["-shared", "-fPIC", *flags, "own.c", "-o", "libown.so"],
                 ["-g", "main.c", "-L.", "-lown", "-Wl,-rpath,$ORIGIN", "-o", "main"]):
        done = run(["gcc", "-O0", *args], cwd=folder)
        assert done.returncode == 0, done
    assert support.trace([folder / "main"], folder / "t").returncode == 0
    return folder / "t"


@pytest.mark.parametrize("flags, place", [(["-g"], "own.c:3"), ([], "main.c:2")])
def test_report_and_sarif_blame_the_same_line(tmp_path, flags, place):
    """GIVEN a leak in the program's own library, with a source line there or only in main
    WHEN the report and SARIF say where it is
    THEN both name the innermost line of the program itself."""
    trace = library_of(tmp_path / "p", *flags)
    (entry,) = [e for e in support.report(trace, "--leaks")["leaks"] if e["bytes"] == 77 * 13]
    own = entry["own_frame"]
    assert f"{os.path.basename(own['file'])}:{own['line']}" == place
    one = check_sarif(sarif(trace, tmp_path / "s.json", cwd=tmp_path / "p"))
    (result,) = [r for r in one["results"] if r["properties"]["bytes"] == 77 * 13]
    physical = result["locations"][0]["physicalLocation"]
    assert f"{physical['artifactLocation']['uri']}:{physical['region']['startLine']}" == place


def test_hostile_names(tmp_path):
    """Bytes that would end a string, a tag or a URI."""
    plain, odd = b"hostile_name_of_a_function_32_by", b"]]>\"'\n\x01\xff,;<b>&#+\\\xc3\xa9%n@\te2(\x7f\xef\xbf\xbe\xe2\x80"
    assert len(plain) == len(odd)
    program = compiled(tmp_path / "=a, \"b\"&<%23>é\n:c", SOURCE.replace("planted_leak",
                                                                       plain.decode()))
    program.write_bytes(program.read_bytes().replace(plain, odd))
    support.trace([program, 984], tmp_path / "t <&\"]]>")
    done = gate(tmp_path / "t <&\"]]>", "--junit", tmp_path / "j", "--sarif", tmp_path / "s",
                "--fail-on", "leaked_bytes>0")
    assert done.returncode == 3, done
    root = xml.parse(tmp_path / "j").getroot()
    check_junit(root)
    assert "984" in root.find("testsuite/system-out").text and "<b>&#+" in \
        root.find("testsuite/system-out").text
    one = check_sarif(json.loads((tmp_path / "s").read_text()))
    name = one["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]
    assert name.startswith("]]>\"'\n") and "<b>&#+\\é%n@" in name


def test_all_outputs_in_one_run(made, tmp_path):
    done = run([support.ANALYZE, made / "two", "--json", "-o", tmp_path / "r.json",
                "--junit", tmp_path / "j.xml", "--sarif", tmp_path / "s.json",
                f"--export=csv={tmp_path / 'c.csv'}", "--fail-on", "leaked_bytes>0"])
    assert done.returncode == 3 and done.stdout == "", done
    check_junit(xml.parse(tmp_path / "j.xml").getroot())
    check_sarif(json.loads((tmp_path / "s.json").read_text()))
    assert json.loads((tmp_path / "r.json").read_text())["summary"]["leaked_bytes"] == 3329
    assert "planted_leak" in (tmp_path / "c.csv").read_text()


@pytest.mark.parametrize("option", ["--junit", "--sarif"])
def test_files_that_cannot_be_written(made, option):
    support.refused(gate(made / "one", option, "/nonexistent/x"), "/nonexistent/x", "cannot write")
    support.refused(gate(made / "one", option, "/dev/full"), "/dev/full", "cannot write")


# --- the recipes of docs/ci.md


def recipe(heading):
    """The code blocks below a heading."""
    text = (support.ROOT / "docs" / "ci.md").read_text()
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```\w+\n(.*?)^```$", section, re.M | re.S)
    assert blocks, heading
    return blocks


def project(folder, leaks, **files):
    """A project that leaks or not, and the environment in which mlog is installed."""
    folder.mkdir()
    (folder / "prog.c").write_text("#include <stdlib.h>\nvoid *volatile keep;\nint main(void)\n{\n"
                                   "    keep = malloc(984);\n"
                                   + ("" if leaks else "    free(keep);\n") + "    return 0;\n}\n")
    (folder / "heap-check.sh").write_text(recipe("A script for build systems")[0])
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(text)
    env = support.clean_environment(LD_LIBRARY_PATH=support.LIBRARY.parent)
    env["PATH"] = f"{support.ANALYZE.parent}:{env['PATH']}"
    return env


def judged(done, leaks):
    text = done.stdout + done.stderr
    assert (done.returncode != 0) == leaks, done
    assert ("leaked_bytes is 984 B, allowed is at most 0 B" in text) == leaks, done


@pytest.mark.parametrize("leaks", [False, True])
def test_recipe_for_pytest(tmp_path, leaks):
    conftest, test = recipe("pytest")
    env = project(tmp_path / "p", leaks, conftest_dot_py=conftest, test_heap_dot_py=test)
    compiled(tmp_path / "p", (tmp_path / "p" / "prog.c").read_text(), "prog")
    judged(run([support.PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".",
                "-c", "/dev/null", "test_heap.py"], cwd=tmp_path / "p", env=env), leaks)


@pytest.mark.parametrize("leaks", [False, True])
def test_recipe_for_ctest(tmp_path, leaks):
    env = project(tmp_path / "p", leaks, CMakeLists_dot_txt=recipe("ctest")[0])
    done = support.bash("cmake -S . -B b && cmake --build b", cwd=tmp_path / "p", env=env)
    assert done.returncode == 0, done
    judged(run(["ctest", "--output-on-failure"], cwd=tmp_path / "p" / "b", env=env), leaks)


@pytest.mark.parametrize("leaks", [False, True])
def test_recipe_for_meson(tmp_path, leaks):
    env = project(tmp_path / "p", leaks, meson_dot_build=recipe("meson test")[0])
    done = run(["meson", "setup", "b"], cwd=tmp_path / "p", env=env)
    assert done.returncode == 0, done
    judged(run(["meson", "test", "-C", "b", "--print-errorlogs"], cwd=tmp_path / "p", env=env),
           leaks)


def test_options_of_the_recipe_for_github(made, tmp_path):
    (text,) = recipe("GitHub Actions")
    (command,) = re.findall(r"run: (mlog-analyze .*)", text)
    shutil.copy(made / "one", tmp_path / "heap.log")
    env = support.clean_environment()
    env["PATH"] = f"{support.ANALYZE.parent}:{env['PATH']}"
    assert support.bash(command, cwd=tmp_path, env=env).returncode == 3
    check_sarif(json.loads((tmp_path / "heap.sarif").read_text()))
    check_junit(xml.parse(tmp_path / "heap.xml").getroot())
