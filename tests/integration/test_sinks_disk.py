# SPDX-License-Identifier: MIT
"""Files on disks that fill, that are odd, that are cut or taken away: the
program never notices. Real mounts, in a mount namespace of their own."""
import json
import os
import pathlib
import struct
import subprocess

import pytest

import support
from support import LIBRARY, PROGRAMS, bash
from test_sinks import check_churn, same_output

# Each sets up $1, an empty folder, as a file system of some MiB; a small one
# leaves half a MiB free.
OVERLAY = 'f=$1.fs; mkdir "$f/lower" "$f/upper" "$f/work"; ' \
          'mount -t overlay -o "lowerdir=$f/lower,upperdir=$f/upper,workdir=$f/work" none "$1"'
MOUNTS = {
    "tmpfs": 'mount -t tmpfs -o size=16m none "$1"',
    "ext4": 'truncate -s 16m "$1.img"; mkfs.ext4 -q "$1.img"; mount -o loop "$1.img" "$1"',
    # no fallocate
    "ext2": 'truncate -s 16m "$1.img"; mkfs.ext2 -q -b 1024 "$1.img"; mount -o loop "$1.img" "$1"',
    "overlay": 'mkdir "$1.fs"; mount -t tmpfs -o size=16m none "$1.fs"; ' + OVERLAY,
    # promises no space: written, not mapped
    "btrfs": 'truncate -s 120m "$1.img"; mkfs.btrfs -q "$1.img" >"$1.log"; mount -o loop "$1.img" "$1"',
    "overlay on btrfs": 'truncate -s 120m "$1.img"; mkfs.btrfs -q "$1.img" >"$1.log"; '
                        'mkdir "$1.fs"; mount -o loop "$1.img" "$1.fs"; ' + OVERLAY,
}
FILL = 'free=$(( $(stat -f -c "%a * %S" "$1") / 1024 - 512 )); ' \
       '[ "$free" -le 0 ] || head -c "${free}K" /dev/zero >"$1/fill"; sync "$1"; '


def may_mount():
    return subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"],
                          capture_output=True, check=False).returncode == 0


needs_mount = pytest.mark.skipif(not may_mount(), reason="no right to mount here")


def on_mount(folder, mount, script, *args, env=None):
    """Run the script with $1 the mounted folder and $2 … args."""
    folder.mkdir()
    inside = f"set -e; {mount}; set +e; {script}"
    return bash('exec unshare -m bash -c "$0" bash "$@"'.replace("$0", "${@: -1}"),
                folder, *args, inside, env=env)


@needs_mount
@pytest.mark.parametrize("way", ["map", "write", "zstd"])
@pytest.mark.parametrize("kind", MOUNTS)
def test_file_systems(tmp_path, kind, way):
    env = {"map": {}, "write": {"MLOG_FILE": "write"}, "zstd": {"MLOG_COMPRESS": "zstd"}}[way]
    script = 'LD_PRELOAD=$LIB "$2" 20000 1022>"$1/t"; status=$?; cat "$1/t" >"$3"; exit $status'
    done = on_mount(tmp_path / "m", MOUNTS[kind], script, PROGRAMS / "churn", tmp_path / "t",
                    env=support.clean_environment(**env))
    same_output(done)
    check_churn(tmp_path / "t")
    start = (tmp_path / "t").read_bytes()[:13]
    if way == "zstd":
        assert start[:4] == b"\x28\xb5\x2f\xfd"
    else:
        assert start[12] == (2 if way == "write" or "btrfs" in kind else 1), "mapped or written"


@needs_mount
@pytest.mark.parametrize("way", ["map", "write"])
@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "ext2", "overlay"])
def test_full_disks(tmp_path, kind, way):
    script = FILL + '''LD_PRELOAD=$LIB "$2" 400000 1022>"$1/t"; status=$?
                       cat "$1/t" >"$3"; exit $status'''
    done = on_mount(tmp_path / "m", MOUNTS[kind], script, PROGRAMS / "churn", tmp_path / "t",
                    env=support.clean_environment(MLOG_FILE=way))
    same_output(done)
    read = support.run([support.ANALYZE, tmp_path / "t", "--summary", "--json"])
    whole = json.loads(read.stdout)
    assert 1000 < whole["summary"]["calls"]["malloc"] < 400000
    if way == "map":
        assert read.returncode == 1 and whole["audit"]["stopped"] == "sink full"


@needs_mount
@pytest.mark.parametrize("kind", ["tmpfs", "ext4", "ext2", "overlay"])
def test_killed_between_the_claim_of_space_and_its_reservation(tmp_path, kind):
    """However space is reserved, what was claimed alone is no cut."""
    script = 'LD_PRELOAD=$LIB "$2" 20000 1022>"$1/t"; status=$?; cat "$1/t" >"$3"; exit $status'
    same_output(on_mount(tmp_path / "m", MOUNTS[kind], script, PROGRAMS / "churn", tmp_path / "t"))
    data = bytearray((tmp_path / "t").read_bytes())
    claimed, reserved = struct.unpack_from("<QQ", data, 40)
    assert (claimed + 1) * 4096 <= reserved == len(data)
    struct.pack_into("<Q", data, 40, len(data) // 4096 - 1 + 16)
    (tmp_path / "t").write_bytes(data)
    check_churn(tmp_path / "t")


@needs_mount
def test_disk_that_is_full_from_the_start(tmp_path):
    script = FILL.replace("- 512", "+ 9999") + '''LD_PRELOAD=$LIB exec "$2" 1000 1022>"$1/t"'''
    done = on_mount(tmp_path / "m", MOUNTS["tmpfs"], script, PROGRAMS / "churn")
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (7, ["done"])
    ours = [line for line in done.stderr.splitlines() if "mlog" in line]
    assert len(ours) == 1 and "no space" in ours[0]


@needs_mount
def test_quota(tmp_path):
    """A quota of 1 MiB: btrfs keeps them for root, too."""
    mount = MOUNTS["btrfs"] + '''; btrfs quota enable "$1"; btrfs subvolume create "$1/s" >"$1.log"
                                 btrfs qgroup limit 1M "$1/s"'''
    script = '''LD_PRELOAD=$LIB "$2" 2000000 1022>"$1/s/t"; status=$?
                cat "$1/s/t" >"$3"; exit $status'''
    done = on_mount(tmp_path / "m", mount, script, PROGRAMS / "churn", tmp_path / "t")
    same_output(done)
    whole = json.loads(support.run([support.ANALYZE, tmp_path / "t", "--summary",
                                    "--json"]).stdout)
    assert 1000 < whole["summary"]["calls"]["malloc"] < 2000000


@pytest.mark.parametrize("error", ["EDQUOT", "ENOSPC", "EFBIG", "EIO"])
def test_space_that_is_refused_to_a_mapped_file(tmp_path, error):
    script = f'''exec strace -f -o "$3" -e trace=fallocate \
                 -e inject=fallocate:error={error}:when=3+ -E LD_PRELOAD="$LIB" "$1" 400000 \
                 1022>"$2"'''
    same_output(bash(script, PROGRAMS / "churn", tmp_path / "t", tmp_path / "log"))
    assert "INJECTED" in (tmp_path / "log").read_text()
    whole = json.loads(support.analyze(tmp_path / "t", "--summary", "--json", status=1).stdout)
    assert 1000 < whole["summary"]["calls"]["malloc"] < 400000
    assert whole["audit"]["stopped"] == "sink full"


@pytest.mark.parametrize("way", ["map", "write"])
def test_limit_of_file_size(tmp_path, way):
    """The kernel would send SIGXFSZ, which ends a program."""
    env = support.clean_environment(MLOG_FILE=way)
    done = bash('ulimit -f 512; LD_PRELOAD=$LIB exec "$1" 400000 1022>"$2"', PROGRAMS / "churn",
                tmp_path / "t", env=env)
    same_output(done)
    assert (tmp_path / "t").stat().st_size <= 512 * 1024
    read = support.run([support.ANALYZE, tmp_path / "t", "--summary", "--json"])
    assert json.loads(read.stdout)["summary"]["calls"]["malloc"] > 1000


def test_limit_of_file_size_that_leaves_no_room_at_all(tmp_path):
    done = bash('ulimit -f 8; LD_PRELOAD=$LIB exec "$1" 1000 1022>"$2"', PROGRAMS / "churn",
                tmp_path / "t")
    assert (done.returncode, done.stdout) == (7, "done\n")
    assert len(done.stderr.splitlines()) == 1 and "no space" in done.stderr


@pytest.fixture
def everybodys():
    """The library and churn where nobody, too, may read them."""
    copies = []
    for name, source in (("lib.so", LIBRARY), ("churn", PROGRAMS / "churn")):
        copies.append(pathlib.Path(f"/dev/shm/mlog-test-{os.getpid()}-{name}"))
        copies[-1].write_bytes(source.read_bytes())
        copies[-1].chmod(0o755)
    yield copies
    for copy in copies:
        copy.unlink()


AS_NOBODY = "setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all env"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_file_that_may_not_be_opened_again(tmp_path, everybodys):
    """Opened by root, the program runs as nobody: written, not mapped."""
    done = bash(f'''umask 077; cd /; exec {AS_NOBODY} LD_PRELOAD="$2" "$3" 20000 1022>"$1"''',
                tmp_path / "t", *everybodys)
    same_output(done)
    check_churn(tmp_path / "t")
    assert (tmp_path / "t").read_bytes()[12] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_file_that_others_map_and_this_process_may_not_open(tmp_path, everybodys):
    """What a sandboxed child wrote would fall on its parent's chunks."""
    done = bash(f'''umask 077; cd /; exec 1022>"$1"; LD_PRELOAD="$2" "$3" 20000 >/dev/null
                   exec {AS_NOBODY} LD_PRELOAD="$2" "$3" 20000''', tmp_path / "t", *everybodys)
    assert done.visible[:2] == (7, "done\n")
    assert done.stderr == ("mlog: descriptor 1022 is a file that this process may not open, and "
                           "others write to it, not tracing\n")
    check_churn(tmp_path / "t")


@pytest.mark.parametrize("way", ["map", "write"])
def test_file_that_is_deleted(tmp_path, way):
    done = bash('''exec 1022<>"$2"; rm "$2"; LD_PRELOAD=$LIB "$1" 20000; status=$?
                   cat /proc/self/fd/1022 >"$3"; exit $status''', PROGRAMS / "churn",
                tmp_path / "gone", tmp_path / "t", env=support.clean_environment(MLOG_FILE=way))
    same_output(done)
    check_churn(tmp_path / "t")


def test_deleted_file_of_a_program_that_closes_what_it_does_not_know(tmp_path):
    """The library's own descriptor is closed: it opens the file by 1022."""
    code = ("import os\n"
            "x = [bytes(600 + i) for i in range(2000)]\n"
            "os.closerange(3, 1022); os.closerange(1023, 4096)\n"
            "x += [bytes(600 + i) for i in range(20000)]\n"
            "print(len(x), flush=True); os._exit(7)\n")
    done = bash('''exec 1022<>"$1"; rm "$1"; LD_PRELOAD=$LIB /usr/bin/python3 -c "$3"; status=$?
                   cat /proc/self/fd/1022 >"$2"; exit $status''', tmp_path / "gone",
                tmp_path / "t", code)
    assert done.visible == (7, "22000\n", "")
    whole = support.report(tmp_path / "t", "--summary")
    assert whole["summary"]["leaked_bytes"] > 22000 * 600
    assert whole["audit"]["stopped"] is None


def run_cut(tmp_path, cut, **env):
    """The program `cut`, whose trace is cut by `cut(path)` in its pause."""
    path = tmp_path / "t"
    process = subprocess.Popen(
        ["bash", "-c", 'LD_PRELOAD=$1 exec "$2" 1022>"$3"', "bash", str(LIBRARY),
         str(PROGRAMS / "cut"), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=support.clean_environment(**env))
    assert process.stdout.readline() == b"ready\n"
    cut(path)
    out, err = process.communicate(b"\n", timeout=support.TIME_LIMIT)
    return process.returncode, out, err


FINE = (7, b"done\n", b"")


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_mapped_file_that_is_cut(tmp_path, size):
    """The next chunk that begins finds it out, and no thread stores any more."""
    assert run_cut(tmp_path, lambda path: os.truncate(path, size)) == FINE
    assert (tmp_path / "t").stat().st_size == size


def test_mapped_file_that_is_cut_and_begun_again_by_another_run(tmp_path):
    def again(path):
        same_output(bash('LD_PRELOAD=$LIB exec "$1" 20000 1022>"$2"', PROGRAMS / "churn", path))
    assert run_cut(tmp_path, again) == FINE
    check_churn(tmp_path / "t")


def test_mapped_file_whose_unused_end_is_cut_off(tmp_path):
    def unused(path):
        claimed = struct.unpack_from("<Q", path.read_bytes(), 40)[0]
        assert path.stat().st_size > (claimed + 1) * 4096
        os.truncate(path, (claimed + 1) * 4096)
    assert run_cut(tmp_path, unused) == FINE
    summary = support.report(tmp_path / "t", "--summary")["summary"]
    assert summary["calls"]["free"] >= 200000


@pytest.mark.parametrize("compress", ["none", "zstd"])
def test_written_file_that_is_cut(tmp_path, compress):
    """With MLOG_FILE=write there is no moment at which it harms."""
    path = tmp_path / "t"
    process = subprocess.Popen(
        ["bash", "-c", 'LD_PRELOAD=$1 exec "$2" 4 100000 1022>"$3"', "bash", str(LIBRARY),
         str(PROGRAMS / "threads"), str(path)],
        env=support.clean_environment(MLOG_FILE="write", MLOG_COMPRESS=compress),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None:
        if path.exists():
            os.truncate(path, 0)
    out, err = process.communicate()
    assert (process.returncode, out, err) == (0, b"", b"")


def test_written_file_survives_a_kill(tmp_path):
    done = bash('LD_PRELOAD=$LIB "$1" 100000 kill 1022>"$2"; exit $?', PROGRAMS / "churn",
                tmp_path / "t", env=support.clean_environment(MLOG_FILE="write"))
    assert done.returncode == 128 + 9
    summary = support.report(tmp_path / "t", "--summary")["summary"]
    # at most a buffer of 64 KiB is lost, of some 5 bytes an event
    assert 100000 - 30000 < summary["calls"]["malloc"] <= 100003


def test_a_file_stays_what_it_is(tmp_path):
    """Continued with other settings, a written trace is written on, a mapped
    one mapped, a compressed one compressed."""
    ways = [{}, {"MLOG_FILE": "write"}, {"MLOG_COMPRESS": "zstd"}]
    for i, first in enumerate(ways):
        for k, second in enumerate(ways):
            path = tmp_path / f"t{i}{k}"
            for env in (first, second):
                same_output(bash('LD_PRELOAD=$LIB exec "$1" 20000 1022>>"$2"', PROGRAMS / "churn",
                                 path, env=support.clean_environment(**env)))
            check_churn(path, times=2)
