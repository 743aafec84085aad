# SPDX-License-Identifier: MIT
"""Modules whose malloc is another than the traced one: the audit names them, whatever
way they came by it and however the program ends, and calls no such trace complete."""
import shutil

import pytest

import support

OPENER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
/* opener HOW PATH END: opens the plug-in, and calls its plugin_take unless END is "idle". */
static void spend_time(void)
{
    struct timespec moment = {0, 1000000};
    for (int i = 0; i < 1500; i++) { free(malloc(10)); nanosleep(&moment, 0); }
}
void *main_take(size_t size) { return malloc(size); }
int main(int argc, char **argv)
{
    const char *how = argv[1], *end = argv[argc - 1];
    int forks = !strcmp(end, "fork");
    if (forks && fork()) { int status; wait(&status); return status; }
    int flags = (strstr(how, "lazy") ? RTLD_LAZY : RTLD_NOW) | (strstr(how, "deep") ? RTLD_DEEPBIND : 0);
    void *handle = strstr(how, "namespace") ? dlmopen(LM_ID_NEWLM, argv[2], flags)
                                            : dlopen(argv[2], flags);
    if (!handle) return 9;
    void *(*take)(size_t) = (void *(*)(size_t))dlsym(handle, "plugin_take");
    if (strcmp(end, "idle")) for (int i = 0; i < 50; i++) take(123 * 8);
    if (!strcmp(end, "_exit") || forks) _exit(0);
    if (!strcmp(end, "kill")) { spend_time(); raise(SIGKILL); }
    if (!strcmp(end, "close")) dlclose(handle);
    if (!strcmp(end, "exec")) execl("/bin/true", "true", (char *)0);
    return 0;
}
"""
PLAIN = r"""
#include <stdlib.h>
static void *volatile keep;
__attribute__((noinline)) void *plugin_take(size_t size)
{ keep = malloc(size); __asm__ volatile(""); return keep; }
"""
# Calls malloc by a word in its data, as tables of functions do.
TABLE = r"""
#include <stdlib.h>
struct { void *(*take)(size_t); } table = {malloc};
void *plugin_take(size_t size) { return table.take(size); }
"""
# ... which the program fills with what it likes, as Python does with libmpdec's.
CHOSEN = TABLE + r"""
void *main_take(size_t size);
char *getenv(const char *);
void *(*other)(size_t) = malloc;
__attribute__((constructor)) static void choose(void)
{ table.take = main_take; other = (void *(*)(size_t))getenv; }
"""
OWN = PLAIN + r"""
static char room[1 << 20];
static size_t used;
void *malloc(size_t size) { used += (size + 63) & ~63ul; return room + used - ((size + 63) & ~63ul); }
void free(void *p) { (void)p; }
"""


def build(folder, name, source, *flags):
    return support.compiled(folder, name, source, "-g", "-O1", "-fno-builtin", *flags)


def plugin(folder, source=PLAIN, *flags):
    return build(folder, "plug.so", source, "-shared", "-fPIC", *flags)


def audit_of(path):
    whole = support.report(path)
    return whole["audit"], {(e["module"], e["reason"]) for e in whole["audit"]["bypassing"]}, whole


def trace(tmp_path, how, end, plug, **env):
    opener = build(tmp_path, "opener", OPENER, "-rdynamic")
    return support.trace([opener, how, plug, end], tmp_path / "t",
                         env=support.clean_environment(**env))


@pytest.mark.parametrize("end, status", [("return", 0), ("_exit", 0), ("kill", -9), ("close", 0),
                                         ("fork", 0), ("exec", 0)])
@pytest.mark.parametrize("how, reason", [("deep", "RTLD_DEEPBIND"), ("namespace", "dlmopen")])
def test_a_plugin_bound_past_the_library_is_named(tmp_path, how, reason, end, status):
    """GIVEN a plug-in that is bound to a libc's malloc; WHEN the program ends in any way, or
    closes it, or a fork's child opened it; THEN the audit names it and is not complete."""
    plug = plugin(tmp_path)
    assert trace(tmp_path, how, end, plug).returncode == status
    audit, found, _ = audit_of(tmp_path / "t")
    assert (str(plug), reason) in found and not audit["complete"]
    # The second libc is named too, but no module of the first namespace.
    assert {module.rsplit("/", 1)[-1] for module, _ in found} <= {"plug.so", "libc.so.6"}
    text = support.analyze(tmp_path / "t").stdout
    assert "another malloc than the traced one" in text and "plug.so" in text
    assert ("MLOG_DEEPBIND=drop" in text) == (how == "deep")


@pytest.mark.parametrize("end, named", [("return", True), ("idle", False)])
def test_a_lazy_plugin_is_named_once_it_allocates(tmp_path, end, named):
    """GIVEN a plug-in that is bound at its first call; THEN it is named if there was one."""
    plug = plugin(tmp_path, PLAIN, "-Wl,-z,lazy")
    assert trace(tmp_path, "deep lazy", end, plug).returncode == 0
    audit, found, _ = audit_of(tmp_path / "t")
    assert found == ({(str(plug), "RTLD_DEEPBIND")} if named else set())
    assert audit["complete"] != named


@pytest.mark.parametrize("source, flags", [(PLAIN, ["-fno-plt"]), (TABLE, []),
                                           (PLAIN, ["-Wl,--hash-style=sysv"])])
def test_every_word_that_leads_to_malloc_counts(tmp_path, source, flags):
    plug = plugin(tmp_path, source, *flags)
    assert trace(tmp_path, "deep", "return", plug).returncode == 0
    assert audit_of(tmp_path / "t")[1] == {(str(plug), "RTLD_DEEPBIND")}


@pytest.mark.parametrize("how, flags", [
    ("plain", ["-Wl,-Bsymbolic"]), ("plain", ["-Wl,-Bsymbolic-functions"]), ("deep", [])])
def test_a_plugin_with_a_malloc_of_its_own(tmp_path, how, flags):
    """Linked so that its own comes first, or opened so."""
    plug = plugin(tmp_path, OWN, *flags)
    assert trace(tmp_path, how, "return", plug).returncode == 0
    audit, found, _ = audit_of(tmp_path / "t")
    assert found == {(str(plug), "own malloc")} and not audit["complete"]


def test_a_needed_library_with_a_malloc_of_its_own(tmp_path):
    """GIVEN a program that needs it behind libc, and opens nothing; THEN it is named."""
    plug = plugin(tmp_path, OWN, "-Wl,-Bsymbolic")
    program = build(tmp_path, "program", "#include <stddef.h>\nvoid *plugin_take(size_t);\n"
                    "int main(void) { return !plugin_take(123 * 8); }\n",
                    "-Wl,--no-as-needed", "-lc", plug)
    assert support.trace([program], tmp_path / "t").returncode == 0
    audit, found, _ = audit_of(tmp_path / "t")
    assert found == {(str(plug), "own malloc")} and not audit["complete"]


def test_a_plugin_bound_to_anothers_malloc(tmp_path):
    """GIVEN a plug-in that needs a library with a malloc, opened with RTLD_DEEPBIND."""
    other = build(tmp_path, "libother.so", OWN.replace("plugin_take", "other_take"),
                  "-shared", "-fPIC")
    plug = plugin(tmp_path, PLAIN, other, "-Wl,--no-as-needed")
    assert trace(tmp_path, "deep", "return", plug).returncode == 0
    audit, found, _ = audit_of(tmp_path / "t")
    assert (str(plug), "another's malloc") in found and not audit["complete"]


@pytest.mark.parametrize("source, flags", [(PLAIN, []), (OWN, []), (CHOSEN, []),
                                           (TABLE, ["-Wl,-z,lazy"])])
def test_a_plugin_that_is_traced_is_not_named(tmp_path, source, flags):
    """Also one with a malloc of its own that nobody calls, as others' come first."""
    plug = plugin(tmp_path, source, *flags)
    assert trace(tmp_path, "plain", "return", plug).returncode == 0
    audit, found, whole = audit_of(tmp_path / "t")
    assert found == set() and audit["complete"]
    assert whole["summary"]["leaked_bytes"] >= 50 * 123 * 8


def test_the_flag_can_be_dropped(tmp_path):
    """GIVEN MLOG_DEEPBIND=drop; THEN the plug-in is bound as all others are, and traced."""
    plug = plugin(tmp_path)
    assert trace(tmp_path, "deep", "return", plug, MLOG_DEEPBIND="drop").returncode == 0
    audit, found, whole = audit_of(tmp_path / "t")
    assert found == set() and audit["complete"]
    assert whole["summary"]["leaked_bytes"] >= 50 * 123 * 8


def test_php(tmp_path):
    """PHP opens every extension with RTLD_DEEPBIND."""
    php = shutil.which("php")
    if not php:
        pytest.skip("no php here")
    argv = [php, "-r", "echo count(get_loaded_extensions()) > 5, PHP_EOL;"]
    plain = support.run(argv)
    done = support.trace(argv, tmp_path / "t")
    assert done.visible == plain.visible
    audit, found, _ = audit_of(tmp_path / "t")
    if not found:
        pytest.skip("no extension is a file that allocates")
    assert {reason for _, reason in found} == {"RTLD_DEEPBIND"} and not audit["complete"]
    done = support.trace(argv, tmp_path / "t2", env=support.clean_environment(MLOG_DEEPBIND="drop"))
    assert done.visible == plain.visible
    audit, found, _ = audit_of(tmp_path / "t2")
    assert found == set() and audit["complete"]
