/* SPDX-License-Identifier: MIT
 *
 * The trial of a filter of system calls; see lt_probe.h. What a filter does cannot be
 * asked for, so a child tries: a copy of this process whose end sends no signal and is
 * seen by no wait of the program. It makes each call in a way that does nothing. A
 * filter that looks at arguments may still let these through and not others.
 */
#include "lt_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "lt_sys.h"

static bool has_filter(void)
{
    static const char field[] = "\nSeccomp:\t";
    char text[4096];
    int fd = lt_open("/proc/self/status", O_RDONLY, 0);
    if (fd < 0)
        return false;
    long n = lt_syscall3(SYS_read, fd, text, sizeof text - 1);
    lt_close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *mode = strstr(text, field);
    return mode && mode[sizeof field - 1] != '0';
}

static void make_calls(void)
{
    struct utsname host;
    char name[17] = "";
    struct timespec now, none = {0, 0};
    static const int of_no_file[] = {SYS_fallocate, LT_SYS_FSTAT, LT_SYS_FCNTL,   SYS_pwrite64,
                                     SYS_pwritev,   SYS_pread64,  SYS_read,       SYS_write,
                                     SYS_lseek,     SYS_ioctl,    SYS_dup,        SYS_close,
                                     SYS_writev,    SYS_sendmsg,  SYS_getsockopt, SYS_setsockopt};
    for (unsigned i = 0; i < sizeof of_no_file / sizeof *of_no_file; i++)
        lt_syscall6(of_no_file[i], -1, 0, 0, 0, 0, 0);
    lt_syscall3(SYS_dup3, -1, -1, 0);
    lt_ftruncate(-1, 0);
    lt_fstatfs(-1, NULL, 0);
    lt_close(lt_open("/proc/self/statm", O_RDONLY, 0));
    lt_syscall4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", name, sizeof name);
    lt_mmap(NULL, 0, 0, 0, -1, 0);
    lt_syscall2(SYS_munmap, 0, 0);
    lt_syscall3(SYS_mprotect, 0, 0, 0);
    lt_syscall3(SYS_madvise, 0, 0, 0);
    lt_syscall2(SYS_munlock, 0, 0);
    lt_syscall6(SYS_process_vm_readv, lt_getpid(), 0, 0, 0, 0, 0);
    lt_syscall5(SYS_ppoll, 0, 0, &none, 0, 0);
    lt_syscall4(SYS_rt_sigtimedwait, name, 0, &none, 8); /* for none of the signals */
    lt_syscall4(SYS_rt_tgsigqueueinfo, 0, 0, 0, 0);
    lt_syscall2(SYS_tkill, 0, 0);
    lt_syscall4(SYS_rt_sigaction, SIGBUS, 0, 0, 8);
    lt_syscall4(SYS_rt_sigprocmask, SIG_BLOCK, 0, 0, 8);
    lt_syscall2(SYS_rt_sigpending, name, 8);
    lt_syscall2(SYS_sigaltstack, 0, 0);
    lt_syscall2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    lt_syscall2(SYS_nanosleep, 0, 0);
    lt_syscall3(SYS_futex, 0, 0, 0);
    lt_syscall2(SYS_prctl, PR_GET_NAME, name);
    lt_syscall2(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0);
    lt_syscall3(SYS_getrandom, name, 0, 0);
    lt_syscall1(SYS_uname, &host);
    lt_getpid();
    lt_getppid();
    lt_gettid();
}

/* For the control page, without which the rest goes on. */
static void make_page_calls(void)
{
    lt_syscall2(SYS_memfd_create, NULL, 0);
}

static bool is_deadly(void (*calls)(void))
{
    int status = 0;
    if (!has_filter())
        return false;
    long child = lt_syscall5(SYS_clone, 0, 0, 0, 0, 0); /* no signal at its end */
    if (child == 0) {
        uint64_t none[2] = {0, 0};
        lt_syscall4(SYS_prlimit64, 0, RLIMIT_CORE, none, 0);
        calls();
        for (;;)
            lt_syscall1(SYS_exit_group, 0);
    }
    if (child < 0) /* refused by an errno: so are others */
        return false;
    long got;
    do
        got = lt_syscall4(SYS_wait4, child, &status, __WALL, 0);
    while (got == -EINTR);
    return got == child && WIFSIGNALED(status);
}

bool lt_probe_is_deadly(void)
{
    return is_deadly(make_calls);
}

bool lt_probe_page_is_deadly(void)
{
    return is_deadly(make_page_calls);
}
