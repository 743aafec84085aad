/* SPDX-License-Identifier: MIT
 *
 * Assembly whose unwind information is wrong, as tracers' and codecs' own has been:
 * harmless to a program that is never unwound there. Each way calls malloc(123 * 8)
 * a hundred times below its thunk.
 *
 *     number   the frame is said to be found by r12, which holds a number
 *     far      ... by rbp, which does
 *     deref    ... by a word at the address that rbx holds, a number
 *     near     ... by rbx, which points 256 KiB beyond the end of a small stack
 *     aligned  the stack was aligned behind the information's back
 *     zero     the word said to be the return address is 0
 *     thread   the same in a thread
 *     bare     a thunk without any, which keeps a frame pointer
 *
 * The stack of `number` is aligned to 8 bytes only. Ends with status 5.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *volatile keep;

__attribute__((noinline)) static void allocate(void)
{
    keep = malloc(123 * 8);
    __asm__ volatile("" ::: "memory");
}

void liar_number(void (*f)(void));
void liar_far(void (*f)(void));
void liar_deref(void (*f)(void));
void liar_near(void (*f)(void));
void liar_aligned(void (*f)(void));
void liar_zero(void (*f)(void));
void liar_bare(void (*f)(void));

#define THUNK(name, body)                                                                          \
    __asm__(".text\n.globl " name "\n.type " name ", @function\n" name ":\n" body ".size " name    \
            ", .-" name "\n")

THUNK("liar_number", ".cfi_startproc\n"
                     "push %r12\n.cfi_def_cfa_offset 16\n"
                     "mov $0x1234, %r12\n.cfi_def_cfa %r12, 24\n"
                     "sub $8, %rsp\ncall *%rdi\nadd $8, %rsp\n"
                     "pop %r12\n.cfi_def_cfa %rsp, 8\n"
                     "ret\n.cfi_endproc\n");
THUNK("liar_far", ".cfi_startproc\n"
                  "push %rbp\n.cfi_def_cfa_offset 16\n"
                  "mov $0x12345678, %rbp\n.cfi_def_cfa %rbp, 16\n"
                  "call *%rdi\n"
                  "pop %rbp\n.cfi_def_cfa %rsp, 8\n"
                  "ret\n.cfi_endproc\n");
THUNK("liar_deref", ".cfi_startproc\n"
                    "push %rbx\n.cfi_def_cfa_offset 16\n"
                    "mov $0x12345678, %rbx\n.cfi_escape 0x0f, 3, 0x73, 0, 0x06\n"
                    "call *%rdi\n"
                    "pop %rbx\n.cfi_def_cfa %rsp, 8\n"
                    "ret\n.cfi_endproc\n");
THUNK("liar_near", ".cfi_startproc\n"
                   "push %rbx\n.cfi_def_cfa_offset 16\n"
                   "lea 0x40000(%rsp), %rbx\n.cfi_def_cfa %rbx, 16\n"
                   "call *%rdi\n"
                   "pop %rbx\n.cfi_def_cfa %rsp, 8\n"
                   "ret\n.cfi_endproc\n");
THUNK("liar_aligned", ".cfi_startproc\n"
                      "sub $48, %rsp\n.cfi_adjust_cfa_offset 48\n"
                      "mov %rsp, %rdx\nand $-16, %rsp\npush %rdx\npush %rax\n"
                      "call *%rdi\n"
                      "pop %rax\npop %rsp\n"
                      "add $48, %rsp\n.cfi_adjust_cfa_offset -48\n"
                      "ret\n.cfi_endproc\n");
THUNK("liar_zero", ".cfi_startproc\n"
                   "sub $24, %rsp\n.cfi_adjust_cfa_offset 16\n"
                   "movq $0, 16(%rsp)\n"
                   "call *%rdi\n"
                   "add $24, %rsp\n.cfi_adjust_cfa_offset -16\n"
                   "ret\n.cfi_endproc\n");
THUNK("liar_bare", "push %rbp\nmov %rsp, %rbp\nsub $64, %rsp\n"
                   "call *%rdi\n"
                   "leave\nret\n");

static void on_small_stack(int signal)
{
    (void)signal;
    liar_near(allocate);
}

/* In a handler whose stack has nothing behind its end. */
static void near_its_end(void (*f)(void))
{
    const size_t size = 64 << 10, around = 4 << 20;
    char *at = mmap(NULL, around, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t none = {.ss_flags = SS_DISABLE}, small = {.ss_sp = at, .ss_size = size};
    const struct sigaction action = {.sa_handler = on_small_stack, .sa_flags = SA_ONSTACK};
    (void)f;
    mprotect(at, size, PROT_READ | PROT_WRITE);
    sigaltstack(&small, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    sigaltstack(&none, NULL);
    munmap(at, around);
}

static void *thread_body(void *f)
{
    liar_zero((void (*)(void))f);
    return NULL;
}

static void in_a_thread(void (*f)(void))
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, thread_body, (void *)f) == 0)
        pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*thunk)(void (*)(void));
    } ways[] = {
        {"number", liar_number}, {"far", liar_far},         {"deref", liar_deref},
        {"near", near_its_end},  {"aligned", liar_aligned}, {"zero", liar_zero},
        {"thread", in_a_thread}, {"bare", liar_bare},
    };
    for (size_t i = 0; argc == 2 && i < sizeof ways / sizeof *ways; i++) {
        if (strcmp(argv[1], ways[i].name) != 0)
            continue;
        for (int k = 0; k < 100; k++)
            ways[i].thunk(allocate);
        return 5;
    }
    fprintf(stderr, "usage: liar number|far|deref|near|aligned|zero|thread|bare\n");
    return 2;
}
