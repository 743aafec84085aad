/* SPDX-License-Identifier: MIT
 *
 * All of the public header, and __register_frame, by weak references: runs with
 * and without the library. `api marks` gives every odd argument; `api stack`
 * allocates on a stack of its own under generated code without unwind
 * information, first unknown, then registered, and then on the
 * own stack of a thread that has registered nothing; `api generated`
 * under generated code whose unwind information is registered and taken back.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "mlog.h"

void __register_frame(void *eh_frame) __attribute__((weak));
void __deregister_frame(void *eh_frame) __attribute__((weak));

static void *volatile keep;

static void on_signal(int number)
{
    (void)number;
    mlog_mark("in a handler");
}

static void *in_a_thread(void *name)
{
    mlog_mark(name);
    return NULL;
}

static void marks(void)
{
    char name[1000];
    pthread_t thread;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    errno = 71;
    mlog_mark(NULL);
    mlog_mark("");
    mlog_mark(name);
    mlog_mark("\xff \n \"\\ \xe2\x82\xac");
    if (mlog_api_mark) {
        mlog_api_mark(0, "none");
        mlog_api_mark(4, "none");
        mlog_api_mark(-1, "none");
    }
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    printf("errno %d\n", errno);
    pthread_create(&thread, NULL, in_a_thread, (void *)"in a thread");
    pthread_join(thread, NULL);
}

/* Generated code that calls its argument and keeps a frame pointer. */
static void (*bare)(void (*)(void));

static void generate_bare(void)
{
#if defined(__x86_64__) /* push %rbp; mov %rsp, %rbp; call *%rdi; pop %rbp; ret */
    static const unsigned char code[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
#else /* stp x29, x30, [sp, -16]!; mov x29, sp; blr x0; ldp x29, x30, [sp], 16; ret */
    static const unsigned char code[] = {0xfd, 0x7b, 0xbf, 0xa9, 0xfd, 0x03, 0x00,
                                         0x91, 0x00, 0x00, 0x3f, 0xd6, 0xfd, 0x7b,
                                         0xc1, 0xa8, 0xc0, 0x03, 0x5f, 0xd6};
#endif
    char *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    __builtin___clear_cache(page, page + sizeof code);
    bare = (void (*)(void (*)(void)))(void *)page;
}

#define STACK_BYTES 65536
static ucontext_t outside, inside;

static void leak_unknown(void)
{
    keep = malloc(11 * 8);
    __asm__ volatile("");
}

static void leak_registered(void)
{
    keep = malloc(13 * 8);
    __asm__ volatile("");
}

static void leak_in_successor(void)
{
    keep = malloc(15 * 8);
    __asm__ volatile("");
}

static void fibre(void)
{
    bare(leak_unknown);
    char *low = inside.uc_stack.ss_sp;
    mlog_register_stack(low, low + STACK_BYTES);
    bare(leak_registered);
    __asm__ volatile("");
}

static void *run_fibre(void *unused)
{
    getcontext(&inside);
    inside.uc_stack.ss_sp =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    inside.uc_stack.ss_size = STACK_BYTES;
    inside.uc_link = &outside;
    makecontext(&inside, fibre, 0);
    swapcontext(&outside, &inside);
    munmap(inside.uc_stack.ss_sp, STACK_BYTES);
    pthread_attr_t attributes;
    void *low;
    size_t size;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    mlog_register_stack(low, (char *)low + size);
    return unused;
}

static void *run_successor(void *unused)
{
    bare(leak_in_successor);
    return unused;
}

static void stack(void)
{
    pthread_t thread;
    generate_bare();
    pthread_create(&thread, NULL, run_fibre, NULL);
    pthread_join(thread, NULL);
    pthread_create(&thread, NULL, run_successor, NULL);
    pthread_join(thread, NULL);
}

static void leak_generated(void)
{
    keep = malloc(17 * 8);
    __asm__ volatile("");
}

static void leak_taken_back(void)
{
    keep = malloc(19 * 8);
    __asm__ volatile("");
}

static void generated(void)
{
#if defined(__x86_64__)
    /* sub $24, %rsp; call *%rdi; add $24, %rsp; ret - and its frame information. */
    static const unsigned char code[] = {0x48, 0x83, 0xec, 24, 0xff, 0xd7,
                                         0x48, 0x83, 0xc4, 24, 0xc3};
    static const unsigned char cie[24] = {20, 0,    0,  0, 0, 0,    0, 0, 1,    'z', 'R', 0,
                                          1,  0x78, 16, 1, 0, 0x0c, 7, 8, 0x90, 1,   0,   0};
    unsigned char *page =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *eh = page + 1024, *f = eh + sizeof cie;
    uint64_t start = (uintptr_t)page, size = sizeof code;
    uint32_t length = 28, back = sizeof cie + 4;
    memcpy(page, code, sizeof code);
    memcpy(eh, cie, sizeof cie);
    memcpy(f, &length, 4);
    memcpy(f + 4, &back, 4);
    memcpy(f + 8, &start, 8);
    memcpy(f + 16, &size, 8);
    memcpy(f + 24, "\0\x44\x0e\x20", 4); /* behind the sub: CFA offset 32 */
    void (*call)(void (*)(void)) = (void (*)(void (*)(void)))(void *)page;
    if (__register_frame)
        __register_frame(eh);
    call(leak_generated);
    if (__deregister_frame)
        __deregister_frame(eh);
    call(leak_taken_back);
#else
    leak_generated();
    leak_taken_back();
#endif
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("version %d traced %d\n", mlog_api_version ? mlog_api_version() : 0, mlog_tracing());
    if (argc != 2)
        return 2;
    if (!strcmp(argv[1], "marks"))
        marks();
    else if (!strcmp(argv[1], "stack"))
        stack();
    else
        generated();
    return 0;
}
