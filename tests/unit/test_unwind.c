/* SPDX-License-Identifier: MIT
 *
 * The unwinder against two others. Every probe takes its own stack with the
 * shadow, again by a full unwind, and with _Unwind_Backtrace (and libunwind,
 * where it is installed), and wants four equal lists. The rest of the file is
 * programs that make that hard. TAP on stdout; status 1 after any failure.
 *
 * Built with LT_MUTATE_NO_VERIFY=1, LT_MUTATE_NO_MEMO_CHECK=1 or
 * LT_MUTATE_NO_FP_CHECK=1 it must fail; with
 * LT_TEST_ALL_FULL=1, which runs DWARF for every step, it must pass.
 */
#include "unwind_start.h"

#ifndef LT_TEST_ALL_FULL
#define LT_TEST_ALL_FULL 0
#endif

#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include <unwind.h>

#define NOINLINE __attribute__((noinline))
#define KEEP __asm__ volatile("" ::: "memory")
#define MAX_FRAMES 20000

#include "prober.h"

/* --- trees of calls of every kind of frame --------------------------------- */

static __thread unsigned rnd_state = 1;
static unsigned rnd(void)
{
    return (rnd_state = rnd_state * 1103515245u + 12345u) >> 16 & 0x7fff;
}

static void grow(int depth);
static __thread sigjmp_buf landing;
static __thread int may_jump;

NOINLINE static void frame_plain(int d)
{
    grow(d);
    KEEP;
}
NOINLINE static void frame_alloca(int d)
{
    volatile char *p = alloca(16 + rnd() % 500);
    p[0] = 1;
    grow(d);
    p[1] = 1;
}
NOINLINE static void frame_aligned(int d)
{
    char block[64] __attribute__((aligned(64)));
    volatile char *p = alloca(16 + rnd() % 100);
    __asm__ volatile("" ::"r"(block), "r"(p) : "memory");
    grow(d);
    __asm__ volatile("" ::"r"(block), "r"(p) : "memory");
}
NOINLINE static void frame_large(int d)
{
    char block[200000];
    __asm__ volatile("" ::"r"(block) : "memory");
    grow(d);
    __asm__ volatile("" ::"r"(block) : "memory");
}
#if defined(__clang__)
#define WITH_FP NOINLINE
#else
#define WITH_FP NOINLINE __attribute__((optimize("no-omit-frame-pointer")))
#endif
WITH_FP static void frame_fp(int d)
{
    grow(d);
    KEEP;
}
NOINLINE static void frame_saves(int d, long a, long b, long c)
{
    long x = a + rnd(), y = b + rnd(), z = c + rnd(), w = a * b + rnd(), v = b * c + rnd();
    __asm__ volatile("" : "+r"(x), "+r"(y), "+r"(z), "+r"(w), "+r"(v));
    grow(d);
    __asm__ volatile("" : "+r"(x), "+r"(y), "+r"(z), "+r"(w), "+r"(v));
}
/* rbp holds anything but a frame: what an unneeded saved register looks like. */
NOINLINE static void frame_many(int d, long a, long b, long c, long e, long f, long g, long h)
{
    long s = a ^ b ^ c ^ e ^ f ^ g ^ h;
    frame_saves(d, s, a, h);
    __asm__ volatile("" ::"r"(s));
}
static __thread void *compare_frames[2];
static int by_qsort(const void *a, const void *b)
{
    if (compare_frames[0])
        grow((int)(intptr_t)compare_frames[0] - 1);
    return *(const int *)a - *(const int *)b;
}
NOINLINE static void frame_through_libc(int d)
{
    int v[3] = {3, 1, 2};
    void *was = compare_frames[0];
    compare_frames[0] = d > 0 && d < 4 ? (void *)(intptr_t)d : NULL;
    qsort(v, 3, sizeof v[0], by_qsort);
    compare_frames[0] = was;
    grow(d);
    KEEP;
}
NOINLINE static void frame_longjmp(int d)
{
    sigjmp_buf was;
    memcpy(was, landing, sizeof was);
    if (sigsetjmp(landing, 0) == 0) {
        may_jump++;
        grow(d);
    }
    may_jump--;
    memcpy(landing, was, sizeof was);
    probe();
}
NOINLINE static int frame_tail(int d)
{
    frame_plain(d);
    return 0;
}

NOINLINE static void grow(int depth)
{
    probe();
    if (depth <= 0) {
        if (may_jump && rnd() % 3 == 0)
            siglongjmp(landing, 1);
        return;
    }
    for (unsigned i = 1 + rnd() % 2; i; i--) {
        switch (rnd() % 10) {
        case 0: frame_alloca(depth - 1); break;
        case 1: frame_aligned(depth - 1); break;
        case 2: frame_large(depth - 1); break;
        case 3: frame_fp(depth - 1); break;
        case 4: frame_saves(depth - 1, 1, 2, 3); break;
        case 5: frame_many(depth - 1, 1, 2, 3, 4, 5, 6, 7); break;
        case 6: frame_through_libc(depth - 1); break;
        case 7: frame_longjmp(depth - 1); break;
        case 8: frame_tail(depth - 1); break;
        default: frame_plain(depth - 1); break;
        }
    }
    KEEP;
}

/* --- frames that lie where others lay --------------------------------------- */

/* The state after mid is the same twice but for rbp; the first mid's frame,
 * return address and all, still lies untouched in the second one's alloca. */
NOINLINE static void stale_leaf(void)
{
    probe();
    KEEP;
}
NOINLINE static void stale_mid(size_t n)
{
    volatile char *p = alloca(n);
    __asm__ volatile("" ::"r"(p));
    stale_leaf();
    KEEP;
}
NOINLINE static void stale_a(size_t n, size_t m)
{
    volatile char *p = alloca(n);
    __asm__ volatile("" ::"r"(p));
    stale_mid(m);
    KEEP;
}
NOINLINE static void stale_b(size_t n, size_t m)
{
    volatile char *p = alloca(n);
    __asm__ volatile("" ::"r"(p));
    stale_mid(m);
    __asm__ volatile("nop" ::: "memory");
}
/* The same sp and pc at the leaf, another caller further out. */
NOINLINE static void same_inner(void)
{
    probe();
    KEEP;
}
NOINLINE static void same_a(void)
{
    same_inner();
    KEEP;
}
NOINLINE static void same_b(void)
{
    same_inner();
    __asm__ volatile("nop" ::: "memory");
}
NOINLINE static void same_outer(int which)
{
    if (which)
        same_a();
    else
        same_b();
    KEEP;
}

NOINLINE static void test_stale(void)
{
    /* stale_a and stale_b swap their sizes: sp at the leaf stays the same. */
    for (int i = 0; i < 50; i++) {
        stale_a(1024, 128);
        stale_b(128, 1024);
        stale_b(1024, 128);
        stale_a(128, 1024);
        stale_a(512, 640);
        stale_b(640, 512);
        same_outer(i & 1);
        same_outer(i % 3 == 0);
    }
}

/* --- deep recursion ---------------------------------------------------------- */

NOINLINE static int recurse(int depth, int every)
{
    if (depth % every == 0)
        probe();
    int r = depth ? recurse(depth - 1, every) + 1 : 0;
    KEEP;
    return r;
}

/* --- coroutines -------------------------------------------------------------- */

#define COROUTINES 4
static ucontext_t scheduler, coroutine[COROUTINES];
static void coroutine_body(int n)
{
    for (int i = 0; i < 6; i++) {
        grow(n % 3 + 1);
        swapcontext(&coroutine[n], &scheduler);
    }
}
NOINLINE static void test_coroutines(void)
{
    const size_t size = 4 << 20;
    for (int round = 0; round < 3; round++) {
        char *stack[COROUTINES];
        for (int n = 0; n < COROUTINES; n++) {
            stack[n] = mmap(NULL, size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
            getcontext(&coroutine[n]);
            coroutine[n].uc_stack.ss_sp = stack[n];
            coroutine[n].uc_stack.ss_size = size;
            coroutine[n].uc_link = &scheduler;
            makecontext(&coroutine[n], (void (*)(void))coroutine_body, 1, n);
        }
        for (int i = 0; i < 7; i++)
            for (int n = 0; n < COROUTINES; n++) {
                if (i < 7)
                    swapcontext(&scheduler, &coroutine[n]);
                probe();
            }
        /* Gone: whoever trusts a stale slot faults. */
        for (int n = 0; n < COROUTINES; n++)
            munmap(stack[n], size);
        for (int k = 0; k < 20; k++)
            grow(2);
    }
}

/* --- signals ----------------------------------------------------------------- */

/* One SIGALRM after so many microseconds (0: none). A handler asks for the next as
 * its last act: at an interval, a slow machine would do nothing but handle signals. */
static volatile sig_atomic_t tick;
static void tick_after(int microseconds)
{
    struct itimerval once = {{0, 0}, {0, microseconds}};
    tick = microseconds;
    setitimer(ITIMER_REAL, &once, NULL);
}

static volatile sig_atomic_t signals;
static void on_signal(int sig)
{
    int saved = errno;
    (void)sig;
    signals++;
    probe_nested();
    if (tick)
        tick_after(tick);
    errno = saved;
}
NOINLINE static void test_signals(int flags)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = flags | SA_RESTART};
    static char alt[1 << 18];
    stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
    sigaltstack(&ss, NULL);
    sigaction(SIGALRM, &sa, NULL);
    sigaction(SIGUSR1, &sa, NULL);
    nested_prober = prober_new();
    signals = 0;
    raise(SIGUSR1);
#if defined(__i386__)
    stray = 1;
#endif
    tick_after(150);
    for (int i = 0; i < 3000 && (signals < 1500 || i < 40); i++)
        grow(5);
    tick_after(0);
    stray = 0;
}

/* A handler that leaves by longjmp in the middle of lt_unwind: the shadow must be
 * usable as it is. */
enum { ESCAPE_PROBES = 1000 };
static sigjmp_buf escape;
static volatile sig_atomic_t escapes;
static void on_escape(int sig)
{
    (void)sig;
    tick_after(tick);
    if (!unwinding)
        return;
    unwinding = 0;
    escapes++;
    siglongjmp(escape, 1);
}
NOINLINE static void test_escapes(void)
{
    struct sigaction sa = {.sa_handler = on_escape, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &sa, NULL);
    tick_after(60);
    /* volatile: it lives through siglongjmp */
    for (volatile int i = 0; i < 20000 && escapes < 200; i++) {
        if (sigsetjmp(escape, 1)) {
            may_jump = 0;
            compare_frames[0] = NULL;
            unsettled = true;
        }
        grow(4);
    }
    tick_after(0);
    while (probes < ESCAPE_PROBES) /* where handlers come fast, few got as far */
        grow(4);
    printf("# left lt_unwind by longjmp %d times\n", (int)escapes);
}

/* --- threads on stacks that others used -------------------------------------- */

static void *thread_body(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        grow(4);
    return NULL;
}
NOINLINE static void test_threads(void)
{
    for (int round = 0; round < 6; round++) {
        pthread_t t[3];
        for (int i = 0; i < 3; i++)
            pthread_create(&t[i], NULL, thread_body, NULL);
        for (int i = 0; i < 3; i++)
            pthread_join(t[i], NULL);
    }
}

/* --- assembly ----------------------------------------------------------------- */

#if defined(__x86_64__)
void asm_bare(void (*f)(void));
void asm_cfa_rbx(void (*f)(void));
void asm_cfa_r12(void (*f)(void));
void asm_other_stack(void (*f)(void), char *stack);
__asm__(
    ".text\n"
    ".type asm_bare, @function\nasm_bare:\n"
    "subq $24, %rsp\ncall *%rdi\naddq $24, %rsp\nret\n.size asm_bare, .-asm_bare\n"
    ".type asm_cfa_rbx, @function\nasm_cfa_rbx:\n.cfi_startproc\n"
    "pushq %rbx\n.cfi_def_cfa_offset 16\n.cfi_offset %rbx, -16\n"
    "movq %rsp, %rbx\n.cfi_def_cfa_register %rbx\n"
    "subq $256, %rsp\nandq $-64, %rsp\ncall *%rdi\nmovq %rbx, %rsp\n.cfi_def_cfa_register %rsp\n"
    "popq %rbx\n.cfi_def_cfa_offset 8\nret\n.cfi_endproc\n.size asm_cfa_rbx, .-asm_cfa_rbx\n"
    ".type asm_cfa_r12, @function\nasm_cfa_r12:\n.cfi_startproc\n"
    "pushq %r12\n.cfi_def_cfa_offset 16\n.cfi_offset %r12, -16\n"
    "pushq %rbp\n.cfi_def_cfa_offset 24\n.cfi_offset %rbp, -24\n"
    "leaq 24(%rsp), %r12\n.cfi_def_cfa %r12, 0\nxorl %ebp, %ebp\n"
    "subq $128, %rsp\nandq $-32, %rsp\ncall *%rdi\nleaq -24(%r12), %rsp\n.cfi_def_cfa %rsp, 24\n"
    "popq %rbp\n.cfi_def_cfa_offset 16\npopq %r12\n.cfi_def_cfa_offset 8\nret\n"
    ".cfi_endproc\n.size asm_cfa_r12, .-asm_cfa_r12\n"
    ".type asm_other_stack, @function\nasm_other_stack:\n.cfi_startproc\n"
    "pushq %rbp\n.cfi_def_cfa_offset 16\n.cfi_offset %rbp, -16\n"
    "movq %rsp, %rbp\n.cfi_def_cfa_register %rbp\n"
    "movq %rsi, %rsp\ncall *%rdi\nleave\n.cfi_def_cfa %rsp, 8\nret\n"
    ".cfi_endproc\n.size asm_other_stack, .-asm_other_stack\n");

static void grow3(void)
{
    grow(3);
    KEEP;
}
static void rbx_in_r12(void)
{
    asm_cfa_rbx(grow3);
    KEEP;
}
/* From one stack that nobody knows to another, as programs do that grow theirs by pieces. */
#define PIECE (4ul << 20)
static char *piece;
static void on_second_piece(void)
{
    grow(4);
    asm_cfa_rbx(grow3);
    KEEP;
}
static void on_first_piece(void)
{
    grow3();
    asm_other_stack(on_second_piece, piece + 3 * PIECE);
    grow3();
}
NOINLINE static void test_pieces(void)
{
    piece = mmap(NULL, 3 * PIECE, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (int i = 0; i < 10; i++)
        asm_other_stack(on_first_piece, piece + PIECE);
    munmap(piece, 3 * PIECE);
}
NOINLINE static void test_registers(void)
{
    asm_cfa_rbx(probe);
    asm_cfa_rbx(grow3);
    asm_cfa_r12(grow3);
    for (int i = 0; i < 30; i++) {
        asm_cfa_r12(rbx_in_r12);
        grow(2);
    }
    struct lt_unwind_counters c;
    lt_unwind_counters(self->shadow, &c);
    if (c.full_steps == 0)
        failures++;
}

NOINLINE static void test_bare(void)
{
    prefix_only = true;
    asm_bare(probe);
    if (self->shadow->stop != LT_STOP_NO_RULE)
        failures++;
    asm_bare(grow3);
    prefix_only = false;
    probe();
}

/* --- generated code ----------------------------------------------------------- */

/* sub $n, %rsp; call *%rdi; add $n, %rsp; ret - and its frame information. */
struct jit {
    unsigned char code[64];
    unsigned char eh[80];
};
static void jit_write(struct jit *j, uint32_t n)
{
    static const unsigned char cie[24] = {20, 0,    0,  0, 0, 0,    0, 0, 1,    'z', 'R', 0,
                                          1,  0x78, 16, 1, 0, 0x0c, 7, 8, 0x90, 1,   0,   0};
    unsigned char *c = j->code, *f = j->eh;
    uint64_t start = (uintptr_t)c, size = 17;
    uint32_t word;
    memset(j, 0, sizeof *j);
    memcpy(c, "\x48\x81\xec", 3), memcpy(c + 3, &n, 4);
    memcpy(c + 7, "\xff\xd7\x48\x81\xc4", 5), memcpy(c + 12, &n, 4);
    c[16] = 0xc3;
    memcpy(f, cie, sizeof cie);
    f += sizeof cie;
    word = 28, memcpy(f, &word, 4);
    word = sizeof cie + 4, memcpy(f + 4, &word, 4);
    memcpy(f + 8, &start, 8), memcpy(f + 16, &size, 8);
    f[24] = 0;                      /* no augmentation data */
    f[25] = 0x40 | 7, f[26] = 0x0e; /* behind the sub: CFA offset */
    n += 8;
    f[27] = 0x80 | (n & 0x7f), f[28] = 0x80 | (n >> 7 & 0x7f), f[29] = n >> 14;
}
void __register_frame(void *);
void __deregister_frame(void *);

NOINLINE __attribute__((unused)) static void test_generated(void)
{
    struct jit *j =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint32_t size[] = {24, 1032, 56, 4104, 24};
    gcc_only = true;
    for (unsigned i = 0; i < 5; i++) {
        jit_write(j, size[i]);
        __register_frame(j->eh);
        lt_unwind_register_frames(j->eh);
        for (int k = 0; k < 5; k++)
            ((void (*)(void (*)(void)))(void *)j->code)(k & 1 ? grow3 : probe);
        __deregister_frame(j->eh);
        lt_unwind_deregister_frames(j->eh);
    }
    gcc_only = false;
    /* push %rbp; mov %rsp, %rbp; call *%rdi; pop %rbp; ret: a guess finds it. */
    memcpy(j->code, "\x55\x48\x89\xe5\xff\xd7\x5d\xc3", 8);
    prefix_only = true;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    lt_unwind_register_stack(self->shadow, here - (1 << 20), here + 4096);
    lt_unwind_register_stack(self->full, here - (1 << 20), here + 4096);
    for (int k = 0; k < 10; k++) {
        ((void (*)(void (*)(void)))(void *)j->code)(probe);
        if (self->shadow->stop == LT_STOP_NO_RULE || self->shadow->n < 3)
            failures++;
        ((void (*)(void (*)(void)))(void *)j->code)(grow3);
    }
    lt_unwind_register_stack(self->shadow, 0, 0);
    lt_unwind_register_stack(self->full, 0, 0);
    prefix_only = false;
    munmap(j, 4096);
}
#endif

/* --- limits ------------------------------------------------------------------- */

static struct lt_unwinder *small;
static unsigned long small_bad;
NOINLINE static void small_probe(void)
{
    const struct lt_frame_start at = UNWIND_START;
    unsigned n = lt_unwind(small, &at);
    lt_unwind_nested(self->full, &at);
    unsigned m = self->full->n;
    if (m <= 64 ? (n != m || small->stop != LT_STOP_ROOT)
                : (n != 64 || small->stop != LT_STOP_LIMIT))
        small_bad++;
    for (unsigned i = 0; i < n; i++)
        if (lt_unwinder_pc(small, n - 1 - i) != lt_unwinder_pc(self->full, m - 1 - i))
            small_bad++;
    probes++;
}
NOINLINE static int small_recurse(int depth)
{
    small_probe();
    int r = depth ? small_recurse(depth - 1) + 1 : 0;
    small_probe();
    KEEP;
    return r;
}
NOINLINE static void test_limit(void)
{
    void *p = mmap(NULL, lt_unwinder_size(64), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    small = p;
    lt_unwinder_init(small, 64);
    for (int i = 0; i < 3; i++)
        small_recurse(150);
    small_recurse(20);
    failures += small_bad;
}

/* --- how much of the target's stack a known path costs ------------------------- */

NOINLINE static size_t stack_used(const struct lt_frame_start *at)
{
    volatile unsigned char *top = __builtin_frame_address(0);
    for (unsigned i = 256; i < 8192; i++)
        top[-(long)i] = 0xa5;
    lt_unwind(self->full, at);
    unsigned used = 8191;
    while (used > 256 && top[-(long)used] == 0xa5)
        used--;
    return used;
}
NOINLINE static void test_stack_use(void)
{
    const struct lt_frame_start at = UNWIND_START;
    lt_unwind(self->full, &at);
    self->full->n = 0;
    size_t warm = stack_used(&at);
    lt_unwind_flush();
    size_t cold = stack_used(&at);
    printf("# stack below the hook: known rules %zu bytes, all rules new %zu\n", warm, cold);
#if defined(__OPTIMIZE__) && !LT_TEST_ALL_FULL && !defined(__SANITIZE_ADDRESS__)
    if (warm >= 512 || cold >= 2048)
        failures++;
#endif
    probe();
}

int main(void)
{
#ifdef __SANITIZE_ADDRESS__
    void *lib = NULL; /* its loads are not ours to excuse */
#else
    void *lib = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
#endif
    if (lib)
        libunwind = (int (*)(void **, int))dlsym(lib, "unw_backtrace");
    printf("# other unwinders: _Unwind_Backtrace%s\n", libunwind ? ", libunwind" : "");
    probe();
    ok("a first stack", 1);
    test_stale();
    ok("frames that lie where others lay", 400);
    for (int i = 0; i < 400; i++)
        grow(8);
    ok("random trees of all kinds of frames", 10000);
    recurse(10000, 500);
    recurse(12000, 1000);
    if (self->shadow->n && self->shadow->stop != LT_STOP_ROOT)
        failures++;
    ok("recursion 12,000 deep", 33);
    test_coroutines();
    ok("coroutines on stacks that vanish", 200);
    test_signals(0);
    ok("signals in the middle of anything", 1000);
    test_signals(SA_ONSTACK);
    ok("signals on their own stack", 1000);
    test_escapes();
    ok("handlers that leave by longjmp", ESCAPE_PROBES);
    test_threads();
    ok("threads on used stacks", 1000);
#if defined(__x86_64__)
    test_registers();
    ok("frames placed by other registers", 100);
    test_pieces();
    ok("stacks in pieces", 100);
    test_bare();
    ok("assembly without frame information ends the stack", 3);
#if !LT_TEST_ALL_FULL /* which cannot be beyond a guess */
    test_generated();
    ok("generated code, registered and not", 50);
#endif
#endif
    test_limit();
    ok("an unwinder of depth 64", 300);
    test_stack_use();
    ok("stack use", 1);
    for (int i = 0; i < 300; i++) {
        grow(3);
        lt_unwind_flush();
    }
    lt_unwind_set_salt(7);
    ok("flushes", 300);
    printf("# recalled %u stacks\n", recalls);
    failures += !LT_TEST_ALL_FULL && recalls < 1000;
    ok("stacks recalled", 0);
    printf("1..%d\n", tests);
    return failed != 0;
}
