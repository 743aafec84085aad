/* SPDX-License-Identifier: MIT
 *
 * Process trees of the less common kinds. Arguments: which, and `churn`'s path.
 *
 *     clone     clone(CLONE_VM) without waiting: the child executes `churn 10` while
 *               the parent goes on allocating (500 * 2 blocks of 35 * 8, 2 leaked)
 *     vfork     500 children by vfork that leave by _exit at once
 *     chain     forks ten deep, and holds in each that it has no descriptor from
 *               1000 on that its parent had not; each leaks one block of 37 * 8
 *     take      puts its own file at every descriptor from 1000 to 1030, forks, and
 *               both leak a block of 39 * 8: the file must stay empty
 *     range     closes all from 3 on by close_range, likewise
 *     raw       a child by the bare fork system call, which leaks a block of 43 * 8
 */
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile keep;
static char *churn[] = {NULL, (char *)"10", NULL};

static __attribute__((noinline)) void leak(size_t size)
{
    keep = malloc(size);
}

static int ended(pid_t pid, int expected)
{
    int status;
    return pid > 0 && waitpid(pid, &status, __WALL) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == expected;
}

static int execute(void *argument)
{
    (void)argument;
    execv(churn[0], churn);
    return 99;
}

static int clone_vm(void)
{
    char *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t pid = clone(execute, stack + 65536, CLONE_VM | SIGCHLD, NULL);
    for (int i = 0; i < 500; i++) {
        free(malloc(35 * 8));
        leak(i < 498 ? 0 : 35 * 8);
        if (i < 498)
            free(keep);
    }
    return !ended(pid, 7);
}

static pid_t short_child(void)
{
    pid_t pid = vfork();
    if (pid == 0)
        _exit(5);
    return pid;
}

static int many_vforks(void)
{
    for (int i = 0; i < 500; i++)
        if (!ended(short_child(), 5))
            return 1;
    leak(35 * 8);
    return 0;
}

static int high_descriptors(void)
{
    int count = 0;
    for (int fd = 1000; fd < 1100; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

static int chain(int depth)
{
    leak(37 * 8);
    int before = high_descriptors();
    if (depth == 0)
        return 0;
    pid_t pid = fork();
    if (pid == 0) {
        leak(37 * 8);
        free(keep);
        _exit(high_descriptors() == before ? chain(depth - 1) : 8);
    }
    return !ended(pid, 0);
}

static int both_leak(size_t size, pid_t pid)
{
    leak(size);
    if (pid == 0)
        _exit(0);
    return !ended(pid, 0);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    const char *what = argv[1];
    churn[0] = argv[2];
    if (!strcmp(what, "clone"))
        return clone_vm();
    if (!strcmp(what, "vfork"))
        return many_vforks();
    if (!strcmp(what, "chain"))
        return chain(10);
    if (!strcmp(what, "take")) {
        int fd = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0666);
        for (int i = 1000; i <= 1030; i++)
            dup2(fd, i);
        for (int i = 0; i < 20000; i++) /* into new chunks, or over a buffer's end */
            free(malloc((size_t)i));
        int failed = both_leak(39 * 8, fork());
        return failed || lseek(fd, 0, SEEK_END) != 0;
    }
    if (!strcmp(what, "range")) {
        close_range(3, ~0u, 0);
        for (int i = 0; i < 20000; i++)
            free(malloc((size_t)i));
        return both_leak(39 * 8, fork());
    }
    if (!strcmp(what, "raw"))
        return both_leak(43 * 8, (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    return 2;
}
