# SPDX-License-Identifier: MIT
"""The program cannot tell that it is traced, but by looking at descriptor 1022
or at its environment."""
import pytest

import support
from support import LIBRARY, PROGRAMS


@pytest.mark.smoke
@pytest.mark.parametrize("sink", ["1022>t", "1022>&-", "1022> >(cat >t)"])
def test_every_answer_of_the_allocator_is_the_same(tmp_path, sink):
    # GIVEN the answers of plain libc: values, errno, alignment, usable sizes, layout
    plain = support.run([PROGRAMS / "semantics"], cwd=tmp_path)
    assert plain.returncode == 0 and plain.stdout.count("\n") > 80
    # WHEN traced THEN they are the same
    traced = support.bash(f'LD_PRELOAD=$LIB "$1" {sink}', PROGRAMS / "semantics", cwd=tmp_path)
    assert traced.visible == plain.visible


def test_the_end_of_a_block_by_realloc_to_zero_is_no_leak(tmp_path):
    support.trace([PROGRAMS / "semantics"], tmp_path / "t", tmp_path / "oracle")
    whole, _ = support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle")
    assert whole["summary"]["leaked_blocks"] == 0, "semantics.c frees all that it allocates"


LOOK = r"""
import os, signal, threading
print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) < 1000))
print({s: signal.getsignal(s) for s in range(1, 65) if s not in (32, 33)})
status = open('/proc/self/status').read().splitlines()
print([line for line in status if line.startswith(('SigB', 'SigI', 'ShdP', 'Threads'))])
# Guards catch SIGABRT, and of a mapped trace SIGBUS; the program's own view is above.
caught = next(int(line.split()[1], 16) for line in status if line.startswith('SigCgt'))
print(hex(caught & ~(1 << signal.SIGBUS - 1 | 1 << signal.SIGABRT - 1)))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), threading.active_count())
print(os.getcwd(), os.umask(0))
pid = os.fork()
if pid == 0:
    print(sorted(int(fd) for fd in os.listdir('/proc/self/fd') if int(fd) < 1000))
    os._exit(5)
print(os.waitpid(pid, 0)[1])
print(os.system('env -u LD_PRELOAD ls /proc/self/fd; exit 3'))
"""


@pytest.mark.parametrize("sink", ["1022>t", "1022> >(cat >t)"])
def test_descriptors_signals_and_children_are_the_same(tmp_path, sink):
    look = 'exec /usr/bin/python3 -u -c "$1"'
    # Descriptor 1022 is the user's own doing: it is there in both.
    plain = support.bash(f"{look} {sink}", LOOK, cwd=tmp_path)
    traced = support.bash(f"LD_PRELOAD=$LIB {look} {sink}", LOOK, cwd=tmp_path)
    assert plain.returncode == 0, plain
    # The pid of the child is the one thing that may differ; nothing prints it.
    assert traced.visible == plain.visible


def test_children_inherit_only_the_descriptor_of_the_user(tmp_path):
    # env still has the library; what it executes has not, and sees what is left.
    script = """LD_PRELOAD=$LIB exec /bin/bash -c '
                    env -u LD_PRELOAD ls /proc/self/fd | sort -n' 1022>"$1" """
    done = support.bash(script, tmp_path / "t")
    numbers = [int(n) for n in done.stdout.split()]
    assert [n for n in numbers if n > 10] == [1022], "0 to 2, what ls opened, and 1022"


def test_programs_over_another_allocator(tmp_path):
    """An allocator preloaded after us, as the oracle is, is called and counted;
    and one that the program brings, as redis-server does with jemalloc."""
    done = support.trace(["redis-server", "--version"], tmp_path / "t", tmp_path / "oracle")
    plain = support.run(["redis-server", "--version"])
    assert done.visible == plain.visible
    support.assert_equals_oracle(tmp_path / "t", tmp_path / "oracle")


def test_server_on_loopback(tmp_path):
    """redis-server, stopped by a signal: leaks nothing of
    what a client stored and deleted, and ends as always."""
    script = '''
        cd "$1"
        # The name of a socket may be no longer than 107 bytes.
        LD_PRELOAD=$LIB redis-server --port 0 --unixsocket s --save "" --daemonize no \
            --logfile log 1022>t &
        until redis-cli -s s ping >/dev/null 2>&1; do kill -0 $! || exit 1; sleep 0.1; done
        for i in $(seq 500); do echo "set key$i $(printf %0200d $i)"; done |
            redis-cli -s s >/dev/null
        redis-cli -s s dbsize; redis-cli -s s flushall
        kill -TERM $!; wait $!; echo "status $?"'''
    done = support.bash(script, tmp_path)
    assert done.stdout == "500\nOK\nstatus 0\n", done
    whole = support.report(tmp_path / "t", "--summary")
    support.assert_sound(whole["audit"])
    assert whole["summary"]["allocations"] > 1500
