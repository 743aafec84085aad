# SPDX-License-Identifier: MIT
"""`mlog run`: a program under it is as it would be without, and its trace is where it
is said to be."""
import os
import re
import resource
import select
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time

import pytest

import support
from support import MLOG, PROGRAMS, PYTHON, run

LEAK = PROGRAMS / "leaky"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mlog(*args, **kwargs):
    return run([MLOG, *args], **kwargs)


def traces(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".mlog"))


def mlog_lines(done):
    return [line for line in done.stderr.splitlines() if line.startswith("mlog")]


def plain(argv, **kwargs):
    """The program without us, as $? would say it."""
    done = run(argv, **kwargs)
    if done.returncode < 0:
        done.returncode = 128 - done.returncode
    return done


def test_a_leak_from_one_word(here):
    """GIVEN a program that leaks; WHEN it is run by `mlog run`; THEN its output is its own,
    and standard error names the guilty line, the trace and the command that tells more."""
    done = mlog("run", LEAK)
    assert (done.returncode, done.stdout) == (0, plain([LEAK]).stdout), done
    (name,) = traces(here)
    assert re.fullmatch(r"mlog\.leaky\.\d+\.mlog", name)
    assert "LEAK: 1 stack was still growing" in done.stderr
    assert re.search(r"^mlog: fix first: session_new, .*leaky\.c:48$", done.stderr, re.M), done
    assert f"mlog: trace: {name} (" in done.stderr and f"next: mlog analyze {name}" in done.stderr
    assert all(line.startswith("mlog: ") for line in done.stderr.splitlines()), done
    # The number is the program's own, and the next command works as it is printed.
    (process,) = support.report(here / name)["processes"]
    assert name == f"mlog.leaky.{process['pid']}.mlog"
    assert "session_new" in mlog("analyze", name).stdout


def test_quiet_says_nothing(here):
    done = mlog("run", "--quiet", LEAK)
    assert done.visible == (0, plain([LEAK]).stdout, "")
    assert len(traces(here)) == 1


@pytest.mark.parametrize("script", [
    "exit 0", "exit 1", "exit 77", "exit 255", "kill -SEGV $$", "kill -KILL $$", "kill -TERM $$",
    "kill -ABRT $$", "ulimit -t 1; while :; do :; done", "echo out; echo err >&2; exit 3",
])
def test_status_and_output_are_the_programs(here, script):
    """GIVEN a program that ends in some way; WHEN it is run; THEN the status is the one that
    a shell would show of it, and both streams are the same."""
    bare = plain(["dash", "-c", script])
    done = mlog("run", "-q", "dash", "-c", script)
    assert done.visible == bare.visible


def test_a_killed_program_is_said(here):
    done = mlog("run", "sh", "-c", "kill -SEGV $$")
    assert done.returncode == 139 and "mlog: sh was killed by SIGSEGV" in done.stderr, done


def test_a_program_that_cannot_be_started(here):
    """GIVEN names that are nothing, a folder, and a file without the bit; THEN the status is
    a shell's, one line says why, and no trace is left."""
    (here / "plain").write_text("x")
    for argv, status, words in ((["nonesuch"], 127, "no such command"),
                                (["./nonesuch"], 127, "No such file"),
                                (["./plain"], 126, "Permission denied"),
                                (["/"], 126, "Permission denied")):
        done = mlog("run", *argv)
        assert done.returncode == status and words in done.stderr, done
        assert len(done.stderr.splitlines()) == 1, done
        assert not traces(here)


def test_options_end_at_the_program(here):
    done = mlog("run", "-q", "sh", "-c", 'echo "$@"', "--", "--top", "-o", "x")
    assert done.stdout == "--top -o x\n" and len(traces(here)) == 1
    done = mlog("run", "-q", "--", "echo", "-o", "y")
    assert done.stdout == "-o y\n"


def test_no_trace_is_ever_written_over(here):
    """GIVEN files of the name that is asked for: a trace, and another; THEN neither changes,
    the program does not run, and the sentence says what to do; --force replaces it."""
    for content in (b"precious", None):
        if content:
            (here / "t").write_bytes(content)
        else:
            (here / "t").unlink()
            assert mlog("run", "-q", "-o", "t", "true").returncode == 0
        before = (here / "t").read_bytes()
        done = mlog("run", "-o", "t", "touch", "ran")
        assert done.returncode == 125 and "t exists and is left as it is" in done.stderr, done
        assert (here / "t").read_bytes() == before and not (here / "ran").exists()
    assert mlog("run", "-q", "--force", "-o", "t", LEAK).returncode == 0
    assert support.summary(here / "t")["allocations"] > 20000


def test_names_with_percent(here):
    for _ in range(2):
        assert mlog("run", "-q", "-o", "%c-%n.mlog", "true").returncode == 0
    assert traces(here) == ["true-1.mlog", "true-2.mlog"]
    assert mlog("run", "-q", "-o", "100%%.%p", "true").returncode == 0
    assert [p for p in here.iterdir() if re.fullmatch(r"100%\.\d+", p.name)]


def test_pipe_keeps_no_file_and_prints_the_report(here):
    for option in (["--pipe"], ["-o", "-"]):
        done = mlog("run", *option, LEAK)
        assert (done.returncode, done.stdout) == (0, plain([LEAK]).stdout), done
        assert "session_new" in done.stderr and not list(here.iterdir()), done


def test_tcp_sends_it_away(here):
    """GIVEN a receiver; WHEN the trace goes there, by either option; THEN it arrives whole."""
    for option in (["--tcp", "{}"], ["-o", "tcp:{}"]):
        with socket.create_server(("127.0.0.1", 0)) as server:
            got = []

            def receive():
                peer, _ = server.accept()
                with peer:
                    while data := peer.recv(1 << 16):
                        got.append(data)
            thread = threading.Thread(target=receive)
            thread.start()
            to = f"127.0.0.1:{server.getsockname()[1]}"
            done = mlog("run", *(o.format(to) for o in option), PROGRAMS / "churn", 100)
            thread.join(support.TIME_LIMIT)
        assert done.returncode == 7 and f"the trace went to {to}" in done.stderr, done
        (here / "t").write_bytes(b"".join(got))
        support.assert_sound(support.report(here / "t")["audit"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = mlog("run", "--tcp", f"127.0.0.1:{port}", "touch", "ran")
    assert done.returncode == 125 and "cannot connect to" in done.stderr
    assert not (here / "ran").exists()


def test_compressed(here):
    done = mlog("run", "--compress=1", "-o", "t", LEAK)
    assert done.returncode == 0 and "session_new" in done.stderr, done
    assert (here / "t").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


def environment_of(done):
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def test_environment_is_untouched_but_for_the_library(here):
    """GIVEN an environment with a library to preload; THEN ours comes before it, and nothing
    else differs."""
    env = support.clean_environment(LD_PRELOAD=support.ORACLE, ORACLE_OUT=here / "o", STRANGE="a\nb")
    bare = environment_of(run(["env", "-0"], env=env))
    traced = environment_of(mlog("run", "-q", "env", "-0", env=env))
    assert traced.pop("LD_PRELOAD") == f"{support.LIBRARY}:{bare.pop('LD_PRELOAD')}"
    assert traced == bare
    env["LD_PRELOAD"] = str(support.LIBRARY)      # once is enough
    assert environment_of(mlog("run", "-q", "env", "-0", env=env))["LD_PRELOAD"] == \
        str(support.LIBRARY)


def test_descriptors_limits_and_signals_are_untouched(here):
    """GIVEN a program that tells its descriptors, limits, masks and dispositions; THEN they
    are the same but for descriptor 1022 and the library's own, with signals ignored or
    blocked by the starter, too."""
    script = r"""
import os, resource, signal
print([fd for fd in range(200) if os.path.exists(f"/proc/self/fd/{fd}")])
print(resource.getrlimit(resource.RLIMIT_NOFILE))
sets = [l.split() for l in open("/proc/self/status") if l.startswith(("SigBlk", "SigIgn", "SigCgt"))]
own = 1 << signal.SIGBUS - 1 | 1 << signal.SIGABRT - 1      # the library's
print([(name, int(mask, 16) & ~own) for name, mask in sets])
print(os.getpgid(0) == os.getpgid(os.getppid()) or os.getppid())
"""
    for setup in ("", "trap '' CHLD HUP; ", "ulimit -Sn 256; ", "exec 0<&-; ",
                  "exec 5>/dev/null; "):
        shell = setup + 'exec "$@"'
        bare = run(["bash", "-c", shell, "x", PYTHON, "-c", script])
        done = run(["bash", "-c", shell, "x", MLOG, "run", "-q", PYTHON, "-c", script])
        assert done.returncode == 0 and bare.returncode == 0, (setup, bare, done)
        assert done.stdout.splitlines()[:3] == bare.stdout.splitlines()[:3], setup


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_streams_stay_closed(here, closed):
    """GIVEN a starter that closed standard streams; THEN the program has them closed, and
    its trace does not take their places."""
    script = 'for f in 0 1 2; do test -e /proc/self/fd/$f && : >>found$f; done; exit 0'
    done = run(["bash", "-c", f'exec "$@" {closed}', "x", MLOG, "run", "-o", "t", "bash", "-c",
                script])
    assert done.returncode == 0, done
    for name in closed.split():
        assert not (here / f"found{name[0]}").exists(), closed
    assert support.summary(here / "t")["events"] > 100


def test_a_low_limit_of_descriptors(here):
    """GIVEN limits below 1023: a soft one, and a hard one; THEN the program is traced into its
    file, children too, and its own limit stays."""
    for kind, argv in (("soft", ["bash", "-c", "ulimit -n; /bin/true; ls /proc/self/fd"]),
                       ("hard", ["bash", "-c", "ulimit -n; ls / >/dev/null; exit"])):
        def limit():
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard if kind == "soft" else 256))
        process = subprocess.run([MLOG, "run", "-o", kind, *argv], preexec_fn=limit, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 env=support.clean_environment(), timeout=support.TIME_LIMIT)
        assert process.returncode == 0 and process.stdout.startswith("256\n"), process
        assert len(support.report(here / kind)["processes"]) >= 2


def test_places_with_blanks(here):
    """GIVEN a build, a program and a trace whose folders' names have blanks; THEN all works."""
    place = here / "a b"
    for part in ("cli/mlog", "libtrace/libmlog.so", "analyzer/mlog-analyze"):
        (place / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(support.BUILD / part, place / part)
    shutil.copy(LEAK, place / "my prog")
    done = run([place / "cli/mlog", "run", "-o", "the trace", place / "my prog"])
    assert done.returncode == 0 and "session_new" in done.stderr, done
    assert "next: mlog analyze 'the trace'" in done.stderr
    assert support.summary(here / "the trace")["allocations"] > 20000


def test_parts_that_are_missing(here):
    """GIVEN the command without its library, and without the analyser; THEN the first ends
    with 125 before the program runs; the second traces, says so, and keeps the status."""
    (here / "bin").mkdir()
    shutil.copy(MLOG, here / "bin")
    env = support.clean_environment(PATH="/usr/bin:/bin")
    env.pop("LD_LIBRARY_PATH", None)
    done = run([here / "bin/mlog", "run", "touch", "ran"], env=env)
    if done.returncode == 0:
        pytest.skip("libmlog.so is installed on this machine")
    assert done.returncode == 125 and "no libmlog.so in" in done.stderr, done
    assert not (here / "ran").exists()
    env["LD_LIBRARY_PATH"] = str(support.LIBRARY.parent)
    done = run([here / "bin/mlog", "run", "-o", "t", "sh", "-c", "exit 5"], env=env)
    assert done.returncode == 5 and "mlog-analyze is not installed" in done.stderr, done
    assert support.summary(here / "t")["events"] > 10
    done = run([here / "bin/mlog", "analyze", "t"], env=env)
    assert done.returncode == 127 and "part of mlog" in done.stderr


def test_a_killed_analyser_changes_nothing(here):
    (here / "bin").mkdir()
    shutil.copy(MLOG, here / "bin")
    (here / "bin/mlog-analyze").write_text("#!/bin/sh\nkill -KILL $$\n")
    (here / "bin/mlog-analyze").chmod(0o755)
    env = support.clean_environment(LD_LIBRARY_PATH=support.LIBRARY.parent)
    done = run([here / "bin/mlog", "run", "-o", "t", "sh", "-c", "echo x; exit 4"], env=env)
    assert (done.returncode, done.stdout) == (4, "x\n"), done
    assert "t" in done.stderr and support.summary(here / "t")["events"] > 10
    done = run([here / "bin/mlog", "run", "--pipe", "sh", "-c", "echo x; exit 4"], env=env)
    assert (done.returncode, done.stdout) == (4, "x\n"), done
    assert "mlog-analyze was killed" in done.stderr


def test_record_only_leaves_no_process(here):
    """GIVEN --record-only; THEN the program has the number of the process that was started,
    its parent is ours, and nothing is said."""
    process = subprocess.Popen([MLOG, "run", "--record-only", "-o", "%p.mlog", "sh", "-c",
                                "echo $$ $PPID"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=support.clean_environment())
    out, err = process.communicate(timeout=support.TIME_LIMIT)
    assert (out, err) == (f"{process.pid} {os.getpid()}\n", "")
    assert traces(here) == [f"{process.pid}.mlog"]


def test_a_descriptor_that_was_given_is_kept(here):
    """GIVEN descriptor 1022 from bash, or MLOG_OUT; THEN the trace goes there."""
    done = support.bash('"$1" run "$2" 1022>given', MLOG, LEAK)
    assert done.returncode == 0 and "session_new" in done.stderr, done
    assert support.summary(here / "given")["allocations"] > 20000
    env = support.clean_environment(MLOG_OUT="from-%c")
    done = mlog("run", LEAK, env=env)
    assert "the trace went to MLOG_OUT: from-%c" in done.stderr
    assert support.summary(here / "from-leaky")["allocations"] > 20000
    assert not traces(here)


def test_inside_another_run(here):
    """GIVEN a traced script that runs mlog itself; THEN both traces are whole."""
    done = mlog("run", "-q", "-o", "outer", "sh", "-c", f"{MLOG} run -q -o inner {LEAK}; exit 6")
    assert done.returncode == 6, done
    assert support.summary(here / "inner")["allocations"] > 20000
    names = [p["executable"] for p in support.report(here / "outer")["processes"]]
    assert str(LEAK) not in names and any(n.endswith("sh") for n in names)


def test_conditions_make_the_status(here):
    """GIVEN --fail-on; THEN 3 where it holds and the program was content; else its own."""
    assert mlog("run", "-q", "--fail-on", "leaked_bytes>0", LEAK).returncode == 3
    assert mlog("run", "-q", "--fail-on", "leaked_bytes>1G", LEAK).returncode == 0
    assert mlog("run", "-q", "--fail-on", "leaked_bytes>0", "sh", "-c", "exit 9").returncode == 9
    assert mlog("run", "--pipe", "--fail-on", "leaked_bytes>0", LEAK).returncode == 3


def test_a_gate_that_nobody_judged_is_not_green(here):
    """GIVEN --fail-on and no trace, a damaged analyser, a trace that goes elsewhere
    WHEN the program itself is content
    THEN the status is 1, and a line says why."""
    support.compiled(here, "s", "int main(void) { return 0; }\n", "-static")
    gate = ["--fail-on", "leaked_bytes>0"]
    done = mlog("run", *gate, here / "s")
    assert done.returncode == 1 and "nothing was recorded" in done.stderr, done
    done = mlog("run", "-o", "/dev/null", *gate, LEAK)
    assert done.returncode == 1 and "not here to be judged" in done.stderr, done
    script = 'kill -9 $(pgrep -P $PPID mlog-analyze); exit 0'
    done = mlog("run", "--pipe", *gate, "sh", "-c", script)
    assert done.returncode == 1, done


def test_what_was_there_before_stays(here):
    """GIVEN a FIFO, a device and an empty file as the trace
    WHEN nothing is recorded, or the program cannot be executed, or all goes well
    THEN each is there still, and the end of the run waits for nobody."""
    os.mkfifo("fifo")
    (here / "empty").touch()
    places = ["fifo", "empty"]
    if os.geteuid() == 0:
        os.mknod("null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        places += ["null"] if os.access("null", os.W_OK) else []
    for place in places:
        for argv, status in [([LEAK], 0), (["./nonesuch"], 127), (["sh", "-c", "exit 4"], 4)]:
            if place == "empty":
                os.truncate(place, 0)
            with open("copy", "wb") as copy:
                reader = subprocess.Popen(["cat", place if place == "fifo" else "/dev/null"], stdout=copy)
            done = mlog("run", "-o", place, *argv)
            assert done.returncode == status and os.path.exists(place), (place, done)
            assert reader.wait(support.TIME_LIMIT) == 0
            assert (os.path.getsize("copy") > 4096) == (place == "fifo" and status != 127)
    given = run(["bash", "-c", '"$1" run ./nonesuch 1022>given', "bash", MLOG])
    assert given.returncode == 127 and (here / "given").exists(), given


def test_reports_of_the_list(here):
    done = mlog("run", "--report", "sizes,threads", LEAK)
    titles = re.findall(r"^([A-Z]\w+)$", done.stderr, re.M)
    assert titles [-2:] == ["Threads", "Audit"], done
    assert "Requested sizes" in done.stderr and "Leaks" not in titles


def test_options_of_heaptrace(here):
    """GIVEN heaptrace's options with its words; THEN a table for each key, of N entries; a
    report FILE.PID.COMM of each process; folded stacks; what a file names is left out."""
    done = mlog("run", "--top", "2", "--sort", "count,size", "-o", "t1", LEAK)
    tables = re.split(r"^Leaks\n", done.stderr, flags=re.M)
    assert len(tables) == 3 and all("from 3 stacks; the largest 2:" in t for t in tables[1:]), done
    assert re.search(r"^ +1\. .* 20,0\d\d blocks", tables[1], re.M), done
    done = mlog("run", "--outfile", "report", "-o", "t2", "sh", "-c", f"{LEAK}; exit 0")
    files = sorted(p.name for p in here.iterdir() if p.name.startswith("report."))
    assert [re.sub(r"\d+", "N", name) for name in files] == ["report.N.leaky", "report.N.sh"] or \
        {re.sub(r"\d+", "N", name) for name in files} >= {"report.N.leaky"}, files
    (leaky,) = [name for name in files if name.endswith(".leaky")]
    assert "session_new" in (here / leaky).read_text()
    done = mlog("run", "--flame-graph", "-o", "t3", LEAK)
    assert re.search(r"^[^ ].*;serve;session_new;.* 580000$", done.stderr, re.M), done
    done = mlog("run", "--flame-graph=f.svg", "-o", "t4", LEAK)
    assert (here / "f.svg").read_text().startswith("<?xml") and "f.svg" in done.stderr
    (here / "known").write_text("# remark\nsession_n*\n")
    done = mlog("run", "--ignore", "known", "--top", "5", "-o", "t5", LEAK)
    assert "session_new" not in done.stderr and "Leaks" in done.stderr, done


@pytest.mark.parametrize("argv, words", [
    (["run"], "expected a program"), (["run", "--top", "x", "true"], "expected a number"),
    (["run", "--sort", "age", "true"], "expected keys"), (["run", "--nonesuch"], "no such option"),
    (["run", "-Z"], "-Z: no such option"), (["run", "--report", "leaks,", "true"], "names of reports"),
    (["run", "-o", "a", "--pipe", "true"], "one place"), (["run", "-o"], "needs a value"),
    (["run", "--tcp", "nowhere", "true"], "HOST:PORT"), (["run", "--ignore", "/none", "true"], "No such"),
    (["run", "--compress=20", "true"], "1 to 19"), (["run", "--quiet=3", "true"], "takes no value"),
    (["run", "--record-only", "--pipe", "true"], "--record-only"), (["nonesuch"], "mlog run nonesuch"),
    (["help", "nonesuch"], "not a verb"), (["help", "run", "x"], "one verb"),
    (["doctor", "true", "false"], "one program"), (["run", "--flame-graph=a.png", "true"], ".svg or .folded"),
])
def test_wrong_use_is_one_line_and_two(here, argv, words):
    done = mlog(*argv)
    assert done.returncode == 2 and done.stdout == "" and words in done.stderr, done
    assert len(done.stderr.splitlines()) == 1 and not list(here.iterdir())


def test_help_of_every_verb(here):
    listed = re.findall(r"^  (\w+) ", mlog("--help").stdout, re.M)
    assert listed[:1] == ["run"] and {"analyze", "diff", "plot", "help"} <= set(listed)
    for verb in listed:
        by_help, by_option = mlog("help", verb), mlog(verb, "--help")
        assert by_help.returncode == by_option.returncode == 0, (by_help, by_option)
        assert "usage: mlog" in by_option.stdout.lower(), by_option
    assert mlog("--version").stdout.startswith("mlog 1.")
    assert mlog().returncode == 2


def test_other_verbs_are_the_other_commands(here):
    for name in ("a", "b"):
        mlog("run", "-q", "-o", name, PROGRAMS / "churn", 10)
    assert mlog("analyze", "a", "--summary").stdout == support.analyze("a", "--summary").stdout
    assert mlog("diff", "a", "b").stdout == support.run([support.ANALYZE, "--diff", "a", "b"]).stdout
    assert mlog("plot", "a", "-o", "h.pdf").returncode == 0
    assert (here / "h.pdf").read_bytes().startswith(b"%PDF")


def waiting(tmp, *args, program=None):
    """`mlog run` of a program that says when it waits for a signal. Returns process, pid."""
    script = program or (
        "import os, signal, sys\n"
        "keep = [bytearray(1234 * 8) for _ in range(100)]\n"
        "def seen(number, frame):\n"
        "    print(signal.Signals(number).name, flush=True)\n"
        "    if number == signal.SIGTERM: sys.exit(11)\n"
        "for n in (1, 2, 3, 10, 12, 15, 28): signal.signal(n, seen)\n"
        "print(os.getpid(), flush=True)\n"
        "while True: signal.pause()\n")
    process = subprocess.Popen([MLOG, "run", *args, PYTHON, "-c", script], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=support.clean_environment(PYTHONMALLOC="malloc"),
                               start_new_session=True)
    return process, int(process.stdout.readline())


def test_signals_are_passed_on(here):
    """GIVEN a program with handlers; WHEN signals are sent to mlog alone; THEN each comes to
    the program, once, and the status is the one that it chose."""
    process, _ = waiting(here, "-q")
    for name in ("SIGHUP", "SIGINT", "SIGWINCH", "SIGTERM"):
        process.send_signal(signal.Signals[name])
        assert process.stdout.readline() == name + "\n"
    assert process.communicate(timeout=support.TIME_LIMIT) == ("", "")
    assert process.returncode == 11


def test_live_tables(here):
    """GIVEN a program that waits; WHEN mlog gets SIGUSR1, SIGUSR2, and SIGQUIT; THEN tables of
    what lives come on standard error, a new window begins, and the program notices nothing."""
    process, pid = waiting(here)

    def answer(number, until):
        text, end = "", time.monotonic() + support.TIME_LIMIT
        process.send_signal(number)
        while until not in text:
            assert time.monotonic() < end, text
            if select.select([process.stderr], [], [], 0.1)[0]:
                text += os.read(process.stderr.fileno(), 1 << 16).decode()
        return text
    first = answer(signal.SIGUSR1, "Audit")
    assert re.search(r"^ +1\. .* 100 blocks", first, re.M), first
    assert "Leaks" in answer(signal.SIGUSR2, "Audit")
    assert "a new window begins" in answer(signal.SIGQUIT, "window")
    assert " 100 blocks" not in answer(signal.SIGUSR1, "Audit")
    os.kill(pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=support.TIME_LIMIT)
    assert out == "SIGTERM\n" and process.returncode == 11


def test_a_daemon_is_followed_no_further_than_its_starter(here):
    """GIVEN a program that leaves a daemon behind; THEN mlog ends with it, says that the trace
    still grows, and the daemon is in the trace in the end."""
    script = "sh -c 'read x <fifo; ls / >/dev/null' >/dev/null 2>&1 </dev/null & exit 3"
    os.mkfifo("fifo")
    done = mlog("run", "-o", "t", "sh", "-c", script)
    assert done.returncode == 3, done
    assert "still runs and writes to the trace" in done.stderr, done
    (here / "fifo").write_text("go\n")
    end = time.monotonic() + support.TIME_LIMIT
    while not any(p["executable"].endswith("/ls") and p["end_how"]
                  for p in support.report(here / "t")["processes"]):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_in_every_shell_make_and_a_pipeline(here):
    """GIVEN shells, a makefile and a pipeline; THEN one line works in all of them."""
    (here / "Makefile").write_text(f"all:\n\t@{MLOG} run -q -o make.mlog echo made\n")
    for argv, out in ((["dash", "-c", f"{MLOG} run -q -o dash.mlog echo x | cat"], "x\n"),
                      (["bash", "-c", f"yes | {MLOG} run -q -o bash.mlog head -n 2"], "y\ny\n"),
                      (["make", "-s"], "made\n"),
                      (["zsh", "-c", f"{MLOG} run -q -o zsh.mlog echo x"], "x\n"),
                      (["fish", "-c", f"{MLOG} run -q -o fish.mlog echo x"], "x\n")):
        if shutil.which(argv[0]) is None:
            continue
        done = run(argv)
        assert done.visible == (0, out, ""), (argv, done)
    assert {"dash.mlog", "bash.mlog", "make.mlog"} <= set(traces(here))


@pytest.mark.parametrize("shell, opens", [("bash", True), ("fish", True), ("dash", False),
                                          ("zsh", False)])
def test_what_each_shell_makes_of_the_descriptor(here, shell, opens):
    """GIVEN what the README says of each shell; THEN so it is."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    env = support.clean_environment(LD_PRELOAD=support.LIBRARY)
    run([shell, "-c", f"{PROGRAMS / 'churn'} 10 1022>t"], env=env)
    assert (here / "t").read_bytes().startswith(b"\x89mlog") == opens


def test_a_wrong_free_is_told(here):
    """GIVEN a program that frees a block twice, and is aborted for it
    THEN signal and wrong free are told beside the verdict."""
    support.compiled(here, "twice", "#include <stdlib.h>\nint main(void)\n{\n"
                     "    char *p = malloc(123 * 8);\n    free(p);\n    free(p);\n}\n",
                     "-g", "-fno-builtin", "-w")
    done = mlog("run", here / "twice")
    assert "was killed by SIGABRT" in done.stderr, done
    assert "mlog: 1 free of what was no live block: --wrong-frees tells more" in done.stderr
