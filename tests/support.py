# SPDX-License-Identifier: MIT
"""What the tests share: where things are, running a program traced, reading
what mlog-analyze says, comparing it with the oracle.

Programs are traced as a user would type it, by bash, and always with a limit of
time: a program that hangs is a failure, with its whole process group killed.
"""
import json
import os
import pathlib
import signal
import subprocess

import oracle

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("MLOG_BUILD_DIR", ROOT / "build")).resolve()
LIBRARY = BUILD / "libtrace" / "libmlog.so"
ANALYZE = BUILD / "analyzer" / "mlog-analyze"
PLOT = BUILD / "analyzer" / "mlog-plot"
MLOG = BUILD / "cli" / "mlog"
ORACLE = BUILD / "tests" / "oracle" / "liboracle.so"
PROGRAMS = BUILD / "tests" / "programs"
PYTHON = (BUILD / "tests" / "python-path").read_text().strip() \
    if (BUILD / "tests" / "python-path").exists() else "/usr/bin/python3"

TIME_LIMIT = 300  # seconds, for any one program: against hanging, not for speed


class Finished:
    """A program that ended: status as a shell would say it is `returncode`."""

    def __init__(self, returncode, stdout, stderr):
        self.returncode, self.stdout, self.stderr = returncode, stdout, stderr

    def __repr__(self):
        return f"status {self.returncode}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    @property
    def visible(self):
        """All that a user sees of it."""
        return self.returncode, self.stdout, self.stderr


def clean_environment(**extra):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("MLOG_", "ORACLE_", "LD_", "DEBUGINFOD"))}
    env.setdefault("XDG_CACHE_HOME", str(BUILD / "tests" / "cache"))
    env.update(LC_ALL="C.UTF-8", **{k: str(v) for k, v in extra.items()})
    return env


def run(argv, input=None, env=None, cwd=None, binary=False, limit=TIME_LIMIT):
    """Run to the end; output as text, undecodable bytes replaced."""
    process = subprocess.Popen(
        [str(a) for a in argv], cwd=cwd, env=clean_environment() if env is None else env,
        stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    if isinstance(input, str):
        input = input.encode()
    try:
        out, err = process.communicate(input, timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"{argv} did not end within {limit} s; stderr: {err[-2000:]!r}")
    if not binary:
        out, err = out.decode(errors="replace"), err.decode(errors="replace")
    return Finished(process.returncode, out, err)


# A process that is forked counts the memory of who forked it: let that be little.
SMALL = """
import resource, subprocess, sys
def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2]) + 1))
with open(sys.argv[1], "w") as file:
    done = subprocess.run(sys.argv[3:], preexec_fn=limit)
    print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=file)
"""


def measured(argv, used, seconds, **kwargs):
    """Run argv, for so many seconds of processor time at most: how it ended, and the most
    memory that it had resident, in bytes. used: a file for this."""
    done = run([PYTHON, "-c", SMALL, used, seconds, *argv], limit=max(TIME_LIMIT, 4 * seconds),
               **kwargs)
    done.returncode, kilobytes = map(int, pathlib.Path(used).read_text().split())
    assert done.returncode >= 0, done    # SIGXCPU: it would not end
    return done, kilobytes << 10


def bash(script, *args, **kwargs):
    """Run a bash script; its $1, $2 … are args, and LIB names libmlog.so."""
    env = kwargs.pop("env", None) or clean_environment()
    env = dict(env, LIB=str(LIBRARY))
    return run(["bash", "-c", script, "bash", *args], env=env, **kwargs)


def compiled(folder, name, source, *flags, compiler="gcc"):
    """The program `name` of a source text, which lies beside it as NAME.c or NAME.cc."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (f"{name}.cc" if "++" in compiler else f"{name}.c")
    path.write_text(source)
    done = run([compiler, path, "-o", folder / name, *flags])
    assert done.returncode == 0, done
    return folder / name


def trace(argv, path, counted_by=None, env=None, **kwargs):
    """Run argv with `1022>path`, under the oracle too if counted_by is the
    prefix of its files."""
    env = dict(env or clean_environment())
    preload = str(LIBRARY)
    if counted_by is not None:
        preload += f" {ORACLE}"
        env["ORACLE_OUT"] = str(counted_by)
    # Only the program itself is preloaded, not the shell that opens the file.
    script = 'trace=$1 preload=$2; shift 2; LD_PRELOAD=$preload exec "$@" 1022>"$trace"'
    return bash(script, path, preload, *argv, env=env, **kwargs)


def analyze(path, *args, status=0, **kwargs):
    """mlog-analyze PATH ARGS; fails the test unless it ends with this status."""
    done = run([ANALYZE, path, *args], **kwargs)
    assert done.returncode == status, f"mlog-analyze {path} {' '.join(args)}: {done}"
    return done


def report(path, *args):
    """The JSON report, all entries of every list, the runtimes' own blocks too."""
    return json.loads(analyze(path, "--json", "--top", "0", "--no-builtin-suppressions",
                              *args).stdout)


def summary(path):
    return report(path, "--summary")["summary"]


def functions(entry):
    """The names on the stack of a report's entry, innermost first."""
    return [frame["function"] for frame in entry["stack"]]


def leaks_of(leaks, function):
    """The entries of `leaks` that have this function on their stack."""
    return [entry for entry in leaks if function in functions(entry)]


def refused(done, *words):
    """One clear line on standard error and status 1, as for any bad input."""
    assert done.returncode == 1, done
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mlog-analyze: "), done
    for word in words:
        assert str(word).lower() in lines[0].lower(), done


SAME = ("allocations", "frees", "reallocations", "allocated_bytes", "freed_bytes")


def assert_sound(audit):
    """Nothing lost, nothing that does not fit together."""
    for name in ("lost_events", "unmatched_frees", "bad_chunks", "skipped_bytes"):
        assert audit[name] == 0, (name, audit)


def assert_equals_oracle(path, prefix, peak=True):
    """To the last call and byte. peak: also those, which for programs with
    several threads or processes depend on how one orders what overlaps."""
    processes = oracle.read(prefix)
    assert processes, "the oracle saw nothing"
    calls, numbers = oracle.total(processes)
    whole = report(path, "--summary")
    got = whole["summary"]
    assert {k: v for k, v in got["calls"].items() if v} == calls
    assert {name: got[name] for name in SAME} == {name: numbers[name] for name in SAME}
    assert got["leaked_bytes"] == numbers["live_bytes"] - numbers["inherited_bytes"]
    assert got["leaked_blocks"] == numbers["live_blocks"] - numbers["inherited_blocks"]
    # Each process of its own, too; images of one pid in their order.
    rows = sorted(whole["processes"], key=lambda p: (p["pid"], p["start"]))
    assert [p["pid"] for p in rows] == [p.pid for p in processes]
    for row, process in zip(rows, processes):
        assert row["allocations"] == process.allocations, (row, process)
        assert row["allocated_bytes"] == process.allocated_bytes, (row, process)
        assert row["frees"] == process.frees, (row, process)
        assert row["freed_bytes"] == process.freed_bytes, (row, process)
        assert row["leaked_blocks"] == process.live_blocks - process.inherited_blocks, row
    if peak:
        assert len(processes) == 1
        assert got["peak_bytes"] == numbers["peak_bytes"]
        assert got["peak_blocks"] == numbers["blocks_at_peak"]
    return whole, processes
