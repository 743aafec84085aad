/* SPDX-License-Identifier: MIT
 *
 * The control page and the two states; see lt_control.h. All that acts does so under one
 * lock, which is not waited for: whoever holds it is doing the same.
 */
#include "lt_control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "lt_probe.h"
#include "lt_sink.h"
#include "mlf_control.h"
#include "mlog_version.h"

#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC 1u
#define MFD_ALLOW_SEALING 2u
#endif
#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_SEAL 1
#define F_SEAL_SHRINK 2
#define F_SEAL_GROW 4
#endif
#define PAYLOAD_MAX 300 /* of the longest record made here: a MARK */

_Static_assert(sizeof MLOG_VERSION < sizeof((struct mlf_control *)0)->writer, "it fits");

static struct lt_file file = {.fd = -1};
static struct lt_lock lock;
static uint64_t paused_at, paused_ns, pauses, since_ns;
static uint32_t paused_by;
/* A filter of system calls ends a program that makes such a page. */
static bool forbidden;
/* Where there is no page, what the bell points to. */
static uint32_t silence;

/* A descriptor of a sealed memfd of one page; or a negative errno. */
static int make_file(void)
{
    int fd = (int)lt_syscall2(SYS_memfd_create, MLF_CONTROL_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return fd;
    fd = lt_move_fd(fd, LT_LOWEST_FD);
    if (fd < 0)
        return fd;
    long result = lt_ftruncate(fd, MLF_CONTROL_BYTES);
    if (result == 0)
        result = lt_fallocate(fd, 0, MLF_CONTROL_BYTES);
    if (result == 0)
        result =
            lt_syscall3(LT_SYS_FCNTL, fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    if (result == 0 && lt_file_adopt(&file, fd))
        return fd;
    lt_close(fd);
    return result ? (int)result : -EBADF;
}

/* Numbers of the moment; for who has the lock. */
static void show(void)
{
    struct mlf_control *page = lt_process.control;
    uint64_t events = 0, bytes = __atomic_load_n(&lt_process.bytes, __ATOMIC_RELAXED);
    uint64_t lost = __atomic_load_n(&lt_process.lost, __ATOMIC_RELAXED) +
                    __atomic_load_n(&lt_process.lost_said, __ATOMIC_RELAXED);
    if (!page)
        return;
    for (struct lt_context *c = lt_process.contexts; c; c = c->next) {
        events += __atomic_load_n(&c->recorded, __ATOMIC_RELAXED);
        bytes += lt_writer_used(&c->events) + lt_writer_used(&c->definitions);
        lost += __atomic_load_n(&c->lost, __ATOMIC_RELAXED) +
                __atomic_load_n(&c->dropped, __ATOMIC_RELAXED);
    }
    uint32_t version = page->snapshot | 1;
    __atomic_store_n(&page->snapshot, version, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    if (lt_page.active == LT_ACTIVE)
        page->state = lt_process.paused ? MLF_CONTROL_PAUSED : MLF_CONTROL_RECORDING;
    page->sampling = 0;
    page->events = events;
    page->bytes = bytes;
    page->lost = lost;
    page->pauses = pauses;
    page->paused_ns = paused_ns;
    page->since_ns = since_ns;
    page->paused_by = paused_by;
    page->taken_ns = lt_clock_monotonic();
    __atomic_store_n(&page->snapshot, version + 1, __ATOMIC_RELEASE);
}

static void fill(struct mlf_control *page)
{
    page->version = MLF_CONTROL_VERSION;
    page->size = sizeof *page;
    page->pid = (uint32_t)lt_process.pid;
    page->key = lt_process.key;
    memcpy(page->writer, MLOG_VERSION, sizeof MLOG_VERSION);
    page->started_ns = lt_process.start.monotonic_ns;
    page->layout = lt_sink->buffers ? MLF_LAYOUT_STREAM : MLF_LAYOUT_MAPPED;
    page->state = lt_process.paused ? MLF_CONTROL_PAUSED : MLF_CONTROL_RECORDING;
    lt_name_of_fd(lt_sink->descriptor(), page->target, sizeof page->target);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(page->magic, MLF_CONTROL_MAGIC, sizeof page->magic);
}

void lt_control_open(void)
{
    lt_page.bell = &silence;
    lt_page.heard = 0;
    if (!lt_process.started)
        forbidden = lt_probe_page_is_deadly();
    int fd = forbidden ? -EPERM : make_file();
    if (fd < 0)
        return;
    struct mlf_control *page = lt_map_file(fd, 0, MLF_CONTROL_BYTES);
    if (!page) {
        lt_close(fd);
        file.fd = -1;
        return;
    }
    fill(page);
    lt_process.control = page;
    lt_page.bell = &page->asked;
}

void lt_control_after_fork(void)
{
    lock.word = 0;
    if (lt_process.control)
        lt_unmap(lt_process.control, MLF_CONTROL_BYTES);
    lt_process.control = NULL;
    if (file.fd >= 0 && lt_file_is_ours(&file))
        lt_close(file.fd);
    file.fd = -1;
    paused_ns = pauses = 0;
    lt_control_open();
}

void lt_control_begin_state(bool paused)
{
    lt_process.paused = paused;
    __atomic_store_n(&lt_page.forward, paused ? LT_FORWARD_PAUSED : LT_FORWARD_NO,
                     __ATOMIC_RELEASE);
}

/* A WINDOW record; room for it has been made. */
static void record_window(struct lt_context *c, uint64_t now, bool pause, int by)
{
    unsigned char *p = mlf_put_vu(c->scratch, now);
    p = mlf_put_vu(p, pause ? MLF_WINDOW_PAUSE : MLF_WINDOW_RESUME);
    p = mlf_put_vu(p, (uint64_t)by);
    lt_writer_record(&c->events, MLF_REC_WINDOW, c->scratch, (size_t)(p - c->scratch));
    since_ns = lt_clock_monotonic();
    if (pause) {
        pauses++;
        paused_at = since_ns;
        paused_by = (uint32_t)by;
    } else {
        paused_ns += since_ns - paused_at;
    }
}

void lt_control_say_state(struct lt_context *c, int by)
{
    since_ns = lt_clock_monotonic();
    if (lt_process.paused && lt_writer_room(&c->events, PAYLOAD_MAX))
        record_window(c, lt_now(), true, by);
    if (lt_lock_try(&lock)) {
        show();
        lt_lock_release(&lock);
    }
}

/* The moment of a change: no later than the next event of the owner of the stamps. */
static uint64_t moment(const struct lt_context *c)
{
    bool owner = __atomic_load_n(&lt_page.stamp_owner, __ATOMIC_ACQUIRE) == (uintptr_t)c;
    return owner ? lt_now() & ~(uint64_t)(LT_COARSE_TICKS - 1) : lt_now();
}

static int change(struct lt_context *c, bool pause, int by)
{
    if (lt_process.paused == pause)
        return 1;
    if (!lt_writer_room(&c->events, PAYLOAD_MAX))
        return lt_page.active == LT_ACTIVE ? -EAGAIN : -ESHUTDOWN;
    if (!pause)
        __atomic_store_n(&lt_page.forward, LT_FORWARD_NO, __ATOMIC_SEQ_CST);
    record_window(c, moment(c), pause, by);
    if (pause)
        __atomic_store_n(&lt_page.forward, LT_FORWARD_PAUSED, __ATOMIC_SEQ_CST);
    lt_process.paused = pause;
    lt_stamp_anew();
    if (lt_page.active != LT_ACTIVE) /* stopped meanwhile */
        lt_page.forward = LT_FORWARD_OFF;
    else if (pause)
        lt_sink->flush(c);
    return 0;
}

int lt_control_pause(struct lt_context *c, bool pause, int by)
{
    if (!lt_lock_take(&lock))
        return -EBUSY; /* a signal handler inside */
    int result = change(c, pause, by);
    show();
    lt_lock_release(&lock);
    return result;
}

static int mark(struct lt_context *c, const char *name, size_t size)
{
    if (!lt_writer_room(&c->events, PAYLOAD_MAX))
        return lt_page.active == LT_ACTIVE ? -EAGAIN : -ESHUTDOWN;
    unsigned char *p = mlf_put_vu(c->scratch, lt_now());
    p = mlf_put_vu(p, MLF_MARK_POINT);
    p = lt_put_string(p, name, size);
    lt_writer_record(&c->events, MLF_REC_MARK, c->scratch, (size_t)(p - c->scratch));
    lt_stamp_anew();
    return 0;
}

static int stop(struct lt_context *c)
{
    lt_context_say_losses(c, lt_now(), true);
    lt_sink->flush(c);
    lt_stop(c, MLF_LOSS_ASKED, 0);
    return 0;
}

static int act(struct lt_context *c, const struct mlf_control_request *request)
{
    if (lt_page.active != LT_ACTIVE)
        return -ESHUTDOWN;
    switch (request->command) {
    case MLF_CONTROL_STATUS: return 0;
    case MLF_CONTROL_PAUSE: return change(c, true, MLF_WINDOW_CTL);
    case MLF_CONTROL_RESUME: return change(c, false, MLF_WINDOW_CTL);
    case MLF_CONTROL_MARK:
        return mark(c, request->text,
                    request->length < MLF_CONTROL_TEXT ? request->length : MLF_CONTROL_TEXT - 1);
    case MLF_CONTROL_FLUSH: lt_sink->flush(c); return 0;
    case MLF_CONTROL_STOP: return stop(c);
    default: return -ENOSYS;
    }
}

/* All requests up to the latest one, of which the slots hold the last few. */
static void answer(struct lt_context *c)
{
    struct mlf_control *page = lt_process.control;
    struct mlf_control_request request; /* a copy: what is judged does not change */
    const uint32_t asked = __atomic_load_n(&page->asked, __ATOMIC_ACQUIRE);
    uint32_t number = lt_page.heard;
    if (asked - number > MLF_CONTROL_SLOTS)
        number = asked - MLF_CONTROL_SLOTS;
    while (number != asked) {
        struct mlf_control_request *slot = &page->requests[++number % MLF_CONTROL_SLOTS];
        memcpy(&request, slot, sizeof request);
        __atomic_store_n(&slot->result, act(c, &request), __ATOMIC_RELAXED);
    }
    lt_page.heard = asked;
    show();
    __atomic_store_n(&page->answered, asked, __ATOMIC_RELEASE);
}

void lt_control_look(struct lt_context *c, bool also_show)
{
    bool rings = lt_control_rings();
    if ((!rings && !also_show) || !lt_process.control || !lt_lock_try(&lock))
        return;
    if (lt_control_rings())
        answer(c);
    else if (also_show)
        show();
    lt_lock_release(&lock);
}
