/* SPDX-License-Identifier: MIT
 *
 * What a mapped trace is made of, in one line of JSON: events by kind, bytes by
 * field, nodes, the last COUNTERS record of each process added up. Trusts the
 * trace: it reads what the bench has just written. Called by bench_traces.py.
 *
 *     count TRACE
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mlf_codec.h"
#include "mlf_format.h"

enum field { TAG, FUNCTION, ADDRESS, STACK, SIZE, USABLE, TIME, FIELDS };
static const char *const field_names[] = {"tag",  "function", "address", "stack",
                                          "size", "usable",   "time"};
static uint64_t bytes_of[FIELDS];
static uint64_t allocs, frees, reallocs, frees_by, failed, nodes, lost, stops, streams;
static uint64_t event_chunks, node_bytes, record_bytes, header_bytes, unused_bytes;

#define PROCESSES 4096
#define COUNTERS 16
static struct {
    uint64_t key;
    uint64_t counters[COUNTERS];
} processes[PROCESSES];

static const unsigned char *at, *end;

static void die(const char *what)
{
    fprintf(stderr, "count: %s\n", what);
    exit(1);
}

static void take(enum field field, size_t n)
{
    if ((size_t)(end - at) < n)
        die("an item that ends beyond its chunk");
    bytes_of[field] += n;
    at += n;
}

static uint64_t number(void)
{
    uint64_t value;
    if (mlf_get_vu(&at, end, &value))
        die("a number that ends beyond its chunk");
    return value;
}

static uint64_t take_number(enum field field)
{
    const unsigned char *from = at;
    uint64_t value = number();
    bytes_of[field] += (uint64_t)(at - from);
    return value;
}

static void take_code(unsigned code)
{
    if (code == MLF_ADDR_RING)
        take(ADDRESS, 1);
    else if (code == MLF_ADDR_DELTA)
        take_number(ADDRESS);
    else if (code == MLF_ADDR_ABSOLUTE)
        take(ADDRESS, 8);
}

static void take_alloc(unsigned flags)
{
    if (flags & MLF_ALLOC_FUNCTION) {
        unsigned function = *at;
        take(FUNCTION, 1);
        if (function >= MLF_FN_memalign && function <= MLF_FN_aligned_alloc)
            take(FUNCTION, 1);
    }
    switch (flags & MLF_ALLOC_ADDRESS) {
    case MLF_ALLOC_ADDRESS_RING: take(ADDRESS, 1); break;
    case MLF_ALLOC_ADDRESS_DELTA: take_number(ADDRESS); break;
    case MLF_ALLOC_ADDRESS_ABSOLUTE: take(ADDRESS, 8); break;
    default: break;
    }
    if (flags & MLF_ALLOC_STACK)
        take_number(STACK);
    else
        take(STACK, 1);
    if (flags & MLF_ALLOC_SIZE)
        take_number(SIZE);
    if (flags & MLF_ALLOC_USABLE)
        take_number(USABLE);
    take_number(TIME);
}

static void take_record(unsigned tag, uint64_t process)
{
    uint64_t size = number();
    if (size > (uint64_t)(end - at))
        die("a record that ends beyond its chunk");
    const unsigned char *next = at + size;
    if (tag == MLF_REC_LOSS) {
        number();
        number();
        lost += number();
    } else if (tag == MLF_REC_STOP) {
        stops++;
    } else if (tag == MLF_REC_STREAM) {
        streams++;
    } else if (tag == MLF_REC_COUNTERS) {
        unsigned i = 0;
        while (i < PROCESSES - 1 && processes[i].key && processes[i].key != process)
            i++;
        processes[i].key = process;
        number();
        while (at < next) {
            uint64_t counter = number(), value = number();
            if (counter < COUNTERS)
                processes[i].counters[counter] = value;
        }
    }
    at = next;
}

static void take_item(unsigned kind, uint64_t process)
{
    const unsigned char *from = at;
    unsigned tag = *at++;
    if (tag < 0x40) {
        take_record(tag, process);
        record_bytes += (uint64_t)(at - from);
        return;
    }
    if (kind == MLF_DEFINITIONS) {
        if (tag & MLF_NODE_ID)
            number();
        if (tag & MLF_NODE_PARENT)
            number();
        if (tag & MLF_NODE_NEW_FRAME)
            number();
        number();
        nodes++;
        node_bytes += (uint64_t)(at - from);
        return;
    }
    bytes_of[TAG]++;
    unsigned byte;
    if (tag >= MLF_EV_ALLOC) {
        allocs++;
        take_alloc(tag & 63);
    } else if (tag >= MLF_EV_FREE) {
        frees++;
        take_code(tag & 63);
        take_number(TIME);
    } else if (tag == MLF_EV_REALLOC) {
        reallocs++;
        unsigned flags = *at;
        take(TAG, 1);
        byte = *at;
        take(ADDRESS, 1);
        take_code(byte);
        take_number(TIME);
        take_alloc(flags);
    } else if (tag == MLF_EV_FREE_BY) {
        frees_by++;
        take(FUNCTION, 1);
        byte = *at;
        take(ADDRESS, 1);
        take_code(byte);
        take_number(TIME);
    } else if (tag == MLF_EV_FAILED) {
        failed++;
        take(FUNCTION, 1);
        take_number(SIZE);
        take_number(STACK);
        take_number(TIME);
    } else {
        die("an unknown tag");
    }
}

int main(int argc, char **argv)
{
    struct stat st;
    int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;
    if (fd < 0 || fstat(fd, &st) || st.st_size < MLF_HDR_SIZE)
        die("usage: count TRACE");
    const unsigned char *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED || memcmp(file, MLF_MAGIC, MLF_MAGIC_SIZE) ||
        file[MLF_HDR_LAYOUT] != MLF_LAYOUT_MAPPED)
        die("not a mapped trace");
    uint64_t unit = 1ull << file[MLF_HDR_UNIT_LOG2];
    uint64_t claimed = (mlf_get_u64(file + MLF_HDR_CLAIMED) + 1) * unit;
    uint64_t size = claimed < (uint64_t)st.st_size ? claimed : (uint64_t)st.st_size;
    for (uint64_t offset = unit; offset + MLF_CHUNK_HEADER <= size;) {
        const unsigned char *chunk = file + offset;
        uint64_t bytes = mlf_get_u32(chunk + MLF_CHUNK_SIZE_AT);
        if (mlf_get_u32(chunk) != MLF_CHUNK_MAGIC || bytes < unit || bytes > size - offset) {
            offset += unit; /* claimed and not begun */
            unused_bytes += unit;
            continue;
        }
        unsigned kind = chunk[MLF_CHUNK_KIND];
        header_bytes += MLF_CHUNK_HEADER;
        event_chunks += kind == MLF_EVENTS;
        at = chunk + MLF_CHUNK_HEADER;
        end = chunk + bytes;
        while (at < end && *at)
            take_item(kind, mlf_get_u64(chunk + MLF_CHUNK_PROCESS));
        unused_bytes += (uint64_t)(end - at);
        offset += bytes;
    }

    printf("{\"allocs\": %" PRIu64 ", \"frees\": %" PRIu64 ", \"reallocs\": %" PRIu64
           ", \"frees_by\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"nodes\": %" PRIu64
           ", \"streams\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"stops\": %" PRIu64
           ", \"event_chunks\": %" PRIu64 ", \"claimed\": %" PRIu64 ", \"length\": %" PRIu64
           ", \"node_bytes\": %" PRIu64 ", \"record_bytes\": %" PRIu64
           ", \"header_bytes\": %" PRIu64 ", \"unused_bytes\": %" PRIu64,
           allocs, frees, reallocs, frees_by, failed, nodes, streams, lost, stops, event_chunks,
           claimed, (uint64_t)st.st_size, node_bytes, record_bytes, header_bytes + unit,
           unused_bytes);
    fputs(", \"field_bytes\": {", stdout);
    for (int i = 0; i < FIELDS; i++)
        printf("%s\"%s\": %" PRIu64, i ? ", " : "", field_names[i], bytes_of[i]);
    fputs("}, \"counters\": {", stdout);
    for (int i = 1; i < COUNTERS; i++) {
        uint64_t sum = 0;
        for (unsigned k = 0; k < PROCESSES && processes[k].key; k++)
            sum += processes[k].counters[i];
        printf("%s\"%d\": %" PRIu64, i > 1 ? ", " : "", i, sum);
    }
    puts("}}");
    return 0;
}
