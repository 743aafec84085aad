# SPDX-License-Identifier: MIT
"""The soak; see run.sh. One job is a program, a sink, and what befalls it. The
program must do as it does untraced; where the sink lost nothing, the trace must
equal the oracle; where it was killed or cut, it must be readable.
"""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import oracle
import support
from support import LIBRARY, ORACLE, PROGRAMS

# Program, its arguments, its status, standard output or None (it varies).
WORKS = [
    (["churn", "50000"], 7, "done\n"), (["churn", "20000", "_exit"], 7, "done\n"),
    (["churn", "20000", "exec"], 0, "done\n"), (["churn", "20000", "abort"], -6, "done\n"),
    (["threads", "8", "5000"], 0, ""), (["threads", "32", "500"], 0, ""),
    (["fork_threads", "10"], 0, ""), (["signal_handler", "500"], 0, "handled\n"),
    (["mixture", str(PROGRAMS / "plugin_first.so")], 7, None), (["spawn"], None, None),
    (["reload", str(PROGRAMS / "plugin_first.so"), str(PROGRAMS / "plugin_second.so")], 0, None),
    (["functions"], None, None), (["paths"], None, None), (["stalls", "6", "3000"], 7, None),
]
SINKS = ["file", "written", "zstd file", "pipe", "slow pipe", "zstd pipe", "drop", "gone", "small"]
FATES = ["none"] * 8 + ["kill"]


def reader(source, path, pause, stop_after):
    with open(path, "wb") as file:
        total = 0
        while total < stop_after and (data := os.read(source, 65536)):
            file.write(data)
            total += len(data)
            time.sleep(pause)
    os.close(source)


def one(seed, small):
    """Run one job; None, or what is wrong."""
    choose = random.Random(seed)
    argv, status, output = choose.choice(WORKS)
    sink, fate = choose.choice(SINKS), choose.choice(FATES)
    what = f"seed {seed}: {' '.join(argv)} into {sink}, {fate}"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="mlog-soak-"))
    command = [str(PROGRAMS / argv[0]), *argv[1:]]
    env = support.clean_environment(ORACLE_OUT=folder / "oracle", ORACLE_BLOCK_SIGNALS="1")
    if "zstd" in sink:
        env["MLOG_COMPRESS"] = f"zstd:{choose.randint(1, 6)}"
    if sink == "written":
        env["MLOG_FILE"] = "write"
    if sink == "drop":
        env["MLOG_ON_FULL"] = "drop"
    path, thread = folder / "t", None
    try:
        # Under the oracle, too: it keeps signals out of the real malloc.
        plain = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=300, check=False,
                               env=dict(env, LD_PRELOAD=str(ORACLE), ORACLE_OUT=folder / "plain"))
        if sink in ("file", "written", "zstd file", "small"):
            if sink == "small" and small:
                path = pathlib.Path(small) / folder.name
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        else:
            source, target = os.pipe()
            pause = {"slow pipe": 0.002, "drop": 0.01}.get(sink, 0)
            limit = choose.randint(1, 200000) if sink == "gone" else 1 << 60
            thread = threading.Thread(target=reader, args=(source, path, pause, limit))
            thread.start()
        process = subprocess.Popen(
            ["bash", "-c", 'exec 1022>&"$1"; eval "exec $1>&-"; export LD_PRELOAD=$2; shift 2; '
                           'exec "$@"', "bash", str(target), f"{LIBRARY} {ORACLE}", *command],
            pass_fds=[target], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=env, start_new_session=True)
        os.close(target)
        if fate == "kill":
            time.sleep(choose.random() * 0.05)
            os.killpg(process.pid, 9)
        try:
            out, err = process.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return f"{what}: hangs"
        if thread:
            thread.join()
        if fate == "none" and (process.returncode, out) != (plain.returncode, plain.stdout):
            return f"{what}: {process.returncode} {out} {err}, untraced {plain}"
        if fate == "none" and err.replace(plain.stderr, b"") and sink != "small":
            return f"{what}: says {err}"
        read = support.run([support.ANALYZE, path, "--summary", "--json"])
        if read.returncode not in (0, 1):
            return f"{what}: the analyser ends with {read.returncode}: {read.stderr}"
        if fate == "none" and sink not in ("drop", "gone", "small"):
            if "zstd" in sink:  # the oracle counts the opening of libzstd
                audit = support.report(path, "--summary")["audit"]
                support.assert_sound(audit)
            else:
                support.assert_equals_oracle(path, folder / "oracle", peak=False)
        return None
    except AssertionError as error:
        return f"{what}: {str(error)[:2000]}"
    finally:
        if path.parent != folder:
            path.unlink(missing_ok=True)
        shutil.rmtree(folder)


def main():
    seconds, seed = float(sys.argv[1]), int(sys.argv[2] or time.time())
    print(f"soak: seed {seed}, {seconds:.0f} s", flush=True)
    until, done, wrong, lock = time.monotonic() + seconds, 0, [], threading.Lock()
    seeds = iter(range(seed, seed + (1 << 40)))
    small = tempfile.mkdtemp(prefix="mlog-soak-small-")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "none", small],
                             capture_output=True, check=False).returncode == 0

    def work():
        nonlocal done
        while time.monotonic() < until:
            with lock:
                mine = next(seeds)
            problem = one(mine, small if mounted else None)
            with lock:
                done += 1
                if problem:
                    wrong.append(problem)
                    print(problem, flush=True)

    threads = [threading.Thread(target=work) for _ in range(os.cpu_count())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if mounted:
        subprocess.run(["umount", small], check=False)
    os.rmdir(small)
    print(f"soak: {done} runs, {len(wrong)} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
