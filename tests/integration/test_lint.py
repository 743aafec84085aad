# SPDX-License-Identifier: MIT
"""Rules of the code base that a tool can check."""
import os
import platform
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest

import support
from support import BUILD, LIBRARY, ROOT, run

CODE = ("format", "libtrace", "analyzer", "cli", "tests", "examples", "tools")
TEXT = {".c", ".h", ".cc", ".py", ".sh", ".md", ".build", ".txt", ".map", ".js", ".css", ".html",
        ".in", ".supp", ""}


def tracked():
    """The files of the project: git's, or all that it would take."""
    listed = run(["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"],
                 cwd=ROOT)
    if listed.returncode == 0:
        names = listed.stdout.split("\n")
    else:
        names = [str(path.relative_to(ROOT)) for folder in CODE
                 for path in (ROOT / folder).rglob("*")]
    return sorted({ROOT / n for n in names if n and (ROOT / n).is_file()})


def sources(*suffixes, under=""):
    return [p for p in tracked() if p.suffix in suffixes
            and str(p.relative_to(ROOT)).startswith(under)]


def includes(path):
    return re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', path.read_text(), re.M)


@pytest.mark.smoke
def test_library_needs_libc_alone():
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run(["readelf", "-dW", LIBRARY]).stdout)
    assert needed == ["libc.so.6"], needed


@pytest.mark.smoke
def test_library_exports_its_list_and_no_more():
    symbols = run(["nm", "-D", "--defined-only", LIBRARY]).stdout
    exported = {line.split()[-1].split("@")[0] for line in symbols.splitlines()}
    hooks = {"malloc", "calloc", "realloc", "reallocarray", "free", "memalign",
             "posix_memalign", "aligned_alloc", "valloc", "pvalloc", "free_sized",
             "free_aligned_sized"}
    assert hooks <= exported
    # What else there is: mlog's own API, and functions of libc that it wraps.
    wrapped = {"_exit", "_Exit", "abort", "quick_exit", "fork", "_Fork", "vfork", "dlclose", "dlopen", "dlmopen",
               "execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve",
               "execveat", "posix_spawn", "daemon", "__assert_fail",
               "__assert_perror_fail", "__stack_chk_fail", "posix_spawnp",
               "mlockall", "prctl", "syscall", "sigaction", "signal", "pthread_create",
               "mmap", "mmap64",
               "__register_frame", "__deregister_frame", "__register_frame_info",
               "__deregister_frame_info", "__asan_default_options", "close", "closefrom", "close_range", "dup2", "dup3"}
    others = {name for name in exported - hooks - wrapped
              if not name.startswith("mlog_") and not re.match(r"MLOG_[0-9.]+$", name)}
    assert not others, others


@pytest.mark.smoke
def test_library_is_safe_to_preload():
    """No executable stack, no text relocation, bound at load, TLS initial-exec."""
    dynamic = run(["readelf", "-dW", LIBRARY]).stdout
    assert "TEXTREL" not in dynamic
    assert "NOW" in dynamic
    headers = run(["readelf", "-lW", LIBRARY]).stdout
    assert re.search(r"GNU_STACK.*RW ", headers)
    relocations = run(["readelf", "-rW", LIBRARY]).stdout
    assert "DTPMOD64" not in relocations, "general-dynamic TLS may allocate"


def test_library_leaves_shadow_stacks_and_branch_targets_guarded():
    """GIVEN that glibc takes its guards from a process of which one object lacks the mark; THEN
    the library has it (on AArch64 its own objects), and the loader calls nothing in it that
    was built without."""
    machine = platform.machine()
    wanted = {"x86_64": ["IBT", "SHSTK"], "aarch64": ["BTI", "PAC"]}.get(machine)
    if not wanted:
        pytest.skip(f"no such mark on {machine}")
    objects = sorted((BUILD / "libtrace").glob("libmlog.so*.p/*.o"))
    assert len(objects) >= 20
    for path in [*objects, *([LIBRARY] if machine == "x86_64" else [])]:
        notes = run(["readelf", "-nW", path]).stdout
        found = re.findall(r"(?:x86|AArch64) feature: (.*)", notes)
        assert found and found[0].split(", ") == wanted, (path, notes)
    if machine == "x86_64":
        dynamic = run(["readelf", "-dW", LIBRARY]).stdout
        assert not re.search(r"\((INIT|FINI)\)", dynamic), dynamic
        assert "INIT_ARRAY" in dynamic and "FINI_ARRAY" in dynamic
        code = run(["objdump", "-d", "--no-show-raw-insn", LIBRARY]).stdout
        for name in ("malloc", "free", "realloc", "lt_capture_registers"):
            first = re.search(rf"<{name}>:\n\s*[0-9a-f]+:\s*(\w+)", code)
            assert first and first[1] == "endbr64", name


def test_rooms_share_only_format():
    """The library, the analyser and the command include what is theirs, and format/; format/
    includes nothing of theirs."""
    own = {folder: {p.name for p in sources(".h", under=folder + "/")}
           for folder in ("libtrace", "analyzer", "cli", "format")}
    assert all(own.values())
    for folder in own:
        others = {name for other in own if other not in (folder, "format") for name in own[other]}
        assert not own[folder] & others
        for path in sources(".c", ".h", under=folder + "/"):
            used = {name.rsplit("/", 1)[-1] for name in includes(path)}
            assert not used & others, f"{path} includes from another room"
            assert not [n for n in includes(path) if ".." in n], path


def test_the_command_needs_libc_alone():
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run(["readelf", "-dW", support.MLOG]).stdout)
    assert needed == ["libc.so.6"], needed
    named = re.findall(r" T (\w+)", run(["nm", support.MLOG]).stdout)
    strays = {name for name in named if not name.startswith(("mc_", "_", "main"))}
    assert not strays, strays


def analyzer_layers():
    """The folders of analyzer/, from the bottom up, as its meson.build lists them."""
    listed = (ROOT / "analyzer" / "meson.build").read_text()
    table = re.search(r"^ma_folders = \{\n(.*?)^\}", listed, re.M | re.S).group(1)
    return re.findall(r"^  '(\w+)': \[", table, re.M)


def test_no_folder_of_the_analyser_includes_what_stands_above_it():
    """GIVEN the folders of analyzer/ in the order of meson.build; WHEN a file of one
    includes a header of another; THEN the other comes earlier. The files at the top
    (the command, its options) may include all, and nothing includes them."""
    layers = analyzer_layers()
    assert len(layers) >= 9 and layers[0] == "base", layers
    top = len(layers)
    level, upwards = {}, []
    files = sources(".c", ".h", under="analyzer/")
    for path in files:
        folder = path.relative_to(ROOT / "analyzer").parts[0]
        assert folder in layers or folder == path.name, f"{path}: no folder of meson.build"
        level[path.name] = layers.index(folder) if folder in layers else top
    assert len(level) == len(files), "two files of one name"
    for path in files:
        for name in includes(path):
            if level.get(name, 0) > level[path.name]:
                upwards.append(f"{path.relative_to(ROOT)} includes {name}")
    assert not upwards, upwards


def dependencies_between(objects, left_out):
    """Which object needs which, by the symbols that `nm` tells: {name: {name: symbols}}."""
    needs, home = {}, {}
    for path in objects:
        needs[path.name] = set()
        for line in run(["nm", path]).stdout.splitlines():
            kind, symbol = line.split()[-2:]
            if kind in "Uvw":
                needs[path.name].add(symbol)
            elif kind.isupper():
                home[symbol] = path.name
    found = {name: {} for name in needs}
    for name, symbols in needs.items():
        for symbol in symbols - left_out:
            if home.get(symbol, name) != name:
                found[name].setdefault(home[symbol], []).append(symbol)
    return found


def test_sources_of_the_library_have_no_circle():
    """GIVEN the objects of libmlog.so; WHEN those that need no other are taken away, again
    and again; THEN none is left. The functions of libc that the library stands in front of
    do not count: a source that calls free() or takes its address calls libc."""
    objects = sorted((BUILD / "libtrace").glob("libmlog.so*.p/*.o"))
    built = [p.stem for p in sources(".c", under="libtrace/")]
    assert len(objects) >= 20, "where does meson put the objects of libmlog.so?"
    objects = [path for path in objects if path.name.removesuffix(".c.o") in built]
    exported = re.search(r"global:(.*?)local:", (ROOT / "libtrace" / "libmlog.map").read_text(),
                         re.S).group(1)
    of_libc = {name for name in re.findall(r"\w+", exported) if not name.startswith("mlog_")}
    left = dependencies_between(objects, of_libc)
    assert any(left.values()), "nm tells nothing"
    while bottom := [name for name in left if not left[name].keys() & left.keys()]:
        for name in bottom:
            del left[name]
    circle = {name: {other: symbols for other, symbols in needed.items() if other in left}
              for name, needed in left.items()}
    assert not circle, f"in a circle, or above one: {circle}"


def test_every_system_call_is_tried_behind_a_filter():
    """GIVEN the system calls that the library makes by number
    THEN the trial of a filter makes each, but that by which it notices a filter being set."""
    def calls(path):
        return set(re.findall(r"\bSYS_\w+", path.read_text()))

    tried = ROOT / "libtrace" / "lt_probe.c"
    wrapped = calls(ROOT / "libtrace" / "lt_sys.h") # other names of one call by machine
    made = set().union(*(calls(path) for path in sources(".c", ".h", under="libtrace/")
                         if path.name not in (tried.name, "lt_sys.h")))
    untried = made - calls(tried) - wrapped
    by_function = {"SYS_openat": "lt_open(", "SYS_getpid": "lt_getpid(",
                   "SYS_getppid": "lt_getppid(", "SYS_gettid": "lt_gettid("}
    assert all(name in tried.read_text() for name in by_function.values())
    assert untried - by_function.keys() == {"SYS_seccomp"}


def test_no_source_includes_a_source():
    for path in sources(".c", ".h", ".cc"):
        assert not [n for n in includes(path) if n.endswith((".c", ".cc"))], path


def test_library_uses_no_stdio_and_no_malloc():
    symbols = run(["nm", "-D", "--undefined-only", LIBRARY]).stdout
    used = {line.split()[-1].split("@")[0] for line in symbols.splitlines() if line.split()}
    banned = {"malloc", "calloc", "realloc", "free", "printf", "fprintf", "snprintf", "vsnprintf",
              "dprintf", "fopen", "fdopen", "fwrite", "fputs", "puts", "getline", "opendir",
              "readdir", "fread", "stdout", "stderr", "pthread_create", "__printf_chk",
              "__fprintf_chk", "__snprintf_chk", "__vsnprintf_chk", "__dprintf_chk", "strdup",
              "asprintf", "qsort", "system", "popen", "syslog", "setenv", "putenv"}
    assert not used & banned, used & banned


def test_every_header_compiles_alone(tmp_path):
    for path in sources(".h"):
        if "tests/" in str(path.relative_to(ROOT)):
            continue
        if path.stem.endswith("_tmpl"):     # defines functions, for the one file that includes it
            continue
        unit = tmp_path / (path.stem + ".c")
        unit.write_text(f'#include "{path.name}"\nextern int dummy;\n')
        done = run(["gcc", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
                    "-Werror", "-Wno-unused-function", "-fsyntax-only", f"-I{path.parent}",
                    *(f"-I{ROOT / 'analyzer' / folder}" for folder in analyzer_layers()),
                    f"-I{ROOT / 'format'}", f"-I{BUILD}", f"-I{BUILD / 'analyzer'}",
                    f"-I{BUILD / 'libtrace'}", unit])
        assert done.returncode == 0, done


@pytest.mark.parametrize("language", [["gcc", "-std=c99", "-xc"], ["g++", "-std=c++11", "-xc++"],
                                      ["clang", "-std=c11", "-xc"]])
def test_public_header_is_for_every_user(tmp_path, language):
    """Strict C and C++, all warnings, without _GNU_SOURCE."""
    unit = tmp_path / "unit"
    unit.write_text('#include "mlog.h"\nint main(void) { return 0; }\n')
    done = run([*language, "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only",
                f"-I{ROOT / 'libtrace'}", unit])
    assert done.returncode == 0, done


def test_files_open_with_a_licence_and_a_paragraph():
    missing = []
    for path in tracked():
        if path.suffix in {".c", ".h", ".cc", ".py", ".sh", ".build"} or path.name == "run":
            head = path.read_text().splitlines()[:8]
            if not any("SPDX-License-Identifier: MIT" in line for line in head[:3]):
                missing.append(f"{path}: no SPDX line")
            elif path.suffix in {".c", ".h", ".py", ".sh", ".cc"} and \
                    sum(len(line) for line in head) < 80:
                missing.append(f"{path}: no opening paragraph")
    assert not missing, missing


def test_sources_are_laid_out_by_clang_format():
    """Other versions lay out other things differently: .clang-format is for Debian 12's."""
    version = run(["clang-format-14", "--version"]).stdout
    if "version 14." not in version:
        pytest.skip(f"clang-format 14 decides, this is {version.strip() or 'missing'}")
    files = [str(path) for path in sources(".c", ".h", ".cc")]
    done = run(["clang-format-14", "--dry-run", "--Werror", *files])
    wrong = sorted(set(re.findall(r"^(\S+?):\d+:\d+: ", done.stderr, re.M)))
    assert done.returncode == 0 and not wrong, f"clang-format-14 -i {' '.join(wrong)}"


def words_of_the_sources():
    """Every word of code, comments left out; the names of sources without their suffix
    and of folders."""
    words = set()
    for path in sources(".c", ".h", ".cc", ".py", ".build"):
        text = path.read_text()
        if path.suffix in {".c", ".h", ".cc"}:
            text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text, flags=re.S)
        words |= set(re.findall(r"\w+", text)) | {path.stem, path.parent.name}
    return words


@pytest.mark.parametrize("document", ["docs/ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_documents_name_what_exists(document):
    """GIVEN a document that leads through the sources; WHEN it names a file, a folder, a
    function, a type or a member in backticks, or one of our names in a drawing; THEN there
    is one. <machine>, NAME and * stand for any letters."""
    text = (ROOT / document).read_text()
    files = [str(path.relative_to(ROOT)) for path in tracked()]
    folders = {parent + "/" for name in files for parent in map(str, Path(name).parents)}
    words = words_of_the_sources()
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^    .*$", "", text, flags=re.M))
    drawn = re.findall(r"\b(?:ma|lt|mlf|mc)_\w+\*?", "\n".join(re.findall(r"^    .*$", text, re.M)))
    missing = []
    for name in {re.sub(r"^struct ", "", span) for span in spans} | set(drawn):
        pattern = re.sub(r"<\w+>|NAME", "*", name)
        if re.fullmatch(r"[\w./*-]+\.\w+|[\w./-]+/", pattern):
            known = folders if pattern.endswith("/") else files
            found = any(fnmatch(one, pattern) or fnmatch(one, "*/" + pattern) for one in known)
        elif re.fullmatch(r"[A-Za-z_][\w*]*", pattern):
            found = pattern in words or ("*" in pattern and any(fnmatch(w, pattern) for w in words))
        else:
            found = True
        if not found:
            missing.append(name)
    assert len(spans) > 40 and not missing, f"{document} names what there is not: {missing}"


def test_no_file_is_long():
    for path in sources(".c", ".h", ".cc", ".py", ".sh", ".js"):
        lines = path.read_text().count("\n")
        assert lines <= 700, f"{path} has {lines} lines"


def test_basenames_of_sources_are_unique():
    seen = {}
    for path in sources(".c", ".h"):
        assert path.name not in seen, (path, seen[path.name])
        seen[path.name] = path


def test_no_trailing_blanks_tabs_or_odd_characters():
    for path in tracked():
        if path.suffix not in TEXT or "vectors" in path.parts:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        assert not re.search(r"[ \t]+$", text, re.M), f"{path}: trailing blanks"
        assert "\r" not in text, path
        if path.suffix in {".c", ".h", ".py"}:
            assert "\t" not in text, f"{path}: tab"


def test_scripts_are_sound():
    for path in tracked():
        if path.suffix == ".sh" or path.parts[-2:] == (".ci", "run"):
            assert os.access(path, os.X_OK), f"{path} is not executable"
            assert run(["bash", "-n", path]).returncode == 0, path


def test_library_allocates_no_big_frames():
    """A hook takes little of the program's stack: no function of the library
    has a frame of more than 4 KiB (those on the path of an event far less)."""
    if shutil.which("objdump") is None:
        pytest.skip("no objdump")
    text = run(["objdump", "-d", "--no-show-raw-insn", LIBRARY]).stdout
    frames = [int(m, 16) for m in re.findall(r"sub\s+\$0x([0-9a-f]{1,8}),%rsp", text)]
    assert frames and max(frames) <= 4608, max(frames)


def test_build_finds_pythons_that_have_the_modules():
    python = (BUILD / "tests" / "python-path").read_text().strip()
    assert run([python, "-c", "import matplotlib"]).returncode == 0


def test_support_names_what_is_built():
    assert support.ANALYZE.exists() and support.PLOT.exists() and support.MLOG.exists()
