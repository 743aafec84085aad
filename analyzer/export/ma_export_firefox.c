/* SPDX-License-Identifier: MIT
 *
 * The Firefox Profiler's processed profile, version 48, gzipped, for profiler.firefox.com:
 * each process is a thread with its allocations and frees as balanced "native allocations"
 * (time, bytes, stack, address, thread), from which the views of retained memory are made,
 * with the same allocations as weighted samples, with its marks as markers, and with a
 * counter of its heap. The format is that of the types in its source; later versions of
 * the program upgrade it when they load it.
 *
 * It has a bounded number of events, because it is read whole by a browser. Beyond it, blocks
 * are drawn: each in proportion to its size, so that there is one for so many bytes, which
 * it stands for; larger ones are all there as they are. A block's two ends are drawn as
 * one, so what is there stays balanced.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "ma_clock.h"
#include "ma_export.h"
#include "ma_export_firefox.h"
#include "ma_text.h"

#define FIRST_STEP 64 /* bytes: drawn are blocks smaller than this, then twice as much ... */
#define POINTS 2000   /* of a counter */

static uint64_t chance_of(const struct ma_seen *seen, const struct ma_seen_block *block)
{
    uint64_t x =
        block->address ^ block->ticks * 0x9e3779b97f4a7c15u ^ (uint64_t)seen->process->index << 48;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Whether a block is there: all of `step` bytes and more are, of the others a part. */
static bool is_drawn(uint64_t step, uint64_t size, uint64_t chance)
{
    return size >= step || (double)(chance >> 11) * 0x1p-53 * (double)step < (double)size;
}

static void draw_fewer(struct ma_firefox *to)
{
    while (to->n > MA_FIREFOX_EVENTS - MA_FIREFOX_EVENTS / 4) {
        size_t kept = 0;
        to->step = to->step ? to->step * 2 : FIRST_STEP;
        for (size_t i = 0; i < to->n; i++)
            if (is_drawn(to->step, to->events[i].size, to->events[i].chance))
                to->events[kept++] = to->events[i];
        to->n = kept;
        if (to->step > UINT64_MAX / 4)
            return;
    }
}

/* The number of a stack, asked for once a site. */
static int find_stack(struct ma_firefox *to, const struct ma_seen *seen,
                      const struct ma_seen_block *block, uint32_t *stack)
{
    const uint64_t key = (uint64_t)seen->process->index << 32 | block->site;
    const struct ma_process *owner;
    *stack = ma_map_get(&to->stack_of, key);
    if (*stack != MA_NONE)
        return 0;
    if (block->stack >= MLF_FIRST_NODE && !ma_process_node(seen->process, block->stack, &owner) &&
        ma_merge_poll(&to->analysis->merge) < 0)
        return -ENOMEM;
    if (ma_stacks_id(&to->analysis->stacks, seen->process, block->stack, stack) < 0)
        return -ENOMEM;
    return ma_map_set(&to->stack_of, key, *stack);
}

static void count(struct ma_firefox_process *process, uint64_t ns, int64_t bytes)
{
    process->bytes += bytes;
    process->calls++;
    struct ma_firefox_point *last = process->n ? &process->points[process->n - 1] : NULL;
    if (last && (ns < last->ns || ns - last->ns < process->width)) {
        last->bytes = process->bytes;
        last->calls = process->calls;
        return;
    }
    if (process->n == POINTS) { /* twice as wide, and every other point is the end of two */
        for (size_t i = 0; i < POINTS / 2; i++)
            process->points[i] = process->points[2 * i + 1];
        process->n = POINTS / 2;
        process->width =
            process->width ? process->width * 2 : (ns - process->points[0].ns) / POINTS + 1;
    }
    process->points[process->n++] = (struct ma_firefox_point){ns, process->bytes, process->calls};
}

static struct ma_firefox_process *process_of(struct ma_firefox *to, uint32_t index)
{
    if (!MA_HOLDS(to->processes, index, to->n_processes))
        return NULL;
    struct ma_firefox_process *process = &to->processes[index];
    if (!process->points)
        process->points = calloc(POINTS, sizeof *process->points);
    return process->points ? process : NULL;
}

static int add_event(struct ma_firefox *to, const struct ma_seen *seen,
                     const struct ma_seen_block *block, bool freed)
{
    const uint64_t chance = chance_of(seen, block);
    uint32_t stack;
    if (block->site == MA_NONE)
        return 0; /* a copy that a child inherited */
    struct ma_firefox_process *process = process_of(to, seen->process->index);
    if (!process)
        return -ENOMEM;
    const int64_t size = block->size > INT64_MAX ? INT64_MAX : (int64_t)block->size;
    count(process, seen->ns, freed ? -size : size);
    to->seen++;
    if (!is_drawn(to->step, block->size, chance))
        return 0;
    if (find_stack(to, seen, block, &stack) < 0 || !MA_RESERVE(to->events, to->n, to->capacity))
        return -ENOMEM;
    to->events[to->n++] = (struct ma_firefox_event){
        .ns = seen->ns,
        .address = block->address,
        .size = block->size,
        .chance = chance,
        .process = seen->process->index,
        .thread = seen->thread,
        .stack = stack,
        .freed = freed,
    };
    if (to->n > MA_FIREFOX_EVENTS)
        draw_fewer(to);
    return 0;
}

static int firefox_allocated(void *context, const struct ma_seen *seen,
                             const struct ma_seen_block *block)
{
    return add_event(context, seen, block, false);
}

static int firefox_freed(void *context, const struct ma_seen *seen,
                         const struct ma_seen_block *block)
{
    return add_event(context, seen, block, true);
}

static int firefox_marked(void *context, const struct ma_seen *seen, const struct ma_mark *mark)
{
    struct ma_firefox *to = context;
    if (to->n_marks == MA_FIREFOX_EVENTS || !process_of(to, seen->process->index))
        return 0;
    if (!MA_RESERVE(to->marks, to->n_marks, to->mark_capacity))
        return -ENOMEM;
    char *name = strdup(mark->name);
    if (!name)
        return -ENOMEM;
    to->marks[to->n_marks++] =
        (struct ma_firefox_mark){name, seen->ns, mark->kind, seen->process->index};
    return 0;
}

static int begin_firefox(struct ma_analysis *analysis, FILE *out, void **state)
{
    struct ma_firefox *to = calloc(1, sizeof *to);
    (void)out;
    if (!to)
        return -ENOMEM;
    to->analysis = analysis;
    to->observer = (struct ma_observer){
        .context = to,
        .allocated = firefox_allocated,
        .freed = firefox_freed,
        .marked = firefox_marked,
    };
    *state = to;
    return ma_observers_add(&analysis->replay.observers, &to->observer);
}

/* A stream whose bytes come gzipped into another. */
struct gzip {
    z_stream stream;
    FILE *out;
};

static ssize_t gzip_write(void *cookie, const char *data, size_t size)
{
    struct gzip *gzip = cookie;
    unsigned char buffer[16384];
    gzip->stream.next_in = (unsigned char *)(uintptr_t)data;
    gzip->stream.avail_in = (unsigned)size;
    do {
        gzip->stream.next_out = buffer;
        gzip->stream.avail_out = sizeof buffer;
        deflate(&gzip->stream, size ? Z_NO_FLUSH : Z_FINISH);
        fwrite(buffer, 1, sizeof buffer - gzip->stream.avail_out, gzip->out);
    } while (!gzip->stream.avail_out);
    return ferror(gzip->out) ? 0 : (ssize_t)size;
}

static int write_firefox(struct ma_analysis *analysis, void *state, FILE *out)
{
    struct ma_firefox *to = state;
    struct gzip gzip = {.out = out};
    (void)analysis;
    if (deflateInit2(&gzip.stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    FILE *file = fopencookie(&gzip, "w", (cookie_io_functions_t){.write = gzip_write});
    int result = file ? ma_firefox_write(to, file) : -ENOMEM;
    if (file && fclose(file) == 0)
        gzip_write(&gzip, NULL, 0);
    deflateEnd(&gzip.stream);
    if (result == 0 && to->step)
        fprintf(stderr,
                "%s: --export=firefox: %zu of %" PRIu64
                " events are there: of blocks below %" PRIu64
                " bytes one for so many bytes, which it stands for; --from and --to, or "
                "--min-size, leave fewer\n",
                ma_command, to->n, to->seen, to->step);
    return result;
}

static void end_firefox(void *state)
{
    struct ma_firefox *to = state;
    for (size_t i = 0; i < to->n_marks; i++)
        free(to->marks[i].name);
    for (size_t i = 0; i < to->n_processes; i++)
        free(to->processes[i].points);
    free(to->marks);
    free(to->processes);
    free(to->events);
    ma_map_free(&to->stack_of);
    free(to);
}

const struct ma_exporter ma_exporter_firefox = {
    .name = "firefox",
    .help = "profiler.firefox.com, gzipped",
    .binary = true,
    .write = write_firefox,
    .begin = begin_firefox,
    .end = end_firefox,
};
