# SPDX-License-Identifier: MIT
"""Where the time inside the library goes. An address in libmlog.so is turned
into its chain of inlined functions (addr2line), and the chain into a stage:

    start     what happens once a process or thread, and every few milliseconds
    hook      the hook itself, the real malloc_usable_size, begin and end of an event
    stamp     reading the clock
    unwind    taking the stack
    table     from path to id, defining new ones
    encode    writing the event's bytes
    sink      chunks: claiming, mapping, headers
    kernel    page faults and system calls made under any of these

Samples come from `perf record` by CPU clock, where it works; instructions from
callgrind, everywhere. Samples give nanoseconds; instructions do not drift.
"""
import collections
import os
import re
import shutil
import subprocess

from bench_run import clean_environment
import bench_traces

STAGES = ("hook", "stamp", "unwind", "table", "encode", "sink", "start", "kernel")
FREES = {"free", "record_free", "free_sized", "free_aligned_sized"}

# The first row with a function of the chain decides.
RULES = (
    ("start", re.compile(r"lt_start\w*|lt_real_\w+|lt_config\w*|lt_process_\w+|lt_tick|lt_thread_\w+"
                         r"|lt_context_\w+|begin_thread|new_thread|lt_clock_choose|lt_read_file"
                         r"|lt_sink_file_open|announce\w*|say_\w+|measured_rate|bootstrap\w*")),
    ("table", re.compile(r"lt_stack_id|define|define_path|publish|grow|find|take_ids|set_of|image|put|copy"
                         r"|lt_module\w*|root_for")),
    ("unwind", re.compile(r"lt_unwind\w*|lt_rule_miss|step_\w+|lt_cfi\w*|lt_arch_\w+|lt_join"
                          r"|lt_verify|lt_resume|lt_object_seen|lt_wide_put|classify\w*"
                          r"|full_registers|lt_capture_registers|in_stack|lt_fold")),
    ("sink", re.compile(r"file_\w+|lt_writer_room|lt_chunk_header|lt_map_file|lt_unmap|lt_crc"
                        r"|reserve|allocate|trace_fd|lt_file_\w+|give_up_chunk")),
    ("stamp", re.compile(r"lt_now|lt_clock_\w+|_+rdtsc|__builtin_ia32_rdtsc")),
    ("encode", re.compile(r"lt_put_\w+|lt_push_\w+|lt_address_\w+|lt_stack_slot|mlf_\w+"
                          r"|time_delta|lt_commit|lt_encoder_\w+")),
)


def stage_of(chain):
    for stage, rule in RULES:
        if any(rule.fullmatch(name) for name in chain):
            return stage
    return "hook"


class Chains:
    """Address in the library (as linked) to its inlined functions, innermost first."""

    def __init__(self, library):
        self.library = str(library)
        self.known = {}

    def learn(self, addresses):
        new = sorted(set(addresses) - self.known.keys())
        if not new:
            return
        said = subprocess.run(["addr2line", "-a", "-i", "-f", "-e", self.library],
                              input="\n".join(map(hex, new)), capture_output=True, text=True,
                              check=True).stdout
        lines = said.splitlines()
        at = 0
        while at < len(lines):
            address, chain = int(lines[at], 16), []
            at += 1
            while at + 1 < len(lines) and not re.fullmatch(r"0x[0-9a-f]{16}", lines[at]):
                chain.append((lines[at].split(".")[0], os.path.basename(lines[at + 1])))
                at += 2
            self.known[address] = chain

    def functions(self, address):
        return [name for name, _ in self.known.get(address, ())]

    def line(self, address):
        chain = self.known.get(address)
        return chain[0][1].split(" ")[0] if chain else "?"


def text_offset(library):
    """Address less file offset of the executable segment."""
    said = subprocess.run(["readelf", "-lW", str(library)], capture_output=True, text=True,
                          check=True).stdout
    for line in said.splitlines():
        words = line.split()
        if words[:1] == ["LOAD"] and "E" in "".join(words[6:-1]):
            return int(words[2], 16) - int(words[1], 16)
    return 0


def tally(result, chains, weight, stack, kernel, allocator=False):
    """Add a sample whose frames inside the library are `stack`, innermost first."""
    chain = chains.functions(stack[0]) if stack else []
    stage = "kernel" if kernel else "hook" if allocator else stage_of(chain)
    frees = any(set(chains.functions(a)) & FREES for a in stack)
    result["stages"][stage] += weight
    result["free" if frees else "alloc"] += weight
    result["free_stages" if frees else "alloc_stages"][stage] += weight
    if stack and not allocator:
        result["lines"][(chain[-1] if chain else "?") + " " + chains.line(stack[0])
                        + (" (kernel)" if kernel else "")] += weight
        result["functions"][chain[0] if chain else "?"] += weight


def empty():
    return {"stages": collections.Counter(), "alloc_stages": collections.Counter(),
            "free_stages": collections.Counter(), "alloc": 0, "free": 0,
            "lines": collections.Counter(), "functions": collections.Counter(), "total": 0}


def perf_works(bench):
    if not shutil.which("perf"):
        return False
    try:
        done = subprocess.run(["perf", "record", "-q", "-e", "cpu-clock", "-o",
                               str(bench.tmp / "perf.data"), "true"], capture_output=True)
        return done.returncode == 0
    except OSError:
        return False


def perf_samples(bench, work, chains, result, bias):
    """One run under perf. Returns its events."""
    data = bench.tmp / "perf.data"
    env = clean_environment()
    trace = os.open(bench.trace, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(trace, 1022)
    os.close(trace)
    settings = [f"{k}={v}" for k, v in work.env.items()]
    with open(work.stdin or os.devnull, "rb") as stdin:
        process = subprocess.Popen(
            ["perf", "record", "-q", "-e", "cpu-clock", "-F", "5000", "--call-graph", "fp",
             "-o", str(data), "env", f"LD_PRELOAD={bench.library}", *settings, *work.argv],
            stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env,
            cwd=work.cwd or bench.tmp, pass_fds=(1022,))
        os.close(1022)
        if work.serve:
            work.serve()
        process.wait()
    events = bench_traces.mlog_trace(bench)
    said = subprocess.run(["perf", "script", "-i", str(data), "--show-mmap-events",
                           "--max-stack", "40", "-F", "comm,pid,tid,time,event,ip,sym,dso"],
                          capture_output=True, text=True, errors="replace").stdout
    maps = []
    samples = []
    name = str(bench.library)
    for block in said.split("\n\n"):
        frames = []
        for line in block.splitlines():
            if "PERF_RECORD_MMAP" in line:
                found = re.search(r"\[0x([0-9a-f]+)\(0x([0-9a-f]+)\) @ (?:0x)?([0-9a-f]+).*\]: "
                                  r"\S*x\S* (.*)", line)
                if found and found[4].strip() == name:
                    start = int(found[1], 16)
                    maps.append((start, start + int(found[2], 16), int(found[3], 16)))
                continue
            found = re.match(r"\s+([0-9a-f]+) (.*) \((.*)\)$", line)
            if found:
                frames.append((int(found[1], 16), found[2], found[3]))
        if frames:
            samples.append(frames)
    inside = []
    for frames in samples:
        kernel = frames[0][0] >> 63 == 1
        user = [f for f in frames if f[0] >> 63 == 0]
        leaf = user[0] if user else None
        addresses = []
        for ip, _, dso in user:
            if dso == name:
                # perf prints an address as linked, or, of some versions, as loaded.
                place = next((m for m in maps if m[0] <= ip < m[1]), None)
                linked = ip - place[0] + place[2] + bias if place else ip
                # A return address, but for the leaf: into the call.
                addresses.append(linked - bool(addresses))
            elif addresses:
                break
            elif len(user) > 1 and ip != leaf[0]:
                break
        allocator = bool(leaf and leaf[1].startswith("malloc_usable_size"))
        in_library = bool(leaf and leaf[2] == name)
        if (in_library or allocator) and addresses:
            inside.append((addresses, kernel, allocator))
    chains.learn(a for addresses, _, _ in inside for a in addresses)
    for addresses, kernel, allocator in inside:
        tally(result, chains, 1, addresses, kernel, allocator)
    result["total"] += len(samples)
    return events


def perf_split(bench, work, runs):
    """Nanoseconds an event by stage, sampled."""
    chains = Chains(bench.library)
    bias = text_offset(bench.library)
    result = empty()
    allocs = frees = 0
    for _ in range(runs):
        trace = perf_samples(bench, work, chains, result, bias)
        allocs += trace["allocs"] + trace["reallocs"] + trace["failed"]
        frees += trace["frees"] + trace["frees_by"]
    period = 1e9 / 5000
    each = lambda samples, events: samples * period / max(1, events)  # noqa: E731
    return {
        "events": allocs + frees, "samples": result["alloc"] + result["free"],
        "ns_event": each(result["alloc"] + result["free"], allocs + frees),
        "ns_alloc": each(result["alloc"], allocs), "ns_free": each(result["free"], frees),
        "stages": {s: each(result["stages"][s], allocs + frees) for s in STAGES},
        "alloc_stages": {s: each(result["alloc_stages"][s], allocs) for s in STAGES},
        "free_stages": {s: each(result["free_stages"][s], frees) for s in STAGES},
        "lines": [(n, each(c, allocs + frees)) for n, c in result["lines"].most_common(25)],
        "functions": [(n, each(c, allocs + frees)) for n, c in result["functions"].most_common(25)],
    }


def callgrind(bench, work, traced, options=()):
    """Run under callgrind; the path of its output."""
    out = bench.tmp / "callgrind.out"
    env = clean_environment()
    env.update(work.env)
    if traced:
        bench.trace.unlink(missing_ok=True)
        env.update(LD_PRELOAD=str(bench.library), MLOG_OUT=str(bench.trace))
    with open(work.stdin or os.devnull, "rb") as stdin:
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}",
             "--compress-strings=no", "--compress-pos=no", *options, *work.argv],
            stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env,
            cwd=work.cwd or bench.tmp)
    if done.returncode:
        raise RuntimeError(f"callgrind of {work.name}: {done.stderr.decode()[-2000:]}")
    return out


def callgrind_split(bench, work):
    """Instructions an event by stage."""
    out = callgrind(bench, work, True, ["--dump-instr=yes"])
    trace = bench_traces.mlog_trace(bench)
    costs = collections.Counter()       # address in the library: instructions
    usable = 0
    ob = fn = ""
    called = False
    total = 0
    with open(out, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("0x"):
                if called:
                    called = False
                    continue
                words = line.split()
                cost = int(words[2])
                total += cost
                if ob.endswith("libmlog.so"):
                    costs[int(words[0], 16)] += cost
                elif fn.startswith("malloc_usable_size"):
                    usable += cost
            elif line.startswith("ob="):
                ob = line[3:].strip()
            elif line.startswith("fn="):
                fn = line[3:].strip()
            elif line.startswith("calls="):
                called = True
    chains = Chains(bench.library)
    chains.learn(costs)
    result = empty()
    for address, cost in costs.items():
        tally(result, chains, cost, [address], False)
    result["stages"]["hook"] += usable
    each = lambda cost: cost / max(1, trace["events"])  # noqa: E731
    return {
        "events": trace["events"], "total": total,
        "instructions_event": each(sum(result["stages"].values())),
        "stages": {s: each(result["stages"][s]) for s in STAGES if s != "kernel"},
        "functions": [(n, each(c)) for n, c in result["functions"].most_common(30)],
        "lines": [(n, each(c)) for n, c in result["lines"].most_common(30)],
    }
