# SPDX-License-Identifier: MIT
"""Fixtures and marks for every test below this folder; see README.md."""
import os
import shutil
import subprocess

import pytest

import foreign
import support


def pytest_configure(config):
    os.environ.setdefault("MLOG_BUILD", str(support.BUILD))  # as tests/format calls it
    config.addinivalue_line("markers", "smoke: also run on the library built by clang")


def pytest_sessionstart(session):
    """End at once, with what to do, if there is nothing to test."""
    for path in (support.LIBRARY, support.ANALYZE, support.PLOT, support.MLOG,
                 support.ORACLE):
        if not path.exists():
            raise pytest.UsageError(f"{path} is missing; build first (tests/run.sh does), "
                                    "or name another build directory in MLOG_BUILD_DIR")


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """A trace of tests/programs/functions.c: every function, and leaks of known sizes."""
    path = tmp_path_factory.mktemp("functions") / "t"
    support.trace([support.PROGRAMS / "functions"], path)
    return path


@pytest.fixture(scope="session")
def git_repository(tmp_path_factory):
    """A repository with 60 commits, the same every time."""
    root = tmp_path_factory.mktemp("repository")
    env = dict(os.environ, HOME=str(root), GIT_CONFIG_NOSYSTEM="1", GIT_PAGER="cat",
               GIT_AUTHOR_NAME="A", GIT_AUTHOR_EMAIL="a@example.org",
               GIT_COMMITTER_NAME="A", GIT_COMMITTER_EMAIL="a@example.org",
               GIT_AUTHOR_DATE="1600000000 +0000", GIT_COMMITTER_DATE="1600000000 +0000")
    git = shutil.which("git")

    def run(*args):
        subprocess.run([git, *args], cwd=root, env=env, check=True, stdout=subprocess.DEVNULL)

    run("init", "-q", "-b", "main")
    run("config", "gc.auto", "0")
    for i in range(60):
        for k in range(i % 5 + 1):
            with open(root / f"file{k}.txt", "a") as file:
                file.writelines(f"line {i} {k} {j * j % 97}\n" for j in range(20 + i))
        run("add", ".")
        run("commit", "-q", "-m", f"change {i}")
    return root, env


@pytest.fixture(scope="session")
def ports(tmp_path_factory):
    """By name, one of foreign.PORTS, built; skips with what to install if it cannot be."""
    made = {}

    def get(name):
        if name not in made:
            port = foreign.PORTS[name]
            made[name] = port.missing(tmp_path_factory.mktemp(name))
            if not made[name]:
                port.make()
        if made[name]:
            pytest.skip(made[name])
        return foreign.PORTS[name]
    return get
