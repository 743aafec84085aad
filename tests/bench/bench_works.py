# SPDX-License-Identifier: MIT
"""The workloads, and the inputs that they are given, made here so that they are
the same everywhere. Sizes aim at half a second to a second untraced; `scale`
shrinks them. An input is written anew for each run of the benchmark.
"""
import dataclasses
import os
import pathlib
import shlex
import shutil
import socket
import subprocess
import time
import typing

MICRO_SIZES = (8, 16, 256, 512, 4096, 16384)
TREE_DEPTHS = (20, 100)
TREE_THREADS = (1, 2, 4, 8)
QUICK_SIZES, QUICK_THREADS = (16, 4096), (1, 2)


@dataclasses.dataclass
class Work:
    name: str
    group: str                      # program, malloc, realloc, tree
    argv: list
    what: str = ""
    env: dict = dataclasses.field(default_factory=dict)
    stdin: typing.Optional[str] = None
    cwd: typing.Optional[str] = None
    serve: typing.Optional[typing.Callable] = None   # the load; returns wall seconds
    weight: float = 1.0


def write(path, text):
    path.write_text(text)
    return str(path)


SQL = """
PRAGMA journal_mode=off; PRAGMA synchronous=off;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, tags TEXT);
CREATE TABLE sale(item INTEGER, day TEXT, amount INTEGER);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < {rows})
  INSERT INTO item SELECT i, printf('item %05d', (i * 7919) % {rows}), i * 1.25 % 97,
    json_array('t' || i % 13, 't' || i % 7) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < {rows} * 3)
  INSERT INTO sale SELECT (i * 31) % {rows} + 1, date('2020-01-01', '+' || i % 700 || ' days'),
    i % 17 FROM n;
CREATE INDEX by_name ON item(name);
CREATE INDEX by_item ON sale(item, day);
SELECT upper(substr(name, 1, 6)), count(*), group_concat(id % 10) FROM item GROUP BY 1 LIMIT 3;
SELECT strftime('%Y-%m', day) AS month, sum(amount), avg(price) FROM sale JOIN item
  ON item.id = sale.item GROUP BY month ORDER BY 2 DESC LIMIT 3;
SELECT count(*) FROM item, json_each(item.tags) WHERE json_each.value LIKE 't1%';
UPDATE item SET name = replace(name, 'item', 'thing') || ' ' || length(tags) WHERE id % 3 = 0;
SELECT count(DISTINCT name), max(lower(name)) FROM item;
DELETE FROM sale WHERE item IN (SELECT id FROM item WHERE name LIKE 'thing%' LIMIT 500);
"""


def sqlite3(tmp, scale):
    text = SQL.format(rows=int(14000 * scale) + 10)
    text += "".join(f"SELECT name, (SELECT sum(amount) FROM sale WHERE item = id) AS s{i} "
                    f"FROM item WHERE id IN ({i}, {i * 2}, {i * 3}) ORDER BY s{i};\n"
                    for i in range(1, int(4000 * scale)))
    return Work("sqlite3", "program", [shutil.which("sqlite3"), ":memory:"],
                "a script of 4,000 statements, in memory", stdin=write(tmp / "load.sql", text))


PYTHON = """
import ast, difflib, json, os, re, sys, textwrap, tokenize
folder = os.path.dirname(ast.__file__)
class Item:
    def __init__(self, name, count):
        self.name, self.count, self.tags = name, count, {}
    def describe(self):
        return "%s %d %s" % (self.name, self.count, sorted(self.tags))
def words(text):
    items = {}
    for number, line in enumerate(text.splitlines()):
        for word in re.findall(r"[A-Za-z_]+", line):
            item = items.setdefault(word.lower(), Item(word, 0))
            item.count += 1
            item.tags.setdefault(len(line) % 7, []).append(number)
    return items
for turn in range(max(1, round(4 * float(sys.argv[1])))):
    for name in ("textwrap", "json/decoder", "difflib"):
        with tokenize.open(os.path.join(folder, name + ".py")) as file:
            text = file.read()
        items = words(text)
        table = {i.name: [i.count, list(i.tags.items())] for i in items.values()}
        again = json.loads(json.dumps(table, indent=1))
        ranked = sorted(items.values(), key=lambda i: (-i.count, i.name))
        "\\n".join(textwrap.wrap(" ".join(i.describe() for i in ranked), 60))
        lines = text.splitlines()
        list(difflib.unified_diff(lines[:200], [l.replace("self", "this") for l in lines[:200]]))
    tree = ast.parse(text)
    {type(n).__name__ for n in ast.walk(tree)}
"""


def python3(tmp, scale):
    return Work("python3", "program",
                ["/usr/bin/python3", "-S", write(tmp / "load.py", PYTHON), str(scale)],
                "words, JSON, text and one syntax tree of modules of its own; PYTHONMALLOC=malloc",
                env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0",
                     "PYTHONDONTWRITEBYTECODE": "1"})


PERL = """
use strict; use warnings;
my ($n, %words, @lines) = ($ARGV[0]);
for my $i (1 .. $n) {
    my $line = join ' ', map { "w" . (($i * 31 + $_ * 7) % 997) } 1 .. 12;
    $words{$_}{count}++ for split / /, $line;
    (my $other = $line) =~ s/w(\\d)(\\d*)/$2-$1/g;
    push @lines, { text => $other, size => length $line, parts => [split /-/, $other] };
}
my @sorted = sort { $a->{text} cmp $b->{text} || $a->{size} <=> $b->{size} } @lines;
my $out = '';
$out .= sprintf "%s %d\\n", $_, $words{$_}{count} for sort keys %words;
my %by = map { $_->{text} => [reverse @{$_->{parts}}] } @sorted[0 .. $#sorted / 2];
print length($out) + keys(%by), "\\n";
"""


def perl(tmp, scale):
    return Work("perl", "program",
                [shutil.which("perl"), write(tmp / "load.pl", PERL), str(int(22000 * scale) + 10)],
                "hashes, regular expressions, a sort")


CXX = """
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>
template <int N> struct stage {
    std::map<std::string, std::vector<std::shared_ptr<stage<N - 1>>>> inner;
    std::unordered_map<int, std::function<int(int)>> calls;
    int run(int x) {
        calls[N] = [this, x](int y) { return x + y + int(inner.size()); };
        inner["s" + std::to_string(N)].push_back(std::make_shared<stage<N - 1>>());
        auto &v = inner.begin()->second;
        std::sort(v.begin(), v.end());
        return calls[N](v.front()->run(x + 1));
    }
};
template <> struct stage<0> { int run(int x) { return x; } };
int main(int argc, char **argv) {
    std::ostringstream out;
    out << stage<STAGES>().run(argc);
    std::cout << out.str();
}
"""


def compiler_command(argv, word):
    """The one compiler proper that a driver would run (its own -### says)."""
    said = subprocess.run([*argv, "-###"], capture_output=True, text=True, check=True).stderr
    for line in said.splitlines():
        words = shlex.split(line) if word in line else []
        if word in words or (words and os.path.basename(words[0]) == word):
            return words
    raise RuntimeError(f"{argv[0]} -### does not name {word}")


def cc1plus(tmp, scale):
    source = write(tmp / "load-gcc.cc", CXX.replace("STAGES", str(int(3 * scale) + 1)))
    argv = compiler_command(["g++", "-std=c++17", "-O1", "-S", "-o", os.devnull, source],
                            "cc1plus")
    return Work("cc1plus", "program", argv, "g++ -O1 -S of templates and nine headers; "
                "cc1plus alone, not its driver")


def clang(tmp, scale):
    source = write(tmp / "load-clang.cc", CXX.replace("STAGES", str(int(2 * scale) + 1)))
    argv = compiler_command(["clang++", "-std=c++17", "-O1", "-S", "-o", os.devnull, source],
                            "-cc1")
    return Work("clang", "program", argv, "clang++ -O1 -S of the same; the compiler proper alone")


def git(tmp, scale):
    """A repository of a few hundred commits to forty files, in one pack."""
    folder = tmp / "repository"
    git_env = {"PATH": os.environ["PATH"], "HOME": str(tmp), "GIT_CONFIG_NOSYSTEM": "1"}
    run = lambda *argv, **more: subprocess.run(  # noqa: E731
        ["git", "-C", str(folder), *argv], check=True, env=git_env,
        stdout=subprocess.DEVNULL, **more)
    folder.mkdir()
    run("init", "-q", "-b", "main")
    files = [[f"line {i} of file {f}, {i * 37 % 101}" for i in range(300)] for f in range(40)]
    stream = []
    for commit in range(int(900 * scale) + 5):
        stream.append(f"commit refs/heads/main\ncommitter A <a@example.org> "
                      f"{1600000000 + commit * 100} +0000\ndata 9\nchange {commit % 10}\n")
        touched = range(40) if commit == 0 else ((commit * 7 + k * 11) % 40 for k in range(3))
        for f in touched:
            lines = files[f]
            for k in range(4):
                at = (commit * 13 + k * 71) % len(lines)
                lines[at] = f"{lines[at][:40]} changed {commit}"
            lines.insert(commit % len(lines), f"new at {commit}")
            data = "\n".join(lines) + "\n"
            stream.append(f"M 100644 inline dir{f % 5}/file{f}.txt\n"
                          f"data {len(data)}\n{data}\n")
    run("fast-import", "--quiet", input="".join(stream).encode())
    return Work("git", "program", [shutil.which("git"), "--no-pager", "log", "-p", "--stat"],
                "log -p --stat of 900 generated commits",
                env={k: v for k, v in git_env.items() if k != "PATH"}, cwd=str(folder))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def redis(tmp, scale):
    port = str(free_port())
    requests = str(int(120000 * scale) + 1000)

    def serve():
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        begin = time.monotonic()
        subprocess.run(["redis-benchmark", "-p", port, "-n", requests, "-q", "-P", "16",
                        "-c", "20", "-r", "10000", "-d", "100",
                        "-t", "set,get,lpush,hset,zadd,sadd"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall = time.monotonic() - begin
        subprocess.run(["redis-cli", "-p", port, "shutdown", "nosave"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return wall

    return Work("redis-server", "program",
                [shutil.which("redis-server"), "--port", port, "--bind", "127.0.0.1",
                 "--save", "", "--appendonly", "no", "--dir", str(tmp), "--loglevel", "warning"],
                "under redis-benchmark, 16 requests in flight on 20 connections; CPU of the "
                "server, wall of the load", serve=serve)


PROGRAMS = {"sqlite3": sqlite3, "python3": python3, "perl": perl, "git": git,
            "cc1plus": cc1plus, "clang": clang, "redis-server": redis}
NEEDS = {"cc1plus": ("g++",), "clang": ("clang++",), "python3": ("python3",),
         "redis-server": ("redis-server", "redis-benchmark", "redis-cli")}


def programs(tmp, scale, wanted, say):
    """The real programs that are wanted and installed."""
    made = []
    for name, make in PROGRAMS.items():
        if not wanted(name, "program"):
            continue
        missing = [n for n in NEEDS.get(name, (name,)) if not shutil.which(n)]
        if missing:
            say(f"{name}: left out, {', '.join(missing)} not installed")
            continue
        folder = pathlib.Path(tmp) / f"{name}-{scale}"
        folder.mkdir(exist_ok=True)
        made.append(make(folder, scale))
    return made


def micro(bench, scale, wanted, sizes=MICRO_SIZES):
    made = []
    for kind, count in (("malloc", 1500000), ("realloc", 400000)):
        for size in sizes:
            if wanted(f"{kind}-{size}", kind):
                n = count // (8 if kind == "realloc" and size > 4096 else 1)
                made.append(Work(f"{kind}-{size}", kind, [
                    bench.program("pairs"), kind, str(size), str(max(1000, int(n * scale)))]))
    return made


def trees(bench, scale, wanted, counts=TREE_THREADS):
    return [Work(f"tree-{depth}-{threads}", "tree",
                 [bench.program("tree"), str(depth), str(threads), str(int(1000000 * scale))])
            for depth in TREE_DEPTHS for threads in counts
            if wanted(f"tree-{depth}-{threads}", "tree")]
