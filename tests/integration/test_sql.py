# SPDX-License-Identifier: MIT
"""Databases of traces: tables and views against the reports of mlog-analyze, to the byte, on
real programs; what is stored of blocks; names as they are; files that stay whole."""
import collections
import json
import os
import re
import resource
import shutil
import sqlite3
import subprocess

import pytest

import support
from support import MLOG, report, run

VECTORS = support.ROOT / "format" / "vectors"
PYTHON_SCRIPT = """
import os, threading
keep = []
def work(n):
    for i in range(n):
        keep.append(bytearray(1000 + i))
        bytes(2000 + i)
threads = [threading.Thread(target=work, args=(80,)) for _ in range(3)]
[t.start() for t in threads]; [t.join() for t in threads]
pid = os.fork()
if pid == 0:
    work(40)
    del keep[:60]
    os._exit(0)
os.waitpid(pid, 0)
"""
WHOLE = "--no-builtin-suppressions"   # as support.report asks


def mlog_sql(*args, status=0, **kwargs):
    done = run([MLOG, "sql", *args], **kwargs)
    assert done.returncode == status, done
    return done


def database(trace, path, *args):
    """The database of a trace, opened."""
    mlog_sql(trace, "-o", path, *args)
    db = sqlite3.connect(path)
    db.text_factory = bytes
    return db


def rows(db, question):
    """The rows as dictionaries; texts as Python has them from JSON."""
    cursor = db.execute(question)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, (v.decode(errors="replace") if isinstance(v, bytes) else v
                             for v in row))) for row in cursor]


def one(db, question):
    (row,) = db.execute(question)
    return row if len(row) > 1 else row[0]


def path_of(db):
    return os.fsdecode(db.execute("PRAGMA database_list").fetchone()[2])


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sql")
    programs = {
        "python": ["/usr/bin/python3", "-I", "-S", "-c", PYTHON_SCRIPT],
        "sqlite": ["sqlite3", ":memory:", "create table t(a,b); with recursive n(i) as "
                   "(select 1 union all select i+1 from n where i<300) "
                   "insert into t select i, hex(randomblob(9)) from n; create index x on t(b);"],
        "forks": [support.PROGRAMS / "fork_threads", "2"],
        "threads": [support.PROGRAMS / "threads", "4", "100"],
        "functions": [support.PROGRAMS / "functions"],
        "marks": [support.PROGRAMS / "marks"],
    }
    for name, argv in programs.items():
        support.trace(argv, folder / name)
    for name in ("reallocs", "fork-and-exec", "handover", "nodes", "places"):
        shutil.copy(VECTORS / f"{name}.mlog", folder / name)
    return folder


@pytest.fixture(scope="module")
def python_db(traces, tmp_path_factory):
    return database(traces / "python", tmp_path_factory.mktemp("db") / "heap.db", WHOLE)


def name_of(frame):
    if frame["function"] is not None:
        return frame["function"]
    if frame["module"] is None:
        return frame["address"]
    return f"{frame['module'].rsplit('/', 1)[-1]}+{frame['offset']}"


def functions_of(allocations):
    """What the view by_function is to have, made of the report's stacks."""
    sums = collections.defaultdict(lambda: [0, 0, 0])
    for entry in allocations:
        for key in {(name_of(f), f["module"], f["build_id"]) for f in entry["stack"]}:
            sums[key][0] += entry["bytes"]
            sums[key][1] += entry["calls"]
            sums[key][2] += 1
    return sorted((key[0], key[1] or "", *value) for key, value in sums.items())


def check_blocks(db):
    """GIVEN all blocks; THEN they sum up to what stacks, processes and the run have."""
    run_row = rows(db, "SELECT * FROM runs")[0]
    live = one(db, "SELECT count(*), ifnull(sum(size), 0) FROM blocks WHERE died IS NULL")
    assert live == (run_row["leaked_blocks"], run_row["leaked_bytes"])
    every = one(db, "SELECT count(*), ifnull(sum(size), 0), ifnull(sum(usable), 0),"
                " ifnull(sum(temporary), 0) FROM blocks")
    assert every == tuple(run_row[k] for k in
                          ("allocations", "allocated_bytes", "usable_bytes", "temporary"))
    assert rows(db, "SELECT stack, count(*) AS n, sum(size) AS bytes, sum(temporary) AS t, "
                "sum(died IS NULL) AS leaked, sum(iif(died IS NULL, size, 0)) AS leaked_bytes "
                "FROM blocks GROUP BY stack ORDER BY stack") == \
        rows(db, "SELECT id AS stack, allocations AS n, allocated_bytes AS bytes, "
             "temporary AS t, leaked_blocks AS leaked, leaked_bytes FROM stacks ORDER BY id")
    assert rows(db, "SELECT process, stack, count(*) AS n, sum(size) AS bytes FROM blocks "
                "GROUP BY process, stack ORDER BY process, stack") == \
        rows(db, "SELECT process, stack, allocations AS n, allocated_bytes AS bytes "
             "FROM process_stacks ORDER BY process, stack")
    assert one(db, "SELECT count(*) FROM blocks WHERE died < born OR weight <> 1") == 0
    for column, table in (("thread", "threads"), ("end_thread", "threads"), ("call", "calls"),
                          ("end_call", "calls"), ("process", "processes"), ("stack", "stacks")):
        assert one(db, f"SELECT count(*) FROM blocks WHERE {column} IS NOT NULL AND {column} "
                   f"NOT IN (SELECT id FROM {table})") == 0, column


NAMES = ("python", "sqlite", "forks", "threads", "functions", "marks", "reallocs",
         "fork-and-exec", "handover", "nodes", "places")


@pytest.mark.parametrize("name", NAMES)
def test_views_equal_the_reports(traces, tmp_path, name):
    """GIVEN a trace of a real program, or of the format's own; WHEN it becomes a database;
    THEN totals, leaks, peak, churn, processes and audit are what the JSON report has."""
    whole = report(traces / name, "--summary", "--leaks", "--peak", "--allocations", "--churn",
                   "--per-process")
    db = database(traces / name, tmp_path / "heap.db", WHOLE)
    got = rows(db, "SELECT * FROM runs")[0]
    summary = whole["summary"]
    same = ("allocations", "frees", "reallocations", "failed_calls", "allocated_bytes",
            "freed_bytes", "usable_bytes", "temporary", "leaked_bytes", "leaked_blocks",
            "peak_bytes", "peak_blocks", "stacks", "events")
    assert {k: got[k] for k in same} == {k: summary[k] for k in same}
    assert (got["duration"], got["peak_time"]) == (summary["duration_ns"], summary["peak_time_ns"])

    columns = ("bytes", "blocks", "calls", "temporary", "stack_id", "label")
    leaks = rows(db, "SELECT * FROM leaks")
    assert [(r["kind"], r["bytes"], r["blocks"]) for r in leaks] == \
        [(e["kind"], e["bytes"], e["blocks"]) for e in whole["leaks"]]
    more = columns + ("kind", "reason", "threads", "processes")
    assert sorted([r[c] for c in more] + [r["oldest"], r["youngest"]] for r in leaks) == \
        sorted([e[c] for c in more] + [e["oldest_ns"], e["youngest_ns"]] for e in whole["leaks"])
    peak = rows(db, "SELECT * FROM peak")
    assert [r["bytes"] for r in peak] == [e["bytes"] for e in whole["peak"]]
    assert sorted([r[c] for c in columns] + [r["own_peak_bytes"], r["own_peak_time"]]
                  for r in peak) == \
        sorted([e[c] for c in columns] + [e["own_peak_bytes"], e["own_peak_time_ns"]]
               for e in whole["peak"])
    assert sorted((r["bytes"], r["allocations"], r["allocated_bytes"], r["frees"],
                   r["freed_bytes"]) for r in rows(db, "SELECT * FROM churn")) == \
        sorted((e["bytes"], e["allocations"], e["allocated_bytes"], e["frees"],
                e["freed_bytes"]) for e in whole["churn"]["stacks"])
    assert sorted((r["function"], r["module"] or "", r["bytes"], r["calls"], r["stacks"])
                  for r in rows(db, "SELECT * FROM by_function")) == \
        functions_of(whole["allocations"])

    of_each = ("pid", "executable", "allocations", "frees", "leaked_bytes", "leaked_blocks",
               "peak_bytes", "peak_blocks")
    assert [[r[c] for c in of_each] for r in
            rows(db, "SELECT * FROM processes WHERE allocations > 0 ORDER BY id")] == \
        [[e[c] for c in of_each] for e in sorted(whole["per_process"], key=lambda e: e["process"])]
    audit = {r["name"]: r["value"] for r in rows(db, "SELECT * FROM audit")}
    known = {k: v for k, v in whole["audit"].items() if k in audit and isinstance(v, int)}
    assert len(known) > 12 and known == {k: audit[k] for k in known}
    assert audit["blocks_left_out"] == 0
    check_blocks(db)


@pytest.mark.parametrize("args", [["--min-size", "100"], ["--from", "20%", "--to", "70%"],
                                  ["--function", "PyByteArray"], ["--max-size", "64"]], ids=str)
def test_filters_hold(traces, tmp_path, args):
    """GIVEN a filter; THEN the database is of what it accepts, as the report is."""
    whole = report(traces / "python", "--summary", "--leaks", *args)
    db = database(traces / "python", tmp_path / "heap.db", WHOLE, *args)
    got = rows(db, "SELECT * FROM runs")[0]
    for key in ("allocations", "allocated_bytes", "leaked_bytes", "peak_bytes", "temporary"):
        assert got[key] == whole["summary"][key], key
    assert 0 < got["allocations"] < report(traces / "python")["summary"]["allocations"]
    assert sum(r["bytes"] for r in rows(db, "SELECT * FROM leaks")) == \
        sum(e["bytes"] for e in whole["leaks"])
    assert one(db, "SELECT value FROM meta WHERE name = 'filter'")
    check_blocks(db)


def test_suppressed_leaks_are_not_in_the_view(traces, tmp_path):
    """GIVEN what the runtimes keep, which reports leave out; THEN the view does, and the
    table tells why."""
    shown = json.loads(support.analyze(traces / "functions", "--json", "--top", "0",
                                       "--leaks").stdout)["leaks"]
    db = database(traces / "functions", tmp_path / "heap.db")
    assert sorted(r["bytes"] for r in rows(db, "SELECT * FROM leaks")) == \
        sorted(e["bytes"] for e in shown)
    (tmp_path / "s").write_text("leak:main\n")
    db = database(traces / "functions", tmp_path / "heap.db", "--suppressions", tmp_path / "s")
    assert rows(db, "SELECT * FROM leaks") == []
    assert one(db, "SELECT DISTINCT suppressed FROM stacks WHERE suppressed IS NOT NULL "
               "AND path LIKE '%main%'") == b"main"


def test_a_block_has_its_calls_threads_and_times(traces, tmp_path):
    """GIVEN a block given from one thread to another, blocks of each function, and marks;
    THEN rows say so."""
    db = database(traces / "functions", tmp_path / "f.db")
    calls = report(traces / "functions", "--summary")["summary"]["calls"]
    allocating = {k: calls[k] for k in ("malloc", "calloc", "posix_memalign", "strdup")
                  if calls.get(k)}
    got = {r["name"]: r["n"] for r in rows(
        db, "SELECT name, count(*) AS n FROM blocks JOIN calls ON calls.id = call GROUP BY 1")}
    assert {k: got.get(k, 0) for k in allocating} == allocating
    db = database(traces / "handover", tmp_path / "h.db")
    assert one(db, "SELECT count(*) FROM blocks WHERE end_thread <> thread") > 0
    row = rows(db, "SELECT * FROM block_list LIMIT 1")[0]
    assert re.fullmatch("0x[0-9a-f]+", row["address"]) and row["lived"] >= 0
    assert row["born_wall"] > row["born"]
    db = database(traces / "marks", tmp_path / "m.db")
    marks = rows(db, "SELECT kind, name, live_bytes FROM marks ORDER BY id")
    assert [(m["kind"], m["name"]) for m in marks] == \
        [("point", "before"), ("begin", 'span "quoted"'), ("end", 'span "quoted"')]
    assert marks[2]["live_bytes"] - marks[0]["live_bytes"] == 36 * 8


def test_which_blocks_are_stored(traces, tmp_path):
    """GIVEN --blocks; THEN those never freed are there always, and what is left out is told
    on the screen and in the audit."""
    trace = traces / "python"
    db = database(trace, tmp_path / "a.db", "--blocks=all")
    ended, live = one(db, "SELECT sum(died IS NOT NULL), sum(died IS NULL) FROM blocks")
    done = mlog_sql(trace, "-o", tmp_path / "l.db", "--blocks=live")
    said = f"{ended:,} ended blocks left out (--blocks=live)"
    assert said in done.stderr
    db = sqlite3.connect(tmp_path / "l.db")
    assert one(db, "SELECT count(*), count(died) FROM blocks") == (live, 0)
    assert one(db, "SELECT value, text FROM audit WHERE name = 'blocks_left_out'") == (ended, said)
    done = mlog_sql(trace, "-o", tmp_path / "s.db", "--blocks=sampled")
    assert "one in 64" in done.stderr
    db = sqlite3.connect(tmp_path / "s.db")
    stored, stand_for = one(db, "SELECT count(*), sum(weight) FROM blocks WHERE died IS NOT NULL")
    assert stand_for == 64 * stored and ended / 128 < stored < ended / 32
    assert one(db, "SELECT count(*) FROM blocks WHERE died IS NULL") == live
    assert one(db, "SELECT allocations FROM runs") == ended + live
    done = mlog_sql(trace, "-o", tmp_path / "x.db", "--blocks=some", status=2)
    assert "bounded, all, live, sampled" in done.stderr


def test_the_exporter_makes_the_same(traces, tmp_path):
    """GIVEN --export=sqlite=FILE; THEN the tables are those of mlog sql."""
    support.analyze(traces / "functions", f"--export=sqlite={tmp_path / 'e.db'}", WHOLE)
    database(traces / "functions", tmp_path / "s.db", WHOLE)
    dumps = ["\n".join(sqlite3.connect(tmp_path / n).iterdump()) for n in ("e.db", "s.db")]
    assert dumps[0] == dumps[1]
    assert one(sqlite3.connect(tmp_path / "e.db"), "PRAGMA integrity_check") == "ok"
    text = support.analyze(traces / "functions", "--help").stdout
    page = (support.ROOT / "docs" / "mlog-analyze.1").read_text()
    assert re.search(r"^ +sqlite ", text, re.M) and re.search(r"^\.B sqlite\b", page, re.M)


def test_questions_in_three_forms(traces, tmp_path, python_db):
    """GIVEN a trace or a database; WHEN it is asked; THEN the answer is a table, CSV or JSON
    with what SQLite itself says, and no file is left."""
    question = "SELECT label, bytes, blocks, NULL AS none FROM peak LIMIT 3"
    want = [list(r.values()) for r in rows(python_db, question)]
    (tmp_path / "empty").mkdir()
    for what in (traces / "python", path_of(python_db)):
        args = [what, question] + ([WHOLE] if what == traces / "python" else [])
        told = json.loads(mlog_sql(*args, "--json", cwd=tmp_path / "empty").stdout)
        assert [list(r.values()) for r in told] == want
        csv = mlog_sql(*args, "--csv", cwd=tmp_path / "empty").stdout
        assert csv.split("\r\n")[0] == '"label","bytes","blocks","none"'
        assert csv.split("\r\n")[1] == f'"{want[0][0]}",{want[0][1]},{want[0][2]},'
        lines = mlog_sql(*args, cwd=tmp_path / "empty").stdout.splitlines()
        assert lines[0].split() == ["label", "bytes", "blocks", "none"] and len(lines) == 5
        assert lines[2].split() == [want[0][0], str(want[0][1]), str(want[0][2]), "-"]
        assert lines[1] == " ".join(lines[1].split(" ")) and len({len(x) for x in lines}) == 1
    assert not list((tmp_path / "empty").iterdir())


def test_a_long_table_keeps_its_columns(python_db, traces):
    """GIVEN more rows than are looked at for the columns' widths; THEN all are there."""
    path = path_of(python_db)
    done = mlog_sql(path, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE "
                    "i < 1234) SELECT i, 'x' || i AS x FROM n")
    lines = done.stdout.splitlines()
    assert len(lines) == 1236 and lines[-1].split() == ["1234", "x1234"]
    two = mlog_sql(path, "SELECT 1 AS a; -- remark\n SELECT 2 AS b;").stdout
    assert two == "a\n-\n1\n\nb\n-\n2\n"


def test_a_table_fits_the_terminal(python_db):
    """GIVEN a terminal of 70 columns; THEN long texts are cut, numbers are not."""
    if shutil.which("script") is None:
        pytest.skip("no script(1)")
    path = path_of(python_db)
    done = run(["script", "-qec", f"stty cols 70; '{MLOG}' sql '{path}' 'SELECT bytes, path, "
                "label FROM peak LIMIT 4'", "/dev/null"])
    lines = done.stdout.replace("\r", "").splitlines()
    assert done.returncode == 0 and len(lines) == 6 and "…" in done.stdout
    assert all(len(line) <= 70 for line in lines), lines


@pytest.mark.parametrize("question, words", [
    ("DELETE FROM blocks", ["only questions"]),
    ("DROP TABLE blocks", ["only questions"]),
    ("PRAGMA user_version = 7", ["only questions"]),
    ("PRAGMA writable_schema = 1", ["only questions"]),
    ("CREATE TEMP TABLE t(a)", ["only questions"]),
    ("SELECT load_extension('x')", []),
    ("ATTACH 'new.db' AS n", []),
    ("SELECT byts FROM leaks", ["no such column: byts", "--schema"]),
    ("SELEC", ["syntax error"]),
    (" ; -- nothing", ["expected a question"]),
])
def test_a_question_changes_nothing(traces, tmp_path, question, words):
    """GIVEN what is no question, or a wrong one; THEN a sentence says so, status 2 or 1, and
    database and folder are as before, of a database and of a trace."""
    database(traces / "marks", tmp_path / "heap.db").close()
    before = (tmp_path / "heap.db").read_bytes()
    for what in (tmp_path / "heap.db", traces / "marks"):
        done = run([MLOG, "sql", what, question], cwd=tmp_path)
        assert done.returncode in (1, 2) and len(done.stderr.splitlines()) == 1, done
        assert done.stderr.startswith("mlog-sql: ")
        assert all(word in done.stderr for word in words), done
        assert [p.name for p in tmp_path.iterdir()] == ["heap.db"]
        assert (tmp_path / "heap.db").read_bytes() == before


def test_two_databases_are_compared(traces, tmp_path):
    """GIVEN two; WHEN one is attached to the other; THEN a join compares them."""
    for name in ("marks", "functions"):
        database(traces / name, tmp_path / f"{name}.db").close()
    done = mlog_sql(tmp_path / "marks.db", f"ATTACH '{tmp_path / 'functions.db'}' AS other; "
                    "SELECT runs.allocations AS a, o.allocations AS b FROM runs, other.runs AS o",
                    "--json")
    (row,) = json.loads(done.stdout)
    assert row["a"] < row["b"]


def test_what_is_replaced_and_what_is_not(traces, tmp_path):
    """GIVEN a file of the name; THEN a database of mlog's is replaced, and no other file, the
    trace itself least of all."""
    trace = tmp_path / "t"
    shutil.copy(traces / "marks", trace)
    db = tmp_path / "heap.db"
    for _ in range(2):
        mlog_sql(trace, "-o", db)
    other = tmp_path / "other.db"
    sqlite3.connect(other).executescript("create table t(a); insert into t values(1)")
    (tmp_path / "text").write_text("hello")
    for path in (trace, other, tmp_path / "text"):
        before = path.read_bytes()
        done = mlog_sql(trace, "-o", path, status=1)
        assert "no database of mlog's" in done.stderr and path.read_bytes() == before
        done = run([support.ANALYZE, trace, f"--export=sqlite={path}"])
        assert done.returncode in (1, 2) and path.read_bytes() == before
    for path, words in (("/dev/null", "not a regular file"), ("-", "standard output"),
                        ("/nonexistent/x", "No such file")):
        for argv in ([MLOG, "sql", trace, "-o", path],
                     [support.ANALYZE, trace, f"--export=sqlite={path}"]):
            done = run(argv, cwd=tmp_path)
            assert done.returncode == 1 and words in done.stderr, done
    assert sorted(p.name for p in tmp_path.iterdir()) == ["heap.db", "other.db", "t", "text"]
    assert "another program's" in mlog_sql(other, "SELECT 1", status=1).stderr


def test_a_full_disk_leaves_no_half_file(traces, tmp_path):
    """GIVEN a limit of file sizes, as a full disk; THEN an error, status 1, and no file."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        import signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for argv in ([MLOG, "sql", traces / "python", "-o", tmp_path / "x.db"],
                 [support.ANALYZE, traces / "python", f"--export=sqlite={tmp_path / 'x.db'}"]):
        done = subprocess.run([str(a) for a in argv], preexec_fn=limit, capture_output=True,
                              text=True, env=support.clean_environment(
                                  XDG_CACHE_HOME=tmp_path / "cache"), timeout=300)
        assert done.returncode == 1 and "x.db: cannot write: " in done.stderr, done
        assert len(done.stderr.splitlines()) == 1
        assert not [p for p in tmp_path.iterdir() if p.name.startswith("x.db")]


def test_damaged_input(traces, tmp_path):
    """GIVEN a cut trace; THEN what could be read is stored, the audit and the status tell.
    GIVEN what is no trace; THEN status 1 and no file."""
    data = (traces / "python").read_bytes()
    (tmp_path / "cut").write_bytes(data[:len(data) // 8])
    db = tmp_path / "cut.db"
    done = mlog_sql(tmp_path / "cut", "-o", db, status=1)
    assert "cut" in done.stderr
    assert one(sqlite3.connect(db), "SELECT count(*) FROM audit WHERE name = 'damage' AND text "
               "IS NOT NULL") == 1
    (tmp_path / "junk").write_bytes(b"junk" * 999)
    mlog_sql(tmp_path / "junk", "-o", tmp_path / "j.db", status=1)
    mlog_sql(tmp_path / "none", "-o", tmp_path / "j.db", status=1)
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("j.db")]
    head = bytearray(db.read_bytes())
    db.write_bytes(head[:9000])
    assert run([MLOG, "sql", db, "SELECT * FROM leaks"]).returncode in (1, 2)
    head[60:64] = (9).to_bytes(4, "big")
    db.write_bytes(head)
    assert "later mlog" in mlog_sql(db, "SELECT 1", status=1).stderr


HOSTILE = r"""
#include "mlog.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
static void *volatile keep;
__attribute__((noinline)) void LONG(void)
{
    keep = malloc(123 * 8);
}
int main(int argc, char **argv)
{
    mlog_mark("'); DROP TABLE blocks; --");
    mlog_mark("a\"b\x01\xff\xfe");
    pthread_setname_np(pthread_self(), "'\";--\xff");
    LONG();
    return argc && argv ? 0 : 1;
}
"""


def test_names_are_stored_as_they_are(tmp_path):
    """GIVEN names with quotes, control characters and bytes that are no UTF-8, and long ones;
    THEN they are stored byte for byte, and are never run."""
    folder = tmp_path / "a'b\"); DROP TABLE x;--"
    name = "n" * 100_000
    program = support.compiled(folder, "p;'\"", HOSTILE.replace("LONG", name), "-g",
                               f"-I{support.ROOT / 'libtrace'}")
    support.trace([program, "'", "two\nlines", os.fsdecode(b"\xff\xfe")], folder / "t")
    db = database(folder / "t", tmp_path / "heap.db")
    marks = [name for (name,) in db.execute("SELECT name FROM marks ORDER BY id")]
    assert marks == [b"'); DROP TABLE blocks; --", b"a\"b\x01\xff\xfe"]
    command = one(db, "SELECT command FROM runs")
    assert command.endswith(b"p;'\" ' two\nlines \xff\xfe"), command
    assert str(folder).encode() in one(db, "SELECT group_concat(path) FROM modules")
    path = one(db, "SELECT path FROM stacks WHERE leaked_bytes = 123 * 8")
    assert path.endswith(f"main;{name}".encode())
    done = mlog_sql(tmp_path / "heap.db", "SELECT name FROM marks WHERE id < 3")
    assert "\\x01\\xff\\xfe" in done.stdout and "\x01" not in done.stdout
    check_blocks(db)


def test_memory_is_of_live_blocks(tmp_path):
    """GIVEN ten times as many blocks, of which as many live; THEN no more memory is used."""
    used = []
    for n in (30_000, 300_000):
        support.trace([support.PROGRAMS / "churn", str(n)], tmp_path / "t")
        done, memory = support.measured([MLOG, "sql", tmp_path / "t", "-o", tmp_path / "d.db"],
                                        tmp_path / "used", 60)
        assert done.returncode == 0, done
        used.append(memory)
        assert (tmp_path / "d.db").stat().st_size < 100 * 2 * n + 500_000
    assert used[1] < used[0] + (24 << 20), used


def test_a_trace_comes_by_a_pipe(traces, tmp_path):
    """GIVEN a trace in a FIFO or on standard input; THEN it is read once, and answered."""
    question = "SELECT allocations FROM runs"
    want = mlog_sql(traces / "marks", question).stdout
    os.mkfifo(tmp_path / "fifo")
    script = 'cat "$1" > "$2" & "$3" sql "$2" "$4"; wait'
    done = support.bash(script, traces / "marks", tmp_path / "fifo", MLOG, question)
    assert done.visible == (0, want, ""), done
    done = mlog_sql("-", question, input=(traces / "marks").read_bytes())
    assert done.stdout == want


def test_the_schema_is_one_text(traces, tmp_path):
    """GIVEN the file of the schema; THEN --schema prints it, and the database has its version
    and all that it names."""
    text = (support.ROOT / "analyzer" / "sql" / "schema.sql").read_text()
    assert mlog_sql("--schema").stdout == text
    db = database(traces / "marks", tmp_path / "heap.db")
    assert one(db, "PRAGMA user_version") == 1 and one(db, "PRAGMA application_id") == 0x6d6c6f67
    made = {name.decode() for (name,) in
            db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%'")}
    assert made == set(re.findall(r"^CREATE \w+ (\w+)", text, re.M))
    for name in made:
        if not re.search(rf"CREATE INDEX {name}\b", text):
            db.execute(f"SELECT * FROM {name}").fetchall()


def test_wrong_use(traces, tmp_path):
    """GIVEN wrong options; THEN one sentence that says what would be right, status 2."""
    trace, db = traces / "marks", tmp_path / "heap.db"
    database(trace, db).close()
    for args, words in (
            ([], "expected a trace or a database"), ([trace], "expected -o FILE, or a question"),
            ([trace, "SELECT", "1"], "put it between quotes"), ([db, "-o", "x"], "a database already"),
            ([db, "SELECT 1", "--pid", "1"], "--pid is of traces"),
            ([trace, "SELECT 1", "--from", "7x"], "--from"), ([trace, "--bogus"], "bogus")):
        done = mlog_sql(*args, status=2)
        assert words in done.stderr, done


# --- docs/sql.md


def questions():
    """The questions of the document, each with the answer that stands behind it."""
    text = (support.ROOT / "docs" / "sql.md").read_text()
    return [(question, answer) for question, answer in
            re.findall(r'^    \$ mlog sql heap\.db "([^"]*)"\n((?:    .*\n)*)', text, re.M)]


def shape(answer):
    """An answer without what differs from run to run: numbers, and the widths they make."""
    lines = [re.sub(r"[-+]?\b\d[\d.e+-]*\b", "#", line) for line in answer.splitlines()]
    return [re.sub(r"-{2,}|(?<= )-(?= )", "-", re.sub(r" +", " ", x)).strip() for x in lines
            if x.strip()]


def test_documented_questions(tmp_path):
    """GIVEN the example; WHEN the questions of docs/sql.md are asked; THEN the answers are
    those of the document, but for numbers."""
    example = tmp_path / "leaky"
    assert run(["gcc", "-g", "-o", example, "leaky.c"],
               cwd=support.ROOT / "examples").returncode == 0
    support.trace([example], tmp_path / "t")
    database(tmp_path / "t", tmp_path / "heap.db").close()
    asked = questions()
    assert len(asked) >= 10
    for question, answer in asked:
        got = mlog_sql(tmp_path / "heap.db", question).stdout
        assert shape(got) == shape(re.sub("^    ", "", answer, flags=re.M)), (question, got)


def test_pauses_are_told(tmp_path):
    """GIVEN a trace with a pause, THEN the audit's rows say what the report's audit says."""
    assert support.trace([support.PROGRAMS / "paused", "windows"], tmp_path / "t").returncode == 0
    db = database(tmp_path / "t", tmp_path / "heap.db")
    told = {row["name"]: row["value"] for row in rows(db, "SELECT name, value FROM audit")}
    audit = support.report(tmp_path / "t")["audit"]
    assert told["pauses"] == audit["pauses"]["count"] == 1
    assert told["paused_ns"] == audit["pauses"]["ns"]
    for name in ("unsure_bytes", "unsure_blocks"):
        assert told[name] == audit["pauses"][name] > 0
    assert [told[name] for name in ("unseen_frees", "unseen_ends")] == \
        [audit[name] for name in ("unseen_frees", "unseen_ends")]
