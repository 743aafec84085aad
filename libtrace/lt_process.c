/* SPDX-License-Identifier: MIT
 *
 * The life of a traced process: the choice of the sink, the header, the child
 * of a fork, what an event does that is not of the usual kind, the end. Starts on the first event
 * (the loader allocates before any constructor) or in the constructor, whichever comes first, and
 * in a fork's child likewise.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lt_allocator.h"
#include "lt_bypass.h"
#include "lt_config.h"
#include "lt_control.h"
#include "lt_count.h"
#include "lt_forward.h"
#include "lt_module.h"
#include "lt_probe.h"
#include "lt_real.h"
#include "lt_records.h"
#include "lt_sink.h"
#include "lt_stack.h"
#include "lt_totals.h"
#include "lt_trace.h"
#include "mlog_version.h"

static struct lt_lock start_lock;
static struct lt_lock announce_lock; /* held for the PROCESS record alone: the start waits for the
                                      * loader, whose holder may come to announce itself */
static bool in_fork_handler;

static uint64_t mix(uint64_t key)
{
    key = (key ^ key >> 31) * 0x7fb5d329728ea185u;
    key = (key ^ key >> 27) * 0x81dadef4bc2dd44du;
    return key ^ key >> 33;
}

/* Pid and moment tell processes apart if there is no randomness; mixed one
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
    lt_page.write_through = lt_process.finished && lt_sink->buffers;
    lt_page.coarse_clock = (uint32_t)lt_clock_coarse_is_cheap();
    lt_page.next_tick = 1; /* the first event takes the first sample */
    lt_page.stamp_owner = lt_process.no_owner ? LT_OWNER_NONE : LT_OWNER_NEXT;
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
        lt_record_texts(c);
        lt_module_record_all(c);
    }
    lt_control_say_state(c, how == MLF_HOW_START ? MLF_WINDOW_START : MLF_WINDOW_FORK);
    lt_finish(c, 0);
    return !lt_process.stopped;
}

/* A process that dies without a word was there all the same: what a stream has so
 * far, its PROCESS record at least, goes out at once. */
static void deliver_beginning(void)
{
    struct lt_context *c =
        lt_sink->buffers ? lt_begin_slow((uintptr_t)__builtin_frame_address(0)) : NULL;
    if (c) {
        lt_sink->flush(c);
        lt_finish(c, 0);
    }
}

/* All that recording needs; false where nothing is asked for, or after a word on what is
 * in the way. */
static bool prepare(void)
{
    lt_config_read();
    bool asked = is_asked();
    if (asked && lt_probe_is_deadly()) {
        lt_say("not tracing: this program was started behind a filter (seccomp) that ends "
               "programs for the calls that tracing needs; start it without its sandbox",
               NULL, 0);
        return false;
    }
    lt_process.pid = lt_getpid();
    if (!lt_allocator_serves(asked) || lt_sink_choose())
        return false;
    if (!lt_stack_setup() || !lt_thread_setup()) {
        lt_say("no memory, not tracing", NULL, ENOMEM);
        return false;
    }
    return true;
}

/* Under start_lock. Late: paused at first, as blocks from before are not in the trace. */
static bool start(bool late)
{
    bool ready = prepare();
    if (ready) {
        lt_clock_choose(&lt_process.clock);
        lt_clock_moment(lt_process.clock.kind, &lt_process.start);
        lt_process.key = new_key(lt_process.pid);
        lt_process.page_size = (uint64_t)sysconf(_SC_PAGESIZE);
        lt_unwind_set_mode(lt_config.unwind);
        lt_records_open();
        lt_syscall3(SYS_madvise, &lt_page_memory, sizeof lt_page_memory, MADV_WIPEONFORK);
        fill_page();
        lt_control_open();
        lt_control_begin_state(late || lt_config.start_paused);
    }
    lt_process.started = true;
    __atomic_store_n(&lt_page.active, ready ? LT_ACTIVE : LT_OFF, __ATOMIC_RELEASE);
    if (!ready)
        lt_page.forward = LT_FORWARD_OFF;
    if (ready && !write_header(MLF_HOW_START)) {
        lt_process.stopped = true;
        lt_page.active = LT_OFF;
        lt_page.forward = LT_FORWARD_OFF;
        lt_say("the trace ends where it begins, not tracing: no memory, or no space", NULL, 0);
        return false;
    }
    return ready;
}

static void start_image(void)
{
    if (lt_allocator_probing() || !lt_lock_take(&start_lock))
        return; /* a trial, or an allocation inside the start itself */
    if (!lt_process.started)
        start(false);
    lt_lock_release(&start_lock);
}

static void start_child(void)
{
    if (lt_process.stopped) {
        lt_page.active = LT_OFF;
        lt_page.forward = LT_FORWARD_OFF;
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
    start_lock.word = announce_lock.word = 0;
    lt_process.pid = pid;
    lt_process.lost = 0;
    lt_clock_moment(lt_process.clock.kind, &lt_process.start);
    if (!in_fork_handler)
        lt_process.fork_time = lt_process.start.count >> lt_process.clock.tick_shift;
    lt_process.key = new_key(lt_process.pid);
    lt_process.finished = 0;
    fill_page();
    lt_control_after_fork(); /* first: nobody is to answer in the parent's */
    lt_module_after_fork();
    lt_bypass_after_fork();
    lt_thread_after_fork();
    lt_sink->after_fork();
    lt_records_after_fork();
    lt_control_begin_state(lt_process.paused);
    lt_page.active = LT_ACTIVE;
    starting = 0;
    if (write_header(MLF_HOW_FORK))
        deliver_beginning();
}

/* The process's first context announces itself by PROCESS before STREAM. Where tracing
 * begins late, other threads wait for it. */
static void announce_process(struct lt_context *c)
{
    static uint64_t announced;
    bool locked = lt_lock_take(&announce_lock);
    uint64_t parent = announced;
    if (announced != lt_process.key) {
        announced = lt_process.key;
        lt_record_process(c, parent ? MLF_HOW_FORK : MLF_HOW_START, parent);
    }
    if (locked)
        lt_lock_release(&announce_lock);
}

static void announce_context(struct lt_context *c)
{
    c->announced = lt_process.key;
    announce_process(c);
    lt_context_announce(c);
    if (lt_page.active == LT_ACTIVE)
        lt_context_take_over(c);
}

/* The first context to record gets the stamps; that of another thread takes them away,
 * before it claims, stamps or lets the program do anything (lt_clock.h). */
static void settle_stamps(const struct lt_context *c)
{
    uintptr_t owner = __atomic_load_n(&lt_page.stamp_owner, __ATOMIC_ACQUIRE);
    struct lt_thread *self = lt_self;
    if (owner == LT_OWNER_NONE || owner == (uintptr_t)c)
        return;
    if ((uintptr_t)self > 1 && c != &self->main && owner == (uintptr_t)&self->main)
        return; /* nested: the same thread's */
    if (owner == LT_OWNER_NEXT && !c->flags &&
        __atomic_compare_exchange_n(&lt_page.stamp_owner, &owner, (uintptr_t)c, 0, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
        return;
    __atomic_store_n(&lt_page.stamp_owner, LT_OWNER_NONE, __ATOMIC_SEQ_CST);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

struct lt_context *lt_begin_slow(uintptr_t frame)
{
    int saved = errno;
    struct lt_context *c = NULL;
    uint32_t active = __atomic_load_n(&lt_page.active, __ATOMIC_ACQUIRE);
    if (LT_UNLIKELY(active == LT_UNKNOWN)) {
        if (lt_process.started)
            start_child();
        else if (lt_real_ready())
            start_image();
        active = __atomic_load_n(&lt_page.active, __ATOMIC_ACQUIRE);
        if (lt_page.forward == LT_FORWARD_PAUSED)
            active = LT_OFF; /* this event found out, and is none to record */
    }
    if (active == LT_ACTIVE)
        c = lt_context_choose(frame);
    if (c) {
        LT_SIGNAL_FENCE(); /* lt_yield: busy is seen before what is looked at now */
        settle_stamps(c);
        bool ready = lt_page.active == LT_ACTIVE;
        if (ready && c->announced != lt_process.key)
            announce_context(c);
        if (ready && c->events.position > c->events.limit)
            ready = lt_writer_room(&c->events, LT_ITEM_MAX);
        if (LT_UNLIKELY(ready && (c->lost || c->dropped || lt_process.lost))) {
            lt_context_say_losses(c, lt_now(), false);
            ready = lt_writer_room(&c->events, LT_ITEM_MAX);
        }
        if (!ready || lt_page.active != LT_ACTIVE) {
            __atomic_fetch_add(c->dropping ? &c->dropped : &c->lost, 1, __ATOMIC_RELAXED);
            c->busy = 0;
            lt_release_shared(c);
            c = NULL;
        }
    }
    errno = saved;
    return c;
}

void lt_finish_slow(struct lt_context *context, uint64_t now)
{
    int saved = errno;
    if (now >= lt_page.next_tick)
        lt_tick(context, now);
    if (lt_page.write_through && lt_page.active == LT_ACTIVE)
        lt_sink->flush(context);
    errno = saved;
}

bool lt_forward_look(uintptr_t frame)
{
    int saved = errno;
    struct lt_context *c = lt_begin(frame);
    if (c) {
        lt_control_look(c, false);
        lt_finish(c, 0);
    }
    errno = saved;
    return lt_page.forward <= LT_FORWARD_NO;
}

void lt_process_end(int how, int status)
{
    if (lt_page.active != LT_ACTIVE || lt_process.finished)
        return;
    int saved = errno;
    if (lt_config.drop && lt_sink->buffers)
        lt_sink->end(NULL); /* what is said below is not to be dropped */
    struct lt_context *c = lt_begin_slow((uintptr_t)__builtin_frame_address(0));
    if (c) {
        lt_bypass_check(c, LT_BYPASS_END);
        uint64_t now = lt_now();
        lt_record_memory(c, now);
        lt_record_clock(c);
        lt_record_counters(c);
        struct lt_totals totals;
        if (how == MLF_END_EXIT && lt_totals_take(c, &totals))
            lt_record_totals(c, &totals);
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
            lt_page.write_through = lt_sink->buffers;
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
        lt_bypass_check(c, LT_BYPASS_FORK);
        lt_sink->flush(c); /* the child relies on our definitions */
        lt_finish(c, 0);
    }
    lt_process.fork_time = lt_now();
    lt_stamp_anew();
}

static void in_child(void)
{
    lt_totals_after_fork();
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

/* A shell without numbered redirections of four digits (dash, zsh, ksh: so make, and
 * every system()) makes an argument of the 1022 and lets `>file` be standard output.
 * The user sees an empty trace, or none, so say what happened. */
static void say_if_misread(int argc, char **argv)
{
    if (argc > 1 && argv && !strcmp(argv[argc - 1], "1022") && !is_asked())
        lt_say("not tracing: this shell took 1022>FILE for an argument \"1022\" and >FILE; use "
               "MLOG_OUT=FILE before the command, or bash -c '... 1022>FILE'",
               NULL, 0);
}

/* What there is to do once tracing has begun, and libc too. */
static void settle(void)
{
    lt_sink->constructed();
    deliver_beginning();
    lt_allocator_check_operators();
    if (lt_after_start)
        lt_after_start();
    (void)LT_FORWARD_TO(pthread_atfork, pthread_atfork(before_fork, NULL, in_child));
    if (on_exit)
        on_exit(at_exit, NULL);
}

/* It began paused: so blocks from before are known to be unseen, and their frees wrong by
 * nobody's fault. */
static void resume_late(void)
{
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    if (c) {
        lt_control_pause(c, false, MLF_WINDOW_API);
        lt_finish(c, 0);
    }
}

int lt_process_begin_late(int fd)
{
    struct stat st;
    if (fd < 0 || lt_fstat(fd, &st))
        return EBADF;
    int error = EBUSY;
    if (!lt_lock_take(&start_lock))
        return error;
    if (lt_page.active == LT_OFF && !lt_process.key &&
        (fd == LT_TRACE_FD || lt_fstat(LT_TRACE_FD, &st))) {
        bool copied = fd == LT_TRACE_FD || lt_syscall3(SYS_dup3, fd, LT_TRACE_FD, 0) >= 0;
        error = copied && start(true) ? 0 : EINVAL;
        if (error && copied && fd != LT_TRACE_FD)
            lt_close(LT_TRACE_FD);
    }
    lt_lock_release(&start_lock);
    if (!error) {
        settle();
        resume_late();
    }
    return error || lt_page.active == LT_ACTIVE ? error : EIO; /* it ended where it began */
}

#ifdef __GLIBC__ /* which tells constructors the arguments */
__attribute__((constructor)) static void begin(int argc, char **argv)
#else
__attribute__((constructor)) static void begin(void)
#endif
{
    int saved = errno;
    if (lt_page.active == LT_UNKNOWN) {
        lt_allocator_probe();
        start_image();
    }
#ifdef __GLIBC__
    say_if_misread(argc, argv);
#else
    say_if_misread(0, NULL);
#endif
    if (lt_page.active == LT_ACTIVE)
        settle();
    lt_count_watch_forks();
    errno = saved;
}

__attribute__((destructor)) static void end(void)
{
    if (!on_exit)
        lt_process_end(MLF_END_EXIT, 0);
}
