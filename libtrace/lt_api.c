/* SPDX-License-Identifier: MIT
 *
 * The public functions of mlog.h, and those by which a code generator gives the
 * unwind information of its code to the run-time library: we want it too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "lt_allocator.h"
#include "lt_count.h"
#include "lt_real.h"
#include "lt_trace.h"
#include "mlog.h"

LT_EXPORT int mlog_api_version(void)
{
    return MLOG_API_VERSION;
}

LT_EXPORT int mlog_api_tracing(void)
{
    return lt_page.active == LT_ACTIVE;
}

/* A record of the calling thread's events, of at most `room` bytes: its payload is what
 * `put` appends to the time. */
static void record(unsigned tag, size_t room, unsigned char *(*put)(unsigned char *, const void *),
                   const void *what)
{
    if (lt_page.active == LT_OFF)
        return;
    int saved = errno;
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    /* The record may need more room than an event: made before the stamp. */
    if (c && lt_writer_room(&c->events, room)) {
        uint64_t now = lt_now();
        unsigned char *p = put(mlf_put_vu(c->scratch, now), what);
        lt_writer_record(&c->events, tag, c->scratch, (size_t)(p - c->scratch));
        lt_stamp_anew();
        lt_finish(c, now);
    } else if (c) {
        lt_finish(c, 0);
    }
    errno = saved;
}

#define NAME_MAX_KEPT 255
#define RECORD_ROOM(bytes) ((bytes) + 8 * MLF_VU_SLACK)

struct mark {
    int kind;
    const char *name;
};

static unsigned char *put_mark(unsigned char *p, const void *what)
{
    const struct mark *mark = what;
    p = mlf_put_vu(p, (uint64_t)mark->kind);
    return lt_put_string(p, mark->name, strnlen(mark->name, NAME_MAX_KEPT));
}

LT_EXPORT void mlog_api_mark(int kind, const char *name)
{
    if (kind < MLF_MARK_POINT || kind > MLF_MARK_END)
        return;
    const struct mark mark = {kind, name ? name : ""};
    record(MLF_REC_MARK, RECORD_ROOM(NAME_MAX_KEPT), put_mark, &mark);
}

struct print {
    const char *text;
    size_t size;
};

static unsigned char *put_print(unsigned char *p, const void *what)
{
    const struct print *print = what;
    return lt_put_string(p, print->text, print->size);
}

LT_EXPORT void mlog_api_print(const char *text, size_t size)
{
    const struct print print = {text, size < MLOG_PRINT_MAX ? size : MLOG_PRINT_MAX};
    record(MLF_REC_PRINT, RECORD_ROOM(MLOG_PRINT_MAX), put_print, &print);
}

struct savepoint {
    uint64_t number;
    const char *name, *place;
    int64_t growth;
    bool asserted, counted;
};

static unsigned char *put_savepoint(unsigned char *p, const void *what)
{
    const struct savepoint *point = what;
    p = mlf_put_vu(p, point->number);
    p = mlf_put_vu(p, (point->asserted ? MLF_SAVEPOINT_ASSERTED : 0) |
                          (point->counted ? MLF_SAVEPOINT_COUNTED : 0));
    p = mlf_put_vu(p, mlf_zigzag(point->growth));
    p = lt_put_string(p, point->name, strnlen(point->name, NAME_MAX_KEPT));
    return lt_put_string(p, point->place, strnlen(point->place, NAME_MAX_KEPT));
}

LT_EXPORT uint64_t mlog_api_savepoint(uint64_t of, const char *name, const char *place,
                                      int64_t growth, int counted)
{
    static uint64_t last;
    const struct savepoint point = {
        .number = of ? of : __atomic_add_fetch(&last, 1, __ATOMIC_RELAXED),
        .name = name ? name : "",
        .place = place ? place : "",
        .growth = growth,
        .asserted = of != 0,
        .counted = counted != 0,
    };
    record(MLF_REC_SAVEPOINT, RECORD_ROOM(2 * NAME_MAX_KEPT), put_savepoint, &point);
    return point.number;
}

static uint64_t resets;

LT_EXPORT int mlog_api_stats(struct mlog_stats *stats, size_t size)
{
    struct lt_counts t;
    int saved = errno;
    bool counted = !lt_count_is_refused() && lt_allocator_serves(false);
    memset(stats, 0, size);
    if (counted && !lt_count_is_on()) {
        lt_real_count();
        lt_count_watch_forks();
    }
    if (counted && lt_count_read(&t)) {
        const struct mlog_stats all = {
            .flags = MLOG_STATS_COUNTED | (t.late ? MLOG_STATS_LATE : 0) |
                     (t.moving ? MLOG_STATS_MOVING : 0) | (t.unsized ? MLOG_STATS_UNSIZED : 0) |
                     (t.halved ? MLOG_STATS_HALVED : 0),
            .allocations = t.allocations,
            .allocated = t.allocated,
            .deallocations = t.frees,
            .deallocated = t.freed,
            .in_use_blocks = t.blocks,
            .in_use = t.bytes,
            .peak = t.peak,
            .peak_error = t.peak_error,
            .resets = __atomic_load_n(&resets, __ATOMIC_RELAXED),
        };
        memcpy(stats, &all, size < sizeof all ? size : sizeof all);
    } else {
        counted = false;
    }
    errno = saved;
    return counted;
}

LT_EXPORT int mlog_api_set_output(int fd)
{
    int error = lt_process_begin_late(fd);
    if (!error)
        return 0;
    errno = error;
    return -1;
}

LT_EXPORT void mlog_api_stats_reset(void)
{
    int saved = errno;
    lt_count_reset();
    __atomic_fetch_add(&resets, 1, __ATOMIC_RELAXED);
    errno = saved;
}

LT_EXPORT void mlog_api_register_stack(const void *low, const void *high)
{
    struct lt_context *c = lt_begin((uintptr_t)__builtin_frame_address(0));
    if (!c)
        return;
    struct lt_thread *self = lt_self;
    if ((uintptr_t)self > 1 && c == &self->main)
        lt_unwind_register_stack(self->unwinder, (uintptr_t)low, (uintptr_t)high);
    lt_finish(c, 0);
}

typedef void (*register_function)(void *);

LT_EXPORT void __register_frame(void *eh_frame);
LT_EXPORT void __deregister_frame(void *eh_frame);

static void *symbol_of(const char *library, const char *name)
{
    void *handle = library ? dlopen(library, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    void *symbol = handle ? dlsym(handle, name) : NULL;
    if (handle)
        dlclose(handle);
    return symbol;
}

/* The run-time library's function: the next one behind ours or, if a plug-in
 * brought that library into its own scope alone, the one that the caller would
 * have found by itself. */
static register_function registrar_find(const char *name, const void *caller)
{
    int saved = errno;
    void *next = lt_real_symbol(name);
    Dl_info info;
    if (!next && dladdr(caller, &info))
        next = symbol_of(info.dli_fname, name);
    if (!next)
        next = symbol_of("libgcc_s.so.1", name);
    errno = saved;
    return (register_function)next;
}

LT_EXPORT void __register_frame(void *eh_frame)
{
    register_function next = registrar_find("__register_frame", __builtin_return_address(0));
    lt_unwind_register_frames(eh_frame);
    if (next)
        next(eh_frame);
}

LT_EXPORT void __deregister_frame(void *eh_frame)
{
    register_function next = registrar_find("__deregister_frame", __builtin_return_address(0));
    lt_unwind_deregister_frames(eh_frame);
    if (next)
        next(eh_frame);
}
