/* SPDX-License-Identifier: MIT
 *
 * The life of a traced process: the choice of the sink, the header, the child
 * of a fork, the periodic samples, the end. Runs on the first event (the
 * loader allocates before any constructor) or in the constructor, whichever
 * comes first, and in a fork's child likewise.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lt_allocator.h"
#include "lt_config.h"
#include "lt_forward.h"
#include "lt_module.h"
#include "lt_sink.h"
#include "lt_stack.h"
#include "lt_trace.h"
#include "mlog_version.h"

#ifndef __GLIBC__
__thread uintptr_t lt_inside;
#endif
union lt_page_memory lt_page_memory __attribute__((aligned(LT_PAGE_BYTES)));

static struct lt_lock start_lock;
static struct lt_file statm;
static bool in_fork_handler;
static uint64_t next_clock_ns;

#define TICK_NS 10000000u    /* between samples of the resident size */
#define CLOCK_NS 1000000000u /* between CLOCK records */
#define FLUSH_NS 250000000u  /* an event finds the tail of a stream at most that old */

static uint64_t to_ticks(uint64_t ns)
{
    return (uint64_t)((double)ns * 1e-9 * (double)lt_process.clock.counts_per_second) >>
           lt_process.clock.tick_shift;
}

static uint64_t mix(uint64_t key)
{
    key = (key ^ key >> 31) * 0x7fb5d329728ea185u;
    key = (key ^ key >> 27) * 0x81dadef4bc2dd44du;
    return key ^ key >> 33;
}

/* Where there is no randomness, pid and moment tell processes apart; mixed one
 * after the other, since moments of two clocks nearly cancel each other. */
static uint64_t new_key(int pid)
{
    uint64_t random = 0;
    lt_syscall3(SYS_getrandom, &random, sizeof random, 1 /* GRND_NONBLOCK */);
    uint64_t key = mix(lt_process.start.realtime_ns ^ random);
    key = mix(key ^ (uint64_t)pid << 32 ^ lt_clock_monotonic());
    return key ? key : 1;
}

static void fill_page(void)
{
    lt_page.clock_kind = (uint32_t)lt_process.clock.kind;
    lt_page.tick_shift = lt_process.clock.tick_shift;
    lt_page.write_through = lt_process.finished && lt_sink == &lt_sink_stream;
    lt_page.coarse_clock = (uint32_t)lt_clock_coarse_is_cheap();
    lt_page.next_tick = 1; /* the first event takes the first sample */
}

static void write_process(struct lt_context *c, int how, uint64_t parent_key)
{
    uint64_t start = lt_process.start.count >> lt_process.clock.tick_shift;
    unsigned char *p = mlf_put_vu(c->scratch, (uint64_t)lt_process.pid);
    p = mlf_put_vu(p, (uint64_t)lt_getppid());
    mlf_put_u64(p, parent_key);
    p = mlf_put_vu(p + 8, (uint64_t)how);
    const uint64_t fields[] = {
        start,
        how == MLF_HOW_FORK ? lt_process.fork_time : 0,
        how == MLF_HOW_FORK ? lt_stack_nodes() : 0,
        how == MLF_HOW_FORK ? lt_module_count() : 0,
        (uint64_t)lt_process.clock.kind,
        lt_process.clock.tick_shift,
        lt_process.clock.counts_per_second,
        lt_process.start.monotonic_ns,
        lt_process.start.realtime_ns,
        LT_BLOCK_HEADER,
        LT_BLOCK_GRAIN,
        LT_BLOCK_SMALLEST,
        lt_process.page_size,
        sizeof(void *),
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        p = mlf_put_vu(p, fields[i]);
    lt_writer_record(&c->definitions, MLF_REC_PROCESS, c->scratch, (size_t)(p - c->scratch));
}

static void write_text(struct lt_context *c, int what, const char *text, size_t size)
{
    do {
        size_t part = size < 1024 ? size : 1024;
        unsigned char *p = mlf_put_vu(c->scratch, (uint64_t)what);
        memcpy(p, text, part);
        lt_writer_record(&c->definitions, MLF_REC_TEXT, c->scratch,
                         (size_t)(p + part - c->scratch));
        text += part;
        size -= part;
    } while (size);
}

static void write_link(struct lt_context *c, int what, const char *link)
{
    char target[1024];
    long n = lt_syscall4(SYS_readlinkat, AT_FDCWD, link, target, sizeof target);
    if (n > 0)
        write_text(c, what, target, (size_t)n);
}

/* A file of /proc, piece by piece; of a one-line file without the line's end. */
static void write_file(struct lt_context *c, int what, const char *path, bool one_line)
{
    int fd = lt_open(path, O_RDONLY, 0);
    if (fd < 0)
        return;
    unsigned char *text = mlf_put_vu(c->scratch, (uint64_t)what);
    for (;;) {
        long n = lt_syscall3(SYS_read, fd, text, 1400);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        if (one_line && text[n - 1] == '\n')
            n--;
        lt_writer_record(&c->definitions, MLF_REC_TEXT, c->scratch,
                         (size_t)(text + n - c->scratch));
    }
    lt_close(fd);
}

static void write_clock(struct lt_context *c)
{
    struct lt_moment now;
    lt_clock_moment(lt_process.clock.kind, &now);
    unsigned char *p = mlf_put_vu(c->scratch, now.count >> lt_process.clock.tick_shift);
    p = mlf_put_vu(p, now.monotonic_ns);
    p = mlf_put_vu(p, now.realtime_ns);
    lt_writer_record(&c->definitions, MLF_REC_CLOCK, c->scratch, (size_t)(p - c->scratch));
    next_clock_ns = now.monotonic_ns + CLOCK_NS;
}

static void open_statm(void)
{
    int fd = lt_open("/proc/self/statm", O_RDONLY, 0);
    if (fd >= 0)
        fd = lt_move_fd(fd, LT_LOWEST_FD);
    if (fd < 0 || !lt_file_adopt(&statm, fd))
        statm.fd = -1;
}

static void write_memory(struct lt_context *c, uint64_t now)
{
    char text[96];
    if (statm.fd < 0 || !lt_file_is_ours(&statm))
        return;
    long n = lt_pread(statm.fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return;
    text[n] = 0;
    unsigned char *p = mlf_put_vu(c->scratch, now);
    const char *at = text;
    for (int i = 0; i < 3; i++) { /* pages: virtual, resident, shared */
        uint64_t pages = 0;
        for (; *at >= '0' && *at <= '9'; at++)
            pages = pages * 10 + (uint64_t)(*at - '0');
        p = mlf_put_vu(p, pages * lt_process.page_size);
        at += *at == ' ';
    }
    lt_writer_record(&c->definitions, MLF_REC_MEMORY, c->scratch, (size_t)(p - c->scratch));
}

static void write_counters(struct lt_context *c)
{
    struct lt_unwind_counters sum = {0};
    for (struct lt_context *t = lt_process.contexts; t; t = t->next) {
        if (t->flags)
            continue;
        struct lt_unwind_counters one;
        lt_unwind_counters(lt_thread_of(t)->unwinder, &one);
        for (int i = 0; i < LT_STOP_COUNT; i++)
            sum.stops[i] += one.stops[i];
        sum.guesses += one.guesses;
        sum.full_steps += one.full_steps;
    }
    const uint64_t pairs[][2] = {
        {MLF_COUNT_NO_RULE, sum.stops[LT_STOP_NO_RULE]},
        {MLF_COUNT_DEPTH_LIMIT, sum.stops[LT_STOP_LIMIT]},
        {MLF_COUNT_BAD_MEMORY, sum.stops[LT_STOP_BAD_MEMORY]},
        {MLF_COUNT_FP_GUESSES, sum.guesses},
        {MLF_COUNT_FULL_STEPS, sum.full_steps},
        {MLF_COUNT_NODES, lt_stack_nodes()},
        {MLF_COUNT_LIBRARY_BYTES, lt_memory_held()},
        {MLF_COUNT_NESTED, __atomic_load_n(&lt_process.nested, __ATOMIC_RELAXED)},
    };
    unsigned char *p = mlf_put_vu(c->scratch, lt_now());
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        p = mlf_put_vu(p, pairs[i][0]);
        p = mlf_put_vu(p, pairs[i][1]);
    }
    lt_writer_record(&c->definitions, MLF_REC_COUNTERS, c->scratch, (size_t)(p - c->scratch));
}

/* Periodic work, by whichever thread's event finds it due; inside that event. */
void lt_tick(struct lt_context *c, uint64_t now)
{
    uint64_t due = __atomic_load_n(&lt_page.next_tick, __ATOMIC_RELAXED);
    if (now < due || !__atomic_compare_exchange_n(&lt_page.next_tick, &due, now + to_ticks(TICK_NS),
                                                  0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    write_memory(c, now);
    if (lt_clock_monotonic() >= next_clock_ns)
        write_clock(c);
    static uint64_t next_flush; /* by the clock: a process that allocates seldom is late enough */
    if (now >= next_flush && lt_page.active == LT_ACTIVE) {
        if (next_flush)
            lt_sink->flush(c);
        next_flush = now + to_ticks(FLUSH_NS);
    }
}

void lt_stop(int reason, int error)
{
    uint32_t was = __atomic_exchange_n(&lt_page.active, LT_OFF, __ATOMIC_ACQ_REL);
    if (was != LT_ACTIVE)
        return;
    lt_process.stopped = true;
    struct lt_thread *self = lt_self;
    if (lt_config.debug)
        lt_say("tracing stopped: the trace cannot be written on", NULL, error);
    if ((uintptr_t)self <= 1)
        return;
    /* The slack behind the limit of the chunk in hand is kept for this. */
    struct lt_writer *w = &self->main.events;
    if (!lt_writer_has_slack(w, LT_STOP_MAX))
        w = &self->main.definitions;
    if (!lt_writer_has_slack(w, LT_STOP_MAX))
        return;
    unsigned char payload[3 * MLF_VU_SLACK], *p = mlf_put_vu(payload, lt_now());
    p = mlf_put_vu(p, (uint64_t)reason);
    p = mlf_put_vu(p, (uint64_t)error);
    unsigned char *at = mlf_put_vu(w->position + 1, (uint64_t)(p - payload));
    memcpy(at, payload, (size_t)(p - payload));
    lt_commit(w, MLF_REC_STOP, at + (p - payload));
}

static bool is_asked(void)
{
    struct stat st;
    return lt_config.out[0] || lt_fstat(LT_TRACE_FD, &st) == 0;
}

static bool write_header(int how)
{
    struct lt_context *c = lt_begin_slow((uintptr_t)__builtin_frame_address(0));
    if (!c)
        return false;
    if (how == MLF_HOW_START) {
        write_link(c, MLF_TEXT_EXE, "/proc/self/exe");
        write_link(c, MLF_TEXT_CWD, "/proc/self/cwd");
        write_file(c, MLF_TEXT_ARGS, "/proc/self/cmdline", false);
        write_file(c, MLF_TEXT_COMM, "/proc/self/comm", true);
        write_file(c, MLF_TEXT_HOST, "/proc/sys/kernel/hostname", true);
        write_file(c, MLF_TEXT_BOOT_ID, "/proc/sys/kernel/random/boot_id", true);
        write_text(c, MLF_TEXT_WRITER, "mlog " MLOG_VERSION, sizeof "mlog " MLOG_VERSION - 1);
        write_file(c, MLF_TEXT_MAPS, "/proc/self/maps", false);
        lt_module_record_all(c);
    }
    lt_finish(c, 0);
    return !lt_process.stopped;
}

void lt_start(void)
{
    if (lt_allocator_probing() || !lt_lock_take(&start_lock))
        return; /* a trial, or an allocation inside the start itself */
    if (!lt_process.started) {
        lt_process.pid = lt_getpid();
        lt_config_read(lt_process.pid);
        statm.fd = -1;
        bool ready = lt_allocator_serves(is_asked()) && lt_sink_choose() == 0;
        if (ready && (!lt_stack_setup() || !lt_thread_setup())) {
            lt_say("no memory, not tracing", NULL, ENOMEM);
            ready = false;
        }
        if (ready) {
            lt_clock_choose(&lt_process.clock);
            lt_clock_moment(lt_process.clock.kind, &lt_process.start);
            lt_process.key = new_key(lt_process.pid);
            lt_process.page_size = (uint64_t)sysconf(_SC_PAGESIZE);
            lt_unwind_set_mode(lt_config.unwind);
            open_statm();
            lt_syscall3(SYS_madvise, &lt_page_memory, sizeof lt_page_memory, MADV_WIPEONFORK);
            fill_page();
        }
        lt_process.started = true;
        __atomic_store_n(&lt_page.active, ready ? LT_ACTIVE : LT_OFF, __ATOMIC_RELEASE);
        if (ready && !write_header(MLF_HOW_START)) {
            lt_process.stopped = true;
            lt_page.active = LT_OFF;
            lt_say("the trace ends where it begins, not tracing: no memory, or no space", NULL, 0);
        }
    }
    lt_lock_release(&start_lock);
}

void lt_start_child(void)
{
    if (lt_process.stopped) {
        lt_page.active = LT_OFF;
        return;
    }
    /* A signal handler inside this: its event cannot be recorded yet. */
    static int starting;
    int pid = lt_getpid();
    if (starting == pid) {
        lt_process.lost++;
        return;
    }
    starting = pid;
    start_lock.word = 0;
    lt_process.pid = pid;
    lt_process.lost = 0;
    lt_clock_moment(lt_process.clock.kind, &lt_process.start);
    if (!in_fork_handler)
        lt_process.fork_time = lt_process.start.count >> lt_process.clock.tick_shift;
    lt_process.key = new_key(lt_process.pid);
    lt_process.finished = 0;
    fill_page();
    lt_stack_after_fork();
    lt_module_after_fork();
    lt_thread_after_fork();
    lt_sink->after_fork();
    if (statm.fd >= 0 && lt_file_is_ours(&statm)) /* the parent's */
        lt_close(statm.fd);
    open_statm();
    lt_page.active = LT_ACTIVE;
    starting = 0;
    write_header(MLF_HOW_FORK);
}

/* The process's first context announces itself by PROCESS before STREAM. */
void lt_process_announce(struct lt_context *c)
{
    static uint64_t announced;
    uint64_t parent = announced;
    if (announced == lt_process.key)
        return;
    announced = lt_process.key;
    write_process(c, parent ? MLF_HOW_FORK : MLF_HOW_START, parent);
}

void lt_process_end(int how, int status)
{
    if (lt_page.active != LT_ACTIVE || lt_process.finished)
        return;
    int saved = errno;
    struct lt_context *c = lt_begin_slow((uintptr_t)__builtin_frame_address(0));
    if (c) {
        uint64_t now = lt_now();
        write_memory(c, now);
        write_clock(c);
        write_counters(c);
        lt_context_say_losses(c, now, true);
        unsigned char *p = mlf_put_vu(c->scratch, now);
        p = mlf_put_vu(p, (uint64_t)how);
        p = mlf_put_vu(p, (uint64_t)(uint32_t)status);
        lt_writer_record(&c->definitions, MLF_REC_PROCESS_END, c->scratch,
                         (size_t)(p - c->scratch));
        if (lt_page.active == LT_ACTIVE)
            lt_sink->end(c);
        lt_finish(c, 0);
        if (how != MLF_END_EXEC) { /* which may fail, and the program go on */
            lt_process.finished = 1;
            lt_page.write_through = lt_sink == &lt_sink_stream;
        }
    }
    errno = saved;
}

static void before_fork(void)
{
    if (lt_page.active != LT_ACTIVE)
        return;
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    if (c) {
        lt_sink->flush(c); /* the child relies on our definitions */
        lt_finish(c, 0);
    }
    lt_process.fork_time = lt_now();
    lt_stamp_anew();
}

static void in_child(void)
{
    if (!lt_process.started || (lt_page.active == LT_OFF))
        return;
    lt_page.active = LT_UNKNOWN; /* where the kernel did not wipe it */
    in_fork_handler = true;
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    in_fork_handler = false;
    if (c)
        lt_finish(c, 0);
}

static void at_exit(int status, void *unused)
{
    (void)unused;
    lt_process_end(MLF_END_EXIT, status);
}

/* glibc's atexit with the status; not everywhere. Registered before the program
 * starts, so that it runs after all its handlers and destructors. */
int on_exit(void (*function)(int, void *), void *argument) __attribute__((weak));

__attribute__((constructor)) static void begin(void)
{
    int saved = errno;
    if (lt_page.active == LT_UNKNOWN) {
        lt_allocator_probe();
        lt_start();
    }
    if (lt_page.active == LT_ACTIVE) {
        lt_sink->constructed();
        lt_allocator_check_operators();
        (void)LT_FORWARD_TO(pthread_atfork, pthread_atfork(before_fork, NULL, in_child));
        if (on_exit)
            on_exit(at_exit, NULL);
    }
    errno = saved;
}

__attribute__((destructor)) static void end(void)
{
    if (!on_exit)
        lt_process_end(MLF_END_EXIT, 0);
}
