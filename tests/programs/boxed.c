/* SPDX-License-Identifier: MIT
 *
 * A program that locks itself in. Arguments: what becomes of a call that the filter
 * does not name (kill, trap, errno, or strict: the kernel's own filter), and by which
 * function the filter is set (prctl, syscall). It leaves 123 blocks of 8 bytes behind,
 * then, behind the filter, allocates and frees from a heap that needs no more memory,
 * in a handler that interrupts it too, and says how many calls it was caught at. With
 * a third argument, "refused", the filter's address is none, and all goes on.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static void *volatile keep[512];

static void on_call(int signal)
{
    (void)signal;
    caught = caught + 1;
}

static int lock_in(const char *how, const char *by, struct sock_fprog *program)
{
    if (!strcmp(how, "strict"))
        return prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    if (!strcmp(by, "syscall"))
        return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program);
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    unsigned otherwise = !strcmp(argv[1], "errno")  ? SECCOMP_RET_ERRNO | 1
                         : !strcmp(argv[1], "trap") ? SECCOMP_RET_TRAP
                                                    : SECCOMP_RET_KILL_PROCESS;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, otherwise),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    signal(SIGSYS, on_call);
    mallopt(M_MMAP_THRESHOLD, 64 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    void *volatile warm = malloc(4 << 20);
    free(warm);
    for (int i = 0; i < 123; i++)
        if (!malloc(8))
            return 3;
    int refused = lock_in(argv[1], argv[2], argc > 3 ? NULL : &program);
    if ((refused != 0) != (argc > 3))
        return 4;
    for (size_t i = 0; i < 100000; i++) {
        size_t at = i * 2654435761u % 512;
        free(keep[at]);
        keep[at] = malloc(24 + i % 200);
    }
    char line[] = "caught 0\n";
    line[7] = (char)('0' + (caught < 9 ? caught : 9));
    if (write(1, line, sizeof line - 1) != sizeof line - 1)
        syscall(SYS_exit, 5);
    syscall(SYS_exit, 7);
}
