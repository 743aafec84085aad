# SPDX-License-Identifier: MIT
"""The results as Markdown: the tables of docs/benchmarks.md. Every number comes
from the JSON of the run; what was not measured is a dash.
"""
import datetime
import os
import platform
import subprocess

from bench_instructions import PHASES
from bench_split import STAGES


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def ratio(spread):
    if not spread:
        return "–"
    if spread["runs"] == 1:
        return f"{spread['median']:.2f}"
    return f"**{spread['median']:.2f}** ({spread['min']:.2f}–{spread['max']:.2f})"


def number(value, digits=0):
    return "–" if value is None else f"{value:,.{digits}f}"


def command_line(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def machine(bench):
    """What the numbers depend on."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
    virtual = "hypervisor" in open("/proc/cpuinfo", encoding="utf-8").read()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    release = ""
    if os.path.exists("/etc/os-release"):
        with open("/etc/os-release", encoding="utf-8") as file:
            release = dict(line.rstrip().split("=", 1) for line in file if "=" in line) \
                .get("PRETTY_NAME", "").strip('"')
    return {
        "processor": f"{model}, {os.cpu_count()} cores" + (", virtual machine" if virtual else ""),
        "memory": f"{memory:.0f} GiB",
        "system": f"{release}, Linux {platform.release()}, {' '.join(platform.libc_ver())}",
        "file_system": command_line("stat", "-f", "-c", "%T", str(bench.tmp)),
        "compiler": (command_line("cc", "--version").splitlines() or ["?"])[0],
        "heaptrack": command_line("heaptrack", "--version"),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def of(result, way, what):
    return result.get("ratio", {}).get("ways", {}).get(way, {}).get(what)


def ratio_table(works, first, what="cpu_ratio"):
    rows = []
    for name, result in works:
        plain = of(result, "plain", "cpu" if what == "cpu_ratio" else "wall")
        if not plain:
            continue
        row = [name, f"{plain['median']:.3f}"]
        row += [ratio(of(result, way, what)) for way in ("mlog", "library", "heaptrack")]
        if what == "cpu_ratio":
            added = [of(result, way, "cpu_added") for way in ("mlog", "library", "heaptrack")]
            for other in added[1:]:
                row.append("–" if not other or other["median"] <= 0 else
                           f"1/{other['median'] / max(added[0]['median'], 1e-9):.1f}"
                           if added[0]["median"] > 0 else "0")
        rows.append(row)
    head = [first, "untraced, s", "mlog", "heaptrack's library", "heaptrack in all"]
    if what == "cpu_ratio":
        head += ["added, of the library's", "of all"]
    return table(head, rows) if rows else ""


def micro_table(works):
    rows = []
    for name, result in works:
        plain = of(result, "plain", "cpu")
        if not plain:
            continue
        events = result["events"]
        cost = [plain["median"] / events * 1e9]
        cost += [(of(result, way, "cpu_added") or {"median": None})["median"]
                 for way in ("mlog", "library", "heaptrack")]
        rows.append([name.replace("-", " of ")] + [number(cost[0], 1)] +
                    [number(c and c / events * 1e9, 1) for c in cost[1:]] +
                    [ratio(of(result, way, "cpu_ratio")) for way in
                     ("mlog", "library", "heaptrack")])
    return table(["bytes", "untraced, ns an event", "mlog adds, ns", "heaptrack's library", "in all",
                  "mlog, ratio of CPU", "heaptrack's library", "in all"], rows) if rows else ""


def tree_table(works):
    rows = []
    rate_of_one = {}
    for name, result in works:
        if not of(result, "mlog", "cpu"):
            continue
        depth, threads = name.split("-")[1:]
        rate = result["events"] / of(result, "mlog", "cpu")["median"]
        rate_of_one.setdefault(depth, rate)
        rows.append([depth, threads, f"{of(result, 'plain', 'cpu')['median']:.3f}"] +
                    [ratio(of(result, way, "cpu_ratio")) for way in
                     ("mlog", "library", "heaptrack")] +
                    [number(rate / 1e6, 2), f"{(rate / rate_of_one[depth] - 1) * 100:+.0f} %"])
    return table(["depth", "threads", "untraced, s", "mlog", "heaptrack's library",
                  "heaptrack in all", "mlog: million events a CPU second", "against one thread"],
                 rows) if rows else ""


def cost_table(works):
    rows = []
    for name, result in works:
        added, sizes, split = of(result, "mlog", "cpu_added"), result.get("bytes"), \
            result.get("split")
        if not (added and sizes) and not split:
            continue
        events = sizes["trace"]["events"] if sizes else split["events"]
        row = [name, number(events / 1e6, 2),
               number(added and sizes and added["median"] / events * 1e9)]
        if split:
            stack = split["alloc_stages"]["unwind"] + split["alloc_stages"]["table"]
            row += [number(split["ns_event"]), number(split["ns_alloc"]), number(stack),
                    number(split["ns_free"])]
            row += [number(split["stages"][s], 1) for s in STAGES]
        else:
            row += ["–"] * (4 + len(STAGES))
        rows.append(row)
    return table(["program", "million events", "added, ns an event", "in the library, ns an event",
                  "an allocation", "its stack and id", "a free"] + list(STAGES),
                 rows) if rows else ""


def instruction_split_table(works):
    rows = []
    for name, result in works:
        split = result.get("callgrind")
        if split:
            rows.append([name, number(split["events"]), number(split["instructions_event"])] +
                        [number(split["stages"][s], 1) for s in STAGES if s != "kernel"])
    return table(["program", "events", "instructions an event"] +
                 [s for s in STAGES if s != "kernel"], rows) if rows else ""


def bytes_table(works):
    rows = []
    for name, result in works:
        sizes = result.get("bytes")
        if not sizes:
            continue
        trace = sizes["trace"]
        events, other = trace["events"], sizes.get("heaptrack_events")
        fields = trace["field_bytes"]
        each = lambda key: number(sizes.get(key) and sizes[key] / other, 2)  # noqa: E731
        rows.append([name, number(events / 1e6, 2), f"**{sizes['raw'] / events:.2f}**",
                     f"**{sizes['zstd'] / events:.2f}**", each("heaptrack_raw"),
                     each("heaptrack_raw_zstd"), each("heaptrack_finished")] +
                    [number(fields[f] / events, 2) for f in ("tag", "address", "stack", "size",
                                                             "time")] +
                    [number(trace["node_bytes"] / events, 2),
                     number((sizes["raw"] - trace["node_bytes"] - sum(fields.values())) / events,
                            2)])
    return table(["program", "million events", "mlog raw", "zstd -3", "heaptrack raw", "zstd -3",
                  "heaptrack finished", "tag", "address", "stack", "size", "time", "nodes",
                  "rest"], rows) if rows else ""


def memory_table(works):
    rows = []
    for name, result in works:
        m = result.get("memory")
        if m:
            rows.append([name, number(m["plain_anonymous_kb"] / 1024, 1),
                         number(m["anonymous_kb"] / 1024, 1), number(m["maxrss_kb"] / 1024, 1),
                         number(m["held_bytes"] / 2**20, 1), number(m["nodes"]),
                         number(m["streams"])])
    return table(["program", "its own, MB", "mlog adds: anonymous, MB", "resident, MB",
                  "mapped (COUNTERS), MB", "stack nodes", "threads"], rows) if rows else ""


def instructions_table(counts):
    rows = [[phase, PHASES[phase], number(c["events"]), number(c["without"] / c["events"], 1),
             number(c["with"] / c["events"], 1), f"**{c['added_event']:.1f}**"]
            for phase, c in (counts or {}).items()]
    return table(["phase", "what", "events", "without, an event", "with", "added"],
                 rows) if rows else ""


def markdown(results):
    m = results["machine"]
    group = lambda *names: [(n, r) for n, r in results["works"].items()  # noqa: E731
                            if r["group"] in names]
    programs = group("program")
    sections = [
        ("Real programs, CPU time",
         "User and system time of all processes that it takes, as a multiple of the untraced "
         "program: median of the ratios within a round (least–greatest). The last two columns: "
         "what mlog adds, as a part of what heaptrack adds.", ratio_table(programs, "program")),
        ("Real programs, wall time", "", ratio_table(programs, "program", "wall_ratio")),
        ("One event, in nanoseconds",
         "*Added*: CPU time with less without, divided by events; it includes what tracing does "
         "to the caches of the program. *In the library*: by sampling the CPU clock 5,000 times "
         "a second; the stages add up to it. `kernel`: page faults of trace, tables and "
         "definitions, and system calls.", cost_table(programs)),
        ("One event, in instructions", "By callgrind, on smaller inputs.",
         instruction_split_table(programs)),
        ("The fixed run, in instructions",
         "These do not depend on the load of the machine; `run.sh --check` compares them with "
         "`tests/bench/instructions.txt`.", instructions_table(results.get("instructions"))),
        ("Bare calls: malloc and free",
         "One call after the other, from one place: the least that an event costs.",
         micro_table(group("malloc"))),
        ("Bare calls: realloc", "Grown by realloc from so many bytes to four times as many, then "
         "freed: five events.", micro_table(group("realloc"))),
        ("Depth and threads", "Binary trees built and freed by recursion at this depth of the "
         "stack; the work is the same for any number of threads.", tree_table(group("tree"))),
        ("Bytes an event",
         "mlog's events carry time, thread, address, size and whole stack; heaptrack's carry a "
         "stack and a size. A realloc is one event of mlog's and two lines of heaptrack's. "
         "*heaptrack finished* is what the command heaptrack leaves (interpreted, zstd). On the "
         "right, what mlog's bytes are spent on.", bytes_table(programs)),
        ("Memory in the target",
         "Peak with mlog less peak without. *Anonymous* is the library's own; *resident* includes "
         "the pages of the trace that are mapped at the time.", memory_table(programs)),
        ("Analysis",
         "From a trace in the page cache to the text report, `mlog-analyze --no-symbols`, beside "
         "`heaptrack_print` on heaptrack's file of the same program (interpreted already while "
         "it ran; with symbols, which are in its file). Inputs four times as large as above. "
         "Anonymous memory; the trace's own pages are the kernel's.", analysis_table(programs)),
        ("Analysis: memory",
         "Blocks of random size that replace each other at random: memory goes with live "
         "blocks, not with events.", analysis_memory_table(results.get("analysis_memory"))),
    ]
    text = ["# Benchmarks", "",
            f"    {results['command']}", "",
            "runs all of this and prints this page"
            + (f"; this run took {results['seconds'] / 60:.0f} minutes" if results.get("seconds")
               else "") + ". What is run is in `tests/bench/README.md`.", "",
            f"- {m['date']}, mlog {results['version']}",
            f"- {m['processor']}, {m['memory']}; load {m['load']} when it began",
            f"- {m['system']}",
            f"- traces on {m['file_system']}; built by {m['compiler']}",
            f"- compared with {m['heaptrack'] or 'nothing: heaptrack is not installed'}", ""]
    for title, what, body in sections:
        if body:
            text += [f"## {title}", ""] + ([what, ""] if what else []) + [body]
    slower = remarks(results)
    if slower:
        text += ["## Remarks", ""] + slower + [""]
    return "\n".join(text)


def merged(page, part, results):
    """A page with the sections that `part`, the page of a run of some parts only,
    measured anew: each then says when and how. Remarks stay."""
    def split(text):
        head, *sections = text.split("\n## ")
        return head, dict(section.split("\n", 1) for section in sections)
    machine = results["machine"]
    when = (f"\nMeasured on its own: `{results['command']}`, {machine['date']}, load "
            f"{machine['load']} when it began.\n")
    head, sections = split(page)
    for title, body in split(part)[1].items():
        if title != "Remarks":
            sections[title] = when + body.rstrip("\n") + "\n"
    return "\n## ".join([head] + [f"{title}\n{body}" for title, body in sections.items()])


def analysis_table(works):
    rows = []
    for name, result in works:
        part = result.get("analysis")
        if not part:
            continue
        mlog, other, events = part["mlog"], part.get("heaptrack"), part["events"]
        ahead = part["ahead"]["wall"]["median"]
        rows.append([
            name, number(events / 1e6, 2), number(mlog["cpu"]["median"], 2),
            f"**{events / mlog['cpu']['median'] / 1e6:.1f}** "
            f"({events / mlog['cpu']['max'] / 1e6:.1f}–{events / mlog['cpu']['min'] / 1e6:.1f})",
            number(mlog["wall"]["median"], 2), number(ahead, 2),
            number(mlog["anonymous_kb"] / 1024, 1),
            number(other and other["cpu"]["median"], 2),
            number(other and events / other["cpu"]["median"] / 1e6, 1),
            number(other and other["anonymous_kb"] / 1024, 1)])
    return table(["program", "million events", "one core: CPU, s", "million events a CPU second",
                  "wall, s", "with a second core: wall, s", "memory, MB", "heaptrack_print: CPU, s", "million events a CPU second",
                  "memory, MB"], rows) if rows else ""


def analysis_memory_table(rows):
    return table(["live blocks", "million events", "trace, MB", "million events a CPU second",
                  "memory, MB", "bytes a live block"],
                 [[number(r["live"]), number(r["events"] / 1e6, 1),
                   number(r["trace"] / 2**20, 1), number(r["events"] / r["cpu"] / 1e6, 1),
                   number(r["anonymous_kb"] / 1024, 1),
                   number(r["anonymous_kb"] * 1024 / r["live"], 1)
                   if r["live"] >= 100_000 else "–"] for r in rows]) if rows else ""


def remarks(results):
    """What the tables say against us, in words."""
    lines = []
    load = float(results["machine"]["load"])
    if load > 0.5:
        lines.append(f"- The machine was not quiet (load {load}): times, and ratios the less, are "
                     "those of a shared machine.")
    for name, result in results["works"].items():
        if result["group"] not in ("program", "malloc", "realloc", "tree"):
            continue
        mlog, other = of(result, "mlog", "cpu_added"), of(result, "library", "cpu_added")
        if mlog and other and mlog["median"] > other["median"]:
            lines.append(f"- {name}: mlog adds more CPU time than heaptrack's library alone "
                         f"({mlog['median']:.3f} s against {other['median']:.3f} s).")
        elif (mlog and other and result["group"] == "program"
              and mlog["median"] * 5 > other["median"]):
            lines.append(f"- {name}: mlog adds 1/{other['median'] / mlog['median']:.1f} of what "
                         "heaptrack's library alone adds; the aim is a tenth.")
        sizes = result.get("bytes")
        if sizes and sizes["raw"] / sizes["trace"]["events"] > 6:
            lines.append(f"- {name}: {sizes['raw'] / sizes['trace']['events']:.1f} bytes an "
                         "event; the aim is 6.")
        if sizes and sizes["zstd"] / sizes["trace"]["events"] > 2:
            lines.append(f"- {name}: {sizes['zstd'] / sizes['trace']['events']:.1f} bytes an "
                         "event after zstd -3; the aim is 2.")
        memory = result.get("memory")
        if memory and memory["anonymous_kb"] > 8192:
            lines.append(f"- {name}: {memory['anonymous_kb'] / 1024:.0f} MB of memory in the "
                         f"target, for {memory['nodes']:,} stack nodes.")
    return lines
