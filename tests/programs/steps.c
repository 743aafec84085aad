/* SPDX-License-Identifier: MIT
 *
 * Puts a signal at the instructions of libmlog.so. The program forks; in the
 * child a thread does a fixed run of heap calls, its very first among them,
 * and the parent walks it through single steps (ptrace). At every STRIDE-th
 * instruction inside the library it injects SIGUSR1, whose handler
 *
 *     return   allocates, reallocates and frees, and returns
 *     aside    the same, on a signal stack that the kernel does not own up to
 *              (SS_AUTODISARM) and that lies further out than the thread's stack
 *     jump     allocates, and leaves by siglongjmp: the run goes on behind the
 *              call that was interrupted
 *     fork     forks; the child allocates and leaves by _exit
 *     exit     ends the thread (pthread_exit) inside the hook; another takes over
 *
 * Runs over an allocator that survives this (bump.c). Arguments: what the handler
 * does, STRIDE, ROUNDS. Prints what the calls came to, as the child counted them
 * in shared memory:  handled H malloc N realloc N free N calloc N
 */
#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shared {
    volatile int thread, go, ended, armed;
    volatile long handled, mallocs, reallocs, frees, callocs;
    uintptr_t from, to;
} * shared;

static const char *what;
static long rounds;
static volatile long at_round;
static sigjmp_buf behind;
static void *volatile keep;

static void handler(int number)
{
    (void)number;
    int error = errno;
    void *p = malloc(9 * 8);
    shared->mallocs++;
    shared->handled++;
    if (!strcmp(what, "return") || !strcmp(what, "aside")) {
        keep = p = realloc(p, 19 * 8);
        shared->reallocs++;
        free(p);
        shared->frees++;
    } else if (!strcmp(what, "fork")) {
        pid_t child = fork();
        if (child == 0) {
            free(malloc(29 * 8));
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    /* Tell the tracer that the handler is through: it stops us here. */
    syscall(SYS_tgkill, getpid(), gettid(), SIGTRAP);
    if (!strcmp(what, "jump"))
        siglongjmp(behind, 1);
    if (!strcmp(what, "exit"))
        pthread_exit(NULL);
    errno = error;
}

/* One round; deeper and deeper, so that stacks are met for the first time. */
static __attribute__((noinline)) void round_at(long depth)
{
    if (depth > 0) {
        round_at(depth - 1);
        return;
    }
    void *p = malloc(11 * 8);
    shared->mallocs++;
    p = realloc(p, 33 * 8);
    shared->reallocs++;
    free(p);
    shared->frees++;
}

/* From here to the end of a round the tracer goes by single steps. */
static void arm(void)
{
    shared->armed = 1;
    syscall(SYS_tgkill, getpid(), gettid(), SIGTRAP);
}

enum { STACK = 256 << 10, GUARD = 4 << 10, ASIDE = 64 << 10 };
static char *area; /* the thread's stack, a guard page, the signal stack */

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1u << 31)
#endif

static void *work(void *argument)
{
    (void)argument;
    stack_t stack = {area + STACK + GUARD, (int)SS_AUTODISARM, ASIDE};
    if (!strcmp(what, "aside") && sigaltstack(&stack, NULL))
        _exit(4);
    shared->thread = (int)gettid();
    while (!shared->go)
        usleep(1000);
    shared->go = 0;
    for (; at_round < rounds;) {
        arm();
        if (sigsetjmp(behind, 1) == 0)
            round_at(at_round++ % 40);
        shared->armed = 0;
        /* Calls that are never interrupted: all of them count. */
        free(calloc(1, 13 * 8));
        shared->callocs++;
        shared->frees++;
    }
    shared->ended = 1;
    return NULL;
}

static void child(void)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    pthread_attr_t attributes;
    sigaction(SIGUSR1, &action, NULL);
    area = mmap(NULL, STACK + GUARD + ASIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
    mprotect(area + STACK, GUARD, PROT_NONE);
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, area, STACK);
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[4096];
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx r-xp", &from, &to) == 2 && strstr(line, " r-xp ") &&
            strstr(line, "/libmlog.so")) {
            shared->from = from;
            shared->to = to;
        }
    }
    if (maps)
        fclose(maps);
    shared->mallocs = shared->reallocs = shared->frees = shared->callocs = 0;
    while (!shared->ended) {
        pthread_t thread;
        if (pthread_create(&thread, &attributes, work, NULL))
            _exit(3);
        pthread_join(thread, NULL);
        shared->thread = shared->armed = 0;
    }
    exit(0);
}

static void place(int tid, uintptr_t *pc, uintptr_t *sp)
{
    struct user_regs_struct regs;
    struct iovec io = {&regs, sizeof regs};
    ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &io);
#if defined(__x86_64__)
    *pc = regs.rip;
    *sp = regs.rsp;
#else
    *pc = regs.pc;
    *sp = regs.sp;
#endif
}

/* Resume, and wait for the next stop: its signal, or -1 when the thread has ended. */
static int resume(int request, int tid, int number)
{
    int status;
    if (ptrace(request, tid, 0, number) || waitpid(tid, &status, __WALL) != tid ||
        !WIFSTOPPED(status))
        return -1;
    return WSTOPSIG(status);
}

/* Inside the library at a place whose turn it is: send the signal, let the
 * handler run to its end, and come back to the same place. */
static int interrupt_at(int tid, uintptr_t pc, uintptr_t sp)
{
    int stop = resume(PTRACE_CONT, tid, SIGUSR1);
    while (stop != -1 && stop != SIGTRAP)
        stop = resume(PTRACE_CONT, tid, stop == SIGSTOP ? 0 : stop);
    if (stop == -1 || !strcmp(what, "exit") || !strcmp(what, "jump"))
        return stop;
    uintptr_t now, there;
    do {
        stop = resume(PTRACE_SINGLESTEP, tid, 0);
        place(tid, &now, &there);
    } while (stop != -1 && (now != pc || there != sp));
    return stop;
}

static void drive(int tid, long stride)
{
    int status;
    long inside = 0, turn = stride;
    if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) ||
        waitpid(tid, &status, __WALL) != tid)
        return;
    shared->go = 1;
    int stop = 0, pass = 0;
    for (;;) {
        stop = resume(shared->armed ? PTRACE_SINGLESTEP : PTRACE_CONT, tid, pass);
        if (stop == -1 || shared->ended)
            break;
        pass = stop == SIGTRAP || stop == SIGSTOP ? 0 : stop;
        uintptr_t pc, sp;
        place(tid, &pc, &sp);
        if (!shared->armed || pc < shared->from || pc >= shared->to || ++inside < turn)
            continue;
        /* A jump begins anew: so that it does not always meet the same few. */
        turn = inside + stride * (!strcmp(what, "jump") ? 1 + shared->handled % 37 : 1);
        if (interrupt_at(tid, pc, sp) == -1)
            break;
        if (!strcmp(what, "exit")) { /* the next thread is met at another instruction */
            ptrace(PTRACE_DETACH, tid, 0, 0);
            break;
        }
    }
}

/* For "exit": each thread is interrupted once, ever later. */
int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    what = argv[1];
    long stride = atol(argv[2]);
    rounds = atol(argv[3]);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cpu_set_t here; /* on one processor the two hand over fastest */
    CPU_ZERO(&here);
    CPU_SET(sched_getcpu(), &here);
    sched_setaffinity(0, sizeof here, &here);
    pid_t pid = fork();
    if (pid == 0)
        child();
    int status = 0, last = 0;
    for (long turn = stride; waitpid(pid, &status, WNOHANG) == 0;) {
        int tid = shared->thread;
        if (tid == 0 || tid == last) {
            usleep(200);
            continue;
        }
        last = tid;
        drive(tid, turn);
        turn += !strcmp(what, "exit") ? stride : 0;
    }
    printf("handled %ld malloc %ld realloc %ld free %ld calloc %ld\n", shared->handled,
           shared->mallocs, shared->reallocs, shared->frees, shared->callocs);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
