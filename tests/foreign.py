# SPDX-License-Identifier: MIT
"""Other processors and another libc: libraries and programs built for them by a
cross compiler, in build directories of their own, and how those are run. The
fixture `ports` (conftest.py) builds one when it is first asked for.
"""
import pathlib
import platform
import shutil

import pytest

import support
from support import BUILD, ROOT, run

SYSROOT = pathlib.Path("/usr/aarch64-linux-gnu")
QEMU = ["qemu-aarch64", "-L", str(SYSROOT)]


class Port:
    """One target: how it is built (a Meson cross file) and how it is run."""

    def __init__(self, name, compiler, emulator=(), packages="", machine=None):
        self.name, self.compiler, self.emulator = name, compiler, list(emulator)
        self.packages, self.machine = packages, machine
        self.build = BUILD / "ports" / name
        self.library = self.build / "libtrace" / "libmlog.so"
        self.cxx = [compiler[0].replace("gcc", "g++"), *compiler[1:]]

    @property
    def flags(self):
        """What the cross file gives the compiler."""
        return ["-idirafter", "/usr/include/x86_64-linux-gnu"] if self.name == "i386" else []

    def missing(self, tmp):
        """Why it cannot be tested here, None if it can."""
        if self.machine and platform.machine() != self.machine:
            return f"{self.name} is tested on {self.machine}"
        program, source = tmp / "hello", tmp / "hello.c"
        source.write_text("#include <errno.h>\n#include <stdio.h>\n"
                          "int main(void) { return puts(\"hello\") < 0 || errno; }\n")
        tools = [self.compiler[0], *self.emulator[:1]]
        if not all(shutil.which(tool) for tool in tools) or \
                run([*self.compiler, *self.flags, source, "-o", program]).returncode != 0:
            return f"to test {self.name}: apt-get install {self.packages}"
        try:
            done = run([*self.emulator, program]).visible
        except OSError as error:  # a kernel without this machine's other instruction set
            done = error.strerror
        if done == (0, "hello\n", ""):
            return None
        return f"{self.name}: a trivial program does not run here, untraced: {done}"

    def make(self):
        options = ["--cross-file", ROOT / f"tests/ports/{self.name}.ini", "-Danalyzer=false",
                   "--werror", "--buildtype=release"]
        if not (self.build / "build.ninja").exists():
            done = run(["meson", "setup", self.build, ROOT, *options])
            assert done.returncode == 0, done
        programs = ["deep", "threads", "fork_threads", "spawn", "reload", "plugin_first.so",
                    "plugin_second.so"]
        wanted = ["libtrace/libmlog.so", "tests/ports/calls", "tests/unit/test_codec"]
        if self.name != "musl":
            wanted += ["tests/oracle/liboracle.so"]
            programs += ["functions"]
        else:
            programs += ["own_malloc_all", "own_malloc_count", "fixed_address", "toy_allocator.so"]
        done = run(["ninja", "-C", self.build, *wanted, *("tests/programs/" + p for p in programs)])
        assert done.returncode == 0, done

    def command(self, argv, preload=(), **environment):
        """argv run with these libraries preloaded; not so the emulator itself."""
        if preload:
            environment["LD_PRELOAD"] = " ".join(map(str, preload))
        pairs = [f"{name}={value}" for name, value in environment.items()]
        if not self.emulator:
            return ["env", *pairs, *argv] if pairs else argv
        return [*self.emulator, *(x for pair in pairs for x in ("-E", pair)), *argv]

    def trace(self, argv, path, counted_by=None, redirect='1022>"$trace"', before=(),
              **environment):
        preload = [*before, self.library]
        if counted_by is not None:
            preload.append(self.build / "tests/oracle/liboracle.so")
            environment["ORACLE_OUT"] = str(counted_by)
        script = f'trace=$1; shift; exec "$@" {redirect}'
        return support.bash(script, path, *self.command(argv, preload, **environment))

    def program(self, name):
        return self.build / "tests" / "programs" / name


PORTS = {port.name: port for port in (
    Port("aarch64", ["aarch64-linux-gnu-gcc"], [*QEMU[:1], "-cpu", "max,pauth-impdef=on", *QEMU[1:]],
         "gcc-aarch64-linux-gnu g++-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"),
    Port("i386", ["gcc", "-m32"], (), "gcc-12-multilib g++-12-multilib", "x86_64"),
    Port("musl", ["musl-gcc"], (), "musl-tools", "x86_64"),
)}


def each(*names):
    """One group a port, so that one worker builds it and uses it."""
    return pytest.mark.parametrize("port", [
        pytest.param(name, marks=pytest.mark.xdist_group(f"port-{name}")) for name in names
    ], indirect=True)
