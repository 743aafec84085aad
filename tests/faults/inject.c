/* SPDX-License-Identifier: MIT
 *
 * Lets system calls of libmlog.so fail, in the library as it is shipped, from
 * outside: a tracer (ptrace) that a seccomp filter wakes for the calls in
 * question, and that looks at the instruction pointer, since the library makes
 * its calls itself: one from within its text is its own, and no other is
 * touched. Threads and children are followed.
 *
 *     inject FIRST LAST ERROR COUNTFILE CALL[,CALL…] COMMAND…
 *
 * The FIRST to LAST of the library's calls among those named (mmap, open,
 * fallocate, write, ftruncate, fstat, fcntl, or all) return -ERROR and do
 * nothing; their number goes to COUNTFILE. The command's status is ours.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(__x86_64__)
int main(void)
{
    return 77; /* skipped: the registers are those of x86-64 */
}
#else

static const struct {
    const char *name;
    int number;
} calls[] = {
    {"mmap", SYS_mmap},         {"open", SYS_openat},      {"fallocate", SYS_fallocate},
    {"write", SYS_write},       {"write", SYS_writev},     {"write", SYS_pwritev},
    {"write", SYS_pwrite64},    {"write", SYS_sendmsg},    {"ftruncate", SYS_ftruncate},
    {"fstat", SYS_fstat},       {"fcntl", SYS_fcntl},      {"fcntl", SYS_dup3},
    {"read", SYS_read},         {"read", SYS_pread64},     {"read", SYS_readlinkat},
    {"other", SYS_madvise},     {"other", SYS_membarrier}, {"other", SYS_fstatfs},
    {"other", SYS_prlimit64},   {"other", SYS_prctl},      {"other", SYS_flock},
    {"other", SYS_sigaltstack},
};
enum { CALLS = sizeof calls / sizeof *calls };

/* The library's text in a process: the same for all that share an image. */
struct image {
    pid_t pid;
    unsigned long from, to;
};
static struct image images[4096];
static unsigned n_images;

static struct image *image_of(pid_t pid)
{
    for (unsigned i = 0; i < n_images; i++)
        if (images[i].pid == pid)
            return &images[i];
    if (n_images == sizeof images / sizeof *images)
        n_images = 0;
    struct image *image = &images[n_images++];
    *image = (struct image){.pid = pid};
    return image;
}

static void find_library(struct image *image)
{
    char name[64], line[1024];
    snprintf(name, sizeof name, "/proc/%d/maps", (int)image->pid);
    FILE *maps = fopen(name, "r");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char rights[5];
        if (strstr(line, "/libmlog.so") && sscanf(line, "%lx-%lx %4s", &from, &to, rights) == 3 &&
            rights[2] == 'x') {
            image->from = from;
            image->to = to;
        }
    }
    if (maps)
        fclose(maps);
}

static int is_named(const char *list, const char *name)
{
    const char *at = strstr(list, name);
    return !strcmp(list, "all") || (at && (at == list || at[-1] == ','));
}

static void start(const char *list, char **argv)
{
    struct sock_filter program[CALLS + 4];
    unsigned n = 0, chosen = 0;
    for (unsigned i = 0; i < CALLS; i++)
        chosen += !!is_named(list, calls[i].name);
    program[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (unsigned i = 0, k = 0; i < CALLS; i++)
        if (is_named(list, calls[i].name))
            program[n++] =
                (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].number,
                                             (unsigned char)(chosen - k++), 0);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    program[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    struct sock_fprog filter = {(unsigned short)n, program};
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &filter))
        _exit(126);
    execvp(argv[0], argv);
    _exit(127);
}

int main(int argc, char **argv)
{
    if (argc < 7)
        return 2;
    long first = atol(argv[1]), last = atol(argv[2]), error = atol(argv[3]), count = 0;
    pid_t child = fork();
    if (child == 0)
        start(argv[5], argv + 6);
    int status, result = 1;
    waitpid(child, &status, 0);
    ptrace(PTRACE_SETOPTIONS, child, 0,
           PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
               PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    ptrace(PTRACE_CONT, child, 0, 0);
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR;) {
        long deliver = 0;
        if (pid < 0)
            continue;
        if (!WIFSTOPPED(status)) {
            if (pid == child)
                result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            image_of(pid)->from = 0;
            continue;
        }
        int event = status >> 16;
        struct image *image = image_of(pid);
        if (event == PTRACE_EVENT_EXEC) {
            image->from = 0;
        } else if (event == PTRACE_EVENT_SECCOMP) {
            struct user_regs_struct registers;
            ptrace(PTRACE_GETREGS, pid, 0, &registers);
            if (!image->from)
                find_library(image);
            if (registers.rip >= image->from && registers.rip < image->to && ++count >= first &&
                count <= last) {
                registers.orig_rax = (unsigned long)-1;
                registers.rax = (unsigned long)-error;
                ptrace(PTRACE_SETREGS, pid, 0, &registers);
            }
        } else if (!event && WSTOPSIG(status) != SIGSTOP && WSTOPSIG(status) != SIGTRAP) {
            deliver = WSTOPSIG(status);
        }
        ptrace(PTRACE_CONT, pid, 0, deliver);
    }
    FILE *file = fopen(argv[4], "w");
    if (!file || fprintf(file, "%ld\n", count) < 0 || fclose(file))
        return 125;
    return result;
}
#endif
