#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes the test vectors of the trace format.

    generate.py             NAME.mlog + NAME.jsonl (valid: the events expected)
                            and NAME.bad + NAME.expect (invalid: see
                            vectors_invalid.py), beside itself
    generate.py DIRECTORY   there

A test compares the files in the repository with what this writes: a vector
never changes once a version of the format is out; new ones are added.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vectors_invalid import invalid
from vectors_valid import VALID


def all_files() -> dict[str, bytes]:
    """File name to contents, of all vectors."""
    files: dict[str, bytes] = {}
    for name, build in VALID.items():
        trace = build()
        files[name + ".mlog"] = trace.bytes()
        files[name + ".jsonl"] = "".join(json.dumps(line) + "\n"
                                         for line in trace.expected()).encode()
    for name, bad in invalid().items():
        files[name + ".bad"] = bad.data
        files[name + ".expect"] = (json.dumps(bad.expect) + "\n").encode()
    return files


def main() -> int:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    files = all_files()
    for name, contents in files.items():
        (directory / name).write_bytes(contents)
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes, in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
