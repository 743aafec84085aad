/* SPDX-License-Identifier: MIT
 *
 * Usage: patterns TRACE PATTERN LOAD SEED
 *        patterns
 * Writes the trace that a program of one pattern under one load would leave, with a clock
 * of its own: a minute takes a few milliseconds, and the same seed makes the same bytes.
 * The stack to be judged returns to offset 0x1001 of the module, the others above it. Without
 * arguments prints each pattern: its set, its name, what it is. Called by leak_score.py.
 *
 * Besides the pattern there is what a service does: a table at the start, and for each
 * request blocks that are freed again, unless the pattern's name begins with alone_. Loads: steady;
 * rising to fifteen times the first; in bursts, with pauses between; steady, with a pause at the
 * end.
 */
#include "patterns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mlf_codec.h"
#include "mlf_format.h"

enum { THREADS = 4096, STEADY = 8, NODE = MLF_FIRST_NODE, KEY = 0x1000, PID = 1000 };
enum { JUDGED = NODE, BEGUN, WORKED }; /* nodes */

#define STEP_NS 100000000u
#define EVENT_NS 10000u

unsigned step_now, served, to_serve, load_now;

static struct stream {
    unsigned char *bytes;
    size_t n, capacity;
    uint64_t time, base, ended; /* of the last event; of the chunk; 0: not yet */
    int64_t node;               /* of the last allocation */
} streams[THREADS];
static unsigned thread_now, n_threads = 1;
static uint64_t now = EVENT_NS, next_address = 0x10000000;
static uint32_t seed;

/* --- the trace --- */

static unsigned char *room(struct stream *stream)
{
    if (stream->n + 64 > stream->capacity) {
        stream->capacity = stream->capacity ? 2 * stream->capacity : 1024;
        stream->bytes = realloc(stream->bytes, stream->capacity);
        if (!stream->bytes)
            exit(1);
    }
    return stream->bytes + stream->n;
}

static uint64_t pass_time(struct stream *stream)
{
    now += EVENT_NS;
    if (!stream->base)
        stream->base = stream->time = now;
    uint64_t passed = now - stream->time;
    stream->time = now;
    return passed;
}

static unsigned char *put_u64(unsigned char *at, uint64_t value)
{
    mlf_put_u64(at, value);
    return at + 8;
}

/* A block: its address, so that give needs no more. */
struct block {
    uint64_t address;
};

static unsigned char *put_new(unsigned char *at, struct stream *stream, unsigned node, size_t size)
{
    at = put_u64(at, next_address);
    at = mlf_put_vu(at, mlf_zigzag((int64_t)node - stream->node));
    stream->node = node;
    return mlf_put_vu(at, size);
}

static struct block *take_at(unsigned node, size_t size)
{
    struct stream *stream = &streams[thread_now];
    struct block *block = malloc(sizeof *block);
    if (!block)
        exit(1);
    block->address = next_address;
    unsigned char *at = room(stream);
    *at++ = MLF_EV_ALLOC | MLF_ALLOC_ADDRESS_ABSOLUTE | MLF_ALLOC_STACK | MLF_ALLOC_SIZE;
    at = put_new(at, stream, node, size);
    stream->n = (size_t)(mlf_put_vu(at, pass_time(stream)) - stream->bytes);
    next_address += (size + 31) / 16 * 16;
    return block;
}

void *take(size_t size)
{
    return take_at(JUDGED, size);
}

void give(void *gone)
{
    struct block *block = gone;
    struct stream *stream = &streams[thread_now];
    if (!block)
        return;
    unsigned char *at = room(stream);
    *at++ = MLF_EV_FREE | MLF_ADDR_ABSOLUTE;
    at = put_u64(at, block->address);
    stream->n = (size_t)(mlf_put_vu(at, pass_time(stream)) - stream->bytes);
    free(block);
}

void *regrow(void *old, size_t size)
{
    struct block *block = old;
    struct stream *stream = &streams[thread_now];
    if (!block)
        return take(size);
    unsigned char *at = room(stream);
    *at++ = MLF_EV_REALLOC;
    *at++ = MLF_ALLOC_ADDRESS_ABSOLUTE | MLF_ALLOC_STACK | MLF_ALLOC_SIZE;
    *at++ = MLF_ADDR_ABSOLUTE;
    at = put_u64(at, block->address);
    at = mlf_put_vu(at, pass_time(stream));
    at = put_new(at, stream, JUDGED, size);
    stream->n = (size_t)(mlf_put_vu(at, pass_time(stream)) - stream->bytes);
    block->address = next_address;
    next_address += (size + 31) / 16 * 16;
    return block;
}

void work(void)
{
    struct block *first = take_at(WORKED, 200), *second = take_at(WORKED, 60 + below(500));
    give(first);
    give(second);
}

void on_thread(unsigned thread)
{
    if (thread >= THREADS)
        exit(1);
    thread_now = thread;
    n_threads = thread >= n_threads ? thread + 1 : n_threads;
}

void end_thread(unsigned thread)
{
    streams[thread].ended = now;
}

static unsigned char *put_string(unsigned char *at, const char *text)
{
    at = mlf_put_vu(at, strlen(text));
    memcpy(at, text, strlen(text));
    return at + strlen(text);
}

static unsigned char *put_record(unsigned char *at, unsigned tag, const unsigned char *from,
                                 const unsigned char *to)
{
    *at++ = (unsigned char)tag;
    at = mlf_put_vu(at, (uint64_t)(to - from));
    memcpy(at, from, (size_t)(to - from));
    return at + (to - from);
}

static struct mlf_crc_table crc;

static void write_chunk(FILE *file, unsigned kind, unsigned stream, unsigned sequence,
                        uint64_t base, const unsigned char *bytes, size_t n)
{
    unsigned char header[MLF_CHUNK_HEADER] = {0};
    mlf_put_u32(header + MLF_CHUNK_MAGIC_AT, MLF_CHUNK_MAGIC);
    header[MLF_CHUNK_KIND] = (unsigned char)kind;
    header[MLF_CHUNK_FLAGS] = MLF_CHUNK_HAS_CRC;
    mlf_put_u16(header + MLF_CHUNK_HEADER_SIZE, MLF_CHUNK_HEADER);
    mlf_put_u32(header + MLF_CHUNK_SIZE_AT, (uint32_t)(MLF_CHUNK_HEADER + n));
    mlf_put_u64(header + MLF_CHUNK_PROCESS, KEY);
    mlf_put_u32(header + MLF_CHUNK_STREAM, stream);
    mlf_put_u32(header + MLF_CHUNK_SEQUENCE, sequence);
    mlf_put_u64(header + MLF_CHUNK_BASE_TIME, base);
    mlf_put_u32(header + MLF_CHUNK_PAYLOAD_CRC, mlf_crc32(&crc, 0, bytes, n));
    mlf_put_u32(header + MLF_CHUNK_CRC, mlf_crc32(&crc, 0, header, MLF_CHUNK_CRC));
    fwrite(header, 1, sizeof header, file);
    fwrite(bytes, 1, n, file);
}

static unsigned char *put_numbers(unsigned char *at, const uint64_t *numbers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        at = mlf_put_vu(at, numbers[i]);
    return at;
}

static unsigned char *put_definitions(unsigned char *at)
{
    unsigned char record[256], *end;
    end = put_numbers(record, (uint64_t[]){PID, 1}, 2);
    end = put_u64(end, 0);
    const uint64_t program[] = {MLF_HOW_START,
                                0,
                                0,
                                0,
                                0,
                                MLF_CLOCK_MONOTONIC,
                                0,
                                1000000000,
                                0,
                                1700000000000000000,
                                8,
                                16,
                                24,
                                4096,
                                8};
    end = put_numbers(end, program, sizeof program / sizeof *program);
    at = put_record(at, MLF_REC_PROCESS, record, end);
    end = put_u64(put_numbers(record, (uint64_t[]){1, 0}, 2), 0);
    end = put_numbers(end, (uint64_t[]){MLF_MODULE_MAIN, 0}, 2);
    end = put_string(end, "/virtual/service");
    at = put_record(at, MLF_REC_MODULE, record, mlf_put_vu(end, 0));
    for (unsigned node = JUDGED; node <= WORKED; node++) {
        *at++ = MLF_NODE | MLF_NODE_PARENT | MLF_NODE_NEW_FRAME;
        at = put_numbers(at, (uint64_t[]){node, 1, 0x1001 + 0x1000 * (node - JUDGED)}, 3);
    }
    for (unsigned i = 0; i < n_threads; i++) {
        end = put_numbers(record, (uint64_t[]){i + 1, PID + i, streams[i].base, 0}, 4);
        at = put_record(at, MLF_REC_STREAM, record, put_string(end, "thread"));
    }
    return at;
}

static unsigned char *put_ends(unsigned char *at)
{
    unsigned char record[64], *end;
    for (unsigned i = 1; i < n_threads; i++) {
        if (!streams[i].ended)
            continue;
        end = put_numbers(record, (uint64_t[]){i + 1, streams[i].ended}, 2);
        at = put_record(at, MLF_REC_STREAM_END, record, put_string(end, "thread"));
    }
    end = put_numbers(record, (uint64_t[]){now, MLF_END__EXIT, 0}, 3);
    at = put_record(at, MLF_REC_PROCESS_END, record, end);
    return put_record(at, MLF_REC_SYNC, record, mlf_put_vu(record, now));
}

static void write_trace(FILE *file)
{
    unsigned char header[MLF_HDR_SIZE] = {0};
    unsigned char *definitions = malloc((size_t)n_threads * 64 + 1024);
    if (!definitions)
        exit(1);
    mlf_crc_table_fill(&crc);
    memcpy(header, MLF_MAGIC, MLF_MAGIC_SIZE);
    mlf_put_u16(header + MLF_HDR_MAJOR, MLF_MAJOR);
    mlf_put_u16(header + MLF_HDR_MINOR, MLF_MINOR);
    header[MLF_HDR_LAYOUT] = MLF_LAYOUT_STREAM;
    mlf_put_u16(header + MLF_HDR_HEADER_SIZE, MLF_HDR_SIZE);
    mlf_put_u32(header + MLF_HDR_CRC, mlf_crc32(&crc, 0, header, MLF_HDR_CRC));
    fwrite(header, 1, sizeof header, file);
    unsigned char *end = put_definitions(definitions);
    write_chunk(file, MLF_DEFINITIONS, 1, 0, 0, definitions, (size_t)(end - definitions));
    for (unsigned i = 0; i < n_threads; i++) {
        if (streams[i].n)
            write_chunk(file, MLF_EVENTS, i + 1, 0, streams[i].base, streams[i].bytes,
                        streams[i].n);
    }
    end = put_ends(definitions);
    write_chunk(file, MLF_DEFINITIONS, 1, 1, now, definitions, (size_t)(end - definitions));
    free(definitions);
}

/* --- what patterns use --- */

unsigned below(unsigned limit)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned)((uint64_t)(seed >> 8) * limit >> 24);
}

bool one_in(unsigned n)
{
    return below(n) == 0;
}

unsigned popular(unsigned limit)
{
    unsigned at = below(limit), bound = limit;
    for (unsigned i = below(4); i; i--) {
        bound = at + 1;
        at = below(bound);
    }
    return at;
}

void queue_add(struct queue *queue, void *block, unsigned due)
{
    const unsigned places = sizeof queue->block / sizeof *queue->block;
    if (queue->n == places)
        exit(1);
    unsigned at = (queue->first + queue->n++) % places;
    queue->block[at] = block;
    queue->due[at] = due;
}

void *queue_take(struct queue *queue)
{
    const unsigned places = sizeof queue->block / sizeof *queue->block;
    if (!queue->n)
        return NULL;
    void *block = queue->block[queue->first];
    queue->first = (queue->first + 1) % places;
    queue->n--;
    return block;
}

void queue_expire(struct queue *queue)
{
    while (queue->n && queue->due[queue->first] <= step_now)
        give(queue_take(queue));
}

void queue_expire_any(struct queue *queue)
{
    const unsigned places = sizeof queue->block / sizeof *queue->block;
    for (unsigned n = queue->n; n; n--) {
        unsigned due = queue->due[queue->first % places];
        void *block = queue_take(queue);
        if (due <= step_now)
            give(block);
        else
            queue_add(queue, block, due);
    }
}

/* --- loads --- */

static unsigned steady(unsigned step)
{
    (void)step;
    return STEADY;
}

static unsigned rising(unsigned step)
{
    return 1 + step * 2 * (STEADY - 1) / (STEPS - 1);
}

static unsigned bursts(unsigned step)
{
    return step % 50 < 10 ? 5 * STEADY : 0;
}

static unsigned pausing(unsigned step)
{
    return step < STEPS * 2 / 3 ? STEADY * 3 / 2 : 0;
}

static const struct load {
    const char *name;
    unsigned (*requests)(unsigned step);
} loads[] = {{"steady", steady}, {"rising", rising}, {"bursts", bursts}, {"pausing", pausing}};

static void run(const struct pattern *pattern, const struct load *load)
{
    const bool alone = strncmp(pattern->name, "alone_", 6) == 0;
    for (int i = 0; i < 64; i++)
        take_at(BEGUN, 16384);
    for (unsigned step = 0; step < STEPS; step++)
        to_serve += load->requests(step);
    for (step_now = 0; step_now < STEPS; step_now++) {
        now = (uint64_t)step_now * STEP_NS > now ? (uint64_t)step_now * STEP_NS : now;
        load_now = load->requests(step_now);
        give(take_at(WORKED, 32)); /* its heart beats */
        for (unsigned i = 0; i < load_now; i++, served++) {
            if (!alone)
                work();
            pattern->request();
        }
        if (pattern->step)
            pattern->step();
    }
    now = (uint64_t)STEPS * STEP_NS;
}

static const struct pattern *find(const struct pattern *set, const char *name)
{
    for (; set->name; set++) {
        if (strcmp(set->name, name) == 0)
            return set;
    }
    return NULL;
}

static void list(const char *set, const struct pattern *pattern)
{
    static const char *const truths[] = {"leak",      "cache",     "table",
                                         "singleton", "in-flight", "tiny"};
    for (; pattern->name; pattern++)
        printf("%s %s %s\n", set, pattern->name, truths[pattern->truth]);
}

int main(int argc, char **argv)
{
    if (argc == 1) {
        list("tuned", patterns_tuned);
        list("kept", patterns_kept);
        return 0;
    }
    if (argc != 5)
        return 2;
    const struct pattern *pattern = find(patterns_tuned, argv[2]);
    if (!pattern)
        pattern = find(patterns_kept, argv[2]);
    seed = (uint32_t)strtoul(argv[4], NULL, 10) * 2654435761u + 1;
    for (size_t i = 0; pattern && i < sizeof loads / sizeof *loads; i++) {
        FILE *file = strcmp(loads[i].name, argv[3]) == 0 ? fopen(argv[1], "wb") : NULL;
        if (!file)
            continue;
        run(pattern, &loads[i]);
        write_trace(file);
        return ferror(file) | fclose(file) ? 1 : 0;
    }
    return 2;
}
