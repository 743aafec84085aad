/* SPDX-License-Identifier: MIT
 *
 * Records of a process about itself; see lt_records.h. Files of /proc are read by
 * system calls into the context's scratch; the one that every sample needs stays
 * open.
 */
#include "lt_records.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "lt_bypass.h"
#include "lt_config.h"
#include "lt_control.h"
#include "lt_limit.h"
#include "lt_module.h"
#include "lt_sink.h"
#include "lt_stack.h"
#include "lt_totals.h"
#include "mlog_version.h"

#define TICK_NS 10000000u    /* between samples of the resident size */
#define CLOCK_NS 1000000000u /* between CLOCK records */
#define FLUSH_NS 250000000u  /* an event finds the tail of a stream at most that old */

#define LIMIT_FROM (8u << 20) /* resident bytes from which on the limit is of interest */

static struct lt_file statm = {.fd = -1};
static struct lt_limit limit;
static uint32_t limit_state;  /* 0, 1: being asked for, 2: known */
static uint32_t told_percent; /* of the limit, by the latest mark */
static uint64_t next_clock_ns;

/* What tells a process from others of its pid; 0 where it cannot be known. */
struct identity {
    uint64_t pid_namespace, birth, machine;
};

/* The beginning of a file of /proc, in the context's scratch, with a NUL; "" if there
 * is none. */
static const char *read_line(struct lt_context *c, const char *path)
{
    int fd = lt_open(path, O_RDONLY, 0);
    long n = 0;
    if (fd >= 0) {
        n = lt_syscall3(SYS_read, fd, c->scratch, sizeof c->scratch - 1);
        lt_close(fd);
    }
    c->scratch[n > 0 ? n : 0] = 0;
    return (const char *)c->scratch;
}

/* The link's text is "pid:[4026531836]". */
static uint64_t find_pid_namespace(struct lt_context *c)
{
    long n = lt_syscall4(SYS_readlinkat, AT_FDCWD, "/proc/self/ns/pid", c->scratch,
                         sizeof c->scratch - 1);
    c->scratch[n > 0 ? n : 0] = 0;
    const char *bracket = strchr((const char *)c->scratch, '[');
    if (!bracket++)
        return 0;
    return lt_get_decimal(&bracket);
}

/* Field 22 of the process's stat, clock ticks from the boot to its start. The name
 * before may hold blanks and parentheses. */
static uint64_t find_birth(struct lt_context *c)
{
    const char *at = strrchr(read_line(c, "/proc/self/stat"), ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    return at ? lt_get_decimal(&at) : 0;
}

/* The first 64 bits of the boot id, of which the digits are hexadecimal. */
static uint64_t find_machine(struct lt_context *c)
{
    uint64_t id = 0;
    const char *at = read_line(c, "/proc/sys/kernel/random/boot_id");
    for (int digits = 0; *at && digits < 16; at++) {
        bool decimal = *at >= '0' && *at <= '9';
        if (!decimal && (*at < 'a' || *at > 'f'))
            continue;
        id = id << 4 | (uint64_t)(decimal ? *at - '0' : *at - 'a' + 10);
        digits++;
    }
    return id;
}

static struct identity identify(struct lt_context *c)
{
    static uint64_t machine; /* the same for all children */
    if (!machine)
        machine = find_machine(c);
    return (struct identity){find_pid_namespace(c), find_birth(c), machine};
}

void lt_record_process(struct lt_context *c, int how, uint64_t parent_key)
{
    const struct identity identity = identify(c);
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
        identity.pid_namespace,
        identity.birth,
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        p = mlf_put_vu(p, fields[i]);
    mlf_put_u64(p, identity.machine);
    p += 8;
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

/* What shapes the trace and is not as usual; nothing if there is no such thing. */
static void write_settings(struct lt_context *c)
{
    char text[96], *p = text;
    if (lt_config.depth) {
        p = stpcpy(p, "DEPTH=");
        p = lt_put_decimal(p, lt_config.depth);
        *p++ = 0;
    }
    if (lt_config.unwind == LT_UNWIND_FP)
        p = stpcpy(p, "UNWIND=fp") + 1;
    if (lt_config.free_stacks)
        p = stpcpy(p, "FREE_STACKS=1") + 1;
    if (lt_process.stream_reason) {
        p = stpcpy(p, "STREAM=");
        p = stpcpy(p, lt_process.stream_reason) + 1;
    }
    if (p > text)
        write_text(c, MLF_TEXT_SETTINGS, text, (size_t)(p - text));
}

void lt_record_texts(struct lt_context *c)
{
    write_link(c, MLF_TEXT_EXE, "/proc/self/exe");
    write_link(c, MLF_TEXT_CWD, "/proc/self/cwd");
    write_file(c, MLF_TEXT_ARGS, "/proc/self/cmdline", false);
    write_file(c, MLF_TEXT_COMM, "/proc/self/comm", true);
    write_file(c, MLF_TEXT_HOST, "/proc/sys/kernel/hostname", true);
    write_file(c, MLF_TEXT_BOOT_ID, "/proc/sys/kernel/random/boot_id", true);
    write_text(c, MLF_TEXT_WRITER, "mlog " MLOG_VERSION, sizeof "mlog " MLOG_VERSION - 1);
    write_settings(c);
    write_file(c, MLF_TEXT_MAPS, "/proc/self/maps", false);
}

void lt_record_clock(struct lt_context *c)
{
    struct lt_moment now;
    lt_clock_moment(lt_process.clock.kind, &now);
    unsigned char *p = mlf_put_vu(c->scratch, now.count >> lt_process.clock.tick_shift);
    p = mlf_put_vu(p, now.monotonic_ns);
    p = mlf_put_vu(p, now.realtime_ns);
    lt_writer_record(&c->definitions, MLF_REC_CLOCK, c->scratch, (size_t)(p - c->scratch));
    next_clock_ns = now.monotonic_ns + CLOCK_NS;
}

void lt_records_open(void)
{
    int fd = lt_open("/proc/self/statm", O_RDONLY, 0);
    if (fd >= 0)
        fd = lt_move_fd(fd, LT_LOWEST_FD);
    if (fd < 0 || !lt_file_adopt(&statm, fd))
        statm.fd = -1;
}

void lt_records_after_fork(void)
{
    if (statm.fd >= 0 && lt_file_is_ours(&statm)) /* the parent's */
        lt_close(statm.fd);
    lt_records_open();
    limit_state = told_percent = 0; /* the child may be in another control group */
}

/* What the process may have at most, once it has something worth the question. */
static void record_limit(struct lt_context *c, uint64_t now)
{
    uint32_t unknown = 0;
    if (!__atomic_compare_exchange_n(&limit_state, &unknown, 1, 0, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return;
    limit = lt_limit_find("");
    if (limit.kind) {
        unsigned char *p = mlf_put_vu(c->scratch, now);
        p = mlf_put_vu(p, limit.kind);
        p = mlf_put_vu(p, limit.bytes);
        lt_writer_record(&c->definitions, MLF_REC_LIMIT, c->scratch, (size_t)(p - c->scratch));
    }
    __atomic_store_n(&limit_state, 2, __ATOMIC_RELEASE);
}

/* A mark at a half, three quarters and nine tenths of the limit, each once: who looks at
 * the trace of a program that was killed for memory can ask for what came after them. */
static void mark_share(struct lt_context *c, uint64_t resident)
{
    static const struct {
        uint32_t percent;
        char name[40];
    } shares[] = {{90, "memory at 90 % of the limit"},
                  {75, "memory at 75 % of the limit"},
                  {50, "memory at 50 % of the limit"}};
    if (__atomic_load_n(&limit_state, __ATOMIC_ACQUIRE) != 2 || !limit.kind)
        return;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        uint32_t told = __atomic_load_n(&told_percent, __ATOMIC_RELAXED);
        if (resident / 100 < limit.bytes / 10000 * shares[i].percent)
            continue;
        if (told < shares[i].percent && lt_writer_room(&c->events, LT_ITEM_MAX) &&
            __atomic_compare_exchange_n(&told_percent, &told, shares[i].percent, 0,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            unsigned char *p = mlf_put_vu(c->scratch, lt_now());
            p = mlf_put_vu(p, MLF_MARK_POINT);
            p = lt_put_string(p, shares[i].name, strlen(shares[i].name));
            lt_writer_record(&c->events, MLF_REC_MARK, c->scratch, (size_t)(p - c->scratch));
            lt_stamp_anew();
        }
        return;
    }
}

uint64_t lt_record_memory(struct lt_context *c, uint64_t now)
{
    char text[96];
    if (statm.fd < 0 || !lt_file_is_ours(&statm))
        return 0;
    long n = lt_pread(statm.fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = 0;
    uint64_t bytes[3]; /* virtual, resident, shared; in pages there */
    unsigned char *p = mlf_put_vu(c->scratch, now);
    const char *at = text;
    for (int i = 0; i < 3; i++) {
        bytes[i] = lt_get_decimal(&at) * lt_process.page_size;
        p = mlf_put_vu(p, bytes[i]);
        at += *at == ' ';
    }
    lt_writer_record(&c->definitions, MLF_REC_MEMORY, c->scratch, (size_t)(p - c->scratch));
    return bytes[1];
}

void lt_record_counters(struct lt_context *c)
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
        {MLF_COUNT_NO_RULE, sum.stops[LT_STOP_NO_RULE] + sum.stops[LT_STOP_BAD_RULE]},
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

void lt_record_totals(struct lt_context *c, const struct lt_totals *totals)
{
    unsigned char *p = mlf_put_vu(c->scratch, lt_now());
    p = mlf_put_vu(p, MLF_COUNT_MAPPED);
    p = mlf_put_vu(p, totals->mapped);
    p = mlf_put_vu(p, MLF_COUNT_IN_USE);
    p = mlf_put_vu(p, totals->in_use);
    p = mlf_put_vu(p, MLF_COUNT_FREE);
    p = mlf_put_vu(p, totals->free);
    lt_writer_record(&c->definitions, MLF_REC_COUNTERS, c->scratch, (size_t)(p - c->scratch));
}

void lt_tick(struct lt_context *c, uint64_t now)
{
    uint64_t due = __atomic_load_n(&lt_page.next_tick, __ATOMIC_RELAXED);
    if (now < due || !__atomic_compare_exchange_n(&lt_page.next_tick, &due,
                                                  now + lt_clock_ticks(&lt_process.clock, TICK_NS),
                                                  0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    const uint64_t resident = lt_record_memory(c, now);
    if (resident >= LIMIT_FROM) {
        record_limit(c, now);
        mark_share(c, resident);
    }
    lt_bypass_check(c, LT_BYPASS_TICK);
    if (lt_clock_monotonic() >= next_clock_ns)
        lt_record_clock(c);
    lt_control_look(c, false);
    static uint64_t next_flush; /* by the clock: a process that allocates seldom is late enough */
    if (now >= next_flush && lt_page.active == LT_ACTIVE) {
        if (next_flush)
            lt_sink->flush(c);
        lt_control_look(c, true);
        next_flush = now + lt_clock_ticks(&lt_process.clock, FLUSH_NS);
    }
}
