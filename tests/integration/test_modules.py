# SPDX-License-Identifier: MIT
"""Modules under their right names: opened by a relative name, from whatever folder,
and where the program tells of its objects what was true once."""
import pytest

import support
from support import PROGRAMS

# Interposes dl_iterate_phdr with a list that is taken at the first call.
CACHED = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <string.h>
typedef int visitor(struct dl_phdr_info *, size_t, void *);
static struct dl_phdr_info list[64];
static size_t count;
static int take(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size, (void)data;
    if (count < 64)
        list[count++] = *info;
    return 0;
}
int dl_iterate_phdr(visitor *visit, void *data)
{
    int (*next)(visitor *, void *) = (int (*)(visitor *, void *))dlsym(RTLD_NEXT, "dl_iterate_phdr");
    int result = count ? 0 : next(take, NULL);
    for (size_t i = 0; i < count && !result; i++)
        result = visit(&list[i], sizeof list[i], data);
    return result;
}
"""
EACH = r"""
#include <dlfcn.h>
#include <stdio.h>
static void run(const char *path)
{
    void *library = dlopen(path, RTLD_NOW);
    ((void (*)(void))dlsym(library, "plugin_run"))();
    dlclose(library);
}
int main(int argc, char **argv) { for (int i = 1; i < argc; i++) run(argv[i]); return argc != 3; }
"""


def build(folder, name, source, *flags):
    return support.compiled(folder, name, source, "-g", "-O1", *flags)


def blamed(path):
    """{function: (its module, bytes)} of what plug-ins leaked."""
    whole = support.report(path, "--leaks")
    assert whole["audit"]["complete"], whole["audit"]["warnings"]
    leaks = support.leaks_of(whole["leaks"], "plugin_run")
    return {e["stack"][0]["function"]: (e["stack"][0]["module"], e["bytes"]) for e in leaks}


@pytest.mark.parametrize("way", ["program", "needed", "preloaded"])
def test_a_list_of_objects_that_is_out_of_date(tmp_path, way):
    """GIVEN a program, or a library in front of libc, with a dl_iterate_phdr that tells of
    its first call for ever; WHEN a plug-in comes where another was; THEN each block is
    blamed on its own."""
    if way == "program":
        program = build(tmp_path, "program", CACHED + EACH, "-rdynamic")
    else:
        library = build(tmp_path, "cached.so", CACHED, "-shared", "-fPIC")
        program = build(tmp_path, "program", EACH, *(
            ["-Wl,--no-as-needed", library, "-Wl,-rpath," + str(tmp_path)] if way == "needed"
            else []))
    plugins = [PROGRAMS / "plugin_first.so", PROGRAMS / "plugin_second.so"]
    preload = f"$LIB {tmp_path}/cached.so" if way == "preloaded" else "$LIB"
    done = support.bash(f'trace=$1; shift; LD_PRELOAD="{preload}" exec "$@" 1022>"$trace"',
                        tmp_path / "t", program, *plugins)
    assert done.visible == (0, "", "")
    assert blamed(tmp_path / "t") == {"first_leak": (str(plugins[0]), 123 * 8),
                                      "second_leak": (str(plugins[1]), 321 * 8)}


PLUGIN = r"""
#include <stdlib.h>
static void *volatile keep;
__attribute__((noinline)) void NAME(void) { keep = malloc(SIZE * 8); __asm__ volatile(""); }
void plugin_run(void) { NAME(); __asm__ volatile(""); }
"""
WANDERER = r"""
#include <dlfcn.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '/') {
            if (chdir(argv[i]))
                return 2;
            continue;
        }
        void *library = dlopen(argv[i], RTLD_NOW);
        if (!library)
            return 3;
        if (chdir("/"))
            return 4;
        ((void (*)(void))dlsym(library, "plugin_run"))();
    }
    return 0;
}
"""


def plugin(folder, name, size):
    return build(folder, "plug.so", PLUGIN, "-shared", "-fPIC", f"-DNAME={name}", f"-DSIZE={size}")


def test_a_relative_name_is_of_the_folder_of_its_time(tmp_path):
    """GIVEN plug-ins of relative names in several folders; WHEN a program opens each from
    its folder and runs it from another; THEN each has the absolute name of its file."""
    one = plugin(tmp_path / "one", "from_one", 123)
    two = plugin(tmp_path / "two", "from_two", 321)
    three = plugin(tmp_path / "two" / "deeper", "from_three", 57)
    program = build(tmp_path, "program", WANDERER)
    done = support.trace([program, one.parent, "./plug.so", two.parent, "././plug.so",
                          two.parent, "deeper/../deeper/plug.so"], tmp_path / "t")
    assert done.visible == (0, "", "")
    assert blamed(tmp_path / "t") == {"from_one": (str(one), 123 * 8),
                                      "from_two": (str(two), 321 * 8),
                                      "from_three": (str(three), 57 * 8)}


@pytest.mark.parametrize("link", ["needed", "rpath"])
def test_a_library_that_is_needed_by_a_relative_name(tmp_path, link):
    """GIVEN a program that needs a library by a name with a slash, or has "." for its
    rpath; WHEN it has changed its folder; THEN the library has its absolute name."""
    plug = plugin(tmp_path / "sub", "from_sub", 123)
    source = "#include <unistd.h>\nvoid plugin_run(void);\n" \
             "int main(void) { if (chdir(\"/\")) return 2; plugin_run(); return 0; }\n"
    flags = ["sub/plug.so"] if link == "needed" else ["-Lsub", "-l:plug.so", "-Wl,-rpath,./sub"]
    (tmp_path / "program.c").write_text(source)
    built = support.run(["gcc", "-o", "program", "program.c", *flags], cwd=tmp_path)
    assert built.returncode == 0, built
    done = support.trace(["./program"], tmp_path / "t", cwd=tmp_path)
    assert done.visible == (0, "", "")
    assert blamed(tmp_path / "t") == {"from_sub": (str(plug), 123 * 8)}


def test_a_relative_name_of_a_file_that_is_gone(tmp_path):
    """GIVEN a plug-in that is removed while it is loaded; THEN its name is what it was,
    without the kernel's remark, and no other file is taken for it."""
    plug = plugin(tmp_path / "one", "from_one", 123)
    program = build(tmp_path, "program", WANDERER.replace(
        'if (chdir("/"))', 'if (unlink(argv[i]) || chdir("/"))'))
    done = support.trace([program, plug.parent, "./plug.so"], tmp_path / "t")
    assert done.visible == (0, "", "")
    whole = support.report(tmp_path / "t", "--leaks")
    (entry,) = [leak for leak in whole["leaks"] if leak["bytes"] == 123 * 8]
    assert entry["stack"][0]["module"] == str(plug)
