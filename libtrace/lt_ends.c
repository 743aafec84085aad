/* SPDX-License-Identifier: MIT
 *
 * The other functions of libc that we stand in front of: those by which a
 * program image ends without running destructors, so that a stream sink can
 * deliver its tail; those that execute another (lt_exec.h); mlockall; dlclose, after
 * which code may be gone. All forward but daemon, which is written anew. So does
 * dlopen, after which there is more, but only in front of a libc that does not look
 * at who calls it: in front of glibc's stands lt_opens.c.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "lt_bypass.h"
#include "lt_exec.h"
#include "lt_module.h"
#include "lt_real.h"
#include "lt_trace.h"

/* A vfork's child, which shares our memory but is another process, ends its
 * own image and not ours. */
static bool is_ours(void)
{
    return lt_page.active == LT_ACTIVE && lt_getpid() == lt_process.pid;
}

/* The real functions, resolved in the constructor: dlsym takes the loader's
 * lock, which a fork's child may find held for ever. */
#define LT_ENDS(X)                                                                                 \
    X(quick_exit)                                                                                  \
    X(mlockall)                                                                                    \
    X(abort)                                                                                       \
    X(execve)                                                                                      \
    X(execv)                                                                                       \
    X(execvp)                                                                                      \
    X(execvpe)                                                                                     \
    X(fexecve)                                                                                     \
    X(execveat)                                                                                    \
    X(__assert_fail)                                                                               \
    X(__assert_perror_fail)                                                                        \
    X(__stack_chk_fail)                                                                            \
    X(posix_spawn)                                                                                 \
    X(posix_spawnp)                                                                                \
    X(dlclose)                                                                                     \
    X(dlopen)
enum {
#define LT_END_ENUM(name) END_##name,
    LT_ENDS(LT_END_ENUM)
#undef LT_END_ENUM
};
static const char *const names[] = {
#define LT_END_NAME(name) #name,
    LT_ENDS(LT_END_NAME)
#undef LT_END_NAME
};
static void *resolved[sizeof names / sizeof *names];

__attribute__((constructor)) static void resolve(void)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        resolved[i] = lt_real_symbol(names[i]);
    lt_exec_setup();
}

static void *next_of(int end)
{
    return resolved[end] ? resolved[end] : lt_real_symbol(names[end]);
}

#define LT_FORWARD(type, name) type next = (type)next_of(END_##name)

typedef void (*exit_function)(int);

LT_EXPORT __attribute__((noreturn)) void _exit(int status)
{
    if (is_ours())
        lt_process_end(MLF_END__EXIT, status);
    for (;;)
        lt_syscall1(SYS_exit_group, status);
}

LT_EXPORT __attribute__((noreturn)) void _Exit(int status)
{
    _exit(status);
}

LT_EXPORT __attribute__((noreturn)) void quick_exit(int status)
{
    LT_FORWARD(exit_function, quick_exit);
    if (is_ours())
        lt_process_end(MLF_END_QUICK_EXIT, status);
    next(status);
    __builtin_unreachable();
}

LT_EXPORT __attribute__((noreturn)) void abort(void)
{
    typedef void (*abort_function)(void);
    LT_FORWARD(abort_function, abort);
    if (is_ours())
        lt_process_end(MLF_END_ABORT, 0);
    next();
    __builtin_unreachable();
}

/* libc's own ways to abort, which do not come by our abort: the program calls these. */
LT_EXPORT __attribute__((noreturn)) void __assert_fail(const char *condition, const char *file,
                                                       unsigned line, const char *function);
LT_EXPORT __attribute__((noreturn)) void __assert_fail(const char *condition, const char *file,
                                                       unsigned line, const char *function)
{
    typedef void (*assert_function)(const char *, const char *, unsigned, const char *);
    LT_FORWARD(assert_function, __assert_fail);
    if (is_ours())
        lt_process_end(MLF_END_ABORT, 0);
    next(condition, file, line, function);
    __builtin_unreachable();
}

LT_EXPORT __attribute__((noreturn)) void __assert_perror_fail(int error, const char *file,
                                                              unsigned line, const char *function);
LT_EXPORT __attribute__((noreturn)) void __assert_perror_fail(int error, const char *file,
                                                              unsigned line, const char *function)
{
    typedef void (*assert_function)(int, const char *, unsigned, const char *);
    LT_FORWARD(assert_function, __assert_perror_fail);
    if (is_ours())
        lt_process_end(MLF_END_ABORT, 0);
    next(error, file, line, function);
    __builtin_unreachable();
}

LT_EXPORT __attribute__((noreturn)) void __stack_chk_fail(void);
LT_EXPORT __attribute__((noreturn)) void __stack_chk_fail(void)
{
    typedef void (*fail_function)(void);
    LT_FORWARD(fail_function, __stack_chk_fail);
    if (is_ours())
        lt_process_end(MLF_END_ABORT, 0);
    next();
    __builtin_unreachable();
}

/* As glibc's and musl's, whose parent would leave by an exit that is not ours. */
LT_EXPORT int daemon(int keep_directory, int keep_descriptors)
{
    pid_t child = fork();
    if (child < 0)
        return -1;
    if (child > 0)
        _exit(0);
    if (setsid() < 0 || (!keep_directory && chdir("/") < 0))
        return -1;
    if (keep_descriptors)
        return 0;
    struct stat st;
    int fd = open("/dev/null", O_RDWR);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
        close(fd);
        errno = ENODEV;
        return -1;
    }
    for (int to = 0; to <= 2; to++)
        dup2(fd, to);
    if (fd > 2)
        close(fd);
    return 0;
}

/* execve replaces the image: what is buffered goes out first. If it fails the
 * program goes on and so do we: PROCESS_END is a hint. */
static struct lt_exec before_exec(const char *path, char *const env[])
{
    struct lt_exec exec;
    lt_exec_prepare(&exec, env);
    lt_exec_record(&exec, lt_getpid(), path);
    if (is_ours())
        lt_process_end(MLF_END_EXEC, 0);
    return exec;
}

static int after_failed_exec(const struct lt_exec *exec, int result)
{
    lt_exec_failed(exec, lt_getpid());
    lt_exec_undo(exec);
    return result;
}

LT_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    typedef int (*function)(const char *, char *const[], char *const[]);
    LT_FORWARD(function, execve);
    struct lt_exec exec = before_exec(path, envp);
    return after_failed_exec(&exec, next(path, argv, envp));
}

LT_EXPORT int execv(const char *path, char *const argv[])
{
    typedef int (*function)(const char *, char *const[]);
    LT_FORWARD(function, execv);
    struct lt_exec exec = before_exec(path, environ);
    return after_failed_exec(&exec, next(path, argv));
}

LT_EXPORT int execvp(const char *file, char *const argv[])
{
    typedef int (*function)(const char *, char *const[]);
    LT_FORWARD(function, execvp);
    struct lt_exec exec = before_exec(file, environ);
    return after_failed_exec(&exec, next(file, argv));
}

LT_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
    typedef int (*function)(const char *, char *const[], char *const[]);
    LT_FORWARD(function, execvpe);
    struct lt_exec exec = before_exec(file, envp);
    return after_failed_exec(&exec, next(file, argv, envp));
}

LT_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    typedef int (*function)(int, char *const[], char *const[]);
    LT_FORWARD(function, fexecve);
    struct lt_exec exec = before_exec("", envp);
    return after_failed_exec(&exec, next(fd, argv, envp));
}

LT_EXPORT int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags);
LT_EXPORT int execveat(int fd, const char *path, char *const argv[], char *const envp[], int flags)
{
    typedef int (*function)(int, const char *, char *const[], char *const[], int);
    LT_FORWARD(function, execveat);
    struct lt_exec exec = before_exec(path, envp);
    if (next)
        return after_failed_exec(&exec, next(fd, path, argv, envp, flags));
    errno = ENOSYS; /* who links against us in place of a libc without it */
    return after_failed_exec(&exec, -1);
}

/* The list forms, turned into vectors on the stack as libc does. */
#define LT_GATHER(first, last)                                                                     \
    va_list list;                                                                                  \
    size_t n = 1;                                                                                  \
    va_start(list, first);                                                                         \
    while (va_arg(list, char *))                                                                   \
        n++;                                                                                       \
    char *const *last = va_arg(list, char *const *);                                               \
    va_end(list);                                                                                  \
    char **argv = __builtin_alloca((n + 1) * sizeof *argv);                                        \
    argv[0] = (char *)first;                                                                       \
    va_start(list, first);                                                                         \
    for (size_t i = 1; i <= n; i++)                                                                \
        argv[i] = va_arg(list, char *);                                                            \
    va_end(list)

LT_EXPORT int execl(const char *path, const char *first, ...)
{
    LT_GATHER(first, unused);
    (void)unused;
    return execv(path, argv);
}

LT_EXPORT int execlp(const char *file, const char *first, ...)
{
    LT_GATHER(first, unused);
    (void)unused;
    return execvp(file, argv);
}

LT_EXPORT int execle(const char *path, const char *first, ...)
{
    LT_GATHER(first, envp);
    return execve(path, argv, envp);
}

typedef int (*spawn_function)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                              const posix_spawnattr_t *, char *const[], char *const[]);

/* The child is libc's and runs nothing of ours: its descriptors are those of the caller,
 * less what its file actions close. */
static int spawn(spawn_function next, pid_t *pid, const char *path,
                 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
                 char *const argv[], char *const envp[])
{
    struct lt_exec exec;
    pid_t child = 0;
    lt_exec_prepare(&exec, envp);
    int result = next(&child, path, actions, attributes, argv, envp);
    lt_exec_undo(&exec);
    if (result)
        return result;
    lt_exec_record(&exec, child, path);
    if (pid)
        *pid = child;
    return 0;
}

LT_EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                          const posix_spawnattr_t *attributes, char *const argv[],
                          char *const envp[])
{
    return spawn((spawn_function)next_of(END_posix_spawn), pid, path, actions, attributes, argv,
                 envp);
}

LT_EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                           const posix_spawnattr_t *attributes, char *const argv[],
                           char *const envp[])
{
    return spawn((spawn_function)next_of(END_posix_spawnp), pid, file, actions, attributes, argv,
                 envp);
}

/* Our memory does not count in the program's limit of locked memory. */
LT_EXPORT int mlockall(int flags)
{
    typedef int (*function)(int);
    LT_FORWARD(function, mlockall);
    int result = next(flags);
    if (result == 0 && lt_page.active == LT_ACTIVE)
        lt_unlock_memory(flags & MCL_FUTURE);
    return result;
}

LT_EXPORT int dlclose(void *handle)
{
    typedef int (*function)(void *);
    LT_FORWARD(function, dlclose);
    int before = errno;
    struct lt_context *opening =
        lt_page.active == LT_ACTIVE ? lt_begin((uintptr_t)__builtin_frame_address(0)) : NULL;
    if (opening) {
        lt_bypass_check(opening, LT_BYPASS_CLOSE);
        lt_finish(opening, 0);
    }
    errno = before;
    bool told = lt_page.active == LT_ACTIVE && lt_module_closing();
    int result = next(handle);
    if (lt_page.active == LT_ACTIVE) {
        int saved = errno;
        struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
        if (c) {
            lt_module_check_unloaded(c);
            lt_bypass_note_closed();
            lt_finish(c, 0);
        }
        errno = saved;
    }
    if (told)
        lt_module_closed();
    return result;
}

#ifndef __GLIBC__
LT_EXPORT void *dlopen(const char *path, int mode)
{
    typedef void *(*function)(const char *, int);
    LT_FORWARD(function, dlopen);
    void *handle = next(path, mode);
    lt_bypass_note_opened(LT_OPENED);
    if (handle && lt_page.active == LT_ACTIVE) {
        int saved = errno;
        struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
        if (c) {
            lt_module_record_loaded(c);
            lt_finish(c, 0);
        }
        errno = saved;
    }
    return handle;
}
#endif
