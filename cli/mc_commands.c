/* SPDX-License-Identifier: MIT
 *
 * Finding and running the parts of mlog; see mc_commands.h.
 */
#include "mc_commands.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mc_elf.h"

#define LIBRARY "libmlog.so"

/* The folder of the running command, where /proc is missing by the name that it was
 * executed by; "" if the kernel does not tell. */
static const char *own_folder(void)
{
    static char folder[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", folder, sizeof folder - 1);
    folder[n > 0 ? n : 0] = 0;
    const char *name = n > 0 ? NULL : (const char *)getauxval(AT_EXECFN);
    if (name && !realpath(name, folder))
        folder[0] = 0;
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = 0;
    return folder;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_in(const char *folder, size_t n, const char *name, char path[PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%.*s/%s", (int)n, folder, name);
    return length > 0 && length < PATH_MAX && is_file(path);
}

/* True if the library can be loaded into the program; of NULL any can. */
static bool fits(const char *library, const struct mc_elf *program)
{
    struct mc_elf elf;
    return !program || !program->is_elf ||
           (mc_elf_read(library, &elf) == 0 && elf.is_elf && elf.machine == program->machine &&
            elf.bits == program->bits);
}

/* Consider the library in a folder: true if it fits. The first of all is kept, too. */
static bool consider(const char *folder, size_t n, const struct mc_elf *program,
                     char path[PATH_MAX], bool *any)
{
    char found[PATH_MAX];
    if (!is_in(folder, n, LIBRARY, found))
        return false;
    bool right = fits(found, program);
    if (right || !*any)
        *any |= realpath(found, path) != NULL;
    return right;
}

static bool consider_list(const char *list, const struct mc_elf *program, char path[PATH_MAX],
                          bool *any)
{
    for (const char *at = list; at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
        size_t n = strcspn(at, ":");
        if (consider(n ? at : ".", n ? n : 1, program, path, any))
            return true;
    }
    return false;
}

bool mc_find_library(const struct mc_elf *program, char path[PATH_MAX])
{
    static const char *const beside[] = {"../libtrace", ("../" MC_LIBDIR), "../lib", "../lib64",
                                         "."};
    static const char system[] =
        MC_PREFIX "/" MC_LIBDIR ":/lib/" MC_MULTIARCH ":/usr/lib/" MC_MULTIARCH
                  ":/lib:/usr/lib:/lib64:/usr/lib64:/usr/local/lib/" MC_MULTIARCH
                  ":/usr/local/lib:/usr/local/lib64:/usr/lib/i386-linux-gnu:/usr/lib32"
                  ":/usr/local/lib/i386-linux-gnu:/usr/lib/aarch64-linux-gnu";
    const char *own = own_folder();
    char near[PATH_MAX];
    bool any = false;
    for (size_t i = 0; *own && i < sizeof beside / sizeof *beside; i++) {
        int n = snprintf(near, sizeof near, "%s/%s", own, beside[i]);
        if (n < PATH_MAX && consider(near, (size_t)n, program, path, &any))
            return true;
    }
    const char *list = getenv("LD_LIBRARY_PATH");
    if ((list && *list && consider_list(list, program, path, &any)) ||
        consider_list(system, program, path, &any) || any)
        return true;
    snprintf(path, PATH_MAX, "%.4000s/../" MC_LIBDIR, own);
    return false;
}

bool mc_find_command(const char *name, char path[PATH_MAX])
{
    static const char *const beside[] = {".", "../analyzer"};
    const char *own = own_folder();
    char near[PATH_MAX];
    for (size_t i = 0; *own && i < sizeof beside / sizeof *beside; i++) {
        int n = snprintf(near, sizeof near, "%s/%s", own, beside[i]);
        if (n < PATH_MAX && is_in(near, (size_t)n, name, path) && access(path, X_OK) == 0)
            return true;
    }
    if (mc_find_program(name, path))
        return true;
    snprintf(path, PATH_MAX, "%s", name);
    return false;
}

bool mc_find_program(const char *name, char path[PATH_MAX])
{
    if (strchr(name, '/')) {
        snprintf(path, PATH_MAX, "%s", name);
        return is_file(path);
    }
    const char *list = getenv("PATH");
    for (const char *at = list ? list : "/bin:/usr/bin"; at && *name;
         at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL) {
        size_t n = strcspn(at, ":");
        if (is_in(n ? at : ".", n ? n : 1, name, path) && access(path, X_OK) == 0)
            return true;
    }
    return false;
}

int mc_execute(const char *name, const char *option, char **argv)
{
    char path[PATH_MAX];
    size_t n = 0, at = 0;
    while (argv[n])
        n++;
    char **all = calloc(n + 2, sizeof *all);
    snprintf(path, sizeof path, "%s", name);
    if (all && mc_find_command(name, path)) {
        all[at++] = path;
        if (option)
            all[at++] = (char *)option;
        memcpy(all + at, argv + 1, n * sizeof *all); /* the NULL, too */
        execv(path, all);
    }
    free(all);
    fprintf(stderr,
            "mlog: %s: %s; it is a part of mlog: is it installed, or built (ninja -C build)?\n",
            path, strerror(errno));
    return errno == ENOENT ? 127 : 126;
}

pid_t mc_start(char *const argv[], int in, int out, int error, const void *mask, bool shielded)
{
    extern char **environ;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    const int wanted[3] = {in, out, error};
    pid_t pid = -1;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    posix_spawnattr_init(&attributes);
    int result = 0;
    for (int fd = 0; fd < 3 && !result; fd++)
        result = wanted[fd] < 0 ? posix_spawn_file_actions_addopen(&actions, fd, "/dev/null",
                                                                   fd ? O_WRONLY : O_RDONLY, 0)
                                : posix_spawn_file_actions_adddup2(&actions, wanted[fd], fd);
    posix_spawnattr_setsigmask(&attributes, mask);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before[2];
    if (shielded) { /* what is ignored stays so in the new program */
        sigaction(SIGINT, &ignore, &before[0]);
        sigaction(SIGQUIT, &ignore, &before[1]);
    }
    if (!result)
        result = posix_spawn(&pid, argv[0], &actions, &attributes, argv, environ);
    if (shielded) {
        sigaction(SIGINT, &before[0], NULL);
        sigaction(SIGQUIT, &before[1], NULL);
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return result ? -result : pid;
}

int mc_wait(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

char *mc_capture(char *const argv[], size_t max, const void *mask, int *status)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return NULL;
    ends[0] = mc_move_up(ends[0]);
    ends[1] = mc_move_up(ends[1]);
    char *text = ends[0] < 0 || ends[1] < 0 ? NULL : malloc(max + 1);
    pid_t pid = text ? mc_start(argv, -1, ends[1], -1, mask, false) : -ENOMEM;
    if (ends[1] >= 0)
        close(ends[1]);
    size_t n = 0;
    for (ssize_t got; pid > 0 && n < max;) {
        got = read(ends[0], text + n, max - n);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    if (ends[0] >= 0)
        close(ends[0]);
    if (pid < 0) {
        free(text);
        return NULL;
    }
    *status = mc_wait(pid);
    text[n] = 0;
    return text;
}

int mc_move_up(int fd)
{
    if (fd < 0)
        return -errno;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3), error = errno;
    close(fd);
    return moved < 0 ? -error : moved;
}
