# SPDX-License-Identifier: MIT
"""Every form of sink, as users type it in bash, carries the same trace."""
import json
import os
import socket
import subprocess
import threading

import pytest

import support
from support import LIBRARY, PROGRAMS, bash

PAIRS = 20000
CHURN = f'"$1" {PAIRS}'


def check_churn(trace, times=1):
    """The trace is that of `churn 20000`, whole."""
    whole = support.report(trace, "--summary", "--leaks")
    summary = whole["summary"]
    assert summary["calls"]["malloc"] == times * (PAIRS + 3)
    assert summary["calls"]["free"] == times * PAIRS
    assert summary["leaked_bytes"] == times * 3 * 123 * 8
    assert summary["leaked_blocks"] == times * 3
    leaks = support.leaks_of(whole["leaks"], "leak")
    assert sum(entry["bytes"] for entry in leaks) == times * 3 * 123 * 8
    support.assert_sound(whole["audit"])
    return whole


def same_output(done):
    assert done.visible == (7, "done\n", "")


@pytest.mark.smoke
def test_file(tmp_path):
    same_output(bash(f'LD_PRELOAD=$LIB exec {CHURN} 1022>"$2"', PROGRAMS / "churn",
                     tmp_path / "t"))
    check_churn(tmp_path / "t")


def test_file_opened_for_appending(tmp_path):
    same_output(bash(f'LD_PRELOAD=$LIB exec {CHURN} 1022>>"$2"', PROGRAMS / "churn",
                     tmp_path / "t"))
    check_churn(tmp_path / "t")


def test_two_runs_one_after_the_other_appended(tmp_path):
    for _ in range(2):
        same_output(bash(f'LD_PRELOAD=$LIB exec {CHURN} 1022>>"$2"', PROGRAMS / "churn",
                         tmp_path / "t"))
    whole = check_churn(tmp_path / "t", times=2)
    assert len(whole["processes"]) == 2


def test_file_that_held_something_longer_is_replaced(tmp_path):
    (tmp_path / "t").write_bytes(b"x" * 30_000_000)
    same_output(bash(f'LD_PRELOAD=$LIB exec {CHURN} 1022>"$2"', PROGRAMS / "churn",
                     tmp_path / "t"))
    check_churn(tmp_path / "t")


@pytest.mark.smoke
def test_process_substitution(tmp_path):
    # The shell does not wait for the reader; the end of another FIFO tells.
    script = f'''mkfifo "$3"; cat "$3" >/dev/null &
                 LD_PRELOAD=$LIB {CHURN} 1022> >(cat >"$2"; echo >"$3")
                 status=$?; wait; exit $status'''
    same_output(bash(script, PROGRAMS / "churn", tmp_path / "t", tmp_path / "end"))
    check_churn(tmp_path / "t")


def test_process_substitution_into_zstd(tmp_path):
    script = f'''mkfifo "$3"; cat "$3" >/dev/null &
                 LD_PRELOAD=$LIB {CHURN} 1022> >(zstd -q >"$2"; echo >"$3")
                 status=$?; wait; exit $status'''
    same_output(bash(script, PROGRAMS / "churn", tmp_path / "t", tmp_path / "end"))
    check_churn(tmp_path / "t")


def test_fifo(tmp_path):
    script = f'''mkfifo "$2"; cat "$2" >"$3" & LD_PRELOAD=$LIB {CHURN} 1022>"$2"
                 status=$?; wait; exit $status'''
    same_output(bash(script, PROGRAMS / "churn", tmp_path / "fifo", tmp_path / "t"))
    check_churn(tmp_path / "t")


def test_a_reader_learns_soon_of_a_program_that_seldom_allocates(tmp_path):
    """GIVEN a program that allocates ten times a second, THEN its events come by
    threes, not when a buffer is full or after so many."""
    reader, writer = os.pipe()
    program = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 1022>&{writer}', "bash", PROGRAMS / "seldom", "20"],
        env=support.clean_environment(LD_PRELOAD=support.LIBRARY), pass_fds=[writer],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    os.close(writer)
    assert program.stdout.read(4) == b"done"
    os.set_blocking(reader, False)
    (tmp_path / "t").write_bytes(os.read(reader, 65536))
    blocks = support.summary(tmp_path / "t")["allocations"]
    program.communicate()
    os.close(reader)
    assert blocks >= 15


@pytest.mark.smoke
def test_tcp(tmp_path):
    # GIVEN somebody who listens on a port of this machine
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(support.TIME_LIMIT)

        def receive():
            connection, _ = server.accept()
            with connection:
                while data := connection.recv(65536):
                    received.extend(data)

        thread = threading.Thread(target=receive)
        thread.start()
        # WHEN the program's descriptor 1022 is a connection to it
        done = bash(f'LD_PRELOAD=$LIB exec {CHURN} 1022>/dev/tcp/127.0.0.1/$2',
                    PROGRAMS / "churn", server.getsockname()[1])
        thread.join()
    # THEN what came is the trace
    same_output(done)
    (tmp_path / "t").write_bytes(received)
    check_churn(tmp_path / "t")


@pytest.mark.parametrize("name, expected", [("plain", "plain"), ("of-%p-here", "of-{pid}-here"),
                                            ("100%%", "100%")])
def test_mlog_out(tmp_path, name, expected):
    env = support.clean_environment(MLOG_OUT=tmp_path / name)
    done = bash(f'echo $$; LD_PRELOAD=$LIB exec {CHURN} 1022>&-', PROGRAMS / "churn", env=env)
    pid, rest = done.stdout.split("\n", 1)
    assert (done.returncode, rest, done.stderr) == (7, "done\n", "")
    # THEN there is just this one file
    assert [p.name for p in tmp_path.iterdir()] == [expected.format(pid=pid)]
    check_churn(tmp_path / expected.format(pid=pid))


def test_mlog_out_that_cannot_be_opened(tmp_path):
    """Tracing was asked for and cannot begin: one line, and the program runs."""
    env = support.clean_environment(MLOG_OUT=tmp_path / "missing" / "file")
    done = bash(f'LD_PRELOAD=$LIB exec {CHURN}', PROGRAMS / "churn", env=env)
    assert (done.returncode, done.stdout) == (7, "done\n")
    assert len(done.stderr.splitlines()) == 1 and "missing" in done.stderr


def test_a_file_is_readable_while_it_grows(tmp_path):
    # GIVEN a program that waits for its input to end, having made events
    code = "x = [bytes(600 + i) for i in range(2000)]; print('ready', flush=True); input()"
    process = subprocess.Popen(
        ["bash", "-c", 'LD_PRELOAD=$1 exec /usr/bin/python3 -c "$2" 1022>"$3"', "bash",
         str(LIBRARY), code, str(tmp_path / "t")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=support.clean_environment())
    try:
        assert process.stdout.readline() == b"ready\n"
        # WHEN read now THEN all of it is there
        summary = support.summary(tmp_path / "t")
        assert summary["leaked_bytes"] > 2000 * 600
    finally:
        process.communicate(b"\n")
    assert process.returncode == 0


@pytest.mark.smoke
def test_closed_descriptor_means_nothing_at_all(tmp_path):
    """Descriptor 1022 closed, no MLOG_OUT: no file, no descriptor, no call to
    the kernel that the loader and the program would not make."""
    log = tmp_path / "log"
    # GIVEN the program under strace, which leaves 1022 closed
    script = '''cd "$3"; exec 1022>&-
                strace -f -o "$2" -E LD_PRELOAD="$LIB" "$1" 100'''
    done = bash(script, PROGRAMS / "churn", log, tmp_path)
    same_output(done)
    lines = [line.split(None, 1)[1] for line in log.read_text().splitlines()]
    # WHEN one looks past the opening of the program's libraries
    last_load = max(i for i, line in enumerate(lines) if line.startswith("openat(")
                    and ".so" in line)
    after = lines[last_load + 1:]
    # THEN no file is opened, none made, nothing is written but the program's word
    assert not [line for line in after if line.startswith(("openat(", "open(", "readlink",
                                                           "rt_sigaction", "clone"))], after
    (only,) = [line for line in after if line.startswith(("write(", "pwrite", "sendto"))]
    assert only.startswith('write(1, "done\\n", 5) ')
    assert list(tmp_path.iterdir()) == [log]
    # AND there are no more mappings than another library costs
    plain_log = tmp_path / "plain"
    script = 'exec 1022>&-; strace -f -o "$2" "$1" 100'
    same_output(bash(script, PROGRAMS / "churn", plain_log))

    def anonymous(path):
        text = path.read_text()
        return sum("MAP_ANONYMOUS" in line and "MAP_FIXED" not in line
                   for line in text.splitlines() if "mmap(" in line)
    assert anonymous(log) == anonymous(plain_log)


def test_reader_that_hangs_up_harms_nobody(tmp_path):
    """SIGPIPE never reaches the program."""
    for reader in ("head -c 100 >/dev/null", "true", "exec <&-"):
        done = bash(f'LD_PRELOAD=$LIB exec {CHURN} 1022> >({reader})', PROGRAMS / "churn")
        same_output(done)


def test_tcp_peer_that_resets(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(support.TIME_LIMIT)

        def hang_up():
            connection, _ = server.accept()
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        done = bash(f'LD_PRELOAD=$LIB exec {CHURN} 1022>/dev/tcp/127.0.0.1/$2',
                    PROGRAMS / "churn", server.getsockname()[1])
        thread.join()
    same_output(done)


@pytest.mark.parametrize("sink", ["/dev/null", "/dev/full"])
def test_devices(sink):
    same_output(bash(f'LD_PRELOAD=$LIB exec {CHURN} 1022>"$2"', PROGRAMS / "churn", sink))


def test_full_disk(tmp_path):
    """A file system of 256 KiB: the program goes on, what fitted is readable,
    and the trace says that it stops."""
    script = f'''mount -t tmpfs -o size=256k none "$2" || exit 66
                 LD_PRELOAD=$LIB "$1" 200000 1022>"$2/t"; status=$?
                 cat "$2/t" >"$3"; exit $status'''
    inside = f'unshare -m bash -c \'{script}\' bash "$1" "$2" "$3"'
    (tmp_path / "small").mkdir()
    done = bash(inside, PROGRAMS / "churn", tmp_path / "small", tmp_path / "t")
    if "unshare" in done.stderr or done.returncode == 66:
        pytest.skip("no right to mount here")
    same_output(done)
    read = support.analyze(tmp_path / "t", "--summary", "--json", status=1)
    whole = json.loads(read.stdout)
    assert 1000 < whole["summary"]["calls"]["malloc"] < 200000
    assert whole["audit"]["stopped"] == "sink full"
    assert len(read.stderr.splitlines()) == 1


@pytest.mark.parametrize("how", ["closefrom", "loop"])
def test_program_that_closes_every_descriptor(tmp_path, how):
    done = support.trace([PROGRAMS / "closer", how, tmp_path / "own"], tmp_path / "t")
    assert done.visible == (0, "", "")
    assert (tmp_path / "own").read_text() == "mine\n"
    summary = support.summary(tmp_path / "t")
    assert summary["leaked_bytes"] == 10 * 11 * 8 + 20 * 13 * 8


def test_program_that_takes_the_descriptor_for_itself(tmp_path):
    """Its file, now at 1022, holds only what it wrote there."""
    done = support.trace([PROGRAMS / "closer", "dup2", tmp_path / "own"], tmp_path / "t")
    assert done.visible == (0, "", "")
    assert (tmp_path / "own").read_text() == "mine\n"
    assert support.summary(tmp_path / "t")["leaked_bytes"] >= 10 * 11 * 8


def test_program_that_takes_the_descriptor_of_a_pipe(tmp_path):
    script = '''mkfifo "$3"; cat "$3" >"$4" &
                LD_PRELOAD=$LIB "$1" dup2 "$2" 1022>"$3"; status=$?; wait; exit $status'''
    done = bash(script, PROGRAMS / "closer", tmp_path / "own", tmp_path / "fifo", tmp_path / "t")
    assert done.visible == (0, "", "")
    assert (tmp_path / "own").read_text() == "mine\n"
    assert support.summary(tmp_path / "t")["leaked_bytes"] >= 10 * 11 * 8


def test_a_file_that_may_not_be_opened_again_is_told(tmp_path):
    """GIVEN a file for 1022 that the program may write to, as it is open, but not open again; THEN
    it becomes a stream, and the audit tells why and what to do."""
    before = ["setpriv", "--reuid=65534", "--clear-groups"] if os.getuid() == 0 else []
    path = tmp_path / "t"
    path.touch()
    path.chmod(0o200)
    if before and support.run([*before, "test", "-x", PROGRAMS / "churn"]).returncode:
        pytest.skip("another user cannot reach the build")
    support.bash('out=$1; shift; exec 1022>"$out"; exec "$@"', path, *before, "env",
                 f"LD_PRELOAD={LIBRARY}", PROGRAMS / "churn", 20)
    path.chmod(0o600)
    whole = support.report(path)
    assert whole["trace"]["layout"] == "stream" and whole["audit"]["complete"]
    text = support.analyze(path).stdout
    assert "The file was written like a pipe and not mapped by 1 process, since the program may " \
        "not open it again" in text
    assert "MLOG_OUT=FILE" in text
