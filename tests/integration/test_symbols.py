# SPDX-License-Identifier: MIT
"""Names, files and lines: from every place they may be, and never wrong ones."""
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import threading

import pytest

import support
from support import ANALYZE, PROGRAMS, analyze, run

SHOP = r"""
#include <map>
#include <memory>
#include <string>
#include <vector>
namespace shop {
template <class T> struct Box { T v; };
template <class T> inline __attribute__((always_inline)) Box<T> *wrap(size_t n) {
  return reinterpret_cast<Box<T> *>(new char[n]); }
void *volatile last;
__attribute__((noinline)) void *stock(size_t n) { last = wrap<std::string>(n); return last; }
}
std::map<std::string, std::vector<int>> *kept;
int main() {
  kept = new std::map<std::string, std::vector<int>>;
  (*kept)["a name that is too long for the small string"].push_back(1);
  return !shop::stock(123 * 8);
}
"""


OTHER = """
namespace shop { __attribute__((noinline)) int *stock(int n) { return new int[n]; } }
int grown[99999] = {1};
int main() { return !shop::stock(grown[0]); }
"""


def compile_shop(folder, *flags, compiler="g++", name="shop", source=SHOP):
    (folder / f"{name}.cc").write_text(source)
    done = run([compiler, "-O2", "-g", *flags, f"{name}.cc", "-o", name], cwd=folder)
    assert done.returncode == 0, done
    return folder / name


@pytest.fixture(scope="session")
def shops(tmp_path_factory):
    """Builds of the program: the one, one of a changed source, those without build-id."""
    folder = tmp_path_factory.mktemp("shops")
    for name, source, flags in (("same", SHOP, []), ("other", OTHER, []),
                                ("noid_other", OTHER, ["-Wl,--build-id=none"])):
        (folder / name).mkdir()
        compile_shop(folder / name, *flags, source=source)
    (folder / "noid").mkdir()
    done = run(["objcopy", "--remove-section=.note.gnu.build-id", folder / "same/shop",
                folder / "noid/shop"])
    assert done.returncode == 0, done
    return folder


@pytest.fixture
def shop(shops, tmp_path):
    """A traced C++ program; its objects may be moved away."""
    program = tmp_path / "shop"
    shutil.copy(shops / "same/shop", program)
    support.trace([program], tmp_path / "t")
    return program


def calls(path, size, *options):
    """The (function, base name of file, line, inlined) of the leak of that size."""
    (entry,) = [e for e in support.report(path, "--leaks", *options)["leaks"]
                if e["bytes"] == size]
    return [(f["function"], f["file"] and os.path.basename(f["file"]), f["line"], f["inlined"])
            for f in entry["stack"]]


# ---- bundles

OUTPUTS = [("--leaks",), ("--allocations", "--top", "0", "--frames", "0"), ("--peak",),
           ("--leaks", "--full-names", "--top", "0"), ()]


def test_bundle_tells_the_same_without_any_file(shop, tmp_path):
    # GIVEN a bundle of a trace
    before = [analyze(tmp_path / "t", *options).stdout for options in OUTPUTS]
    assert "shop::stock" in before[0] and "shop.cc:" in before[0] and "(inlined)" in before[0]
    analyze(tmp_path / "t", "--bundle", tmp_path / "b.mlogz")
    # WHEN neither program nor libraries are there any more
    shop.unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "t2").write_bytes((tmp_path / "t").read_bytes())
    gone = analyze(tmp_path / "t2", "--leaks", "--sysroot", tmp_path / "empty").stdout
    assert "shop::stock" not in gone
    # THEN every report is as before
    for options, expected in zip(OUTPUTS, before):
        told = analyze(tmp_path / "b.mlogz", "--sysroot", tmp_path / "empty", *options).stdout
        assert told == expected
    # also of what came through a pipe
    whole = (tmp_path / "b.mlogz").read_bytes()
    assert run([ANALYZE, "-", "--leaks"], input=whole).stdout == before[0]
    # and zstd makes the trace of it again
    done = run(["zstd", "-dc", tmp_path / "b.mlogz"], binary=True)
    assert done.stdout == (tmp_path / "t").read_bytes()


def test_bundle_in_an_empty_root(shop, tmp_path):
    """The same in a root file system that holds nothing but mlog-analyze."""
    before = analyze(tmp_path / "t", "--leaks").stdout
    root = tmp_path / "root"
    needed = re.findall(r"(/\S+) \(0x", run(["ldd", ANALYZE]).stdout)
    for name in [*needed, str(ANALYZE)]:
        to = root / name.lstrip("/") if name != str(ANALYZE) else root / "mlog-analyze"
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, to)
    analyze(tmp_path / "t", "--bundle", root / "b.mlogz")
    enter = [] if os.geteuid() == 0 else ["unshare", "-r"]
    done = run([*enter, shutil.which("chroot") or "/usr/sbin/chroot", root, "/mlog-analyze",
                "/b.mlogz", "--leaks"])
    assert (done.returncode, done.stdout) == (0, before), done


def test_bundle_of_every_input(shop, tmp_path):
    # GIVEN the same trace as a file, compressed, through a FIFO, standard input, a bundle
    plain = (tmp_path / "t").read_bytes()
    assert run(["zstd", "-q", tmp_path / "t"]).returncode == 0
    analyze(tmp_path / "t", "--bundle", tmp_path / "b1")
    analyze(tmp_path / "t.zst", "--bundle", tmp_path / "b2")
    assert run([ANALYZE, "-", "--bundle", tmp_path / "b3"], input=plain).returncode == 0
    os.mkfifo(tmp_path / "fifo")
    feeder = subprocess.Popen(["cp", tmp_path / "t", tmp_path / "fifo"])
    analyze(tmp_path / "fifo", "--bundle", tmp_path / "b4")
    assert feeder.wait() == 0
    shop.unlink()
    analyze(tmp_path / "b1", "--bundle", tmp_path / "b5")
    # THEN all bundles are one
    for i in range(2, 6):
        assert (tmp_path / f"b{i}").read_bytes() == (tmp_path / "b1").read_bytes(), i


def test_bundle_keeps_what_is_not_known(shop, shops, tmp_path):
    """What the audit says of missing objects is the same, too."""
    shop.unlink()
    before = analyze(tmp_path / "t", "--leaks").stdout
    assert f"{shop}: " in before and "was not found" in before
    analyze(tmp_path / "t", "--bundle", tmp_path / "b")
    shutil.copy(shops / "same/shop", shop)
    assert analyze(tmp_path / "b", "--leaks").stdout == before


def test_names_found_later_for_a_bundle(shop, tmp_path):
    """A bundle made where a program was stripped; its debug file is here."""
    debug = tmp_path / "debug"
    debug.mkdir()
    kept = debug / "shop"
    shutil.copy(shop, kept)
    assert run(["strip", shop]).returncode == 0
    analyze(tmp_path / "t", "--bundle", tmp_path / "b")
    assert not calls(tmp_path / "b", 123 * 8)[1][0]
    assert ("shop::stock", "shop.cc", 11, False) in calls(tmp_path / "b", 123 * 8,
                                                          "--debug-dir", debug)


def test_wrong_use_of_bundle(shop, tmp_path):
    for options in (["--json"], ["--leaks"], ["--dump=text"], ["-o", "x"], ["--no-symbols"]):
        done = run([ANALYZE, tmp_path / "t", "--bundle", tmp_path / "b", *options])
        assert done.returncode == 2 and "--bundle" in done.stderr, done
    assert not (tmp_path / "b").exists()
    done = run([ANALYZE, tmp_path / "t", "--bundle", "/nowhere/b"])
    assert done.returncode == 1 and "/nowhere/b" in done.stderr
    if os.path.exists("/dev/full"):
        assert run([ANALYZE, tmp_path / "t", "--bundle", "/dev/full"]).returncode == 1


def test_damaged_bundle(shop, tmp_path):
    """Damage anywhere in the symbols: said, the numbers are right, nothing crashes."""
    analyze(tmp_path / "t", "--bundle", tmp_path / "b")
    whole = bytearray((tmp_path / "b").read_bytes())
    size = int.from_bytes(whole[4:8], "little") + 8
    numbers = support.summary(tmp_path / "b")
    for at in [*range(16, size, size // 24), size - 1]:
        bad = bytearray(whole)
        bad[at] ^= 0x55
        (tmp_path / "bad").write_bytes(bad)
        done = run([ANALYZE, tmp_path / "bad", "--summary", "--json"])
        assert done.returncode == 1 and "symbol data of the bundle" in done.stderr, (at, done)
        assert json.loads(done.stdout)["summary"] == numbers
    # cut within the symbols, or with a size beyond the file: what can be read is
    for bad in (whole[:size // 2], whole[:4] + b"\xff\xff\xff\x7f" + whole[8:], whole[:8]):
        (tmp_path / "bad").write_bytes(bad)
        done = run([ANALYZE, tmp_path / "bad"])
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done
        told = run([ANALYZE, tmp_path / "bad", "--summary", "--json"]).stdout
        assert (json.loads(told)["summary"] == numbers) if done.stdout else told == "", told
    # a frame to skip that is another's
    (tmp_path / "other").write_bytes(whole[:8] + b"notmlogs" + whole[16:])
    assert support.summary(tmp_path / "other") == numbers


def test_hostile_symbols_of_a_bundle(shop, tmp_path):
    """Symbol data that is sound as a zstd frame and wrong inside: refused or used, no crash."""
    analyze(tmp_path / "t", "--bundle", tmp_path / "b")
    whole = (tmp_path / "b").read_bytes()
    size = int.from_bytes(whole[4:8], "little") + 8
    numbers = support.summary(tmp_path / "b")

    def bundle(plain):
        (tmp_path / "plain").write_bytes(plain)
        assert run(["zstd", "-qf1", tmp_path / "plain"]).returncode == 0
        packed = (tmp_path / "plain.zst").read_bytes()
        (tmp_path / "bad").write_bytes(whole[:4] + (len(packed) + 8).to_bytes(4, "little") +
                                       whole[8:16] + packed + whole[size:])
        return run([ANALYZE, tmp_path / "bad", "--json", "--summary", "--leaks"])

    plain = run(["zstd", "-dc"], input=whole[16:size], binary=True).stdout
    assert len(plain) > 500
    done = bundle(plain)
    assert done.returncode == 0 and "shop5stock" in plain.decode("latin1"), done
    dice = random.Random(4711)
    refused = 0
    kinds = [plain[:len(plain) * part // 8] for part in range(8)]
    kinds += [plain[:at] + b"\0" + b"\xff" * 8 + plain[at + 1:] for at in (0, 1, 2, 3)]
    for _ in range(60):
        bad = bytearray(plain)
        for _ in range(1 + dice.randrange(8)):
            bad[dice.randrange(len(bad))] = dice.choice((0, 1, 3, 0x7f, 0x80, 0xfe, 0xff))
        kinds.append(bytes(bad))
    for bad in kinds:
        done = bundle(bad)
        assert done.returncode in (0, 1), done
        assert json.loads(done.stdout)["summary"] == numbers
        refused += done.returncode
        assert (done.returncode == 1) == ("symbol data of the bundle" in done.stderr), done
    assert 12 <= refused < len(kinds)
    # A frame that claims to be vast asks for no memory.
    bomb = bytes.fromhex("28b52ffde0") + (1 << 60).to_bytes(8, "little") + bytes(64)
    (tmp_path / "bad").write_bytes(whole[:4] + (len(bomb) + 8).to_bytes(4, "little") +
                                   whole[8:16] + bomb + whole[size:])
    assert run([ANALYZE, tmp_path / "bad"]).returncode == 1


# ---- generated code

@pytest.fixture
def generated(tmp_path):
    done = support.trace([PROGRAMS / "generated", tmp_path], tmp_path / "t")
    assert done.returncode == 0
    return int(done.stdout), tmp_path / f"perf-{int(done.stdout)}.map"


def generated_names(path, *options):
    return [calls(path, size, *options)[0][0] for size in (123 * 8, 123 * 16)]


GENERATED = ["jit_first", "Script:~second with spaces /a/file.js:7"]


def test_generated_code(generated, tmp_path):
    assert generated_names(tmp_path / "t") == [None, None]
    text = analyze(tmp_path / "t", "--leaks").stdout
    assert f"[code in no file, pid {generated[0]}]: 2 of 2 frames have no name" in text
    assert generated_names(tmp_path / "t", "--perf-map", tmp_path) == GENERATED
    text = analyze(tmp_path / "t", "--leaks", "--perf-map", tmp_path).stdout
    assert "no name" not in text
    # A bundle holds the names.
    analyze(tmp_path / "t", "--bundle", tmp_path / "b", "--perf-map", tmp_path)
    generated[1].unlink()
    assert generated_names(tmp_path / "b") == GENERATED


def test_generated_code_in_the_usual_place(tmp_path):
    done = support.trace([PROGRAMS / "generated", "/tmp"], tmp_path / "t")
    try:
        assert generated_names(tmp_path / "t") == GENERATED
        (tmp_path / "root/tmp").mkdir(parents=True)
        assert generated_names(tmp_path / "t", "--sysroot", tmp_path / "root") == [None, None]
    finally:
        os.unlink(f"/tmp/perf-{int(done.stdout)}.map")


@pytest.mark.parametrize("how", ["link", "fifo", "folder", "older", "owner"])
def test_maps_that_are_not_trusted(generated, tmp_path, how):
    path = generated[1]
    whole = path.read_text()
    if how == "older":
        os.utime(path, (1e9, 1e9))  # of an earlier process of that pid
    elif how == "owner":
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(path, 4711, -1)
    else:
        path.unlink()
        (tmp_path / "real").write_text(whole)
        {"link": lambda: path.symlink_to(tmp_path / "real"),
         "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[how]()
    if how == "owner":
        # root, who may read everything, trusts itself alone
        assert generated_names(tmp_path / "t", "--perf-map", tmp_path) == [None, None]
    text = analyze(tmp_path / "t", "--leaks", "--perf-map", tmp_path).stdout
    assert "its perf map belongs to somebody else, is too old" in text
    assert "jit_first" not in text


def test_generated_code_of_node(tmp_path):
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    # GIVEN a script that keeps 50 buffers
    script = ("function keeps(i) { return Buffer.allocUnsafeSlow(123456 + i) }; let kept = [];"
              "for (let i = 0; i < 50; i++) kept.push(keeps(i)); console.log(process.pid)")
    done = support.trace([node, "--perf-basic-prof", "--interpreted-frames-native-stack", "-e",
                          script], tmp_path / "t", cwd=tmp_path)
    try:
        (pid,) = re.findall(r"^\d+$", done.stdout, re.M)
        whole = support.report(tmp_path / "t", "--allocations")
    finally:
        for path in pathlib.Path("/tmp").glob(f"perf-{done.stdout.strip() or 'x'}.map"):
            path.unlink()
    frames = [f for e in whole["allocations"] for f in e["stack"]]
    names = {f["function"] for f in frames}
    if all(f["module"] for f in frames):
        # Debian's node: they end in its assembly, which has no unwind information, and it is said.
        assert whole["audit"]["truncated_stacks"]["no_rule"] > 0
        return
    # THEN frames of generated code have the names that node gave them
    assert [name for name in names if name and re.match(r"(JS|Builtin|BytecodeHandler|"
            r"LazyCompile|Function|Script):", name)], sorted(filter(None, names))[:50]


# ---- the wrong file

def test_rebuilt_program_is_named_and_not_used(shop, shops, tmp_path):
    shutil.copy(shops / "other/shop", shop)
    text = analyze(tmp_path / "t", "--leaks").stdout
    assert "shop::" not in text
    assert f"{shop}: " in text and "is another build and was not used" in text
    assert f"{shop} is not what ran" in text
    whole = support.report(tmp_path / "t", "--leaks")
    (module,) = [m for m in whole["audit"]["unresolved_modules"] if m["module"] == str(shop)]
    assert module["reason"] == "is another build and was not used"


def test_without_build_ids(shops, tmp_path):
    # GIVEN a program without a build-id
    program = tmp_path / "shop"
    shutil.copy(shops / "noid/shop", program)
    support.trace([program], tmp_path / "t")
    # THEN its names are told, and that nothing vouches for them
    assert ("shop::stock", "shop.cc", 11, False) in calls(tmp_path / "t", 123 * 8)
    text = analyze(tmp_path / "t", "--leaks").stdout
    assert f"{program} has no build-id" in text
    assert support.report(tmp_path / "t", "--leaks")["audit"]["unverified_modules"] == [
        str(program)]
    analyze(tmp_path / "t", "--bundle", tmp_path / "b")
    # WHEN it was built again, another size
    shutil.copy(shops / "noid_other/shop", program)
    # THEN it is not used
    text = analyze(tmp_path / "t", "--leaks").stdout
    assert "shop::stock" not in text and "is another build and was not used" in text
    # The bundle says what it said.
    text = analyze(tmp_path / "b", "--leaks").stdout
    assert "shop::stock" in text and f"{program} has no build-id" in text


def test_stripped_by_degrees(shop, tmp_path):
    """Everything; then exported and minidebuginfo names; then addresses."""
    full = tmp_path / "full"
    shutil.copy(shop, full)
    assert run(["strip", shop]).returncode == 0
    stripped = analyze(tmp_path / "t", "--leaks").stdout
    assert re.search(r"\bshop\+0x[0-9a-f]+", stripped) and "shop::stock" not in stripped
    # minidebuginfo: the function symbols, packed with xz
    done = support.bash(
        'cd "$1" && nm full --format=posix --defined-only | awk \'$2 ~ /[tT]/ { print $1 }\' >keep '
        "&& objcopy -S --remove-section .gnu_debuglink --keep-symbols=keep full mini "
        "&& rm -f mini.xz && xz mini && objcopy --add-section .gnu_debugdata=mini.xz shop",
        tmp_path)
    assert done.returncode == 0, done
    assert "shop::stock" in analyze(tmp_path / "t", "--leaks").stdout


# ---- debug files from servers

class Server:
    """A debuginfod server for one file, on the loopback; `asked` are the paths asked for."""

    def __init__(self, build_id, path, mute=False, status=None):
        self.asked, self.mute = [], mute
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked.append(self.path)
                if owner.mute:
                    owner.over.wait(support.TIME_LIMIT)
                    return
                known = self.path == f"/buildid/{build_id}/debuginfo"
                if status or not known:
                    self.send_error(status or 404)
                    return
                data = path.read_bytes()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.over = threading.Event()
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.over.set()
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def served(shop, tmp_path):
    """The program stripped, its debug file elsewhere; start(**kwargs) starts a server for it."""
    debug = tmp_path / "elsewhere.debug"
    assert run(["objcopy", "--only-keep-debug", shop, debug]).returncode == 0
    notes = run(["readelf", "-n", shop]).stdout
    assert run(["strip", shop]).returncode == 0
    servers = []

    def start(**kwargs):
        servers.append(Server(re.search(r"Build ID: (\w+)", notes)[1], debug, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ask(tmp_path, *args, status=0, **env):
    env = support.clean_environment(DEBUGINFOD_CACHE_PATH=tmp_path / "fetched", **env)
    return analyze(tmp_path / "t", "--leaks", *args, status=status, env=env).stdout


def test_debug_files_are_fetched(served, tmp_path):
    # GIVEN a server with the debug file WHEN it is not named THEN it is not asked
    server = served()
    assert "shop::stock" not in ask(tmp_path) and not server.asked
    assert "shop::stock" not in ask(tmp_path, DEBUGINFOD_URLS="") and not server.asked
    # WHEN it is named, after one that has nothing
    nothing = served(status=404)
    text = ask(tmp_path, DEBUGINFOD_URLS=f"{nothing.url} {server.url}")
    # THEN all of the file's names are told
    assert "shop::stock" in text and "shop.cc:11" in text and "(inlined)" in text
    # and the file is fetched once
    assert len([path for path in server.asked if path.endswith("debuginfo")]) >= 1
    server.asked.clear()
    assert ask(tmp_path, DEBUGINFOD_URLS=server.url) == text
    assert not server.asked


def test_server_with_another_file(served, tmp_path):
    """What is fetched is held against the build-id."""
    server = served()
    wrong = tmp_path / "elsewhere.debug"
    assert run(["objcopy", "--only-keep-debug", PROGRAMS / "functions", wrong]).returncode == 0
    assert "shop" in ask(tmp_path, DEBUGINFOD_URLS=server.url)
    assert "shop::stock" not in ask(tmp_path, DEBUGINFOD_URLS=server.url)
    assert server.asked


@pytest.mark.parametrize("how", ["mute", "closed"])
def test_dead_server(served, tmp_path, how):
    """Asked once, whatever the number of objects without debug file; said once."""
    server = served(mute=how == "mute")
    url = server.url
    if how == "closed":
        server.close()
    text = ask(tmp_path, DEBUGINFOD_URLS=url, DEBUGINFOD_TIMEOUT="1",
               DEBUGINFOD_RETRY_LIMIT="1")
    assert "call_init" in text or "operator new" in text
    said = [line for line in text.splitlines() if "debuginfod server" in line.lower()]
    assert len(said) == 1 and said[0].endswith("asked again."), text
    assert len(server.asked) <= 1, server.asked


# ---- names kept from run to run

@pytest.fixture
def cached(shop, tmp_path):
    """The report that the cache was made by, its file, and a function that reports again."""
    def again(*options, **env):
        env = support.clean_environment(**{"XDG_CACHE_HOME": tmp_path / "cache", **env})
        return analyze(tmp_path / "t", "--leaks", *options, env=env).stdout

    first = again()
    notes = run(["readelf", "-n", shop]).stdout
    (kept,) = (tmp_path / "cache/mlog").glob(re.search(r"Build ID: (\w+)", notes)[1] + "*")
    return first, kept, again


def spoil_debug_information(path):
    """Overwrites .debug_info, leaving size and time of the file as they are."""
    sections = run(["readelf", "-SW", path]).stdout
    offset, size = re.search(r" \.debug_info +PROGBITS +\w+ (\w+) (\w+)", sections).groups()
    status = path.stat()
    with open(path, "r+b") as file:
        file.seek(int(offset, 16))
        file.write(b"\xff" * int(size, 16))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_names_are_kept(cached, shop, tmp_path):
    first, _, again = cached
    assert "shop::stock" in first and "(inlined)" in first
    # WHEN the program's debug information is spoiled in a way that nobody can see
    spoil_debug_information(shop)
    # THEN the kept names are told; the others as the file has them now
    assert again() == first
    assert again("--full-names") != first
    assert "(inlined)" not in again("--no-cache").split("shop::stock")[1][:200]
    # and a file that was touched since has names of its own
    os.utime(shop)
    assert again() != first


def test_no_cache_keeps_nothing(shop, tmp_path):
    analyze(tmp_path / "t", "--no-cache",
            env=support.clean_environment(XDG_CACHE_HOME=tmp_path / "cache"))
    assert not (tmp_path / "cache").exists()


def test_damaged_cache(cached, tmp_path):
    """Whatever is in the file, the report is the same."""
    first, kept, again = cached
    whole = kept.read_bytes()
    for bad in (b"", b"\0", whole[:-1], whole[:len(whole) // 2], whole + whole, b"\x28" * 4096,
                *(whole[:i] + bytes([whole[i] ^ 0x40]) + whole[i + 1:]
                  for i in range(0, len(whole), len(whole) // 16))):
        kept.write_bytes(bad)
        assert again() == first
    # What is no regular file of the user's own is let alone.
    kept.unlink()
    os.mkfifo(kept)
    assert again() == first
    kept.unlink(missing_ok=True)
    (tmp_path / "real").write_bytes(whole)
    kept.symlink_to(tmp_path / "real")
    assert again() == first
    assert (tmp_path / "real").read_bytes() == whole


def test_cache_that_others_may_write(cached, shop):
    first, kept, again = cached
    spoil_debug_information(shop)
    kept.parent.chmod(0o777)
    assert again() != first
    kept.parent.chmod(0o700)
    assert again() == first
    if os.geteuid() == 0:
        os.chown(kept, 4711, -1)
        assert again() != first


def test_cache_is_bounded(cached):
    first, kept, again = cached
    kept.unlink()
    for i in range(20):
        with open(kept.parent / f"{i:040x}-0000000000000000.syms", "w") as file:
            file.truncate(20 << 20)
        os.utime(file.name, (1e9 + i, 1e9 + i))
    assert again() == first
    sizes = {path.name: path.stat().st_size for path in kept.parent.iterdir()}
    assert sum(sizes.values()) <= 256 << 20
    assert kept.name in sizes and f"{19:040x}-0000000000000000.syms" in sizes
    assert f"{0:040x}-0000000000000000.syms" not in sizes


def test_cache_of_runs_at_the_same_time(shop, tmp_path):
    env = support.clean_environment(XDG_CACHE_HOME=tmp_path / "cache")
    runs = [subprocess.Popen([ANALYZE, tmp_path / "t", "--leaks"], env=env,
                             stdout=subprocess.PIPE) for _ in range(6)]
    outputs = {one.communicate(timeout=support.TIME_LIMIT)[0] for one in runs}
    assert len(outputs) == 1
    assert all(path.suffix == ".syms" for path in (tmp_path / "cache/mlog").iterdir())


@pytest.mark.parametrize("place", ["/dev/null", "/proc/self", "relative", ""])
def test_no_place_for_a_cache(shop, tmp_path, place):
    expected = analyze(tmp_path / "t", "--leaks", "--no-cache").stdout
    env = support.clean_environment(XDG_CACHE_HOME=place, HOME="/dev/null")
    assert analyze(tmp_path / "t", "--leaks", env=env, cwd=tmp_path).stdout == expected
    assert not (tmp_path / "relative").exists()
