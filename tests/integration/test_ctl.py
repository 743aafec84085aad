# SPDX-License-Identifier: MIT
"""Control from outside and pausing: the control page, `mlog ctl`, MLOG_START, mlog_pause.
What is not recorded is in no number, and nothing is said to be leaked or wrongly freed
for it; whoever writes into the page, the program is as it would be without."""
import contextlib
import fcntl
import json
import mmap
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import time

import pytest

import support
from support import LIBRARY, MLOG, PROGRAMS, run
from test_sandbox import behind, libseccomp  # noqa: F401

PAUSED = PROGRAMS / "paused"
NAME = "/memfd:mlog-control"
ASKED, ANSWERED, STATE, REQUESTS, SLOT = 64, 68, 76, 1216, 272


def has_memfd():
    with contextlib.suppress(OSError):
        os.close(os.memfd_create("try", os.MFD_ALLOW_SEALING))
        return True
    return False


pytestmark = pytest.mark.skipif(not has_memfd(), reason="no memfd_create here: no control page")


def environment(path, **extra):
    return support.clean_environment(LD_PRELOAD=LIBRARY, MLOG_OUT=path, **extra)


def ctl(*args, status=0):
    done = run([MLOG, "ctl", *args])
    assert done.returncode == status, done
    return done.stdout + done.stderr


def state_of(pid, *args):
    (one,) = json.loads(ctl("--json", *args, pid))["processes"]
    return one


def page_fd(pid):
    """The number of the descriptor in the process, or None."""
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.readlink(entry).startswith(NAME):
                return int(entry.name)
    return None


class Served:
    """`paused serve`, which does as it is told, a letter at a time."""

    def __init__(self, path, program=(PAUSED, "serve"), **extra):
        self.process = subprocess.Popen([str(a) for a in program], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=environment(path, **extra))
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def do(self, letters):
        for letter in letters:
            self.process.stdin.write(letter.encode())
            self.process.stdin.flush()
            assert self.process.stdout.read(1) == letter.encode()

    def ask(self, *args, status=0):
        """Ask by mlog ctl, and make it allocate until that has its answer."""
        asking = subprocess.Popen([MLOG, "ctl", "--wait", "60000", *map(str, args)],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        while asking.poll() is None:
            self.do("b")
            time.sleep(0.002)
        text = asking.communicate()[0]
        assert asking.returncode == status, text
        return text

    def end(self):
        self.process.stdin.write(b"x")
        self.process.stdin.close()
        return self.process.wait()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_blocks_around_a_pause(here):
    """GIVEN blocks that live into a pause, are freed in it, are born in it and end, or grow,
    after it; THEN those that began after it alone are leaks, the rest is not known or not
    seen, no free is called unmatched, and the audit says how long it was."""
    done = run([PAUSED, "windows"], env=environment("t"))
    assert done.visible == (0, "", "")
    report = support.report("t", "--leaks", "--timeline")
    assert sorted(entry["bytes"] for entry in report["leaks"]) == [104 * 8, 105 * 8]
    audit, summary = report["audit"], report["summary"]
    assert summary["leaked_bytes"] == 209 * 8 and summary["leaked_blocks"] == 2
    # freed in the pause, and moved in it: 102 and 110
    assert (summary["unsure_bytes"], summary["unsure_blocks"]) == (212 * 8, 2)
    assert report["unsure"] == {"bytes": 212 * 8, "blocks": 2}
    assert (audit["unmatched_frees"], audit["order_repairs"]) == (0, 0)
    assert audit["unseen_frees"] == 2       # of 103, by realloc, and of 106
    pauses = audit["pauses"]
    (one,) = pauses["list"]
    assert pauses["count"] == 1 and pauses["ns"] == one["to_ns"] - one["from_ns"] > 0
    assert (one["by"], one["open"], audit["complete"]) == ("api", False, False)
    (span,) = report["timeline"]["pauses"]
    assert (span["from_ns"], span["to_ns"]) == (one["from_ns"], one["to_ns"])
    text = support.analyze("t", "--leaks").stdout
    assert "from before a pause: 2 blocks, 1.66 KiB: not known whether freed" in text
    assert "Recording was paused once" in text and "by mlog_pause()" in text
    assert "Complete" not in text and "Not the whole run: all 7 events" in text
    brief = json.loads(support.analyze("t", "--brief", "--json").stdout)["brief"]
    assert brief["complete"] is False and "paused once" in brief["doubt"]


def test_dumps_and_filters(here):
    """GIVEN a pause THEN dumps have it in its place, and a filter's own books know it."""
    run([PAUSED, "windows"], env=environment("t"))
    lines = [json.loads(line) for line in support.analyze("t", "--dump=json").stdout.splitlines()]
    kinds = [line["what"] if line["type"] == "window" else line["type"] for line in lines
             if line["type"] in ("window", "alloc", "free", "realloc")]
    assert kinds == ["alloc"] * 3 + ["pause", "resume", "alloc", "realloc", "free", "free"]
    text = support.analyze("t", "--dump=text").stdout
    assert text.index("# PAUSE api") < text.index("# RESUME api")
    got = support.report("t", "--leaks", "--min-size", "820")
    assert [entry["bytes"] for entry in got["leaks"]] == [105 * 8, 104 * 8]
    assert got["summary"]["unsure_bytes"] == 110 * 8
    (one,) = support.report("t", "--per-process")["per_process"]
    assert one["leaked_bytes"] == 209 * 8


def test_gate_judges_what_was_recorded(here):
    """GIVEN a pause WHEN a condition is judged THEN a line says by what."""
    run([PAUSED, "windows"], env=environment("t"))
    done = support.analyze("t", "--fail-on", "leaked_bytes>1672", status=0)
    assert "recording was paused once" in done.stderr and "judged by what was recorded" in done.stderr
    support.analyze("t", "--fail-on", "leaked_bytes>1671", status=3)


def test_hammered(here):
    """GIVEN three threads that hand blocks over WHILE 200 pauses come and go THEN no order is
    repaired, no free unmatched, and what was freed behind the last pause is no leak."""
    done = run([PAUSED, "hammer", "200"], env=environment("t"))
    assert done.visible == (0, "", "")
    report = support.report("t")
    audit = report["audit"]
    assert audit["pauses"]["count"] == 200 and not any(p["open"] for p in audit["pauses"]["list"])
    for name in ("unmatched_frees", "order_repairs", "late_events", "lost_events", "bad_chunks"):
        assert audit[name] == 0, (name, audit)
    assert audit["unseen_frees"] and report["summary"]["leaked_blocks"] == 0, report["summary"]
    assert "and 190 more" in support.analyze("t").stdout


def test_hammered_into_a_pipe(here):
    done = support.bash('LD_PRELOAD=$LIB "$@" 1022> >(cat >t); wait $!', PAUSED, "hammer", "60")
    assert done.visible == (0, "", "")
    report = support.report("t")
    audit = report["audit"]
    assert audit["pauses"]["count"] == 60 and audit["order_repairs"] == 0
    assert audit["unmatched_frees"] == audit["late_events"] == 0
    assert report["summary"]["leaked_blocks"] == 0


def test_start_paused(here):
    """GIVEN MLOG_START=paused THEN nothing is recorded until it is asked for, and what is
    recorded from then on is judged as ever."""
    done = run([PAUSED, "many", "1000"], env=environment("t", MLOG_START="paused"))
    assert done.visible == (0, "", "")
    text = support.analyze("t").stdout
    assert "by MLOG_START=paused" in text and "recording was paused, and did not go on" in text
    assert support.report("t")["audit"]["events"] == 0
    with Served("u", MLOG_START="paused") as served:
        served.do("ab")
        assert state_of(served.pid, "--wait", "0")["state"] == "paused"
        assert "records again" in served.ask(served.pid, "resume")
        served.do("aa")
        assert "paused\n" in served.ask(served.pid, "pause")
        served.do("a")
        assert "records again" in served.ask(served.pid, "resume")
        served.do("aaa")
        assert served.end() == 0
    report = support.report("u")
    assert (report["summary"]["leaked_bytes"], report["summary"]["leaked_blocks"]) == (3 * 856, 3)
    assert report["summary"]["unsure_blocks"] == 2
    assert [p["by"] for p in report["audit"]["pauses"]["list"]] == ["start", "ctl"]


def test_run_paused(here):
    """GIVEN mlog run --paused THEN the program begins so, and its verdict says what to do."""
    done = run([MLOG, "run", "--paused", "-o", "t", PAUSED, "many", "10"])
    assert done.returncode == 0
    assert support.report("t")["audit"]["pauses"]["list"][0]["by"] == "start"


def test_commands(here):
    """GIVEN a program that allocates now and then WHEN each command is asked THEN it answers
    with what it did, the trace has it, and state and counters are right."""
    with Served("t") as served:
        served.do("a")
        text = served.ask(served.pid, "status")
        assert re.match(rf"process {served.pid} \(paused\): recording, for \d+\.\d s\n  \d+ events, "
                        rf".* of trace, nothing lost\n  trace: {here}/t \(a mapped file\)\n"
                        r"  sampling: none; libmlog \d", text), text
        assert "marked" in served.ask(served.pid, "mark", "half \"way\"")
        assert "delivered" in served.ask(served.pid, "flush")
        assert "was recording already" in served.ask(served.pid, "resume")
        served.ask(served.pid, "pause")
        assert "was paused already" in served.ask(served.pid, "pause")
        served.do("a")
        before = json.loads(served.ask("--json", served.pid))["processes"][0]
        assert (before["state"], before["fresh"], before["pauses"]) == ("paused", True, 1)
        assert before["sampling"] is None and before["lost_events"] == 0
        served.do("bbb")
        assert json.loads(served.ask(served.pid, "status", "--json"))["processes"][0]["events"] == \
            before["events"]
        served.ask(served.pid, "resume")
        served.do("a")
        assert "stopped recording, for good" in served.ask(served.pid, "stop")
        assert "stopped: it was asked to stop" in ctl(served.pid)
        assert "records no more: it was asked to stop" in ctl(served.pid, "pause", status=1)
        doctor = run([MLOG, "doctor", served.pid]).stdout
        assert "warn  its recording is over: it was asked to stop" in doctor
        served.do("ab")
        assert served.end() == 0
    done = support.analyze("t", "--dump=json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["name"] for row in rows if row["type"] == "mark"] == ["half \"way\""]
    assert sum(row["type"] in ("alloc", "free") for row in rows) > before["events"]
    report = json.loads(run([support.ANALYZE, "t", "--json", "--leaks"]).stdout)
    assert report["audit"]["stopped"] == "asked"
    # Before the pause one, not known; in it one, unseen; after it one, a leak.
    assert sum(e["blocks"] for e in report["leaks"] if e["bytes"] == 856) == 1
    assert report["unsure"]["blocks"] == 1


def test_counters_agree_with_the_trace(here):
    with Served("t") as served:
        served.do("bbab")
        events = json.loads(served.ask("--json", served.pid))["processes"][0]["events"]
        assert served.end() == 0
    assert 120 < events <= support.report("t")["audit"]["events"]


def test_a_silent_program_acts_later(here):
    """GIVEN a program that makes no event WHEN it is asked THEN ctl says so and ends with 3,
    and the requests are acted upon, all and in order, at its next allocation."""
    with Served("t") as served:
        served.do("a")
        text = ctl("--wait", "0", served.pid, "pause", status=3)
        assert 'has made no allocation since: "pause" will be acted upon' in text
        ctl("--wait", "0", served.pid, "resume", status=3)
        ctl("--wait", "0", served.pid, "mark", "late", status=3)
        assert "as of" in ctl("--wait", "0", served.pid)
        time.sleep(0.02)        # more than a tick
        served.do("bb")
        assert "process" in ctl(served.pid)
        assert served.end() == 0
    rows = [json.loads(line) for line in support.analyze("t", "--dump=json").stdout.splitlines()]
    assert [row.get("what", "mark") for row in rows if row["type"] in ("window", "mark")] == \
        ["pause", "resume", "mark"]


def test_too_many_requests_wait(here):
    with Served("t") as served:
        served.do("a")
        for _ in range(8):
            ctl("--wait", "0", served.pid, "mark", "m", status=3)
        assert "8 requests waiting" in ctl("--wait", "0", served.pid, "mark", "m", status=1)
        time.sleep(0.02)
        served.do("bb")
        assert "marked" in served.ask(served.pid, "mark", "m")


def test_several_ask_at_once(here):
    """GIVEN many that ask at the same time THEN each has its answer, none is lost."""
    with Served("t") as served:
        served.do("a")
        asking = [subprocess.Popen([MLOG, "ctl", "--wait", "60000", str(served.pid), "mark", f"m{i}"],
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                  for i in range(8)]
        while any(one.poll() is None for one in asking):
            served.do("b")
            time.sleep(0.002)
        said = [one.communicate()[0] for one in asking]
        assert all("marked" in one for one in said), said
        assert served.end() == 0
    rows = [json.loads(line) for line in support.analyze("t", "--dump=json").stdout.splitlines()]
    assert sorted(row["name"] for row in rows if row["type"] == "mark") == \
        [f"m{i}" for i in range(8)]


def test_a_tree(here):
    """GIVEN a process and its forked child, both paused by one command THEN both say so, have
    pages of their own, and a child of a paused process is paused."""
    with Served("t") as served:
        served.do("af")
        (child,) = [int(p) for p in pathlib.Path(
            f"/proc/{served.pid}/task/{served.pid}/children").read_text().split()]
        assert os.stat(f"/proc/{served.pid}/fd/{page_fd(served.pid)}").st_ino != \
            os.stat(f"/proc/{child}/fd/{page_fd(child)}").st_ino
        assert "paused\n" in served.ask(child, "pause")
        # the parent waits for the child, and makes no event
        assert state_of(served.pid, "--wait", "0")["state"] == "recording"
        served.do("af")
        text = served.ask("--tree", "--wait", "500", served.pid)
        assert len(re.findall(r"^process \d+ \(paused\): paused", text, re.M)) == 2, text
        assert len(re.findall(r"^process \d+ \(paused\): recording", text, re.M)) == 1, text
        assert served.end() == 0
    pauses = support.report("t")["audit"]["pauses"]["list"]
    assert [p["by"] for p in pauses] == ["ctl", "fork"]


def test_a_child_that_made_no_event(here):
    """GIVEN a child that nobody told of THEN ctl does not take its parent's page for its own,
    and it has one from its first event on."""
    with Served("t") as served:
        served.do("ar")
        (child,) = [int(p) for p in pathlib.Path(
            f"/proc/{served.pid}/task/{served.pid}/children").read_text().split()]
        assert "made no event since it was forked" in ctl(child, "pause", status=3)
        served.do("a")
        assert "paused\n" in served.ask(child, "pause")
        assert state_of(served.pid, "--wait", "0")["state"] == "recording"
        assert served.end() == 0


def test_a_pipeline_of_a_shell(here):
    """GIVEN a shell that starts programs in a loop WHEN its tree is paused and resumed THEN
    its output is its own, and each process tells its own windows."""
    script = 'for i in $(seq 12); do printf "%s\\n" b a $i | sort | tail -n 1; done; echo done'
    plain = run(["bash", "-c", script])
    process = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True,
                               env=environment("t"))
    while not page_fd(process.pid):
        time.sleep(0.01)
    for command in ("pause", "resume", "status"):
        done = run([MLOG, "ctl", "--tree", process.pid, command])
        assert done.returncode in (0, 1, 3), done     # children come and go meanwhile
    assert process.communicate()[0] == plain.stdout and process.returncode == 0
    audit = support.report("t", "--no-symbols")["audit"]
    assert (audit["unmatched_frees"], audit["bad_chunks"]) == (0, 0), audit


def test_no_page_no_harm(here):
    """GIVEN a program that closes all descriptors, as a daemon does THEN it records on, and
    ctl says that it cannot be reached; GIVEN another process THEN that it is not traced."""
    code = "import os, sys, time\nos.closerange(3, 1100)\nprint('closed', flush=True)\n" \
           "sys.stdin.readline()\n"
    process = subprocess.Popen(["/usr/bin/python3", "-c", code], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=environment("t"))
    assert process.stdout.readline() == b"closed\n"
    assert "no control page that can be reached" in ctl(process.pid, status=1)
    assert "it has no control page" in run([MLOG, "doctor", process.pid]).stdout
    process.communicate(b"\n")
    assert process.returncode == 0 and support.report("t")["audit"]["events"] > 1000
    assert "is not traced" in ctl(os.getpid(), status=1)
    assert "does not exist" in ctl(2 ** 22 + 1, status=1)


def test_where_it_is_refused(here):
    """GIVEN a limit of descriptors that leaves few for the library THEN the program runs as
    ever."""
    done = support.bash('ulimit -n 8; MLOG_OUT=t LD_PRELOAD=$LIB exec "$@"', PAUSED, "many", "10")
    assert done.visible == (0, "", "")


@pytest.mark.parametrize("action", [0x80000000, 0x00050001], ids=["kill", "errno"])
def test_a_filter_against_the_page_alone(libseccomp, here, action):
    """GIVEN a filter that ends a program for memfd_create, or refuses it THEN there is no page
    and the program is recorded as ever."""
    done = behind(action, here / "t", ("memfd_create",))
    assert done.visible == (7, "done\n", "")
    assert support.report("t")["audit"]["complete"]


def test_a_page_that_is_held(here):
    """GIVEN somebody who holds the page's lock THEN ctl does not wait for ever."""
    with Served("t") as served:
        served.do("a")
        with open(f"/proc/{served.pid}/fd/{page_fd(served.pid)}", "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            assert "another command holds its page" in ctl(served.pid, "pause", status=1)


def test_descriptor(here):
    """GIVEN a traced program THEN its page is close-on-exec, at 1000 or above, sealed; and the
    program that it executes has one of its own."""
    with Served("t") as served:
        served.do("a")
        number = page_fd(served.pid)
        flags = int(re.search(r"flags:\s+(\d+)", pathlib.Path(
            f"/proc/{served.pid}/fdinfo/{number}").read_text())[1], 8)
        assert number >= 1000 and flags & os.O_CLOEXEC
        with open(f"/proc/{served.pid}/fd/{number}", "r+b", buffering=0) as page:
            for size in (0, 1 << 20):
                with pytest.raises(PermissionError):
                    page.truncate(size)
    with Served("u", program=("bash", "-c", 'exec "$0" serve', PAUSED)) as served:
        served.do("a")
        assert [os.readlink(f"/proc/{served.pid}/fd/{fd}").startswith(NAME)
                for fd in os.listdir(f"/proc/{served.pid}/fd")].count(True) == 1
        assert state_of(served.pid, "--wait", "0")["name"] == "paused"


def test_hostile_page(here):
    """GIVEN another process that fills the page with nonsense all the time THEN output and
    status are the program's own, and its trace can be read."""
    plain = run([PAUSED, "hammer", "20"])
    process = subprocess.Popen([PAUSED, "hammer", "400"], env=environment("t"),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    rng = random.Random(71)
    while not (number := page_fd(process.pid)):
        time.sleep(0.001)
    with open(f"/proc/{process.pid}/fd/{number}", "r+b", buffering=0) as file:
        page = mmap.mmap(file.fileno(), 4096)
    rounds = 0
    while process.poll() is None:
        what = rng.randrange(4)
        if what == 0:
            page[:] = rng.randbytes(4096)
        elif what == 1:
            page[ASKED:ASKED + 4] = struct.pack("<I", rng.choice((0, 1, 2 ** 31, 2 ** 32 - 1)))
        elif what == 2:     # commands that are known, but for stop, with lengths that are not
            slots = b"".join(struct.pack("<IiII", rng.randrange(0, 6), -1, rng.randrange(2 ** 32), 0) +
                             b"\xff" * 256 for _ in range(8))
            page[REQUESTS:REQUESTS + len(slots)] = slots
        else:
            at = rng.randrange(4096 - 16)
            page[at:at + 16] = rng.randbytes(16)
        rounds += 1
        run_ctl = rounds % 500 == 1
        if run_ctl:     # nor is who asks harmed
            assert run([MLOG, "ctl", "--wait", "0", process.pid]).returncode in (0, 1, 3)
    assert process.communicate() == (plain.stdout.encode(), plain.stderr.encode())
    assert process.returncode == plain.returncode == 0 and rounds > 10
    audit = json.loads(run([support.ANALYZE, "t", "--json"]).stdout)["audit"]
    assert (audit["bad_chunks"], audit["order_repairs"], audit["unmatched_frees"]) == (0, 0, 0), audit


def test_a_page_of_another_version(here):
    with Served("t") as served:
        served.do("a")
        with open(f"/proc/{served.pid}/fd/{page_fd(served.pid)}", "r+b", buffering=0) as file:
            file.seek(8)
            file.write(struct.pack("<I", 2))
        assert "of another version, or a damaged one" in ctl(served.pid, status=1)
        served.do("ab")
        assert served.end() == 0


def test_python_paused_and_resumed(here):
    """GIVEN python3 at work WHEN it is paused and resumed THEN it prints what it would, and its
    trace says nothing wrong."""
    code = "import json\nfor i in range(5):\n s = json.dumps([{str(k): [k] * 20} " \
           "for k in range(200)]); json.loads(s)\nprint(len(s))\n"
    plain = run(["/usr/bin/python3", "-c", code])
    process = subprocess.Popen(["/usr/bin/python3", "-c", code], stdout=subprocess.PIPE, text=True,
                               env=environment("t", PYTHONMALLOC="malloc"))
    while not page_fd(process.pid):
        time.sleep(0.005)
    asked = [run([MLOG, "ctl", process.pid, command]).returncode
             for command in ("pause", "status", "resume", "pause", "resume")]
    assert process.communicate()[0] == plain.stdout and process.returncode == 0
    assert set(asked) <= {0, 1, 3}
    audit = support.report("t", "--no-symbols")["audit"]
    assert audit["pauses"]["count"] or asked[0], (asked, audit)
    assert (audit["unmatched_frees"], audit["order_repairs"]) == (0, 0), audit


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_redis_under_load(here):
    """GIVEN redis-server under load WHEN it is paused and resumed THEN every request has its
    answer, and after the last pause nothing is unmatched."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--dir", str(here)],
                              env=environment("t", MLOG_START="paused"), stdout=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                client = socket.create_connection(("127.0.0.1", port))
                break
            time.sleep(0.05)
        answers = client.makefile("rb")

        def load(n):
            for i in range(n):
                client.sendall(f"SET key:{i % 97} {'v' * (1 + i % 400)}\r\n".encode())
            assert [answers.readline() for _ in range(n)] == [b"+OK\r\n"] * n

        load(500)
        for command in ("resume", "pause", "resume"):
            load(500)
            asking = subprocess.Popen([MLOG, "ctl", "--wait", "60000", str(server.pid), command])
            while asking.poll() is None:
                load(20)
            assert asking.returncode == 0
        load(500)
        client.sendall(b"SHUTDOWN NOSAVE\r\n")
        assert server.wait(60) == 0
        client.close()
    finally:
        server.kill()
        server.wait()
    audit = support.report("t", "--no-symbols")["audit"]
    assert [p["by"] for p in audit["pauses"]["list"]] == ["start", "ctl"]
    assert audit["events"] and (audit["unmatched_frees"], audit["order_repairs"]) == (0, 0), audit


def test_wrong_use(here):
    for args, words in ((("x",), "expected the number of a process"), ((), "expected the number"),
                        (("1", "dance"), "dance: not a command; they are status, pause"),
                        (("1", "mark"), "expected the mark's name"),
                        (("1", "pause", "now"), "now: not expected there"),
                        (("--json", "1", "pause"), "--json goes with status alone"),
                        (("--wait", "soon", "1"), "--wait soon: expected milliseconds")):
        assert words in ctl(*args, status=2)
    assert "pause     record nothing from now on" in ctl("help")


def test_plot_hatches_it(here):
    """GIVEN a pause in the middle of a run THEN the chart hatches it in both panels."""
    with Served("t") as served:
        served.do("a")
        served.ask(served.pid, "pause")
        time.sleep(0.1)
        served.ask(served.pid, "resume")
        served.do("a")
        assert served.end() == 0
    lines = json.loads(support.analyze("t", "--export=chrome=-").stdout)["traceEvents"]
    begin, end = [line for line in lines if line["name"] == "not recorded"]
    assert (begin["ph"], end["ph"]) == ("b", "e") and end["ts"] > begin["ts"]
    assert run([support.PLOT, "t", "-o", "t.svg"]).returncode == 0
    assert (here / "t.svg").read_text().count('id="not-recorded"') == 2
