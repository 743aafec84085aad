# SPDX-License-Identifier: MIT
"""A trace in which nothing came from the program: its report says why and what to type
next, and never that there is no leak."""
import pytest

import support
from support import MLOG, run

LIBRARY = ("#include <stdlib.h>\n#include <unistd.h>\n"
           "__attribute__((constructor)) static void begin(void)\n"
           "{ free(malloc(123 * 8)); _exit(0); }\n")


def said(path, program, words):
    text = support.analyze(path).stdout
    assert "No leak" not in text, text
    assert text.splitlines()[1] == \
        "  Nothing was recorded of the program: the end of the audit says why."
    last = text.splitlines()[-1]
    assert words in last and last.endswith(f"Which it is: mlog doctor {program}"), last
    assert support.report(path)["audit"]["nothing_recorded"] == last.strip()


def test_a_program_without_a_call(tmp_path):
    """GIVEN a program that never allocates; THEN its report ends with why, and the next
    command, which works; `mlog run` says the same."""
    support.compiled(tmp_path, "p", "int main(void) { return 0; }\n")
    support.trace([tmp_path / "p"], tmp_path / "t")
    said(tmp_path / "t", tmp_path / "p", "it made no call of malloc's family")
    done = run([MLOG, "run", tmp_path / "p"], cwd=tmp_path)
    assert "mlog: Nothing was recorded of " in done.stderr and "No leak" not in done.stderr
    assert run([MLOG, "doctor", tmp_path / "p"]).returncode == 0


def test_only_libraries_allocate(tmp_path):
    """GIVEN a program of which only a library's constructor allocates, and frees; THEN that is
    said, and "No leak" is not."""
    (tmp_path / "l.c").write_text(LIBRARY)
    (tmp_path / "p.c").write_text("int main(void) { return 0; }\n")
    done = run(["sh", "-c", 'gcc -shared -fPIC -o l.so l.c && gcc -o "a b" p.c -Wl,--no-as-needed '
                            './l.so'], cwd=tmp_path)
    assert done.returncode == 0, done
    support.trace([tmp_path / "a b"], tmp_path / "t", cwd=tmp_path)
    said(tmp_path / "t", f"'{tmp_path}/a b'", "No call came from")


@pytest.mark.parametrize("args", [["--tid", "1"], ["--min-size", "1G"]])
def test_a_filter_is_no_empty_program(trace, args):
    text = run([support.ANALYZE, trace, *args]).stdout
    assert "mlog doctor" not in text and "of the program" not in text
    assert support.report(trace)["audit"]["nothing_recorded"] is None
