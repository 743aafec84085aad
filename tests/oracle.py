# SPDX-License-Identifier: MIT
"""Reads what liboracle.so (oracle/oracle.c) wrote: one file a process image.

The layout is that of struct oracle_file: 64-bit integers of this machine, then
the name of the executable.
"""
import dataclasses
import glob
import struct

FUNCTIONS = ("malloc calloc realloc reallocarray free memalign posix_memalign aligned_alloc "
             "valloc pvalloc free_sized free_aligned_sized").split()
NUMBERS = ("allocations frees reallocations allocated_bytes freed_bytes live_bytes live_blocks "
           "inherited_bytes inherited_blocks peak_bytes blocks_at_peak most_blocks "
           "foreign_frees usable_allocated usable_freed usable_peak").split()
_LAYOUT = struct.Struct(f"=8s2Q{len(FUNCTIONS)}Q{len(FUNCTIONS)}Q{len(NUMBERS)}Q256s")


@dataclasses.dataclass
class Process:
    """One process image as the oracle saw it. `calls` holds only what is not 0."""
    pid: int
    ppid: int
    executable: str
    calls: dict
    failed: dict
    numbers: dict
    image: int  # 0 at first, rising with every exec of the pid

    def __getattr__(self, name):
        try:
            return self.__dict__["numbers"][name]
        except KeyError:
            raise AttributeError(name) from None


def _read_one(path):
    with open(path, "rb") as file:
        fields = _LAYOUT.unpack(file.read())
    assert fields[0] == b"oracle1\0", f"{path} was never filled in"
    n = len(FUNCTIONS)
    calls = {name: count for name, count in zip(FUNCTIONS, fields[3:3 + n]) if count}
    failed = {name: count for name, count in zip(FUNCTIONS, fields[3 + n:3 + 2 * n]) if count}
    numbers = dict(zip(NUMBERS, fields[3 + 2 * n:-1]))
    return Process(fields[1], fields[2], fields[-1].split(b"\0")[0].decode(), calls, failed,
                   numbers, int(path.rsplit(".", 1)[1]))


def read(prefix):
    """All process images that wrote to ORACLE_OUT=prefix, by pid and image."""
    found = [_read_one(path) for path in glob.glob(glob.escape(str(prefix)) + ".*.*")]
    return sorted(found, key=lambda process: (process.pid, process.image))


def total(processes):
    """The sums over processes; peaks are not summed. Inherited blocks are in
    live_* as often as there are processes that hold them."""
    numbers = {name: sum(p.numbers[name] for p in processes) for name in NUMBERS}
    calls = {}
    for process in processes:
        for name, count in process.calls.items():
            calls[name] = calls.get(name, 0) + count
    return calls, numbers
