// SPDX-License-Identifier: MIT
//
// A program that is hard on unwinders and allocates everywhere, to run under
// truth_preload: exceptions through and within frames, longjmp, coroutines,
// signal storms on either stack, deep recursion, realigned and growing frames,
// threads, forks, plugins that take each other's addresses. Prints nothing but
// what goes wrong.
//
//   nasty PLUGIN-A PLUGIN-B [wild]     two builds of plugin.c with unlike SIZE
//
// wild: throw in signal storms, too. libgcc's own unwinder crashes there, since
// it overwrites its saved registers before it leaves for a landing pad.
#include <alloca.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

extern "C" char **environ;

#define NOINLINE __attribute__((noinline))

static thread_local unsigned seed = 1;
static unsigned rnd()
{
    return (seed = seed * 1103515245u + 12345u) >> 16 & 0x7fff;
}

NOINLINE static void touch()
{
    void *volatile p = malloc(16 + rnd() % 64);
    p = realloc(p, 200);
    free(p);
}

static bool calm; // throw nothing

static void grow(int depth);

struct Noisy {
    std::string text;
    explicit Noisy(int n) : text(static_cast<size_t>(40 + n), 'x')
    {
    }
    ~Noisy()
    {
        touch();
    }
};

NOINLINE static void thrower(int depth)
{
    Noisy n(depth);
    grow(depth - 1);
    if (rnd() % 2)
        throw std::runtime_error(std::string(64, 'e'));
}
NOINLINE static void catcher(int depth)
{
    Noisy n(depth);
    try {
        thrower(depth);
    } catch (const std::exception &e) {
        std::string copy = e.what();
        grow(depth - 1);
        try {
            thrower(depth - 1);
            throw 1;
        } catch (...) {
            touch();
        }
    }
    touch();
}
NOINLINE static void growing(int depth)
{
    volatile char *p = static_cast<volatile char *>(alloca(rnd() % 700 + 1));
    p[0] = 0;
    grow(depth - 1);
    p[0] = 1;
}
struct alignas(64) Wide {
    char bytes[128];
};
NOINLINE static void realigned(int depth)
{
    Wide w;
    __asm__ volatile("" ::"r"(&w) : "memory");
    volatile char *p = static_cast<volatile char *>(alloca(rnd() % 64 + 1));
    p[0] = 0;
    grow(depth - 1);
    __asm__ volatile("" ::"r"(&w) : "memory");
}
NOINLINE static void jump(jmp_buf *landing, int depth)
{
    volatile char *p = static_cast<volatile char *>(alloca(rnd() % 300 + 1));
    p[0] = 0;
    touch();
    if (depth <= 0)
        longjmp(*landing, 1);
    jump(landing, depth - 1);
    p[0] = 1;
}
NOINLINE static void jumper(int depth)
{
    jmp_buf landing;
    if (setjmp(landing) == 0)
        jump(&landing, depth);
    grow(depth - 1);
}
NOINLINE static void through_library(int depth)
{
    std::vector<std::string> v;
    for (int i = 0; i < 6; i++)
        v.push_back(std::string(30, static_cast<char>('a' + rnd() % 20)));
    std::sort(v.begin(), v.end(), [&](const std::string &a, const std::string &b) {
        touch();
        return a < b;
    });
    std::map<int, std::unique_ptr<std::string>> m;
    for (int i = 0; i < 4; i++)
        m[static_cast<int>(rnd())] = std::make_unique<std::string>(50, 'z');
    std::function<void(int)> f = [](int d) { grow(d); };
    f(depth - 1);
}
NOINLINE static int tail(int depth)
{
    touch();
    if (depth == 0)
        return 0;
    return tail(depth - 1);
}
static void grow(int depth)
{
    touch();
    if (depth <= 0)
        return;
    for (unsigned i = rnd() % 2 + 1; i; i--) {
        switch (rnd() % 7) {
        case 0:
            if (!calm)
                catcher(depth);
            break;
        case 1: growing(depth); break;
        case 2: realigned(depth); break;
        case 3: jumper(depth); break;
        case 4: through_library(depth); break;
        case 5: tail(depth); break;
        default:
            grow(depth - 1);
            touch();
            break;
        }
    }
    touch();
}
static void safely(int depth)
{
    try {
        grow(depth);
    } catch (...) {
        touch();
    }
}

NOINLINE static int recurse(int depth)
{
    if (depth % 400 == 0)
        touch();
    int r = depth ? recurse(depth - 1) + 1 : 0;
    __asm__ volatile("" ::: "memory");
    return r;
}

static ucontext_t scheduler, coroutine[3];
static void coroutine_body(int n)
{
    for (int i = 0; i < 5; i++) {
        safely(n + 2);
        swapcontext(&coroutine[n], &scheduler);
    }
}
static void coroutines()
{
    const size_t size = 1 << 20;
    for (int round = 0; round < 5; round++) {
        void *stack[3];
        for (int n = 0; n < 3; n++) {
            stack[n] =
                mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            getcontext(&coroutine[n]);
            coroutine[n].uc_stack.ss_sp = stack[n];
            coroutine[n].uc_stack.ss_size = size;
            coroutine[n].uc_link = &scheduler;
            makecontext(&coroutine[n], reinterpret_cast<void (*)()>(coroutine_body), 1, n);
        }
        for (int i = 0; i < 6; i++)
            for (int n = 0; n < 3; n++)
                swapcontext(&scheduler, &coroutine[n]), touch();
        for (int n = 0; n < 3; n++)
            munmap(stack[n], size);
        safely(3);
    }
}

// Not malloc, which the signal may have interrupted: the hook alone is wanted,
// and realloc of nothing to nothing would do, but calloc that overflows takes no
// lock in any libc.
static volatile size_t huge = static_cast<size_t>(-1);
static void on_signal(int)
{
    void *volatile p = calloc(huge, 2);
    (void)p;
}
static void storm(int flags)
{
    static char alternate[1 << 18];
    stack_t ss = {};
    ss.ss_sp = alternate;
    ss.ss_size = sizeof alternate;
    sigaltstack(&ss, nullptr);
    struct sigaction sa = {};
    sa.sa_handler = on_signal;
    sa.sa_flags = flags | SA_RESTART;
    sigaction(SIGALRM, &sa, nullptr);
    sigaction(SIGPROF, &sa, nullptr);
    itimerval on = {{0, 200}, {0, 200}}, off = {};
    setitimer(ITIMER_REAL, &on, nullptr);
    setitimer(ITIMER_PROF, &on, nullptr);
    for (int i = 0; i < 300; i++)
        safely(5);
    setitimer(ITIMER_REAL, &off, nullptr);
    setitimer(ITIMER_PROF, &off, nullptr);
}

static void plugins(const char *a, const char *b)
{
    std::map<void *, int> seen;
    for (int i = 0; i < 40; i++) {
        void *lib = dlopen(i & 1 ? b : a, RTLD_NOW);
        if (!lib) {
            fprintf(stderr, "nasty: %s\n", dlerror());
            exit(1);
        }
        void *sym = dlsym(lib, "plugin_call");
        auto call = reinterpret_cast<void (*)(void (*)())>(sym);
        seen[sym]++;
        for (int k = 0; k < 5; k++)
            call([] { safely(2); });
        dlclose(lib);
        safely(1);
    }
    if (seen.size() > 20)
        fprintf(stderr, "nasty: no plugin took another's address\n");
}

int main(int argc, char **argv)
{
    for (int i = 0; i < 200; i++)
        safely(7);
    recurse(10000);
    coroutines();
    calm = argc < 4;
    storm(0);
    storm(SA_ONSTACK);
    calm = false;
    for (int round = 0; round < 4; round++) {
        std::vector<std::thread> threads;
        for (unsigned n = 0; n < 3; n++)
            threads.emplace_back([n] {
                seed = n + 1;
                for (int i = 0; i < 40; i++)
                    safely(5);
            });
        for (auto &t : threads)
            t.join();
    }
    if (argc > 2)
        plugins(argv[1], argv[2]);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 20; i++)
            safely(5);
        exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    char name[] = "true", *args[] = {name, nullptr};
    if (posix_spawnp(&pid, "true", nullptr, nullptr, args, environ) == 0)
        waitpid(pid, &status, 0);
    safely(5);
    return 0;
}
