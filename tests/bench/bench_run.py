# SPDX-License-Identifier: MIT
"""Running one command in one of the ways that are compared, and what it took.

The four ways: `plain`, untraced; `mlog`, under libmlog.so into a regular file
at descriptor 1022; `library`, heaptrack's library alone, which writes its raw
text into a file; `heaptrack`, the command heaptrack, with its interpreter and
compression running beside the program. CPU is user and system time of every
process that this takes, from wait4 (meter.c).
"""
import glob
import json
import os
import pathlib
import shutil
import statistics
import subprocess

WAYS = ("plain", "mlog", "library", "heaptrack")
TITLES = {"plain": "untraced", "mlog": "mlog", "library": "heaptrack's library alone",
          "heaptrack": "heaptrack in all"}


class Failed(Exception):
    """A command of the benchmark that ended badly."""


def clean_environment():
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("MLOG_", "LD_", "DUMP_HEAPTRACK", "PYTHON", "GIT_", "PERL"))}
    env["LC_ALL"] = "C.UTF-8"
    return env


class Bench:
    """Where things are. One at a time uses the directory `tmp`."""

    def __init__(self, build, tmp):
        self.build = pathlib.Path(build).resolve()
        self.tmp = pathlib.Path(tmp).resolve()
        self.library = self.build / "libtrace" / "libmlog.so"
        self.heaptrack = shutil.which("heaptrack")
        found = [self.heaptrack and pathlib.Path(self.heaptrack).resolve().parent.parent
                 / "lib" / "heaptrack" / "libheaptrack_preload.so",
                 *glob.glob("/usr/lib/*/heaptrack/libheaptrack_preload.so")]
        self.heaptrack_library = next((p for p in found if p and os.path.exists(p)), None)
        self.trace = self.tmp / "trace"             # what the last `mlog` run wrote
        self.raw = self.tmp / "heaptrack.raw"       # ... and the last `library` run
        self.finished = self.tmp / "heaptrack.out"  # .zst: ... and the last `heaptrack` run

    def program(self, name):
        return str(self.build / "tests" / "bench" / name)

    def ways(self):
        have = {"plain", "mlog"}
        if self.heaptrack_library:
            have.add("library")
        if self.heaptrack:
            have.add("heaptrack")
        return [w for w in WAYS if w in have]

    def command(self, way, work, watch=False):
        """The meter's argument vector for a workload run in this way."""
        options = ["-m"] if watch else []
        for name, value in work.env.items():
            options += ["-e", f"{name}={value}"]
        argv = list(work.argv)
        if way == "mlog":
            options += ["-o", self.trace, "-e", f"LD_PRELOAD={self.library}"]
        elif way == "library":
            options += ["-e", f"LD_PRELOAD={self.heaptrack_library}",
                        "-e", f"DUMP_HEAPTRACK_OUTPUT={self.raw}"]
        elif way == "heaptrack":
            options += ["-l", "8"]      # its interpreter has been seen to run away
            argv = [self.heaptrack, "-o", self.finished, *argv]
        return [str(a) for a in
                [self.program("meter"), *options, self.tmp / "result", *argv]]

    def run(self, way, work, watch=False):
        """Run a workload once; what the meter says, and `cpu`."""
        # heaptrack's library does not truncate a file that it finds.
        for path in [*glob.glob(glob.escape(str(self.finished)) + "*"), *glob.glob(str(self.raw))]:
            os.unlink(path)
        with open(work.stdin or os.devnull, "rb") as stdin, \
                open(self.tmp / "stderr", "w+b") as stderr:
            process = subprocess.Popen(
                self.command(way, work, watch), stdin=stdin, stdout=subprocess.DEVNULL,
                stderr=stderr, cwd=work.cwd or self.tmp, env=clean_environment())
            wall = None
            try:
                wall = work.serve() if work.serve else None
                process.wait(timeout=600)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            stderr.seek(0)
            text = stderr.read().decode(errors="replace")
        result = json.loads((self.tmp / "result").read_text() or "{}")
        if process.returncode or result.get("status") != 0:
            raise Failed(f"{work.name} ({TITLES[way]}) ended with {result.get('status')}:\n"
                         f"{text[-2000:]}")
        if wall is not None:
            result["wall"] = wall
        result["cpu"] = result["user"] + result["system"]
        return result


def spread(values):
    """Median, least and greatest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "runs": len(values)}


def compare(bench, work, seconds, clock, say, least=3, most=15):
    """Alternate the four ways for about so many seconds, at least `least` rounds.

    Ratios are taken within a round and then their median, so that a slow drift
    of the machine cancels out. A way of heaptrack's that fails is left out.
    """
    rounds = []
    ways = bench.ways()
    begin = clock()
    while len(rounds) < most:
        if len(rounds) >= least:
            spent = clock() - begin
            if spent + spent / len(rounds) > seconds:
                break
        ran = {}
        for way in list(ways):
            if way == "heaptrack" and len(rounds) >= 3:
                continue    # takes longer than all the others
            try:
                ran[way] = bench.run(way, work)
            except Failed as error:
                if way in ("plain", "mlog"):
                    raise
                ways.remove(way)
                say(f"left out: {error}")
        rounds.append(ran)
    result = {"rounds": rounds, "ways": {}}
    for way in ways:
        pairs = [(r[way], r["plain"]) for r in rounds if way in r]
        result["ways"][way] = {
            "cpu": spread([r["cpu"] for r, _ in pairs]),
            "wall": spread([r["wall"] for r, _ in pairs]),
            "cpu_ratio": spread([r["cpu"] / p["cpu"] for r, p in pairs]),
            "wall_ratio": spread([r["wall"] / p["wall"] for r, p in pairs]),
            "cpu_added": spread([r["cpu"] - p["cpu"] for r, p in pairs]),
        }
    return result
