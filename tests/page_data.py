# SPDX-License-Identifier: MIT
"""What an interactive page holds, read by analyzer/REPORT.md and nothing else: a second
opinion on the page's own script."""
import base64
import collections
import json
import re
import zlib

NEVER = float("inf")
Cell = collections.namedtuple("Cell", "stack thread born freed blocks bytes temporary")


def numbers(data):
    value, shift, found = 0, 0, []
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(value)
            value, shift = 0, 0
    return found


def change(number):
    return -(number >> 1) - 1 if number & 1 else number >> 1


def follow(changes):
    at, found = 0, []
    for one in changes:
        at += change(one)
        found.append(at)
    return found


class Page:
    def __init__(self, path):
        self.text = open(path, encoding="utf-8").read()
        packed, = re.findall(r'<script type="text/plain" id="data">([A-Za-z0-9+/=]*)</script>',
                             self.text)
        raw = zlib.decompress(base64.b64decode(packed))
        size = int.from_bytes(raw[:4], "little")
        self.meta = json.loads(raw[4:4 + size])
        self.columns, at = {}, 4 + size
        for name, length in self.meta["columns"]:
            self.columns[name] = raw[at:at + length]
            at += length
        assert at == len(raw)
        self.slots, self.width = self.meta["slots"], self.meta["width_ns"]
        column = {name: numbers(data) for name, data in self.columns.items()
                  if name != "stack_key"}
        self.flags = column["stack_flags"]
        self.cells, cell = [], 0
        for stack, thread, n in zip(follow(column["row_stack"]), column["row_thread"],
                                    column["row_cells"]):
            born = 0
            for cell in range(cell, cell + n):
                born += change(column["cell_born"][cell])
                freed = column["cell_freed"][cell]
                self.cells.append(Cell(stack, thread, born, born + freed - 1 if freed else NEVER,
                                       column["cell_blocks"][cell], column["cell_bytes"][cell],
                                       column["cell_temporary"][cell]))
            cell += 1 if n else 0

    def key(self, stack):
        """The number of a stack, as --stack takes it."""
        return self.columns["stack_key"][6 * stack:6 * stack + 6].hex()

    def window(self, a, b):
        """For each measure a Counter of bytes and one of blocks by stack; beside these the
        blocks that their thread freed before it allocated again."""
        names = "leaked live allocated temporary released instant".split()
        sums = {name: (collections.Counter(), collections.Counter()) for name in names}
        for cell in self.cells:
            kinds = []
            if a <= cell.born < b:
                kinds += ["allocated", "temporary" if cell.freed < b else "leaked"]
                if cell.freed < b:
                    sums["instant"][1][cell.stack] += cell.temporary
            if cell.born < b <= cell.freed:
                kinds.append("live")
            if cell.born < a <= cell.freed < b:
                kinds.append("released")
            for kind in kinds:
                sums[kind][0][cell.stack] += cell.bytes
                sums[kind][1][cell.stack] += cell.blocks
        return sums

    def by_key(self, counter):
        found = collections.Counter()
        for stack, value in counter.items():
            found[self.key(stack)] += value
        return +found
