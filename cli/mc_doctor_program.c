/* SPDX-License-Identifier: MIT
 *
 * Findings on a program, before it runs; see mc_doctor.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mc_commands.h"
#include "mc_doctor.h"
#include "mc_elf.h"

#define SCRIPTS_MAX 4 /* a script's interpreter may be a script */

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The interpreter of a script, `env NAME` looked up. False: it is none. */
static bool interpreter_of(const char *path, char interpreter[PATH_MAX])
{
    char line[512] = "", *rest = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, line, sizeof line - 1);
    close(fd);
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return false;
    line[strcspn(line, "\r\n")] = 0;
    char *first = strtok_r(line + 2, " \t", &rest), *word = first;
    if (!first)
        return false;
    while (word && strcmp(base_of(first), "env") == 0 &&
           (word == first || *word == '-' || strchr(word, '=')))
        word = strtok_r(NULL, " \t", &rest);
    return word && mc_find_program(word, interpreter);
}

static void look_at_privileges(struct mc_findings *findings, const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return;
    if ((st.st_mode & S_ISUID && st.st_uid != getuid()) ||
        (st.st_mode & S_ISGID && (st.st_mode & S_IXGRP) && st.st_gid != getgid()))
        mc_find(findings, MC_FAIL,
                "%s is set-%s-ID: the loader ignores LD_PRELOAD; run it as the user it becomes, or "
                "a copy without the bit",
                path, st.st_mode & S_ISUID ? "user" : "group");
    else if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        mc_find(findings, MC_FAIL,
                "%s has file capabilities: the loader ignores LD_PRELOAD; run a copy of it, as "
                "root if it needs the privilege",
                path);
    else
        mc_find(findings, MC_OK, "it gains no privileges when it is executed");
}

static bool look_at_library(struct mc_findings *findings, const struct mc_elf *program,
                            struct mc_elf *library)
{
    char path[PATH_MAX];
    if (!mc_find_library(program, path)) {
        mc_find(findings, MC_FAIL,
                "there is no libmlog.so in %s, LD_LIBRARY_PATH and the system's folders: install "
                "mlog's library",
                path);
        return false;
    }
    if (mc_elf_read(path, library) < 0 || !library->is_elf) {
        mc_find(findings, MC_FAIL, "%s is no library: install mlog anew", path);
        return false;
    }
    mc_find(findings, MC_OK, "the library is %s", path);
    return true;
}

/* musl's loader has its name in its path; the library was linked to one libc or the other. */
static bool is_musl(const char *interpreter)
{
    return strstr(interpreter, "ld-musl") != NULL;
}

/* Returns true if the program loads the library. */
static bool look_at_kind(struct mc_findings *findings, const char *path, const struct mc_elf *elf,
                         const struct mc_elf *library)
{
    if (elf->machine != library->machine || elf->bits != library->bits) {
        mc_find(findings, MC_FAIL,
                "%s is for %s, the library for %s: build libmlog.so for it (meson setup with a "
                "cross file), and name its folder in LD_LIBRARY_PATH",
                path, mc_elf_machine(elf->machine, elf->bits),
                mc_elf_machine(library->machine, library->bits));
        findings->bars = true;
        return false;
    }
    if (!elf->interpreter[0]) {
        mc_find(findings, MC_FAIL,
                elf->is_go ? "%s is a static executable, by Go: nothing can be preloaded; link it "
                             "with cgo, or use Go's own profiler (pprof)"
                           : "%s is a static executable: nothing can be preloaded; link it "
                             "dynamically (without -static) for the measurement",
                path);
        return false;
    }
#ifdef __GLIBC__
    const bool ours = !is_musl(elf->interpreter);
#else
    const bool ours = is_musl(elf->interpreter);
#endif
    if (ours) {
        mc_find(findings, MC_OK, "it is dynamically linked, for %s like the library",
                mc_elf_machine(elf->machine, elf->bits));
    } else {
        findings->bars = true;
        mc_find(findings, MC_FAIL,
                "%s runs over another C library (%s) than this mlog: build libmlog.so over that "
                "one (CC=musl-gcc), and name its folder in LD_LIBRARY_PATH",
                path, elf->interpreter);
    }
    return ours;
}

static void look_at_allocator(struct mc_findings *findings, const char *path,
                              const struct mc_elf *elf)
{
    if (elf->sanitizer)
        mc_find(findings, MC_FAIL,
                "%s is built with %s, whose allocator comes first: trace a build without the "
                "sanitizer",
                path, elf->sanitizer);
    else if (elf->own_malloc && elf->allocator)
        mc_find(findings, MC_FAIL,
                "%s has %s linked in, whose malloc comes before any library's: trace a build "
                "without it, or with it as a shared library",
                path, elf->allocator);
    else if (elf->own_malloc && !elf->is_go)
        mc_find(findings, MC_WARN,
                "%s has a malloc of its own, which comes before any library's: unless it passes "
                "calls on, trace a build without it",
                path);
    else if (elf->allocator)
        mc_find(findings, MC_WARN,
                "%s carries %s: what is allocated there by its own names is not seen; only "
                "malloc and the like are",
                path, elf->allocator);
    else
        mc_find(findings, MC_OK, "it brings no allocator of its own that its symbols tell of");
}

static void look_at_language(struct mc_findings *findings, const char *name,
                             const struct mc_elf *elf)
{
    const char *malloc_of = getenv("PYTHONMALLOC");
    if (elf->is_python || strncmp(name, "python", 6) == 0) {
        if (!malloc_of || strncmp(malloc_of, "malloc", 6) != 0)
            mc_find(findings, MC_WARN,
                    "Python keeps small objects in arenas: PYTHONMALLOC=malloc shows them, and "
                    "from 3.12 on python3 -X perf your functions");
        else
            mc_find(findings, MC_OK, "Python's objects come from malloc (PYTHONMALLOC)");
    } else if (elf->is_go && elf->interpreter[0]) {
        mc_find(findings, MC_WARN,
                "Go's own heap is not malloc: what C code in it allocates is seen; for the rest "
                "use pprof");
    } else if (strcmp(name, "java") == 0) {
        mc_find(findings, MC_WARN,
                "Java's objects are not malloc: what the machine and native code allocate is "
                "seen; for the rest use jcmd or a heap dump");
    } else if (elf->is_rust) {
        mc_find(findings, MC_OK,
                "Rust's default allocator is malloc, so all of it is seen; names need a build "
                "with debug = true in its profile");
    } else if (strcmp(name, "node") == 0) {
        mc_find(findings, MC_WARN,
                "JavaScript's objects are not malloc: native code is seen; node --perf-basic-prof "
                "gives your functions names on stacks");
    }
}

void mc_doctor_program(struct mc_findings *findings, const char *name)
{
    char path[PATH_MAX], interpreter[PATH_MAX];
    struct mc_elf elf, library;
    if (!mc_find_program(name, path)) {
        mc_find(findings, MC_FAIL, "%s: %s", name,
                strchr(name, '/') ? "there is no such file" : "there is no such command in PATH");
        return;
    }
    if (access(path, X_OK) != 0) {
        mc_find(findings, MC_FAIL, "%s is not executable: chmod +x %s", path, path);
        return;
    }
    for (int i = 0; i < SCRIPTS_MAX && interpreter_of(path, interpreter); i++) {
        mc_find(findings, MC_OK, "%s is a script: what is traced is %s, and what it starts", path,
                interpreter);
        memcpy(path, interpreter, sizeof path);
    }
    int error = mc_elf_read(path, &elf);
    if (error < 0 && access(path, R_OK) != 0) {
        mc_find(findings, MC_WARN, "%s cannot be read, so nothing is known of it: %s", path,
                strerror(-error));
        look_at_privileges(findings, path);
        return;
    }
    if (!elf.is_elf || !elf.executable) {
        mc_find(findings, MC_WARN,
                "%s is no ELF executable: a shell runs it as a script, and what that starts is "
                "traced",
                path);
        return;
    }
    if (!look_at_library(findings, &elf, &library) || !look_at_kind(findings, path, &elf, &library))
        return;
    look_at_privileges(findings, path);
    look_at_allocator(findings, path, &elf);
    look_at_language(findings, base_of(name), &elf);
}

/* The Debian package that installed a file; "" if none says so. */
static void package_of(const char *path, char *package, size_t size)
{
    char dpkg[PATH_MAX], real[PATH_MAX];
    int status = 1;
    *package = 0;
    if (!realpath(path, real) || strncmp(real, "/home/", 6) == 0 ||
        strncmp(real, "/tmp/", 5) == 0 || strncmp(real, "/var/", 5) == 0 ||
        !mc_find_program("dpkg-query", dpkg))
        return; /* packages install nothing there, and asking takes a second */
    const char *names[] = {real, strncmp(real, "/usr/", 5) == 0 ? real + 4 : real};
    for (size_t i = 0; i < 2 && !*package; i++) { /* packages of old name /bin, now /usr/bin */
        char *argv[] = {dpkg, (char *)"-S", (char *)names[i], NULL};
        sigset_t none;
        sigemptyset(&none);
        char *text = mc_capture(argv, 1000, &none, &status);
        if (text && status == 0)
            snprintf(package, size, "%.*s", (int)strcspn(text, ":,\n"), text);
        free(text);
    }
}

void mc_doctor_debug(struct mc_findings *findings, const char *path)
{
    char file[PATH_MAX], package[128];
    struct mc_elf elf;
    if (mc_elf_read(path, &elf) < 0 || !elf.is_elf || !elf.executable)
        return;
    snprintf(file, sizeof file, "/usr/lib/debug/.build-id/%.2s/%s.debug", elf.build_id,
             elf.build_id[0] ? elf.build_id + 2 : "");
    if (elf.has_debug || (elf.build_id[0] && access(file, R_OK) == 0)) {
        mc_find(findings, MC_OK, "debug information is there: files and lines have names");
        return;
    }
    const char *servers = getenv("DEBUGINFOD_URLS");
    if (servers && *servers) {
        mc_find(findings, MC_OK, "debug information is asked of DEBUGINFOD_URLS: %s", servers);
        return;
    }
    package_of(path, package, sizeof package);
    if (package[0])
        mc_find(findings, MC_WARN,
                "no debug information, so functions without files and lines: install %s-dbgsym "
                "(wiki.debian.org/AutomaticDebugPackages), or "
                "DEBUGINFOD_URLS=https://debuginfod.debian.net for mlog analyze",
                package);
    else
        mc_find(findings, MC_WARN,
                "no debug information%s, so no files and lines: build it with -g",
                elf.has_symbols ? "" : " and no symbols");
}
